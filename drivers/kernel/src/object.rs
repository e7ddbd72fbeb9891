//! The vocabulary: every kind of kernel object we make, as a plain value with a key.

use std::{fmt, net::IpAddr, path::PathBuf};

use model::{InterfaceName, IpNet, MacAddress, Subnet, Vni};

use crate::ruleset;

/// The network namespace that an object lives in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Netns {
    /// The namespace that the daemon runs in: "the host".
    Host,
    /// A namespace pinned at this path (a bind mount or `/proc/PID/ns/net`).
    Pinned(PathBuf),
    /// A namespace known only by the number that the observed link's own namespace has for it (`link-netnsid`), below
    /// zero for one that is ending. Only observed: it is where a veth's other end was found.
    Numbered(i32),
}

impl fmt::Display for Netns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("the host"),
            Self::Pinned(path) => write!(f, "namespace {path:?}"),
            Self::Numbered(number) => write!(f, "namespace number {number}"),
        }
    }
}

/// What identifies an object: two objects of one key can't exist at once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A namespace, by its pin.
    Namespace(PathBuf),
    /// A link by name.
    Link(Netns, InterfaceName),
    /// An address on a link.
    Address(Netns, InterfaceName, IpNet),
    /// A route by destination (0.0.0.0/0 or ::/0 is the default route) in the main table.
    Route(Netns, Subnet),
    /// A neighbour (ARP, NDP) entry on a link.
    Neighbor(Netns, InterfaceName, IpAddr),
    /// An address for which this host answers on a link.
    Proxy(Netns, InterfaceName, IpAddr),
    /// A bridge forwarding entry on a VXLAN link or a bridge port.
    Fdb(Netns, InterfaceName, MacAddress),
    /// A sysctl by its path under /proc/sys, e.g. `net/ipv4/ip_forward`.
    Sysctl(Netns, String),
    /// A firewall object: table, chain, set, map or element.
    Firewall(Netns, ruleset::Key),
}

impl Key {
    /// The namespace that the object is in; for a namespace, itself.
    pub fn netns(&self) -> Netns {
        match self {
            Self::Namespace(path) => Netns::Pinned(path.clone()),
            Self::Link(netns, ..)
            | Self::Address(netns, ..)
            | Self::Route(netns, ..)
            | Self::Neighbor(netns, ..)
            | Self::Proxy(netns, ..)
            | Self::Fdb(netns, ..)
            | Self::Sysctl(netns, ..)
            | Self::Firewall(netns, ..) => netns.clone(),
        }
    }
}

/// For messages; the host's objects go without a namespace.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespace(path) => return write!(f, "namespace {path:?}"),
            Self::Link(_, name) => write!(f, "link {:?}", name.as_str())?,
            Self::Address(_, link, address) => write!(f, "address {address} on {:?}", link.as_str())?,
            Self::Route(_, destination) => write!(f, "route to {destination}")?,
            Self::Neighbor(_, link, address) => write!(f, "neighbour {address} on {:?}", link.as_str())?,
            Self::Proxy(_, link, address) => {
                write!(f, "answer for {address} on {:?}", link.as_str())?;
            }
            Self::Fdb(_, link, mac) => write!(f, "forwarding entry {mac} on {:?}", link.as_str())?,
            Self::Sysctl(_, name) => write!(f, "sysctl {name:?}")?,
            Self::Firewall(_, key) => write!(f, "firewall {key}")?,
        }
        match self.netns() {
            Netns::Host => Ok(()),
            netns => write!(f, " in {netns}"),
        }
    }
}

/// One object. Its owner is not part of it: see [`crate::Owner`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Object {
    /// A pinned network namespace with its loopback up.
    Namespace(PathBuf),
    /// A link.
    Link(Link),
    /// An address.
    Address(Address),
    /// A route.
    Route(Route),
    /// A neighbour entry.
    Neighbor(Neighbor),
    /// An answer in another's stead.
    Proxy(Proxy),
    /// A forwarding entry.
    Fdb(Fdb),
    /// A sysctl.
    Sysctl(Sysctl),
    /// A firewall object.
    Firewall(Netns, ruleset::Item),
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Where it lives.
    pub netns: Netns,
    /// Its name.
    pub name: InterfaceName,
    /// What it is.
    pub kind: LinkKind,
    /// Ethernet address; none leaves the kernel's choice.
    pub mac: Option<MacAddress>,
    /// MTU in bytes; none leaves the kernel's choice.
    pub mtu: Option<u32>,
    /// The bridge it is a port of, in the same namespace.
    pub master: Option<InterfaceName>,
    /// Administratively up.
    pub up: bool,
}

