//! Links: made in one request each, marked right after, changed in place.
//!
//! The kernel ignores an alias in a creating request but honours a group, so a link is never without a sign of its
//! owner: see [`Mark`].

mod message;
mod read;
mod removal;

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd, BorrowedFd},
    sync::atomic::{AtomicU32, Ordering},
};

use model::{InterfaceName, NodeId};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{
        AfSpecInet6, AfSpecUnspec, Inet6IfaceFlags, InfoKind, LinkAttribute, LinkExtentMask, LinkMessage,
    },
    nsid::{NsidAttribute, NsidMessage},
};

use super::{
    netlink::{CHANGE, CREATE, Connection, Refusal},
    sysctl,
    visit::{Visit, Visits, refused},
};
use crate::{
    Error, Key, Mark, Netns, Object, Result,
    object::{Link, LinkKind, MacvlanMode, UpperKind},
};

pub(super) use read::Found;
pub(super) use removal::{Removals, remove};

/// Brings the loopback of a connection's namespace up.
pub(super) fn loopback_up(connection: &mut Connection) -> io::Result<()> {
    let mut up = message::named("lo");
    message::set_up(&mut up, true);
    Ok(connection.change(RouteNetlinkMessage::NewLink(up), CHANGE)?)
}

/// Makes a link with its master, its address, its MTU and, for a veth, its other end in one request, and marks it.
pub(super) fn create(visits: &mut Visits<'_>, mark: &Mark, link: &Link) -> Result<()> {
    let key = Key::Link(link.netns.clone(), link.name.clone());
    let request = match &link.kind {
        LinkKind::Existing | LinkKind::VethPeer => {
            return Err(Error::NoSuch {
                object: key.into(),
                missing: "such link".to_owned(),
            });
        }
        LinkKind::Bridge => message::bridge(link),
        LinkKind::Veth { peer, .. } => {
            let target = visits.descriptor(&peer.netns, &key)?;
            message::veth(link, peer, target.as_raw_fd())
        }
        LinkKind::Vxlan(vxlan) => message::vxlan(link, vxlan),
        LinkKind::Upper(upper) => {
            let lower = visits
                .visit(&upper.lower_in, &key)?
                .index_of(&upper.lower, &key)?;
            message::upper(link, upper.kind, Some(lower))
        }
        LinkKind::Dummy => return create_dummy(visits, &key, mark, link),
    };
    let request = message::owned(request, mark);
    match send_creation(visits, &key, link, request) {
        Err(Error::Exists(_)) if is_elsewhere_only(visits, &key, link)? => detour(visits, &key, mark, link)?,
        made => made?,
    }
    finish(visits, &key, mark, link).inspect_err(|_| withdraw(visits, &key, link))
}

/// Whether it is only in the namespace of the link below that there is one of its name: kernels before 6.13 look there too.
fn is_elsewhere_only(visits: &mut Visits<'_>, key: &Key, link: &Link) -> Result<bool> {
    match &link.kind {
        LinkKind::Upper(upper) if upper.lower_in != link.netns => {
            let found = find(visits.visit(&link.netns, key)?, &link.name, key)?;
            Ok(found.is_none())
        }
        _ => Ok(false),
    }
}

/// Makes it under a name that nobody has, and gives it its own where it is.
fn detour(visits: &mut Visits<'_>, key: &Key, mark: &Mark, link: &Link) -> Result<()> {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let number = MADE.fetch_add(1, Ordering::Relaxed) & 0xffff;
    let name = format!("mk{:x}-{number:x}", std::process::id());
    let name = InterfaceName::new(name).expect("two letters, a dash and at most twelve digits");
    let LinkKind::Upper(upper) = &link.kind else {
        return Ok(());
    };
    let made = Link {
        name,
        // A name is changed only while nobody uses the link.
        up: false,
        ..link.clone()
    };
    let lower = visits.visit(&upper.lower_in, key)?.index_of(&upper.lower, key)?;
    let request = message::owned(message::upper(&made, upper.kind, Some(lower)), mark);
    send_creation(visits, key, &made, request)?;
    let visit = visits.visit(&link.netns, key)?;
    let index = visit.index_of(&made.name, key)?;
    visit.forget(&made.name);
    let renamed = visit.connection(key)?.change(
        RouteNetlinkMessage::SetLink(message::renamed(index, &link.name, link.up)),
        CHANGE,
    );
    renamed
        .map_err(refused(key, "naming it", "such link"))
        .inspect_err(|_| withdraw(visits, key, &made))
}

