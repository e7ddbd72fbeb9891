//! After a time without the cluster store: what every host should know of this one's endpoints is put right.
//!
//! Three cases: the record there is as it is here; it is an older one, as of a container that was started again; or it
//! is gone, freed by others after the quarantine. Then its name and addresses are claimed again, and where somebody
//! else has them by now, the endpoint here has to go.

use std::{collections::BTreeMap, sync::Arc};

use ipam::{AddressRequest, Holder};
use model::{Endpoint, EndpointId, Lifecycle, Network, Scope};
use store::{Guard, Txn, Versioned};

use super::{disconnect, revive::is_published};
use crate::{
    claims,
    core::Core,
    error::{Error, Result},
    locks::LockKey,
    records,
};

/// Goes through this host's endpoints on shared networks.
pub(crate) async fn republish(core: &Arc<Core>) -> Result<()> {
    let snapshot = core.records.snapshot();
    for network in snapshot
        .networks
        .values()
        .filter(|network| core.records.shared(network.scope))
    {
        let own: Vec<_> = snapshot
            .endpoints_on(&network.id)
            .filter(|endpoint| is_published(core, endpoint))
            .collect();
        if own.is_empty() {
            continue;
        }
        let store = core.stores.of(network.scope);
        let (_, there) = records::endpoints(network.id).list(&**store).await?;
        let there: BTreeMap<EndpointId, Versioned<Endpoint>> =
            there.into_iter().map(|found| (found.record.id, found)).collect();
        for endpoint in own {
            one(core, network, endpoint, there.get(&endpoint.id)).await?;
        }
    }
    Ok(())
}

async fn one(
    core: &Arc<Core>,
    network: &Arc<Network>,
    endpoint: &Arc<Endpoint>,
    there: Option<&Versioned<Endpoint>>,
) -> Result<()> {
    let _endpoint = core.locks.exclusive(LockKey::Endpoint(endpoint.id)).await;
    if core.records.snapshot().endpoints.get(&endpoint.id) != Some(endpoint) {
        // It was changed meanwhile, by somebody who told the store.
        return Ok(());
    }
    let published = match there {
        Some(found) if found.record == **endpoint => return Ok(()),
        Some(found) => update(core, network, endpoint, found).await,
        None => claim(core, network, endpoint).await,
    };
    match published {
        Err(error @ (Error::Conflict { .. } | Error::Forbidden { .. })) => {
            tracing::error!(%error, endpoint = %endpoint.name, "what it had is somebody else's or gone by now: it goes");
            disconnect::take_out(core, network, endpoint, true).await?;
            let (id, gone) = (endpoint.id, records::endpoints(network.id).delete(endpoint.id));
            core.records
                .commit(Scope::Local, gone, move |snapshot| {
                    snapshot.remove_endpoint(&id);
                })
                .await?;
            Ok(())
        }
        other => other,
    }
}

async fn update(
    core: &Core,
    network: &Network,
    endpoint: &Endpoint,
    found: &Versioned<Endpoint>,
) -> Result<()> {
    let mut txn = records::endpoints(network.id).replace(endpoint.id, found.revision, endpoint);
    if found.record.name != endpoint.name {
        // It was being renamed when this host's daemon ended.
        let name = claims::endpoint_name(network.id, &endpoint.name)?;
        txn = txn
            .and(claims::for_endpoint(name, endpoint.id, &endpoint.name))
            .delete(claims::endpoint_name(network.id, &found.record.name)?);
    }
    commit(core, network, txn).await
}

async fn claim(core: &Core, network: &Network, endpoint: &Endpoint) -> Result<()> {
    let store = core.stores.of(network.scope);
    let found = records::networks().get(&**store, network.id).await?;
    let usable = found.filter(|found| found.record.lifecycle == Lifecycle::Active);
    let Some(found) = usable else {
        return Err(Error::conflict(format!("network {} was removed", network.name)));
    };
    let name = claims::endpoint_name(network.id, &endpoint.name)?;
    let unchanged = Guard::Unchanged(records::networks().key(network.id), found.revision);
    let mut txn = records::endpoints(network.id)
        .create(endpoint.id, endpoint)
        .guard(unchanged)
        .and(claims::for_endpoint(name, endpoint.id, &endpoint.name));
    for address in endpoint.addresses.iter() {
        let Some(pool) = network.pool_around(address.addr()) else {
            continue;
        };
        let request = AddressRequest {
            network: network.id,
            scope: network.scope,
            pool,
            holder: Holder::Endpoint(endpoint.id, endpoint.name.clone()),
            owner: endpoint.container.map(|id| id.to_string()),
            node: core.node.id,
            wanted: Some(address.addr()),
            mac: None,
            avoid: &[],
        };
        txn = txn.and(core.ipam(network).request_address(&request).await?.txn);
    }
    commit(core, network, txn).await?;
    tracing::info!(endpoint = %endpoint.name, "claimed again");
    Ok(())
}

async fn commit(core: &Core, network: &Network, txn: Txn) -> Result<()> {
    let store = core.stores.of(network.scope);
    store.commit(txn.and(records::changed(network.id))).await?;
    Ok(())
}
