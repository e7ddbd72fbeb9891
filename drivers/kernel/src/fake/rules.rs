//! Linux's rules: what must be there first, what can't be there twice, what goes along.

use std::{collections::BTreeMap, net::IpAddr};

use model::{InterfaceName, IpNet};

use crate::{
    Error, KernelState, Key, Mark, Netns, Object, Result, Step,
    object::{
        Address, Fdb, Link, LinkKind, MacvlanMode, Neighbor, Route, Sysctl, Upper, UpperKind, VethPeer,
    },
    plan::link_of_sysctl,
    ruleset,
};

/// What an MTU is where nobody asked for one.
const ETHERNET: u32 = 1500;

/// The value of every sysctl that was never written.
const DEFAULT: &str = "0";

#[derive(Debug, Clone, Default)]
pub(super) struct World {
    pub(super) objects: KernelState,
    pub(super) marks: BTreeMap<Key, Mark>,
}

impl World {
    pub(super) fn new() -> Self {
        let mut world = Self::default();
        world.put(loopback(Netns::Host));
        world
    }

    /// A sysctl at its default is as good as one that nobody ever touched.
    pub(super) fn put(&mut self, object: Object) {
        match object {
            Object::Sysctl(sysctl) if sysctl.value == DEFAULT => {
                self.objects.remove(&Object::Sysctl(sysctl).key());
            }
            object => {
                self.objects.insert(object);
            }
        }
    }

    pub(super) fn observe(&self, key: &Key) -> Option<Object> {
        match (self.objects.get(key), key) {
            (None, Key::Sysctl(netns, name)) if self.has_sysctl(netns, name) => {
                Some(Object::Sysctl(Sysctl {
                    netns: netns.clone(),
                    name: name.clone(),
                    value: DEFAULT.to_owned(),
                }))
            }
            (found, _) => found.cloned(),
        }
    }

    pub(super) fn step(&mut self, mark: &Mark, step: &Step) -> Result<()> {
        match step {
            Step::Create(object) => self.create(mark, object),
            Step::Change { to, .. } => self.change(to),
            Step::Remove(object) => {
                self.remove(mark, object);
                Ok(())
            }
        }
    }

    fn create(&mut self, mark: &Mark, object: &Object) -> Result<()> {
        let key = object.key();
        if !matches!(object, Object::Namespace(_)) {
            self.need_namespace(&key, &key.netns())?;
        }
        if self.objects.get(&key).is_some() && !matches!(object, Object::Sysctl(_)) {
            return Err(Error::Exists(key.into()));
        }
        match object {
            Object::Namespace(path) => self.put(loopback(Netns::Pinned(path.clone()))),
            Object::Link(link) => return self.create_link(mark, link),
            _ => self.need_what_it_stands_on(object)?,
        }
        self.put(object.clone());
        Ok(())
    }

    fn change(&mut self, to: &Object) -> Result<()> {
        let key = to.key();
        match to {
            Object::Link(link) => return self.change_link(link),
            Object::Sysctl(_) => {}
            _ if self.objects.get(&key).is_none() => return Err(no_such(&key, "such object")),
            _ => {}
        }
        self.need_what_it_stands_on(to)?;
        self.put(to.clone());
        Ok(())
    }

    fn remove(&mut self, mark: &Mark, object: &Object) {
        let key = object.key();
        match object {
            Object::Sysctl(_) => {}
            Object::Link(link) if matches!(link.kind, LinkKind::Existing | LinkKind::VethPeer) => {}
            Object::Link(_) if self.marks.get(&key).is_none_or(|there| there.node != mark.node) => {}
            _ => self.take(&key),
        }
    }

    fn need_what_it_stands_on(&self, object: &Object) -> Result<()> {
        let key = object.key();
        match object {
            Object::Address(Address { netns, link, .. }) | Object::Neighbor(Neighbor { netns, link, .. }) => {
                self.need_link(&key, netns, link).map(drop)
            }
            Object::Proxy(entry) => self.need_link(&key, &entry.netns, &entry.link).map(drop),
            Object::Fdb(entry) => self.need_tunnel_or_port(&key, entry),
            Object::Route(route) => self.need_next_hop(&key, route),
            Object::Sysctl(sysctl) if !self.has_sysctl(&sysctl.netns, &sysctl.name) => {
                Err(no_such(&key, "such sysctl"))
            }
            _ => Ok(()),
        }
    }

