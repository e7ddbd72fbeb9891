//! A link that goes from one namespace into another, as plugins' interfaces do: they are made on the host.

use std::os::fd::AsRawFd as _;

use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkFlags, LinkMessage},
};

use super::{
    netlink::CHANGE,
    visit::{Visits, refused},
};
use crate::{Error, Handover, Key, Result};

/// Moves, renames and dresses it in one request: the kernel does so in this order, and does all of it or, of what can
/// fail, nothing. A link that is up can't be renamed, and moving takes it down anyway.
pub(super) fn hand_over(visits: &mut Visits<'_>, handover: &Handover) -> Result<()> {
    let (from, to) = (&handover.from, &handover.to);
    let key = Key::Link(from.clone(), handover.link.clone());
    let target = visits.descriptor(to, &key)?;
    let visit = visits.visit(from, &key)?;
    let Some(index) = visit.find_index(&handover.link, &key)? else {
        return already_there(visits, handover, key);
    };
    let mut down = LinkMessage::default();
    down.header.index = index;
    down.header.change_mask = LinkFlags::Up;
    let mut request = LinkMessage::default();
    request.header.index = index;
    if from != to {
        request
            .attributes
            .push(LinkAttribute::NetNsFd(target.as_raw_fd()));
    }
    request
        .attributes
        .push(LinkAttribute::IfName(handover.name.to_string()));
    if let Some(mac) = handover.mac {
        request
            .attributes
            .push(LinkAttribute::Address(mac.octets().to_vec()));
    }
    visit.forget(&handover.link);
    let connection = visit.connection(&key)?;
    for message in [down, request] {
        connection
            .change(RouteNetlinkMessage::NewLink(message), CHANGE)
            .map_err(refused(&key, "moving it", "such link"))?;
    }
    Ok(())
}

/// Whoever asks twice finds it where it went the first time.
fn already_there(visits: &mut Visits<'_>, handover: &Handover, key: Key) -> Result<()> {
    let there = Key::Link(handover.to.clone(), handover.name.clone());
    match visits
        .visit(&handover.to, &there)?
        .find_index(&handover.name, &there)?
    {
        Some(_) => Ok(()),
        None => Err(Error::NoSuch {
            missing: format!("link {:?}", handover.link.as_str()),
            object: key.into(),
        }),
    }
}
