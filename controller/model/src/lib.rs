//! The nouns of the Container Network Model: networks, endpoints, sandboxes, nodes, and the limited values they
//! are made of.
//!
//! No I/O and no async. Every limited value is checked once, at construction; the rest of the code may believe it.
//! Everything stored derives serde, and reading a stored value runs the same check as making one.
#![forbid(unsafe_code)]

mod address;
mod endpoint;
#[cfg(test)]
mod fuzz;
mod id;
mod interface_name;
mod labels;
mod lease;
mod mac;
mod name;
mod name_options;
mod network;
mod node;
mod port;
mod sandbox;
mod scope;
mod snapshot;
mod static_route;
mod timestamp;
mod vni;

pub use address::{AddressFamily, Subnet, SubnetError};
pub use endpoint::{Endpoint, EndpointAddresses, PluginAnswer};
pub use id::{Container, ContainerId, EndpointId, Id, IdError, NetworkId, NodeId, SandboxId};
pub use interface_name::{InterfaceName, InterfaceNameError};
pub use labels::Labels;
pub use lease::{Lease, LeaseV6};
pub use mac::{MacAddress, MacError};
pub use name::{ContainerName, DriverName, NameError, NetworkName, VolumeName};
pub use name_options::{NameOptionError, NameOptions};
pub use network::{FoundLink, IpamConfig, Network, Pool, SubnetRequest};
pub use node::Node;
pub use port::{
    ExposedPorts, Exposure, PortBinding, PortRange, PortRangeError, Protocol, ProtocolError, PublishedPorts,
};
pub use sandbox::{
    DnsConfig, DnsPorts, ForeignNamespace, HostEntry, NAME_SERVER, NAME_SERVER_MARK, NAME_SERVER_V6, Sandbox,
    SandboxKind, SandboxLink,
};
pub use scope::{Lifecycle, Scope};
pub use snapshot::Snapshot;
pub use static_route::{StaticRoute, StaticRouteError};
pub use timestamp::Timestamp;
pub use vni::{Vni, VniError};

/// IP networks and interface addresses (address plus prefix length), from `ipnet`.
pub use ipnet::{IpNet, Ipv4Net, Ipv6Net};
