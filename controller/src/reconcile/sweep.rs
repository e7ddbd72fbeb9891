//! What is in the kernel with our mark and belongs to no record goes.

use std::{path::PathBuf, sync::Arc};

use kernel::{Object, Owner};
use model::{SandboxId, Snapshot};

use crate::{core::Core, error::Result, sandboxes};

/// Removes links without an owner, and namespaces of sandboxes that nobody knows.
pub(super) async fn sweep(core: &Arc<Core>) {
    if let Err(error) = links(core).await {
        tracing::warn!(%error, "sweeping links failed");
    }
    if let Err(error) = namespaces(core).await {
        tracing::warn!(%error, "sweeping namespaces failed");
    }
}

async fn links(core: &Arc<Core>) -> Result<()> {
    let owned = core.worker.observe_owned("looking for links of ours").await?;
    // Read after the kernel: what is made meanwhile has its record first.
    let snapshot = core.records.snapshot();
    for (mark, object) in owned {
        if is_owned(&snapshot, mark.owner) {
            continue;
        }
        tracing::info!(owner = ?mark.owner, object = %object.key(), "belongs to nobody, removed");
        let objects = [object].into_iter().collect();
        core.worker
            .remove(mark.owner, "removing what belongs to nobody", objects)
            .await?;
    }
    Ok(())
}

/// Pure: whether a record stands behind an object. What is the host's own always has the daemon behind it.
fn is_owned(snapshot: &Snapshot, owner: Owner) -> bool {
    match owner {
        Owner::Network(id) => snapshot.networks.contains_key(&id),
        Owner::Endpoint(id) => snapshot.endpoints.contains_key(&id),
        Owner::Sandbox(id) => snapshot.sandboxes.contains_key(&id),
        Owner::Host => true,
    }
}

async fn namespaces(core: &Arc<Core>) -> Result<()> {
    for (id, path) in pinned(sandboxes::pins(core)).await {
        if core.records.snapshot().sandboxes.contains_key(&id) {
            continue;
        }
        tracing::info!(sandbox = %id.short(), "its namespace belongs to nobody, removed");
        let namespace = [Object::Namespace(path)].into_iter().collect();
        core.worker
            .remove(Owner::Sandbox(id), "removing a namespace of nobody's", namespace)
            .await?;
    }
    Ok(())
}

/// Pins whose names are sandboxes' ids; others are not ours to judge.
async fn pinned(folder: PathBuf) -> Vec<(SandboxId, PathBuf)> {
    let read = move || {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let named =
            entries.filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())));
        named.collect()
    };
    tokio::task::spawn_blocking(read).await.unwrap_or_default()
}
