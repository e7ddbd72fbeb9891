//! The calls of subsystem `NetworkDriver`. In every reply of a plugin an `Err` that isn't empty is its refusal.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::call::{Call, Nothing, Options, nullable};

/// Key of [`CreateNetwork::options`]: a map of what the user typed with `-o`.
pub const GENERIC: &str = "com.docker.network.generic";
/// Key of [`CreateNetwork::options`]: whether endpoints get IPv4 addresses.
pub const ENABLE_IPV4: &str = "com.docker.network.enable_ipv4";
/// Key of [`CreateNetwork::options`]: whether endpoints get IPv6 addresses.
pub const ENABLE_IPV6: &str = "com.docker.network.enable_ipv6";
/// Key of [`CreateNetwork::options`]: whether the network has no way out.
pub const INTERNAL: &str = "com.docker.network.internal";
/// Key of an endpoint's and a sandbox's options: a list of [`PortBinding`].
pub const PORT_MAP: &str = "com.docker.network.portmap";
/// Key of an endpoint's and a sandbox's options: a list of [`TransportPort`].
pub const EXPOSED_PORTS: &str = "com.docker.network.endpoint.exposedports";
/// Key of an endpoint's options: its Ethernet address, the bytes in base64.
pub const MAC_ADDRESS: &str = "com.docker.network.endpoint.macaddress";
/// The only type of [`DiscoverNew`] and [`DiscoverDelete`] that plugins are told of: hosts.
pub const NODE_DISCOVERY: i64 = 1;

/// Asks what the driver can do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetCapabilities;

/// What a network driver can do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Capabilities {
    /// Where its networks' records live: `local` or `global`.
    #[serde(deserialize_with = "nullable")]
    pub scope: String,
    /// How far its networks reach: `local`, `global`, or empty for the same as `scope`.
    #[serde(deserialize_with = "nullable")]
    pub connectivity_scope: String,
    /// It wants to be asked whether a network needs a gateway address.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "std::ops::Not::not")]
    pub gw_alloc_checker: bool,
}

/// Asks whether a network needs gateway addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct GwAllocCheck {
    /// As in [`CreateNetwork::options`].
    #[serde(deserialize_with = "nullable")]
    pub options: Options,
}

/// Which gateway addresses a network does without.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GwAllocChecked {
    /// No IPv4 gateway.
    #[serde(rename = "SkipIPv4", deserialize_with = "nullable")]
    pub skip_ipv4: bool,
    /// No IPv6 gateway.
    #[serde(rename = "SkipIPv6", deserialize_with = "nullable")]
    pub skip_ipv6: bool,
}

/// A pool of a network. What is not there is not sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct IpamData {
    /// The address space.
    #[serde(deserialize_with = "nullable")]
    pub address_space: String,
    /// The subnet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// The gateway's address with the subnet's prefix length.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// Addresses set aside for others, each with the subnet's prefix length.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "nullable")]
    pub aux_addresses: BTreeMap<String, String>,
}

/// Makes a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CreateNetwork {
    /// The network.
    #[serde(rename = "NetworkID")]
    pub network_id: String,
    /// [`GENERIC`], [`ENABLE_IPV4`], [`ENABLE_IPV6`], [`INTERNAL`].
    #[serde(deserialize_with = "nullable")]
    pub options: Options,
    /// IPv4 pools.
    #[serde(rename = "IPv4Data", deserialize_with = "nullable")]
    pub ipv4_data: Vec<IpamData>,
    /// IPv6 pools.
    #[serde(rename = "IPv6Data", deserialize_with = "nullable")]
    pub ipv6_data: Vec<IpamData>,
}

/// Asks a global driver, on a manager of a swarm, for what every host will be told with [`CreateNetwork`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AllocateNetwork {
    /// The network.
    #[serde(rename = "NetworkID")]
    pub network_id: String,
    /// The user's options.
    #[serde(deserialize_with = "nullable")]
    pub options: BTreeMap<String, String>,
    /// IPv4 pools.
    #[serde(rename = "IPv4Data", deserialize_with = "nullable")]
    pub ipv4_data: Vec<IpamData>,
    /// IPv6 pools.
    #[serde(rename = "IPv6Data", deserialize_with = "nullable")]
    pub ipv6_data: Vec<IpamData>,
}