/// A link that leads nowhere, of whichever kind this kernel has.
fn create_dummy(visits: &mut Visits<'_>, key: &Key, mark: &Mark, link: &Link) -> Result<()> {
    let request = |kind| message::owned(message::dummy(link, kind), mark);
    match send_creation(visits, key, link, request(InfoKind::Dummy)) {
        Err(Error::Unsupported(_)) => send_creation(visits, key, link, request(InfoKind::Ifb))?,
        made => made?,
    }
    finish(visits, key, mark, link).inspect_err(|_| withdraw(visits, key, link))
}

/// Whether this kernel has the kind, its module loaded if need be. Asked with a request that lacks the lower link: of a
/// kind that it has, the kernel calls it invalid.
pub(super) fn supports(visit: &mut Visit, kind: UpperKind, key: &Key) -> Result<bool> {
    let request = Link {
        netns: key.netns(),
        name: InterfaceName::new("cnm-kind").expect("a literal follows the kernel's rule"),
        kind: LinkKind::Dummy,
        mac: None,
        mtu: None,
        master: None,
        up: false,
    };
    let request = message::upper(&request, kind, None);
    let answer = visit
        .connection(key)?
        .change(RouteNetlinkMessage::NewLink(request), CREATE)
        .map_err(refused(key, "asking for its kind", "link below"));
    match answer {
        Err(Error::Unsupported(_)) => Ok(false),
        Err(Error::NotPermitted(key)) => Err(Error::NotPermitted(key)),
        _ => Ok(true),
    }
}

/// What a creating request can't say: the alias, what a port can be told only once it is one, and that the other end is
/// up, which the kernel refuses while the ends don't know each other.
fn finish(visits: &mut Visits<'_>, key: &Key, mark: &Mark, link: &Link) -> Result<()> {
    let mut request = message::named(&link.name);
    request.attributes.push(LinkAttribute::IfAlias(mark.to_string()));
    if let (Some(port), Some(_)) = (link.port(), &link.master) {
        request.attributes.push(message::port(port));
    }
    if matches!((&link.kind, &link.master), (LinkKind::Veth { .. }, Some(_))) {
        silence(visits, key, &link.netns, &link.name)?;
    }
    request_change(visits.visit(&link.netns, key)?, key, request)?;
    match &link.kind {
        LinkKind::Veth { peer, .. } if peer.up => {
            if !peer.ipv6 {
                silence(visits, key, &peer.netns, &peer.name)?;
            }
            let mut request = message::named(&peer.name);
            message::set_up(&mut request, true);
            request_change(visits.visit(&peer.netns, key)?, key, request)
        }
        // It is made with the address of the one below, which takes on what it is told now.
        LinkKind::Upper(upper)
            if upper.kind == UpperKind::Macvlan(MacvlanMode::Passthru) && link.mac.is_some() =>
        {
            let request = message::wearing(&link.name, link.mac);
            request_change(visits.visit(&link.netns, key)?, key, request)
        }
        _ => Ok(()),
    }
}

