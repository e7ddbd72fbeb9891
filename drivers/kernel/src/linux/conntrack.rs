//! Flows that connection tracking remembers, and forgets when what they led to is gone.
//!
//! The kernel keeps the flows of all namespaces in one table of some 100,000 places, and a walk over it is what forgetting
//! costs. Walks differ: one that tells by netlink locks every place, the empty ones too, and keeps a processor for 10 ms;
//! one that deletes passes empty places by (0.1 ms), and so does `/proc/net/nf_conntrack` (0.3 ms). So:
//!
//! - flows of an address are deleted by a filter (`CTA_FILTER` in a deletion, since 6.9; older kernels call it invalid);
//! - others are looked for in the file, while there are few, and what looks right is asked for by its tuple;
//! - what is left is told by netlink: a small table whole, of a large one only those of one address or port (`CTA_FILTER`
//!   in a dump, since 5.8; an older one ignores that and tells all).
//!
//! What was told is deleted by its tuple and id, so that a flow which took its place meanwhile stays.

pub(super) mod listing;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::BorrowedFd,
};

use netlink_sys::protocols::NETLINK_NETFILTER;
use nix::libc::{AF_INET, AF_INET6, EINVAL, ENOENT, EOPNOTSUPP};

use self::listing::{Listing, Seen};
use super::{
    netns,
    raw::{Raw, attribute, attributes, push},
};
use crate::traffic::{DeadFlows, Flow};

/// `NFNL_SUBSYS_CTNETLINK`.
const SUBSYSTEM: u16 = 1 << 8;
const GET: u16 = SUBSYSTEM | 1;
const DELETE: u16 = SUBSYSTEM | 2;
const GET_STATS: u16 = SUBSYSTEM | 5;
/// `struct nfgenmsg`.
const HEADER: usize = 4;

const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const ID: u16 = 12;
const ZONE: u16 = 18;
const FILTER: u16 = 25;
/// `NLA_F_NESTED`.
const NESTED: u16 = 0x8000;

/// Of a tuple: addresses and ports.
const IP: u16 = 1;
const PROTO: u16 = 2;
/// Of a filter: which fields of the source are compared.
const BY_SOURCE: u32 = 1;
/// Of a filter: the protocol and the destination's port.
const BY_PROTOCOL: u32 = 1 << 3;
const BY_PORT: u32 = 1 << 5;

/// Telling so many flows takes as long as a walk that tells none.
const SMALL: u32 = 4096;

/// What the kernel is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Ask {
    From(IpAddr),
    AnsweredFrom(IpAddr),
    ToPort {
        v4: bool,
        protocol: u8,
        port: Option<u16>,
    },
}

/// So many deletions by filter, each a walk of its own, take as long as one that tells.
const DELETIONS: usize = 48;

/// Forgets flows and answers how many there were.
pub(super) fn forget(
    netns: BorrowedFd<'_>,
    dead: &[DeadFlows],
    is_local: impl Fn(IpAddr) -> bool,
) -> io::Result<usize> {
    Table::of(netns)?.forget(dead, is_local)
}

/// The flows of one namespace.
struct Table {
    raw: Raw,
    /// None where the kernel doesn't list them in a file.
    listing: Option<Listing>,
}

impl Table {
    fn of(netns: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(Self {
            raw: Raw::open(netns, NETLINK_NETFILTER)?,
            listing: netns::inside(netns, Listing::here).ok(),
        })
    }

    /// An empty table is only counted.
    fn forget(&mut self, dead: &[DeadFlows], is_local: impl Fn(IpAddr) -> bool) -> io::Result<usize> {
        let entries = match count(&mut self.raw) {
            Err(error) if is_absent(&error) => return Ok(0),
            answer => answer?,
        };
        if entries == 0 || dead.is_empty() {
            return Ok(0);
        }
        let (of, others): (Vec<_>, Vec<_>) = dead.iter().partition(|one| matches!(one, DeadFlows::Of(_)));
        let gone = self.delete_all_of(&of, entries)?;
        let left: Vec<_> = match gone {
            Some(_) => others,
            None => dead.iter().collect(),
        };
        let gone = gone.unwrap_or_default();
        if left.is_empty() {
            return Ok(gone);
        }
        let is_dead = |flow: &Flow| left.iter().any(|dead| dead.matches(flow, &is_local));
        let deletions = match self.seen(entries, &is_dead)? {
            Some(seen) => asked_for(&mut self.raw, &seen, &is_dead)?,
            None => told(&mut self.raw, entries, &left, &is_dead)?,
        };
        Ok(gone + self.raw.delete(DELETE, &deletions)?)
    }

