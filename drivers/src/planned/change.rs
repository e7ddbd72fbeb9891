//! A network that changes while containers are on it: only what differs is touched, and shown first to whoever asks.

use std::collections::{BTreeMap, BTreeSet};

use kernel::{
    KernelState, Key, Object, Owner, Step,
    object::{Link, LinkKind, Sysctl},
    plan,
};

use super::{Outcome, Shell};
use crate::{
    NetworkView,
    planner::{Planner, peers},
};

/// What each owner has, in the order in which it is made: the network first.
type Parts = Vec<(Owner, KernelState)>;

impl Shell {
    /// Goes from one view to another: what is new or different is made, then what is no longer wanted removed. On
    /// failure everything is as before.
    pub(super) fn change(&self, planner: &dyn Planner, before: &NetworkView, after: &NetworkView) -> Outcome {
        let (old, new) = (self.parts(planner, before)?, self.parts(planner, after)?);
        self.ensure_base(planner)?;
        let owner = Owner::Network(before.network.id);
        // A sysctl is never gone: it is set to what it was, or to what it is on other links.
        let resting = self.kernel.observe(&settings(&new, &old))?;
        let was = self.with_mtus(&old, &new)?;
        let done = self
            .go(&old, &new)
            .and_then(|()| self.ensure(owner, &self.usual(&settings(&old, &new))?));
        let Err(failure) = done else {
            return Ok(());
        };
        let back = self.go(&new, &was).and_then(|()| self.ensure(owner, &resting));
        if let Err(again) = back {
            let error = match again {
                super::Failure::Kernel(error) => error.to_string(),
                super::Failure::Driver(error) => error.to_string(),
            };
            tracing::warn!(error, network = %before.network.name, "a change could not be taken back; the repair does it");
        }
        Err(failure)
    }

    fn go(&self, old: &Parts, new: &Parts) -> Outcome {
        let before: BTreeMap<_, _> = old.iter().map(|(owner, state)| (*owner, state)).collect();
        let nothing = KernelState::new();
        for (owner, state) in new {
            let known = before.get(owner).copied().unwrap_or(&nothing);
            self.ensure(*owner, &differing(known, state))?;
        }
        for (owner, state) in new {
            let known = before.get(owner).copied().unwrap_or(&nothing);
            let gone = known
                .objects()
                .filter(|object| state.get(&object.key()).is_none());
            self.remove(*owner, &gone.cloned().collect())?;
        }
        Ok(())
    }

    /// The old state, with the MTUs that it leaves to the kernel where the new one doesn't.
    fn with_mtus(&self, old: &Parts, new: &Parts) -> Outcome<Parts> {
        let mut was = old.clone();
        for (owner, state) in &mut was {
            let Some((_, next)) = new.iter().find(|(other, _)| other == owner) else {
                continue;
            };
            let decided = next.objects().filter_map(|object| match object {
                Object::Link(link) if link.mtu.is_some() => Some(link),
                _ => None,
            });
            for link in decided {
                let key = Key::Link(link.netns.clone(), link.name.clone());
                let known = match state.get(&key) {
                    Some(Object::Link(known)) => known.clone(),
                    _ if link.kind == LinkKind::VethPeer => link.clone(),
                    _ => continue,
                };
                let observed = self.kernel.observe(&[key])?;
                if let Some(Object::Link(there)) = observed.objects().next() {
                    let mtu = known
                        .mtu
                        .filter(|_| known.kind != LinkKind::VethPeer)
                        .or(there.mtu);
                    state.insert(Object::Link(Link { mtu, ..known }));
                }
            }
        }
        Ok(was)
    }

    /// These settings of links as new links have them.
    pub(super) fn usual(&self, keys: &[Key]) -> Outcome<KernelState> {
        let mut usual = KernelState::new();
        for key in keys {
            let Key::Sysctl(netns, name) = key else { continue };
            let Some(default) = of_new_links(name) else {
                continue;
            };
            let found = self.kernel.observe(&[Key::Sysctl(netns.clone(), default)])?;
            if let Some(Object::Sysctl(found)) = found.objects().next() {
                usual.insert(Object::Sysctl(Sysctl {
                    netns: netns.clone(),
                    name: name.clone(),
                    value: found.value.clone(),
                }));
            }
        }
        Ok(usual)
    }

    /// Everything that a view is made of, by owner. The far ends of veths are named as well: a change of MTU is theirs too.
    fn parts(&self, planner: &dyn Planner, view: &NetworkView) -> Outcome<Parts> {
        let mut network = self.wanted(planner, &view.network)?;
        network.extend(peers(planner, &view.network, &view.peers)?.objects().cloned());
        let mut parts = vec![(Owner::Network(view.network.id), network)];
        for local in &view.local {
            let mut state = self.endpoint(planner, &view.network, &local.endpoint, &local.target)?;
            let access = planner.access(&view.network, &local.endpoint, &local.access)?;
            state.extend(access.objects().cloned());
            let ends: Vec<_> = state.objects().filter_map(far_end).collect();
            state.extend(ends);
            parts.push((Owner::Endpoint(local.endpoint.id), state));
        }
        Ok(parts)
    }

