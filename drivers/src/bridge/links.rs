//! Links, addresses and sysctls of bridge networks.

use std::net::IpAddr;

use kernel::{
    Netns, Object,
    object::{Address, BridgePort, Link, LinkKind, Proxy, Sysctl, VethPeer},
};
use model::{Endpoint, InterfaceName, MacAddress, Network, Pool};

use crate::{Error, Result, Target};

/// The device of a network: as named, else `br-` and its id.
pub(super) fn device(network: &Network, named: Option<&InterfaceName>) -> InterfaceName {
    let derived = || InterfaceName::new(format!("br-{}", network.id.short()));
    match named {
        Some(name) => name.clone(),
        None => derived().expect("15 bytes of letters, digits and a dash"),
    }
}

/// The host's end of an endpoint's veth.
pub(crate) fn veth_name(endpoint: &Endpoint) -> InterfaceName {
    let name = InterfaceName::new(format!("veth{}", endpoint.id.prefix(11)));
    name.expect("15 bytes of letters and digits")
}

/// The bridge and the gateways' addresses on it, of the pools that it is to wear.
pub(super) fn network<'a>(
    device: &InterfaceName,
    mtu: Option<u32>,
    pools: impl Iterator<Item = &'a Pool>,
) -> Vec<Object> {
    let gateways: Vec<_> = pools
        .filter_map(|pool| Some((pool.subnet, pool.gateway?)))
        .collect();
    let bridge = Link {
        netns: Netns::Host,
        name: device.clone(),
        kind: LinkKind::Bridge,
        // Said, lest it follow the lowest of its ports'.
        mac: gateways.first().map(|(_, gateway)| MacAddress::from_ip(*gateway)),
        mtu,
        master: None,
        up: true,
    };
    let addresses = gateways.into_iter().map(|(subnet, gateway)| {
        Object::Address(Address {
            netns: Netns::Host,
            link: device.clone(),
            address: subnet.with_address(gateway),
        })
    });
    std::iter::once(Object::Link(bridge)).chain(addresses).collect()
}

/// What of IPv6 happens on the bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ipv6 {
    /// The kernel has none on a link of so small an MTU, nor its settings.
    Absent,
    /// Nothing: the host takes no part in it.
    Off,
    /// It has addresses.
    On,
    /// The same, and the host forwards.
    Forwarded,
}

/// How IPv6 behaves on the bridge: not at all, or as a router that believes nobody's advertisements.
pub(super) fn ipv6(device: &InterfaceName, is: Ipv6) -> Vec<Object> {
    let here = |setting: &str, value| sysctl(format!("net/ipv6/conf/{device}/{setting}"), value);
    // While its own link-local address is checked for duplicates, the host asks for no neighbour's: packets for
    // containers would wait a second or two.
    // It may be off for new links, or have been for this one until now.
    let router = [
        here("disable_ipv6", "0"),
        here("accept_dad", "0"),
        here("accept_ra", "0"),
    ];
    match is {
        Ipv6::Absent => Vec::new(),
        Ipv6::Off => vec![here("disable_ipv6", "1")],
        Ipv6::On => router.into(),
        Ipv6::Forwarded => {
            let forwarding = sysctl("net/ipv6/conf/all/forwarding".to_owned(), "1");
            [forwarding].into_iter().chain(router).collect()
        }
    }
}

/// The host answers for IPv4 neighbours that containers can't reach themselves, at once.
pub(super) fn answering(device: &InterfaceName) -> [Object; 2] {
    [
        sysctl(format!("net/ipv4/conf/{device}/proxy_arp_pvlan"), "1"),
        sysctl(format!("net/ipv4/neigh/{device}/proxy_delay"), "0"),
    ]
}

/// The same for those IPv6 neighbours that the host is told to answer for.
pub(super) fn answering_v6(device: &InterfaceName) -> [Object; 2] {
    [
        sysctl(format!("net/ipv6/conf/{device}/proxy_ndp"), "1"),
        sysctl(format!("net/ipv6/neigh/{device}/proxy_delay"), "0"),
    ]
}

/// The host answers for these addresses on the bridge.
pub(super) fn answers<'a>(
    device: &'a InterfaceName,
    addresses: impl Iterator<Item = IpAddr> + 'a,
) -> impl Iterator<Item = Object> + 'a {
    addresses.map(|address| {
        Object::Proxy(Proxy {
            netns: Netns::Host,
            link: device.clone(),
            address,
        })
    })
}

/// Every sysctl of the bridge that a network may change, now or while it lives.
pub(super) fn changed_settings(device: &InterfaceName) -> Vec<String> {
    let ipv6 = [Ipv6::Off, Ipv6::On].map(|is| ipv6(device, is));
    let objects = ipv6
        .into_iter()
        .flatten()
        .chain(answering(device))
        .chain(answering_v6(device))
        .chain([loopback_answers(device)]);
    let names = objects.filter_map(|object| match object {
        Object::Sysctl(sysctl) => Some(sysctl.name),
        _ => None,
    });
    let names: std::collections::BTreeSet<_> = names.collect();
    names.into_iter().collect()
}

/// Answers to 127.0.0.1 are taken from the bridge.
pub(super) fn loopback_answers(device: &InterfaceName) -> Object {
    sysctl(format!("net/ipv4/conf/{device}/route_localnet"), "1")
}

/// Forwarding of IPv4.
pub(super) fn forwarding() -> Object {
    sysctl("net/ipv4/ip_forward".to_owned(), "1")
}

fn sysctl(name: String, value: &str) -> Object {
    Object::Sysctl(Sysctl {
        netns: Netns::Host,
        name,
        value: value.to_owned(),
    })
}

/// The veth of an endpoint: this end a port of the bridge, the other in the sandbox under its final name.
pub(crate) fn veth(
    netns: Netns,
    endpoint: &Endpoint,
    target: &Target,
    master: InterfaceName,
    mtu: Option<u32>,
    port: BridgePort,
) -> Result<Object> {
    let Some(place) = target.place() else {
        return Err(Error::Forbidden {
            message: format!(
                "{:?} shares the host's network and can't join another one",
                endpoint.name
            ),
            hint: Some("create the container without the host's network".to_owned()),
        });
    };
    // Whoever takes it from the host would have to take it down first, and decides for itself.
    let (up, ipv6) = (!target.on_host, target.on_host || has_ipv6(endpoint));
    let peer = VethPeer {
        netns: place,
        name: target.interface.clone(),
        mac: endpoint.addresses.mac,
        mtu,
        up,
        ipv6,
    };
    Ok(Object::Link(Link {
        netns,
        name: veth_name(endpoint),
        kind: LinkKind::Veth { peer, port },
        mac: None,
        mtu,
        master: Some(master),
        up: true,
    }))
}

fn has_ipv6(endpoint: &Endpoint) -> bool {
    let addresses = &endpoint.addresses;
    let mut all = addresses.iter().chain(addresses.link_local.iter().copied());
    all.any(|address| address.addr().is_ipv6())
}
