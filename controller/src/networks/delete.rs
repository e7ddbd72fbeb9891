//! Removes a network: refuse while in use, record the intent, unrealize, release, forget.

use std::sync::Arc;

use kernel::Survey;
use model::{Endpoint, Lifecycle, Network, NetworkId, Scope, Snapshot};
use store::{Guard, Revision, Txn};

use super::{network_not_found, template};
use crate::{
    claims,
    core::Core,
    error::{Error, Result},
    events::EventKind,
    locks::LockKey,
    records,
};

#[tracing::instrument(skip_all, fields(network = %id.short()))]
pub(super) async fn delete(core: &Arc<Core>, id: NetworkId) -> Result<Arc<Network>> {
    let _network = core.locks.exclusive(LockKey::Network(id)).await;
    let snapshot = core.records.snapshot();
    let found = snapshot.networks.get(&id).cloned();
    let network = found.ok_or_else(|| network_not_found(&id.short()))?;
    if network.predefined {
        let name = &network.name;
        return Err(Error::forbidden(format!(
            "{name} is a pre-defined network and cannot be removed"
        )));
    }
    template::refuse_depended_on(&snapshot, &network)?;
    refuse_in_use(&snapshot, &network)?;
    core.require_store(network.scope)?;
    let deleting = Arc::new(with_lifecycle(&network, Lifecycle::Deleting));
    match core.records.shared(network.scope) {
        true => mark_shared(core, &network, &deleting).await?,
        false => commit_local(core, &deleting).await?,
    }
    if let Err(error) = finish_deleting(core, &deleting).await {
        core.wake.notify_one();
        return Err(error);
    }
    core.events.send(EventKind::Destroyed, Arc::clone(&network));
    Ok(network)
}

/// Removes what is left of a network whose removal was recorded.
pub(crate) async fn finish_deleting(core: &Arc<Core>, network: &Arc<Network>) -> Result<()> {
    remove_from_kernel(core, network).await?;
    forget(core, network).await
}

/// Undoes a network that was never finished.
pub(crate) async fn undo_creating(core: &Arc<Core>, network: &Arc<Network>) -> Result<()> {
    remove_from_kernel(core, network).await?;
    forget(core, network).await
}

/// The same for one that other hosts can see already.
pub(crate) async fn undo_shared(core: &Arc<Core>, network: &Arc<Network>) -> Result<()> {
    let deleting = Arc::new(with_lifecycle(network, Lifecycle::Deleting));
    match core.records.shared(network.scope) {
        true => mark_shared(core, network, &deleting).await?,
        false => commit_local(core, &deleting).await?,
    }
    finish_deleting(core, &deleting).await
}

/// Makes the network on this host, if it is not made yet.
pub(crate) async fn realize(core: &Arc<Core>, network: &Arc<Network>) -> Result<()> {
    realize_knowing(core, network, None).await
}

/// The same in a walk over all networks, which began with a survey.
pub(crate) async fn realize_knowing(
    core: &Arc<Core>,
    network: &Arc<Network>,
    survey: Option<&Arc<Survey>>,
) -> Result<()> {
    let _realized = core.locks.exclusive(LockKey::Realized(network.id)).await;
    if core.is_made(network.id) {
        return Ok(());
    }
    let driver = core.driver_knowing(&network.driver, survey)?;
    let doing = format!("creating network {} on this host", network.name);
    core.call(&network.driver, doing, driver.create_network(network))
        .await?;
    core.set_made(network.id, true);
    Ok(())
}

/// Removes a global network from this host when no endpoint here is left on it.
pub(crate) async fn unrealize(core: &Arc<Core>, network: &Arc<Network>) -> Result<()> {
    if network.scope != Scope::Global {
        return Ok(());
    }
    let _realized = core.locks.exclusive(LockKey::Realized(network.id)).await;
    let snapshot = core.records.snapshot();
    let used = snapshot
        .endpoints_on(&network.id)
        .any(|endpoint| endpoint.node == core.node.id);
    if used || !core.is_made(network.id) {
        return Ok(());
    }
    let driver = core.driver(&network.driver)?;
    let doing = format!("removing network {} from this host", network.name);
    core.call(&network.driver, doing, driver.delete_network(network))
        .await?;
    core.set_made(network.id, false);
    Ok(())
}

/// Removes what this host may have of a network, whether it is known to be made here or not.
pub(crate) async fn remove_from_kernel(core: &Arc<Core>, network: &Arc<Network>) -> Result<()> {
    let _realized = core.locks.exclusive(LockKey::Realized(network.id)).await;
    // A driver that is gone (a plugin's) has nothing here that could be removed.
    if let Ok(driver) = core.driver(&network.driver) {
        let doing = format!("removing network {}", network.name);
        core.call(&network.driver, doing, driver.delete_network(network))
            .await?;
    }
    core.set_made(network.id, false);
    Ok(())
}

/// Releases what the network holds and forgets its record, in one commit.
async fn forget(core: &Arc<Core>, network: &Arc<Network>) -> Result<()> {
    let id = network.id;
    let mut txn = release(core, network).await?;
    if core.records.shared(network.scope) {
        let found = records::networks()
            .get(&**core.stores.of(network.scope), id)
            .await?;
        // When another host, or an earlier try, has finished it, its name and pools may be somebody else's by now.
        txn = found.map_or_else(Txn::new, |found| {
            txn.guard(Guard::Unchanged(records::networks().key(id), found.revision))
        });
    }
    if txn != Txn::new() {
        core.stores.of(network.scope).commit(txn).await?;
    }
    core.records.publish(|snapshot| forgotten(snapshot, id));
    core.strangers.forget(id);
    core.records.set_revision(id, None);
    if core.records.shared(network.scope) {
        let txn = records::network_copies().delete(id);
        if let Err(error) = core.stores.local.commit(txn).await {
            tracing::warn!(%error, network = %network.name, "removing a copy failed");
        }
    }
    Ok(())
}