/// What was allocated.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AllocatedNetwork {
    /// Options for every host.
    #[serde(deserialize_with = "nullable")]
    pub options: BTreeMap<String, String>,
}

/// Names a network.
macro_rules! of_network {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct $name {
            /// The network.
            #[serde(rename = "NetworkID")]
            pub network_id: String,
        }
    };
}

/// Names an endpoint.
macro_rules! of_endpoint {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct $name {
            /// The network.
            #[serde(rename = "NetworkID")]
            pub network_id: String,
            /// The endpoint.
            #[serde(rename = "EndpointID")]
            pub endpoint_id: String,
        }
    };
}

of_network! {
    /// Gives back what [`AllocateNetwork`] allocated.
    FreeNetwork
}
of_network! {
    /// Removes a network.
    DeleteNetwork
}
of_endpoint! {
    /// Removes an endpoint.
    DeleteEndpoint
}
of_endpoint! {
    /// Asks how an endpoint does.
    EndpointOperInfo
}
of_endpoint! {
    /// Takes an endpoint out of its sandbox.
    Leave
}
of_endpoint! {
    /// The endpoint is its sandbox's gateway no more.
    RevokeExternalConnectivity
}

/// The addresses of an endpoint. Empty texts stand for none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct EndpointInterface {
    /// IPv4 address with prefix length.
    #[serde(deserialize_with = "nullable")]
    pub address: String,
    /// IPv6 address with prefix length.
    #[serde(rename = "AddressIPv6", deserialize_with = "nullable")]
    pub address_ipv6: String,
    /// Ethernet address.
    #[serde(deserialize_with = "nullable")]
    pub mac_address: String,
}

/// Makes an endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CreateEndpoint {
    /// The network.
    #[serde(rename = "NetworkID")]
    pub network_id: String,
    /// The endpoint.
    #[serde(rename = "EndpointID")]
    pub endpoint_id: String,
    /// Its addresses, as far as they are known.
    #[serde(deserialize_with = "nullable")]
    pub interface: EndpointInterface,
    /// [`PORT_MAP`], [`EXPOSED_PORTS`], [`MAC_ADDRESS`], and what the user typed with `--driver-opt`.
    #[serde(deserialize_with = "nullable")]
    pub options: Options,
}

/// An endpoint made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CreatedEndpoint {
    /// Addresses that the request left empty. Those that it gave must not come back.
    pub interface: Option<EndpointInterface>,
}

/// How an endpoint does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct OperInfo {
    /// Anything; [`PORT_MAP`], [`EXPOSED_PORTS`] and [`MAC_ADDRESS`] are understood.
    #[serde(deserialize_with = "nullable")]
    pub value: Options,
}

/// Puts an endpoint into a sandbox.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Join {
    /// The network.
    #[serde(rename = "NetworkID")]
    pub network_id: String,
    /// The endpoint.
    #[serde(rename = "EndpointID")]
    pub endpoint_id: String,
    /// The path of the sandbox's namespace.
    pub sandbox_key: String,
    /// The sandbox's options: [`PORT_MAP`], [`EXPOSED_PORTS`].
    #[serde(deserialize_with = "nullable")]
    pub options: Options,
}

/// The interface that a plugin has made on the host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct InterfaceName {
    /// Its name there; empty when there is nothing to move.
    #[serde(deserialize_with = "nullable")]
    pub src_name: String,
    /// What its name in the sandbox begins with; a number follows.
    #[serde(deserialize_with = "nullable")]
    pub dst_prefix: String,
    /// Its whole name in the sandbox. Docker ignores it.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub dst_name: String,
}

/// A route of a sandbox.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct StaticRoute {
    /// The destination, as a subnet.
    #[serde(deserialize_with = "nullable")]
    pub destination: String,
    /// [`NEXT_HOP`] or [`CONNECTED`].
    #[serde(deserialize_with = "nullable")]
    pub route_type: i64,
    /// The next hop of the one, empty for the other.
    #[serde(deserialize_with = "nullable")]
    pub next_hop: String,
}

