//! The way back: the intent, the driver's leave, the sandbox's side, and then names and addresses.
//!
//! On a global network with the cluster store down, the record stays here as `Deleting`: the note of what is still to
//! release, which the reconciler takes up when the store is back.

use std::sync::Arc;

use model::{Endpoint, EndpointId, Lifecycle, Network, Sandbox, Scope};
use store::{Guard, Txn};

use super::{addresses, dead_flows, gateway_bridge, join};
use crate::{
    claims,
    core::Core,
    error::{Error, Result},
    events::EventKind,
    locks::LockKey,
    networks, records, sandboxes,
};

pub(super) async fn disconnect(core: &Arc<Core>, id: EndpointId, force: bool) -> Result<()> {
    let endpoint = inner(core, id, force).await?;
    if let Err(error) = gateway_bridge::adjust(core, endpoint.sandbox).await {
        tracing::warn!(%error, "the gateway bridge could not be adjusted; the reconciler tries again");
        core.wake.notify_one();
    }
    core.names_caught_up(core.records.snapshot().generation).await;
    Ok(())
}

/// Disconnects one endpoint of a sandbox that goes as a whole.
pub(crate) async fn leave(core: &Arc<Core>, id: EndpointId) -> Result<()> {
    inner(core, id, false).await.map(|_| ())
}

/// The same without the gateway bridge and without waiting for names.
#[tracing::instrument(skip_all, fields(endpoint = %id.short()))]
pub(super) async fn inner(core: &Arc<Core>, id: EndpointId, force: bool) -> Result<Arc<Endpoint>> {
    let lock = LockKey::Endpoint(id);
    // A forced one doesn't queue behind a driver that hangs.
    let _endpoint = match force {
        true => core.locks.try_exclusive(lock),
        false => Some(core.locks.exclusive(lock).await),
    };
    let snapshot = core.records.snapshot();
    let endpoint = snapshot.endpoints.get(&id).cloned();
    let endpoint = endpoint.ok_or_else(|| Error::not_found(format!("endpoint {} not found", id.short())))?;
    let network = snapshot.networks.get(&endpoint.network).cloned();
    let network = network.ok_or_else(|| networks::network_not_found(&endpoint.network.short()))?;
    if endpoint.node != core.node.id {
        return remove_foreign(core, &network, &endpoint, force).await;
    }
    let deleting = Arc::new(Endpoint {
        lifecycle: Lifecycle::Deleting,
        ..Endpoint::clone(&endpoint)
    });
    let txn = records::endpoints(network.id).put(id, &deleting);
    let published = Arc::clone(&deleting);
    core.records
        .commit(Scope::Local, txn, move |snapshot| {
            snapshot.insert_endpoint(published);
        })
        .await?;
    if let Err(error) = finish_deleting(core, &network, &deleting, force).await {
        core.wake.notify_one();
        return Err(error);
    }
    core.events
        .send(EventKind::Disconnected(Arc::clone(&endpoint)), network);
    Ok(endpoint)
}

/// Removes what is left of an endpoint whose removal was recorded.
pub(crate) async fn finish_deleting(
    core: &Arc<Core>,
    network: &Arc<Network>,
    endpoint: &Arc<Endpoint>,
    force: bool,
) -> Result<()> {
    take_out(core, network, endpoint, force).await?;
    match forget(core, network, endpoint).await {
        Ok(()) => {}
        Err(error @ Error::Unavailable { .. }) if core.records.shared(network.scope) => {
            tracing::warn!(%error, endpoint = %endpoint.name, "gone here; the cluster store will be told later");
        }
        Err(error) => return Err(error),
    }
    networks::unrealize(core, network).await
}

/// Takes an endpoint out of the kernel: the driver's side, then what the sandbox looks like without it.
pub(super) async fn take_out(
    core: &Arc<Core>,
    network: &Arc<Network>,
    endpoint: &Arc<Endpoint>,
    force: bool,
) -> Result<()> {
    tolerate(
        force,
        "taking its ports back",
        sandboxes::give_up(core, endpoint).await,
    )?;
    let sandbox = core.records.snapshot().sandboxes.get(&endpoint.sandbox).cloned();
    // Without one its namespace is gone, and its interface with it; the driver may have more.
    let there = sandbox
        .clone()
        .unwrap_or_else(|| Arc::new(gone_sandbox(core, endpoint)));
    tolerate(
        force,
        "leaving",
        join::leave(core, network, endpoint, &there).await,
    )?;
    let Some(sandbox) = sandbox else {
        return Ok(());
    };
    tolerate(
        force,
        "refreshing the sandbox",
        sandboxes::refresh(core, &sandbox).await,
    )
}

fn tolerate(force: bool, doing: &str, result: Result<()>) -> Result<()> {
    match result {
        Err(error) if force => {
            tracing::warn!(%error, doing, "going on all the same");
            Ok(())
        }
        other => other,
    }
}

/// Enough of a sandbox to tell a driver where its endpoint was.
fn gone_sandbox(core: &Core, endpoint: &Endpoint) -> Sandbox {
    Sandbox {
        id: endpoint.sandbox,
        container: endpoint.container,
        node: endpoint.node,
        lifecycle: Lifecycle::Deleting,
        created: endpoint.created,
        kind: model::SandboxKind::Own(sandboxes::pin(core, endpoint.sandbox)),
        hostname: String::new(),
        domainname: String::new(),
        dns: model::DnsConfig::default(),
        extra_hosts: Vec::new(),
        files: std::path::PathBuf::new(),
        dns_ports: model::DnsPorts { udp: 0, tcp: 0 },
        ports: Vec::new(),
        exposed: Vec::new(),
        links: Vec::new(),
    }
}

