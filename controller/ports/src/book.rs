//! What is taken: by claims of sandboxes, by sockets of the host's processes, and by what was assigned a moment ago.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use model::{PortRange, Protocol, SandboxId};

use crate::{Claims, Intervals, Span};

/// A socket of the host that takes a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listener {
    /// Of which protocol.
    pub protocol: Protocol,
    /// Where it is bound.
    pub ip: IpAddr,
    /// Its port.
    pub port: u16,
    /// Bound to the unspecified IPv6 address, it takes the port of IPv4 too.
    pub both_families: bool,
}

/// Who has a port already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// A sandbox, and what it was called.
    Sandbox(SandboxId, String),
    /// A process of the host, by its socket.
    Process(Listener),
    /// Another binding of the same request.
    Same,
}

/// Everything that is taken, by protocol and address.
#[derive(Debug, Default)]
pub(crate) struct Book(BTreeMap<(Protocol, IpAddr), Intervals>);

impl Book {
    pub(crate) fn of(claims: &Claims, listeners: &[Listener]) -> Self {
        let mut book = Self::default();
        for (_, claim) in claims.iter() {
            claim.ports.iter().for_each(|span| book.take(*span));
        }
        for span in listeners.iter().flat_map(|listener| spans(*listener)) {
            book.take(span);
        }
        book
    }

    pub(crate) fn take(&mut self, span: Span) {
        let key = (span.protocol, span.ip);
        self.0.entry(key).or_default().insert(span.ports);
    }

    /// The first of the spans that has something in common with what is taken, and what.
    pub(crate) fn conflict(&self, spans: &[Span]) -> Option<(Span, PortRange)> {
        spans
            .iter()
            .find_map(|span| Some((*span, self.conflict_of(*span)?)))
    }

    fn conflict_of(&self, span: Span) -> Option<PortRange> {
        let at = |ip: IpAddr| self.0.get(&(span.protocol, ip))?.overlap(span.ports);
        if !span.ip.is_unspecified() {
            return at(unspecified(span.ip)).or_else(|| at(span.ip));
        }
        let (first, last) = family(span.ip);
        self.0
            .range((span.protocol, first)..=(span.protocol, last))
            .find_map(|(_, taken)| taken.overlap(span.ports))
    }
}

/// Who has one of these ports.
pub(crate) fn holder(claims: &Claims, listeners: &[Listener], wanted: Span) -> Holder {
    let claimed = claims
        .iter()
        .find(|(_, claim)| claim.ports.iter().any(|span| collide(*span, wanted)));
    if let Some((id, claim)) = claimed {
        return Holder::Sandbox(id, claim.name.clone());
    }
    let listening = listeners
        .iter()
        .find(|listener| spans(**listener).into_iter().any(|span| collide(span, wanted)));
    listening.map_or(Holder::Same, |listener| Holder::Process(*listener))
}

/// Whether both can't be had at once.
fn collide(one: Span, other: Span) -> bool {
    one.protocol == other.protocol
        && one.ip.is_ipv4() == other.ip.is_ipv4()
        && one.ports.overlaps(other.ports)
        && (one.ip == other.ip || one.ip.is_unspecified() || other.ip.is_unspecified())
}

fn spans(listener: Listener) -> Vec<Span> {
    let Ok(ports) = PortRange::single(listener.port) else {
        return Vec::new();
    };
    let span = |ip| Span {
        protocol: listener.protocol,
        ip,
        ports,
    };
    let own = span(listener.ip.to_canonical());
    match listener.both_families && listener.ip.is_unspecified() {
        true => vec![own, span(Ipv4Addr::UNSPECIFIED.into())],
        false => vec![own],
    }
}

fn unspecified(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

fn family(ip: IpAddr) -> (IpAddr, IpAddr) {
    match ip {
        IpAddr::V4(_) => (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::BROADCAST.into()),
        IpAddr::V6(_) => (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::from([0xff; 16]).into()),
    }
}
