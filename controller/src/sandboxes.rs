//! The sandboxes service: namespaces with their interfaces, routes and files.

mod access;
mod connected;
mod create;
mod delete;
pub(crate) mod desired;
pub(crate) mod files;
pub(crate) mod gateway;
mod insides;
pub(crate) mod links;
mod ports;
mod publish;
mod redirect;
mod refresh;
mod routes;
mod unlink;

use std::{path::PathBuf, sync::Arc};

use model::{
    ContainerId, DnsConfig, ExposedPorts, ForeignNamespace, HostEntry, NetworkId, PortBinding,
    PublishedPorts, Sandbox, SandboxId, SandboxLink,
};

use crate::{
    core::Core,
    error::{Error, Result},
};

pub(crate) use access::{access, forget_flows, give_up, remember, sync};
pub(crate) use connected::{is_whole, make_ready, sysctls_hold};
pub(crate) use create::{create, pin, pins, realize};
pub(crate) use delete::{delete, finish_deleting, mark};
pub(crate) use insides::Insides;
pub(crate) use ports::{Held, record_alone as record, settle as settle_ports, unsettled};
pub(crate) use publish::{publish, unpublish};
pub(crate) use refresh::{refresh, wanted};

/// Which namespace a sandbox gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Namespace {
    /// One made for it and pinned at `EXEC_ROOT/netns/ID`.
    New,
    /// One made for it as `New`, which belongs to the user namespace pinned at this path.
    Within(PathBuf),
    /// One that somebody else made and pinned here (inside a user namespace, for example). It is unpinned with the
    /// sandbox.
    Adopt(PathBuf),
    /// One that somebody else made and will end: never pinned or unpinned here. A sandbox in it has no files.
    Foreign(ForeignNamespace),
    /// The host's own: nothing of ours goes in.
    Host,
}

/// A sandbox wanted.
#[derive(Debug, Clone)]
pub struct CreateSandbox {
    /// The container it is for, when an engine runs one.
    pub container: Option<ContainerId>,
    /// Its namespace.
    pub kind: Namespace,
    /// Host name, without domain.
    pub hostname: String,
    /// Domain, perhaps empty.
    pub domainname: String,
    /// Name service settings.
    pub dns: DnsConfig,
    /// Extra lines of its hosts file.
    pub extra_hosts: Vec<HostEntry>,
    /// Containers that it finds in its hosts file on the default bridge.
    pub links: Vec<SandboxLink>,
    /// Folder for its `hosts`, `resolv.conf` and `hostname`; made if missing. The files are written in place, so
    /// that bind mounts of them follow; one that the user edited is left alone. Empty for none.
    pub files: PathBuf,
    /// What it is called when somebody else wants one of its ports: the container's name.
    pub name: String,
    /// Ports to publish. They are decided and claimed with the sandbox, and lead to whichever endpoint is its gateway. A
    /// sandbox in the host's namespace has none: it listens on the host itself.
    pub ports: Vec<PortBinding>,
    /// The network that is asked for the host address of ports that name none
    /// (`com.docker.network.bridge.host_binding_ipv4`): the one it is to join first.
    pub ports_network: Option<NetworkId>,
    /// Ports it listens on, which links open where no two containers reach each other.
    pub exposed: Vec<ExposedPorts>,
}

/// Sandboxes of this host.
#[derive(Debug, Clone)]
pub struct Sandboxes {
    pub(crate) core: Arc<Core>,
}

impl Sandboxes {
    /// Makes a sandbox with its loopback up, the redirect of 127.0.0.11 in place and its files written.
    ///
    /// # Errors
    /// `Internal` when the kernel refuses.
    pub async fn create(&self, request: CreateSandbox) -> Result<Arc<Sandbox>> {
        create(&self.core, request).await
    }

    /// Disconnects its endpoints and removes it with its namespace. One that is gone is no error.
    ///
    /// # Errors
    /// `Internal` when something could not be removed; the reconciler tries again.
    pub async fn delete(&self, id: SandboxId) -> Result<()> {
        delete(&self.core, id).await
    }

    /// Publishes more ports of a sandbox, at once.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` for a sandbox in the host's namespace and for bindings that make no sense; `Conflict` for
    /// ports that are taken, each with who has it. Then nothing is changed.
    pub async fn publish(&self, id: SandboxId, bindings: Vec<PortBinding>) -> Result<Vec<PublishedPorts>> {
        publish(&self.core, id, bindings).await
    }

    /// Gives published ports back, and ends what passes through them. Those that are not published are no error.
    ///
    /// # Errors
    /// `NotFound`; `Internal` when the kernel refuses: the reconciler tries again.
    pub async fn unpublish(&self, id: SandboxId, ports: &[PublishedPorts]) -> Result<()> {
        unpublish(&self.core, id, ports).await
    }

    /// Writes again what follows from other sandboxes' records: where the containers are that it links to.
    ///
    /// # Errors
    /// `NotFound`; `Internal` when a file can't be written.
    pub async fn follow_links(&self, id: SandboxId) -> Result<()> {
        refresh(&self.core, &self.get(id)?).await
    }

    /// Takes a link away, by the container that it leads to and its first name: the names it gave and what it opened.
    /// One that isn't there is no error.
    ///
    /// # Errors
    /// `NotFound` for the sandbox; `Internal` when the kernel refuses: the reconciler tries again.
    pub async fn unlink(&self, id: SandboxId, container: ContainerId, alias: &str) -> Result<()> {
        unlink::unlink(&self.core, id, container, alias).await
    }

    /// One sandbox.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn get(&self, id: SandboxId) -> Result<Arc<Sandbox>> {
        let snapshot = self.core.records.snapshot();
        let found = snapshot.sandboxes.get(&id).cloned();
        found.ok_or_else(|| Error::not_found(format!("sandbox {} not found", id.short())))
    }

    /// Every sandbox.
    pub fn list(&self) -> Vec<Arc<Sandbox>> {
        self.core.records.snapshot().sandboxes.values().cloned().collect()
    }
}
