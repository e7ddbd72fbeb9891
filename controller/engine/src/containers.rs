//! Containers: every verb is a file of its own, and this is where they meet.
//!
//! A verb finds its container, takes the operation lock if it starts, cleans up, connects or removes, and goes
//! through the registry for every change, so that the store knows it first. What a start makes is taken away by one
//! function, whatever the reason.

mod adopt;
mod attach;
mod container;
mod create;
mod exec;
mod files;
mod health;
mod links;
mod logs;
mod merge;
mod naming;
mod networks;
mod ports;
pub(crate) mod prepare;
mod query;
mod registry;
mod release;
mod remove;
mod renamed;
mod reserved;
mod shares;
mod signal;
mod start;
mod stop;
mod supervise;
#[cfg(test)]
pub(crate) mod testing;
mod update;
mod usage;
mod view;
mod wait;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use controller::Controller;
use model::{ContainerId, PortBinding};
use runtime::{Attach, Runtime, Streams};

pub(crate) use create::as_invalid;
pub use create::{AskedMode, CreateContainer, Missing};
pub use exec::{CreateExec, ExecView};
pub use files::{ArchiveStream, Change, ChangeKind, CopyIn, FileFacts};
pub use health::{Health, HealthStatus, Probe};
pub use logs::{LogQuery, LogStream, expression as log_expression};
pub use query::{Query, name_matches};
pub use shares::AskedShares;
pub use update::Update;
pub use usage::{Processes, Sample};
pub use view::{Attached, View};
pub use wait::{Wait, WaitCondition};

use crate::{
    error::{Error, Result},
    event::Events,
    record::{Paths, Wishes},
    volumes,
};
use exec::ExecEntry;
use registry::Registry;

/// What every verb works with.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) controller: Arc<Controller>,
    pub(crate) runtime: Runtime,
    pub(crate) images: Arc<images::Store>,
    pub(crate) events: Arc<Events>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) volumes: volumes::Registry,
    /// Volume drivers of others.
    pub(crate) plugins: Arc<plugin_proto::Plugins>,
    pub(crate) data_root: PathBuf,
    /// The host's name, which containers in its network have too.
    pub(crate) hostname: String,
    /// Name service settings of containers that don't have their own.
    pub(crate) dns: model::DnsConfig,
    /// What `host-gateway` is; empty for the default bridge's gateways.
    pub(crate) host_gateway: Vec<std::net::IpAddr>,
    /// The users' namespace of containers, if they are not in the host's.
    pub(crate) users: Option<Arc<runtime::Users>>,
    /// All containers are being stopped, as before a shutdown: none is started again by its policy.
    stopping: std::sync::atomic::AtomicBool,
    execs: Mutex<BTreeMap<String, Arc<ExecEntry>>>,
}

impl Core {
    pub(crate) async fn open(parts: &crate::EngineParts, events: Arc<Events>) -> Result<Arc<Self>> {
        Ok(Arc::new(Self {
            controller: parts.controller.clone(),
            runtime: parts.runtime.clone(),
            images: parts.images.clone(),
            events,
            registry: Arc::new(Registry::open(parts.store.clone()).await?),
            volumes: volumes::Registry::open(parts.store.clone()).await?,
            plugins: parts.plugins.clone(),
            data_root: parts.data_root.clone(),
            hostname: parts.hostname.clone(),
            dns: parts.dns.clone(),
            host_gateway: parts.host_gateway.clone(),
            users: parts.users.clone(),
            stopping: std::sync::atomic::AtomicBool::new(false),
            execs: Mutex::default(),
        }))
    }

    pub(crate) fn paths(&self, id: &ContainerId) -> Paths {
        Paths::new(&self.data_root, id)
    }

    fn execs(&self) -> MutexGuard<'_, BTreeMap<String, Arc<ExecEntry>>> {
        self.execs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget_exec(&self, id: &str) {
        self.execs().remove(id);
    }
}

/// Runs what blocks (files, mounts, archives) on a thread for that.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(Error::internal("working on a thread of its own"))?
}

/// The containers of this host.
#[derive(Debug, Clone)]
pub struct Containers {
    pub(crate) core: Arc<Core>,
}

/// Which container, and what is asked of its stop.
#[derive(Debug, Clone, Default)]
pub struct StopOptions {
    /// The signal that asks it to stop; none for its own.
    pub signal: Option<String>,
    /// Seconds until it is killed; negative for never, none for its own.
    pub timeout: Option<i64>,
}

impl Containers {
    /// Takes over what runs, finishes what was left, and starts what is to run with the daemon.
    pub(crate) async fn adopt(&self) {
        adopt::adopt_all(&self.core).await;
        reserved::keep(&self.core);
    }

