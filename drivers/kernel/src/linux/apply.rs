//! Steps in runs of what can go to the kernel together.

use std::{collections::BTreeSet, os::fd::AsFd};

use netlink_packet_route::RouteNetlinkMessage;

use super::{
    addresses, links, neighbors,
    netlink::{CHANGE, CREATE, REPLACE, Refusal, unanswered},
    netns, nft, observe_one, routes, sysctl,
    visit::{Visits, refused},
};
use crate::{
    Error, Failure, Mark, Netns, Object, Result, Step,
    object::{LinkKind, Sysctl},
};

/// How far a run came: the indexes that were done, and the first that failed.
type Outcome = (Vec<usize>, Option<(usize, Error)>);

/// Carries out steps, run after run, until one fails.
pub(super) fn apply(visits: &mut Visits<'_>, mark: &Mark, steps: &[Step]) -> Result<(), Failure> {
    let mut done = Vec::with_capacity(steps.len());
    let mut start = 0;
    while start < steps.len() {
        let run = run_length(&steps[start..]);
        let (ran, failure) = carry_out(visits, mark, &steps[start..start + run]);
        done.extend(ran.into_iter().map(|at| start + at));
        if let Some((at, error)) = failure {
            return Err(Failure {
                done,
                failed: start + at,
                error,
            });
        }
        start += run;
    }
    Ok(())
}

