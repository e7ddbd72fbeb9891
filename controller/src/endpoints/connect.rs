//! Connects a sandbox to a network: addresses and names, the intent, the driver's join, the sandbox's side, the result.
//!
//! On a global network the intent is committed here first and then, with names and leases, where every host sees it.

use std::sync::Arc;

use model::{Endpoint, EndpointId, Lifecycle, Network, Sandbox, Scope};
use tokio::sync::OwnedRwLockReadGuard;

use super::{
    Connect,
    announce::announce,
    check::{check, refuse_missing_sysctls},
    gateway_bridge,
    intent::intent,
    join, revive,
};
use crate::{
    core::Core, error::Result, events::EventKind, leases, locks::LockKey, networks, records, sandboxes,
    undo::UndoStack,
};

pub(super) async fn connect(core: &Arc<Core>, request: Connect) -> Result<Arc<Endpoint>> {
    let sandbox = request.sandbox;
    let endpoint = inner(core, request).await?;
    if let Err(error) = gateway_bridge::adjust(core, sandbox).await {
        let mut undo = UndoStack::new();
        let (again, id) = (Arc::clone(core), endpoint.id);
        undo.push("disconnecting again", async move {
            super::disconnect::inner(&again, id, false).await.map(|_| ())
        });
        return Err(core.unwind(undo, error).await);
    }
    core.names_caught_up(core.records.snapshot().generation).await;
    Ok(endpoint)
}

/// The same without the gateway bridge and without waiting for names.
#[tracing::instrument(skip_all, fields(network = %request.network.short(), endpoint = %request.name))]
pub(crate) async fn inner(core: &Arc<Core>, request: Connect) -> Result<Arc<Endpoint>> {
    let mut lock = Some(core.locks.shared(LockKey::Network(request.network)).await);
    let (network, sandbox) = check(core, &request)?;
    refuse_missing_sysctls(core, &request.options).await?;
    let noted = revive::noted(core, &network, &request).await?;
    let id = request.id.unwrap_or_else(EndpointId::random);
    let id = noted.as_ref().map_or(id, |note| note.id);
    // Held until it is undone, if it comes to that, so that the reconciler doesn't undo it a second time.
    let _endpoint = core.locks.exclusive(LockKey::Endpoint(id)).await;
    let mut undo = UndoStack::new();
    let walked = walk(
        core,
        &network,
        &sandbox,
        (id, noted),
        &request,
        &mut undo,
        &mut lock,
    );
    match walked.await {
        Ok(endpoint) => {
            core.events
                .send(EventKind::Connected(Arc::clone(&endpoint)), network);
            Ok(endpoint)
        }
        Err(error) => Err(core.unwind(undo, error).await),
    }
}

async fn walk(
    core: &Arc<Core>,
    network: &Arc<Network>,
    sandbox: &Arc<Sandbox>,
    (id, noted): (EndpointId, Option<Arc<Endpoint>>),
    request: &Connect,
    undo: &mut UndoStack,
    lock: &mut Option<OwnedRwLockReadGuard<()>>,
) -> Result<Arc<Endpoint>> {
    // An address given up a moment ago is likely the one that is chosen: it is kept for whoever had it.
    core.forgetting
        .hurry(|address| network.pool_around(*address).is_some());
    let endpoint = match noted {
        Some(note) => revive::intent(core, network, sandbox, note, request, undo).await?,
        None => {
            core.require_store(network.scope)?;
            intent(core, network, sandbox, id, request, undo).await?
        }
    };
    let addresses: Vec<_> = endpoint.addresses.iter().map(|net| net.addr()).collect();
    // A plugin may choose any address as it joins.
    let any = core.driver(&network.driver)?.is_remote();
    core.forgetting
        .settled(|address| any || addresses.contains(address))
        .await;
    networks::realize(core, network).await?;
    let endpoint = join::join(core, network, &endpoint, sandbox).await?;
    let (network, endpoint) = &lease(core, network, endpoint, sandbox, lock).await?;
    let active = Arc::new(Endpoint {
        lifecycle: Lifecycle::Active,
        ..Endpoint::clone(endpoint)
    });
    sandboxes::refresh(core, sandbox).await?;
    join::joined(core, network, &active).await?;
    networks::tell_peers(core, network).await?;
    let txn = records::endpoints(network.id).put(active.id, &active);
    let published = Arc::clone(&active);
    core.records
        .commit(Scope::Local, txn, move |snapshot| {
            snapshot.insert_endpoint(published);
        })
        .await?;
    core.leases.look();
    announce(core, network, &active, sandbox);
    Ok(active)
}

/// Has the segment's server give an address where one does. Its silence is nobody else's business: the network's lock is
/// let go meanwhile, for the endpoint's record keeps the network from going. Answers the network as it is then.
async fn lease(
    core: &Arc<Core>,
    network: &Arc<Network>,
    endpoint: Arc<Endpoint>,
    sandbox: &Arc<Sandbox>,
    lock: &mut Option<OwnedRwLockReadGuard<()>>,
) -> Result<(Arc<Network>, Arc<Endpoint>)> {
    if !leases::is_leased(network) {
        return Ok((Arc::clone(network), endpoint));
    }
    *lock = None;
    let obtained = leases::obtain(core, network, endpoint, sandbox).await;
    // Whatever comes next, undoing included, is done under it.
    *lock = Some(core.locks.shared(LockKey::Network(network.id)).await);
    let endpoint = obtained?;
    let now = core.records.snapshot().networks.get(&network.id).cloned();
    let now = now.filter(|now| now.lifecycle == Lifecycle::Active);
    now.map(|now| (now, endpoint))
        .ok_or_else(|| networks::network_not_found(network.name.as_str()))
}

/// Undoes an endpoint that was never finished: the kernel's side, then the records'.
pub(crate) async fn undo_creating(
    core: &Arc<Core>,
    network: &Arc<Network>,
    endpoint: &Arc<Endpoint>,
) -> Result<()> {
    super::disconnect::take_out(core, network, endpoint, true).await?;
    super::disconnect::forget(core, network, endpoint).await?;
    // Until now, whoever it links to was open to it.
    sandboxes::sync(core, endpoint.sandbox).await?;
    networks::unrealize(core, network).await
}
