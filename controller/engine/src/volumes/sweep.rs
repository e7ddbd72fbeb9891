//! The daemon's start: what a crash left of volumes is finished or undone.

use super::{change, drivers, record::VolumeRecord};
use crate::{
    containers::{Core, blocking},
    error::Result,
};

/// Brings every volume and its record together, once it is known which containers run. What fails for one is logged and
/// does not keep the others.
pub(crate) async fn sweep(core: &Core) {
    for record in core.volumes.all() {
        if let Err(error) = settle(core, &record).await {
            tracing::warn!(volume = %record.name, %error, "looking after a volume");
        }
    }
}

async fn settle(core: &Core, record: &VolumeRecord) -> Result<()> {
    if record.removing {
        return change::finish(core, record).await;
    }
    let _lock = core.volumes.lock(&record.name).await;
    let (folder, attached) = (
        core.volume_folder(&record.name),
        core.volumes.is_attached(&record.name),
    );
    // What is mounted there may be others' too.
    let keep = attached || !record.options.is_empty();
    let undone = blocking(move || Ok(folder.undo_fill(keep)?)).await?;
    if undone {
        tracing::info!(volume = %record.name, "emptied: the daemon ended while it was being filled");
    }
    match attached {
        true => Ok(()),
        false => drivers::unmount_leftover(core, record).await,
    }
}
