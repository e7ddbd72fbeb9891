//! Docker's address management: pools of our networks, and addresses from the store that all hosts share.
//!
//! Hosts that ask for one network's pool or gateway get the same answer, whoever asks first. Of a network that is still to
//! be made nothing is taken yet: making it does that, in one commit.

use std::{net::IpAddr, sync::Arc};

use async_trait::async_trait;
use model::{AddressFamily, Network, Pool, Subnet};
use plugin_proto::{
    Nothing,
    ipam_driver::{
        ADDRESS_TYPE, AddressGranted, AddressSpaces, GATEWAY, PoolGranted, ReleaseAddress, ReleasePool,
        RequestAddress, RequestPool,
    },
    server::{Answer, IpamDriver},
};

use crate::{
    Shared,
    pool_id::PoolId,
    refusal::{Result, refused, tell},
    wanted::{self, SPACE},
};

/// Answers Docker's calls.
#[derive(Debug)]
pub(crate) struct Addresses(pub(crate) Arc<Shared>);

#[async_trait]
impl IpamDriver for Addresses {
    async fn get_default_address_spaces(&self) -> Answer<AddressSpaces> {
        Ok(AddressSpaces {
            local_default_address_space: SPACE.to_owned(),
            global_default_address_space: SPACE.to_owned(),
        })
    }

    async fn request_pool(&self, request: RequestPool) -> Answer<PoolGranted> {
        let granted = request_pool(&self.0, &request).await;
        granted.map_err(|error| tell("RequestPool", &error))
    }

    async fn release_pool(&self, request: ReleasePool) -> Answer<Nothing> {
        if let Ok(pool) = request.pool_id.parse::<PoolId>() {
            self.0.drafts.forget(&pool.network, pool.subnet);
        }
        Ok(Nothing {})
    }

    async fn request_address(&self, request: RequestAddress) -> Answer<AddressGranted> {
        let granted = request_address(&self.0, &request).await;
        granted.map_err(|error| tell("RequestAddress", &error))
    }

    async fn release_address(&self, request: ReleaseAddress) -> Answer<Nothing> {
        let released = release_address(&self.0, &request).await;
        released
            .map(|()| Nothing {})
            .map_err(|error| tell("ReleaseAddress", &error))
    }
}

async fn request_pool(shared: &Shared, request: &RequestPool) -> Result<PoolGranted> {
    let name = wanted::ipam_name(&request.options)?;
    let family = match request.v6 {
        true => AddressFamily::V6,
        false => AddressFamily::V4,
    };
    let asked = subnet(&request.pool)?;
    let range = subnet(&request.sub_pool)?;
    let id = match shared.named(&name).await? {
        Some(network) => {
            let pool = pool_there(&network, family, asked, range)?;
            PoolId {
                network: name,
                subnet: pool.subnet,
                range: pool.ip_range,
            }
        }
        None => {
            let subnet = match asked {
                Some(subnet) => subnet,
                None => {
                    let avoid = shared.drafts.subnets(family);
                    shared.controller.networks.propose(family, avoid).await?
                }
            };
            shared.drafts.add(&name, subnet, range);
            PoolId {
                network: name,
                subnet,
                range,
            }
        }
    };
    Ok(PoolGranted {
        pool_id: id.to_string(),
        pool: id.subnet.to_string(),
        data: std::collections::BTreeMap::new(),
    })
}

fn subnet(text: &str) -> Result<Option<Subnet>> {
    match text {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|error: model::SubnetError| {
            refused(
                format!("{text:?} is no subnet: {error}"),
                "a subnet is written 10.5.0.0/24",
            )
        }),
    }
}

/// Pure: the pool of a network that is there.
fn pool_there(
    network: &Network,
    family: AddressFamily,
    asked: Option<Subnet>,
    range: Option<Subnet>,
) -> Result<&Pool> {
    let name = &*network.name;
    let mut pools = network.pools_of(family);
    let pool = match asked {
        None => pools.next().ok_or_else(|| {
            refused(
                format!("network {name:?} is there and has no {family}"),
                "leave out --ipv6, or make another network",
            )
        })?,
        Some(subnet) => pools.find(|pool| pool.subnet == subnet).ok_or_else(|| {
            let subnets: Vec<_> = network
                .pools_of(family)
                .map(|pool| pool.subnet.to_string())
                .collect();
            let has = match subnets.is_empty() {
                true => format!("no {family}"),
                false => subnets.join(", "),
            };
            refused(
                format!("network {name:?} is there and has {has}, not {subnet}"),
                "leave out --subnet, or give what it has",
            )
        })?,
    };
    match range.filter(|range| pool.ip_range != Some(*range)) {
        None => Ok(pool),
        Some(range) => Err(refused(
            match pool.ip_range {
                Some(is) => format!("network {name:?} hands out addresses of {is}, not of {range}"),
                None => format!("network {name:?} hands out addresses of all of {}", pool.subnet),
            },
            "leave out --ip-range: all hosts take addresses from one place",
        )),
    }
}

