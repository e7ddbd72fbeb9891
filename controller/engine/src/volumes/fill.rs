//! An empty volume starts with what the image has at its place.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use images::Image;
use model::VolumeName;
use runtime::volumes::Folder;

use super::{
    change::Reserved,
    drivers,
    record::{LOCAL, VolumeMount, VolumeRecord},
};
use crate::{
    containers::{Core, blocking},
    error::{Error, Result},
    record::Record,
};

/// Whether any volume of a new container may have to be filled: those that are made with it, and known ones that are
/// empty, as far as that is seen without asking their driver.
///
/// # Errors
/// Those of the file system.
pub(crate) async fn needs_fill(core: &Core, mounts: &[VolumeMount], reserved: &Reserved) -> Result<bool> {
    let mut known = Vec::new();
    for mount in mounts.iter().filter(|mount| mount.copy) {
        if reserved.is_new(&mount.volume) || mount.driver != LOCAL {
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
    let mounts = record.settings.volumes.iter().filter(|mount| mount.copy);
    let places: Vec<_> = mounts
        .map(|mount| (mount.volume.clone(), mount.destination.clone()))
        .collect();
    let (layers, home) = (image.layers.clone(), core.paths(&record.id).home);
    let root = home.clone();
    let mounted = blocking(move || {
        let root = runtime::rootfs::mount(&layers, &root)?;
        let mut offered = Vec::new();
        for (volume, place) in places {
            if runtime::volumes::offers(&root, &place)? {
                offered.push((volume, place));
            }
        }
        Ok((root, offered))
    });
    let filled = match mounted.await {
        Ok((root, offered)) => fill_all(core, record, root, offered).await,
        Err(error) => Err(error),
    };
    let unmounted = blocking(move || Ok(runtime::rootfs::unmount(&home)?)).await;
    filled.and(unmounted)
}

async fn fill_all(
    core: &Core,
    record: &Record,
    root: PathBuf,
    offered: Vec<(VolumeName, PathBuf)>,
) -> Result<()> {
    for (name, from) in offered {
        let Some(volume) = core.volumes.get(&name) else {
            continue;
        };
        core.volumes.attach(&name, record.id);
        let filled = fill_one(core, record, &volume, root.clone(), from).await;
        core.volumes.detach(&name, record.id);
        let last = !core.volumes.is_attached(&name);
        if let Err(error) = drivers::unmount(core, &volume, record.id, last).await {
            tracing::warn!(volume = %name, %error, "unmounting a volume that was filled");
        }
        filled?;
    }
    Ok(())
}

async fn fill_one(
    core: &Core,
    record: &Record,
    volume: &Arc<VolumeRecord>,
    root: PathBuf,
    from: PathBuf,
) -> Result<()> {
    let theirs = drivers::mount(core, volume, record.id).await?;
    let place = match volume.driver == LOCAL {
        true => Place::Ours(core.volume_folder(&volume.name)),
        false => Place::Theirs(theirs),
    };
    blocking(move || place.fill(&root, &from)).await
}

/// Where an image's content is copied to.
enum Place {
    /// A volume of the local driver.
    Ours(Folder),
    /// Where a plugin has a volume.
    Theirs(PathBuf),
}

impl Place {
    fn fill(&self, root: &Path, from: &Path) -> Result<()> {
        match self {
            Self::Ours(folder) => drop(folder.fill(root, from)?),
            Self::Theirs(path) => {
                let entries = fs::read_dir(path);
                let mut entries = entries.map_err(Error::internal(format!("reading {}", path.display())))?;
                if entries.next().is_none() {
                    runtime::volumes::fill(root, from, path)?;
                }
            }
        }
        Ok(())
    }
}
