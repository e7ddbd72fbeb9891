//! How networks are made: one trait, and the drivers `null`, `host`, `bridge`, `macvlan`, `ipvlan` and `overlay`.
//!
//! A driver owns no storage: records come in, kernel objects or answers go out. Verbs are idempotent: calling again
//! repairs. To add a built-in driver, write a [`Planner`] (pure: records to kernel objects) and name it in the catalog.
#![forbid(unsafe_code)]

pub mod bridge;
mod catalog;
#[cfg(test)]
mod contract;
mod host;
pub mod ipvlan;
#[cfg(test)]
mod lab;
pub mod macvlan;
mod null;
mod options;
pub mod overlay;
mod parent;
mod planned;
mod planner;
pub mod remote;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod served;
mod view;

use std::sync::Arc;

use async_trait::async_trait;
use model::{Endpoint, InterfaceName, IpNet, MacAddress, Network, Scope};

pub use catalog::{BuiltIn, HostSettings, VXLAN_PORT};
pub use host::Host;
pub use model::StaticRoute;
pub use null::Null;
pub use planned::Planned;
pub use planner::{Planner, desired};
pub use plugin_proto::Error as PluginError;
pub use remote::KnownHost;
pub use view::{
    Access, Attachment, Capabilities, Draft, Link, LinkAccess, Local, Needs, NetworkView, Peer, Target,
};