    fn need_namespace(&self, key: &Key, netns: &Netns) -> Result<()> {
        let there = match netns {
            Netns::Host => true,
            Netns::Pinned(path) => self.objects.get(&Key::Namespace(path.clone())).is_some(),
            Netns::Numbered(_) => return Err(Error::Unsupported(key.clone().into())),
        };
        match there {
            true => Ok(()),
            false => Err(no_such(key, &netns.to_string())),
        }
    }

    fn need_link(&self, key: &Key, netns: &Netns, link: &InterfaceName) -> Result<&Link> {
        match self.objects.get(&Key::Link(netns.clone(), link.clone())) {
            Some(Object::Link(link)) => Ok(link),
            _ => Err(no_such(key, &format!("link {:?}", link.as_str()))),
        }
    }

    fn need_tunnel_or_port(&self, key: &Key, entry: &Fdb) -> Result<()> {
        let link = self.need_link(key, &entry.netns, &entry.link)?;
        let fits = match entry.vtep {
            Some(_) => matches!(link.kind, LinkKind::Vxlan(_)),
            None => link.master.is_some(),
        };
        match fits {
            true => Ok(()),
            false => Err(Error::Unsupported(key.clone().into())),
        }
    }

    fn need_next_hop(&self, key: &Key, route: &Route) -> Result<()> {
        let link = self.need_link(key, &route.netns, &route.link)?;
        let reachable = match route.gateway {
            _ if !link.up => false,
            None => true,
            Some(gateway) => self.on_link(route, gateway),
        };
        match reachable {
            true => Ok(()),
            false => Err(Error::Unreachable(key.clone().into())),
        }
    }

    /// Whether an address or a connected route of the link has the next hop in it.
    fn on_link(&self, route: &Route, gateway: IpAddr) -> bool {
        let covers = |netns: &Netns, link: &InterfaceName, net: IpNet| {
            *netns == route.netns && *link == route.link && net.contains(&gateway)
        };
        self.objects.objects().any(|object| match object {
            Object::Address(o) => covers(&o.netns, &o.link, o.address),
            Object::Route(o) => o.gateway.is_none() && covers(&o.netns, &o.link, o.destination.net()),
            _ => false,
        })
    }

    /// A sysctl of a link exists as long as the link does.
    fn has_sysctl(&self, netns: &Netns, name: &str) -> bool {
        let link = match link_of_sysctl(name).map(InterfaceName::new) {
            Some(Ok(link)) => self.objects.get(&Key::Link(netns.clone(), link)).is_some(),
            Some(Err(_)) => false,
            None => true,
        };
        let key = Key::Sysctl(netns.clone(), name.to_owned());
        link && self.need_namespace(&key, netns).is_ok()
    }

    fn create_link(&mut self, mark: &Mark, link: &Link) -> Result<()> {
        let key = Key::Link(link.netns.clone(), link.name.clone());
        if let Some(master) = &link.master {
            self.need_bridge(&key, &link.netns, master)?;
        }
        match &link.kind {
            LinkKind::Existing | LinkKind::VethPeer => return Err(no_such(&key, "such link")),
            LinkKind::Bridge | LinkKind::Dummy => {}
            LinkKind::Upper(upper) => self.need_lower(&key, upper)?,
            LinkKind::Veth { peer, .. } => self.create_peer(&key, peer)?,
            LinkKind::Vxlan(vxlan) => {
                self.need_namespace(&key, &vxlan.created_in)?;
                self.need_free_vni(&key, link)?;
            }
        }
        let mut link = link.clone();
        link.mtu = link.mtu.or(Some(ETHERNET));
        self.put(Object::Link(link));
        self.marks.insert(key, *mark);
        Ok(())
    }

    fn create_peer(&mut self, key: &Key, peer: &VethPeer) -> Result<()> {
        self.need_namespace(key, &peer.netns)?;
        let end = Object::Link(Link {
            netns: peer.netns.clone(),
            name: peer.name.clone(),
            kind: LinkKind::VethPeer,
            mac: peer.mac,
            mtu: peer.mtu.or(Some(ETHERNET)),
            master: None,
            up: peer.up,
        });
        let own_name = end.key() == *key;
        if own_name || self.objects.get(&end.key()).is_some() {
            return Err(Error::Exists(key.clone().into()));
        }
        self.put(end);
        Ok(())
    }

