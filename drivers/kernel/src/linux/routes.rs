//! Unicast routes of the main table.

use std::net::IpAddr;

use model::{IpNet, Subnet};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType},
};

use super::{
    netlink::Refusal,
    visit::{Visit, refused},
};
use crate::{Error, Key, Netns, Object, Result, object::Route};

/// A route as its message tells it: the link by index.
pub(super) struct Found {
    pub(super) destination: Subnet,
    pub(super) gateway: Option<IpAddr>,
    pub(super) index: u32,
    source: Option<IpAddr>,
}

/// The message that is about this route over the link of that index.
pub(super) fn message(route: &Route, index: u32) -> RouteMessage {
    let mut message = request(family(route.destination.net()));
    message.header.destination_prefix_length = route.destination.prefix_len();
    message.header.kind = RouteType::Unicast;
    message.header.protocol = RouteProtocol::Static;
    message.header.scope = match route.gateway {
        None if route.destination.addr().is_ipv4() => RouteScope::Link,
        _ => RouteScope::Universe,
    };
    if route.destination.prefix_len() > 0 {
        let destination = RouteAddress::from(route.destination.addr());
        message.attributes.push(RouteAttribute::Destination(destination));
    }
    message.attributes.push(RouteAttribute::Oif(index));
    let gateway = route.gateway.map(|ip| RouteAttribute::Gateway(ip.into()));
    let source = route.source.map(|ip| RouteAttribute::PrefSource(ip.into()));
    message.attributes.extend(gateway.into_iter().chain(source));
    message
}

/// The message that removes this route, whatever its protocol and its scope have become.
pub(super) fn removal(route: &Route, index: u32) -> RouteMessage {
    let mut message = message(route, index);
    message.header.protocol = RouteProtocol::Unspec;
    message.header.scope = RouteScope::NoWhere;
    message
}

/// Looks one up. The kernel's own lookup would answer with the best match, so the table is read.
pub(super) fn observe(
    visit: &mut Visit,
    netns: &Netns,
    destination: Subnet,
    key: &Key,
) -> Result<Option<Object>> {
    let found = table(visit, family(destination.net()))
        .map_err(refused(key, "looking it up", "such route"))?
        .into_iter()
        .find(|found| found.destination == destination);
    let Some(found) = found else { return Ok(None) };
    let Some(link) = visit.name_of(found.index, key)? else {
        return Ok(None);
    };
    Ok(Some(Object::Route(Route {
        netns: netns.clone(),
        destination,
        gateway: found.gateway,
        link,
        source: found.source,
    })))
}

/// Every route of both families.
pub(super) fn dump(visit: &mut Visit) -> Result<Vec<Found>> {
    let both = table(visit, AddressFamily::Inet).and_then(|mut routes| {
        routes.extend(table(visit, AddressFamily::Inet6)?);
        Ok(routes)
    });
    both.map_err(|refusal| Error::System {
        object: "routes".to_owned(),
        action: "listing them",
        source: refusal.source,
    })
}

fn table(visit: &mut Visit, family: AddressFamily) -> Result<Vec<Found>, Refusal> {
    let answers = visit
        .raw_connection()?
        .dump(&RouteNetlinkMessage::GetRoute(request(family)))?;
    Ok(answers.into_iter().filter_map(read).collect())
}

fn request(family: AddressFamily) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message
}

pub(super) fn read(answer: RouteNetlinkMessage) -> Option<Found> {
    let RouteNetlinkMessage::NewRoute(RouteMessage {
        header, attributes, ..
    }) = answer
    else {
        return None;
    };
    if header.table != RouteHeader::RT_TABLE_MAIN || header.kind != RouteType::Unicast {
        return None;
    }
    let any: IpAddr = match header.address_family {
        AddressFamily::Inet => IpAddr::from([0; 4]),
        AddressFamily::Inet6 => IpAddr::from([0; 16]),
        _ => return None,
    };
    let (mut destination, mut gateway, mut index, mut source) = (any, None, None, None);
    for attribute in attributes {
        match attribute {
            RouteAttribute::Destination(to) => destination = ip(&to)?,
            RouteAttribute::Gateway(via) => gateway = ip(&via),
            RouteAttribute::Oif(link) => index = Some(link),
            RouteAttribute::PrefSource(from) => source = ip(&from),
            _ => {}
        }
    }
    let net = IpNet::new(destination, header.destination_prefix_length).ok()?;
    Some(Found {
        destination: Subnet::around(net),
        gateway,
        // One over several links isn't ours and has no single answer.
        index: index?,
        source,
    })
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some(IpAddr::V4(*ip)),
        RouteAddress::Inet6(ip) => Some(IpAddr::V6(*ip)),
        _ => None,
    }
}

fn family(net: IpNet) -> AddressFamily {
    match net {
        IpNet::V4(_) => AddressFamily::Inet,
        IpNet::V6(_) => AddressFamily::Inet6,
    }
}
