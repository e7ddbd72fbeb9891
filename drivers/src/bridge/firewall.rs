//! Rules of all bridge networks, and the elements that make them apply to one.
//!
//! The rules are constant; a network is a handful of elements and a published port one, whatever the number of networks
//! and ports ([`chains`] has the rules in order):
//!
//! | set or map | key → what |
//! |---|---|
//! | `networks`, `internal` | bridge |
//! | `within` | bridge, bridge → accept, or without ICC `linked` |
//! | `apart` | bridge of a network without ICC |
//! | `bridged` | bridge, bridge: what comes and leaves by it stays as it is |
//! | `trusted` | interface of the host, bridge it may reach directly |
//! | `masquerade-F`, `sources-F` | bridge; bridge → the address its packets get outside |
//! | `unprotected-F`, `routed-F` | bridge whose containers are reached by their own addresses |
//! | `opened-F` | container, protocol, ports: what is published of routed networks |
//! | `links-F` | from, to, protocol, ports: links across a network without ICC |
//! | `ports-F`, `ports-any-F` | host's address, protocol, port → container, port; the second for all addresses |
//! | `own-F` | container, the same container: it uses its own published port |
//! | `relayed-F` | host's address or all, protocol, ports: the relay listens there |
//! | `ranges-F` | host's address or all, protocol, ports → container, whose ports have the same numbers |
//!
//! `F` is `v4` or `v6`. Single and shifted ports are in hash maps, an element each, so that one more costs the same
//! after thousands; a range whose numbers stay is one element with an interval.
//!
//! **Who gets in.** A new connection into a network passes if its destination was translated: only who may write rules
//! of this host can do that, so it was published by us or somebody else meant it. Sent directly to a container's
//! address it doesn't, unless the network is routed and the port opened, or it is unprotected, or the interface is
//! trusted.
//!
//! **127.0.0.1** is translated in `output` like every other address of the host, which needs `route_localnet` on the
//! bridge, for the answers; `postrouting` gives such packets the bridge's address. A packet from elsewhere with such
//! an address is never translated, and from our bridges, where the kernel no longer refuses it by itself, it is
//! dropped as it arrives. Answers come to the bridge's address and are translated back later, so none of them is hit.
//! The kernel does not route `::1`: a relay serves it.
//!
//! **Links without ICC.** Ports of such a bridge are isolated: no frame passes from one to another, and neither
//! `br_netfilter` nor a table of the bridge family, which hosts may lack and iptables can't say, is needed for it.
//! Instead the host answers ARP for neighbours with its own address (`proxy_arp_pvlan`, RFC 3069), so what a container
//! sends to a neighbour comes to the host as a packet to be forwarded by the bridge that it came by. There chain
//! `linked` lets the linked ports pass, connection tracking their answers, and the rest is dropped.
//! For IPv6 the kernel has no such answer for all neighbours, but one for each that it is told of (`proxy_ndp`), so every
//! endpoint brings its own; and it would tell who asked of the shorter way, which `sent` keeps it from: the neighbour's
//! address is no use where no frame passes.
//!
//! **A port under the host's own rules** ([`Exposure::Host`]) is not in any map. A translated packet is forwarded and
//! never meets the host's INPUT rules, whatever mark it carries; so the relay in `cnm-names` listens on the host's
//! address and port like any other server there, ufw, firewalld, nftables or iptables decide on INPUT who reaches it,
//! and it connects to the container. The price is that the container sees the bridge's address as its client. On a
//! routed network such a port stays closed to the outside as well, but for the relay.
//!
//! What an internal network sends to such a port never arrives: the relay would lead it out of there.
//!
//! **The user's chain** `user` is gone through before all else when packets are forwarded. It is made empty once and
//! never changed: `nft add rule inet cnm-… user …`. An accept there counts against our drops.
//!
//! **`br_netfilter`.** Frames between two ports of one bridge pass here only where it is loaded (Docker and Kubernetes
//! do, and it can't be switched off for one bridge). A packet whose translated destination is behind the bridge it
//! came by is then bridged at once instead of forwarded, and in `postrouting` nobody knows any more where it came from.
//! Ports send such frames back (hairpin) and `own-F` has the addresses that need it, so all works as without it. Isolated
//! ports would keep these frames from a network's own published ports; but where these rules see all that is bridged, of
//! both families, they keep containers apart by themselves, and ports need not be isolated. So it is on every kernel: a
//! frame that is neither IP nor ARP passes between such ports then, as it does with Docker. Who switches the sysctls is
//! heard, who loads or unloads the module is noticed by the repair's timer.
//!
//! There a bridged frame pays for every hook, a microsecond in all: 0.4 for tracking, 0.17 for the hooks of translation,
//! 0.25 for `raw` and `forward`. A look-up of a link's name is 0.2, so none stands where all frames come by; what internal
//! networks may not send to the host is kept from it in `input`.
//!
//! [`Exposure::Host`]: model::Exposure::Host

