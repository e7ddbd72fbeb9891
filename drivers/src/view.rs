//! What goes into a driver and what comes out.

use std::{net::IpAddr, path::PathBuf, sync::Arc};

use kernel::Netns;
use model::{
    AddressFamily, Endpoint, EndpointAddresses, ExposedPorts, FoundLink, InterfaceName, IpNet, Labels,
    Network, NetworkId, PluginAnswer, PublishedPorts, Scope, StaticRoute, Subnet,
};

/// What a driver can do at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Where its networks' records live by default.
    pub scope: Scope,
    /// Its networks have pools and their endpoints addresses. `null` and `host` have none.
    pub addresses: bool,
    /// Only one network of it may exist (`null`, `host`).
    pub single: bool,
    /// Its endpoints need a second one on the gateway bridge to reach the outside (`overlay`), unless the network is
    /// internal or the sandbox has another gateway.
    pub gateway_bridge: bool,
    /// Wants several pools of one family (`overlay`), not one.
    pub several_pools: bool,
}

/// A network before anything was allocated for it.
#[derive(Debug, Clone, Copy)]
pub struct Draft<'a> {
    /// The id it will have.
    pub id: NetworkId,
    /// Options as typed (`-o`), the daemon's `default-network-opts` included.
    pub options: &'a Labels,
    /// `--internal`.
    pub internal: bool,
    /// Families asked for.
    pub families: &'a [AddressFamily],
    /// Subnets asked for, if any.
    pub subnets: &'a [Subnet],
}

/// What must be allocated for a network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// A gateway address in each pool, for the bridge to wear.
    pub gateway: bool,
    /// Families whose pools need none all the same.
    pub without_gateway: Vec<AddressFamily>,
    /// One VNI per pool.
    pub vnis: bool,
    /// VNIs the user named, in the pools' order; may be fewer than the pools.
    pub wanted_vnis: Vec<model::Vni>,
    /// Names on this host that must be free or this network's alone (a bridge's device name), claimed with the record.
    pub claims: Vec<String>,
    /// Addresses of a device that is there already and becomes the network's.
    pub worn: Vec<IpNet>,
    /// How that device is now: to be in the network's record before anything of it is changed.
    pub found: Option<FoundLink>,
    /// Its subnets are those of a segment that others are on too, the host perhaps among them.
    pub shared_segment: bool,
}

/// Where an endpoint joins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The sandbox's namespace pin; none for the host's own namespace.
    pub netns: Option<PathBuf>,
    /// The interface's name inside it.
    pub interface: InterfaceName,
    /// Published ports of the sandbox, for drivers that are told of them at once.
    pub ports: Vec<PublishedPorts>,
    /// Ports that the sandbox's container says it listens on.
    pub exposed: Vec<ExposedPorts>,
    /// The interface is made on the host, under its name there: whoever made the namespace takes it.
    pub on_host: bool,
}

impl Target {
    /// The namespace that the interface is made in; none if there is to be none.
    pub fn place(&self) -> Option<Netns> {
        match &self.netns {
            _ if self.on_host => Some(Netns::Host),
            Some(sandbox) => Some(Netns::Pinned(sandbox.clone())),
            None => None,
        }
    }
}

/// What a driver made for an endpoint; the same answer that a plugin's Join gives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attachment {
    /// The interface, if the driver makes one.
    pub link: Option<Link>,
    /// IPv4 default gateway. The unspecified address where all the world is on link.
    pub gateway_v4: Option<IpAddr>,
    /// IPv6 default gateway, likewise.
    pub gateway_v6: Option<IpAddr>,
    /// More routes for the sandbox.
    pub routes: Vec<StaticRoute>,
    /// Addresses that the driver chose where the endpoint had none.
    pub addresses: EndpointAddresses,
    /// What has to be in the endpoint's record, because the driver is not asked again.
    pub answer: Option<PluginAnswer>,
}

/// An interface made for an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// It is in the sandbox already, under the target's name.
    InPlace,
    /// It is on the host (a plugin's): the controller moves and renames it.
    OnHost {
        /// Its name there.
        name: InterfaceName,
        /// What its name in the sandbox begins with; none for the network's usual prefix.
        prefix: Option<String>,
    },
}

/// An endpoint of another host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its record.
    pub endpoint: Arc<Endpoint>,
    /// The underlay address of its host's VTEP.
    pub vtep: IpAddr,
}

/// What leads to an endpoint that would not without it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// Ports of the host that lead here, of the families whose gateway this endpoint is.
    pub ports: Vec<PublishedPorts>,
    /// Endpoints that reach some of its ports although the network lets no two reach each other.
    pub links: Vec<LinkAccess>,
    /// It is its sandbox's gateway, for drivers that want to know, with the ports that the container says it listens on.
    pub gateway: Option<Vec<ExposedPorts>>,
}

/// A link between two endpoints of one network without ICC, recorded with the one that is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkAccess {
    /// Address of the endpoint that may reach this one.
    pub from: IpAddr,
    /// The ports it reaches.
    pub ports: ExposedPorts,
}

/// An endpoint of this host that has joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Local {
    /// Its record.
    pub endpoint: Arc<Endpoint>,
    /// Where it joined.
    pub target: Target,
    /// What leads to it.
    pub access: Access,
}

/// Everything a driver may know of one network on this host.
#[derive(Debug, Clone)]
pub struct NetworkView {
    /// The network.
    pub network: Arc<Network>,
    /// This host's joined endpoints.
    pub local: Vec<Local>,
    /// Endpoints of live other hosts.
    pub peers: Vec<Peer>,
}
