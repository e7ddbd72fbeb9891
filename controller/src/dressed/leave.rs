//! The way back: the interface comes back to the host, or ends with its namespace, and is removed.

use std::{path::Path, sync::Arc};

use model::{EndpointId, Sandbox, SandboxId};

use super::{find, name_on_host};
use crate::{
    core::Core,
    endpoints,
    error::{Error, Result},
    locks::LockKey,
    sandboxes,
};

pub(super) async fn leave(core: &Arc<Core>, id: EndpointId) -> Result<()> {
    // Whoever is looking for it in the namespace at this moment may find it there still.
    let _endpoint = core.locks.exclusive(LockKey::Endpoint(id)).await;
    let (_, _, endpoint) = match find(core, id) {
        Err(Error::NotFound { .. }) => return Ok(()),
        found => found?,
    };
    core.attachments.set_leaving(id, true);
    let on_host = name_on_host(id);
    if endpoint.interface.as_ref() == Some(&on_host) {
        return Ok(());
    }
    // Not written: whoever removes it does that, and what a crash leaves on the host has our mark and nobody's record.
    let mut back = model::Endpoint::clone(&endpoint);
    back.interface = Some(on_host);
    core.records
        .publish(|snapshot| snapshot.insert_endpoint(Arc::new(back)));
    Ok(())
}

pub(super) async fn delete(core: &Arc<Core>, id: EndpointId) -> Result<()> {
    let sandbox = match find(core, id) {
        Err(Error::NotFound { .. }) => return Ok(()),
        found => found?.1,
    };
    match endpoints::leave(core, id).await {
        Ok(()) | Err(Error::NotFound { .. }) => {}
        Err(error) => return Err(error),
    }
    tokio::spawn(remove_behind(Arc::clone(core), sandbox));
    Ok(())
}

/// Removes a sandbox that its last endpoint has left, behind the answer: the engine waits for no more than its interface.
/// An endpoint that comes meanwhile waits, or finds the sandbox still there. What a crash leaves is removed at the start.
async fn remove_behind(core: Arc<Core>, sandbox: Arc<Sandbox>) {
    let Some(foreign) = sandbox.foreign() else { return };
    let _sandbox = core.locks.exclusive(lock(&foreign.manager, &foreign.path)).await;
    remove_if_empty(&core, sandbox.id).await;
}

/// Of a sandbox that is made with its first endpoint and goes with its last.
pub(super) fn lock(manager: &str, netns: &Path) -> LockKey {
    LockKey::Foreign(manager.to_owned(), netns.display().to_string())
}

/// Removes a sandbox that has no endpoints. What can't be removed, the reconciler tries again.
pub(super) async fn remove_if_empty(core: &Arc<Core>, id: SandboxId) {
    if core.records.snapshot().endpoints_of(&id).next().is_some() {
        return;
    }
    if let Err(error) = sandboxes::delete(core, id).await {
        tracing::warn!(%error, sandbox = %id.short(), "could not be removed; it will be tried again");
    }
}