mod access;
mod chains;

use std::net::IpAddr;

use kernel::{
    Netns, Object,
    ruleset::{Content, Element, Item, Mapped, Set, Table, Type, Value, Verdict},
};
use model::{AddressFamily, InterfaceName, NodeId};

pub(super) use access::{links, opened, own, published, relayed};

use super::GatewayMode;

const FAMILIES: [AddressFamily; 2] = [AddressFamily::V4, AddressFamily::V6];

const APART: &str = "apart";
const WITHIN: &str = "within";
const BRIDGED: &str = "bridged";
const INTERNAL: &str = "internal";
const NETWORKS: &str = "networks";
const TRUSTED: &str = "trusted";
const MASQUERADE: &str = "masquerade";
const SOURCES: &str = "sources";
const UNPROTECTED: &str = "unprotected";
const ROUTED: &str = "routed";
const OPENED: &str = "opened";
const LINKS: &str = "links";
const PORTS: &str = "ports";
const PORTS_ANY: &str = "ports-any";
const RANGES: &str = "ranges";
const OWN: &str = "own";
const RELAYED: &str = "relayed";

/// What the firewall must know of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Policies {
    /// The bridge.
    pub(super) device: InterfaceName,
    /// Containers reach each other.
    pub(super) icc: bool,
    /// Nothing passes in or out.
    pub(super) internal: bool,
    /// Interfaces of the host whose packets reach containers directly.
    pub(super) trusted: Vec<InterfaceName>,
    /// What holds for each family that the network has.
    pub(super) families: Vec<FamilyPolicy>,
}

/// What the firewall must know of a family on a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FamilyPolicy {
    /// Which.
    pub(super) family: AddressFamily,
    /// How containers and the outside reach each other.
    pub(super) mode: GatewayMode,
    /// Packets to the outside get the host's address.
    pub(super) masquerade: bool,
    /// This one, if it is not that of the interface they leave by.
    pub(super) source: Option<IpAddr>,
}

/// The table of a node's daemon; of its own, so that several share a host.
pub(super) fn table(node: NodeId) -> Table {
    Table::inet(format!("cnm-{}", node.prefix(8)))
}

/// Table, sets and chains.
pub(super) fn base(table: &Table) -> Vec<Object> {
    let pair = || vec![Type::Interface, Type::Interface];
    let device = || vec![Type::Interface];
    let mut items = vec![
        Item::Table(table.clone()),
        set(table, WITHIN, pair(), Content::Verdicts, false),
        set(table, BRIDGED, pair(), Content::Keys, false),
        set(table, TRUSTED, pair(), Content::Keys, false),
        set(table, APART, device(), Content::Keys, false),
        set(table, INTERNAL, device(), Content::Keys, false),
        set(table, NETWORKS, device(), Content::Keys, false),
    ];
    items.extend(FAMILIES.into_iter().flat_map(|family| family_sets(table, family)));
    items.extend(chains::all(table));
    items.into_iter().map(on_host).collect()
}

