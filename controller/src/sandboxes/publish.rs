//! Ports of a running sandbox: published and given back.
//!
//! Publishing is recorded first and then brought about: after a crash the record is what counts. Giving back takes the
//! ports out of the record, then out of the kernel, and only then is the claim released.

use std::sync::Arc;

use kernel::traffic::DeadFlows;
use model::{Lifecycle, Network, PortBinding, PublishedPorts, Sandbox, SandboxId, SandboxKind, Snapshot};
use store::Txn;

use super::{access, ports};
use crate::{
    core::Core,
    error::{Error, Result},
    locks::LockKey,
    undo::UndoStack,
};

#[tracing::instrument(skip_all, fields(sandbox = %id.short()))]
pub(crate) async fn publish(
    core: &Arc<Core>,
    id: SandboxId,
    bindings: Vec<PortBinding>,
) -> Result<Vec<PublishedPorts>> {
    let _sandbox = core.locks.exclusive(LockKey::Deletion(id)).await;
    let sandbox = find(core, id)?;
    if sandbox.kind == SandboxKind::Host {
        return Err(
            Error::invalid("a container in the host's network can't publish ports")
                .with_hint("what it listens on is the host's already"),
        );
    }
    let network = gateway_network(core, id);
    let (_, published) = ports::claim(core, &sandbox, "", &bindings, network.as_deref()).await?;
    let mut undo = UndoStack::new();
    undo.push("giving the ports back", {
        let (core, published) = (Arc::clone(core), published.clone());
        async move { give_back(&core, id, &published).await }
    });
    match access::sync(core, id).await {
        Ok(()) => {
            core.names_caught_up(core.records.snapshot().generation).await;
            Ok(published)
        }
        Err(error) => Err(core.unwind(undo, error).await),
    }
}

#[tracing::instrument(skip_all, fields(sandbox = %id.short()))]
pub(crate) async fn unpublish(core: &Arc<Core>, id: SandboxId, ports: &[PublishedPorts]) -> Result<()> {
    let _sandbox = core.locks.exclusive(LockKey::Deletion(id)).await;
    find(core, id)?;
    let result = give_back(core, id, ports).await;
    match &result {
        Ok(()) => core.names_caught_up(core.records.snapshot().generation).await,
        Err(_) => core.wake.notify_one(),
    }
    result
}

async fn give_back(core: &Arc<Core>, id: SandboxId, ports: &[PublishedPorts]) -> Result<()> {
    let sandbox = find(core, id)?;
    let mut left = Sandbox::clone(&sandbox);
    for gone in ports {
        left.ports = left
            .ports
            .iter()
            .flat_map(|published| published.without(gone))
            .collect();
    }
    let left = Arc::new(left);
    if left != sandbox {
        ports::record(core, &left, Txn::new()).await?;
    }
    access::sync(core, id).await?;
    let snapshot = core.records.snapshot();
    access::forget_flows(core, through(&snapshot, id, ports)).await;
    ports::settle(core, id, &left.ports, Txn::new(), |_| {}).await
}

/// What went through ports to any of a sandbox's addresses.
fn through(snapshot: &Snapshot, id: SandboxId, ports: &[PublishedPorts]) -> Vec<DeadFlows> {
    let addresses: Vec<_> = snapshot
        .endpoints_of(&id)
        .flat_map(|endpoint| {
            endpoint
                .addresses
                .iter()
                .map(|net| net.addr())
                .collect::<Vec<_>>()
        })
        .collect();
    ports
        .iter()
        .flat_map(|ports| {
            let same = addresses
                .iter()
                .filter(|ip| ip.is_ipv4() == ports.host_ip.is_ipv4());
            same.map(|ip| DeadFlows::Through(ports.clone(), *ip))
        })
        .collect()
}

fn find(core: &Core, id: SandboxId) -> Result<Arc<Sandbox>> {
    let snapshot = core.records.snapshot();
    let found = snapshot.sandboxes.get(&id);
    let active = found.filter(|sandbox| sandbox.lifecycle == Lifecycle::Active);
    active
        .cloned()
        .ok_or_else(|| Error::not_found(format!("sandbox {} not found", id.short())))
}

/// The network by which a sandbox reaches the outside.
fn gateway_network(core: &Core, id: SandboxId) -> Option<Arc<Network>> {
    let snapshot = core.records.snapshot();
    let choice = access::elect(core, &snapshot, id);
    let (endpoint, _) = choice.v4.or(choice.v6)?;
    let endpoint = snapshot.endpoints.get(&endpoint)?;
    snapshot.networks.get(&endpoint.network).cloned()
}
