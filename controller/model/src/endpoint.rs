//! An endpoint: the attachment of one sandbox to one network.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{
    ContainerId, EndpointId, InterfaceName, IpNet, Ipv4Net, Ipv6Net, Labels, Lease, LeaseV6, Lifecycle,
    MacAddress, NetworkId, NodeId, SandboxId, Subnet, Timestamp,
};

/// An endpoint as recorded. In global scope this record is what other hosts read to reach it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its identity.
    pub id: EndpointId,
    /// The network it is on.
    pub network: NetworkId,
    /// The sandbox it joined or is about to join.
    pub sandbox: SandboxId,
    /// The container behind the sandbox, when an engine runs one.
    pub container: Option<ContainerId>,
    /// The host that owns it.
    pub node: NodeId,
    /// How far its creation or removal has come.
    pub lifecycle: Lifecycle,
    /// When it was made.
    pub created: Timestamp,
    /// Its name, unique on the network: normally the container's.
    pub name: String,
    /// Every name that resolves to it, the one for reverse lookups first: container name, aliases, short id, hostname.
    pub dns_names: Vec<String>,
    /// `alias → name` pairs that only this endpoint's sandbox sees (`--link name:alias` on a user network).
    pub links: Labels,
    /// Its addresses.
    pub addresses: EndpointAddresses,
    /// What its interface is called inside the sandbox; decided at join.
    pub interface: Option<InterfaceName>,
    /// Precedence in the choice of the default gateway; the highest wins.
    pub gateway_priority: i32,
    /// The driver's options for this endpoint, as typed.
    pub options: Labels,
    /// Addresses asked for in so many words, which `inspect` echoes and a later start asks for again.
    pub requested: Vec<IpAddr>,
    /// What a plugin said at join, which is not asked again; none of a built-in driver's.
    #[serde(default)]
    pub answer: Option<PluginAnswer>,
    /// What the segment's DHCP server gave, where addresses are its to give.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
    /// The same of its IPv6 address, where a DHCPv6 server gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_v6: Option<LeaseV6>,
}

/// How a plugin wants a sandbox to be set up for an endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginAnswer {
    /// The name on the host of the interface that it made; none if it made none.
    pub link: Option<InterfaceName>,
    /// IPv4 default gateway.
    pub gateway_v4: Option<IpAddr>,
    /// IPv6 default gateway.
    pub gateway_v6: Option<IpAddr>,
    /// More routes: destination, and next hop or none for one on the link.
    pub routes: Vec<(Subnet, Option<IpAddr>)>,
    /// The sandbox needs no endpoint on the gateway bridge on its account.
    pub no_gateway_bridge: bool,
}

/// The layer-2 and layer-3 addresses of an endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointAddresses {
    /// Ethernet address; none for drivers that make no interface.
    pub mac: Option<MacAddress>,
    /// IPv4 address with the subnet's prefix length.
    pub ipv4: Option<Ipv4Net>,
    /// IPv6 address with the subnet's prefix length.
    pub ipv6: Option<Ipv6Net>,
    /// Link-local addresses asked for (`--link-local-ip`).
    pub link_local: Vec<IpNet>,
}

impl EndpointAddresses {
    /// The routable addresses, IPv4 first.
    pub fn iter(&self) -> impl Iterator<Item = IpNet> {
        self.ipv4
            .map(IpNet::V4)
            .into_iter()
            .chain(self.ipv6.map(IpNet::V6))
    }
}
