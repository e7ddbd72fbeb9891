//! Where containers, images and networks meet.
//!
//! The controller knows networks and no processes, the runtime processes and no networks, the image store neither:
//! this crate makes a container's documented life of the three. It decides what Docker's users rely on (which network
//! a container is on, when it is started again, what `rm` may do) and tells everything that happens on one bus. It
//! speaks no HTTP.
#![forbid(unsafe_code)]

mod containers;
mod error;
mod event;
mod images;
pub mod record;
mod system;
#[cfg(test)]
mod tests;
mod volumes;

#[cfg(test)]
extern crate self as engine;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};

use controller::Controller;
use model::Labels;
use runtime::Runtime;
use store::Store;
use tokio::task::JoinHandle;

pub use ::images::{Healthcheck, HistoryEntry, Image, ImageId, Import, Loaded, Reference, Removed};
pub use containers::{
    ArchiveStream, AskedMode, AskedShares, Attached, Change, ChangeKind, Containers, CopyIn, CreateContainer,
    CreateExec, ExecView, FileFacts, Health, HealthStatus, LogQuery, LogStream, Missing, Probe, Processes,
    Query, Sample, StopOptions, Update, View, Wait, WaitCondition, log_expression, name_matches,
};
pub use controller::{
    AttachForeign, AttachedForeign, CreateNetwork, Error as NetworkError, Foreign, ForeignSandbox, Gateways,
    NetworkChange, Networks, Observed, ObservedRoute, PoolUse, PruneFilter, Readiness, foreign_group,
};
pub use error::{Error, Result};
pub use event::{Event, Events, Subject, Subscription};
pub use images::Images;
pub use record::{Record, Settings};
pub use registry::{Error as LoginError, Login};
pub use runtime::{Attach, ForwardTo, Streams, SyslogTls, stats};
pub use system::insecure_registry;
pub use volumes::{
    AskedVolume, AskedVolumes, CreateVolume, PrunedVolumes, VolumeMount, VolumePrune, VolumeQuery,
    VolumeRecord, VolumeUsage, VolumeView, Volumes,
};

/// What the runtime is asked for, in its own words.
pub mod run {
    /// What of the wishes this host can't give and a container is made without, in words.
    pub fn discarded(config: &ContainerConfig) -> Vec<String> {
        if config.resources == Resources::default() {
            return Vec::new();
        }
        runtime::spec::discarded(config, &runtime::spec::HostFacts::read())
    }

    pub use runtime::spec::{
        Below, ContainerConfig, Device, MASKED, Mount, Namespace, READONLY, Resources, Seccomp, Ulimit,
        exec::ExecConfig,
    };
}

use containers::Core;

/// Everything an engine is made of.
#[derive(Debug, Clone)]
pub struct EngineParts {
    /// Networks, endpoints, sandboxes.
    pub controller: Arc<Controller>,
    /// Processes.
    pub runtime: Runtime,
    /// Images.
    pub images: Arc<::images::Store>,
    /// The store of this host's own records.
    pub store: Arc<dyn Store>,
    /// Containers' folders are in `containers/` below it.
    pub data_root: PathBuf,
    /// The host's name, which containers in its network have too.
    pub hostname: String,
    /// Name service settings of containers that don't have their own, each of the three by itself.
    pub dns: model::DnsConfig,
    /// What `host-gateway` is in containers' hosts files, one for each family; empty for the default bridge's gateways.
    pub host_gateway: Vec<std::net::IpAddr>,
    /// The users' namespace of containers, if they are not in the host's.
    pub users: Option<Arc<runtime::Users>>,
    /// Volume drivers of others.
    pub plugins: Arc<plugin_proto::Plugins>,
    /// What `info` and `version` say of this daemon.
    pub about: About,
}

