//! Links as netlink messages.

use std::{net::IpAddr, os::fd::RawFd};

use model::MacAddress;
use netlink_packet_route::link::{
    BridgeStpState, InfoBridge, InfoBridgePort, InfoData, InfoIpVlan, InfoKind, InfoMacVlan, InfoPortData,
    InfoPortKind, InfoVeth, InfoVlan, InfoVxlan, IpVlanFlags, IpVlanMode, LinkAttribute, LinkFlags, LinkInfo,
    LinkMessage, MacVlanMode,
};

use crate::{
    Mark,
    object::{BridgePort, IpvlanMode, Isolation, Link, LinkKind, MacvlanMode, UpperKind, VethPeer, Vxlan},
};

/// A message about a link by its name.
pub(super) fn named(name: &str) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    message
}

/// A message about a link by its index.
pub(super) fn indexed(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message
}

/// Asks for a link to be up, or down.
pub(super) fn set_up(message: &mut LinkMessage, up: bool) {
    message.header.change_mask |= LinkFlags::Up;
    message.header.flags.set(LinkFlags::Up, up);
}

/// With the owner's group, the only mark that a creating request can carry.
pub(super) fn owned(mut message: LinkMessage, mark: &Mark) -> LinkMessage {
    message
        .attributes
        .push(LinkAttribute::Group(Mark::group(mark.node)));
    message
}

pub(super) fn bridge(link: &Link) -> LinkMessage {
    let options = vec![
        InfoBridge::StpState(BridgeStpState::Disabled),
        InfoBridge::MulticastSnooping(false),
    ];
    creation(link, InfoKind::Bridge, InfoData::Bridge(options))
}

/// The other end's own message rides in ours, with the namespace that it is made in.
pub(super) fn veth(link: &Link, peer: &VethPeer, target: RawFd) -> LinkMessage {
    let mut end = named(&peer.name);
    end.attributes.push(LinkAttribute::NetNsFd(target));
    if let Some(mac) = peer.mac {
        end.attributes.push(LinkAttribute::Address(mac.octets().to_vec()));
    }
    if let Some(mtu) = peer.mtu {
        end.attributes.push(LinkAttribute::Mtu(mtu));
    }
    creation(link, InfoKind::Veth, InfoData::Veth(InfoVeth::Peer(end)))
}

pub(super) fn vxlan(link: &Link, vxlan: &Vxlan) -> LinkMessage {
    let mut options = vec![
        InfoVxlan::Id(vxlan.vni.get()),
        InfoVxlan::Port(vxlan.port),
        InfoVxlan::Learning(vxlan.learning),
        InfoVxlan::Proxy(vxlan.proxy),
    ];
    options.extend(vxlan.local.map(|local| match local {
        IpAddr::V4(local) => InfoVxlan::Local(local),
        IpAddr::V6(local) => InfoVxlan::Local6(local),
    }));
    creation(link, InfoKind::Vxlan, InfoData::Vxlan(options))
}

/// On top of the link with this index.
pub(super) fn upper(link: &Link, kind: UpperKind, lower: Option<u32>) -> LinkMessage {
    let (kind, data) = match kind {
        UpperKind::Macvlan(mode) => {
            let mode = match mode {
                MacvlanMode::Bridge => MacVlanMode::Bridge,
                MacvlanMode::Private => MacVlanMode::Private,
                MacvlanMode::Vepa => MacVlanMode::Vepa,
                MacvlanMode::Passthru => MacVlanMode::Passthrough,
            };
            (
                InfoKind::MacVlan,
                InfoData::MacVlan(vec![InfoMacVlan::Mode(mode)]),
            )
        }
        UpperKind::Ipvlan(mode, isolation) => {
            let mode = match mode {
                IpvlanMode::L2 => IpVlanMode::L2,
                IpvlanMode::L3 => IpVlanMode::L3,
                IpvlanMode::L3s => IpVlanMode::L3S,
            };
            let flags = match isolation {
                Isolation::Bridge => IpVlanFlags::empty(),
                Isolation::Private => IpVlanFlags::Private,
                Isolation::Vepa => IpVlanFlags::Vepa,
            };
            let options = vec![InfoIpVlan::Mode(mode), InfoIpVlan::Flags(flags)];
            (InfoKind::IpVlan, InfoData::IpVlan(options))
        }
        UpperKind::Vlan(id) => (InfoKind::Vlan, InfoData::Vlan(vec![InfoVlan::Id(id)])),
    };
    let mut message = creation(link, kind, data);
    message.attributes.extend(lower.map(LinkAttribute::Link));
    message
}

/// One that leads nowhere, of the kind that the kernel has.
pub(super) fn dummy(link: &Link, kind: InfoKind) -> LinkMessage {
    bare(link, vec![LinkInfo::Kind(kind)])
}

/// Asks for another name, and for it to be up or down after that.
pub(super) fn renamed(index: u32, name: &str, up: bool) -> LinkMessage {
    let mut message = indexed(index);
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    set_up(&mut message, up);
    message
}

/// Asks for another Ethernet address.
pub(super) fn wearing(name: &str, mac: Option<MacAddress>) -> LinkMessage {
    let mut message = named(name);
    let address = mac.map(|mac| LinkAttribute::Address(mac.octets().to_vec()));
    message.attributes.extend(address);
    message
}

fn creation(link: &Link, kind: InfoKind, data: InfoData) -> LinkMessage {
    bare(link, vec![LinkInfo::Kind(kind), LinkInfo::Data(data)])
}

fn bare(link: &Link, info: Vec<LinkInfo>) -> LinkMessage {
    let mut message = named(&link.name);
    if let Some(mac) = link.mac {
        message
            .attributes
            .push(LinkAttribute::Address(mac.octets().to_vec()));
    }
    if let Some(mtu) = link.mtu {
        message.attributes.push(LinkAttribute::Mtu(mtu));
    }
    set_up(&mut message, link.up);
    message.attributes.push(LinkAttribute::LinkInfo(info));
    message
}

/// What turns one link into the other, masters apart: those are asked for by index.
pub(super) fn difference(from: &Link, to: &Link) -> LinkMessage {
    let mut message = named(&to.name);
    if let Some(mtu) = to.mtu.filter(|_| to.mtu != from.mtu) {
        message.attributes.push(LinkAttribute::Mtu(mtu));
    }
    let wears = !matches!(to.kind, LinkKind::Existing | LinkKind::Bridge);
    if let Some(mac) = to.mac.filter(|_| wears && to.mac != from.mac) {
        message
            .attributes
            .push(LinkAttribute::Address(mac.octets().to_vec()));
    }
    if from.up != to.up {
        set_up(&mut message, to.up);
    }
    message
}

/// Flags of a bridge's port.
pub(super) fn port(port: BridgePort) -> LinkAttribute {
    let flags = vec![
        InfoBridgePort::HairpinMode(port.hairpin),
        InfoBridgePort::Learning(port.learning),
        InfoBridgePort::UnicastFlood(port.flood),
        InfoBridgePort::Isolated(port.isolated),
        InfoBridgePort::NeighSupress(port.neigh_suppress),
    ];
    LinkAttribute::LinkInfo(vec![
        LinkInfo::PortKind(InfoPortKind::Bridge),
        LinkInfo::PortData(InfoPortData::BridgePort(flags)),
    ])
}