fn forgotten(snapshot: &mut Snapshot, id: NetworkId) {
    snapshot.networks.remove(&id);
    let left: Vec<_> = snapshot.endpoints_on(&id).map(|endpoint| endpoint.id).collect();
    for endpoint in left {
        snapshot.remove_endpoint(&endpoint);
    }
}

/// The transaction that forgets a network and frees its name, devices, pools, addresses and numbers.
async fn release(core: &Core, network: &Network) -> Result<Txn> {
    let mut txn = records::networks().delete(network.id);
    txn = txn
        .delete(claims::network_name(&network.name))
        .and(claims::release_vnis(&network.vnis));
    let ipam = core.ipam(network);
    for pool in &network.pools {
        if let Some(gateway) = pool.gateway {
            txn = txn.and(
                ipam.release_address(network.id, network.scope, pool, gateway)
                    .await?,
            );
        }
        txn = txn.and(ipam.release_pool(network.id, network.scope, pool).await?);
    }
    for device in devices(core, network).await? {
        txn = txn.delete(device);
    }
    if network.scope == Scope::Global {
        txn = txn.delete(records::changes().child(network.id));
    }
    Ok(txn)
}

/// The device names that this network has claimed. Asked of the driver, as at creation.
async fn devices(core: &Core, network: &Network) -> Result<Vec<store::Key>> {
    let Ok(driver) = core.driver(&network.driver) else {
        return Ok(Vec::new());
    };
    // A plugin claims none, and is not asked about what it has just been told to remove.
    if driver.is_remote() {
        return Ok(Vec::new());
    }
    let (families, subnets) = super::create::draft_parts(network);
    let draft = drivers::Draft {
        id: network.id,
        options: &network.options,
        internal: network.internal,
        families: &families,
        subnets: &subnets,
    };
    // Options that a newer version no longer takes must not keep a network from being removed.
    let needs = core
        .call(&network.driver, "asking for its devices", driver.check(&draft))
        .await
        .unwrap_or_default();
    needs.claims.iter().map(|device| claims::device(device)).collect()
}

fn with_lifecycle(network: &Network, lifecycle: Lifecycle) -> Network {
    Network {
        lifecycle,
        ..network.clone()
    }
}

async fn commit_local(core: &Core, network: &Arc<Network>) -> Result<()> {
    let txn = records::networks().put(network.id, network);
    let published = Arc::clone(network);
    core.records
        .commit(network.scope, txn, move |snapshot| {
            snapshot.networks.insert(published.id, published);
        })
        .await?;
    Ok(())
}

/// Records the intent where every host sees it, and only then looks for endpoints: one that came between was committed
/// under the guard that the network is unchanged, so it is either seen here or refused there.
async fn mark_shared(core: &Core, network: &Arc<Network>, deleting: &Arc<Network>) -> Result<()> {
    let store = core.stores.of(network.scope);
    let found = records::networks().get(&**store, network.id).await?;
    let Some(found) = found else {
        // Somebody else has removed it; the rest is this host's own.
        return Ok(());
    };
    let revision = replace(core, deleting, found.revision).await?;
    let (_, endpoints) = records::endpoints(network.id).list(&**store).await?;
    let endpoints: Vec<_> = endpoints
        .into_iter()
        .map(|found| Arc::new(found.record))
        .collect();
    if endpoints.is_empty() {
        return Ok(());
    }
    let active = Arc::new(with_lifecycle(network, Lifecycle::Active));
    replace(core, &active, revision).await?;
    Err(in_use(network, &endpoints))
}

async fn replace(core: &Core, network: &Arc<Network>, revision: Revision) -> Result<Revision> {
    let table = records::networks();
    let txn = table
        .replace(network.id, revision, network)
        .and(records::changed(network.id));
    let revision = core.stores.of(network.scope).commit(txn).await?;
    let usable = network.lifecycle == Lifecycle::Active;
    core.records.set_revision(network.id, usable.then_some(revision));
    let published = Arc::clone(network);
    core.records.publish(move |snapshot| {
        snapshot.networks.insert(published.id, published);
    });
    Ok(revision)
}

fn refuse_in_use(snapshot: &Snapshot, network: &Network) -> Result<()> {
    let users: Vec<_> = snapshot.endpoints_on(&network.id).cloned().collect();
    match users.is_empty() {
        true => Ok(()),
        false => Err(in_use(network, &users)),
    }
}

/// Names the users, a few of them where there are many.
fn in_use(network: &Network, users: &[Arc<Endpoint>]) -> Error {
    const SHOWN: usize = 5;
    let describe =
        |endpoint: &Arc<Endpoint>| format!("name:{:?} id:{:?}", endpoint.name, endpoint.id.short());
    let mut named: Vec<_> = users.iter().take(SHOWN).map(describe).collect();
    if users.len() > SHOWN {
        named.push(format!("and {} more", users.len() - SHOWN));
    }
    Error::forbidden(format!(
        "network {} has active endpoints ({})",
        network.name,
        named.join(", ")
    ))
    .with_hint("disconnect or remove the containers first")
}
