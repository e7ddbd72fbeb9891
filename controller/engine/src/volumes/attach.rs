//! A start sees a container's volumes mounted, the way back from it unmounts those that nobody else sees.

use std::path::{Path, PathBuf};

use model::ContainerId;
use runtime::spec::{Below, Mount};

use super::{
    change::tell,
    drivers,
    record::{LOCAL, VolumeMount, VolumeRecord},
};
use crate::{
    containers::{Core, blocking},
    error::{Error, Result},
    record::Record,
};

/// Makes a container's volumes visible on this host and tells what is to be bound where.
///
/// # Errors
/// Those of the drivers; `Internal` for a part of a volume that is not there.
pub(crate) async fn attach(core: &Core, record: &Record) -> Result<Vec<Mount>> {
    let mut mounts = Vec::new();
    for (at, mount) in record.settings.volumes.iter().enumerate() {
        let _lock = core.volumes.lock(&mount.volume).await;
        let Some(volume) = core.volumes.get(&mount.volume) else {
            return Err(Error::not_found(format!("get {}: no such volume", mount.volume)));
        };
        core.volumes.attach(&mount.volume, record.id);
        let source = drivers::mount(core, &volume, record.id).await?;
        // A part is a mount of its own, which is not seen through another.
        let source = match record
            .users(core)
            .filter(|_| mount.subpath.is_some() && is_ours(&volume))
        {
            Some(users) => users.through(&source),
            None => source,
        };
        let source = part(core, record.id, at, mount, source).await?;
        tell(core, &volume, "mount", &attributes(record.id, mount));
        mounts.push(Mount::Bind {
            source,
            destination: mount.destination.clone(),
            readonly: mount.readonly,
            propagation: String::new(),
            below: Below::Alike,
            ours: mount.subpath.is_none() && is_ours(&volume),
        });
    }
    Ok(mounts)
}

/// A plain folder of the data-root.
fn is_ours(volume: &VolumeRecord) -> bool {
    volume.driver == LOCAL && volume.options.is_empty()
}

fn attributes(container: ContainerId, mount: &VolumeMount) -> [(&'static str, String); 4] {
    [
        ("container", container.to_string()),
        ("destination", mount.destination.display().to_string()),
        ("propagation", String::new()),
        ("read/write", (!mount.readonly).to_string()),
    ]
}

/// The whole volume, or a part of it under a mount of its own.
async fn part(
    core: &Core,
    container: ContainerId,
    at: usize,
    mount: &VolumeMount,
    whole: PathBuf,
) -> Result<PathBuf> {
    let Some(subpath) = mount.subpath.clone() else {
        return Ok(whole);
    };
    let place = pins(core, container).join(at.to_string());
    blocking(move || {
        runtime::volumes::pin(&whole, &subpath, &place)?;
        Ok(place)
    })
    .await
}

fn pins(core: &Core, container: ContainerId) -> PathBuf {
    core.paths(&container).home.join("parts")
}

/// The way back. Goes on after a failure and tells the first.
///
/// # Errors
/// Those of the drivers.
pub(crate) async fn detach(core: &Core, record: &Record) -> Result<()> {
    let mut result = Ok(());
    if record
        .settings
        .volumes
        .iter()
        .any(|mount| mount.subpath.is_some())
    {
        let (pins, count) = (pins(core, record.id), record.settings.volumes.len());
        result = blocking(move || unpin_all(&pins, count)).await;
    }
    for mount in &record.settings.volumes {
        let _lock = core.volumes.lock(&mount.volume).await;
        if !core.volumes.detach(&mount.volume, record.id) {
            continue; // twice in one container, or never seen by it
        }
        let Some(volume) = core.volumes.any(&mount.volume) else {
            continue;
        };
        result = result.and(release(core, &volume, record.id).await);
        tell(core, &volume, "unmount", &[("container", record.id.to_string())]);
    }
    result
}

async fn release(core: &Core, volume: &VolumeRecord, container: ContainerId) -> Result<()> {
    let last = !core.volumes.is_attached(&volume.name);
    drivers::unmount(core, volume, container, last).await
}

fn unpin_all(pins: &Path, count: usize) -> Result<()> {
    let mut result = Ok(());
    for at in 0..count {
        result = result.and(runtime::volumes::unpin(&pins.join(at.to_string())));
    }
    Ok(result?)
}

/// A container that runs since before the daemon started sees its volumes already.
pub(crate) fn mark_attached(core: &Core, record: &Record) {
    for mount in &record.settings.volumes {
        core.volumes.attach(&mount.volume, record.id);
    }
}