    /// Deletes all flows of addresses, and answers how many; none if it has to be done in another way.
    fn delete_all_of(&mut self, of: &[&DeadFlows], entries: u32) -> io::Result<Option<usize>> {
        let asks = asks(of.iter().copied());
        if asks.is_empty() || asks.len() > DELETIONS {
            return Ok(None);
        }
        for ask in asks {
            match self.raw.get(DELETE, &filtered(ask)) {
                // Before 6.9 a deletion has no filter, and half a tuple is no tuple.
                Err(error) if is_absent(&error) => return Ok(None),
                answer => drop(answer?),
            }
        }
        // Flows come and go all the time: it is a number for people to read.
        let left = count(&mut self.raw)?;
        Ok(Some(entries.saturating_sub(left) as usize))
    }

    /// What the file lists of these; none if it can't be relied on.
    fn seen(&mut self, entries: u32, is_dead: &impl Fn(&Flow) -> bool) -> io::Result<Option<Vec<Seen>>> {
        match &mut self.listing {
            Some(listing) if entries <= listing::FEW => listing.find(is_dead),
            _ => Ok(None),
        }
    }
}

/// The deletions of flows that were seen a moment ago and are still what they were.
fn asked_for(raw: &mut Raw, seen: &[Seen], is_dead: &impl Fn(&Flow) -> bool) -> io::Result<Vec<Vec<u8>>> {
    let mut deletions = Vec::new();
    for seen in seen {
        let answer = match raw.get(GET, &seen.request()) {
            Err(error) if is_absent(&error) => continue,
            answer => answer?,
        };
        if let Some(answer) = answer.filter(|answer| read(answer).is_some_and(|flow| is_dead(&flow))) {
            deletions.extend(deletion(&answer).map(|(_, request)| request));
        }
    }
    Ok(deletions)
}

/// The deletions of flows that the kernel tells.
fn told(
    raw: &mut Raw,
    entries: u32,
    dead: &[&DeadFlows],
    is_dead: &impl Fn(&Flow) -> bool,
) -> io::Result<Vec<Vec<u8>>> {
    let asks = asks(dead.iter().copied());
    let requests: Vec<Vec<u8>> = match is_read_whole(entries, asks.len()) {
        true => families(dead).map(|v4| header(family_of(v4))).collect(),
        false => asks.into_iter().map(filtered).collect(),
    };
    let mut gone: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    for request in requests {
        raw.dump(GET, &request, |answer| {
            if read(answer).is_some_and(|flow| is_dead(&flow)) {
                gone.extend(deletion(answer));
            }
        })?;
    }
    Ok(gone.into_values().collect())
}

/// Pure: whether reading a table once is quicker than walking over it for each question.
fn is_read_whole(entries: u32, asks: usize) -> bool {
    u64::from(entries) <= u64::from(SMALL).saturating_mul(asks as u64) && entries != u32::MAX
}

/// Whether connection tracking can be asked in a namespace.
pub(super) fn is_there(netns: BorrowedFd<'_>) -> bool {
    let counted = Raw::open(netns, NETLINK_NETFILTER).and_then(|mut raw| count(&mut raw));
    !counted.is_err_and(|error| is_absent(&error))
}

/// Connection tracking is not there at all.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(ENOENT | EOPNOTSUPP | EINVAL))
}

fn count(raw: &mut Raw) -> io::Result<u32> {
    let answer = raw.get(GET_STATS, &header(0))?.unwrap_or_default();
    let value = answer.get(HEADER..).and_then(|bytes| attribute(bytes, 1));
    let bytes = value.and_then(|value| <[u8; 4]>::try_from(value).ok());
    // One that does not say is taken for a large one.
    Ok(bytes.map_or(u32::MAX, u32::from_be_bytes))
}

fn families(dead: &[&DeadFlows]) -> impl Iterator<Item = bool> {
    let families: BTreeSet<bool> = dead.iter().map(|dead| dead.is_ipv4()).collect();
    families.into_iter()
}

