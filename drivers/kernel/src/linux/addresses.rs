//! Addresses on links. Duplicate address detection is off: our allocator knows that an address is free, and a container
//! must be able to use it at once.

use model::{InterfaceName, IpNet};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage},
};

use super::visit::{Visit, refused};
use crate::{Error, Key, Netns, Object, Result, object::Address};

/// The message that is about this address on the link of that index.
pub(super) fn message(address: &Address, index: u32) -> AddressMessage {
    let mut message = AddressMessage::default();
    let ip = address.address.addr();
    message.header.index = index;
    message.header.prefix_len = address.address.prefix_len();
    message.header.family = family(address.address);
    message.attributes = vec![AddressAttribute::Local(ip), AddressAttribute::Address(ip)];
    match address.address {
        // As every tool writes it; point-to-point networks have none.
        IpNet::V4(net) if net.prefix_len() < 31 => message
            .attributes
            .push(AddressAttribute::Broadcast(net.broadcast())),
        IpNet::V4(_) => {}
        IpNet::V6(_) => message
            .attributes
            .push(AddressAttribute::Flags(AddressFlags::Nodad)),
    }
    message
}

/// Looks one up among those of its link.
pub(super) fn observe(
    visit: &mut Visit,
    netns: &Netns,
    link: &InterfaceName,
    address: IpNet,
    key: &Key,
) -> Result<Option<Object>> {
    let Some(index) = visit.find_index(link, key)? else {
        return Ok(None);
    };
    let mut request = AddressMessage::default();
    request.header.index = index;
    request.header.family = family(address);
    let answers = visit
        .connection(key)?
        .dump(&RouteNetlinkMessage::GetAddress(request))
        .map_err(refused(key, "looking it up", "such address"))?;
    let there = read(answers).any(|(on, found)| on == index && found == address);
    Ok(there.then(|| {
        Object::Address(Address {
            netns: netns.clone(),
            link: link.clone(),
            address,
        })
    }))
}

/// Every address of a namespace with the index of its link; none that the kernel still asks others about.
pub(super) fn dump(visit: &mut Visit) -> Result<Vec<(u32, IpNet)>> {
    let answers = visit
        .raw_connection()
        .map_err(Into::into)
        .and_then(|connection| connection.dump(&RouteNetlinkMessage::GetAddress(AddressMessage::default())))
        .map_err(|refusal: super::netlink::Refusal| Error::System {
            object: "addresses".to_owned(),
            action: "listing them",
            source: refusal.source,
        })?;
    let asked_about = |answer: &RouteNetlinkMessage| match answer {
        RouteNetlinkMessage::NewAddress(message) => {
            message.header.flags.contains(AddressHeaderFlags::Tentative)
        }
        _ => false,
    };
    Ok(read(answers.into_iter().filter(|answer| !asked_about(answer))).collect())
}

pub(super) fn read(
    answers: impl IntoIterator<Item = RouteNetlinkMessage>,
) -> impl Iterator<Item = (u32, IpNet)> {
    answers.into_iter().filter_map(|answer| match answer {
        RouteNetlinkMessage::NewAddress(message) => {
            // IFA_LOCAL is the address itself where IFA_ADDRESS is the other end's; IPv6 has only the latter.
            let local = message.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Local(ip) => Some(*ip),
                _ => None,
            });
            let any = || {
                message.attributes.iter().find_map(|attribute| match attribute {
                    AddressAttribute::Address(ip) => Some(*ip),
                    _ => None,
                })
            };
            let net = IpNet::new(local.or_else(any)?, message.header.prefix_len).ok()?;
            Some((message.header.index, net))
        }
        _ => None,
    })
}

fn family(address: IpNet) -> AddressFamily {
    match address {
        IpNet::V4(_) => AddressFamily::Inet,
        IpNet::V6(_) => AddressFamily::Inet6,
    }
}
