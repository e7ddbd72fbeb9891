//! Linux networking as data: observe, plan, apply.
//!
//! A caller says what objects should be; [`plan`] is the pure difference to what is; [`ensure`] closes the gap and walks
//! back on failure. Synchronous throughout and free of tokio: a namespace belongs to a thread, and sync code can't
//! migrate. Callers run it on a small pool of blocking workers.
//!
//! To add a kind of object: `object.rs`, a file in `linux/`, a row in `fake.rs` and in `contract.rs`.

#[cfg(test)]
mod contract;
pub mod damage;
mod ensure;
mod error;
#[cfg(any(test, feature = "fake"))]
mod fake;
pub mod linux;
pub mod modules;
pub mod object;
pub mod owner;
pub mod passage;
mod plan;
mod rivals;
pub mod ruleset;
pub mod state;
mod survey;
pub mod traffic;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    path::Path,
    time::Duration,
};

use model::{InterfaceName, MacAddress, NodeId, Protocol, Subnet};

pub use damage::{Damage, Watch};
pub use ensure::{ensure, ensure_surveyed, exchange, holds, remove};
pub use error::{Error, Failure, Result};
#[cfg(any(test, feature = "fake"))]
pub use fake::FakeKernel;
pub use linux::{Linux, netns, users};
pub use object::{Key, Netns, Object};
pub use owner::{Mark, Owner};
pub use passage::Passage;
pub use plan::{Step, plan};
pub use rivals::Rivals;
pub use state::KernelState;
pub use survey::Survey;
use traffic::{DeadFlows, HostSocket, PortLimits, Process};

/// A link that goes from one namespace into another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handover {
    /// Where it is.
    pub from: Netns,
    /// What it is called there.
    pub link: InterfaceName,
    /// Where it goes.
    pub to: Netns,
    /// What it is called there.
    pub name: InterfaceName,
    /// Its Ethernet address from then on; none leaves what it has.
    pub mac: Option<MacAddress>,
}

/// A datagram of a protocol whose clients may have no address yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    /// Where its link is.
    pub netns: Netns,
    /// The link it goes out of.
    pub link: InterfaceName,
    /// The link's own address that it comes from; none to send from nobody to everybody. IPv6 always has one, and the
    /// kernel chooses it.
    pub from: Option<Ipv4Addr>,
    /// Where it goes; with nobody as its sender, to everybody.
    pub to: IpAddr,
    /// The port it comes from, and answers go to.
    pub own_port: u16,
    /// The port it goes to.
    pub port: u16,
    /// What is in it.
    pub payload: Vec<u8>,
}

/// What router advertisements say of a segment (RFC 4861, section 4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoutersSay {
    /// Addresses are to be had from a DHCPv6 server.
    pub managed: bool,
}

/// A kernel: Linux, or the fake that obeys the same rules.
///
/// Callers rarely need [`Kernel::apply`]: [`ensure`] and [`remove`] are made of it. All methods block.
pub trait Kernel: Send + Sync + std::fmt::Debug {
    /// Looks up the objects of these keys, each with a get of its own. What isn't there is left out, also when its
    /// link or namespace isn't there.
    fn observe(&self, keys: &[Key]) -> Result<KernelState>;

    /// Every link and firewall object of this node in a namespace, by its marks. A dump: for start-up, timers and sweeps only. A link whose
    /// maker died before it could write down more than the group has the owner [`Owner::Host`]; its name tells more.
    fn observe_owned(&self, netns: &Netns, node: NodeId) -> Result<Vec<(Mark, Object)>>;

    /// Every static neighbour and forwarding entry of a link: those that somebody made and the kernel won't forget. None
    /// if there is no such link or namespace.
    fn observe_entries(&self, netns: &Netns, link: &InterfaceName) -> Result<Vec<Object>>;

    /// Every address of a namespace, whoever put it there. A dump, like [`Kernel::observe_owned`].
    fn observe_addresses(&self, netns: &Netns) -> Result<Vec<Object>>;

    /// The number that one namespace has for another, as in [`Netns::Numbered`]; none if it has none, and so no link that
    /// leads there.
    fn number_of(&self, from: &Netns, other: &Netns) -> Result<Option<i32>>;

    /// Carries out steps in order, with all consecutive firewall steps of a namespace in one transaction.
    ///
    /// Creating is exclusive: what is there already is [`Error::Exists`]. Removing what isn't there is no error; removing
    /// a link that isn't this node's does nothing (it was adopted). Stops at the first failure and says which steps
    /// were done. A bridge's removal goes on in the background once its name is free: see [`Kernel::settle`].
    fn apply(&self, mark: &Mark, steps: &[Step]) -> Result<(), Failure>;