/// What `info` and `version` say of this daemon beyond what the engine knows itself.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// The daemon's identity.
    pub id: String,
    /// Its version.
    pub version: String,
    /// The commit it was built from; empty when not known.
    pub commit: String,
    /// When it was built, RFC 3339; empty when not known.
    pub built: String,
    /// The compiler's version.
    pub compiler: String,
    /// It logs at debug level.
    pub debug: bool,
    /// The cluster store, as it was configured; empty for none.
    pub cluster_store: String,
    /// The address that other hosts reach this one at; empty for none.
    pub cluster_advertise: String,
    /// Pools that networks without a subnet are cut from, with the prefix length of a piece.
    pub default_pools: Vec<(String, u8)>,
    /// The daemon's labels, `key=value`.
    pub labels: Vec<String>,
    /// Registries that are spoken to though nobody vouches for them: hosts and subnets.
    pub insecure_registries: Vec<String>,
    /// Registries that have what Docker Hub has, as they were configured.
    pub registry_mirrors: Vec<String>,
    /// Containers have users of their own.
    pub remapped_users: bool,
    /// Whether rules are made by nftables or by iptables.
    pub firewall_backend: String,
    /// What a new reading of the configuration can change, as the event of a reload tells it.
    pub settings: Labels,
}

/// Containers, images and networks.
#[derive(Debug)]
pub struct Engine {
    /// Containers.
    pub containers: Containers,
    /// Images.
    pub images: Images,
    /// Volumes.
    pub volumes: Volumes,
    /// Networks: the controller's own service.
    pub networks: Networks,
    /// Sandboxes in namespaces that somebody else made: the controller's own service, but for [`Engine::attach`].
    pub foreign: Foreign,
    /// What happens.
    pub events: Arc<Events>,
    about: Mutex<Arc<About>>,
    controller: Arc<Controller>,
    data_root: PathBuf,
    dns: model::DnsConfig,
    forwarding: JoinHandle<()>,
}

impl Engine {
    /// Reads the records, takes over the containers that run, undoes what a crash left half done, and starts what is
    /// to run with the daemon.
    ///
    /// # Errors
    /// When the records can't be read. What fails for one container is logged.
    pub async fn start(parts: EngineParts) -> Result<Arc<Self>> {
        let events = Arc::new(Events::new());
        let forwarding = tokio::spawn(forward(parts.controller.events(), events.clone()));
        let core = Core::open(&parts, events.clone()).await?;
        let engine = Self {
            containers: Containers { core: core.clone() },
            images: Images { core: core.clone() },
            volumes: Volumes { core },
            networks: parts.controller.networks.clone(),
            foreign: parts.controller.foreign.clone(),
            dns: parts.dns,
            events,
            about: Mutex::new(Arc::new(parts.about)),
            controller: parts.controller,
            data_root: parts.data_root,
            forwarding,
        };
        engine.containers.adopt().await;
        Ok(Arc::new(engine))
    }

    /// [`Foreign::attach`], with the daemon's name service settings where the request has none.
    ///
    /// # Errors
    /// As that.
    pub async fn attach(&self, mut request: AttachForeign) -> Result<AttachedForeign> {
        request.dns = containers::prepare::or_default(&request.dns, &self.dns);
        Ok(self.foreign.attach(request).await?)
    }

    /// Every record of networks, endpoints and hosts, now.
    pub fn snapshot(&self) -> Arc<model::Snapshot> {
        self.controller.snapshot().borrow().clone()
    }

    /// What the kernel lacks, as far as it is known yet.
    pub fn missing(&self) -> Vec<controller::Missing> {
        self.controller.missing()
    }

    /// Other people's firewalls that don't let packets of containers pass: who, and what to do about it.
    pub fn blocked(&self) -> Vec<(String, String)> {
        let passages = self.controller.passages().into_iter();
        let blocked = passages.filter_map(|passage| match passage {
            controller::Passage::Blocked { by, hint } => Some((by, hint)),
            controller::Passage::Opened { .. } => None,
        });
        blocked.collect()
    }

    /// Where everything is kept.
    pub const fn data_root(&self) -> &PathBuf {
        &self.data_root
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.forwarding.abort();
    }
}

/// Tells the controller's events on the engine's bus.
async fn forward(mut from: tokio::sync::broadcast::Receiver<controller::Event>, to: Arc<Events>) {
    use tokio::sync::broadcast::error::RecvError;
    loop {
        match from.recv().await {
            Ok(event) => to.send(event.into()),
            Err(RecvError::Lagged(lost)) => tracing::warn!(lost, "network events came too fast"),
            Err(RecvError::Closed) => return,
        }
    }
}
