//! The endpoints service: a sandbox joins a network and leaves it.

mod addresses;
mod announce;
mod check;
mod connect;
mod dead_flows;
mod disconnect;
mod gateway_bridge;
mod hosts_link;
mod intent;
mod join;
mod rename;
mod republish;
mod revive;
mod strangers;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use model::{ContainerId, Endpoint, EndpointId, Labels, MacAddress, NetworkId, SandboxId};

use crate::{
    core::Core,
    error::{Error, Result},
    leases,
};

pub(crate) use announce::{announce, violations as announcement_violations};
pub(crate) use connect::{inner as connect_inner, undo_creating};
pub(crate) use dead_flows::{
    Forgetting, Note as DeadFlowsNote, load as load_dead_flows, start as forget_dead_flows,
};
pub(crate) use disconnect::{finish_deleting, leave, reap, release_noted};
pub(crate) use gateway_bridge::{adjust as adjust_gateway_bridge, is_gateway_bridge};
pub(crate) use join::{join_late, rejoin};
pub(crate) use rename::introduce;
pub(crate) use republish::republish;
pub(crate) use strangers::{PROBE, Strangers, look};

/// An endpoint wanted.
#[derive(Debug, Clone)]
pub struct Connect {
    /// The endpoint's id; none for a new one.
    pub id: Option<EndpointId>,
    /// The network.
    pub network: NetworkId,
    /// The sandbox that joins.
    pub sandbox: SandboxId,
    /// The container behind it; the sandbox's when nothing is said.
    pub container: Option<ContainerId>,
    /// The endpoint's name, unique on the network: normally the container's.
    pub name: String,
    /// More names that resolve to it, after `name` and before the container's short id and the sandbox's hostname,
    /// which are added here.
    pub aliases: Vec<String>,
    /// `alias → name` pairs that only this sandbox sees.
    pub links: Labels,
    /// An IPv4 address of one of the network's pools; none for the next free one.
    pub ipv4: Option<Ipv4Addr>,
    /// An IPv6 address of one of the network's pools; none for the next free one.
    pub ipv6: Option<Ipv6Addr>,
    /// More, link-local addresses.
    pub link_local: Vec<IpAddr>,
    /// The interface's Ethernet address; none to derive one from the IP address.
    pub mac: Option<MacAddress>,
    /// Precedence in the choice of the default gateway; the highest wins.
    pub gateway_priority: i32,
    /// The driver's options for this endpoint.
    pub options: Labels,
}

impl Connect {
    /// A connection with every default.
    pub fn new(network: NetworkId, sandbox: SandboxId, name: impl Into<String>) -> Self {
        Self {
            id: None,
            network,
            sandbox,
            container: None,
            name: name.into(),
            aliases: Vec::new(),
            links: Labels::new(),
            ipv4: None,
            ipv6: None,
            link_local: Vec::new(),
            mac: None,
            gateway_priority: 0,
            options: Labels::new(),
        }
    }
}

/// The default gateways that an endpoint's network offers its sandbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gateways {
    /// IPv4 gateway.
    pub v4: Option<IpAddr>,
    /// IPv6 gateway.
    pub v6: Option<IpAddr>,
}

/// Endpoints of this host, and what is known of others'.
#[derive(Debug, Clone)]
pub struct Endpoints {
    pub(crate) core: Arc<Core>,
}

impl Endpoints {
    /// Connects a sandbox to a network. When it returns, the interface is there and its names are served.
    ///
    /// # Errors
    /// `Forbidden` for a taken name or address, naming the holder; `Unavailable` when a new lease on a global
    /// network is wanted while the cluster store does not answer.
    pub async fn connect(&self, request: Connect) -> Result<Arc<Endpoint>> {
        connect::connect(&self.core, request).await
    }

    /// Gives one of this host's endpoints another name. When it returns, the new name is served and the old one isn't;
    /// the other names stay.
    ///
    /// # Errors
    /// `NotFound`; `Forbidden` for a name that another endpoint of the network has; `Unavailable` on a global network
    /// while the cluster store does not answer.
    pub async fn rename(&self, id: EndpointId, name: &str) -> Result<Arc<Endpoint>> {
        rename::rename(&self.core, id, name).await
    }

    /// Disconnects an endpoint. With `force`, what the driver or the kernel refuse is logged and the rest is done.
    /// With the cluster store down, an endpoint on a global network is gone here at once, and its addresses and
    /// names there as soon as the store is back.
    ///
    /// # Errors
    /// `NotFound`; `Forbidden` for another host's endpoint, unless forced and that host is dead.
    pub async fn disconnect(&self, id: EndpointId, force: bool) -> Result<()> {
        disconnect::disconnect(&self.core, id, force).await
    }

    /// Sets addresses of a network aside for a container that exists and need not run, until [`Self::forget`]. Only that
    /// container is connected with them; asked for again, nothing changes.
    ///
    /// # Errors
    /// `NotFound`; `Forbidden` for an address that somebody has, naming the holder; `Invalid` for one of no pool.
    pub async fn reserve(
        &self,
        network: NetworkId,
        container: ContainerId,
        name: &str,
        wanted: &[IpAddr],
    ) -> Result<()> {
        let found = self.core.records.snapshot().networks.get(&network).cloned();
        let found = found.ok_or_else(|| crate::networks::network_not_found(&network.short()))?;
        if leases::is_leased(&found) {
            return Ok(());
        }
        addresses::reserve(&self.core, &found, container, name, wanted).await
    }

    /// Frees what is set aside or kept for a container on these networks: it is gone for good.
    ///
    /// # Errors
    /// When the store can't be written. Networks of a cluster store that does not answer are left out: what is kept there
    /// ends by itself.
    pub async fn forget(&self, container: ContainerId, networks: &[NetworkId]) -> Result<()> {
        let owner = container.to_string();
        let snapshot = self.core.records.snapshot();
        for network in networks.iter().filter_map(|id| snapshot.networks.get(id)) {
            if network.pools.is_empty() || self.core.require_store(network.scope).is_err() {
                continue;
            }
            let ipam = self.core.ipam(network);
            let txn = ipam.forget_owner(network.id, network.scope, &owner).await?;
            if txn != store::Txn::new() {
                self.core.stores.of(network.scope).commit(txn).await?;
            }
        }
        Ok(())
    }

    /// Whether an address is none of a network's pools', but one that the segment's own server is asked for.
    pub fn asks_for(network: &model::Network, address: IpAddr) -> bool {
        leases::gives(network, address)
    }

    /// Whether a connection to a network could have these options, as far as they are ours: for one that is made later.
    ///
    /// # Errors
    /// `Invalid`, with everything that is wrong.
    pub fn check_options(network: &model::Network, options: &Labels) -> Result<()> {
        check::check_options(network, options)
    }

    /// One endpoint.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn get(&self, id: EndpointId) -> Result<Arc<Endpoint>> {
        let snapshot = self.core.records.snapshot();
        let found = snapshot.endpoints.get(&id).cloned();
        found.ok_or_else(|| Error::not_found(format!("endpoint {} not found", id.short())))
    }

    /// The gateways that this host's endpoint offers, for `inspect`.
    pub fn gateways(&self, id: EndpointId) -> Gateways {
        let snapshot = self.core.records.snapshot();
        let attachment = snapshot.endpoints.get(&id).and_then(|endpoint| {
            let network = snapshot.networks.get(&endpoint.network)?;
            self.core.attachment(network, endpoint)
        });
        attachment.map_or_else(Gateways::default, |attachment| Gateways {
            v4: attachment.gateway_v4,
            v6: attachment.gateway_v6,
        })
    }
}
