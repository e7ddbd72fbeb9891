//! Neighbour entries (who answers for an address) and forwarding entries (behind which port or tunnel endpoint a
//! MAC address is). To the kernel they are one kind of message.

use std::net::IpAddr;

use model::{InterfaceName, MacAddress};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState},
};

use super::visit::{Visit, refused};
use crate::{
    KernelState, Key, Netns, Object, Result,
    object::{Fdb, Neighbor, Proxy},
};

/// `NUD_NOARP | NUD_REACHABLE`, "static": the state that both bridges and tunnels take for an entry that never ages.
/// `NUD_PERMANENT` would tell a bridge that the address is its own.
const STATIC: NeighbourState = NeighbourState::Other(0x42);

/// The message that is about this neighbour on the link of that index.
pub(super) fn neighbor(entry: &Neighbor, index: u32) -> NeighbourMessage {
    let mut message = about(family(entry.address), index);
    message.header.state = NeighbourState::Permanent;
    message.attributes = vec![
        NeighbourAttribute::Destination(entry.address.into()),
        NeighbourAttribute::LinkLayerAddress(entry.mac.octets().to_vec()),
    ];
    message
}

/// The message that is about answering for this address on the link of that index.
pub(super) fn proxy(entry: &Proxy, index: u32) -> NeighbourMessage {
    let mut message = about(family(entry.address), index);
    message.header.flags = NeighbourFlags::Proxy;
    message.attributes = vec![NeighbourAttribute::Destination(entry.address.into())];
    message
}

/// Looks up whether an address is answered for.
pub(super) fn observe_proxy(
    visit: &mut Visit,
    netns: &Netns,
    link: &InterfaceName,
    address: IpAddr,
    key: &Key,
) -> Result<Option<Object>> {
    let entry = Proxy {
        netns: netns.clone(),
        link: link.clone(),
        address,
    };
    let found = find(visit, link, key, |index| proxy(&entry, index))?;
    Ok(found.map(|_| Object::Proxy(entry)))
}

/// The message that is about this forwarding entry on the link of that index. On a tunnel it goes to the tunnel and,
/// if that is a port, to its bridge in one request.
pub(super) fn fdb(entry: &Fdb, index: u32) -> NeighbourMessage {
    let mut message = about(AddressFamily::Bridge, index);
    message.header.state = STATIC;
    message.header.flags = NeighbourFlags::Controller;
    message.attributes = vec![NeighbourAttribute::LinkLayerAddress(entry.mac.octets().to_vec())];
    if let Some(vtep) = entry.vtep {
        message.header.flags |= NeighbourFlags::Own;
        message
            .attributes
            .push(NeighbourAttribute::Destination(vtep.into()));
    }
    message
}

/// Looks a neighbour up.
pub(super) fn observe_neighbor(
    visit: &mut Visit,
    netns: &Netns,
    link: &InterfaceName,
    address: IpAddr,
    key: &Key,
) -> Result<Option<Object>> {
    let found = find(visit, link, key, |index| {
        let mut request = about(family(address), index);
        request.attributes = vec![NeighbourAttribute::Destination(address.into())];
        request
    })?;
    let Some(found) = found else {
        return Ok(None);
    };
    // What the kernel learned for itself is not an entry of ours, and gives way to one.
    let permanent = found.header.state == NeighbourState::Permanent;
    Ok(mac(&found).filter(|_| permanent).map(|mac| {
        Object::Neighbor(Neighbor {
            netns: netns.clone(),
            link: link.clone(),
            address,
            mac,
        })
    }))
}

/// Looks a forwarding entry up: on the tunnel, else on the bridge that the link is a port of.
pub(super) fn observe_fdb(
    visit: &mut Visit,
    netns: &Netns,
    link: &InterfaceName,
    address: MacAddress,
    key: &Key,
) -> Result<Option<Object>> {
    let Some(index) = visit.find_index(link, key)? else {
        return Ok(None);
    };
    let entry = |vtep| {
        Object::Fdb(Fdb {
            netns: netns.clone(),
            link: link.clone(),
            mac: address,
            vtep,
        })
    };
    for flags in [NeighbourFlags::Own, NeighbourFlags::Controller] {
        let mut request = about(AddressFamily::Bridge, index);
        request.header.flags = flags;
        request.attributes = vec![NeighbourAttribute::LinkLayerAddress(address.octets().to_vec())];
        // As with neighbours, what was learned is not an entry of ours.
        if let Some(found) = get(visit, request, key)?.filter(never_ages) {
            return Ok(Some(entry(vtep(&found))));
        }
    }
    Ok(None)
}