/// A route by way of a next hop.
pub const NEXT_HOP: i64 = 0;
/// A route to what is directly on the link.
pub const CONNECTED: i64 = 1;

/// How a sandbox is to be set up for an endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Joined {
    /// The interface to move into the sandbox.
    pub interface_name: Option<InterfaceName>,
    /// IPv4 gateway.
    #[serde(deserialize_with = "nullable")]
    pub gateway: String,
    /// IPv6 gateway.
    #[serde(rename = "GatewayIPv6", deserialize_with = "nullable")]
    pub gateway_ipv6: String,
    /// More routes.
    #[serde(deserialize_with = "nullable")]
    pub static_routes: Vec<StaticRoute>,
    /// The sandbox needs no endpoint on the gateway bridge even if nothing here is a gateway.
    #[serde(deserialize_with = "nullable")]
    pub disable_gateway_service: bool,
}

/// The endpoint is its sandbox's gateway from now on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ProgramExternalConnectivity {
    /// The network.
    #[serde(rename = "NetworkID")]
    pub network_id: String,
    /// The endpoint.
    #[serde(rename = "EndpointID")]
    pub endpoint_id: String,
    /// The sandbox's options, as at [`Join`].
    #[serde(deserialize_with = "nullable")]
    pub options: Options,
}

/// A host of the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeDiscovery {
    /// Its address for others.
    #[serde(deserialize_with = "nullable")]
    pub address: String,
    /// The address that it binds to.
    #[serde(deserialize_with = "nullable")]
    pub bind_address: String,
    /// Whether it is this one.
    #[serde(rename = "Self", deserialize_with = "nullable")]
    pub itself: bool,
}

macro_rules! discover {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "PascalCase", default)]
        pub struct $name {
            /// [`NODE_DISCOVERY`].
            #[serde(deserialize_with = "nullable")]
            pub discovery_type: i64,
            /// The host.
            #[serde(deserialize_with = "nullable")]
            pub discovery_data: NodeDiscovery,
        }
    };
}

discover! {
    /// A host came.
    DiscoverNew
}
discover! {
    /// A host went.
    DiscoverDelete
}

macro_rules! calls {
    ($($request:ty => $method:literal -> $reply:ty;)*) => {
        $(impl Call for $request {
            const METHOD: &'static str = concat!("NetworkDriver.", $method);
            type Reply = $reply;
        })*
    };
}

calls! {
    GetCapabilities => "GetCapabilities" -> Capabilities;
    GwAllocCheck => "GwAllocCheck" -> GwAllocChecked;
    AllocateNetwork => "AllocateNetwork" -> AllocatedNetwork;
    FreeNetwork => "FreeNetwork" -> Nothing;
    CreateNetwork => "CreateNetwork" -> Nothing;
    DeleteNetwork => "DeleteNetwork" -> Nothing;
    CreateEndpoint => "CreateEndpoint" -> CreatedEndpoint;
    DeleteEndpoint => "DeleteEndpoint" -> Nothing;
    EndpointOperInfo => "EndpointOperInfo" -> OperInfo;
    Join => "Join" -> Joined;
    Leave => "Leave" -> Nothing;
    ProgramExternalConnectivity => "ProgramExternalConnectivity" -> Nothing;
    RevokeExternalConnectivity => "RevokeExternalConnectivity" -> Nothing;
    DiscoverNew => "DiscoverNew" -> Nothing;
    DiscoverDelete => "DiscoverDelete" -> Nothing;
}

/// A published port as drivers are told of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PortBinding {
    /// Number of the protocol: 6, 17 or 132.
    pub proto: u8,
    /// The container's address, if it is known.
    #[serde(rename = "IP", deserialize_with = "nullable")]
    pub ip: String,
    /// The container's port.
    pub port: u16,
    /// The host's address.
    #[serde(rename = "HostIP", deserialize_with = "nullable")]
    pub host_ip: String,
    /// The host's port, or the first of a range.
    pub host_port: u16,
    /// The last of the range.
    pub host_port_end: u16,
}

/// A port of a container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TransportPort {
    /// Number of the protocol: 6, 17 or 132.
    pub proto: u8,
    /// The port.
    pub port: u16,
}

#[cfg(test)]
mod tests;
