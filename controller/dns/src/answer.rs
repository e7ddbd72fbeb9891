//! The decision: what does this sandbox get for this question?
//!
//! `a.b.c` is looked for as a whole on every network of the sandbox, then as `a.b` on the network called `c`, then as
//! `a` on `b.c`. The first network that has an address of the wanted family answers alone. A name that exists without
//! one is answered with nothing, never forwarded: an upstream server would say that the name does not exist.

use std::net::IpAddr;

use crate::{EndpointFacts, Kind, NameTable, Query, names::Visible};

/// What a query gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// These addresses.
    Addresses(Vec<IpAddr>),
    /// The name of an address.
    Pointer(String),
    /// The name is ours and has nothing of the kind.
    Nothing,
    /// Not ours.
    Forward,
}

/// Answers a query from what a sandbox may know. `turn` spreads clients over several addresses; any number will do.
pub fn answer(table: &NameTable<'_>, query: &Query, turn: u32) -> Answer {
    if let Kind::Pointer(address) = query.kind {
        let named = table
            .networks()
            .find_map(|network| Some((network.reverse(address)?, network.network)));
        return named.map_or(Answer::Forward, |(name, network)| {
            Answer::Pointer(format!("{name}.{network}."))
        });
    }
    let mut ours = false;
    for (network, name) in candidates(table, &query.name) {
        let Some(endpoints) = network.find(name) else {
            continue;
        };
        ours = true;
        let mut found: Vec<_> = endpoints
            .flat_map(|endpoint| of_kind(endpoint, query.kind))
            .collect();
        if !found.is_empty() {
            let turn = turn as usize % found.len();
            found.rotate_left(turn);
            return Answer::Addresses(found);
        }
    }
    if ours { Answer::Nothing } else { Answer::Forward }
}

/// The networks and the names to look for there, in order.
fn candidates<'t, 'q>(table: &NameTable<'t>, name: &'q str) -> impl Iterator<Item = (Visible<'t>, &'q str)> {
    let whole = table.networks().map(move |network| (network, name));
    let table = *table;
    let splits = name
        .rmatch_indices('.')
        .map(|(at, _)| (&name[..at], &name[at + 1..]));
    let parts = splits.flat_map(move |(name, suffix)| {
        let called = table
            .networks()
            .filter(move |network| network.network.eq_ignore_ascii_case(suffix));
        called.map(move |network| (network, name))
    });
    whole.chain(parts)
}

fn of_kind(endpoint: &EndpointFacts, kind: Kind) -> impl Iterator<Item = IpAddr> + use<> {
    let ipv4 = endpoint
        .ipv4
        .filter(|_| matches!(kind, Kind::Ipv4 | Kind::Any))
        .map(IpAddr::V4);
    let ipv6 = endpoint
        .ipv6
        .filter(|_| matches!(kind, Kind::Ipv6 | Kind::Any))
        .map(IpAddr::V6);
    ipv4.into_iter().chain(ipv6)
}

#[cfg(test)]
mod tests;
