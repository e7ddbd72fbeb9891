//! What links were like when last heard of: only a change for the worse is damage.
//!
//! Who makes something announces as much as who breaks it, so an announcement alone says nothing. A link that is new, or
//! comes up, is nobody's damage; one that was there and goes, goes down, or is no longer what it was, is. So a repair
//! wakes no repair. That it may have been us who removed a link is seen by its owner being no longer on record.

use std::{
    collections::{HashMap, HashSet},
    io,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use model::{InterfaceName, MacAddress};
use netlink_packet_core::Nla as _;
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage, AddressScope},
    link::{LinkAttribute, LinkMessage, LinkProtoInfoBridge},
    route::{RouteAttribute, RouteHeader, RouteMessage},
};

use crate::{
    Owner,
    damage::Damage,
    linux::{links::Found, netlink::Connection, segments::Segments},
    object::BridgePort,
    owner::Alias,
};

/// The links of the host.
#[derive(Debug, Default)]
pub(super) struct Memory {
    links: HashMap<u32, Known>,
    /// Addresses of links that aren't ours: some are announced again and again while they last.
    foreign: HashSet<(u32, IpAddr, u8)>,
    segments: Arc<Mutex<Segments>>,
}

/// A link as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    name: InterfaceName,
    owner: Option<Owner>,
    up: bool,
    mtu: Option<u32>,
    mac: Option<MacAddress>,
    master: Option<u32>,
    port: BridgePort,
}

impl Known {
    fn of(found: &Found) -> Self {
        Self {
            name: found.name.clone(),
            owner: owner(&found.alias),
            up: found.up,
            mtu: found.mtu,
            mac: found.mac,
            master: found.master,
            port: found.port,
        }
    }

    /// Whether it is no longer what it was, other than by having come up, or having got a mark or a master. MTU and
    /// address count only where `given`.
    fn is_worse_than(&self, before: &Self, given: bool) -> bool {
        let marked = before.owner.is_none() || self.owner == before.owner;
        let kept = before.master.is_none() || self.master == before.master;
        before.up && !self.up
            || !marked
            || !kept
            || self.name != before.name
            || given && (self.mtu, self.mac) != (before.mtu, before.mac)
            || lost(before.port, self.port)
    }
}

/// Whether a port has lost a flag that it was given.
fn lost(before: BridgePort, now: BridgePort) -> bool {
    let usual = BridgePort::default();
    let pairs = |port: BridgePort| {
        [
            port.hairpin,
            port.learning,
            port.flood,
            port.isolated,
            port.neigh_suppress,
        ]
    };
    let all = pairs(before).into_iter().zip(pairs(now)).zip(pairs(usual));
    all.into_iter()
        .any(|((before, now), usual)| before != usual && now == usual)
}

/// Whose a link is. That it may be another daemon's shows when nobody here knows the owner.
fn owner(alias: &str) -> Option<Owner> {
    let alias: Alias = alias.parse().ok()?;
    Some(alias.owner)
}

impl Memory {
    /// The links and addresses that there are now.
    pub(super) fn of(connection: &mut Connection) -> io::Result<Self> {
        let mut memory = Self::default();
        let links = connection.dump(&RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
        for found in links.into_iter().filter_map(Found::read) {
            memory.note_port(&found);
            memory.links.insert(found.index, Known::of(&found));
        }
        for message in connection.dump(&RouteNetlinkMessage::GetAddress(AddressMessage::default()))? {
            memory.take(message, &mut Damage::default());
        }
        Ok(memory)
    }

    /// Who has ports in which bridge, from now on.
    pub(super) fn segments(&self) -> Arc<Mutex<Segments>> {
        Arc::clone(&self.segments)
    }

    fn note_port(&self, found: &Found) {
        let mut segments = self.segments.lock().unwrap_or_else(PoisonError::into_inner);
        segments.put(found.index, found.master, &found.alias, found.group);
    }

    /// Takes an announcement in, and answers the link that it says is gone.
    pub(super) fn take(
        &mut self,
        message: RouteNetlinkMessage,
        damage: &mut Damage,
    ) -> Option<InterfaceName> {
        match message {
            RouteNetlinkMessage::NewLink(link) if link.header.interface_family == AddressFamily::Bridge => {
                self.port_changed(&link, damage);
            }
            RouteNetlinkMessage::NewLink(link) => self.link_is(RouteNetlinkMessage::NewLink(link), damage),
            RouteNetlinkMessage::DelLink(link) if link.header.interface_family == AddressFamily::Unspec => {
                return self.link_gone(link.header.index, damage);
            }
            RouteNetlinkMessage::NewAddress(address) => self.address_is(&address, damage),
            RouteNetlinkMessage::DelAddress(address) => self.address_gone(&address, damage),
            RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route) => {
                damage.surroundings |= self.is_way_out(&route);
            }
            _ => {}
        }
        None
    }

