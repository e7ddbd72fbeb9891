//! Takes interfaces out of somebody else's namespace, one, those that nobody names, or all.

use std::sync::Arc;

use model::{Endpoint, InterfaceName, Lifecycle, Sandbox, SandboxId, Snapshot};

use super::{by_key, found, group, namespace};
use crate::{
    core::Core,
    endpoints::Endpoints,
    error::{Error, Result},
    locks::LockKey,
    sandboxes::Sandboxes,
};

#[tracing::instrument(skip_all, fields(manager, key, %interface))]
pub(super) async fn detach(
    core: &Arc<Core>,
    manager: &str,
    key: &str,
    interface: &InterfaceName,
    of: &str,
) -> Result<bool> {
    let lock = LockKey::Foreign(manager.to_owned(), key.to_owned());
    let _whole = core.locks.exclusive(lock).await;
    let snapshot = core.records.snapshot();
    let Some(sandbox) = by_key(&snapshot, manager, key) else {
        return Ok(false);
    };
    let ended = match sandbox.foreign() {
        Some(foreign) => !namespace::is_there(core, foreign).await?,
        None => false,
    };
    let present = found(core, &snapshot, &sandbox).endpoints;
    let is_it = |endpoint: &Endpoint| endpoint.interface.as_ref() == Some(interface) && group(endpoint) == of;
    let asked = present.iter().find(|(endpoint, _)| is_it(endpoint));
    match asked {
        // The others have ended with the namespace.
        Some(_) if ended || present.len() == 1 => whole(core, sandbox.id).await.map(|()| true),
        Some((endpoint, _)) => match (Endpoints { core: core.clone() }
            .disconnect(endpoint.id, false)
            .await)
        {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(true),
            Err(error) => Err(error),
        },
        None if ended || present.is_empty() => whole(core, sandbox.id).await.map(|()| false),
        None => Ok(false),
    }
}

pub(super) async fn retain(
    core: &Arc<Core>,
    manager: &str,
    of: &str,
    valid: &[(String, String)],
) -> Result<Vec<(String, InterfaceName)>> {
    let snapshot = core.records.snapshot();
    let mut unnamed = Vec::new();
    for sandbox in snapshot.sandboxes.values() {
        let Some(foreign) = sandbox.foreign().filter(|foreign| foreign.manager == manager) else {
            continue;
        };
        for (endpoint, _) in found(core, &snapshot, sandbox).endpoints {
            let Some(interface) = endpoint.interface.clone().filter(|_| group(&endpoint) == of) else {
                continue;
            };
            let named = |(key, name): &(String, String)| *key == foreign.key && name == interface.as_str();
            if !valid.iter().any(named) {
                unnamed.push((foreign.key.clone(), interface));
            }
        }
    }
    let mut failed = None;
    let mut gone = Vec::new();
    for (key, interface) in unnamed {
        match detach(core, manager, &key, &interface, of).await {
            Ok(_) => gone.push((key, interface)),
            Err(error) => {
                tracing::warn!(%error, key, %interface, "not detached");
                failed.get_or_insert(error);
            }
        }
    }
    failed.map_or(Ok(gone), Err)
}

pub(super) async fn remove(core: &Arc<Core>, id: SandboxId) -> Result<()> {
    let sandbox = core.records.snapshot().sandboxes.get(&id).cloned();
    let Some((sandbox, foreign)) = sandbox.as_ref().and_then(|it| Some((it, it.foreign()?))) else {
        return Err(Error::not_found(format!("sandbox {} not found", id.short())));
    };
    let lock = LockKey::Foreign(foreign.manager.clone(), foreign.key.clone());
    let _whole = core.locks.exclusive(lock).await;
    whole(core, sandbox.id).await
}

/// Removes those whose namespaces have ended, and those that a crash left without an interface, unless somebody is at
/// them just now. Answers whether there were any.
pub(crate) async fn reap(core: &Arc<Core>) -> bool {
    let snapshot = core.records.snapshot();
    let mut all = namespace::gone(core, &snapshot).await;
    let bare = snapshot
        .sandboxes
        .values()
        .filter(|sandbox| is_bare(&snapshot, sandbox));
    all.extend(bare.cloned());
    let mut any = false;
    for sandbox in all {
        let Some(foreign) = sandbox.foreign() else {
            continue;
        };
        let lock = LockKey::Foreign(foreign.manager.clone(), foreign.key.clone());
        let Some(_whole) = core.locks.try_exclusive(lock) else {
            continue;
        };
        // Since it was listed, another namespace may have come to its place, or an interface.
        let snapshot = core.records.snapshot();
        let now = snapshot.sandboxes.get(&sandbox.id);
        let Some((now, foreign)) = now.and_then(|now| Some((now, now.foreign()?))) else {
            continue;
        };
        let ended = !namespace::is_there(core, foreign).await.unwrap_or(true);
        if !ended && !is_bare(&snapshot, now) {
            continue;
        }
        tracing::info!(sandbox = %sandbox.id.short(), key = %foreign.key, ended, "nobody has it any more: removed");
        match whole(core, sandbox.id).await {
            Ok(()) => any = true,
            Err(error) => tracing::warn!(%error, sandbox = %sandbox.id.short(), "not removed"),
        }
    }
    any
}

/// Without an interface. Whoever is about to make one has the lock of its key.
fn is_bare(snapshot: &Snapshot, sandbox: &Sandbox) -> bool {
    sandbox.lifecycle == Lifecycle::Active
        && sandbox.foreign().is_some()
        && snapshot.endpoints_of(&sandbox.id).next().is_none()
}

/// The whole sandbox. The caller holds the lock of its key.
pub(super) async fn whole(core: &Arc<Core>, id: SandboxId) -> Result<()> {
    Sandboxes { core: core.clone() }.delete(id).await
}
