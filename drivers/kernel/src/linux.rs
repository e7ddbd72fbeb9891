//! The real kernel.
//!
//! One file for each kind of object says how it is told and asked in messages; here steps are sorted to them: runs of
//! addresses, routes, neighbours and forwarding entries of one namespace go in one datagram, runs of firewall steps in
//! one transaction, runs of sysctls in one visit of their namespace.

mod addresses;
mod apply;
mod conntrack;
mod datagrams;
mod firewalld;
#[cfg(test)]
mod fuzz;
mod handover;
pub mod iptables;
mod links;
pub mod modules;
mod monitor;
mod neighbors;
mod netlink;
pub mod netns;
mod nft;
mod own;
mod passage;
mod probe;
mod raw;
mod routes;
mod segments;
mod sock_diag;
pub mod statistics;
mod sysctl;
mod traffic;
mod uplinks;
pub mod users;
mod visit;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    net::IpAddr,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use model::{InterfaceName, MacAddress, NodeId, Protocol, Subnet};

use self::{
    links::Removals,
    visit::{Connections, Visits},
};
use crate::{
    Error, Failure, Kernel, KernelState, Key, Mark, Netns, Object, Result, Step,
    object::Address,
    traffic::{DeadFlows, HostSocket, PortLimits, Process},
};

/// Sockets into the host's namespace kept for the next call.
const KEPT: usize = 8;

/// Linux, seen from one namespace: "the host".
pub struct Linux {
    host: Host,
}

/// The namespace that is the host, with what outlives a call.
struct Host {
    descriptor: Arc<OwnedFd>,
    idle: Mutex<Vec<Connections>>,
    sent: Arc<AtomicU64>,
    removals: Removals,
    trees: sysctl::Trees,
    own: Arc<own::Own>,
    insides: monitor::inside::Insides,
    admitted: firewalld::Admitted,
    /// Who makes the host's rules, if it isn't nf_tables.
    iptables: Option<iptables::Iptables>,
}

impl Linux {
    /// The host is the calling thread's own namespace, from now on and for every thread that uses this.
    pub fn here() -> io::Result<Self> {
        let sent = Arc::new(AtomicU64::new(0));
        Ok(Self {
            host: Host {
                descriptor: Arc::new(netns::current()?),
                idle: Mutex::default(),
                removals: Removals::new(Arc::clone(&sent)),
                trees: sysctl::Trees::default(),
                sent,
                own: Arc::default(),
                insides: monitor::inside::Insides::default(),
                admitted: firewalld::Admitted::default(),
                iptables: None,
            },
        })
    }

    /// The same, with this node's rules on the host made by iptables. Nothing is written before [`Kernel::gathered`] where
    /// a process before this one has left some.
    ///
    /// # Errors
    /// When there is no iptables, or it refuses.
    pub fn with_iptables(mut self, node: NodeId) -> io::Result<Self> {
        self.host.iptables = Some(iptables::Iptables::new(self.host.descriptor.as_fd(), node)?);
        Ok(self)
    }

    /// Removes what the other firewall backend has left of this node's.
    ///
    /// # Errors
    /// When it can't be listed or removed.
    pub fn remove_other_firewall(&self, node: NodeId) -> Result<()> {
        if self.host.iptables.is_none() {
            return iptables::clean(self.host.descriptor.as_fd(), node).map_err(|source| Error::System {
                object: "iptables".to_owned(),
                action: "removing rules of ours",
                source,
            });
        }
        let table = crate::ruleset::Table::inet(format!("cnm-{}", node.prefix(8)));
        let mut visits = self.visits();
        let key = Key::Firewall(Netns::Host, crate::ruleset::Key::Table(table.clone()));
        let mark = Mark {
            node,
            owner: crate::Owner::Host,
        };
        let item = crate::ruleset::Item::Table(table);
        let removed = match visits.visit(&Netns::Host, &key)?.firewall(&key) {
            Ok(connection) => connection.commit(&mark, &[nft::Change::Remove(&item)]),
            // A kernel without nf_tables has none of its rules.
            Err(_) => return Ok(()),
        };
        removed.map_err(|refused| Error::from_errno(&key, "removing it", "such table", refused.source, ""))
    }