    /// On-link routes of the host, with the links they leave by: subnets that a new network must not overlap.
    fn host_routes(&self) -> Result<Vec<(Subnet, InterfaceName)>>;

    /// The MTU of the host's link that carries this address: what a tunnel over it can use. None if no link does.
    fn underlay_mtu(&self, address: IpAddr) -> Result<Option<u32>>;

    /// Whether it has this kind of links on top of others. May load a module; makes nothing.
    fn supports(&self, _kind: object::UpperKind) -> Result<bool> {
        Ok(true)
    }

    /// Whether others than this node have ports in a bridge of the host: behind them may be anybody, with any address.
    fn is_shared(&self, _bridge: &InterfaceName, _node: NodeId) -> Result<bool> {
        Ok(false)
    }

    /// Parts of the kernel that networks are made of and that are not there. It may take some milliseconds.
    fn missing(&self) -> Result<Vec<modules::Missing>> {
        Ok(Vec::new())
    }

    /// Who has which of these addresses on the segment of a link of the host, as far as anybody answers within `limit`; the
    /// host itself has what its links wear. Waits that long unless all of them are had by somebody.
    fn holders(
        &self,
        _link: &InterfaceName,
        _addresses: &[IpAddr],
        _rivals: Rivals,
        _limit: Duration,
    ) -> Result<BTreeMap<IpAddr, MacAddress>> {
        Ok(BTreeMap::new())
    }

    /// Sends a datagram out of a link, and lets `accept` see what comes back to its port until it has what it wants or the
    /// time is over: whether it did. Without time nothing is waited for. A link that is down or gone leads to nobody.
    fn converse(
        &self,
        _datagram: &Datagram,
        _limit: Duration,
        _accept: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<bool> {
        Ok(false)
    }

    /// What the routers of a link's segment last said, as far as the kernel listens to them there. None while nobody has said
    /// anything.
    fn routers_say(&self, _netns: &Netns, _link: &InterfaceName) -> Result<Option<RoutersSay>> {
        Ok(None)
    }

    /// Tells everybody on the segment of a link which Ethernet address has these addresses now, whatever they believed
    /// (RFC 5227, RFC 4861). A link that is down or gone tells nobody.
    fn announce(&self, _netns: &Netns, _link: &InterfaceName, _addresses: &[IpAddr]) -> Result<()> {
        Ok(())
    }

    /// Moves a link into another namespace under a new name, and may give it another Ethernet address. It comes out down and
    /// without addresses. One that is there already is no error.
    fn hand_over(&self, handover: &Handover) -> Result<()>;

    /// Tells of damage that others do to what is ours in the host's namespace, until the answer is dropped. A signal only:
    /// a kernel may announce nothing, or lose an announcement, and the timer is still needed.
    fn watch(&self, _tell: damage::Tell) -> Result<Watch> {
        Ok(Watch::nothing())
    }

    /// Tells when somebody takes routes, addresses or rules away inside of a namespace, until the answer is dropped, which
    /// has to be before the namespace is to end. A signal only, too.
    fn watch_inside(&self, _namespace: &Path, _tell: Box<dyn Fn() + Send + Sync>) -> Result<Watch> {
        Ok(Watch::nothing())
    }

    /// Sockets of the host's processes that take a port of these protocols. One dump for each protocol and family.
    fn sockets(&self, protocols: &[Protocol]) -> Result<Vec<HostSocket>>;

    /// The process that has a socket; none if it is gone. A walk through /proc: for errors only.
    fn holder(&self, socket: &HostSocket) -> Option<Process>;

    /// Which ports the host chooses from where nobody names one.
    fn port_limits(&self) -> Result<PortLimits>;

    /// Makes the host's connection tracking forget flows, all of them in one pass, and answers how many there were.
    fn forget_flows(&self, dead: &[DeadFlows]) -> Result<usize>;

    /// Lets packets of these bridges pass other people's rules (see [`passage`]); with none given, no longer. For start,
    /// timers, and when others' tables changed; it may run programs. Answers where it had to. With `polled_only` only of
    /// those tables whose changes nobody announces.
    fn let_pass(
        &self,
        _node: NodeId,
        _bridges: Option<&BTreeSet<InterfaceName>>,
        _polled_only: bool,
    ) -> Result<Vec<Passage>> {
        Ok(Vec::new())
    }

    /// Everything that should be there has been asked for since the start: what a process before this one left beyond it
    /// may go. Only a kernel that keeps objects back until then has anything to do.
    fn gathered(&self) -> Result<()> {
        Ok(())
    }

    /// Waits until removals that went on in the background are done; false if they aren't within `limit`.
    fn settle(&self, limit: Duration) -> bool;
}