async fn request_address(shared: &Shared, request: &RequestAddress) -> Result<AddressGranted> {
    let id = pool_id(&request.pool_id)?;
    let asked = address(&request.address)?;
    let is_gateway = request.options.get(ADDRESS_TYPE).map(String::as_str) == Some(GATEWAY);
    let granted = match (network_with(shared, &id).await?, is_gateway) {
        (Some((network, pool)), true) => gateway(&network, &pool, asked)?,
        (Some((_, pool)), false) if asked.is_some_and(|asked| is_aux(&pool, asked)) => {
            asked.unwrap_or_else(|| pool.subnet.network())
        }
        (Some((network, pool)), false) => {
            let granted = shared
                .controller
                .dressed
                .set_apart(network.id, &pool, asked)
                .await?;
            granted.addr()
        }
        (None, true) => asked.unwrap_or_else(|| wanted::first_address(id.range.unwrap_or(id.subnet))),
        // An auxiliary address of a network that is being made.
        (None, false) => asked.ok_or_else(|| gone(&id))?,
    };
    if !id.subnet.contains(&granted) {
        return Err(refused(
            format!("{granted} is not in {}", id.subnet),
            "choose an address of the subnet",
        ));
    }
    Ok(AddressGranted {
        address: id.subnet.with_address(granted).to_string(),
        data: std::collections::BTreeMap::new(),
    })
}

/// Pure: the gateway's address of a network that is there, the same for every host.
fn gateway(network: &Network, pool: &Pool, asked: Option<IpAddr>) -> Result<IpAddr> {
    match (pool.gateway, asked) {
        (Some(is), Some(asked)) if is != asked => Err(refused(
            format!(
                "network {:?} is there and has the gateway {is}, not {asked}",
                &*network.name
            ),
            "leave out --gateway, or give that one",
        )),
        (Some(is), _) => Ok(is),
        (None, asked) => Ok(asked.unwrap_or_else(|| wanted::first_address(pool.subnet))),
    }
}

fn is_aux(pool: &Pool, address: IpAddr) -> bool {
    pool.aux_addresses.values().any(|aux| *aux == address)
}

async fn release_address(shared: &Shared, request: &ReleaseAddress) -> Result<()> {
    let id = pool_id(&request.pool_id)?;
    let (Some(address), Some((network, pool))) =
        (address(&request.address)?, network_with(shared, &id).await?)
    else {
        return Ok(());
    };
    shared
        .controller
        .dressed
        .give_up(network.id, &pool, address)
        .await?;
    Ok(())
}

/// The network of a pool, if it is made; made again if it was bound here.
async fn network_with(shared: &Shared, id: &PoolId) -> Result<Option<(Arc<Network>, Pool)>> {
    let network = match shared.named(&id.network).await? {
        Some(network) => network,
        None => {
            let bindings = shared.bindings().await?.into_iter();
            let mut bound = bindings.filter(|binding| binding.wanted.name == id.network && !binding.intended);
            match bound.next() {
                Some(binding) => shared.again(&binding).await?,
                None => return Ok(None),
            }
        }
    };
    let pool = network
        .pools
        .iter()
        .find(|pool| pool.subnet == id.subnet)
        .cloned();
    let pool = pool.ok_or_else(|| gone(id))?;
    Ok(Some((network, pool)))
}

fn gone(id: &PoolId) -> crate::refusal::Refused {
    refused(
        format!(
            "network {:?} has no subnet {} (any more)",
            &*id.network, id.subnet
        ),
        "remove Docker's network and create it again",
    )
}

fn pool_id(text: &str) -> Result<PoolId> {
    text.parse()
        .map_err(|error: String| refused(error, "remove Docker's network and create it again"))
}

fn address(text: &str) -> Result<Option<IpAddr>> {
    match text {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| {
            refused(
                format!("{text:?} is no address"),
                "an address is written 10.5.0.9",
            )
        }),
    }
}

#[cfg(test)]
mod tests;