    /// The steps from what is there to what the view says, as text.
    pub(super) fn preview(&self, planner: &dyn Planner, view: &NetworkView) -> Outcome<Vec<String>> {
        let parts = self.parts(planner, view)?;
        let owners: Vec<_> = parts.iter().map(|(owner, _)| *owner).collect();
        let mut wanted = KernelState::new();
        for (_, state) in &parts {
            wanted.extend(state.objects().cloned());
        }
        let keys: Vec<_> = wanted.keys().cloned().collect();
        let mut actual = self.kernel.observe(&keys)?;
        let owned = self
            .kernel
            .observe_owned(&planner.home(&view.network), self.node)?;
        for (mark, object) in owned {
            if owners.contains(&mark.owner) && actual.get(&object.key()).is_none() {
                actual.insert(object);
            }
        }
        Ok(plan(&actual, &wanted).iter().map(describe).collect())
    }
}

/// The other end of a veth whose MTU is decided.
fn far_end(object: &Object) -> Option<Object> {
    let Object::Link(Link {
        kind: LinkKind::Veth { peer, .. },
        mtu,
        ..
    }) = object
    else {
        return None;
    };
    let mtu = peer.mtu.or(*mtu)?;
    Some(Object::Link(Link {
        netns: peer.netns.clone(),
        name: peer.name.clone(),
        kind: LinkKind::VethPeer,
        mac: None,
        mtu: Some(mtu),
        master: None,
        up: true,
    }))
}

/// Pure: the far end of a veth that has another MTU than is wanted of it, as it should be.
pub(super) fn lagging_end(wanted: &Object, actual: &Object) -> Option<Object> {
    let end = |object: &Object| match object {
        Object::Link(Link {
            kind: LinkKind::Veth { peer, .. },
            ..
        }) => Some(peer.clone()),
        _ => None,
    };
    let (wanted, actual) = (end(wanted)?, end(actual)?);
    let lags = wanted.mtu.is_some() && actual.mtu.is_some() && wanted.mtu != actual.mtu;
    lags.then_some(Object::Link(Link {
        netns: wanted.netns,
        name: actual.name,
        kind: LinkKind::VethPeer,
        mac: None,
        mtu: wanted.mtu,
        master: None,
        up: actual.up,
    }))
}

/// The settings that `one` has and `other` doesn't speak of.
fn settings(one: &Parts, other: &Parts) -> Vec<Key> {
    let spoken: BTreeSet<_> = other.iter().flat_map(|(_, state)| state.keys()).collect();
    let keys = one.iter().flat_map(|(_, state)| state.keys());
    let settings = keys.filter(|key| matches!(key, Key::Sysctl(..)) && !spoken.contains(key));
    settings.cloned().collect()
}

/// Pure: where the kernel takes a link's setting from when the link is made.
fn of_new_links(name: &str) -> Option<String> {
    match name.split('/').collect::<Vec<_>>()[..] {
        ["net", family, about @ ("conf" | "neigh"), _, key] => {
            Some(format!("net/{family}/{about}/default/{key}"))
        }
        _ => None,
    }
}

/// What of `new` is not in `old` as it is. A veth comes without its far end unless that changes too: naming both would
/// say that they are made together.
fn differing(old: &KernelState, new: &KernelState) -> KernelState {
    let changed = new
        .objects()
        .filter(|object| old.get(&object.key()) != Some(*object));
    changed.cloned().collect()
}

/// Pure: a step as a line that a user reads.
fn describe(step: &Step) -> String {
    match step {
        Step::Create(object) => format!("+ {}{}", object.key(), details(object)),
        Step::Remove(object) => format!("- {}", object.key()),
        Step::Change { from, to } => format!("~ {}{}", to.key(), changes(from, to)),
    }
}

fn details(object: &Object) -> String {
    match object {
        Object::Link(link) => link.mtu.map_or_else(String::new, |mtu| format!(" (mtu {mtu})")),
        Object::Route(route) => route
            .gateway
            .map_or_else(String::new, |via| format!(" via {via}")),
        Object::Sysctl(sysctl) => format!(" = {}", sysctl.value),
        _ => String::new(),
    }
}

fn changes(from: &Object, to: &Object) -> String {
    let list = match (from, to) {
        (Object::Link(from), Object::Link(to)) => link_changes(from, to),
        (Object::Sysctl(from), Object::Sysctl(to)) => vec![format!("{} -> {}", from.value, to.value)],
        (Object::Route(from), Object::Route(to)) => {
            let via =
                |gateway: &Option<std::net::IpAddr>| gateway.map_or("none".to_owned(), |via| via.to_string());
            vec![format!("via {} -> {}", via(&from.gateway), via(&to.gateway))]
        }
        _ => Vec::new(),
    };
    match list.is_empty() {
        true => String::new(),
        false => format!(": {}", list.join(", ")),
    }
}

fn link_changes(from: &Link, to: &Link) -> Vec<String> {
    let mut list = Vec::new();
    if let Some(mtu) = to.mtu.filter(|mtu| from.mtu != Some(*mtu)) {
        let was = from.mtu.map_or("?".to_owned(), |mtu| mtu.to_string());
        list.push(format!("mtu {was} -> {mtu}"));
    }
    if from.up != to.up {
        list.push(format!("up {} -> {}", from.up, to.up));
    }
    if to.kind != LinkKind::VethPeer && from.master != to.master {
        let name = |name: &Option<model::InterfaceName>| {
            name.as_ref().map_or("none".to_owned(), ToString::to_string)
        };
        list.push(format!("master {} -> {}", name(&from.master), name(&to.master)));
    }
    if let (Some(from), Some(to)) = (from.port(), to.port()) {
        for (flag, was, is) in [
            ("isolated", from.isolated, to.isolated),
            ("hairpin", from.hairpin, to.hairpin),
        ] {
            if was != is {
                list.push(format!("{flag} {was} -> {is}"));
            }
        }
    }
    list
}

#[cfg(test)]
mod tests;
