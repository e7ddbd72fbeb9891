//! The kernel from async code: every call on a thread of the blocking pool.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use kernel::{
    Kernel, KernelState, Mark, Netns, Object, Owner, Rivals, Survey,
    traffic::{DeadFlows, HostSocket, PortLimits, Process},
};
use model::{InterfaceName, IpNet, MacAddress, NodeId, Protocol};

use crate::error::{Error, Result};

/// A kernel, and whose objects are made.
#[derive(Debug, Clone)]
pub(crate) struct Worker {
    kernel: Arc<dyn Kernel>,
    node: NodeId,
}

impl Worker {
    pub(crate) fn new(kernel: Arc<dyn Kernel>, node: NodeId) -> Self {
        Self { kernel, node }
    }

    /// Brings the objects about, or changes nothing.
    pub(crate) async fn ensure(&self, owner: Owner, doing: &str, desired: KernelState) -> Result<()> {
        if desired.is_empty() {
            return Ok(());
        }
        let mark = self.mark(owner);
        self.run(doing, move |kernel| kernel::ensure(kernel, &mark, &desired))
            .await
    }

    /// Removes the objects; those that are gone are no error.
    pub(crate) async fn remove(&self, owner: Owner, doing: &str, objects: KernelState) -> Result<()> {
        if objects.is_empty() {
            return Ok(());
        }
        let mark = self.mark(owner);
        self.run(doing, move |kernel| kernel::remove(kernel, &mark, &objects))
            .await
    }

    /// Moves a link into another namespace.
    pub(crate) async fn hand_over(&self, doing: &str, handover: kernel::Handover) -> Result<()> {
        self.run(doing, move |kernel| kernel.hand_over(&handover)).await
    }

    /// Which of these objects are there.
    pub(crate) async fn observe(&self, doing: &str, keys: Vec<kernel::Key>) -> Result<KernelState> {
        self.run(doing, move |kernel| kernel.observe(&keys)).await
    }

    /// Every link and firewall object of this daemon in a namespace; none if there is no such namespace.
    pub(crate) async fn observe_owned(&self, doing: &str, netns: Netns) -> Result<Vec<(Mark, Object)>> {
        let node = self.node;
        self.run(doing, move |kernel| match kernel.observe_owned(&netns, node) {
            Err(kernel::Error::NoSuch { .. }) => Ok(Vec::new()),
            answer => answer,
        })
        .await
    }

    /// Everything of ours on the host, looked at once.
    pub(crate) async fn survey(&self, doing: &str) -> Result<Arc<Survey>> {
        let node = self.node;
        self.run(doing, move |kernel| Survey::of_host(kernel, node).map(Arc::new))
            .await
    }

    /// Lets packets of our bridges pass other people's rules, and answers where it had to.
    pub(crate) async fn let_pass(
        &self,
        bridges: Option<BTreeSet<InterfaceName>>,
        polled_only: bool,
    ) -> Result<Vec<kernel::Passage>> {
        let node = self.node;
        self.run("letting our packets pass other people's rules", move |kernel| {
            kernel.let_pass(node, bridges.as_ref(), polled_only)
        })
        .await
    }

    /// Everything that should be there has been asked for since the start.
    pub(crate) async fn gathered(&self) -> Result<()> {
        self.run("ending what a process before this one left", |kernel| {
            kernel.gathered()
        })
        .await
    }

    /// Has damage told of, until the answer is dropped.
    pub(crate) async fn watch(&self, tell: kernel::damage::Tell) -> Result<kernel::Watch> {
        self.run("listening to what others change", move |kernel| {
            kernel.watch(tell)
        })
        .await
    }

    /// Hears what somebody takes away inside of a namespace.
    pub(crate) async fn watch_inside(
        &self,
        namespace: PathBuf,
        tell: Box<dyn Fn() + Send + Sync>,
    ) -> Result<kernel::Watch> {
        self.run("listening to what is taken away in the sandbox", move |kernel| {
            kernel.watch_inside(&namespace, tell)
        })
        .await
    }

    /// Whether all of this is there.
    pub(crate) async fn holds(&self, doing: &str, wanted: KernelState) -> Result<bool> {
        self.run(doing, move |kernel| kernel::holds(kernel, &wanted))
            .await
    }

    /// The MTU of the link that wears an address.
    #[allow(dead_code)]
    pub(crate) async fn underlay_mtu(&self, address: IpAddr) -> Result<Option<u32>> {
        self.run("reading the underlay's MTU", move |kernel| {
            kernel.underlay_mtu(address)
        })
        .await
    }

    /// Parts of the kernel that are not there.
    pub(crate) async fn missing(&self) -> Result<Vec<kernel::modules::Missing>> {
        self.run("looking for parts of the kernel", |kernel| kernel.missing())
            .await
    }