/// What steps of a run have in common.
#[derive(PartialEq)]
enum Together<'a> {
    Datagram(&'a Netns),
    Transaction(&'a Netns),
    Sysctls(&'a Netns),
}

fn together(step: &Step) -> Option<Together<'_>> {
    let object = step.object();
    let netns = object.netns()?;
    match object {
        Object::Namespace(_) | Object::Link(_) => None,
        Object::Address(_) | Object::Route(_) | Object::Neighbor(_) | Object::Proxy(_) | Object::Fdb(_) => {
            Some(Together::Datagram(netns))
        }
        Object::Sysctl(_) => Some(Together::Sysctls(netns)),
        Object::Firewall(..) => Some(Together::Transaction(netns)),
    }
}

fn run_length(steps: &[Step]) -> usize {
    let Some(kind) = together(&steps[0]) else { return 1 };
    steps
        .iter()
        .take_while(|step| together(step).as_ref() == Some(&kind))
        .count()
}

fn carry_out(visits: &mut Visits<'_>, mark: &Mark, steps: &[Step]) -> Outcome {
    match together(&steps[0]) {
        None => match alone(visits, mark, &steps[0]) {
            Ok(()) => (vec![0], None),
            Err(error) => (Vec::new(), Some((0, error))),
        },
        Some(Together::Datagram(netns)) => datagram(visits, netns, steps),
        Some(Together::Transaction(netns)) => transaction(visits, mark, netns, steps),
        Some(Together::Sysctls(netns)) => sysctls(visits, netns, steps),
    }
}

fn alone(visits: &mut Visits<'_>, mark: &Mark, step: &Step) -> Result<()> {
    match step {
        Step::Create(Object::Namespace(path)) => netns::create(path),
        Step::Remove(Object::Namespace(path)) => {
            visits.leave(&Netns::Pinned(path.clone()));
            netns::remove(path)
        }
        Step::Create(Object::Link(link)) => links::create(visits, mark, link),
        Step::Change {
            from: Object::Link(from),
            to: Object::Link(to),
        } => links::change(visits, from, to),
        Step::Remove(Object::Link(link)) => match link.kind {
            LinkKind::Existing | LinkKind::VethPeer => Ok(()),
            _ => absent_is_removed(links::remove(visits, mark, link)),
        },
        // A namespace has nothing that could change.
        _ => Ok(()),
    }
}

/// What was in a namespace that is gone is gone.
fn absent_is_removed(answer: Result<()>) -> Result<()> {
    match answer {
        Err(Error::NoSuch { .. }) => Ok(()),
        answer => answer,
    }
}

/// Sends a run as few datagrams with one answer for each step.
fn datagram(visits: &mut Visits<'_>, netns: &Netns, steps: &[Step]) -> Outcome {
    let mut done = Vec::with_capacity(steps.len());
    let mut failure = None;
    let (mut sent, mut messages) = (Vec::new(), Vec::new());
    for (at, step) in steps.iter().enumerate() {
        match message(visits, netns, step) {
            Ok(Some(message)) => {
                sent.push(at);
                messages.push(message);
            }
            Ok(None) => done.push(at),
            Err(error) => {
                failure = Some((at, error));
                break;
            }
        }
    }
    for (at, answer) in sent.into_iter().zip(send(visits, netns, messages, &steps[0])) {
        match answer.or_else(|refusal| instead_of_learned(visits, netns, &steps[at], refusal)) {
            Ok(()) => done.push(at),
            Err(refusal) if is_removal(&steps[at]) && refusal.is_absence() => done.push(at),
            Err(refusal) => {
                let error = refusal_of(&steps[at], refusal);
                if failure.as_ref().is_none_or(|(first, _)| at < *first) {
                    failure = Some((at, error));
                }
            }
        }
    }
    done.sort_unstable();
    (done, failure)
}

/// Makes an entry that the kernel refused because it has learned one of the same address: a frame may come through a new
/// port before its entry is there. What was learned is forgotten again some time, and ours must not be.
fn instead_of_learned(
    visits: &mut Visits<'_>,
    netns: &Netns,
    step: &Step,
    refusal: Refusal,
) -> Result<(), Refusal> {
    let Step::Create(object @ (Object::Fdb(_) | Object::Neighbor(_))) = step else {
        return Err(refusal);
    };
    if refusal.source.raw_os_error() != Some(nix::libc::EEXIST) {
        return Err(refusal);
    }
    match observe_one(visits, &object.key()) {
        Ok(None) => {}
        _ => return Err(refusal),
    }
    let replacing = Step::Change {
        from: object.clone(),
        to: object.clone(),
    };
    match message(visits, netns, &replacing) {
        Ok(Some(message)) => send(visits, netns, vec![message], step).pop().unwrap_or(Ok(())),
        _ => Err(refusal),
    }
}

fn is_removal(step: &Step) -> bool {
    matches!(step, Step::Remove(_))
}

fn send(
    visits: &mut Visits<'_>,
    netns: &Netns,
    messages: Vec<(RouteNetlinkMessage, u16)>,
    first: &Step,
) -> Vec<Result<(), Refusal>> {
    if messages.is_empty() {
        return Vec::new();
    }
    let connection = visits
        .visit(netns, &first.object().key())
        .map_err(|error| std::io::Error::other(error.to_string()))
        .and_then(|visit| visit.raw_connection());
    match connection {
        Ok(connection) => connection.change_all(messages),
        Err(error) => unanswered(error, messages.len()).map(Err).collect(),
    }
}

fn refusal_of(step: &Step, refusal: Refusal) -> Error {
    let action = match step {
        Step::Create(_) => "creating it",
        Step::Change { .. } => "changing it",
        Step::Remove(_) => "removing it",
    };
    let missing = match step.object() {
        Object::Route(_) => "such route, link or source address",
        Object::Address(_) => "such address or link",
        _ => "such entry or link",
    };
    refused(&step.object().key(), action, missing)(refusal)
}

/// The message of a step; none if there is nothing left to do.
fn message(
    visits: &mut Visits<'_>,
    netns: &Netns,
    step: &Step,
) -> Result<Option<(RouteNetlinkMessage, u16)>> {
    let key = step.object().key();
    let link = match step.object() {
        Object::Address(o) => &o.link,
        Object::Route(o) => &o.link,
        Object::Neighbor(o) => &o.link,
        Object::Proxy(o) => &o.link,
        Object::Fdb(o) => &o.link,
        _ => return Ok(None),
    };
    let index = match visits
        .visit(netns, &key)
        .and_then(|visit| visit.find_index(link, &key))
    {
        Ok(Some(index)) => index,
        Ok(None) | Err(Error::NoSuch { .. }) if is_removal(step) => return Ok(None),
        Ok(None) => {
            return Err(Error::NoSuch {
                missing: format!("link {:?}", link.as_str()),
                object: key.into(),
            });
        }
        Err(error) => return Err(error),
    };
    Ok(Some(match step {
        Step::Create(object) => (addition(object, index), CREATE),
        Step::Change { to, .. } => (addition(to, index), REPLACE),
        Step::Remove(object) => (deletion(object, index), CHANGE),
    }))
}

fn addition(object: &Object, index: u32) -> RouteNetlinkMessage {
    match object {
        Object::Address(o) => RouteNetlinkMessage::NewAddress(addresses::message(o, index)),
        Object::Route(o) => RouteNetlinkMessage::NewRoute(routes::message(o, index)),
        Object::Neighbor(o) => RouteNetlinkMessage::NewNeighbour(neighbors::neighbor(o, index)),
        Object::Proxy(o) => RouteNetlinkMessage::NewNeighbour(neighbors::proxy(o, index)),
        Object::Fdb(o) => RouteNetlinkMessage::NewNeighbour(neighbors::fdb(o, index)),
        _ => unreachable!("only these kinds go in datagrams"),
    }
}

fn deletion(object: &Object, index: u32) -> RouteNetlinkMessage {
    match object {
        Object::Address(o) => RouteNetlinkMessage::DelAddress(addresses::message(o, index)),
        Object::Route(o) => RouteNetlinkMessage::DelRoute(routes::removal(o, index)),
        Object::Neighbor(o) => RouteNetlinkMessage::DelNeighbour(neighbors::neighbor(o, index)),
        Object::Proxy(o) => RouteNetlinkMessage::DelNeighbour(neighbors::proxy(o, index)),
        Object::Fdb(o) => RouteNetlinkMessage::DelNeighbour(neighbors::fdb(o, index)),
        _ => unreachable!("only these kinds go in datagrams"),
    }
}

/// All firewall steps of a run, or none.
fn transaction(visits: &mut Visits<'_>, mark: &Mark, netns: &Netns, steps: &[Step]) -> Outcome {
    let all = || (0..steps.len()).collect::<Vec<_>>();
    let changes: Vec<_> = steps.iter().filter_map(firewall_change).collect();
    let first = steps[0].object().key();
    if *netns == Netns::Host {
        let host = visits.host();
        if let Some(iptables) = &host.iptables {
            return match iptables.commit(host.descriptor.as_fd(), mark, steps) {
                Ok(()) => (all(), None),
                Err(failure) => (Vec::new(), Some(failure)),
            };
        }
        note_tables(visits, steps);
    }
    let connection = match visits
        .visit(netns, &first)
        .and_then(|visit| visit.firewall(&first))
    {
        Ok(connection) => connection,
        Err(Error::NoSuch { .. }) if steps.iter().all(is_removal) => return (all(), None),
        Err(error) => return (Vec::new(), Some((0, error))),
    };
    match connection.commit(mark, &changes) {
        Ok(()) => (all(), None),
        Err(nft::Refused { change, source }) => {
            let key = steps[change].object().key();
            let error = Error::from_errno(&key, "committing it", "object that it refers to", source, "");
            (Vec::new(), Some((change, error)))
        }
    }
}

/// Says which tables are ours before anything of them is announced.
fn note_tables(visits: &Visits<'_>, steps: &[Step]) {
    let tables = steps.iter().filter_map(|step| match step.object() {
        Object::Firewall(_, item) => Some(item.table()),
        _ => None,
    });
    for table in tables.collect::<BTreeSet<_>>() {
        visits.host().own.add_table(table);
    }
}

fn firewall_change(step: &Step) -> Option<nft::Change<'_>> {
    match step {
        Step::Create(Object::Firewall(_, item)) => Some(nft::Change::Create(item)),
        Step::Change {
            from: Object::Firewall(_, from),
            to: Object::Firewall(_, to),
        } => Some(nft::Change::Replace { from, to }),
        Step::Remove(Object::Firewall(_, item)) => Some(nft::Change::Remove(item)),
        _ => None,
    }
}