/// Why a driver refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request is wrong: a bad option, a subnet it can't use. Becomes 400.
    #[error("{message}")]
    Invalid {
        /// What is wrong.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// Right but not allowed here (a second `host` network, deleting `none`). Becomes 403.
    #[error("{message}")]
    Forbidden {
        /// What is not allowed.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// A plugin is not there, does not answer, or refuses. Becomes 404 when it is not there, else 500.
    #[error(transparent)]
    Plugin(#[from] plugin_proto::Error),
    /// The kernel refused; what was half made is undone.
    #[error("{doing}")]
    Kernel {
        /// What the driver was doing, e.g. `creating bridge br-3f2a`.
        doing: String,
        /// What the kernel layer said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A `Result` with a driver's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The verbs of the Container Network Model.
#[async_trait]
pub trait Driver: Send + Sync + std::fmt::Debug {
    /// What it can do at all.
    fn capabilities(&self) -> Capabilities;

    /// Is this network valid, and what must be allocated for it? Touches nothing.
    async fn check(&self, draft: &Draft<'_>) -> Result<Needs>;

    /// Prefix of interface names inside a sandbox; the controller adds the next free number.
    fn interface_prefix(&self, _network: &Network) -> String {
        options::prefix_or_usual(None)
    }

    /// Makes what the network itself needs on this host (bridge, VXLAN link, chains).
    async fn create_network(&self, network: &Network) -> Result<()>;

    /// Removes it. Returns when the names and addresses are free again; slow rests go on in the background.
    async fn delete_network(&self, network: &Network) -> Result<()>;

    /// Makes the endpoint's interface and connects it: the veth is made inside the target in one request.
    async fn join(&self, network: &Network, endpoint: &Endpoint, target: &Target) -> Result<Attachment>;

    /// Removes it again. An interface that is gone with its namespace is no error.
    async fn leave(&self, network: &Network, endpoint: &Endpoint, target: &Target) -> Result<()>;

    /// Forgets an endpoint that has left; what it had on the host is there again. Only plugins know endpoints beyond that.
    async fn delete_endpoint(&self, _network: &Network, _endpoint: &Endpoint) -> Result<()> {
        Ok(())
    }

    /// The endpoint is joined and let in: asks how it does. Whoever wants to know finds it in the log.
    async fn oper_info(&self, _network: &Network, _endpoint: &Endpoint) -> Result<()> {
        Ok(())
    }

    /// Lets `access` in and nothing else: what led to the endpoint before and is not in it no longer does. Called when
    /// ports are published or given back, and when another endpoint becomes the sandbox's gateway. The caller takes it
    /// back before `leave`.
    async fn publish(
        &self,
        _network: &Network,
        _endpoint: &Endpoint,
        _before: &Access,
        _access: &Access,
    ) -> Result<()> {
        Ok(())
    }

    /// Endpoints of other hosts went or came. Only global-scope drivers care.
    async fn peers_changed(&self, _network: &Network, _gone: &[Peer], _come: &[Peer]) -> Result<()> {
        Ok(())
    }

    /// Brings the kernel to exactly what the view says, and removes what this network's owners have beyond it. For
    /// daemon start, the timer and a flushed firewall; equals the verbs above applied to every record.
    async fn repair(&self, view: &NetworkView) -> Result<()>;

    /// The same driver for a walk over many networks that live on: it compares with what `survey` saw of the host instead
    /// of looking at each. None for a driver that does not look.
    fn knowing(&self, _survey: &Arc<kernel::Survey>) -> Option<Arc<dyn Driver>> {
        None
    }

    /// Whether it is another program's: it is told more than built-in ones, and keeps what it wants to remember itself.
    fn is_remote(&self) -> bool {
        false
    }

    /// The links of the host that a network itself has, adopted ones included: by these it is known who is concerned
    /// when somebody changes a link.
    fn links(&self, _network: &Network) -> Vec<InterfaceName> {
        Vec::new()
    }

    /// Whether interfaces in sandboxes go, and come back with no address, when one of those links does.
    fn takes_interfaces_along(&self) -> bool {
        false
    }

    /// The MTU of the interfaces that endpoints of a network get, in bytes; none for the kernel's choice.
    fn mtu(&self, _network: &Network) -> Option<u32> {
        None
    }

    /// The end on the host of an endpoint's interface, where it has one there.
    fn host_link(&self, _network: &Network, _endpoint: &Endpoint) -> Option<InterfaceName> {
        None
    }

    /// The Ethernet address that the network itself has on its segment.
    fn own_mac(&self, _network: &Network) -> Option<MacAddress> {
        None
    }

    /// The addresses that a network itself wears on the host, with the links that wear them.
    fn wears(&self, _network: &Network) -> Vec<(InterfaceName, IpNet)> {
        Vec::new()
    }

    /// The link of the host by whose segment endpoints of the network are reached, and who else is there: the segment is
    /// asked before an address is used.
    fn segment(&self, _network: &Network) -> Option<InterfaceName> {
        None
    }

    /// Whether a network of it may be known to all hosts although it usually is one host's own: they are on one segment,
    /// and share its addresses.
    fn may_be_global(&self) -> bool {
        false
    }

    /// Removes from the host what was made for networks that are no more. Called at start, when all networks that there
    /// are have told of themselves.
    async fn tidy(&self) -> Result<()> {
        Ok(())
    }

    /// Whether its endpoints' interfaces all wear the Ethernet address of the link below.
    fn shares_ethernet(&self) -> bool {
        false
    }

    /// Goes from one view of a network to another while its endpoints work on, touching only what differs; all of it or,
    /// on failure, nothing.
    async fn change(&self, _before: &NetworkView, after: &NetworkView) -> Result<()> {
        self.repair(after).await
    }

    /// What [`Self::change`] to this view would do to the kernel's objects, a line for each. Touches nothing.
    async fn preview(&self, _view: &NetworkView) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
}

/// A driver by name.
#[async_trait]
pub trait Catalog: Send + Sync + std::fmt::Debug {
    /// The driver; none if nobody can have that name. Of a plugin it is not known whether it is there.
    fn driver(&self, name: &str) -> Option<Arc<dyn Driver>>;
    /// The driver for a new network; none if nobody has that name. A plugin is there, and has said what it can do.
    async fn find(&self, name: &str) -> Result<Option<Arc<dyn Driver>>> {
        Ok(self.driver(name))
    }
    /// Every name, for "did you mean".
    fn names(&self) -> Vec<String>;
    /// The hosts of the cluster that are alive, this one among them, came to be these. Only plugins want to know; what
    /// they are told is not waited for by anybody.
    async fn hosts_changed(&self, _hosts: &[KnownHost]) {}
    /// The default scope of a driver's networks.
    fn scope(&self, name: &str) -> Option<Scope> {
        self.driver(name).map(|driver| driver.capabilities().scope)
    }
}