    /// Who has which of these addresses on the segment of a bridge that isn't ours alone; none asked where it is.
    pub(crate) async fn strangers(
        &self,
        bridge: InterfaceName,
        addresses: Vec<IpAddr>,
        limit: Duration,
    ) -> Result<BTreeMap<IpAddr, MacAddress>> {
        let node = self.node;
        self.run("asking who has an address", move |kernel| {
            match kernel.is_shared(&bridge, node)? {
                true => kernel.holders(&bridge, &addresses, Rivals::Count, limit),
                false => Ok(BTreeMap::new()),
            }
        })
        .await
    }

    /// The same on a segment that others are known to be on.
    pub(crate) async fn others(
        &self,
        link: InterfaceName,
        addresses: Vec<IpAddr>,
        rivals: Rivals,
        limit: Duration,
    ) -> Result<BTreeMap<IpAddr, MacAddress>> {
        self.run("asking who has an address", move |kernel| {
            kernel.holders(&link, &addresses, rivals, limit)
        })
        .await
    }

    /// Sends a datagram, and answers the first reply that is taken for one within `limit`.
    pub(crate) async fn converse<T: Send + 'static>(
        &self,
        datagram: kernel::Datagram,
        limit: Duration,
        mut take: impl FnMut(&[u8]) -> Option<T> + Send + 'static,
    ) -> Result<Option<T>> {
        self.run("asking on the segment", move |kernel| {
            let mut taken = None;
            kernel.converse(&datagram, limit, &mut |reply| {
                taken = take(reply);
                taken.is_some()
            })?;
            Ok(taken)
        })
        .await
    }

    /// What the routers of a link's segment last said.
    pub(crate) async fn routers_say(
        &self,
        netns: Netns,
        link: InterfaceName,
    ) -> Result<Option<kernel::RoutersSay>> {
        self.run("looking at an interface", move |kernel| {
            kernel.routers_say(&netns, &link)
        })
        .await
    }

    /// Tells a segment who has these addresses now.
    pub(crate) async fn announce(
        &self,
        netns: Netns,
        link: InterfaceName,
        addresses: Vec<IpAddr>,
    ) -> Result<()> {
        self.run("telling who has an address", move |kernel| {
            kernel.announce(&netns, &link, &addresses)
        })
        .await
    }

    /// The addresses of a link, without those of the link alone; none if its namespace is gone.
    pub(crate) async fn addresses_of(&self, netns: Netns, link: InterfaceName) -> Result<Vec<IpNet>> {
        self.run("looking at an interface", move |kernel| {
            let found = match kernel.observe_addresses(&netns) {
                Err(kernel::Error::NoSuch { .. }) => Vec::new(),
                found => found?,
            };
            let here = found.into_iter().filter_map(|object| match object {
                Object::Address(on) if on.link == link => Some(on.address),
                _ => None,
            });
            Ok(here.collect())
        })
        .await
    }

    /// Sockets of the host's processes, and which ports it chooses from.
    pub(crate) async fn host_ports(&self, protocols: Vec<Protocol>) -> Result<(Vec<HostSocket>, PortLimits)> {
        self.run("looking at the host's ports", move |kernel| {
            Ok((kernel.sockets(&protocols)?, kernel.port_limits()?))
        })
        .await
    }

    /// Every address of a namespace, with the link that wears it.
    pub(crate) async fn addresses(&self, doing: &str, netns: Netns) -> Result<Vec<(InterfaceName, IpNet)>> {
        self.run(doing, move |kernel| {
            let found = kernel.observe_addresses(&netns)?;
            let worn = found.into_iter().filter_map(|object| match object {
                Object::Address(on) => Some((on.link, on.address)),
                _ => None,
            });
            Ok(worn.collect())
        })
        .await
    }

    /// Every address of the host.
    pub(crate) async fn host_addresses(&self) -> Result<BTreeSet<IpAddr>> {
        self.run("looking at the host's addresses", |kernel| {
            let found = kernel.observe_addresses(&Netns::Host)?;
            let addresses = found.into_iter().filter_map(|object| match object {
                Object::Address(on) => Some(on.address.addr()),
                _ => None,
            });
            Ok(addresses.collect())
        })
        .await
    }

    /// The process that has a socket.
    pub(crate) async fn holder(&self, socket: HostSocket) -> Result<Option<Process>> {
        self.run("looking for a socket's process", move |kernel| {
            Ok(kernel.holder(&socket))
        })
        .await
    }

    /// Has connection tracking forget flows.
    pub(crate) async fn forget_flows(&self, dead: Vec<DeadFlows>) -> Result<usize> {
        self.run("forgetting flows", move |kernel| kernel.forget_flows(&dead))
            .await
    }

    fn mark(&self, owner: Owner) -> Mark {
        Mark {
            node: self.node,
            owner,
        }
    }

    async fn run<T: Send + 'static>(
        &self,
        doing: &str,
        call: impl FnOnce(&dyn Kernel) -> kernel::Result<T> + Send + 'static,
    ) -> Result<T> {
        let kernel = Arc::clone(&self.kernel);
        match tokio::task::spawn_blocking(move || call(&*kernel)).await {
            Ok(answer) => answer.map_err(|error| Error::internal(doing, error)),
            Err(panic) => Err(Error::internal(doing, panic)),
        }
    }
}
