//! The dressed service: sandboxes in namespaces that another engine makes *and* dresses, as dockerd does.
//!
//! That engine asks for an interface on the host, takes it into its namespace, and gives it name, addresses and routes
//! itself. The namespace may not be there yet when it asks. So an endpoint comes in two steps: it joins with its interface
//! on the host; and when the namespace has come, it is entered, where the interface is found again and the name service
//! gets its redirect. Until then nothing of ours goes in, and whatever the engine wears there is never touched.

mod apart;
mod enter;
mod join;
mod learn;
mod leave;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
    sync::Arc,
};

use drivers::Attachment;
use model::{
    ContainerId, Endpoint, EndpointId, ExposedPorts, InterfaceName, IpNet, Labels, MacAddress, NetworkId,
    Pool, PortBinding, PublishedPorts, Sandbox, SandboxId, Snapshot, Timestamp,
};

use crate::{
    core::Core,
    error::{Error, Result},
};

/// An endpoint wanted.
#[derive(Debug, Clone)]
pub struct JoinDressed {
    /// Its id: that which the engine has for it.
    pub id: EndpointId,
    /// The network.
    pub network: NetworkId,
    /// The engine's name.
    pub manager: String,
    /// Where the engine keeps the namespace, there yet or not: by this the sandbox is known.
    pub netns: PathBuf,
    /// IPv4 address.
    pub ipv4: Option<Ipv4Addr>,
    /// IPv6 address.
    pub ipv6: Option<Ipv6Addr>,
    /// Ethernet address; none to derive one.
    pub mac: Option<MacAddress>,
    /// The driver's options for this endpoint.
    pub options: Labels,
    /// Ports that the container says it listens on.
    pub exposed: Vec<ExposedPorts>,
}

/// An endpoint made, with what the engine needs to dress its sandbox.
#[derive(Debug, Clone)]
pub struct JoinedDressed {
    /// The endpoint. Its interface is on the host.
    pub endpoint: Arc<Endpoint>,
    /// Gateways and routes.
    pub attachment: Attachment,
    /// What the interface's name in the sandbox begins with.
    pub prefix: String,
}

/// What is learnt of an endpoint's container after it has joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Learnt {
    /// The container.
    pub container: Option<ContainerId>,
    /// Its name: the endpoint's, where no other endpoint of the network has it.
    pub name: String,
    /// Every name that resolves to it, the one for reverse lookups first.
    pub dns_names: Vec<String>,
}

/// Sandboxes of this host that another engine made and dresses.
#[derive(Debug, Clone)]
pub struct Dressed {
    pub(crate) core: Arc<Core>,
}

impl Dressed {
    /// Sets an address of a pool apart for an endpoint to come: the one wanted, or the next free one.
    ///
    /// # Errors
    /// As for an endpoint's address: `Forbidden` for one that is taken, `Unavailable` when none is left.
    pub async fn set_apart(&self, network: NetworkId, pool: &Pool, wanted: Option<IpAddr>) -> Result<IpNet> {
        apart::set_apart(&self.core, network, pool, wanted).await
    }

    /// Gives back an address that no endpoint has taken; any other stays.
    ///
    /// # Errors
    /// `Unavailable` when the store does not answer.
    pub async fn give_up(&self, network: NetworkId, pool: &Pool, address: IpAddr) -> Result<()> {
        apart::give_up(&self.core, network, pool, address).await
    }

    /// The addresses of a network that are apart on this host, and since when.
    ///
    /// # Errors
    /// `Unavailable` when the store does not answer.
    pub async fn apart(&self, network: NetworkId) -> Result<Vec<(IpAddr, Timestamp)>> {
        apart::list(&self.core, network).await
    }

    /// Makes an endpoint, its interface on the host. Said twice, it answers the same.
    ///
    /// # Errors
    /// As [`crate::Endpoints::connect`].
    pub async fn join(&self, request: JoinDressed) -> Result<JoinedDressed> {
        join::join(&self.core, request).await
    }

    /// The engine brings the interface back to the host, or ends the namespace with it.
    ///
    /// # Errors
    /// `Internal` when the record can't be written.
    pub async fn leave(&self, id: EndpointId) -> Result<()> {
        leave::leave(&self.core, id).await
    }

