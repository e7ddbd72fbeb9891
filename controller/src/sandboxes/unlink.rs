//! A link of a running sandbox is taken away: out of its record, its hosts file, and the ports that it opened.

use std::sync::Arc;

use model::{ContainerId, Lifecycle, Sandbox, SandboxId};
use store::Txn;

use super::{access, ports, refresh::refresh};
use crate::{
    core::Core,
    error::{Error, Result},
    locks::LockKey,
};

#[tracing::instrument(skip_all, fields(sandbox = %id.short(), alias))]
pub(super) async fn unlink(
    core: &Arc<Core>,
    id: SandboxId,
    container: ContainerId,
    alias: &str,
) -> Result<()> {
    let _sandbox = core.locks.exclusive(LockKey::Deletion(id)).await;
    let snapshot = core.records.snapshot();
    let found = snapshot.sandboxes.get(&id);
    let sandbox = found
        .filter(|sandbox| sandbox.lifecycle == Lifecycle::Active)
        .ok_or_else(|| Error::not_found(format!("sandbox {} not found", id.short())))?;
    // Where it is in the record no more, an earlier try may have left its way open.
    let left = match without(sandbox, container, alias) {
        Some(left) => {
            let left = Arc::new(left);
            ports::record(core, &left, Txn::new()).await?;
            left
        }
        None => Arc::clone(sandbox),
    };
    // By what it led to: from the record nothing leads there any more.
    let targets = snapshot
        .endpoints
        .values()
        .filter(|endpoint| endpoint.node == core.node.id && endpoint.container == Some(container));
    let targets: Vec<_> = targets.map(|endpoint| endpoint.id).collect();
    let closed = async {
        refresh(core, &left).await?;
        for endpoint in targets {
            access::tell(core, endpoint).await?;
        }
        Ok(())
    };
    let result = closed.await;
    match &result {
        Ok(()) => core.names_caught_up(core.records.snapshot().generation).await,
        Err(_) => core.wake.notify_one(),
    }
    result
}

/// The sandbox without the link; none if it has no such link.
fn without(sandbox: &Sandbox, container: ContainerId, alias: &str) -> Option<Sandbox> {
    let mut left = sandbox.clone();
    left.links
        .retain(|link| link.container != container || link.names.first().is_none_or(|name| name != alias));
    (left.links.len() < sandbox.links.len()).then_some(left)
}
