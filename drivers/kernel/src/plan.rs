//! The pure difference between what is and what should be, as steps in an order that the kernel accepts.
//!
//! Removals come first, dependents before what they need; a namespace takes everything in it along. Then namespaces,
//! their sysctls, the firewall (so that no packet passes a link before its rules are there), links, their sysctls,
//! addresses, routes, neighbours and forwarding entries; at last namespaces are removed.

use std::collections::BTreeSet;

use model::InterfaceName;

use crate::{
    KernelState, Netns, Object,
    object::{Link, LinkKind, Vxlan},
    ruleset::Item,
};

/// One change of the kernel. Closed under reversal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Makes an object; it must not be there.
    Create(Object),
    /// Turns an object into another of the same key.
    Change {
        /// What it is.
        from: Object,
        /// What it becomes.
        to: Object,
    },
    /// Removes an object.
    Remove(Object),
}

impl Step {
    /// The step that takes this one back.
    #[must_use]
    pub fn undo(self) -> Self {
        match self {
            Self::Create(object) => Self::Remove(object),
            Self::Change { from, to } => Self::Change { from: to, to: from },
            Self::Remove(object) => Self::Create(object),
        }
    }

    /// The object as the step leaves it, or as it was before its removal.
    pub fn object(&self) -> &Object {
        match self {
            Self::Create(object) | Self::Change { to: object, .. } | Self::Remove(object) => object,
        }
    }
}

/// The steps from `actual` to `desired`. What is in `actual` only is removed, so `actual` holds no more than what the
/// caller observed of `desired` and what it owns.
pub fn plan(actual: &KernelState, desired: &KernelState) -> Vec<Step> {
    let lost = Lost::between(actual, desired);
    let mut phases = Phases::default();
    for (key, object) in actual.iter() {
        match desired.get(key) {
            Some(wanted) if !replaced(object, wanted) => {}
            _ if removable(object) && !lost.goes_in_time(object) => phases.remove(object.clone()),
            _ => {}
        }
    }
    for (key, wanted) in desired.iter() {
        match actual.get(key).filter(|object| !lost.takes(object)) {
            None if comes_with_its_maker(wanted, desired) => {}
            None => phases.create(wanted.clone()),
            Some(object) if satisfied(object, wanted) => {}
            Some(object) => phases.change(object.clone(), wanted.clone()),
        }
    }
    phases.in_order()
}

/// Whether an object as observed is what is wanted. What the kernel chose where nothing was asked doesn't count.
pub(crate) fn satisfied(actual: &Object, wanted: &Object) -> bool {
    match (actual, wanted) {
        (Object::Link(actual), Object::Link(wanted)) => link_satisfied(actual, wanted),
        (Object::Sysctl(actual), Object::Sysctl(wanted)) => actual
            .value
            .split_whitespace()
            .eq(wanted.value.split_whitespace()),
        (Object::Firewall(_, Item::Chain(actual)), Object::Firewall(_, Item::Chain(wanted)))
            if wanted.users =>
        {
            (&actual.table, &actual.name, actual.base) == (&wanted.table, &wanted.name, wanted.base)
        }
        _ => actual == wanted,
    }
}

fn link_satisfied(actual: &Link, wanted: &Link) -> bool {
    let mtu = wanted.mtu.is_none_or(|mtu| actual.mtu == Some(mtu));
    let mac = wanted.mac.is_none_or(|mac| actual.mac == Some(mac));
    if !same_kind(&actual.kind, &wanted.kind) || actual.up != wanted.up || !mtu {
        return false;
    }
    match wanted.kind {
        LinkKind::Existing => true,
        LinkKind::VethPeer => mac,
        // Its address is decided when it is made; one that was there before us keeps its own.
        LinkKind::Bridge => actual.master == wanted.master,
        _ => mac && actual.master == wanted.master && ports_agree(actual, wanted),
    }
}

