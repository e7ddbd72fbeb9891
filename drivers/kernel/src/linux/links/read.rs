//! Netlink messages as links.

use model::{InterfaceName, MacAddress, NodeId, Vni};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{
        InfoBridgePort, InfoData, InfoIpVlan, InfoKind, InfoMacVlan, InfoPortData, InfoVlan, InfoVxlan,
        IpVlanFlags, IpVlanMode, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, MacVlanMode,
    },
};

use super::message;
use crate::{
    Error, Key, Mark, Netns, Owner, Result,
    linux::visit::{Visit, refused},
    object::{
        BridgePort, IpvlanMode, Isolation, Link, LinkKind, MacvlanMode, Upper, UpperKind, VethPeer, Vxlan,
    },
};

/// A link as its message tells it: others by index only.
#[derive(Debug)]
pub(in crate::linux) struct Found {
    pub(in crate::linux) index: u32,
    pub(in crate::linux) name: InterfaceName,
    pub(in crate::linux) mtu: Option<u32>,
    pub(in crate::linux) bridge: bool,
    kind: Option<InfoKind>,
    pub(in crate::linux) up: bool,
    pub(in crate::linux) mac: Option<MacAddress>,
    pub(in crate::linux) master: Option<u32>,
    pub(in crate::linux) group: u32,
    pub(in crate::linux) alias: String,
    /// A veth's other end, or the link below.
    peer: Option<u32>,
    /// The namespace of a veth's other end, or of a tunnel's socket, where it isn't the link's own.
    elsewhere: Option<i32>,
    vxlan: Vec<InfoVxlan>,
    upper: Option<UpperKind>,
    pub(in crate::linux) port: BridgePort,
}

impl Found {
    /// Reads an answer; none if it isn't about a link, or one whose name no tool could spell.
    pub(in crate::linux) fn read(answer: RouteNetlinkMessage) -> Option<Self> {
        let RouteNetlinkMessage::NewLink(LinkMessage {
            header, attributes, ..
        }) = answer
        else {
            return None;
        };
        let mut found = Self {
            index: header.index,
            name: name_of(&attributes)?,
            mtu: None,
            bridge: false,
            kind: None,
            up: header.flags.contains(LinkFlags::Up),
            mac: None,
            master: None,
            group: 0,
            alias: String::new(),
            peer: None,
            elsewhere: None,
            vxlan: Vec::new(),
            upper: None,
            port: BridgePort::default(),
        };
        for attribute in attributes {
            found.take(attribute);
        }
        Some(found)
    }

    fn take(&mut self, attribute: LinkAttribute) {
        match attribute {
            LinkAttribute::Mtu(mtu) => self.mtu = Some(mtu),
            LinkAttribute::Address(bytes) => {
                self.mac = bytes
                    .try_into()
                    .ok()
                    .and_then(|bytes| MacAddress::new(bytes).ok());
            }
            LinkAttribute::Controller(index) => self.master = Some(index),
            LinkAttribute::Group(group) => self.group = group,
            LinkAttribute::IfAlias(alias) => self.alias = alias,
            LinkAttribute::Link(index) => self.peer = Some(index),
            LinkAttribute::LinkNetNsId(number) => self.elsewhere = Some(number),
            LinkAttribute::LinkInfo(info) => info.into_iter().for_each(|info| self.take_info(info)),
            _ => {}
        }
    }

    fn take_info(&mut self, info: LinkInfo) {
        match info {
            LinkInfo::Kind(kind) => {
                self.bridge = kind == InfoKind::Bridge;
                self.kind = Some(kind);
            }
            LinkInfo::Data(InfoData::Vxlan(options)) => self.vxlan = options,
            LinkInfo::Data(data) => self.upper = upper_kind(&data),
            LinkInfo::PortData(InfoPortData::BridgePort(flags)) => self.port = read_port(&flags),
            _ => {}
        }
    }

    /// Whose it is, if it is this node's. One whose alias was never written tells no more than the node.
    pub(in crate::linux) fn mark(&self, node: NodeId) -> Option<Mark> {
        let nameless = || {
            let ours = self.alias.is_empty() && self.group == Mark::group(node);
            ours.then_some(Mark {
                node,
                owner: Owner::Host,
            })
        };
        Mark::from_alias(node, &self.alias).or_else(nameless)
    }
}

fn name_of(attributes: &[LinkAttribute]) -> Option<InterfaceName> {
    attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => InterfaceName::new(name.clone()).ok(),
        _ => None,
    })
}

/// What is on top of another link; none for what we don't make.
fn upper_kind(data: &InfoData) -> Option<UpperKind> {
    match data {
        InfoData::MacVlan(options) => options.iter().find_map(|option| match option {
            InfoMacVlan::Mode(mode) => Some(UpperKind::Macvlan(match mode {
                MacVlanMode::Bridge => MacvlanMode::Bridge,
                MacVlanMode::Private => MacvlanMode::Private,
                MacVlanMode::Vepa => MacvlanMode::Vepa,
                MacVlanMode::Passthrough => MacvlanMode::Passthru,
                _ => return None,
            })),
            _ => None,
        }),
        InfoData::IpVlan(options) => {
            let isolation = options.iter().find_map(|option| match option {
                InfoIpVlan::Flags(flags) if flags.contains(IpVlanFlags::Private) => Some(Isolation::Private),
                InfoIpVlan::Flags(flags) if flags.contains(IpVlanFlags::Vepa) => Some(Isolation::Vepa),
                _ => None,
            });
            let mode = options.iter().find_map(|option| match option {
                InfoIpVlan::Mode(IpVlanMode::L2) => Some(IpvlanMode::L2),
                InfoIpVlan::Mode(IpVlanMode::L3) => Some(IpvlanMode::L3),
                InfoIpVlan::Mode(IpVlanMode::L3S) => Some(IpvlanMode::L3s),
                _ => None,
            });
            mode.map(|mode| UpperKind::Ipvlan(mode, isolation.unwrap_or_default()))
        }
        InfoData::Vlan(options) => options.iter().find_map(|option| match option {
            InfoVlan::Id(id) => Some(UpperKind::Vlan(*id)),
            _ => None,
        }),
        _ => None,
    }
}