/// Kinds of links, with what is decided at creation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkKind {
    /// An Ethernet bridge. STP off, no multicast snooping needed.
    Bridge,
    /// One end of a veth pair. The other end is made inside `peer.netns` in the same request, and goes with this one.
    Veth {
        /// The other end.
        peer: VethPeer,
        /// Bridge-port flags, when this end has a master.
        port: BridgePort,
    },
    /// The end that some `Veth` made: never created by itself, only observed, changed (up, MTU) or gone with its maker.
    VethPeer,
    /// A VXLAN tunnel endpoint (RFC 7348).
    Vxlan(Vxlan),
    /// A link on top of another one, which it goes with.
    Upper(Upper),
    /// A link that leads nowhere and swallows what is sent to it. Kernels without `dummy` have `ifb`, which does the same
    /// to whatever nobody redirected.
    Dummy,
    /// A link that isn't ours to make or remove (an adopted bridge, `lo`): only its `up`, `mtu` are ensured.
    Existing,
}

/// A link on top of another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upper {
    /// The one below.
    pub lower: InterfaceName,
    /// Where that is. The link itself is made in its own namespace at once, and never seen in this one.
    pub lower_in: Netns,
    /// What it is.
    pub kind: UpperKind,
}

/// Kinds of links on top of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpperKind {
    /// With Ethernet addresses of its own on the segment of the one below.
    Macvlan(MacvlanMode),
    /// With IP addresses of its own behind the Ethernet address of the one below.
    Ipvlan(IpvlanMode, Isolation),
    /// What is tagged with this identifier (IEEE 802.1Q), 1 to 4094.
    Vlan(u16),
}

impl UpperKind {
    /// What `ip link` calls the kind.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Macvlan(_) => "macvlan",
            Self::Ipvlan(..) => "ipvlan",
            Self::Vlan(_) => "802.1q",
        }
    }
}

/// How macvlans of one link reach each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MacvlanMode {
    /// Directly.
    #[default]
    Bridge,
    /// Not at all.
    Private,
    /// By way of a switch that sends frames back where they came from.
    Vepa,
    /// There is only one, and it has the link below for itself.
    Passthru,
}

/// Where an ipvlan leaves routing to the link below.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum IpvlanMode {
    /// Nowhere: it is on the segment, and asks for its neighbours itself.
    #[default]
    L2,
    /// Everywhere: nothing is broadcast, and the host routes.
    L3,
    /// The same, and packets pass the host's netfilter.
    L3s,
}

/// Whether ipvlans of one link reach each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Isolation {
    /// They do, directly.
    #[default]
    Bridge,
    /// They don't.
    Private,
    /// By way of a switch that sends frames back where they came from.
    Vepa,
}

/// The far end of a veth pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VethPeer {
    /// Where it is made.
    pub netns: Netns,
    /// Its name there.
    pub name: InterfaceName,
    /// Its Ethernet address.
    pub mac: Option<MacAddress>,
    /// Its MTU in bytes.
    pub mtu: Option<u32>,
    /// Up at once.
    pub up: bool,
    /// IPv6 begins with it: an address of its own, and what that asks of and tells to everybody on its segment. Without,
    /// the kernel does none of it before it is told to.
    pub ipv6: bool,
}

/// Flags of a link as a bridge port (`bridge link set`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BridgePort {
    /// Sends a frame back out of the port it came in by.
    pub hairpin: bool,
    /// Learns source addresses from this port.
    pub learning: bool,
    /// Floods unknown unicast to this port.
    pub flood: bool,
    /// Exchanges frames with non-isolated ports only.
    pub isolated: bool,
    /// Answers ARP and NDP from the neighbour table instead of flooding.
    pub neigh_suppress: bool,
}

impl Default for BridgePort {
    /// The kernel's defaults.
    fn default() -> Self {
        Self {
            hairpin: false,
            learning: true,
            flood: true,
            isolated: false,
            neigh_suppress: false,
        }
    }
}

