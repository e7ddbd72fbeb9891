//! What becomes known of an endpoint after it has joined: its container's names, and that it is the gateway.

use std::sync::Arc;

use model::{Endpoint, EndpointId, Lifecycle, PortBinding, PublishedPorts, Sandbox, Scope};

use super::{Learnt, find};
use crate::{
    core::Core,
    endpoints,
    error::{Error, Result},
    locks::LockKey,
    records, sandboxes,
};

/// More than any network's own, so that the engine's choice of the gateway is ours.
const GATEWAY: i32 = 1;

pub(super) async fn publish(
    core: &Arc<Core>,
    id: EndpointId,
    ports: Vec<PortBinding>,
) -> Result<Vec<PublishedPorts>> {
    let (_, sandbox, _) = find(core, id)?;
    give_back(core, &sandbox).await?;
    if ports.is_empty() {
        // Routes are the engine's, so the choice of the gateway matters for ports alone.
        return Ok(Vec::new());
    }
    elect(core, id, GATEWAY).await?;
    sandboxes::publish(core, sandbox.id, ports).await
}

pub(super) async fn unpublish(core: &Arc<Core>, id: EndpointId) -> Result<()> {
    let (_, sandbox, endpoint) = match find(core, id) {
        Err(Error::NotFound { .. }) => return Ok(()),
        found => found?,
    };
    if endpoint.gateway_priority != GATEWAY {
        return Ok(());
    }
    give_back(core, &sandbox).await?;
    elect(core, id, 0).await
}

async fn give_back(core: &Arc<Core>, sandbox: &Sandbox) -> Result<()> {
    match sandbox.ports.is_empty() {
        true => Ok(()),
        false => sandboxes::unpublish(core, sandbox.id, &sandbox.ports).await,
    }
}

async fn elect(core: &Arc<Core>, id: EndpointId, priority: i32) -> Result<()> {
    change(core, id, |endpoint| endpoint.gateway_priority = priority).await
}

/// Changes this host's record of an endpoint. What other hosts need of it stays as it is.
pub(super) async fn change(core: &Arc<Core>, id: EndpointId, edit: impl FnOnce(&mut Endpoint)) -> Result<()> {
    let _endpoint = core.locks.exclusive(LockKey::Endpoint(id)).await;
    let (_, _, endpoint) = find(core, id)?;
    let mut changed = Endpoint::clone(&endpoint);
    edit(&mut changed);
    if changed == *endpoint {
        return Ok(());
    }
    let changed = Arc::new(changed);
    let txn = records::endpoints(changed.network).put(id, &changed);
    core.records
        .commit(Scope::Local, txn, move |snapshot| {
            snapshot.insert_endpoint(changed);
        })
        .await?;
    Ok(())
}

pub(super) async fn learn(core: &Arc<Core>, id: EndpointId, learnt: Learnt) -> Result<()> {
    let (_, _, endpoint) = find(core, id)?;
    if endpoint.lifecycle != Lifecycle::Active {
        return Ok(());
    }
    let unique = format!("{}-{}", learnt.name, id.short());
    let known = endpoint.container == learnt.container && endpoint.dns_names == learnt.dns_names;
    if known && [&learnt.name, &unique].contains(&&endpoint.name) {
        return Ok(());
    }
    for name in [&learnt.name, &unique] {
        // Containers of one name on two hosts are two, and both are found by it.
        match endpoints::introduce(core, id, name, learnt.container, &learnt.dns_names).await {
            Err(Error::Forbidden { .. }) => {}
            told => return told.map(drop),
        }
    }
    Err(Error::conflict(format!(
        "nobody can be called {unique:?} on that network"
    )))
}