    /// What passes through has the link below for itself, and macvlan and ipvlan don't share one.
    fn need_lower(&self, key: &Key, upper: &Upper) -> Result<()> {
        self.need_link(key, &upper.lower_in, &upper.lower)?;
        let others = self.objects.objects().filter_map(|object| match object {
            Object::Link(Link {
                kind: LinkKind::Upper(there),
                ..
            }) if (&there.lower_in, &there.lower) == (&upper.lower_in, &upper.lower) => Some(there.kind),
            _ => None,
        });
        let passes = |kind| kind == UpperKind::Macvlan(MacvlanMode::Passthru);
        for there in others {
            match (there, upper.kind) {
                (UpperKind::Vlan(one), UpperKind::Vlan(other)) if one == other => {
                    return Err(Error::Exists(key.clone().into()));
                }
                (UpperKind::Vlan(_), _) | (_, UpperKind::Vlan(_)) => {}
                (UpperKind::Macvlan(_), UpperKind::Ipvlan(..))
                | (UpperKind::Ipvlan(..), UpperKind::Macvlan(_)) => {
                    return Err(Error::InUse(key.clone().into()));
                }
                (one, other) if passes(one) || passes(other) => {
                    return Err(Error::Invalid {
                        object: key.clone().into(),
                        detail: String::new(),
                    });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// One identifier has one tunnel for each port of the namespace that holds the socket.
    fn need_free_vni(&self, key: &Key, link: &Link) -> Result<()> {
        let LinkKind::Vxlan(wanted) = &link.kind else {
            return Ok(());
        };
        let taken = self.objects.objects().any(|object| match object {
            Object::Link(Link {
                kind: LinkKind::Vxlan(there),
                ..
            }) => (there.vni, there.port, &there.created_in) == (wanted.vni, wanted.port, &wanted.created_in),
            _ => false,
        });
        match taken {
            true => Err(Error::Exists(key.clone().into())),
            false => Ok(()),
        }
    }

    fn need_bridge(&self, key: &Key, netns: &Netns, master: &InterfaceName) -> Result<()> {
        match self.need_link(key, netns, master)?.kind {
            LinkKind::Bridge | LinkKind::Existing => Ok(()),
            _ => Err(Error::Unsupported(key.clone().into())),
        }
    }

    fn change_link(&mut self, to: &Link) -> Result<()> {
        let key = Key::Link(to.netns.clone(), to.name.clone());
        let mut link = self.need_link(&key, &to.netns, &to.name)?.clone();
        link.up = to.up;
        link.mtu = to.mtu.or(link.mtu);
        if to.kind != LinkKind::Existing {
            if let Some(master) = &to.master {
                self.need_bridge(&key, &to.netns, master)?;
            }
            link.master.clone_from(&to.master);
            link.mac = to.mac.or(link.mac);
            match (&mut link.kind, &to.kind) {
                (LinkKind::Veth { port, .. }, LinkKind::Veth { port: wanted, .. }) => *port = *wanted,
                (LinkKind::Vxlan(there), LinkKind::Vxlan(wanted)) => there.bridge_port = wanted.bridge_port,
                _ => {}
            }
        }
        self.put(Object::Link(link));
        Ok(())
    }

    /// Takes an object away with what Linux takes along.
    pub(super) fn take(&mut self, key: &Key) {
        let gone = self.objects.remove(key);
        self.marks.remove(key);
        match gone {
            Some(Object::Namespace(path)) => self.take_namespace(&Netns::Pinned(path)),
            Some(Object::Link(link)) => self.take_rest_of_link(&link),
            Some(Object::Firewall(netns, item)) => self.take_rest_of_item(&netns, &item.key()),
            _ => {}
        }
    }

    fn take_all(&mut self, goes: impl Fn(&Object) -> bool) {
        let keys: Vec<_> = self
            .objects
            .objects()
            .filter(|object| goes(object))
            .map(Object::key)
            .collect();
        for key in keys {
            self.take(&key);
        }
    }

    fn take_namespace(&mut self, netns: &Netns) {
        self.take_all(|object| object.key().netns() == *netns);
    }

    fn take_rest_of_link(&mut self, gone: &Link) {
        let on = |netns: &Netns, link: &InterfaceName| *netns == gone.netns && *link == gone.name;
        self.take_all(|object| match object {
            Object::Address(o) => on(&o.netns, &o.link),
            Object::Route(o) => on(&o.netns, &o.link),
            Object::Neighbor(o) => on(&o.netns, &o.link),
            Object::Proxy(o) => on(&o.netns, &o.link),
            Object::Fdb(o) => on(&o.netns, &o.link),
            Object::Sysctl(o) => link_of_sysctl(&o.name) == Some(gone.name.as_str()) && o.netns == gone.netns,
            Object::Link(o) => other_ends(gone, o) || stands_on(o, gone),
            _ => false,
        });
        let ports: Vec<_> = self
            .objects
            .objects()
            .filter_map(|object| match object {
                Object::Link(port)
                    if port.netns == gone.netns && port.master.as_ref() == Some(&gone.name) =>
                {
                    Some(port.clone())
                }
                _ => None,
            })
            .collect();
        for mut port in ports {
            port.master = None;
            self.put(Object::Link(port));
        }
    }

    fn take_rest_of_item(&mut self, netns: &Netns, gone: &ruleset::Key) {
        self.take_all(|object| match object {
            Object::Firewall(there, item) if there == netns => match (gone, item.key()) {
                (ruleset::Key::Table(table), key) => key.table() == table,
                (ruleset::Key::Set(table, name), ruleset::Key::Element(of, set, _)) => {
                    (table, name) == (&of, &set)
                }
                _ => false,
            },
            _ => false,
        });
    }

    pub(super) fn transaction(&mut self, mark: &Mark, steps: &[Step]) -> Result<(), (usize, Error)> {
        let mut after = self.clone();
        let mut order: Vec<_> = steps.iter().enumerate().collect();
        order.sort_by_key(|(_, step)| firewall_order(step));
        for (at, step) in order {
            after.firewall_step(mark, step).map_err(|error| (at, error))?;
        }
        *self = after;
        Ok(())
    }

    fn firewall_step(&mut self, mark: &Mark, step: &Step) -> Result<()> {
        let key = step.object().key();
        let there = self.objects.get(&key).is_some();
        match step {
            Step::Remove(_) => {
                self.take(&key);
                return Ok(());
            }
            Step::Create(_) if there => return Err(Error::Exists(key.into())),
            Step::Change { .. } if !there => return Err(no_such(&key, "such object")),
            Step::Create(_) | Step::Change { .. } => {}
        }
        self.need_namespace(&key, &key.netns())?;
        if let Key::Firewall(netns, item) = &key
            && let Some(container) = container(item)
            && self
                .objects
                .get(&Key::Firewall(netns.clone(), container))
                .is_none()
        {
            return Err(no_such(&key, "object that it refers to"));
        }
        self.put(step.object().clone());
        self.marks.insert(key, *mark);
        Ok(())
    }
}

/// What a firewall object is in.
fn container(item: &ruleset::Key) -> Option<ruleset::Key> {
    match item {
        ruleset::Key::Table(_) => None,
        ruleset::Key::Chain(table, _) | ruleset::Key::Set(table, _) => {
            Some(ruleset::Key::Table(table.clone()))
        }
        ruleset::Key::Element(table, set, _) => Some(ruleset::Key::Set(table.clone(), set.clone())),
    }
}

/// Removals first, then containers before what is in them: the order of a transaction's steps is no concern of callers.
fn firewall_order(step: &Step) -> (bool, u8) {
    let depth = match step.object() {
        Object::Firewall(_, ruleset::Item::Table(_)) => 0,
        Object::Firewall(_, ruleset::Item::Element(_)) => 2,
        _ => 1,
    };
    (!matches!(step, Step::Remove(_)), depth)
}

/// Whether two links are the ends of one pair.
fn other_ends(gone: &Link, other: &Link) -> bool {
    let makes = |maker: &Link, end: &Link| match &maker.kind {
        LinkKind::Veth { peer, .. } => peer.netns == end.netns && peer.name == end.name,
        _ => false,
    };
    makes(gone, other) || makes(other, gone)
}

/// Whether a link is on top of another.
fn stands_on(link: &Link, lower: &Link) -> bool {
    match &link.kind {
        LinkKind::Upper(upper) => (&upper.lower_in, &upper.lower) == (&lower.netns, &lower.name),
        _ => false,
    }
}

fn loopback(netns: Netns) -> Object {
    Object::Link(Link {
        netns,
        name: InterfaceName::new("lo").expect("a valid name"),
        kind: LinkKind::Existing,
        mac: None,
        mtu: Some(65536),
        master: None,
        up: true,
    })
}

fn no_such(key: &Key, missing: &str) -> Error {
    Error::NoSuch {
        object: key.clone().into(),
        missing: missing.to_owned(),
    }
}