    fn link_is(&mut self, message: RouteNetlinkMessage, damage: &mut Damage) {
        let Some(found) = Found::read(message) else { return };
        self.note_port(&found);
        let now = Known::of(&found);
        let given = !found.bridge || !self.is_by_its_ports(found.index, &now);
        match self.links.insert(found.index, now.clone()) {
            Some(before) if now.is_worse_than(&before, given) => {
                blame(&before, damage);
                if before.name != now.name {
                    blame(&now, damage);
                }
            }
            Some(_) => {}
            // A bridge that a network has adopted may be back. One with a group is about to be marked.
            None if now.owner.is_none() && found.group == 0 => drop(damage.links.insert(now.name)),
            None => {}
        }
    }

    /// Whether a bridge may have its MTU and its address from its ports, as one has that was given none.
    fn is_by_its_ports(&self, index: u32, bridge: &Known) -> bool {
        let mut ports = self.links.values().filter(|link| link.master == Some(index));
        ports.any(|port| port.mac == bridge.mac || port.mtu == bridge.mtu)
    }

    fn link_gone(&mut self, index: u32, damage: &mut Damage) -> Option<InterfaceName> {
        self.foreign.retain(|(of, ..)| *of != index);
        let mut segments = self.segments.lock().unwrap_or_else(PoisonError::into_inner);
        segments.gone(index);
        drop(segments);
        let gone = self.links.remove(&index)?;
        blame(&gone, damage);
        Some(gone.name)
    }

    fn port_changed(&mut self, message: &LinkMessage, damage: &mut Damage) {
        let Some(known) = self.links.get_mut(&message.header.index) else {
            return;
        };
        let now = port(message, known.port);
        if lost(std::mem::replace(&mut known.port, now), now) {
            blame(known, damage);
        }
    }

    fn address_is(&mut self, message: &AddressMessage, damage: &mut Damage) {
        if !self.is_ours(message.header.index)
            && let Some(address) = global(message)
        {
            damage.surroundings |= self.foreign.insert(address);
        }
    }

    fn address_gone(&mut self, message: &AddressMessage, damage: &mut Damage) {
        let index = message.header.index;
        if let Some(address) = global(message) {
            damage.surroundings |= self.foreign.remove(&address);
        }
        if let Some(known) = self.links.get(&index) {
            blame(known, damage);
        }
    }

    /// Whether it is a default route of the main table by a link that isn't ours.
    fn is_way_out(&self, route: &RouteMessage) -> bool {
        let link = route.attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Oif(index) => Some(*index),
            _ => None,
        });
        route.header.destination_prefix_length == 0
            && route.header.table == RouteHeader::RT_TABLE_MAIN
            && link.is_none_or(|index| !self.is_ours(index))
    }

    fn is_ours(&self, index: u32) -> bool {
        self.links.get(&index).is_some_and(|known| known.owner.is_some())
    }
}

fn blame(link: &Known, damage: &mut Damage) {
    match link.owner {
        // Of what serves several networks they know by its name that it is theirs.
        Some(Owner::Host) => {
            damage.owners.insert(Owner::Host);
            damage.links.insert(link.name.clone());
        }
        Some(owner) => drop(damage.owners.insert(owner)),
        None => drop(damage.links.insert(link.name.clone())),
    }
}

/// The address, if others can be told it.
fn global(message: &AddressMessage) -> Option<(u32, IpAddr, u8)> {
    let address = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Address(address) => Some(*address),
        _ => None,
    })?;
    let header = &message.header;
    (header.scope == AddressScope::Universe).then_some((header.index, address, header.prefix_len))
}

/// Flags of a port as its bridge announces them, which isn't how its link does.
fn port(message: &LinkMessage, before: BridgePort) -> BridgePort {
    let mut port = before;
    let infos = message.attributes.iter().filter_map(|attribute| match attribute {
        LinkAttribute::ProtoInfoBridge(infos) => Some(infos),
        _ => None,
    });
    for info in infos.flatten() {
        let LinkProtoInfoBridge::Other(flag) = info else {
            continue;
        };
        let mut value = [0; 8];
        let Some(value) = value.get_mut(..flag.value_len()) else {
            continue;
        };
        flag.emit_value(value);
        let on = value.first().is_some_and(|byte| *byte != 0);
        match flag.kind() {
            4 => port.hairpin = on,
            8 => port.learning = on,
            9 => port.flood = on,
            32 => port.neigh_suppress = on,
            33 => port.isolated = on,
            _ => {}
        }
    }
    port
}