fn family_sets(table: &Table, family: AddressFamily) -> Vec<Item> {
    let device = || vec![Type::Interface];
    let address = match family {
        AddressFamily::V4 => Type::Ipv4,
        AddressFamily::V6 => Type::Ipv6,
    };
    let container = || Content::Data(vec![address, Type::Port]);
    let alone = || Content::Data(vec![address]);
    let at = || vec![address, Type::Protocol, Type::Port];
    let port = || vec![Type::Protocol, Type::Port];
    let link = vec![address, address, Type::Protocol, Type::Port];
    let set = |name, key, content, intervals| set(table, &of(name, family), key, content, intervals);
    vec![
        set(MASQUERADE, device(), Content::Keys, false),
        set(SOURCES, device(), alone(), false),
        set(UNPROTECTED, device(), Content::Keys, false),
        set(ROUTED, device(), Content::Keys, false),
        set(OPENED, at(), Content::Keys, true),
        set(LINKS, link, Content::Keys, true),
        set(PORTS, at(), container(), false),
        set(PORTS_ANY, port(), container(), false),
        set(RANGES, at(), alone(), true),
        set(RELAYED, at(), Content::Keys, true),
        set(OWN, vec![address, address], Content::Keys, false),
    ]
}

/// A network's elements.
pub(super) fn network(table: &Table, policies: &Policies) -> Vec<Object> {
    let device = || Value::Interface(policies.device.clone());
    let within = if policies.icc {
        Verdict::Accept
    } else {
        Verdict::Goto(chains::LINKED.to_owned())
    };
    let mut items = vec![
        element(table, WITHIN, vec![device(), device()], Mapped::Verdict(within)),
        element(table, BRIDGED, vec![device(), device()], Mapped::Nothing),
        element(table, NETWORKS, vec![device()], Mapped::Nothing),
    ];
    if !policies.icc {
        items.push(element(table, APART, vec![device()], Mapped::Nothing));
    }
    if policies.internal {
        items.push(element(table, INTERNAL, vec![device()], Mapped::Nothing));
    } else {
        let trusted = policies.trusted.iter().map(|from| {
            let key = vec![Value::Interface(from.clone()), device()];
            element(table, TRUSTED, key, Mapped::Nothing)
        });
        items.extend(trusted);
        items.extend(
            policies
                .families
                .iter()
                .flat_map(|policy| family(table, policies, policy)),
        );
    }
    items.into_iter().map(on_host).collect()
}

fn family(table: &Table, policies: &Policies, policy: &FamilyPolicy) -> Vec<Item> {
    let one = |name, to| {
        let key = vec![Value::Interface(policies.device.clone())];
        element(table, &of(name, policy.family), key, to)
    };
    let mut items = Vec::new();
    if policy.mode.translates() && policy.masquerade {
        items.push(match policy.source {
            Some(source) => one(SOURCES, Mapped::Data(vec![Value::Address(source)])),
            None => one(MASQUERADE, Mapped::Nothing),
        });
    }
    match policy.mode {
        GatewayMode::NatUnprotected => items.push(one(UNPROTECTED, Mapped::Nothing)),
        GatewayMode::Routed => items.push(one(ROUTED, Mapped::Nothing)),
        GatewayMode::Nat | GatewayMode::Isolated => {}
    }
    items
}

/// A set's name for one family.
fn of(name: &str, family: AddressFamily) -> String {
    match family {
        AddressFamily::V4 => format!("{name}-v4"),
        AddressFamily::V6 => format!("{name}-v6"),
    }
}

fn set(table: &Table, name: &str, key: Vec<Type>, content: Content, intervals: bool) -> Item {
    Item::Set(Set {
        table: table.clone(),
        name: name.to_owned(),
        key,
        content,
        intervals,
    })
}

fn element(table: &Table, set: &str, key: Vec<Value>, to: Mapped) -> Item {
    Item::Element(Element {
        table: table.clone(),
        set: set.to_owned(),
        key,
        to,
    })
}

fn on_host(item: Item) -> Object {
    Object::Firewall(Netns::Host, item)
}
