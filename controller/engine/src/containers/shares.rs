//! Namespaces of another container: its processes, its shared memory.
//!
//! Which container that is is decided when this one is made; where it runs, when this one starts.

use std::path::PathBuf;

use model::ContainerId;
use runtime::{
    rootfs,
    spec::{ContainerConfig, Mount, Namespace},
};

use super::{Core, create};
use crate::{
    error::{Error, Result},
    record::{Record, Shares},
};

/// Docker's size of shared memory.
const SHM_SIZE: u64 = 64 << 20;

/// Containers by name or id.
#[derive(Debug, Clone, Default)]
pub struct AskedShares {
    /// Whose processes it is to see.
    pub pid: Option<String>,
    /// Whose shared memory it is to have.
    pub ipc: Option<String>,
    /// Others may have its own.
    pub shareable: bool,
}

/// Finds the containers.
pub(super) fn decide(core: &Core, asked: &AskedShares) -> Result<Shares> {
    let find = |name: &Option<String>| -> Result<Option<ContainerId>> {
        let found = name
            .as_deref()
            .map(|name| core.registry.find(name).map_err(create::as_invalid));
        Ok(found.transpose()?.map(|container| container.id()))
    };
    Ok(Shares {
        pid: find(&asked.pid)?,
        ipc: find(&asked.ipc)?,
        shareable: asked.shareable,
    })
}

/// Puts the namespaces into what is run.
pub(super) fn apply(core: &Core, record: &Record, config: &mut ContainerConfig) -> Result<()> {
    if let Some(other) = record.settings.shares.pid {
        config.pid = Namespace::Path(folder(core, other, "PID")?.join("ns/pid"));
    }
    let home = |id| core.paths(id).home;
    let memory = match record.settings.shares.ipc {
        Some(other) => {
            config.ipc = Namespace::Path(folder(core, other, "IPC")?.join("ns/ipc"));
            rootfs::shared_memory(&home(&shareable(core, other)?))
        }
        None if record.settings.shares.shareable => {
            let size = config.shm_size.filter(|size| *size > 0).unwrap_or(SHM_SIZE);
            rootfs::mount_shared_memory(&home(&record.id), size)?
        }
        None => return Ok(()),
    };
    let destination = PathBuf::from("/dev/shm");
    if !config
        .mounts
        .iter()
        .any(|mount| mount.destination() == destination)
    {
        config.mounts.push(Mount::bind(memory, destination));
    }
    Ok(())
}

/// The other, if it lets others have its memory.
fn shareable(core: &Core, other: ContainerId) -> Result<ContainerId> {
    let container = core.registry.get(&other);
    if container.is_some_and(|container| container.record().settings.shares.shareable) {
        return Ok(other);
    }
    Err(Error::invalid(format!(
        "cannot join IPC of a container {other}: non-shareable IPC"
    ))
    .with_hint("make that container with --ipc shareable"))
}

/// `/proc/PID` of the other's first process.
fn folder(core: &Core, other: ContainerId, kind: &str) -> Result<PathBuf> {
    let container = core.registry.get(&other).ok_or_else(|| {
        Error::not_found(format!("No such container: {other}")).with_hint(format!(
            "the container whose {kind} namespace this one shares is gone: make this one anew"
        ))
    })?;
    let state = &container.record().state;
    match state.pid.filter(|_| state.phase.has_process()) {
        Some(pid) => Ok(PathBuf::from(format!("/proc/{pid}"))),
        None => Err(Error::conflict(format!(
            "cannot join {kind} namespace of a non running container: {other}"
        ))),
    }
}
