//! What a volume's driver does. The local one is a folder of ours.

use model::{ContainerId, VolumeName};
use runtime::volumes::{Folder, LocalMount, OptionError};

use super::record::{LOCAL, VolumeRecord};
use crate::{
    containers::{Core, blocking},
    error::{Error, Result},
};

impl Core {
    /// The folder of a volume of the local driver.
    pub(super) fn volume_folder(&self, name: &VolumeName) -> Folder {
        Folder::new(self.data_root.join("volumes").join(name.as_str()))
    }
}

/// Whether a new volume can be: its driver is there and takes its options.
pub(super) fn check(record: &VolumeRecord) -> Result<()> {
    match record.driver.as_str() {
        LOCAL => local_mount(record).map(drop),
        other => Err(no_such_driver(&record.name, other)),
    }
}

fn no_such_driver(name: &VolumeName, driver: &str) -> Error {
    Error::not_found(format!(
        "create {name}: error looking up volume plugin {driver}: plugin {driver:?} not found"
    ))
    .with_hint("the local driver is built in")
}

fn local_mount(record: &VolumeRecord) -> Result<Option<LocalMount>> {
    LocalMount::parse(&record.options).map_err(|error: OptionError| {
        Error::invalid(format!("create {}: {error}", record.name)).with_hint(error.hint())
    })
}

/// Where containers' mounts of it come from, without making anything; empty when only a mount tells.
pub(super) fn mountpoint(core: &Core, record: &VolumeRecord) -> String {
    core.volume_folder(&record.name).data().display().to_string()
}

/// Makes what a recorded volume needs.
pub(super) async fn make(core: &Core, record: &VolumeRecord) -> Result<()> {
    let folder = core.volume_folder(&record.name);
    blocking(move || Ok(folder.make()?)).await
}

/// Makes it visible on this host for a container, and tells where. The caller holds the volume's lock.
pub(super) async fn mount(
    core: &Core,
    record: &VolumeRecord,
    _for: ContainerId,
) -> Result<std::path::PathBuf> {
    let folder = core.volume_folder(&record.name);
    let options = local_mount(record)?;
    blocking(move || {
        folder.mount(options.as_ref())?;
        Ok(folder.data())
    })
    .await
}

/// The way back for a container; `last` when no other sees it. The caller holds the volume's lock.
pub(super) async fn unmount(core: &Core, record: &VolumeRecord, _for: ContainerId, last: bool) -> Result<()> {
    if !last || record.options.is_empty() {
        return Ok(());
    }
    let folder = core.volume_folder(&record.name);
    blocking(move || Ok(folder.unmount()?)).await
}

/// Removes it with what is in it.
pub(super) async fn remove(core: &Core, record: &VolumeRecord) -> Result<()> {
    let folder = core.volume_folder(&record.name);
    blocking(move || Ok(folder.remove()?)).await
}