/// A pair's end on a bridge has no IPv6 of its own: nobody talks to it, and each would cost the next one more (routes
/// that all of them have, a check for duplicates). The other end may have none either, and what it would send goes to all
/// ports. Said before there is a carrier, or the kernel would have begun already.
fn silence(visits: &mut Visits<'_>, key: &Key, netns: &Netns, link: &str) -> Result<()> {
    let tree = sysctl::tree(visits, netns);
    let netns = visits.descriptor(netns, key)?;
    sysctl::switch_ipv6_off(&tree, netns.as_fd(), link)
        .map_err(|error| refused(key, "switching IPv6 off on it", "such link")(error.into()))
}

fn request_change(visit: &mut Visit, key: &Key, request: LinkMessage) -> Result<()> {
    visit
        .connection(key)?
        .change(RouteNetlinkMessage::NewLink(request), CHANGE)
        .map_err(refused(key, "finishing it", "such link"))
}

fn send_creation(visits: &mut Visits<'_>, key: &Key, link: &Link, mut request: LinkMessage) -> Result<()> {
    if let Some(master) = &link.master {
        let index = visits.visit(&link.netns, key)?.index_of(master, key)?;
        request.attributes.push(LinkAttribute::Controller(index));
    }
    let from = match &link.kind {
        LinkKind::Vxlan(vxlan) if vxlan.created_in != link.netns => {
            let target = visits.descriptor(&link.netns, key)?;
            request
                .attributes
                .push(LinkAttribute::NetNsFd(target.as_raw_fd()));
            &vxlan.created_in
        }
        LinkKind::Upper(upper) if upper.lower_in != link.netns => {
            let target = visits.descriptor(&link.netns, key)?;
            request
                .attributes
                .push(LinkAttribute::NetNsFd(target.as_raw_fd()));
            &upper.lower_in
        }
        _ => &link.netns,
    };
    let connection = visits.visit(from, key)?.connection(key)?;
    connection
        .change(RouteNetlinkMessage::NewLink(request), CREATE)
        .map_err(refused(key, "creating it", "master or namespace"))
}

/// A link that could be made but not finished goes again: a failed step has done nothing.
fn withdraw(visits: &mut Visits<'_>, key: &Key, link: &Link) {
    let connection = visits
        .visit(&link.netns, key)
        .and_then(|visit| visit.connection(key));
    let gone = connection.and_then(|connection| {
        connection
            .change(RouteNetlinkMessage::DelLink(message::named(&link.name)), CHANGE)
            .map_err(refused(key, "withdrawing it", "such link"))
    });
    if let Err(error) = gone {
        tracing::warn!(%key, %error, "a half made link is left behind");
    }
}

/// Gives a link its new values. Of a link that isn't ours only the MTU and whether it is up.
pub(super) fn change(visits: &mut Visits<'_>, from: &Link, to: &Link) -> Result<()> {
    let key = Key::Link(to.netns.clone(), to.name.clone());
    let visit = visits.visit(&to.netns, &key)?;
    let mut request = message::difference(from, to);
    let adopted = to.kind == LinkKind::Existing;
    if !adopted && from.master != to.master {
        let master = match &to.master {
            Some(master) => visit.index_of(master, &key)?,
            None => 0,
        };
        request.attributes.push(LinkAttribute::Controller(master));
    }
    let mut requests = vec![(RouteNetlinkMessage::NewLink(request), CHANGE)];
    if let (Some(port), Some(_)) = (to.port(), &to.master) {
        let mut tuning = message::named(&to.name);
        tuning.attributes.push(message::port(port));
        requests.push((RouteNetlinkMessage::NewLink(tuning), CHANGE));
    }
    visit
        .connection(&key)?
        .change_all(requests)
        .into_iter()
        .collect::<Result<(), Refusal>>()
        .map_err(refused(&key, "changing it", "such link"))
}

/// Looks one up.
pub(super) fn observe(visit: &mut Visit, name: &InterfaceName, key: &Key) -> Result<Option<Object>> {
    let Some(found) = find(visit, name, key)? else {
        return Ok(None);
    };
    Ok(Some(Object::Link(read::complete(visit, found, key)?)))
}

