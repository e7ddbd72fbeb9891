//! An endpoint's addresses: one per enabled family, from the pool that holds the one asked for or the first with room.

use std::{net::IpAddr, sync::Arc};

use ipam::{AddressRequest, Error as IpamError, Holder};
use model::{
    AddressFamily, ContainerId, Endpoint, EndpointAddresses, EndpointId, IpNet, Lifecycle, MacAddress,
    Network, Pool,
};
use store::Txn;

use super::Connect;
use crate::{
    core::Core,
    dressed,
    error::{Error, Result},
    leases,
};

/// Addresses chosen. They don't hold until `txn` is committed.
#[derive(Debug, Default)]
pub(super) struct Chosen {
    pub(super) addresses: EndpointAddresses,
    pub(super) txn: Txn,
}

/// Chooses addresses; `avoid` are those that lost commits have shown to be taken.
pub(super) async fn choose(
    core: &Arc<Core>,
    network: &Network,
    id: EndpointId,
    request: &Connect,
    avoid: &[IpAddr],
) -> Result<Chosen> {
    let shared = core.driver(&network.driver)?.shares_ethernet();
    if shared {
        refuse_mac(network, request.mac)?;
    }
    let mut chosen = Chosen::default();
    let request = &with_mac(core, network, id, request).await?;
    let wanted = [
        (
            AddressFamily::V4,
            network.enable_ipv4,
            request.ipv4.map(IpAddr::V4),
        ),
        (
            AddressFamily::V6,
            network.enable_ipv6,
            request.ipv6.map(IpAddr::V6),
        ),
    ];
    for (family, enabled, wanted) in wanted {
        refuse_disabled(network, family, enabled, wanted)?;
        if network.pools_of(family).next().is_none() {
            continue;
        }
        match one(core, network, id, request, family, wanted, avoid).await {
            Ok((address, txn)) => {
                set(&mut chosen.addresses, address);
                chosen.txn = std::mem::take(&mut chosen.txn).and(txn);
            }
            Err(error) => {
                give_back(core, network, &chosen.addresses).await;
                return Err(error);
            }
        }
    }
    chosen.addresses.link_local = link_local(&request.link_local)?;
    // A plugin's interface keeps the one that it comes with.
    let remote = core.driver(&network.driver)?.is_remote();
    let derived = || match leases::is_leased(network) {
        true => Some(leased_mac(core, network, id, request)),
        false => mac(&chosen.addresses).filter(|_| !remote),
    };
    chosen.addresses.mac = match shared {
        true => None,
        false => request.mac.or_else(derived),
    };
    Ok(chosen)
}

/// Where nobody knows the IP address yet: from the container, so that a server knows it again after a restart.
fn leased_mac(core: &Core, network: &Network, id: EndpointId, request: &Connect) -> MacAddress {
    match container(core, request) {
        Some(container) => leases::mac(network, container.as_bytes()),
        None => leases::mac(network, id.as_bytes()),
    }
}

/// An interface that wears its parent's Ethernet address has none of its own.
fn refuse_mac(network: &Network, asked: Option<MacAddress>) -> Result<()> {
    match asked {
        None => Ok(()),
        Some(_) => Err(Error::invalid(format!(
            "{} interfaces do not support custom mac address assignment",
            network.driver
        ))
        .with_hint("leave the MAC address out: all containers have their parent's")),
    }
}

/// With an Ethernet address, where one must be known before the others are chosen.
async fn with_mac(core: &Core, network: &Network, id: EndpointId, request: &Connect) -> Result<Connect> {
    let mut request = request.clone();
    let asks = request.mac.is_none() && !network.pools.is_empty();
    if asks && core.ipam(network).requires_mac().await? {
        let [a, b, c, d, ..] = *id.as_bytes();
        request.mac = MacAddress::new([0x02, 0x42, a, b, c, d]).ok();
    }
    Ok(request)
}

/// Tells address management that nothing was committed.
pub(super) async fn give_back(core: &Core, network: &Network, addresses: &EndpointAddresses) {
    for address in addresses.iter() {
        if let Some(pool) = network.pool_around(address.addr()) {
            // Only its memory is put right: there is nothing to commit.
            let _ = core
                .ipam(network)
                .release_address(network.id, network.scope, pool, address.addr())
                .await;
        }
    }
}

/// The transaction that gives an endpoint's addresses back. One that was in use is kept for its container for a while.
pub(super) async fn release(core: &Core, network: &Network, endpoint: &Endpoint) -> Result<Txn> {
    let mut txn = Txn::new();
    for address in endpoint.addresses.iter().map(|net| net.addr()) {
        let Some(pool) = network.pool_around(address) else {
            continue;
        };
        let ipam = core.ipam(network);
        let given_back = match endpoint.lifecycle {
            Lifecycle::Deleting => ipam.keep_address(network.id, network.scope, pool, address).await,
            _ => {
                ipam.release_address(network.id, network.scope, pool, address)
                    .await
            }
        };
        txn = txn.and(given_back?);
    }
    Ok(txn)
}