    /// Brings what they say of their networks up to the networks' names.
    pub async fn follow_networks(&self) {
        renamed::follow_all(&self.core).await;
    }

    /// Makes a container.
    ///
    /// # Errors
    /// `NotFound` for the image or a network, `Conflict` for a taken name, `Invalid` for what makes no sense.
    pub async fn create(&self, request: CreateContainer) -> Result<View> {
        let container = create::create(&self.core, request).await?;
        Ok(view::view(&self.core, &container))
    }

    /// Starts it. On failure nothing but its record is left, with the reason.
    ///
    /// # Errors
    /// `NotModified` when it runs; whatever its network, its files or its command refuse.
    pub async fn start(&self, container: &str) -> Result<()> {
        let container = self.find(container)?;
        Box::pin(start::start(&self.core, &container)).await
    }

    /// Asks it to stop, and kills it when it doesn't.
    ///
    /// # Errors
    /// `NotModified` when it doesn't run.
    pub async fn stop(&self, container: &str, options: &StopOptions) -> Result<()> {
        let container = self.find(container)?;
        stop::stop(&self.core, &container, options.signal.as_deref(), options.timeout).await
    }

    /// Stops all that run, each as its own settings say, and leaves to be known which of them their policies start with
    /// the daemon: for a shutdown of the host. What failed for one is logged.
    pub async fn stop_all(&self) {
        stop::stop_all(&self.core).await;
    }

