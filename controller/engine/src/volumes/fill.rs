//! An empty volume starts with what the image has at its place.

use std::path::PathBuf;

use images::Image;

use super::{change::Reserved, drivers, record::VolumeMount};
use crate::{
    containers::{Core, blocking},
    error::Result,
    record::Record,
};

/// Whether any volume of a new container may have to be filled: those that are made with it, and known ones that are
/// empty.
///
/// # Errors
/// Those of the file system.
pub(crate) async fn needs_fill(core: &Core, record: &[VolumeMount], reserved: &Reserved) -> Result<bool> {
    let candidates = record.iter().filter(|mount| mount.copy);
    let mut known = Vec::new();
    for mount in candidates {
        if reserved.is_new(&mount.volume) {
            return Ok(true);
        }
        known.push(core.volume_folder(&mount.volume));
    }
    blocking(move || Ok(known.iter().any(|folder| folder.is_empty().unwrap_or(true)))).await
}

/// Fills them. The caller holds their locks.
///
/// # Errors
/// Those of the file system: a full disk, or a file where the volume is to appear.
pub(crate) async fn fill(core: &Core, record: &Record, image: &Image) -> Result<()> {
    let mut mounted = Vec::new();
    let filled = fill_mounted(core, record, image, &mut mounted).await;
    for volume in mounted {
        core.volumes.detach(&volume, record.id);
        let last = !core.volumes.is_attached(&volume);
        if let Some(volume) = core.volumes.get(&volume)
            && let Err(error) = drivers::unmount(core, &volume, record.id, last).await
        {
            tracing::warn!(volume = %volume.name, %error, "unmounting a volume that was filled");
        }
    }
    filled
}

async fn fill_mounted(
    core: &Core,
    record: &Record,
    image: &Image,
    mounted: &mut Vec<model::VolumeName>,
) -> Result<()> {
    let mut folders = Vec::new();
    for mount in record.settings.volumes.iter().filter(|mount| mount.copy) {
        let Some(volume) = core.volumes.get(&mount.volume) else {
            continue;
        };
        core.volumes.attach(&mount.volume, record.id);
        mounted.push(mount.volume.clone());
        drivers::mount(core, &volume, record.id).await?;
        folders.push((core.volume_folder(&mount.volume), mount.destination.clone()));
    }
    let (layers, home) = (image.layers.clone(), core.paths(&record.id).home);
    blocking(move || copy_all(&folders, &layers, &home)).await
}

fn copy_all(
    folders: &[(runtime::volumes::Folder, PathBuf)],
    layers: &[PathBuf],
    home: &std::path::Path,
) -> Result<()> {
    let mut empty = Vec::new();
    for one in folders {
        if one.0.is_empty()? {
            empty.push(one);
        }
    }
    if empty.is_empty() {
        return Ok(());
    }
    let root = runtime::rootfs::mount(layers, home)?;
    let filled = empty
        .iter()
        .try_for_each(|(folder, place)| folder.fill(&root, place).map(drop));
    runtime::rootfs::unmount(home)?;
    Ok(filled?)
}