fn ports_agree(actual: &Link, wanted: &Link) -> bool {
    wanted.master.is_none() || actual.port() == wanted.port()
}

/// Whether one can be changed into the other. Who the other end of a veth is doesn't count: a container may rename it.
fn same_kind(actual: &LinkKind, wanted: &LinkKind) -> bool {
    match (actual, wanted) {
        (_, LinkKind::Existing) | (LinkKind::Bridge, LinkKind::Bridge) => true,
        (LinkKind::Veth { .. } | LinkKind::VethPeer, LinkKind::Veth { .. } | LinkKind::VethPeer) => true,
        (LinkKind::Vxlan(actual), LinkKind::Vxlan(wanted)) => same_tunnel(actual, wanted),
        // What is below can't be exchanged, and one whose lower link was made anew is gone.
        (LinkKind::Upper(actual), LinkKind::Upper(wanted)) => actual.kind == wanted.kind,
        (LinkKind::Dummy, LinkKind::Dummy) => true,
        _ => false,
    }
}

fn same_tunnel(a: &Vxlan, b: &Vxlan) -> bool {
    let made_of = |v: &Vxlan| (v.vni, v.port, v.local, v.proxy, v.learning);
    made_of(a) == made_of(b)
}

fn replaced(actual: &Object, wanted: &Object) -> bool {
    matches!((actual, wanted), (Object::Link(actual), Object::Link(wanted)) if !same_kind(&actual.kind, &wanted.kind))
}

/// A sysctl and somebody else's link can't be removed, a veth's other end goes with its maker.
fn removable(object: &Object) -> bool {
    match object {
        Object::Sysctl(_) => false,
        Object::Link(link) => !matches!(link.kind, LinkKind::Existing | LinkKind::VethPeer),
        _ => true,
    }
}

/// Whether it is the other end of a pair that `desired` has.
pub(crate) fn comes_with_its_maker(wanted: &Object, desired: &KernelState) -> bool {
    let Object::Link(end) = wanted else { return false };
    let makes = |link: &Link| match &link.kind {
        LinkKind::Veth { peer, .. } => peer.netns == end.netns && peer.name == end.name,
        _ => false,
    };
    end.kind == LinkKind::VethPeer
        && desired
            .objects()
            .any(|object| matches!(object, Object::Link(link) if makes(link)))
}

/// What goes without a step of its own: everything in a removed namespace and on a removed link.
struct Lost {
    namespaces: BTreeSet<Netns>,
    links: BTreeSet<(Netns, InterfaceName)>,
}

impl Lost {
    fn between(actual: &KernelState, desired: &KernelState) -> Self {
        let mut lost = Self {
            namespaces: BTreeSet::new(),
            links: BTreeSet::new(),
        };
        for (key, object) in actual.iter() {
            let goes = desired.get(key).is_none_or(|wanted| replaced(object, wanted));
            match object {
                Object::Namespace(path) if goes => {
                    lost.namespaces.insert(Netns::Pinned(path.clone()));
                }
                Object::Link(link) if goes && removable(object) => {
                    lost.links.insert((link.netns.clone(), link.name.clone()));
                }
                _ => {}
            }
        }
        lost
    }

    /// A tunnel whose socket is elsewhere would keep its identifier until the kernel gets round to the namespace.
    fn goes_in_time(&self, object: &Object) -> bool {
        let elsewhere = |link: &Link| match &link.kind {
            LinkKind::Vxlan(vxlan) => vxlan.created_in != link.netns,
            _ => false,
        };
        self.with_namespace(object) && !matches!(object, Object::Link(link) if elsewhere(link))
    }

    fn with_namespace(&self, object: &Object) -> bool {
        object
            .netns()
            .is_some_and(|netns| self.namespaces.contains(netns))
    }