    /// Stops it if it runs, and starts it.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn restart(&self, container: &str, options: &StopOptions) -> Result<()> {
        let container = self.find(container)?;
        Box::pin(stop::restart(
            &self.core,
            &container,
            options.signal.as_deref(),
            options.timeout,
        ))
        .await
    }

    /// Sends it a signal by name or number.
    ///
    /// # Errors
    /// `Conflict` when it doesn't run.
    pub async fn kill(&self, container: &str, signal: &str) -> Result<()> {
        let container = self.find(container)?;
        stop::kill(&self.core, &container, signal).await
    }

    /// Freezes it.
    ///
    /// # Errors
    /// `Conflict` when it doesn't run or is frozen.
    pub async fn pause(&self, container: &str) -> Result<()> {
        stop::pause(&self.core, &*self.find(container)?).await
    }

    /// Lets it run again.
    ///
    /// # Errors
    /// `Conflict` when it isn't frozen.
    pub async fn unpause(&self, container: &str) -> Result<()> {
        stop::unpause(&self.core, &*self.find(container)?).await
    }

    /// Waits for it. The wait has begun when this returns.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn wait(&self, container: &str, condition: WaitCondition) -> Result<Wait> {
        Ok(Wait::new(&*self.find(container)?, condition))
    }

    /// Removes it; with `force` though it runs.
    ///
    /// # Errors
    /// `Conflict` when it runs.
    pub async fn remove(&self, container: &str, force: bool) -> Result<()> {
        let container = self.find(container)?;
        remove::remove(&self.core, &container, force, false).await
    }

    /// Removes it with the volumes that it has for itself.
    ///
    /// # Errors
    /// As [`Self::remove`].
    pub async fn remove_with_volumes(&self, container: &str, force: bool) -> Result<()> {
        let container = self.find(container)?;
        remove::remove(&self.core, &container, force, true).await
    }

    /// Removes a link, named `CONTAINER/ALIAS` by the container that has it: the alias and what it opened go, the
    /// environment of what runs stays.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` for the name of a container, which is no link.
    pub async fn unlink(&self, link: &str) -> Result<()> {
        links::unlink(&self.core, link).await
    }

    /// Gives it another name.
    ///
    /// # Errors
    /// `Conflict` for a taken name, `Invalid` for one against the rule.
    pub async fn rename(&self, container: &str, name: &str) -> Result<()> {
        let container = self.find(container)?;
        const DOING: &str = "Error when allocating new name: ";
        let name = create::checked_name(name).map_err(|error| error.after(DOING))?;
        let _operation = container.operation.lock().await;
        let old = container.record().name.clone();
        if old == name {
            return Err(Error::invalid(
                "Renaming a container with the same name as its current name",
            ));
        }
        let renamed = self.core.registry.rename(&container, name).await;
        renamed.map_err(|error| error.after(DOING))?;
        if let Err(error) = networks::rename(&self.core, &container).await {
            if let Err(undo) = self.core.registry.rename(&container, old.clone()).await {
                tracing::warn!(container = %old, error = %undo, "undoing a rename");
            }
            return Err(error);
        }
        self.core
            .events
            .send(container.event("rename", &[("oldName", format!("/{old}"))]));
        Ok(())
    }

    /// Looks at it.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` for an ambiguous prefix.
    pub fn inspect(&self, container: &str) -> Result<View> {
        Ok(view::view(&self.core, &*self.find(container)?))
    }

    /// Looks at those that are asked for, the newest first.
    pub fn list(&self, query: &Query) -> Vec<View> {
        let views = self
            .core
            .registry
            .all()
            .iter()
            .map(|container| view::view(&self.core, container))
            .collect();
        query::select(views, query)
    }

    /// Attaches to its streams, before its start too. With a terminal the output is raw bytes, else frames.
    ///
    /// # Errors
    /// `Conflict` when it is paused, restarting or going.
    pub async fn attach(&self, container: &str, wanted: Attach) -> Result<Streams> {
        let container = self.find(container)?;
        Box::pin(attach::attach(&self.core, &container, wanted)).await
    }

    /// Its log.
    ///
    /// # Errors
    /// `NotImplemented` when it keeps none.
    pub fn logs(&self, container: &str, query: LogQuery) -> Result<LogStream> {
        let container = self.find(container)?;
        logs::open(&self.core, &container, query)
    }

    /// Sets the size of its terminal.
    ///
    /// # Errors
    /// `Conflict` when it doesn't run.
    pub async fn resize(&self, container: &str, height: u16, width: u16) -> Result<()> {
        let container = self.find(container)?;
        stop::still(&container, stop::shim(&container)?.resize(height, width).await)
    }

    /// Connects it to a network: at once when it runs, else recorded for its next start.
    ///
    /// # Errors
    /// `Forbidden` for a taken address or name; `Invalid` for what its mode rules out.
    pub async fn connect(&self, container: &str, network: &str, wishes: Wishes) -> Result<()> {
        let container = self.find(container)?;
        networks::attach(&self.core, &container, network, wishes).await
    }

    /// Disconnects it from a network. With `force`, a container that is gone leaves its endpoint behind no longer.
    ///
    /// # Errors
    /// `Forbidden` when it isn't connected.
    pub async fn disconnect(&self, container: &str, network: &str, force: bool) -> Result<()> {
        match self.find(container) {
            Ok(container) => networks::detach(&self.core, &container, network, force).await,
            Err(_) if force => networks::detach_lost(&self.core, container, network).await,
            Err(error) => Err(error),
        }
    }

    /// Publishes more of its ports: at once when it runs, and at every later start.
    ///
    /// # Errors
    /// `Invalid` for what its mode rules out; `Conflict` or `Forbidden` for a port that is taken, naming its holder.
    pub async fn publish(&self, container: &str, bindings: Vec<PortBinding>) -> Result<View> {
        let container = self.find(container)?;
        ports::publish(&self.core, &container, bindings).await?;
        Ok(view::view(&self.core, &container))
    }

    /// Gives published ports back: at once when it runs, and for every later start. What a binding leaves open is any.
    ///
    /// # Errors
    /// `NotFound` when one of them leads to nothing that is published; then nothing is given back.
    pub async fn unpublish(&self, container: &str, bindings: &[PortBinding]) -> Result<View> {
        let container = self.find(container)?;
        ports::unpublish(&self.core, &container, bindings).await?;
        Ok(view::view(&self.core, &container))
    }

    /// Registers another process to run in it.
    ///
    /// # Errors
    /// `Conflict` when it doesn't run.
    pub fn create_exec(&self, container: &str, asked: CreateExec) -> Result<String> {
        exec::create(&self.core, &self.find(container)?, asked)
    }

    /// Runs it. With `attached`, its streams are there before it starts; `size` is height and width.
    ///
    /// # Errors
    /// `Conflict` when it ran already; `Command` when it can't be run.
    pub async fn start_exec(
        &self,
        id: &str,
        attached: bool,
        size: Option<(u16, u16)>,
    ) -> Result<Option<Streams>> {
        Box::pin(exec::start(&self.core, id, attached, size)).await
    }

    /// Sets the size of an exec's terminal.
    ///
    /// # Errors
    /// `Conflict` when it doesn't run.
    pub async fn resize_exec(&self, id: &str, height: u16, width: u16) -> Result<()> {
        exec::resize(&self.core, id, height, width).await
    }

    /// How an exec is.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn inspect_exec(&self, id: &str) -> Result<ExecView> {
        exec::inspect(&self.core, id).await
    }

    fn find(&self, text: &str) -> Result<Arc<container::Container>> {
        self.core.registry.find(text)
    }
}
