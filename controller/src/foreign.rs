//! The foreign service: sandboxes in namespaces that somebody else made, for containers that aren't ours.
//!
//! Another program (a CNI runtime, a Docker daemon) makes a namespace and asks for an interface in it. Its sandbox is
//! found by who asked and what that calls the container. It is recorded, repaired and taken over after a restart like any
//! other; but its namespace ends when its owner says so, perhaps without a word, and then the sandbox goes too.

mod attach;
mod detach;
mod namespace;
mod observe;

use std::{net::IpAddr, path::PathBuf, sync::Arc};

use model::{
    DnsConfig, Endpoint, InterfaceName, IpNet, Labels, MacAddress, Network, PortBinding, Sandbox, SandboxId,
    Snapshot, Subnet,
};

use crate::{
    core::{Core, Fence},
    endpoints::{self, Gateways},
    error::{Error, Result},
    networks::Networks,
    sandboxes,
};

pub(crate) use detach::reap;
pub(crate) use namespace::{identity, is_there};

/// The option of an endpoint that says what its manager counts it to.
const GROUP: &str = "cnm.group";

/// An interface wanted in a namespace that somebody else made.
#[derive(Debug, Clone, Default)]
pub struct AttachForeign {
    /// Who asks: `cni`, or another program's name.
    pub manager: String,
    /// What that calls the container. All interfaces of one key are in one namespace.
    pub key: String,
    /// The namespace: a bind mount, or `/proc/PID/ns/net`.
    pub netns: PathBuf,
    /// What the manager counts the interface to: [`Foreign::retain`] goes by it.
    pub group: String,
    /// The network, by name or id.
    pub network: String,
    /// What the interface is to be called; none for the next free name.
    pub interface: Option<InterfaceName>,
    /// The endpoint's name, unique on the network.
    pub name: String,
    /// Host name, by which it is found too; empty for none.
    pub hostname: String,
    /// More names.
    pub aliases: Vec<String>,
    /// Addresses, at most one of a family; none for the next free ones.
    pub addresses: Vec<IpAddr>,
    /// The interface's Ethernet address.
    pub mac: Option<MacAddress>,
    /// Precedence in the choice of the default gateway.
    pub gateway_priority: i32,
    /// The driver's options for this endpoint.
    pub options: Labels,
    /// Name service settings; those of the namespace's first interface count.
    pub dns: DnsConfig,
    /// Ports to publish. They are given back with the last interface.
    pub ports: Vec<PortBinding>,
}

/// An interface made.
#[derive(Debug, Clone)]
pub struct AttachedForeign {
    /// The sandbox it is in.
    pub sandbox: Arc<Sandbox>,
    /// The endpoint, with its addresses.
    pub endpoint: Arc<Endpoint>,
    /// The network it is on.
    pub network: Arc<Network>,
    /// The interface's other end on the host, where it has one.
    pub host_link: Option<InterfaceName>,
    /// Bytes; none for the kernel's choice.
    pub mtu: Option<u32>,
    /// What its network offers.
    pub gateways: Gateways,
    /// The routes that leave by it, with their next hops.
    pub routes: Vec<(Subnet, Option<IpAddr>)>,
}

/// A sandbox with its interfaces, one on the gateway bridge left out.
#[derive(Debug, Clone)]
pub struct ForeignSandbox {
    /// The sandbox.
    pub sandbox: Arc<Sandbox>,
    /// Its endpoints with their networks, the oldest first.
    pub endpoints: Vec<(Arc<Endpoint>, Arc<Network>)>,
}

/// A route's destination, next hop and interface.
pub type ObservedRoute = (Subnet, Option<IpAddr>, InterfaceName);

/// What is in a namespace now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// The interfaces that are there.
    pub links: Vec<ObservedLink>,
    /// The routes that should be there and are.
    pub routes: Vec<ObservedRoute>,
    /// What should be there and isn't, in words.
    pub missing: Vec<String>,
}

/// An interface as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedLink {
    /// Its name.
    pub name: InterfaceName,
    /// Its Ethernet address.
    pub mac: Option<MacAddress>,
    /// Bytes.
    pub mtu: Option<u32>,
    /// Administratively up.
    pub up: bool,
    /// Everything that it wears, whoever put it there.
    pub addresses: Vec<IpNet>,
}

/// Whether an interface could be had now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// It could.
    Ready,
    /// Not now.
    NotNow {
        /// Those that there are don't reach everybody either.
        limited: bool,
        /// Why, in words.
        reason: String,
    },
}

/// Sandboxes of this host that somebody else made namespaces for.
#[derive(Debug, Clone)]
pub struct Foreign {
    pub(crate) core: Arc<Core>,
}

impl Foreign {
    /// Puts an interface on a network into a namespace. The first one of a container makes its sandbox.
    ///
    /// # Errors
    /// `NotFound` for a path that leads to no namespace and for an unknown network; `Invalid` for the host's own
    /// namespace and what makes no sense; `Conflict` for an interface that is there, for a namespace that another key
    /// has, and for taken ports; else what [`crate::Endpoints::connect`] says.
    pub async fn attach(&self, request: AttachForeign) -> Result<AttachedForeign> {
        attach::attach(&self.core, request).await
    }

