//! A kernel in memory that obeys Linux's rules and fails on demand.
//!
//! What it may do is what the contract proves of both; it learns no trick that the contract doesn't test.

mod datagrams;
mod gate;
mod handover;
mod rules;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::IpAddr,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use model::{InterfaceName, MacAddress, NodeId, PortRange, Protocol, Subnet};

use self::{gate::Gate, rules::World};
use crate::{
    Datagram, Error, Failure, Kernel, KernelState, Key, Mark, Netns, Object, Result, Step,
    modules::Missing,
    object::Link,
    traffic::{DeadFlows, Flow, HostSocket, PortLimits, Process},
};

/// A kernel for tests: a host with a loopback and nothing else.
#[derive(Debug)]
pub struct FakeKernel {
    inner: Mutex<Inner>,
    /// Who walks over the flows comes through here.
    flows: Gate,
    /// And who waits for a segment's answers.
    answers: Gate,
}

#[derive(Debug, Default)]
struct Inner {
    world: World,
    steps: usize,
    observed: usize,
    failing: Failing,
    sockets: Vec<(HostSocket, Process)>,
    flows: Vec<Flow>,
    walks: usize,
    strangers: BTreeMap<IpAddr, MacAddress>,
    asked: Vec<IpAddr>,
    missing: Vec<Missing>,
    server: datagrams::Server,
    routers: Option<crate::RoutersSay>,
    announced: Vec<(Netns, IpAddr)>,
}

/// Which steps fail, counted from the call that says so.
#[derive(Debug, Default)]
enum Failing {
    #[default]
    None,
    /// That one, once.
    At(usize),
    /// That one and all that follow.
    From(usize),
}

impl Default for FakeKernel {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeKernel {
    /// One with nothing but the host's loopback.
    pub fn new() -> Self {
        Self {
            inner: Mutex::new(Inner {
                world: World::new(),
                ..Inner::default()
            }),
            flows: Gate::default(),
            answers: Gate::default(),
        }
    }

    /// Puts an object there without any rule, as somebody else would have made it: it bears no mark.
    pub fn put(&self, object: Object) {
        self.inner().world.put(object);
    }

    /// Takes an object away with all that the kernel takes along, as somebody else would.
    pub fn take(&self, key: &Key) {
        self.inner().world.take(key);
    }

    /// Lets a process of the host open a socket.
    pub fn listen(&self, socket: HostSocket, process: Process) {
        self.inner().sockets.push((socket, process));
    }

    /// These parts are not there.
    pub fn lack(&self, missing: Vec<Missing>) {
        self.inner().missing = missing;
    }

    /// Lets a machine on every segment have an address.
    pub fn put_stranger(&self, address: IpAddr, mac: MacAddress) {
        self.inner().strangers.insert(address, mac);
    }

    /// Nobody on any segment has the address any more.
    pub fn take_stranger(&self, address: IpAddr) {
        self.inner().strangers.remove(&address);
    }

    /// Addresses that were asked for on a segment so far.
    pub fn asked(&self) -> Vec<IpAddr> {
        self.inner().asked.clone()
    }

    /// Lets a server on every segment answer datagrams: what it says to each, in order.
    pub fn serve(&self, answer: impl FnMut(&Datagram) -> Vec<Vec<u8>> + Send + 'static) {
        self.inner().server.answer = Some(Box::new(answer));
    }

    /// What the routers of every segment say from now on.
    pub fn have_routers_say(&self, what: Option<crate::RoutersSay>) {
        self.inner().routers = what;
    }

    /// Datagrams that were sent so far.
    pub fn said(&self) -> Vec<Datagram> {
        self.inner().server.heard.clone()
    }

    /// Addresses that everybody was told of so far, with where they are.
    pub fn announced(&self) -> Vec<(Netns, IpAddr)> {
        self.inner().announced.clone()
    }

    /// Lets a flow be remembered.
    pub fn put_flow(&self, flow: Flow) {
        self.inner().flows.push(flow);
    }

    /// The flows that are remembered.
    pub fn flows(&self) -> Vec<Flow> {
        self.inner().flows.clone()
    }

    /// Lets whoever wants flows forgotten wait, until told otherwise.
    pub fn hold_flows(&self, hold: bool) {
        self.flows.hold(hold);
    }

    /// Lets whoever asks a segment wait for its answers, until told otherwise.
    pub fn hold_answers(&self, hold: bool) {
        self.answers.hold(hold);
    }

    /// How often flows were looked through so far, or are.
    pub fn walks(&self) -> usize {
        self.inner().walks
    }

    /// Everything there is: what a test compares to see that nothing was left behind.
    pub fn state(&self) -> KernelState {
        self.inner().world.objects.clone()
    }

    /// The mark of an object, if it was made with one.
    pub fn mark_of(&self, key: &Key) -> Option<Mark> {
        self.inner().world.marks.get(key).copied()
    }

    /// How many steps were carried out so far.
    pub fn steps(&self) -> usize {
        self.inner().steps
    }

    /// How many objects were looked up so far.
    pub fn observed(&self) -> usize {
        self.inner().observed
    }

