//! A container that was stopped while the cluster store is down may start again: its leases are still held.
//!
//! The note of what is to release becomes the endpoint again, with its id and addresses. When the store is back,
//! [`super::republish`] tells it what changed.

use std::sync::Arc;

use model::{Endpoint, Lifecycle, Network, Sandbox, Scope, Snapshot};

use super::{
    Connect,
    check::is_released_here,
    disconnect,
    intent::{assemble, check_sandbox},
};
use crate::{core::Core, error::Result, locks::LockKey, records, undo::UndoStack};

/// The note that a request can go on with, if the store is down. With the store up, a note in the way is released.
pub(super) async fn noted(
    core: &Arc<Core>,
    network: &Arc<Network>,
    request: &Connect,
) -> Result<Option<Arc<Endpoint>>> {
    if !core.records.shared(network.scope) {
        return Ok(None);
    }
    let snapshot = core.records.snapshot();
    let note = snapshot
        .endpoints_on(&network.id)
        .find(|endpoint| endpoint.node == core.node.id && endpoint.name == request.name);
    let Some(note) = note.filter(|endpoint| is_released_here(endpoint, network)) else {
        return Ok(None);
    };
    if snapshot.stale {
        return Ok(fits(note, request).then(|| Arc::clone(note)));
    }
    let _note = core.locks.exclusive(LockKey::Endpoint(note.id)).await;
    disconnect::finish_deleting(core, network, note, true).await?;
    Ok(None)
}

/// Pure: whether the note has the addresses asked for.
fn fits(note: &Endpoint, request: &Connect) -> bool {
    let addresses = &note.addresses;
    let v4 = request.ipv4.is_none() || request.ipv4 == addresses.ipv4.map(|net| net.addr());
    let v6 = request.ipv6.is_none() || request.ipv6 == addresses.ipv6.map(|net| net.addr());
    v4 && v6 && (request.mac.is_none() || request.mac == addresses.mac)
}

/// Turns the note into an intent.
pub(super) async fn intent(
    core: &Arc<Core>,
    network: &Arc<Network>,
    sandbox: &Arc<Sandbox>,
    note: Arc<Endpoint>,
    request: &Connect,
    undo: &mut UndoStack,
) -> Result<Arc<Endpoint>> {
    let _sandbox = core.locks.exclusive(LockKey::Sandbox(sandbox.id)).await;
    check_sandbox(core, sandbox)?;
    let endpoint = assemble(core, network, sandbox, request, note.id, note.addresses.clone())?;
    let endpoint = Arc::new(Endpoint {
        created: note.created,
        ..endpoint
    });
    record(core, &endpoint).await?;
    let (core, network, revived) = (Arc::clone(core), Arc::clone(network), Arc::clone(&endpoint));
    undo.push("noting again what is to release", async move {
        disconnect::take_out(&core, &network, &revived, true).await?;
        record(&core, &note).await
    });
    Ok(endpoint)
}

async fn record(core: &Core, endpoint: &Arc<Endpoint>) -> Result<()> {
    let txn = records::endpoints(endpoint.network).put(endpoint.id, endpoint);
    let published = Arc::clone(endpoint);
    core.records
        .commit(Scope::Local, txn, move |snapshot: &mut Snapshot| {
            snapshot.insert_endpoint(published);
        })
        .await?;
    Ok(())
}

/// Whether an endpoint of this host is one that every host should know.
pub(super) fn is_published(core: &Core, endpoint: &Endpoint) -> bool {
    endpoint.node == core.node.id && endpoint.lifecycle == Lifecycle::Active
}
