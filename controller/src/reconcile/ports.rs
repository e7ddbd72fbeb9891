//! Claims of ports that are not what the sandboxes' records say: an unpublishing was cut off, or its sandbox is gone.

use std::sync::Arc;

use model::{Lifecycle, PublishedPorts, SandboxId};
use store::Txn;

use super::repair::{Looked, repair_network};
use crate::{
    core::Core,
    error::Result,
    locks::LockKey,
    sandboxes::{self, Held},
};

/// Takes what is left of such ports out of the kernel, and then the claims.
pub(super) async fn settle(core: &Arc<Core>) -> Result<()> {
    let held = Held::read(core).await?;
    for (id, _) in sandboxes::unsettled(&held, &core.records.snapshot()) {
        // Somebody is publishing, giving back or removing right now.
        let Some(_sandbox) = core.locks.try_exclusive(LockKey::Deletion(id)) else {
            continue;
        };
        let held = Held::read(core).await?;
        let unsettled = sandboxes::unsettled(&held, &core.records.snapshot());
        if let Some((id, ports)) = unsettled.into_iter().find(|(found, _)| *found == id) {
            one(core, id, &ports).await?;
        }
    }
    Ok(())
}

async fn one(core: &Arc<Core>, id: SandboxId, ports: &[PublishedPorts]) -> Result<()> {
    let snapshot = core.records.snapshot();
    if snapshot
        .sandboxes
        .get(&id)
        .is_some_and(|sandbox| sandbox.lifecycle != Lifecycle::Active)
    {
        // Its removal sees to it.
        return Ok(());
    }
    for endpoint in snapshot.endpoints_of(&id) {
        if let Some(network) = snapshot.networks.get(&endpoint.network)
            && repair_network(core, network, None).await? == Looked::Busy
        {
            return Ok(());
        }
    }
    sandboxes::sync(core, id).await?;
    sandboxes::settle_ports(core, id, ports, Txn::new(), |_| {}).await
}