fn asks<'a>(dead: impl IntoIterator<Item = &'a DeadFlows>) -> BTreeSet<Ask> {
    let mut asks = BTreeSet::new();
    for one in dead {
        match one {
            DeadFlows::Of(address) => asks.extend([Ask::From(*address), Ask::AnsweredFrom(*address)]),
            DeadFlows::Through(_, to) => asks.extend([Ask::AnsweredFrom(*to)]),
            DeadFlows::ToHost(ports) => asks.extend([Ask::ToPort {
                v4: ports.host_ip.is_ipv4(),
                protocol: ports.protocol.number(),
                port: (ports.host.count() == 1).then(|| ports.host.first()),
            }]),
        }
    }
    asks
}

fn filtered(ask: Ask) -> Vec<u8> {
    match ask {
        Ask::From(ip) => by_address(ORIGINAL, ip),
        Ask::AnsweredFrom(ip) => by_address(REPLY, ip),
        Ask::ToPort { v4, protocol, port } => {
            let mut inner = Vec::new();
            push(&mut inner, 1, &[protocol]);
            if let Some(port) = port {
                push(&mut inner, 3, &port.to_be_bytes());
            }
            let mut tuple = Vec::new();
            push(&mut tuple, NESTED | PROTO, &inner);
            let flags = BY_PROTOCOL | port.map_or(0, |_| BY_PORT);
            request(family_of(v4), ORIGINAL, &tuple, flags)
        }
    }
}

fn by_address(side: u16, ip: IpAddr) -> Vec<u8> {
    let mut inner = Vec::new();
    match ip {
        IpAddr::V4(ip) => push(&mut inner, 1, &ip.octets()),
        IpAddr::V6(ip) => push(&mut inner, 3, &ip.octets()),
    }
    let mut tuple = Vec::new();
    push(&mut tuple, NESTED | IP, &inner);
    request(family_of(ip.is_ipv4()), side, &tuple, BY_SOURCE)
}

fn request(family: i32, side: u16, tuple: &[u8], flags: u32) -> Vec<u8> {
    let mut request = header(family);
    push(&mut request, NESTED | side, tuple);
    let mut filter = Vec::new();
    for one in [ORIGINAL, REPLY] {
        let flags = if one == side { flags } else { 0 };
        push(&mut filter, one, &flags.to_ne_bytes());
    }
    push(&mut request, NESTED | FILTER, &filter);
    request
}

fn header(family: i32) -> Vec<u8> {
    vec![u8::try_from(family).unwrap_or_default(), 0, 0, 0]
}

fn family_of(v4: bool) -> i32 {
    if v4 { AF_INET } else { AF_INET6 }
}

pub(super) fn read(answer: &[u8]) -> Option<Flow> {
    let bytes = answer.get(HEADER..)?;
    let (original, reply) = (attribute(bytes, ORIGINAL)?, attribute(bytes, REPLY)?);
    let proto = attribute(original, PROTO)?;
    let port = attribute(proto, 3).and_then(|value| <[u8; 2]>::try_from(value).ok());
    let addresses = |tuple| {
        let ip = attribute(tuple, IP)?;
        let mut both = attributes(ip).filter_map(|(_, value)| address(value));
        Some((both.next()?, both.next()?))
    };
    let (from, to) = addresses(original)?;
    Some(Flow {
        protocol: *attribute(proto, 1)?.first()?,
        from,
        to,
        to_port: port.map_or(0, u16::from_be_bytes),
        answers_from: addresses(reply)?.0,
    })
}

fn address(value: &[u8]) -> Option<IpAddr> {
    match value.len() {
        4 => <[u8; 4]>::try_from(value)
            .ok()
            .map(|ip| Ipv4Addr::from(ip).into()),
        16 => <[u8; 16]>::try_from(value)
            .ok()
            .map(|ip| Ipv6Addr::from(ip).into()),
        _ => None,
    }
}

/// The message that deletes a flow, by what makes it the only one.
pub(super) fn deletion(answer: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let bytes = answer.get(HEADER..)?;
    let mut request = header(i32::from(*answer.first()?));
    push(&mut request, NESTED | ORIGINAL, attribute(bytes, ORIGINAL)?);
    if let Some(id) = attribute(bytes, ID) {
        push(&mut request, ID, id);
    }
    if let Some(zone) = attribute(bytes, ZONE) {
        push(&mut request, ZONE, zone);
    }
    Some((request.clone(), request))
}

#[cfg(test)]
mod tests;