/// Every static entry of a link.
pub(super) fn dump(visit: &mut Visit, netns: &Netns, link: &InterfaceName, key: &Key) -> Result<Vec<Object>> {
    let Some(index) = visit.find_index(link, key)? else {
        return Ok(Vec::new());
    };
    let mut entries = KernelState::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6, AddressFamily::Bridge] {
        let request = RouteNetlinkMessage::GetNeighbour(about(family, 0));
        let answers = visit.connection(key)?.dump(&request);
        for answer in answers.map_err(refused(key, "listing its entries", "such link"))? {
            let RouteNetlinkMessage::NewNeighbour(found) = answer else {
                continue;
            };
            if found.header.ifindex == index
                && let Some(object) = entry(&found, netns, link)
                // A tunnel's entry is also its bridge's, which knows of no VTEP.
                && (is_tunnels(&object) || entries.get(&object.key()).is_none())
            {
                entries.insert(object);
            }
        }
    }
    Ok(entries.objects().cloned().collect())
}

fn is_tunnels(object: &Object) -> bool {
    matches!(object, Object::Fdb(Fdb { vtep: Some(_), .. }))
}

/// A message as an entry, if it is a static one.
fn entry(found: &NeighbourMessage, netns: &Netns, link: &InterfaceName) -> Option<Object> {
    let (netns, link, mac) = (netns.clone(), link.clone(), mac(found)?);
    if found.header.family == AddressFamily::Bridge {
        let vtep = vtep(found);
        return never_ages(found).then_some(Object::Fdb(Fdb {
            netns,
            link,
            mac,
            vtep,
        }));
    }
    let address = vtep(found)?;
    (found.header.state == NeighbourState::Permanent).then_some(Object::Neighbor(Neighbor {
        netns,
        link,
        address,
        mac,
    }))
}

fn never_ages(found: &NeighbourMessage) -> bool {
    let state: u16 = found.header.state.into();
    state & u16::from(NeighbourState::Noarp) != 0
}

/// The one entry of a link that a message is about; none if there is no such link, either.
fn find(
    visit: &mut Visit,
    link: &InterfaceName,
    key: &Key,
    request: impl FnOnce(u32) -> NeighbourMessage,
) -> Result<Option<NeighbourMessage>> {
    match visit.find_index(link, key)? {
        Some(index) => get(visit, request(index), key),
        None => Ok(None),
    }
}

fn get(visit: &mut Visit, request: NeighbourMessage, key: &Key) -> Result<Option<NeighbourMessage>> {
    use nix::libc::{EINVAL, EOPNOTSUPP};
    let answer = visit
        .connection(key)?
        .get(RouteNetlinkMessage::GetNeighbour(request));
    match answer {
        Ok(Some(RouteNetlinkMessage::NewNeighbour(found))) => Ok(Some(found)),
        Ok(_) => Ok(None),
        // Asking a link that is no tunnel, or no port, for such entries.
        Err(refusal) if matches!(refusal.source.raw_os_error(), Some(EINVAL | EOPNOTSUPP)) => Ok(None),
        Err(refusal) => Err(refused(key, "looking it up", "such entry")(refusal)),
    }
}

fn about(family: AddressFamily, index: u32) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family;
    message.header.ifindex = index;
    message
}

fn mac(found: &NeighbourMessage) -> Option<MacAddress> {
    found.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::LinkLayerAddress(bytes) => {
            MacAddress::new(bytes.as_slice().try_into().ok()?).ok()
        }
        _ => None,
    })
}

/// The IP address of an entry: the neighbour's, or the VTEP's. In a bridge message the parser can't tell its family but
/// by its length.
fn vtep(found: &NeighbourMessage) -> Option<IpAddr> {
    found.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => Some(IpAddr::V4(*ip)),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => Some(IpAddr::V6(*ip)),
        NeighbourAttribute::Destination(NeighbourAddress::Other(bytes)) => match bytes.len() {
            4 => <[u8; 4]>::try_from(bytes.as_slice()).ok().map(IpAddr::from),
            16 => <[u8; 16]>::try_from(bytes.as_slice()).ok().map(IpAddr::from),
            _ => None,
        },
        _ => None,
    })
}

fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}
