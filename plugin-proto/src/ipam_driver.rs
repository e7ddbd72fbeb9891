//! The calls of subsystem `IpamDriver`. In every reply of a plugin an `Error` that isn't empty is its refusal.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::call::{Call, Nothing, nullable};

/// Key of [`RequestAddress::options`]: what an address is for.
pub const ADDRESS_TYPE: &str = "RequestAddressType";
/// Value of [`ADDRESS_TYPE`] and key of [`PoolGranted::data`]: a network's gateway.
pub const GATEWAY: &str = "com.docker.network.gateway";
/// Key of [`RequestAddress::options`]: the Ethernet address of the endpoint, where the driver requires it.
pub const MAC_ADDRESS: &str = "com.docker.network.endpoint.macaddress";
/// Key of [`RequestAddress::options`]: the endpoint's name.
pub const ENDPOINT_NAME: &str = "com.docker.network.endpoint.name";

/// Asks what the driver needs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetCapabilities;

/// What a driver of addresses needs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Capabilities {
    /// It must know an endpoint's Ethernet address before it chooses the other.
    #[serde(rename = "RequiresMACAddress", deserialize_with = "nullable")]
    pub requires_mac_address: bool,
    /// It forgets, and is asked for everything again when the daemon starts.
    #[serde(rename = "RequiresRequestReplay", deserialize_with = "nullable")]
    pub requires_request_replay: bool,
}

/// Asks for the names of its address spaces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetDefaultAddressSpaces;

/// The names of its address spaces.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AddressSpaces {
    /// For networks of one host.
    #[serde(deserialize_with = "nullable")]
    pub local_default_address_space: String,
    /// For networks of all hosts.
    #[serde(deserialize_with = "nullable")]
    pub global_default_address_space: String,
}

/// Asks for a pool.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RequestPool {
    /// The address space.
    pub address_space: String,
    /// The subnet; empty for any.
    #[serde(deserialize_with = "nullable")]
    pub pool: String,
    /// Where addresses are taken from, a part of the subnet; empty for all of it.
    #[serde(deserialize_with = "nullable")]
    pub sub_pool: String,
    /// What the user typed with `--ipam-opt`.
    #[serde(deserialize_with = "nullable")]
    pub options: BTreeMap<String, String>,
    /// Of IPv6.
    #[serde(deserialize_with = "nullable")]
    pub v6: bool,
}

/// A pool granted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PoolGranted {
    /// The plugin's handle.
    #[serde(rename = "PoolID", deserialize_with = "nullable")]
    pub pool_id: String,
    /// The subnet.
    #[serde(rename = "Pool", deserialize_with = "nullable")]
    pub pool: String,
    /// More about it; [`GATEWAY`] says which address with prefix length its gateway has.
    #[serde(rename = "Data", deserialize_with = "nullable")]
    pub data: BTreeMap<String, String>,
}

/// Gives a pool back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReleasePool {
    /// The plugin's handle.
    #[serde(rename = "PoolID")]
    pub pool_id: String,
}

/// Asks for an address.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RequestAddress {
    /// The plugin's handle of the pool.
    #[serde(rename = "PoolID")]
    pub pool_id: String,
    /// The address; empty for any.
    #[serde(rename = "Address", deserialize_with = "nullable")]
    pub address: String,
    /// [`ADDRESS_TYPE`], [`MAC_ADDRESS`], [`ENDPOINT_NAME`].
    #[serde(rename = "Options", deserialize_with = "nullable")]
    pub options: BTreeMap<String, String>,
}

/// An address granted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AddressGranted {
    /// The address with the subnet's prefix length.
    #[serde(deserialize_with = "nullable")]
    pub address: String,
    /// More about it.
    #[serde(deserialize_with = "nullable")]
    pub data: BTreeMap<String, String>,
}

/// Gives an address back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReleaseAddress {
    /// The plugin's handle of the pool.
    #[serde(rename = "PoolID")]
    pub pool_id: String,
    /// The address.
    #[serde(rename = "Address")]
    pub address: String,
}

macro_rules! calls {
    ($($request:ty => $method:literal -> $reply:ty;)*) => {
        $(impl Call for $request {
            const METHOD: &'static str = concat!("IpamDriver.", $method);
            type Reply = $reply;
        })*
    };
}

calls! {
    GetCapabilities => "GetCapabilities" -> Capabilities;
    GetDefaultAddressSpaces => "GetDefaultAddressSpaces" -> AddressSpaces;
    RequestPool => "RequestPool" -> PoolGranted;
    ReleasePool => "ReleasePool" -> Nothing;
    RequestAddress => "RequestAddress" -> AddressGranted;
    ReleaseAddress => "ReleaseAddress" -> Nothing;
}
