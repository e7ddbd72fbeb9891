//! What a volume's driver does. The local one is a folder of ours; every other is a plugin.

use std::{path::PathBuf, sync::Arc, time::Duration};

use model::{ContainerId, VolumeName};
use plugin_proto::{Call, Plugin, activation::VOLUME_DRIVER, volume_driver as calls};
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

fn is_local(record: &VolumeRecord) -> bool {
    record.driver == LOCAL
}

/// Sees that a new volume can be: its driver is there and takes its options. A plugin makes it now, or finds it.
pub(super) async fn prepare(core: &Core, record: &mut VolumeRecord) -> Result<()> {
    if is_local(record) {
        return local_mount(record).map(drop);
    }
    let plugin = plugin(core, record).await?;
    let name = record.name.to_string();
    let known = plugin.call(&calls::Get { name: name.clone() }).await;
    if !known.is_ok_and(|found| found.volume.is_some()) {
        let opts = record.options.clone();
        ask(&plugin, record, "create", &calls::Create { name, opts }).await?;
    }
    let capable = plugin.call(&calls::GetCapabilities {}).await;
    record.global = capable.is_ok_and(|capable| capable.capabilities.is_global());
    Ok(())
}

async fn plugin(core: &Core, record: &VolumeRecord) -> Result<Arc<Plugin>> {
    let plugin = core.plugins.named(&record.driver);
    match plugin.require(VOLUME_DRIVER, Duration::ZERO).await {
        Ok(()) => Ok(plugin),
        Err(error) => {
            tracing::debug!(driver = record.driver, %error, "looking for a volume driver");
            Err(Error::not_found(format!(
                "create {}: error looking up volume plugin {driver}: plugin {driver:?} not found",
                record.name,
                driver = record.driver
            ))
            .with_hint("the local driver is built in; a plugin's socket lies in /run/docker/plugins"))
        }
    }
}

async fn ask<C: Call + Sync>(
    plugin: &Plugin,
    record: &VolumeRecord,
    doing: &str,
    call: &C,
) -> Result<C::Reply> {
    let reply = plugin.call(call).await;
    reply.map_err(Error::internal(format!("{doing} {}", record.name)))
}

fn local_mount(record: &VolumeRecord) -> Result<Option<LocalMount>> {
    LocalMount::parse(&record.options).map_err(|error: OptionError| {
        Error::invalid(format!("create {}: {error}", record.name)).with_hint(error.hint())
    })
}

/// Where containers' mounts of it come from, without asking anybody; empty when only its driver knows.
pub(super) fn mountpoint(core: &Core, record: &VolumeRecord) -> String {
    match is_local(record) {
        true => core.volume_folder(&record.name).data().display().to_string(),
        false => String::new(),
    }
}

/// What a plugin says of a volume: where it is, and anything else. Nothing of a local one, or from a plugin that is away.
pub(super) async fn status(
    core: &Core,
    record: &VolumeRecord,
) -> Option<(String, Option<serde_json::Value>)> {
    if is_local(record) {
        return None;
    }
    let plugin = plugin(core, record).await.ok()?;
    let name = record.name.to_string();
    let volume = plugin.call(&calls::Get { name }).await.ok()?.volume?;
    let status = Some(volume.status).filter(|status| !status.is_empty());
    Some((volume.mountpoint, status.map(serde_json::Value::Object)))
}

/// Makes what a recorded volume needs.
pub(super) async fn make(core: &Core, record: &VolumeRecord) -> Result<()> {
    if !is_local(record) {
        return Ok(());
    }
    let folder = core.volume_folder(&record.name);
    blocking(move || Ok(folder.make()?)).await
}

/// Makes it visible on this host for a container, and tells where. The caller holds the volume's lock.
pub(super) async fn mount(core: &Core, record: &VolumeRecord, id: ContainerId) -> Result<PathBuf> {
    if is_local(record) {
        let folder = core.volume_folder(&record.name);
        let options = local_mount(record)?;
        return blocking(move || {
            folder.mount(options.as_ref())?;
            Ok(folder.data())
        })
        .await;
    }
    let (plugin, name) = (plugin(core, record).await?, record.name.to_string());
    let call = calls::Mount {
        name: name.clone(),
        id: id.to_string(),
    };
    let mut mounted = ask(&plugin, record, "mount", &call).await?;
    if mounted.mountpoint.is_empty() {
        mounted = ask(&plugin, record, "mount", &calls::Path { name }).await?;
    }
    match mounted.mountpoint.starts_with('/') {
        true => Ok(mounted.mountpoint.into()),
        false => Err(Error::Internal {
            doing: format!("mount {}", record.name),
            source: format!("its driver says that it is at {:?}", mounted.mountpoint).into(),
        }),
    }
}

/// The way back for a container; `last` when no other sees it. The caller holds the volume's lock.
pub(super) async fn unmount(core: &Core, record: &VolumeRecord, id: ContainerId, last: bool) -> Result<()> {
    if !is_local(record) {
        let call = calls::Unmount {
            name: record.name.to_string(),
            id: id.to_string(),
        };
        let plugin = plugin(core, record).await?;
        return ask(&plugin, record, "unmount", &call).await.map(drop);
    }
    if !last || record.options.is_empty() {
        return Ok(());
    }
    let folder = core.volume_folder(&record.name);
    blocking(move || Ok(folder.unmount()?)).await
}

/// Takes away what a crash left mounted. What plugins mounted for whom is their own affair.
pub(super) async fn unmount_leftover(core: &Core, record: &VolumeRecord) -> Result<()> {
    match is_local(record) {
        true => unmount(core, record, ContainerId::random(), true).await,
        false => Ok(()),
    }
}

/// Removes it with what is in it.
pub(super) async fn remove(core: &Core, record: &VolumeRecord) -> Result<()> {
    if !is_local(record) {
        let name = record.name.to_string();
        let plugin = plugin(core, record).await?;
        return ask(&plugin, record, "remove", &calls::Remove { name })
            .await
            .map(drop);
    }
    let folder = core.volume_folder(&record.name);
    blocking(move || Ok(folder.remove()?)).await
}