/// A run of sysctls in one visit. A sysctl can't be removed; its value stays.
fn sysctls(visits: &mut Visits<'_>, netns: &Netns, steps: &[Step]) -> Outcome {
    let wanted: Vec<(usize, &Sysctl)> = steps
        .iter()
        .enumerate()
        .filter_map(|(at, step)| match step {
            Step::Create(Object::Sysctl(sysctl)) => Some((at, sysctl)),
            Step::Change {
                to: Object::Sysctl(sysctl),
                ..
            } => Some((at, sysctl)),
            _ => None,
        })
        .collect();
    if wanted.is_empty() {
        return ((0..steps.len()).collect(), None);
    }
    let descriptor = match visits.descriptor(netns, &steps[0].object().key()) {
        Ok(descriptor) => descriptor,
        Err(error) => return (Vec::new(), Some((wanted[0].0, error))),
    };
    let sysctls: Vec<_> = wanted.iter().map(|(_, sysctl)| *sysctl).collect();
    let own = (*netns == Netns::Host).then(|| &*visits.host().own);
    let tree = sysctl::tree(visits, netns);
    let (count, error) = sysctl::write(descriptor.as_fd(), &tree, &sysctls, own);
    let failure = error.map(|error| (wanted[count].0, error));
    let reached = failure.as_ref().map_or(steps.len(), |(at, _)| *at);
    ((0..reached).collect(), failure)
}