    fn takes(&self, object: &Object) -> bool {
        let on_link = |link: &InterfaceName| self.links.contains(&(object.key().netns(), link.clone()));
        self.with_namespace(object)
            || match object {
                Object::Link(o) => on_link(&o.name),
                Object::Address(o) => on_link(&o.link),
                Object::Route(o) => on_link(&o.link),
                Object::Neighbor(o) => on_link(&o.link),
                Object::Proxy(o) => on_link(&o.link),
                Object::Fdb(o) => on_link(&o.link),
                Object::Sysctl(o) => link_of_sysctl(&o.name).is_some_and(|link| {
                    InterfaceName::new(link).is_ok_and(|link| self.links.contains(&(o.netns.clone(), link)))
                }),
                Object::Namespace(_) | Object::Firewall(..) => false,
            }
    }
}

/// The link that a sysctl such as `net/ipv6/conf/eth0/disable_ipv6` belongs to.
pub(crate) fn link_of_sysctl(name: &str) -> Option<&str> {
    let mut parts = name
        .split('/')
        .skip_while(|part| !["conf", "neigh"].contains(part));
    parts.next()?;
    parts.next().filter(|link| !["all", "default"].contains(link))
}

#[derive(Default)]
struct Phases {
    removed: Vec<Object>,
    firewall: Vec<Step>,
    made: Vec<Step>,
    namespaces_removed: Vec<Step>,
}

impl Phases {
    fn remove(&mut self, object: Object) {
        match object {
            Object::Firewall(..) => self.firewall.push(Step::Remove(object)),
            Object::Namespace(_) => self.namespaces_removed.push(Step::Remove(object)),
            _ => self.removed.push(object),
        }
    }

    fn create(&mut self, object: Object) {
        self.make(Step::Create(object));
    }

    fn change(&mut self, from: Object, to: Object) {
        self.make(Step::Change { from, to });
    }

    fn make(&mut self, step: Step) {
        match step.object() {
            Object::Firewall(..) => self.firewall.push(step),
            _ => self.made.push(step),
        }
    }

    fn in_order(mut self) -> Vec<Step> {
        self.removed.sort_by_key(|object| std::cmp::Reverse(rank(object)));
        self.made.sort_by_key(|step| rank(step.object()));
        // One transaction for each namespace; what goes before what inside of it is the firewall's own affair.
        self.firewall
            .sort_by(|one, other| one.object().netns().cmp(&other.object().netns()));
        let behind = self
            .made
            .partition_point(|step| rank(step.object()) < Rank::FIREWALL);
        let after_firewall = self.made.split_off(behind);
        let mut steps: Vec<_> = self.removed.into_iter().map(Step::Remove).collect();
        steps.extend(self.made);
        steps.extend(self.firewall);
        steps.extend(after_firewall);
        steps.extend(self.namespaces_removed);
        steps
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Rank(u8, u8);

impl Rank {
    const FIREWALL: Self = Self(2, 0);
}

fn rank(object: &Object) -> Rank {
    match object {
        Object::Namespace(_) => Rank(0, 0),
        Object::Sysctl(sysctl) if link_of_sysctl(&sysctl.name).is_none() => Rank(1, 0),
        Object::Firewall(..) => Rank::FIREWALL,
        Object::Link(link) => Rank(3, kind_rank(&link.kind)),
        Object::Sysctl(_) => Rank(4, 0),
        Object::Address(_) => Rank(5, 0),
        // A next hop is reached over a connected route.
        Object::Route(route) => Rank(6, u8::from(route.gateway.is_some())),
        Object::Neighbor(_) | Object::Proxy(_) => Rank(7, 0),
        Object::Fdb(_) => Rank(8, 0),
    }
}

fn kind_rank(kind: &LinkKind) -> u8 {
    match kind {
        LinkKind::Existing => 0,
        LinkKind::Bridge | LinkKind::Dummy => 1,
        LinkKind::Vxlan(_) => 2,
        LinkKind::Veth { .. } => 3,
        LinkKind::VethPeer => 4,
        LinkKind::Upper(_) => 5,
    }
}

#[cfg(test)]
mod tests;