    /// Lets the `n`th step from now fail (0 is the next), once.
    pub fn fail_at(&self, n: usize) {
        self.inner().failing = Failing::At(n);
    }

    /// Lets the `n`th step from now and all that follow fail, until [`FakeKernel::heal`].
    pub fn fail_from(&self, n: usize) {
        self.inner().failing = Failing::From(n);
    }

    /// No step fails any more. Answers whether the failure asked for is still to come, so that a test that fails a
    /// operation at each step knows when there are no more.
    pub fn heal(&self) -> bool {
        match std::mem::take(&mut self.inner().failing) {
            Failing::None => false,
            Failing::At(_) | Failing::From(_) => true,
        }
    }

    /// The namespaces that are pinned.
    pub fn namespaces(&self) -> BTreeSet<PathBuf> {
        let state = self.state();
        state
            .keys()
            .filter_map(|key| match key {
                Key::Namespace(path) => Some(path.clone()),
                _ => None,
            })
            .collect()
    }

    /// A link as it is now.
    pub fn link(&self, netns: &Netns, name: &str) -> Option<Link> {
        let name = InterfaceName::new(name).ok()?;
        match self.inner().world.objects.get(&Key::Link(netns.clone(), name)) {
            Some(Object::Link(link)) => Some(link.clone()),
            _ => None,
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Whether the step that is about to be carried out is to fail.
    fn trip(&mut self) -> bool {
        match &mut self.failing {
            Failing::None => false,
            Failing::At(0) => {
                self.failing = Failing::None;
                true
            }
            Failing::From(0) => true,
            Failing::At(n) | Failing::From(n) => {
                *n -= 1;
                false
            }
        }
    }

    fn step(&mut self, mark: &Mark, step: &Step) -> Result<()> {
        if self.trip() {
            return Err(broken(step));
        }
        self.steps += 1;
        self.world.step(mark, step)
    }

    /// All firewall steps of one namespace, or none.
    fn transaction(&mut self, mark: &Mark, steps: &[Step]) -> Result<(), (usize, Error)> {
        if let Some(at) = (0..steps.len()).find(|_| self.trip()) {
            return Err((at, broken(&steps[at])));
        }
        self.steps += steps.len();
        self.world.transaction(mark, steps)
    }
}

fn broken(step: &Step) -> Error {
    Error::System {
        object: step.object().key().to_string(),
        action: "the step that a test wants to fail",
        source: io::Error::other("broken on demand"),
    }
}

fn firewall_of(step: &Step) -> Option<Netns> {
    match step.object() {
        Object::Firewall(netns, _) => Some(netns.clone()),
        _ => None,
    }
}

impl Kernel for FakeKernel {
    fn observe(&self, keys: &[Key]) -> Result<KernelState> {
        let mut inner = self.inner();
        inner.observed += keys.len();
        Ok(keys.iter().filter_map(|key| inner.world.observe(key)).collect())
    }

    fn observe_owned(&self, netns: &Netns, node: NodeId) -> Result<Vec<(Mark, Object)>> {
        let inner = self.inner();
        let marked = inner.world.marks.iter();
        let ours = marked.filter(|(key, mark)| mark.node == node && key.netns() == *netns);
        Ok(ours
            .filter(|(key, _)| matches!(key, Key::Link(..) | Key::Firewall(..)))
            .filter_map(|(key, mark)| Some((*mark, inner.world.objects.get(key)?.clone())))
            .collect())
    }

    fn observe_entries(&self, netns: &Netns, link: &InterfaceName) -> Result<Vec<Object>> {
        let inner = self.inner();
        let of_link = |object: &&Object| match object {
            Object::Neighbor(o) => o.netns == *netns && o.link == *link,
            Object::Fdb(o) => o.netns == *netns && o.link == *link,
            _ => false,
        };
        Ok(inner.world.objects.objects().filter(of_link).cloned().collect())
    }

    fn observe_addresses(&self, netns: &Netns) -> Result<Vec<Object>> {
        let inner = self.inner();
        let here = |object: &&Object| matches!(object, Object::Address(o) if o.netns == *netns);
        Ok(inner.world.objects.objects().filter(here).cloned().collect())
    }

    /// Everything here is known by its path.
    fn number_of(&self, _from: &Netns, _other: &Netns) -> Result<Option<i32>> {
        Ok(None)
    }

    fn apply(&self, mark: &Mark, steps: &[Step]) -> Result<(), Failure> {
        let mut inner = self.inner();
        let mut done = Vec::new();
        let mut at = 0;
        while at < steps.len() {
            let Some(netns) = firewall_of(&steps[at]) else {
                match inner.step(mark, &steps[at]) {
                    Ok(()) => done.push(at),
                    Err(error) => {
                        return Err(Failure {
                            done,
                            failed: at,
                            error,
                        });
                    }
                }
                at += 1;
                continue;
            };
            let run = steps[at..]
                .iter()
                .take_while(|step| firewall_of(step).as_ref() == Some(&netns))
                .count();
            match inner.transaction(mark, &steps[at..at + run]) {
                Ok(()) => done.extend(at..at + run),
                Err((which, error)) => {
                    return Err(Failure {
                        done,
                        failed: at + which,
                        error,
                    });
                }
            }
            at += run;
        }
        Ok(())
    }

    fn host_routes(&self) -> Result<Vec<(Subnet, InterfaceName)>> {
        let inner = self.inner();
        let on_link = inner.world.objects.objects().filter_map(|object| match object {
            Object::Address(o) if o.netns == Netns::Host && o.link.as_str() != "lo" => {
                Some((Subnet::around(o.address), o.link.clone()))
            }
            Object::Route(o) if o.netns == Netns::Host && o.gateway.is_none() => {
                Some((o.destination, o.link.clone()))
            }
            _ => None,
        });
        Ok(on_link.collect())
    }

    fn underlay_mtu(&self, address: IpAddr) -> Result<Option<u32>> {
        let inner = self.inner();
        let objects = &inner.world.objects;
        let link = objects.objects().find_map(|object| match object {
            Object::Address(o) if o.netns == Netns::Host && o.address.addr() == address => Some(&o.link),
            _ => None,
        });
        let found = link.and_then(|link| objects.get(&Key::Link(Netns::Host, link.clone())));
        Ok(match found {
            Some(Object::Link(link)) => link.mtu.or(Some(1500)),
            _ => None,
        })
    }

    fn missing(&self) -> Result<Vec<Missing>> {
        Ok(self.inner().missing.clone())
    }

    fn is_shared(&self, bridge: &InterfaceName, node: NodeId) -> Result<bool> {
        let inner = self.inner();
        let is_strange = |key: &Key, object: &Object| match object {
            Object::Link(link) if link.netns == Netns::Host && link.master.as_ref() == Some(bridge) => {
                inner.world.marks.get(key).is_none_or(|mark| mark.node != node)
            }
            _ => false,
        };
        let mut objects = inner.world.objects.objects();
        Ok(objects.any(|object| is_strange(&object.key(), object)))
    }

    fn holders(
        &self,
        _link: &InterfaceName,
        addresses: &[IpAddr],
        _rivals: crate::Rivals,
        _limit: Duration,
    ) -> Result<BTreeMap<IpAddr, MacAddress>> {
        self.inner().asked.extend(addresses);
        self.answers.pass();
        let inner = self.inner();
        let strangers = inner.strangers.iter();
        let known = strangers.filter(|(address, _)| addresses.contains(address));
        Ok(known.map(|(address, mac)| (*address, *mac)).collect())
    }

    fn routers_say(&self, _netns: &Netns, _link: &InterfaceName) -> Result<Option<crate::RoutersSay>> {
        Ok(self.inner().routers)
    }

    fn converse(
        &self,
        datagram: &Datagram,
        _limit: Duration,
        accept: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<bool> {
        let mut inner = self.inner();
        if inner.trip() {
            return Err(Error::System {
                object: datagram.link.to_string(),
                action: "the step that a test wants to fail",
                source: io::Error::other("broken on demand"),
            });
        }
        inner.steps += 1;
        let link = Key::Link(datagram.netns.clone(), datagram.link.clone());
        if inner.world.observe(&link).is_none() {
            return Ok(false);
        }
        let answers = inner.server.hear(datagram);
        drop(inner);
        Ok(answers.iter().any(|answer| accept(answer)))
    }

    fn announce(&self, netns: &Netns, _link: &InterfaceName, addresses: &[IpAddr]) -> Result<()> {
        let told = addresses.iter().map(|address| (netns.clone(), *address));
        self.inner().announced.extend(told);
        Ok(())
    }

    fn hand_over(&self, handover: &crate::Handover) -> Result<()> {
        let mut inner = self.inner();
        if inner.trip() {
            return Err(Error::System {
                object: handover.link.to_string(),
                action: "the step that a test wants to fail",
                source: io::Error::other("broken on demand"),
            });
        }
        inner.steps += 1;
        inner.world.hand_over(handover)
    }

    fn sockets(&self, protocols: &[Protocol]) -> Result<Vec<HostSocket>> {
        let inner = self.inner();
        let sockets = inner.sockets.iter().map(|(socket, _)| *socket);
        Ok(sockets
            .filter(|socket| protocols.contains(&socket.protocol))
            .collect())
    }

    fn holder(&self, socket: &HostSocket) -> Option<Process> {
        let inner = self.inner();
        let found = inner.sockets.iter().find(|(known, _)| known == socket);
        found.map(|(_, process)| process.clone())
    }

    fn port_limits(&self) -> Result<PortLimits> {
        Ok(PortLimits {
            ephemeral: PortRange::new(32768, 60999).expect("two numbers in order"),
            reserved: Vec::new(),
        })
    }

    fn forget_flows(&self, dead: &[DeadFlows]) -> Result<usize> {
        self.inner().walks += 1;
        self.flows.pass();
        let mut inner = self.inner();
        let before = inner.flows.len();
        inner
            .flows
            .retain(|flow| !dead.iter().any(|dead| dead.matches(flow, |_| true)));
        Ok(before - inner.flows.len())
    }

    fn settle(&self, _limit: Duration) -> bool {
        true
    }
}

#[cfg(test)]
mod tests;