/// Sets addresses aside for a container that need not run: all of them or none.
pub(super) async fn reserve(
    core: &Core,
    network: &Network,
    container: ContainerId,
    name: &str,
    addresses: &[IpAddr],
) -> Result<()> {
    let owner = container.to_string();
    let mut txn = Txn::new();
    for address in addresses {
        let pool = candidates(network, AddressFamily::of(*address), Some(*address))?[0];
        let request = AddressRequest {
            network: network.id,
            scope: network.scope,
            pool,
            holder: Holder::Endpoint(EndpointId::random(), name.to_owned()),
            owner: Some(owner.clone()),
            node: core.node.id,
            wanted: Some(*address),
            mac: None,
            avoid: &[],
        };
        txn = txn.and(core.ipam(network).reserve_address(&request, &owner).await?);
    }
    if txn != Txn::new() {
        core.stores.of(network.scope).commit(txn).await?;
    }
    Ok(())
}

/// The container behind a connection; or its engine, which has asked for the address before.
fn owner(core: &Core, request: &Connect) -> Option<String> {
    let snapshot = core.records.snapshot();
    let sandbox = snapshot.sandboxes.get(&request.sandbox);
    if sandbox.is_some_and(|sandbox| dressed::is_dressed(sandbox)) {
        return Some(dressed::owner(core));
    }
    container(core, request).map(|id| id.to_string())
}

fn container(core: &Core, request: &Connect) -> Option<ContainerId> {
    let snapshot = core.records.snapshot();
    let sandbox = snapshot.sandboxes.get(&request.sandbox);
    let of_sandbox = sandbox.and_then(|sandbox| sandbox.container);
    request.container.or(of_sandbox)
}

fn refuse_disabled(
    network: &Network,
    family: AddressFamily,
    enabled: bool,
    wanted: Option<IpAddr>,
) -> Result<()> {
    match wanted {
        // The server is asked for it.
        Some(address) if enabled && leases::gives(network, address) => Ok(()),
        Some(address) if !enabled || network.pools_of(family).next().is_none() => {
            Err(Error::invalid(format!(
                "address {address} is asked for, but network {} has no {family}",
                network.name
            ))
            .with_hint("leave the address out, or use a network made with that family"))
        }
        _ => Ok(()),
    }
}

async fn one(
    core: &Arc<Core>,
    network: &Network,
    id: EndpointId,
    request: &Connect,
    family: AddressFamily,
    wanted: Option<IpAddr>,
    avoid: &[IpAddr],
) -> Result<(IpNet, Txn)> {
    let pools = candidates(network, family, wanted)?;
    let mut full = None;
    for pool in pools {
        let lost: Vec<_> = avoid
            .iter()
            .copied()
            .filter(|address| pool.subnet.contains(address))
            .collect();
        let request = AddressRequest {
            network: network.id,
            scope: network.scope,
            pool,
            holder: Holder::Endpoint(id, request.name.clone()),
            owner: owner(core, request),
            node: core.node.id,
            wanted,
            mac: request.mac,
            avoid: &lost,
        };
        match core.ipam(network).request_address(&request).await {
            Ok(grant) => return Ok((grant.address, grant.txn)),
            Err(error @ IpamError::Exhausted { .. }) => full = Some(error),
            Err(error) => return Err(error.into()),
        }
    }
    let none_left = || Error::Unavailable {
        message: format!("no available {family} addresses on network {}", network.name),
        hint: None,
    };
    Err(full.map_or_else(none_left, Error::from))
}

/// The pool around the address asked for, or all of the family in their order.
fn candidates(network: &Network, family: AddressFamily, wanted: Option<IpAddr>) -> Result<Vec<&Pool>> {
    let Some(address) = wanted else {
        return Ok(network.pools_of(family).collect());
    };
    match network.pool_around(address) {
        Some(pool) => Ok(vec![pool]),
        None => {
            let subnets: Vec<_> = network
                .pools_of(family)
                .map(|pool| pool.subnet.to_string())
                .collect();
            Err(Error::invalid(format!(
                "address {address} is not in a subnet of network {}",
                network.name
            ))
            .with_hint(format!("its subnets are {}", subnets.join(", "))))
        }
    }
}

fn set(addresses: &mut EndpointAddresses, address: IpNet) {
    match address {
        IpNet::V4(v4) => addresses.ipv4 = Some(v4),
        IpNet::V6(v6) => addresses.ipv6 = Some(v6),
    }
}

/// The Ethernet address that every host can compute from the IP address.
fn mac(addresses: &EndpointAddresses) -> Option<MacAddress> {
    addresses
        .iter()
        .next()
        .map(|address| MacAddress::from_ip(address.addr()))
}

/// Link-local addresses with the prefix lengths of their ranges (RFC 3927: /16; RFC 4291: /64).
fn link_local(asked: &[IpAddr]) -> Result<Vec<IpNet>> {
    let one = |address: &IpAddr| match address {
        IpAddr::V4(v4) if v4.is_link_local() => Ok(IpNet::new_assert(*address, 16)),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Ok(IpNet::new_assert(*address, 64)),
        _ => Err(Error::invalid(format!("{address} is not a link-local address"))
            .with_hint("those of 169.254.0.0/16 and fe80::/64 are")),
    };
    asked.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_local_addresses_get_the_prefix_of_their_range_and_others_are_refused() {
        let parse = |text: &str| text.parse().unwrap();
        let nets = link_local(&[parse("169.254.7.8"), parse("fe80::7")]).unwrap();
        let texts: Vec<_> = nets.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["169.254.7.8/16", "fe80::7/64"]);
        assert!(link_local(&[parse("10.0.0.1")]).is_err());
    }
}