    /// How many route netlink messages were sent so far: what tests count.
    pub fn messages_sent(&self) -> u64 {
        self.host.sent.load(Ordering::Relaxed)
    }

    /// A link as its segment sees it, and every address of the host. None if there is no such link.
    fn segment(&self, link: &InterfaceName, key: &Key) -> Result<Option<(probe::Link, Vec<IpAddr>)>> {
        let mut visits = self.visits();
        let visit = visits.visit(&Netns::Host, key)?;
        let found = links::find(visit, link, key)?;
        let Some((index, mac)) = found.and_then(|found| Some((found.index, found.mac?))) else {
            return Ok(None);
        };
        let worn = addresses::dump(visit)?;
        let worn = worn.into_iter().map(|(_, net)| net.addr()).collect();
        Ok(Some((probe::Link { index, mac }, worn)))
    }

    /// A namespace with a link in it that frames go out of; none if either is gone.
    fn outlet(
        &self,
        netns: &Netns,
        link: &InterfaceName,
        key: &Key,
    ) -> Result<Option<(Arc<OwnedFd>, probe::Link)>> {
        let mut visits = self.visits();
        let visit = match visits.visit(netns, key) {
            Ok(visit) => visit,
            Err(Error::NoSuch { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let found = links::find(visit, link, key)?.and_then(|found| Some((found.index, found.mac?)));
        Ok(found.map(|(index, mac)| (Arc::clone(&visit.descriptor), probe::Link { index, mac })))
    }

    /// Those of some bridges that aren't in our links' group, because somebody else made them.
    fn adopted(&self, node: NodeId, bridges: &BTreeSet<InterfaceName>) -> Result<BTreeSet<InterfaceName>> {
        let mut visits = self.visits();
        let mut adopted = BTreeSet::new();
        for bridge in bridges {
            let key = Key::Link(Netns::Host, bridge.clone());
            let found = links::find(visits.visit(&Netns::Host, &key)?, bridge, &key)?;
            if found.is_some_and(|found| found.group != Mark::group(node)) {
                adopted.insert(bridge.clone());
            }
        }
        Ok(adopted)
    }

    fn visits(&self) -> Visits<'_> {
        Visits::new(&self.host)
    }
}

impl fmt::Debug for Linux {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Linux").finish_non_exhaustive()
    }
}

impl Host {
    fn descriptor(&self, netns: &Netns, key: &Key) -> Result<Arc<OwnedFd>> {
        match netns {
            Netns::Host => Ok(Arc::clone(&self.descriptor)),
            Netns::Pinned(path) => match netns::open(path) {
                Ok(descriptor) => Ok(Arc::new(descriptor)),
                Err(Error::NoSuch { .. }) => Err(Error::NoSuch {
                    object: key.clone().into(),
                    missing: netns.to_string(),
                }),
                Err(error) => Err(error),
            },
            Netns::Numbered(_) => Err(Error::Unsupported(key.clone().into())),
        }
    }

    fn take_connections(&self) -> Connections {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.pop().unwrap_or_default()
    }

    fn keep_connections(&self, connections: Connections) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < KEPT {
            idle.push(connections);
        }
    }
}