    /// Takes an interface out again; with the last one goes the sandbox. Answers whether there was anything to do: an
    /// interface that isn't there, or is of another group, is no error.
    ///
    /// # Errors
    /// `Internal` when something could not be removed; the reconciler tries again.
    pub async fn detach(
        &self,
        manager: &str,
        key: &str,
        interface: &InterfaceName,
        group: &str,
    ) -> Result<bool> {
        detach::detach(&self.core, manager, key, interface, group).await
    }

    /// Takes every interface of a manager's group out that is not one of these, by key and name. Answers which.
    ///
    /// # Errors
    /// The first failure; the others are gone all the same.
    pub async fn retain(
        &self,
        manager: &str,
        group: &str,
        valid: &[(String, String)],
    ) -> Result<Vec<(String, InterfaceName)>> {
        detach::retain(&self.core, manager, group, valid).await
    }

    /// Removes a sandbox with all its interfaces. The namespace stays.
    ///
    /// # Errors
    /// `Internal` when something could not be removed; the reconciler tries again.
    pub async fn remove(&self, id: SandboxId) -> Result<()> {
        detach::remove(&self.core, id).await
    }

    /// Every such sandbox, the oldest first.
    pub fn list(&self) -> Vec<ForeignSandbox> {
        let snapshot = self.core.records.snapshot();
        let foreign = snapshot
            .sandboxes
            .values()
            .filter(|sandbox| sandbox.foreign().is_some());
        let mut all: Vec<_> = foreign
            .map(|sandbox| found(&self.core, &snapshot, sandbox))
            .collect();
        all.sort_by_key(|found| (found.sandbox.created, found.sandbox.id));
        all
    }

    /// One of them, by id, else key, else the beginning of either that no other has.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` for what several share.
    pub fn find(&self, text: &str) -> Result<ForeignSandbox> {
        let all = self.list();
        let key = |found: &ForeignSandbox| found.sandbox.foreign().map(|foreign| foreign.key.clone());
        let whole = |found: &&ForeignSandbox| {
            found.sandbox.id.to_string() == text || key(found).is_some_and(|key| key == text)
        };
        let begins = |found: &&ForeignSandbox| {
            found.sandbox.id.to_string().starts_with(text)
                || key(found).is_some_and(|key| key.starts_with(text))
        };
        let mut near: Vec<&ForeignSandbox> = all.iter().filter(whole).collect();
        if near.is_empty() && !text.is_empty() {
            near = all.iter().filter(begins).collect();
        }
        match near[..] {
            [] => Err(Error::not_found(format!("sandbox {text:?} not found"))),
            [one] => Ok(one.clone()),
            _ => Err(
                Error::invalid(format!("{text:?} is the beginning of several sandboxes"))
                    .with_hint("give more of it"),
            ),
        }
    }

    /// Whether an interface on a network could be had now.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` for the beginning of several ids.
    pub fn ready(&self, network: &str) -> Result<Readiness> {
        let networks = Networks {
            core: self.core.clone(),
        };
        let scope = networks.find(network)?.scope;
        Ok(match self.core.require_store(scope) {
            Ok(()) => Readiness::Ready,
            Err(error) => Readiness::NotNow {
                limited: self.core.fence() == Fence::Down,
                reason: error.to_string(),
            },
        })
    }

    /// Looks into a sandbox's namespace.
    ///
    /// # Errors
    /// `Internal` when the kernel can't be asked.
    pub async fn observe(&self, found: &ForeignSandbox) -> Result<Observed> {
        observe::observe(&self.core, found).await
    }
}

/// What an endpoint is counted to by who asked for it.
pub fn group(endpoint: &Endpoint) -> &str {
    endpoint.options.get(GROUP).map_or("", String::as_str)
}

/// The sandbox that a manager knows by a key.
fn by_key(snapshot: &Snapshot, manager: &str, key: &str) -> Option<Arc<Sandbox>> {
    let is_it = |sandbox: &&Arc<Sandbox>| {
        let foreign = sandbox.foreign();
        foreign.is_some_and(|foreign| foreign.manager == manager && foreign.key == key)
    };
    snapshot.sandboxes.values().find(is_it).cloned()
}

fn found(core: &Core, snapshot: &Snapshot, sandbox: &Arc<Sandbox>) -> ForeignSandbox {
    let mut endpoints: Vec<_> = snapshot
        .endpoints_of(&sandbox.id)
        .filter_map(|endpoint| {
            let network = snapshot.networks.get(&endpoint.network)?;
            Some((Arc::clone(endpoint), Arc::clone(network)))
        })
        .filter(|(_, network)| !endpoints::is_gateway_bridge(core, network))
        .collect();
    endpoints.sort_by_key(|(endpoint, _)| (endpoint.created, endpoint.id));
    ForeignSandbox {
        sandbox: Arc::clone(sandbox),
        endpoints,
    }
}

/// The routes of a sandbox, with the interfaces that they leave by.
fn routes(core: &Core, sandbox: &Sandbox) -> Result<Vec<kernel::object::Route>> {
    let wanted = sandboxes::wanted(core, sandbox)?;
    let routes = wanted.objects().filter_map(|object| match object {
        kernel::Object::Route(route) => Some(route.clone()),
        _ => None,
    });
    Ok(routes.collect())
}
