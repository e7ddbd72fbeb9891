//! Addresses that an engine asks for before it makes an endpoint.

use std::{net::IpAddr, sync::Arc};

use ipam::{AddressRequest, Holder};
use model::{EndpointAddresses, EndpointId, IpNet, Network, NetworkId, Pool, Timestamp};
use store::Txn;

use super::owner;
use crate::{
    core::Core,
    endpoints,
    error::{Error, Result},
    networks::network_not_found,
};

/// How often a lost race for an address is run again.
const TURNS: usize = 64;

pub(super) async fn set_apart(
    core: &Core,
    id: NetworkId,
    pool: &Pool,
    wanted: Option<IpAddr>,
) -> Result<IpNet> {
    let network = network(core, id)?;
    core.require_store(network.scope)?;
    let (ipam, owner) = (core.ipam(&network), owner(core));
    let mut avoid = Vec::new();
    for _ in 0..TURNS {
        let placeholder = EndpointId::random();
        let request = AddressRequest {
            network: id,
            scope: network.scope,
            pool,
            // A name that nobody had before: what was given back lately is kept for whoever had it.
            holder: Holder::Endpoint(placeholder, placeholder.to_string()),
            owner: wanted.map(|_| owner.clone()),
            node: core.node.id,
            wanted,
            mac: None,
            avoid: &avoid,
        };
        let grant = ipam.set_apart(&request, &owner).await?;
        let mut alone = EndpointAddresses::default();
        match grant.address {
            IpNet::V4(net) => alone.ipv4 = Some(net),
            IpNet::V6(net) => alone.ipv6 = Some(net),
        }
        if let Err(taken) = endpoints::look(core, &network, &alone).await {
            // Nothing was committed.
            let address = grant.address.addr();
            let _ = ipam.release_address(id, network.scope, pool, address).await;
            match wanted {
                Some(wanted) => return Err(strangers(wanted)),
                None => avoid.extend(taken.into_keys()),
            }
            continue;
        }
        match core.stores.of(network.scope).commit(grant.txn).await {
            Ok(_) => return Ok(grant.address),
            Err(store::Error::Conflict { .. }) => avoid.push(grant.address.addr()),
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::conflict(format!(
        "no address of network {} could be had in {TURNS} tries",
        network.name
    ))
    .with_hint("try again"))
}

fn strangers(address: IpAddr) -> Error {
    Error::forbidden(format!(
        "address {address} is already in use on the network's segment by another machine"
    ))
    .with_hint("choose another address, or none to get one that is free")
}

pub(super) async fn give_up(core: &Core, id: NetworkId, pool: &Pool, address: IpAddr) -> Result<()> {
    let network = network(core, id)?;
    let ipam = core.ipam(&network);
    let txn = ipam
        .give_up_apart(id, network.scope, pool, address, &owner(core))
        .await?;
    if txn == Txn::new() {
        return Ok(());
    }
    match core.stores.of(network.scope).commit(txn).await {
        // An endpoint has taken it in this moment.
        Ok(_) | Err(store::Error::Conflict { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn list(core: &Core, id: NetworkId) -> Result<Vec<(IpAddr, Timestamp)>> {
    let network = network(core, id)?;
    Ok(core.ipam(&network).apart(id, network.scope, &owner(core)).await?)
}

fn network(core: &Core, id: NetworkId) -> Result<Arc<Network>> {
    let found = core.records.snapshot().networks.get(&id).cloned();
    found.ok_or_else(|| network_not_found(&id.short()))
}