fn read_port(flags: &[InfoBridgePort]) -> BridgePort {
    let mut port = BridgePort::default();
    for flag in flags {
        match *flag {
            InfoBridgePort::HairpinMode(on) => port.hairpin = on,
            InfoBridgePort::Learning(on) => port.learning = on,
            InfoBridgePort::UnicastFlood(on) => port.flood = on,
            InfoBridgePort::Isolated(on) => port.isolated = on,
            InfoBridgePort::NeighSupress(on) => port.neigh_suppress = on,
            _ => {}
        }
    }
    port
}

/// Looks up who master and other end are.
pub(super) fn complete(visit: &mut Visit, found: Found, key: &Key) -> Result<Link> {
    let master = match found.master {
        Some(index) => visit.name_of(index, key)?,
        None => None,
    };
    let kind = match &found.kind {
        Some(InfoKind::Bridge) => LinkKind::Bridge,
        Some(InfoKind::Veth) => veth(visit, &found, key)?,
        Some(InfoKind::Vxlan) => read_vxlan(&found, &key.netns()).map_or(LinkKind::Existing, LinkKind::Vxlan),
        Some(InfoKind::Dummy | InfoKind::Ifb) => LinkKind::Dummy,
        _ => upper(visit, &found, key)?.map_or(LinkKind::Existing, LinkKind::Upper),
    };
    Ok(Link {
        netns: key.netns(),
        name: found.name,
        kind,
        mac: found.mac,
        mtu: found.mtu,
        master,
        up: found.up,
    })
}

/// One on top of another. The one below is named only where it is in the same namespace: nobody asks for it by what it is
/// called elsewhere.
fn upper(visit: &mut Visit, found: &Found, key: &Key) -> Result<Option<Upper>> {
    let Some(kind) = found.upper else { return Ok(None) };
    let lower = match (found.peer, found.elsewhere) {
        (Some(index), None) => visit.name_of(index, key)?,
        _ => None,
    };
    Ok(Some(Upper {
        lower: lower.unwrap_or_else(|| found.name.clone()),
        lower_in: found.elsewhere.map_or_else(|| key.netns(), Netns::Numbered),
        kind,
    }))
}

/// The other end is asked for through this namespace's number for the other's. A namespace loses its number as the first
/// thing when it ends, and its end of the pair, which nobody can ask for any more, goes soon after.
fn veth(visit: &mut Visit, found: &Found, key: &Key) -> Result<LinkKind> {
    let Some(index) = found.peer else {
        return Ok(LinkKind::VethPeer);
    };
    if found.elsewhere.is_some_and(|number| number < 0) {
        return Ok(ending(found));
    }
    let mut request = message::indexed(index);
    request
        .attributes
        .extend(found.elsewhere.map(LinkAttribute::IfNetnsId));
    let answer = visit
        .connection(key)?
        .get(RouteNetlinkMessage::GetLink(request))
        .map_err(refused(key, "looking up its other end", "other end"));
    let peer = match answer {
        Ok(Some(answer)) => Found::read(answer),
        // No such link there, or no namespace of that number any more.
        Ok(None) | Err(Error::NoSuch { .. } | Error::Invalid { .. }) => return Ok(ending(found)),
        Err(_) => None,
    };
    // Not being allowed to look into the other namespace is no reason to fail: nothing depends on it.
    let Some(peer) = peer else {
        return Ok(LinkKind::VethPeer);
    };
    Ok(LinkKind::Veth {
        peer: VethPeer {
            netns: found.elsewhere.map_or_else(|| key.netns(), Netns::Numbered),
            name: peer.name,
            mac: peer.mac,
            mtu: peer.mtu,
            up: peer.up,
            ipv6: true,
        },
        port: found.port,
    })
}

/// One whose other end is gone already, and takes it along in a moment.
fn ending(found: &Found) -> LinkKind {
    LinkKind::Veth {
        peer: VethPeer {
            netns: Netns::Numbered(-1),
            name: found.name.clone(),
            mac: None,
            mtu: None,
            up: false,
            ipv6: true,
        },
        port: found.port,
    }
}

fn read_vxlan(found: &Found, netns: &Netns) -> Option<Vxlan> {
    let mut vni = None;
    let mut vxlan = Vxlan {
        vni: Vni::new(1).ok()?,
        port: 0,
        local: None,
        proxy: false,
        learning: false,
        created_in: found.elsewhere.map_or_else(|| netns.clone(), Netns::Numbered),
        bridge_port: found.port,
    };
    for option in &found.vxlan {
        match *option {
            InfoVxlan::Id(number) => vni = Vni::new(number).ok(),
            InfoVxlan::Port(port) => vxlan.port = port,
            InfoVxlan::Local(local) => vxlan.local = Some(local.into()),
            InfoVxlan::Local6(local) => vxlan.local = Some(local.into()),
            InfoVxlan::Proxy(on) => vxlan.proxy = on,
            InfoVxlan::Learning(on) => vxlan.learning = on,
            _ => {}
        }
    }
    vxlan.vni = vni?;
    Some(vxlan)
}