impl Kernel for Linux {
    fn observe(&self, keys: &[Key]) -> Result<KernelState> {
        let mut visits = self.visits();
        let mut state = KernelState::new();
        let mut sysctls: BTreeMap<Netns, Vec<&Key>> = BTreeMap::new();
        for key in keys {
            match observe_one(&mut visits, key) {
                Ok(Some(object)) => drop(state.insert(object)),
                Ok(None) if matches!(key, Key::Sysctl(..)) => {
                    sysctls.entry(key.netns()).or_default().push(key);
                }
                // Its namespace isn't there.
                Ok(None) | Err(Error::NoSuch { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        for (netns, keys) in sysctls {
            match sysctl::observe(&mut visits, &netns, &keys) {
                Ok(objects) => state.extend(objects),
                Err(Error::NoSuch { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(state)
    }

    fn observe_owned(&self, netns: &Netns, node: NodeId) -> Result<Vec<(Mark, Object)>> {
        let mut visits = self.visits();
        let everything = Key::Link(netns.clone(), any_link());
        let visit = visits.visit(netns, &everything)?;
        let mut owned = links::owned(visit, netns, node)?;
        if let (Netns::Host, Some(iptables)) = (netns, &self.host.iptables) {
            owned.extend(iptables.owned(node));
            return Ok(owned);
        }
        let items = visit
            .firewall(&everything)?
            .dump_ours()
            .map_err(|source| Error::System {
                object: format!("firewall of {netns}"),
                action: "listing it",
                source,
            })?;
        owned.extend(items.into_iter().filter_map(|(comment, item)| {
            let mark = Mark::from_alias(node, &comment?)?;
            Some((mark, Object::Firewall(netns.clone(), item)))
        }));
        Ok(owned)
    }

    fn observe_entries(&self, netns: &Netns, link: &InterfaceName) -> Result<Vec<Object>> {
        let key = Key::Link(netns.clone(), link.clone());
        let mut visits = self.visits();
        match visits.visit(netns, &key) {
            Ok(visit) => neighbors::dump(visit, netns, link, &key),
            Err(Error::NoSuch { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    fn observe_addresses(&self, netns: &Netns) -> Result<Vec<Object>> {
        let everything = Key::Link(netns.clone(), any_link());
        let mut visits = self.visits();
        let visit = visits.visit(netns, &everything)?;
        let mut objects = Vec::new();
        for (index, address) in addresses::dump(visit)? {
            if let Some(link) = visit.name_of(index, &everything)? {
                objects.push(Object::Address(Address {
                    netns: netns.clone(),
                    link,
                    address,
                }));
            }
        }
        Ok(objects)
    }

    fn number_of(&self, from: &Netns, other: &Netns) -> Result<Option<i32>> {
        let key = Key::Link(from.clone(), any_link());
        let mut visits = self.visits();
        let other = visits.descriptor(other, &key)?;
        links::number_of(visits.visit(from, &key)?, other.as_fd(), &key)
    }

    fn apply(&self, mark: &Mark, steps: &[Step]) -> Result<(), Failure> {
        apply::apply(&mut self.visits(), mark, steps)
    }

    fn host_routes(&self) -> Result<Vec<(Subnet, InterfaceName)>> {
        let mut visits = self.visits();
        let everything = Key::Link(Netns::Host, any_link());
        let visit = visits.visit(&Netns::Host, &everything)?;
        let mut routes = Vec::new();
        for found in routes::dump(visit)? {
            let on_link = found.gateway.is_none() && found.destination.prefix_len() > 0;
            if on_link && let Some(link) = visit.name_of(found.index, &everything)? {
                routes.push((found.destination, link));
            }
        }
        Ok(routes)
    }

    fn underlay_mtu(&self, address: IpAddr) -> Result<Option<u32>> {
        let mut visits = self.visits();
        let visit = visits.visit(&Netns::Host, &Key::Link(Netns::Host, any_link()))?;
        let addresses = addresses::dump(visit)?;
        let Some((index, _)) = addresses.into_iter().find(|(_, net)| net.addr() == address) else {
            return Ok(None);
        };
        let links = links::dump(visit, &Netns::Host)?;
        Ok(links
            .into_iter()
            .find(|link| link.index == index)
            .and_then(|link| link.mtu))
    }

    fn supports(&self, kind: crate::object::UpperKind) -> Result<bool> {
        let key = Key::Link(Netns::Host, any_link());
        let mut visits = self.visits();
        links::supports(visits.visit(&Netns::Host, &key)?, kind, &key)
    }

    fn is_shared(&self, bridge: &InterfaceName, node: NodeId) -> Result<bool> {
        let key = Key::Link(Netns::Host, bridge.clone());
        let mut visits = self.visits();
        let visit = visits.visit(&Netns::Host, &key)?;
        let Some(index) = visit.find_index(bridge, &key)? else {
            return Ok(false);
        };
        if let Some(known) = self.host.own.is_shared(index, node) {
            return Ok(known);
        }
        let mut segments = segments::Segments::default();
        for found in links::dump(visit, &Netns::Host)? {
            segments.put(found.index, found.master, &found.alias, found.group);
        }
        Ok(segments.is_shared(index, node))
    }

    fn missing(&self) -> Result<Vec<crate::modules::Missing>> {
        let missing = modules::missing().map_err(|source| Error::System {
            object: "the kernel".to_owned(),
            action: "looking for its parts",
            source,
        })?;
        let by_nftables = self.host.iptables.is_none();
        let matters = |missing: &crate::modules::Missing| by_nftables || !missing.module.is_of_nftables();
        Ok(missing.into_iter().filter(matters).collect())
    }

    fn holders(
        &self,
        link: &InterfaceName,
        addresses: &[IpAddr],
        rivals: crate::Rivals,
        limit: Duration,
    ) -> Result<BTreeMap<IpAddr, MacAddress>> {
        let key = Key::Link(Netns::Host, link.clone());
        let Some((link, worn)) = self.segment(link, &key)? else {
            return Ok(BTreeMap::new());
        };
        let (own, open): (Vec<_>, Vec<_>) = addresses.iter().partition(|address| worn.contains(*address));
        let found = probe::holders(self.host.descriptor.as_fd(), link, &open, rivals, limit);
        let mut holders = found.map_err(|source| Error::System {
            object: key.to_string(),
            action: "asking who has an address",
            source,
        })?;
        holders.extend(own.into_iter().map(|address| (address, link.mac)));
        Ok(holders)
    }

    fn converse(
        &self,
        datagram: &crate::Datagram,
        limit: Duration,
        accept: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<bool> {
        let key = Key::Link(datagram.netns.clone(), datagram.link.clone());
        let Some((netns, link)) = self.outlet(&datagram.netns, &datagram.link, &key)? else {
            return Ok(false);
        };
        datagrams::converse(netns.as_fd(), link, datagram, limit, accept).map_err(|source| Error::System {
            object: key.to_string(),
            action: "sending a datagram",
            source,
        })
    }

    fn routers_say(&self, netns: &Netns, link: &InterfaceName) -> Result<Option<crate::RoutersSay>> {
        let key = Key::Link(netns.clone(), link.clone());
        let mut visits = self.visits();
        match visits.visit(netns, &key) {
            Ok(visit) => links::routers_say(visit, link, &key),
            Err(Error::NoSuch { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn announce(&self, netns: &Netns, link: &InterfaceName, addresses: &[IpAddr]) -> Result<()> {
        let key = Key::Link(netns.clone(), link.clone());
        let Some((netns, link)) = self.outlet(netns, link, &key)? else {
            return Ok(());
        };
        probe::announce(netns.as_fd(), link, addresses).map_err(|source| Error::System {
            object: key.to_string(),
            action: "telling who has an address",
            source,
        })
    }

    fn hand_over(&self, handover: &crate::Handover) -> Result<()> {
        handover::hand_over(&mut self.visits(), handover)
    }

    fn watch(&self, tell: crate::damage::Tell) -> Result<crate::Watch> {
        monitor::start(&self.host.descriptor, &self.host.own, tell).map_err(|source| Error::System {
            object: "the host".to_owned(),
            action: "listening to what others change",
            source,
        })
    }

    fn watch_inside(&self, namespace: &Path, tell: Box<dyn Fn() + Send + Sync>) -> Result<crate::Watch> {
        let descriptor = netns::open(namespace)?;
        let host = self.host.descriptor.as_fd();
        let watch = self.host.insides.watch(host, descriptor.as_fd(), tell);
        watch.map_err(|source| Error::System {
            object: namespace.display().to_string(),
            action: "listening to what is taken away inside",
            source,
        })
    }

    fn sockets(&self, protocols: &[Protocol]) -> Result<Vec<HostSocket>> {
        traffic::sockets(self, protocols)
    }

    fn holder(&self, socket: &HostSocket) -> Option<Process> {
        sock_diag::holder(socket)
    }

    fn port_limits(&self) -> Result<PortLimits> {
        traffic::limits(self)
    }

    fn forget_flows(&self, dead: &[DeadFlows]) -> Result<usize> {
        traffic::forget(self, dead)
    }

    fn let_pass(
        &self,
        node: NodeId,
        bridges: Option<&BTreeSet<InterfaceName>>,
        polled_only: bool,
    ) -> Result<Vec<crate::Passage>> {
        let failed = |action| {
            move |source| Error::System {
                object: "other people's firewall".to_owned(),
                action,
                source,
            }
        };
        if polled_only && !passage::is_polled(&self.host).map_err(failed("looking for it"))? {
            return Ok(Vec::new());
        }
        let adopted = bridges.map(|bridges| self.adopted(node, bridges)).transpose()?;
        if let Some(iptables) = &self.host.iptables {
            let verified = iptables.verify(self.host.descriptor.as_fd(), adopted.as_ref(), polled_only);
            verified.map_err(|source| Error::System {
                object: "iptables".to_owned(),
                action: "looking at our rules",
                source,
            })?;
        }
        let asked = passage::Asked {
            node,
            bridges,
            adopted: adopted.as_ref(),
            polled_only,
        };
        passage::open(&self.host, &asked).map_err(failed("letting our packets pass it"))
    }

    fn gathered(&self) -> Result<()> {
        let Some(iptables) = &self.host.iptables else {
            return Ok(());
        };
        iptables
            .gathered(self.host.descriptor.as_fd())
            .map_err(|source| Error::System {
                object: "iptables".to_owned(),
                action: "bringing our rules about",
                source,
            })
    }

    fn settle(&self, limit: Duration) -> bool {
        self.host.removals.settle(limit)
    }
}

/// Looks one object up; sysctls are left for a visit of their own.
fn observe_one(visits: &mut Visits<'_>, key: &Key) -> Result<Option<Object>> {
    match key {
        Key::Namespace(path) => {
            let there = netns::open(path);
            Ok(there.map(|_| Some(Object::Namespace(path.clone())))?)
        }
        Key::Link(netns, name) => links::observe(visits.visit(netns, key)?, name, key),
        Key::Address(netns, link, address) => {
            addresses::observe(visits.visit(netns, key)?, netns, link, *address, key)
        }
        Key::Route(netns, destination) => {
            routes::observe(visits.visit(netns, key)?, netns, *destination, key)
        }
        Key::Neighbor(netns, link, address) => {
            neighbors::observe_neighbor(visits.visit(netns, key)?, netns, link, *address, key)
        }
        Key::Proxy(netns, link, address) => {
            neighbors::observe_proxy(visits.visit(netns, key)?, netns, link, *address, key)
        }
        Key::Fdb(netns, link, mac) => {
            neighbors::observe_fdb(visits.visit(netns, key)?, netns, link, *mac, key)
        }
        Key::Sysctl(..) => Ok(None),
        Key::Firewall(Netns::Host, item) if let Some(iptables) = &visits.host().iptables => {
            let found = iptables.observe(item);
            Ok(found.map(|item| Object::Firewall(Netns::Host, item)))
        }
        Key::Firewall(netns, item) => {
            let found = visits.visit(netns, key)?.firewall(key)?.observe(item);
            let found =
                found.map_err(|error| Error::from_errno(key, "looking it up", "such object", error, ""))?;
            Ok(found.map(|item| Object::Firewall(netns.clone(), item)))
        }
    }
}

/// For messages about a namespace's links as such.
fn any_link() -> InterfaceName {
    InterfaceName::new("lo").expect("a name that every namespace has")
}

#[cfg(test)]
mod tests;
