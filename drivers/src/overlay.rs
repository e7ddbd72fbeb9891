//! Networks of many hosts over VXLAN (RFC 7348), every entry known from the store and none learned.
//!
//! A network has a namespace of its own on each host that has endpoints on it: its subnets may overlap other networks',
//! and nobody's forwarding policy is in its path. In it, for each segment, a bridge wears the gateway's address, the same
//! with the same Ethernet address on every host, and a VXLAN link leads to the others. The link is created from the
//! host's namespace, where its UDP socket stays.

mod options;
mod peers;
mod segments;

use std::{net::IpAddr, path::PathBuf};

use kernel::{
    KernelState, Netns, Object,
    object::{Address, BridgePort, Fdb, Link as KernelLink, LinkKind, Sysctl, Vxlan},
};
use model::{AddressFamily, Endpoint, InterfaceName, MacAddress, Network, NetworkId, Scope};

pub use options::OverlayOptions;

use crate::{
    Attachment, Capabilities, Draft, Error, Link, Needs, Peer, Result, StaticRoute, Target,
    bridge::links::{veth, veth_name},
    options::prefix_or_usual,
    planner::Planner,
};
use segments::Segment;

/// What the underlay is taken for if nobody says.
const ETHERNET_MTU: u32 = 1500;

/// How pins of networks' namespaces begin; those of sandboxes are beside them.
const PIN: &str = "ov-";

/// What the overlay driver must know of the host.
#[derive(Debug, Clone)]
pub struct OverlayHost {
    /// The underlay address that other hosts send to.
    pub address: IpAddr,
    /// UDP port of tunnels, the same on all hosts.
    pub port: u16,
    /// MTU of the underlay; none if not known.
    pub underlay_mtu: Option<u32>,
    /// Folder of the daemon's running state.
    pub exec_root: PathBuf,
    /// The host has IPv6 at all.
    pub ipv6: bool,
}

/// Plans overlay networks.
#[derive(Debug, Clone)]
pub struct Overlay {
    host: OverlayHost,
}

impl Overlay {
    /// A planner for this host.
    pub fn new(host: OverlayHost) -> Self {
        Self { host }
    }

    fn pin(&self, network: &Network) -> PathBuf {
        self.host.exec_root.join("netns").join(pin_name(&network.id))
    }

    /// The underlay's MTU less Ethernet, VXLAN, UDP and the outer IP header.
    fn mtu(&self, options: &OverlayOptions) -> u32 {
        let overhead = if self.host.address.is_ipv4() { 50 } else { 70 };
        let underlay = self.host.underlay_mtu.unwrap_or(ETHERNET_MTU);
        options
            .mtu
            .unwrap_or_else(|| underlay.saturating_sub(overhead).min(65535))
    }

    fn bridge(&self, home: &Netns, segment: &Segment<'_>, mtu: u32) -> Vec<Object> {
        let gateways = segment
            .pools
            .iter()
            .filter_map(|pool| Some((pool.subnet, pool.gateway?)));
        let bridge = KernelLink {
            netns: home.clone(),
            name: segment.bridge(),
            kind: LinkKind::Bridge,
            mac: gateways
                .clone()
                .next()
                .map(|(_, gateway)| MacAddress::from_ip(gateway)),
            mtu: Some(mtu),
            master: None,
            up: true,
        };
        let addresses = gateways.map(|(subnet, gateway)| {
            Object::Address(Address {
                netns: home.clone(),
                link: segment.bridge(),
                address: subnet.with_address(gateway),
            })
        });
        std::iter::once(Object::Link(bridge)).chain(addresses).collect()
    }

    fn tunnel(&self, home: &Netns, segment: &Segment<'_>, mtu: u32) -> Object {
        let tunnel = Vxlan {
            vni: segment.vni,
            port: self.host.port,
            local: Some(self.host.address),
            proxy: true,
            learning: false,
            created_in: Netns::Host,
            bridge_port: BridgePort::default(),
        };
        Object::Link(KernelLink {
            netns: home.clone(),
            name: segment.tunnel(),
            kind: LinkKind::Vxlan(tunnel),
            mac: None,
            mtu: Some(mtu),
            master: Some(segment.bridge()),
            up: true,
        })
    }

    /// Routing between the network's own subnets, and IPv6 only where the network has it.
    fn sysctls(&self, home: &Netns, network: &Network) -> Vec<Object> {
        let sysctl = |name: &str, value: &str| {
            Object::Sysctl(Sysctl {
                netns: home.clone(),
                name: name.to_owned(),
                value: value.to_owned(),
            })
        };
        let mut sysctls = vec![sysctl("net/ipv4/ip_forward", "1")];
        if self.host.ipv6 && network.enable_ipv6 {
            sysctls.push(sysctl("net/ipv6/conf/all/forwarding", "1"));
        } else if self.host.ipv6 {
            sysctls.push(sysctl("net/ipv6/conf/all/disable_ipv6", "1"));
            sysctls.push(sysctl("net/ipv6/conf/default/disable_ipv6", "1"));
        }
        sysctls
    }
}