/// Looks one up by name, without who its master and its other end are.
pub(super) fn find(visit: &mut Visit, name: &InterfaceName, key: &Key) -> Result<Option<Found>> {
    let mut request = message::named(name);
    request
        .attributes
        .push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    let answer = visit
        .connection(key)?
        .get(RouteNetlinkMessage::GetLink(request))
        .map_err(refused(key, "looking it up", "such link"))?;
    Ok(answer.and_then(Found::read))
}

/// What the kernel has heard of routers on a link; none if it listens to none there, or has heard of none.
pub(super) fn routers_say(
    visit: &mut Visit,
    name: &InterfaceName,
    key: &Key,
) -> Result<Option<crate::RoutersSay>> {
    let answer = visit
        .connection(key)?
        .get(RouteNetlinkMessage::GetLink(message::named(name)))
        .map_err(refused(key, "looking it up", "such link"))?;
    let Some(RouteNetlinkMessage::NewLink(link)) = answer else {
        return Ok(None);
    };
    let specific = link
        .attributes
        .into_iter()
        .filter_map(|attribute| match attribute {
            LinkAttribute::AfSpecUnspec(families) => Some(families),
            _ => None,
        });
    let v6 = specific.flatten().find_map(|family| match family {
        AfSpecUnspec::Inet6(facts) => Some(facts),
        _ => None,
    });
    let flags = v6.into_iter().flatten().find_map(|fact| match fact {
        AfSpecInet6::Flags(flags) => Some(flags),
        _ => None,
    });
    // The kernel notes that it has heard one only if it had asked.
    let heard = flags.filter(|flags| flags.intersects(Inet6IfaceFlags::RaRcvd | Inet6IfaceFlags::RaManaged));
    Ok(heard.map(|flags| crate::RoutersSay {
        managed: flags.contains(Inet6IfaceFlags::RaManaged),
    }))
}

/// The number that a visited namespace has for another.
pub(super) fn number_of(visit: &mut Visit, other: BorrowedFd<'_>, key: &Key) -> Result<Option<i32>> {
    let Ok(descriptor) = u32::try_from(other.as_raw_fd()) else {
        return Ok(None);
    };
    let mut request = NsidMessage::default();
    request.attributes.push(NsidAttribute::Fd(descriptor));
    let answer = visit
        .connection(key)?
        .get(RouteNetlinkMessage::GetNsId(request))
        .map_err(refused(key, "looking up a namespace's number", "namespace"))?;
    let Some(RouteNetlinkMessage::NewNsId(found)) = answer else {
        return Ok(None);
    };
    Ok(found
        .attributes
        .into_iter()
        .find_map(|attribute| match attribute {
            NsidAttribute::Id(number) if number >= 0 => Some(number),
            _ => None,
        }))
}

/// All links of a node in a namespace.
pub(super) fn owned(visit: &mut Visit, netns: &Netns, node: NodeId) -> Result<Vec<(Mark, Object)>> {
    let mut owned = Vec::new();
    for found in dump(visit, netns)? {
        if let Some(mark) = found.mark(node) {
            let key = Key::Link(netns.clone(), found.name.clone());
            owned.push((mark, Object::Link(read::complete(visit, found, &key)?)));
        }
    }
    Ok(owned)
}

/// All links of a namespace.
pub(super) fn dump(visit: &mut Visit, netns: &Netns) -> Result<Vec<Found>> {
    let mut request = LinkMessage::default();
    request
        .attributes
        .push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    let links = visit
        .raw_connection()
        .map_err(Refusal::from)
        .and_then(|connection| connection.dump(&RouteNetlinkMessage::GetLink(request)))
        .map_err(|refusal| Error::System {
            object: format!("links of {netns}"),
            action: "listing them",
            source: refusal.source,
        })?;
    Ok(links.into_iter().filter_map(Found::read).collect())
}