/// What a VXLAN link is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vxlan {
    /// Network identifier.
    pub vni: Vni,
    /// UDP port, 4789 by default (RFC 7348, section 5).
    pub port: u16,
    /// Source address on the underlay.
    pub local: Option<IpAddr>,
    /// Answers ARP from the neighbour table (`proxy`).
    pub proxy: bool,
    /// Learns VTEPs from received frames. Off: every entry is static.
    pub learning: bool,
    /// Created from this namespace, where its UDP socket then stays, and moved into its own in the same request.
    pub created_in: Netns,
    /// Bridge-port flags, when it has a master.
    pub bridge_port: BridgePort,
}

/// An address on a link. DAD is off: the address is usable at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Where the link lives.
    pub netns: Netns,
    /// The link.
    pub link: InterfaceName,
    /// Address and prefix length.
    pub address: IpNet,
}

/// A unicast route in the main table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Where it is.
    pub netns: Netns,
    /// Destination.
    pub destination: Subnet,
    /// Next hop; none for a directly connected destination.
    pub gateway: Option<IpAddr>,
    /// The link it leaves by.
    pub link: InterfaceName,
    /// Preferred source address.
    pub source: Option<IpAddr>,
}

/// A permanent neighbour entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbor {
    /// Where the link lives.
    pub netns: Netns,
    /// The link.
    pub link: InterfaceName,
    /// The IP address.
    pub address: IpAddr,
    /// The Ethernet address that answers for it.
    pub mac: MacAddress,
}

/// An address of somebody else for which this host answers on a link (`ip neighbour add proxy`), so that packets for it
/// come here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Where the link lives.
    pub netns: Netns,
    /// The link.
    pub link: InterfaceName,
    /// The address.
    pub address: IpAddr,
}

/// A static forwarding entry. On a VXLAN link with a master, the master too learns that the address is behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fdb {
    /// Where the link lives.
    pub netns: Netns,
    /// The VXLAN link or bridge port.
    pub link: InterfaceName,
    /// Destination Ethernet address.
    pub mac: MacAddress,
    /// The remote VTEP, on a VXLAN link.
    pub vtep: Option<IpAddr>,
}

/// A sysctl and its value. Undo restores the value observed before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sysctl {
    /// The namespace whose sysctl it is.
    pub netns: Netns,
    /// Path under /proc/sys with slashes.
    pub name: String,
    /// Its value, without the newline.
    pub value: String,
}

impl Link {
    /// Its flags as a bridge port, if its kind has some.
    pub fn port(&self) -> Option<BridgePort> {
        match &self.kind {
            LinkKind::Veth { port, .. } => Some(*port),
            LinkKind::Vxlan(vxlan) => Some(vxlan.bridge_port),
            LinkKind::Bridge
            | LinkKind::VethPeer
            | LinkKind::Upper(_)
            | LinkKind::Dummy
            | LinkKind::Existing => None,
        }
    }
}

impl Object {
    /// The namespace that it is in; none for a namespace.
    pub const fn netns(&self) -> Option<&Netns> {
        match self {
            Self::Namespace(_) => None,
            Self::Link(o) => Some(&o.netns),
            Self::Address(o) => Some(&o.netns),
            Self::Route(o) => Some(&o.netns),
            Self::Neighbor(o) => Some(&o.netns),
            Self::Proxy(o) => Some(&o.netns),
            Self::Fdb(o) => Some(&o.netns),
            Self::Sysctl(o) => Some(&o.netns),
            Self::Firewall(netns, _) => Some(netns),
        }
    }

    /// What identifies it.
    pub fn key(&self) -> Key {
        match self {
            Self::Namespace(path) => Key::Namespace(path.clone()),
            Self::Link(o) => Key::Link(o.netns.clone(), o.name.clone()),
            Self::Address(o) => Key::Address(o.netns.clone(), o.link.clone(), o.address),
            Self::Route(o) => Key::Route(o.netns.clone(), o.destination),
            Self::Neighbor(o) => Key::Neighbor(o.netns.clone(), o.link.clone(), o.address),
            Self::Proxy(o) => Key::Proxy(o.netns.clone(), o.link.clone(), o.address),
            Self::Fdb(o) => Key::Fdb(o.netns.clone(), o.link.clone(), o.mac),
            Self::Sysctl(o) => Key::Sysctl(o.netns.clone(), o.name.clone()),
            Self::Firewall(netns, item) => Key::Firewall(netns.clone(), item.key()),
        }
    }
}