    /// Removes an endpoint with its interface, and with the last one of a sandbox that. One that isn't there is no error.
    ///
    /// # Errors
    /// `Internal` when something could not be removed; the reconciler tries again.
    pub async fn delete(&self, id: EndpointId) -> Result<()> {
        leave::delete(&self.core, id).await
    }

    /// The endpoint is its sandbox's gateway, and these ports of the host lead to it: all of them, and no others.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` for ports that are taken.
    pub async fn publish(&self, id: EndpointId, ports: Vec<PortBinding>) -> Result<Vec<PublishedPorts>> {
        learn::publish(&self.core, id, ports).await
    }

    /// It no longer is. One that isn't there is no error.
    ///
    /// # Errors
    /// `Internal` when the kernel refuses: the reconciler tries again.
    pub async fn unpublish(&self, id: EndpointId) -> Result<()> {
        learn::unpublish(&self.core, id).await
    }

    /// Notes what has become known of an endpoint's container. When it returns, the names are served.
    ///
    /// # Errors
    /// `NotFound`; `Unavailable` on a global network while the cluster store does not answer.
    pub async fn learn(&self, id: EndpointId, learnt: Learnt) -> Result<()> {
        learn::learn(&self.core, id, learnt).await
    }

    /// Enters a sandbox whose namespace has come, and finds its endpoints' interfaces. Answers whether all that is done.
    ///
    /// # Errors
    /// `Internal` when the kernel refuses.
    pub async fn enter(&self, sandbox: SandboxId) -> Result<bool> {
        enter::enter(&self.core, sandbox).await
    }

    /// What an endpoint's interface is called on the host, until it is taken and when it is back.
    pub fn name_on_host(id: EndpointId) -> InterfaceName {
        name_on_host(id)
    }

    /// Sandboxes of a manager with their endpoints. One without any is on its way out.
    pub fn list(&self, manager: &str) -> Vec<(Arc<Sandbox>, Vec<Arc<Endpoint>>)> {
        let snapshot = self.core.records.snapshot();
        let of = |sandbox: &&Arc<Sandbox>| is_dressed(sandbox) && managed_by(sandbox, manager);
        let all = snapshot.sandboxes.values().filter(of);
        all.map(|sandbox| {
            let own: Vec<_> = snapshot.endpoints_of(&sandbox.id).cloned().collect();
            (Arc::clone(sandbox), own)
        })
        .filter(|(_, own)| !own.is_empty())
        .collect()
    }
}

fn managed_by(sandbox: &Sandbox, manager: &str) -> bool {
    sandbox
        .foreign()
        .is_some_and(|foreign| foreign.manager == manager)
}

/// Whether somebody else dresses the sandbox.
pub(crate) fn is_dressed(sandbox: &Sandbox) -> bool {
    sandbox.foreign().is_some_and(|foreign| foreign.dressed)
}

/// Whether an endpoint's interface is on the host still, or again: it has this name there.
pub(crate) fn is_on_host(sandbox: &Sandbox, endpoint: &Endpoint) -> bool {
    is_dressed(sandbox) && endpoint.interface.as_ref() == Some(&name_on_host(endpoint.id))
}

/// What the interface of a dressed sandbox's endpoint is called until it is taken.
pub(crate) fn name_on_host(id: EndpointId) -> InterfaceName {
    InterfaceName::new(format!("cnm{}", id.prefix(11))).expect("14 bytes of letters and digits")
}

/// As whom this host holds addresses that are set apart.
pub(crate) fn owner(core: &Core) -> String {
    format!("engine on {}", core.node.id)
}

/// An endpoint of this host in a dressed sandbox.
fn find(core: &Core, id: EndpointId) -> Result<(Arc<Snapshot>, Arc<Sandbox>, Arc<Endpoint>)> {
    let snapshot = core.records.snapshot();
    let found = snapshot.endpoints.get(&id).and_then(|endpoint| {
        let sandbox = snapshot.sandboxes.get(&endpoint.sandbox)?;
        Some((Arc::clone(sandbox), Arc::clone(endpoint)))
    });
    match found.filter(|(sandbox, _)| is_dressed(sandbox)) {
        Some((sandbox, endpoint)) => Ok((snapshot, sandbox, endpoint)),
        None => Err(Error::not_found(format!("endpoint {} not found", id.short()))),
    }
}
