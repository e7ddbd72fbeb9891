//! Removes a sandbox: its endpoints, the name service's sockets, the namespace, the record.

use std::sync::Arc;

use kernel::{Netns, Object, Owner};
use model::{EndpointId, Lifecycle, Sandbox, SandboxId, SandboxKind, Scope, Snapshot};

use super::{desired, ports};
use crate::{
    core::Core,
    endpoints,
    error::{Error, Result},
    foreign,
    locks::LockKey,
    records,
};

#[tracing::instrument(skip_all, fields(sandbox = %id.short()))]
pub(crate) async fn delete(core: &Arc<Core>, id: SandboxId) -> Result<()> {
    let _sandbox = core.locks.exclusive(LockKey::Deletion(id)).await;
    let Some(sandbox) = core.records.snapshot().sandboxes.get(&id).cloned() else {
        return Ok(());
    };
    let deleting = Arc::new(Sandbox {
        lifecycle: Lifecycle::Deleting,
        ..Sandbox::clone(&sandbox)
    });
    mark(core, &deleting).await?;
    let result = finish_deleting(core, &deleting).await;
    if result.is_err() {
        core.wake.notify_one();
    }
    result
}

/// Records the intent, under the lock under which endpoints are added: from then on there are no new ones.
pub(crate) async fn mark(core: &Core, deleting: &Arc<Sandbox>) -> Result<()> {
    let _sandbox = core.locks.exclusive(LockKey::Sandbox(deleting.id)).await;
    let txn = records::sandboxes().put(deleting.id, deleting);
    let published = Arc::clone(deleting);
    core.records
        .commit(Scope::Local, txn, move |snapshot| {
            snapshot.sandboxes.insert(published.id, published);
        })
        .await?;
    Ok(())
}

/// Removes what is left of a sandbox whose removal was recorded, or that was never finished.
pub(crate) async fn finish_deleting(core: &Arc<Core>, sandbox: &Arc<Sandbox>) -> Result<()> {
    core.insides.leave(sandbox.id);
    leave_all(core, sandbox.id).await?;
    // An open socket keeps a namespace alive, so its name service goes first.
    core.names_caught_up(core.records.snapshot().generation).await;
    let owner = Owner::Sandbox(sandbox.id);
    match &sandbox.kind {
        SandboxKind::Host => {}
        SandboxKind::Own(path) => {
            let namespace = [Object::Namespace(path.clone())].into_iter().collect();
            let doing = "removing the sandbox's namespace";
            core.worker.remove(owner, doing, namespace).await?;
        }
        SandboxKind::Foreign(foreign)
            if !foreign.is_entered() || !foreign::is_there(core, foreign).await? => {}
        SandboxKind::Foreign(foreign) => {
            let ours = desired::name_service(sandbox, &Netns::Pinned(foreign.path.clone()));
            let doing = "taking the name service out of a namespace";
            let tidied = core.worker.remove(owner, doing, ours).await;
            // It may have ended in this moment.
            if tidied.is_err() && foreign::is_there(core, foreign).await? {
                return tidied;
            }
        }
    }
    core.attachments.forget(sandbox.id);
    let (id, txn) = (sandbox.id, records::sandboxes().delete(sandbox.id));
    let forget = move |snapshot: &mut Snapshot| {
        snapshot.sandboxes.remove(&id);
    };
    if sandbox.ports.is_empty() {
        core.records.commit(Scope::Local, txn, forget).await?;
        return Ok(());
    }
    ports::settle(core, id, &[], txn, forget).await
}

/// Every endpoint, going on past what fails; the gateway bridge's goes like the others.
async fn leave_all(core: &Arc<Core>, id: SandboxId) -> Result<()> {
    let snapshot = core.records.snapshot();
    let own = snapshot
        .endpoints_of(&id)
        .filter(|endpoint| endpoint.node == core.node.id);
    let present: Vec<EndpointId> = own.map(|endpoint| endpoint.id).collect();
    let mut failed: Option<Error> = None;
    for endpoint in present {
        match endpoints::leave(core, endpoint).await {
            Ok(()) | Err(Error::NotFound { .. }) => {}
            Err(error) => {
                tracing::warn!(%error, endpoint = %endpoint.short(), "not disconnected");
                failed.get_or_insert(error);
            }
        }
    }
    failed.map_or(Ok(()), Err)
}
