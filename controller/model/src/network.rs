//! A network: one layer-2/3 domain with one driver and its address pools.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};

use crate::{
    AddressFamily, DriverName, IpNet, Labels, Lifecycle, MacAddress, NetworkId, NetworkName, Scope, Subnet,
    Timestamp, Vni,
};

/// A network as recorded: what was asked, and what was decided for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Its identity.
    pub id: NetworkId,
    /// Its name, unique in its scope.
    pub name: NetworkName,
    /// The driver that realizes it.
    pub driver: DriverName,
    /// Whether other hosts know it.
    pub scope: Scope,
    /// How far its creation or removal has come.
    pub lifecycle: Lifecycle,
    /// When it was made.
    pub created: Timestamp,
    /// The user's labels.
    pub labels: Labels,
    /// The driver's options as typed; behind the driver only its parsed struct is used.
    pub options: Labels,
    /// Whether endpoints get IPv4 addresses.
    pub enable_ipv4: bool,
    /// Whether endpoints get IPv6 addresses.
    pub enable_ipv6: bool,
    /// No route to the outside.
    pub internal: bool,
    /// Kept for clients that ask: any container may join any network here.
    pub attachable: bool,
    /// One of the networks made at daemon start (`none`, `host`, `bridge`, the gateway bridge), which users can't remove.
    pub predefined: bool,
    /// The IPAM driver and what was asked of it.
    pub ipam: IpamConfig,
    /// The pools decided on, IPv4 before IPv6, in the order asked.
    pub pools: Vec<Pool>,
    /// One VXLAN network identifier per pool, in the pools' order; empty for drivers that need none.
    pub vnis: Vec<Vni>,
    /// A template: other networks are made from it, and no container can be connected to it.
    #[serde(default)]
    pub config_only: bool,
    /// The template that this network was made from.
    #[serde(default)]
    pub config_from: Option<NetworkName>,
    /// How the link of somebody else's that it uses was before it, so that it is given back like that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<FoundLink>,
}

/// What a link was like before a network had it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundLink {
    /// Its addresses.
    pub addresses: Vec<IpNet>,
    /// Its MTU in bytes.
    pub mtu: Option<u32>,
    /// Its Ethernet address, which it keeps.
    #[serde(default)]
    pub mac: Option<MacAddress>,
    /// Those of its sysctls that a network may change, by their paths below `/proc/sys`.
    pub settings: BTreeMap<String, String>,
}

impl Network {
    /// The pools of one family.
    pub fn pools_of(&self, family: AddressFamily) -> impl Iterator<Item = &Pool> {
        self.pools
            .iter()
            .filter(move |pool| pool.subnet.family() == family)
    }

    /// The pool that holds `address`.
    pub fn pool_around(&self, address: IpAddr) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.subnet.contains(&address))
    }
}

/// What the user asked of address management.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpamConfig {
    /// `default` for the built-in one, or a plugin's name.
    pub driver: DriverName,
    /// Options for a plugin, as typed.
    pub options: Labels,
    /// Subnets asked for; empty when the default pools are to give one.
    pub subnets: Vec<SubnetRequest>,
}

/// One `--subnet` with what belongs to it. Made only from parts of one family that lie inside the subnet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubnetRequest {
    /// The subnet, or none to take one from the default pools.
    pub subnet: Option<Subnet>,
    /// Where dynamic addresses are taken from, inside the subnet.
    pub ip_range: Option<Subnet>,
    /// The gateway's address.
    pub gateway: Option<IpAddr>,
    /// Addresses set aside for others, by name.
    pub aux_addresses: BTreeMap<String, IpAddr>,
}

/// A pool that a network holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// The IPAM driver's handle for it.
    pub id: String,
    /// The address space that it is of, where that isn't the built-in management's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub space: Option<String>,
    /// The subnet.
    pub subnet: Subnet,
    /// Where dynamic addresses are taken from.
    pub ip_range: Option<Subnet>,
    /// The gateway's address, if the driver has one.
    pub gateway: Option<IpAddr>,
    /// Addresses set aside for others, by name.
    pub aux_addresses: BTreeMap<String, IpAddr>,
}
