//! The decision: what does this sandbox get for this question?
//!
//! `a.b.c` is looked for as a whole on every network of the sandbox, then as `a.b` on the network called `c`, then as
//! `a` on `b.c`. The first network that has an address of the wanted family answers alone. A name that exists without
//! one is answered with nothing, never forwarded: an upstream server would say that the name does not exist.

use std::net::IpAddr;

use model::{NetworkId, Protocol};

use crate::{
    Kind, NameTable, Names, Query,
    names::{Found, Visible},
};

/// What a query gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// These addresses.
    Addresses(Vec<IpAddr>),
    /// The name of an address.
    Pointer(String),
    /// Where a service is.
    Services(Vec<Service>),
    /// The name is ours and has nothing of the kind.
    Nothing,
    /// Not ours.
    Forward,
    /// Not ours, and nobody else is asked for this client.
    Refuse,
}

/// One place of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The port it is at.
    pub port: u16,
    /// Its container's name, with the network behind it and a dot at its end.
    pub target: String,
    /// Its container's addresses.
    pub addresses: Vec<IpAddr>,
}

/// Answers a query from what a sandbox may know. `turn` spreads clients over several addresses; any number will do.
pub fn answer(table: &NameTable<'_>, query: &Query, turn: u32) -> Answer {
    decide(|| table.networks(), query, turn)
}

/// Answers a query of the host's own from the names of one network.
pub fn answer_host(names: &Names, network: NetworkId, query: &Query, turn: u32) -> Answer {
    decide(|| names.network(network).into_iter(), query, turn)
}

fn decide<'t, I: Iterator<Item = Visible<'t>>>(
    networks: impl Fn() -> I + Copy,
    query: &Query,
    turn: u32,
) -> Answer {
    if let Kind::Pointer(address) = query.kind {
        let mut networks = networks();
        let name = networks.find_map(|network| network.reverse(address));
        return name.map_or(Answer::Forward, Answer::Pointer);
    }
    let service = match query.kind {
        Kind::Service => service(&query.name),
        _ => None,
    };
    let name = service.map_or(query.name.as_str(), |(_, _, name)| name);
    let mut ours = false;
    for (network, name) in candidates(networks, name) {
        let Some(found) = network.find(name) else {
            continue;
        };
        ours = true;
        let answer = match service {
            Some((port, protocol, _)) => services(network, found, port, protocol),
            None => addresses(found, query.kind, turn),
        };
        if answer != Answer::Nothing {
            return answer;
        }
    }
    if ours { Answer::Nothing } else { Answer::Forward }
}

fn addresses(found: Found<'_>, kind: Kind, turn: u32) -> Answer {
    let mut addresses: Vec<_> = found
        .addresses()
        .filter(|address| is_of(*address, kind))
        .collect();
    if addresses.is_empty() {
        return Answer::Nothing;
    }
    let turn = turn as usize % addresses.len();
    addresses.rotate_left(turn);
    Answer::Addresses(addresses)
}

/// The endpoints of this host whose containers say that they listen there.
fn services(network: Visible<'_>, found: Found<'_>, port: u16, protocol: Protocol) -> Answer {
    let listening = found.endpoints().filter(|(_, sandbox)| {
        let exposed = sandbox.iter().flat_map(|sandbox| &sandbox.exposed);
        let mut exposed = exposed.map(|exposed| (exposed.protocol, exposed.ports));
        exposed.any(|(of, ports)| of == protocol && ports.contains(port))
    });
    let services: Vec<_> = listening
        .filter_map(|(endpoint, _)| {
            let addresses = [endpoint.ipv4.map(IpAddr::V4), endpoint.ipv6.map(IpAddr::V6)];
            Some(Service {
                port,
                target: format!("{}.{}.", endpoint.names.first()?, network.network),
                addresses: addresses.into_iter().flatten().collect(),
            })
        })
        .collect();
    match services.is_empty() {
        true => Answer::Nothing,
        false => Answer::Services(services),
    }
}

/// The parts of `_PORT._PROTOCOL.NAME`.
fn service(name: &str) -> Option<(u16, Protocol, &str)> {
    let (port, rest) = name.strip_prefix('_')?.split_once("._")?;
    let (protocol, name) = rest.split_once('.')?;
    let digits = port.bytes().all(|digit| digit.is_ascii_digit());
    Some((
        port.parse().ok().filter(|_| digits)?,
        protocol.parse().ok()?,
        name,
    ))
}

fn is_of(address: IpAddr, kind: Kind) -> bool {
    match kind {
        Kind::Ipv4 => address.is_ipv4(),
        Kind::Ipv6 => address.is_ipv6(),
        kind => kind == Kind::Any,
    }
}

/// The networks and the names to look for there, in order.
fn candidates<'t, 'q, I: Iterator<Item = Visible<'t>>>(
    networks: impl Fn() -> I + Copy,
    name: &'q str,
) -> impl Iterator<Item = (Visible<'t>, &'q str)> {
    let whole = networks().map(move |network| (network, name));
    let splits = name
        .rmatch_indices('.')
        .map(|(at, _)| (&name[..at], &name[at + 1..]));
    let parts = splits.flat_map(move |(name, suffix)| {
        let called = networks().filter(move |network| network.network.eq_ignore_ascii_case(suffix));
        called.map(move |network| (network, name))
    });
    whole.chain(parts)
}

#[cfg(test)]
mod tests;
