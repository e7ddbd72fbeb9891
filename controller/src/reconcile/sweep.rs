//! What is in the kernel with our mark and belongs to no record goes.

use std::{path::PathBuf, sync::Arc};

use drivers::overlay;
use kernel::{Netns, Object, Owner};
use model::{SandboxId, Snapshot};

use crate::{core::Core, error::Result, sandboxes};

/// Removes links without an owner, and namespaces of sandboxes and of networks that nobody knows.
pub(super) async fn sweep(core: &Arc<Core>) {
    if let Err(error) = links(core).await {
        tracing::warn!(%error, "sweeping links failed");
    }
    if let Err(error) = namespaces(core).await {
        tracing::warn!(%error, "sweeping namespaces failed");
    }
    if let Err(error) = overlays(core).await {
        tracing::warn!(%error, "sweeping namespaces of networks failed");
    }
}

/// What drivers themselves have on the host for networks that are no more.
pub(super) async fn tidy(core: &Arc<Core>) {
    for name in core.catalog.names() {
        let Some(driver) = core.catalog.driver(&name).filter(|driver| !driver.is_remote()) else {
            continue;
        };
        let doing = "looking for what is left of networks";
        if let Err(error) = core.call(&name, doing, driver.tidy()).await {
            tracing::warn!(driver = name, %error, "what is left of networks could not be removed");
        }
    }
}

async fn links(core: &Arc<Core>) -> Result<()> {
    let owned = core
        .worker
        .observe_owned("looking for links of ours", Netns::Host)
        .await?;
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
    let pins = pinned(sandboxes::pins(core)).await.into_iter();
    for (id, path) in pins.filter_map(|(name, path)| Some((name.parse::<SandboxId>().ok()?, path))) {
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

/// The namespaces of overlay networks whose records are lost, with what is in them: a tunnel's socket is on the host and
/// would keep its network identifier for as long as the kernel takes to end the namespace.
async fn overlays(core: &Arc<Core>) -> Result<()> {
    let pins = pinned(sandboxes::pins(core)).await.into_iter();
    for (name, path) in pins.filter(|(name, _)| overlay::is_pin_name(name)) {
        let snapshot = core.records.snapshot();
        // While the cluster store is silent nobody can say which networks there are.
        if snapshot.stale || snapshot.networks.keys().any(|id| overlay::pin_name(id) == name) {
            continue;
        }
        tracing::info!(%name, "a network's namespace belongs to nobody, removed");
        let doing = "removing a network's namespace of nobody's";
        let home = Netns::Pinned(path.clone());
        let inside = core.worker.observe_owned(doing, home).await?;
        let all = inside.into_iter().map(|(_, object)| object);
        let all = all.chain([Object::Namespace(path)]).collect();
        core.worker.remove(Owner::Host, doing, all).await?;
    }
    Ok(())
}

/// What is pinned, by name.
async fn pinned(folder: PathBuf) -> Vec<(String, PathBuf)> {
    let read = move || {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let named = entries.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())));
        named.collect()
    };
    tokio::task::spawn_blocking(read).await.unwrap_or_default()
}
