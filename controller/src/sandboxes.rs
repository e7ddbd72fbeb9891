//! The sandboxes service: namespaces with their interfaces, routes and files.

mod create;
mod delete;
pub(crate) mod desired;
pub(crate) mod files;
pub(crate) mod gateway;
mod redirect;
mod refresh;

use std::{path::PathBuf, sync::Arc};

use model::{ContainerId, DnsConfig, HostEntry, Sandbox, SandboxId};

use crate::{
    core::Core,
    error::{Error, Result},
};

pub(crate) use create::{pin, pins, realize};
pub(crate) use delete::finish_deleting;
pub(crate) use refresh::refresh;

/// Which namespace a sandbox gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Namespace {
    /// One made for it and pinned at `EXEC_ROOT/netns/ID`.
    New,
    /// One that somebody else made and pinned here (inside a user namespace, for example). It is unpinned with the
    /// sandbox.
    Adopt(PathBuf),
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
    /// Folder for its `hosts`, `resolv.conf` and `hostname`; made if missing. The files are written in place, so
    /// that bind mounts of them follow; one that the user edited is left alone.
    pub files: PathBuf,
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
        create::create(&self.core, request).await
    }

    /// Disconnects its endpoints and removes it with its namespace. One that is gone is no error.
    ///
    /// # Errors
    /// `Internal` when something could not be removed; the reconciler tries again.
    pub async fn delete(&self, id: SandboxId) -> Result<()> {
        delete::delete(&self.core, id).await
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