impl Planner for Overlay {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            scope: Scope::Global,
            addresses: true,
            single: false,
            gateway_bridge: true,
            several_pools: true,
        }
    }

    fn check(&self, draft: &Draft<'_>) -> Result<Needs> {
        let options = OverlayOptions::parse(draft.options)?;
        if draft.families.contains(&AddressFamily::V6) && !self.host.ipv6 {
            return Err(Error::Invalid {
                message: "this host has no IPv6".to_owned(),
                hint: Some("create the network without \"--ipv6\"".to_owned()),
            });
        }
        Ok(Needs {
            gateway: true,
            vnis: true,
            wanted_vnis: options.vnis,
            ..Needs::default()
        })
    }

    fn interface_prefix(&self, network: &Network) -> String {
        let options = OverlayOptions::parse(&network.options).ok();
        let prefix = options.and_then(|options| options.interface_prefix);
        prefix_or_usual(prefix)
    }

    fn home(&self, network: &Network) -> Netns {
        Netns::Pinned(self.pin(network))
    }

    fn network(&self, network: &Network) -> Result<KernelState> {
        let mtu = self.mtu(&OverlayOptions::parse(&network.options)?);
        let home = self.home(network);
        let mut state = KernelState::from_iter([Object::Namespace(self.pin(network))]);
        state.extend(self.sysctls(&home, network));
        for segment in Segment::all(network) {
            state.extend(self.bridge(&home, &segment, mtu));
            state.insert(self.tunnel(&home, &segment, mtu));
        }
        Ok(state)
    }

    fn endpoint(&self, network: &Network, endpoint: &Endpoint, target: &Target) -> Result<KernelState> {
        let mtu = self.mtu(&OverlayOptions::parse(&network.options)?);
        let home = self.home(network);
        let segment = segment_of(network, endpoint)?;
        // Unknown destinations go to the tunnel alone, which drops what it has no entry for.
        let port = BridgePort {
            flood: false,
            ..BridgePort::default()
        };
        let veth = veth(home.clone(), endpoint, target, segment.bridge(), Some(mtu), port)?;
        let mut state = KernelState::from_iter([veth]);
        state.extend(peers::mac(endpoint).map(|mac| forwarding(home, veth_name(endpoint), mac)));
        Ok(state)
    }

    fn peer(&self, network: &Network, peer: &Peer) -> Result<KernelState> {
        let segment = segment_of(network, &peer.endpoint)?;
        let entries = peers::entries(&self.home(network), &segment, peer);
        Ok(entries.into_iter().collect())
    }

    /// No default gateway: the way out is another interface's, on the gateway bridge.
    fn attachment(&self, network: &Network, endpoint: &Endpoint) -> Attachment {
        Attachment {
            link: Some(Link::InPlace),
            gateway_v4: None,
            gateway_v6: None,
            routes: routes(network, endpoint),
            ..Attachment::default()
        }
    }
}

/// What the pin of a network's namespace is called.
pub fn pin_name(network: &NetworkId) -> String {
    format!("{PIN}{}", network.short())
}

/// Whether a pin of that name is some network's: what a sweep may judge.
pub fn is_pin_name(name: &str) -> bool {
    let digits = name.strip_prefix(PIN);
    digits.is_some_and(|digits| digits.len() == 12 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
}

/// That an address is behind a port is known before its first frame.
fn forwarding(home: Netns, link: InterfaceName, mac: MacAddress) -> Object {
    Object::Fdb(Fdb {
        netns: home,
        link,
        mac,
        vtep: None,
    })
}

/// The segment of all of an endpoint's addresses.
fn segment_of<'a>(network: &'a Network, endpoint: &Endpoint) -> Result<Segment<'a>> {
    let segment = Segment::of(network, endpoint).ok_or_else(|| Error::Invalid {
        message: format!(
            "{:?} has no address on network {:?}",
            endpoint.name,
            network.name.as_str()
        ),
        hint: None,
    })?;
    match endpoint
        .addresses
        .iter()
        .find(|net| !segment.contains(net.addr()))
    {
        None => Ok(segment),
        Some(astray) => Err(Error::Invalid {
            message: format!(
                "{} is on another subnet's segment than {:?}'s other address",
                astray.addr(),
                endpoint.name
            ),
            hint: Some(
                "take its addresses from IPv4 and IPv6 subnets in the same place of their lists".to_owned(),
            ),
        }),
    }
}

/// The network's other subnets, by way of the endpoint's own gateway.
fn routes(network: &Network, endpoint: &Endpoint) -> Vec<StaticRoute> {
    let mut routes = Vec::new();
    for net in endpoint.addresses.iter() {
        let own = network.pool_around(net.addr());
        let gateway = own.and_then(|pool| pool.gateway);
        let family = AddressFamily::of(net.addr());
        let others = network.pools_of(family).filter(|pool| Some(*pool) != own);
        routes.extend(others.filter(|_| gateway.is_some()).map(|pool| StaticRoute {
            destination: pool.subnet,
            next_hop: gateway,
        }));
    }
    routes
}

#[cfg(test)]
mod packets;
#[cfg(test)]
mod tests;