/// Releases names and addresses and forgets the record: there first, so that a crash between leaves the note here.
pub(super) async fn forget(core: &Arc<Core>, network: &Network, endpoint: &Endpoint) -> Result<()> {
    // Before anybody can choose the address.
    let mut noted = core.forgetting.note(endpoint, network.scope);
    let txn = std::mem::take(&mut noted.txn);
    let forgotten = forget_and(core, network, endpoint, txn).await;
    dead_flows::settle(core, noted, forgotten.is_ok());
    forgotten
}

async fn forget_and(core: &Core, network: &Network, endpoint: &Endpoint, extra: Txn) -> Result<()> {
    let mut txn = records::endpoints(network.id).delete(endpoint.id).and(extra);
    if core.records.shared(network.scope) {
        release_shared(core, network, endpoint, Txn::new()).await?;
        if endpoint.lifecycle != Lifecycle::Deleting {
            addresses::give_back(core, network, &endpoint.addresses).await;
        }
    } else {
        txn = txn.and(release(core, network, endpoint).await?);
    }
    let id = endpoint.id;
    core.records
        .commit(Scope::Local, txn, move |snapshot| {
            snapshot.remove_endpoint(&id);
        })
        .await?;
    Ok(())
}

/// The transaction that frees what an endpoint holds.
async fn release(core: &Core, network: &Network, endpoint: &Endpoint) -> Result<Txn> {
    let addresses = addresses::release(core, network, endpoint).await?;
    Ok(addresses.delete(claims::endpoint_name(network.id, &endpoint.name)?))
}

/// Frees it in the shared store, together with its record there and under the guard that this is unchanged: when an
/// earlier try did take place, name and addresses may be somebody else's by now.
async fn release_shared(core: &Core, network: &Network, endpoint: &Endpoint, extra: Txn) -> Result<()> {
    let (store, table) = (core.stores.of(network.scope), records::endpoints(network.id));
    let Some(found) = table.get(&**store, endpoint.id).await? else {
        return Ok(());
    };
    let unchanged = Guard::Unchanged(table.key(endpoint.id), found.revision);
    let txn = release(core, network, &found.record)
        .await?
        .and(extra)
        .guard(unchanged);
    let txn = txn
        .and(table.delete(endpoint.id))
        .and(records::changed(network.id));
    store.commit(txn).await?;
    Ok(())
}

/// Another host's endpoint can be removed when it is forced and that host is dead.
async fn remove_foreign(
    core: &Arc<Core>,
    network: &Arc<Network>,
    endpoint: &Arc<Endpoint>,
    force: bool,
) -> Result<Arc<Endpoint>> {
    let snapshot = core.records.snapshot();
    let host = snapshot
        .nodes
        .get(&endpoint.node)
        .map_or("another host", |node| node.hostname.as_str());
    if !force || snapshot.live_nodes.contains(&endpoint.node) {
        return Err(
            Error::forbidden(format!("endpoint {} is on {host}", endpoint.name))
                .with_hint("disconnect it there; with that host dead, -f removes it from here"),
        );
    }
    reap(core, network, endpoint).await?;
    Ok(Arc::clone(endpoint))
}

/// Frees what a dead host's endpoint holds, provided that the host is still dead.
pub(crate) async fn reap(core: &Core, network: &Network, endpoint: &Endpoint) -> Result<()> {
    let dead = || Txn::new().guard(Guard::Absent(records::alive_key(endpoint.node)));
    // What was set aside for its container would be held for nobody. First, so that a crash in between leaves the endpoint.
    if let Some(container) = endpoint.container.filter(|_| !network.pools.is_empty()) {
        let ipam = core.ipam(network);
        let owner = container.to_string();
        let forgotten = ipam.forget_owner(network.id, network.scope, &owner).await?;
        if forgotten != Txn::new() {
            core.stores
                .of(network.scope)
                .commit(dead().and(forgotten))
                .await?;
        }
    }
    release_shared(core, network, endpoint, dead()).await?;
    let (id, copy) = (
        endpoint.id,
        records::endpoint_copies(network.id).delete(endpoint.id),
    );
    core.records
        .commit(Scope::Local, copy, move |snapshot| {
            snapshot.remove_endpoint(&id);
        })
        .await?;
    Ok(())
}

/// Tells the cluster store what went while it was down.
pub(crate) async fn release_noted(core: &Arc<Core>) -> Result<()> {
    let snapshot = core.records.snapshot();
    let is_noted =
        |endpoint: &Endpoint| endpoint.node == core.node.id && endpoint.lifecycle == Lifecycle::Deleting;
    for endpoint in snapshot.endpoints.values().filter(|endpoint| is_noted(endpoint)) {
        let Some(network) = snapshot.networks.get(&endpoint.network) else {
            continue;
        };
        // Somebody is at it right now.
        let Some(_endpoint) = core.locks.try_exclusive(LockKey::Endpoint(endpoint.id)) else {
            continue;
        };
        // Or has finished it, and what it had may be somebody else's by now.
        let now = core.records.snapshot();
        if now.endpoints.get(&endpoint.id).is_some_and(|now| is_noted(now)) {
            finish_deleting(core, network, endpoint, true).await?;
        }
    }
    Ok(())
}
