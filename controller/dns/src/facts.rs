//! What name service needs of the records, and the changes to it.
//!
//! Facts are smaller than records and change less often: an endpoint whose options change is no change here.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
};

use model::{
    AddressFamily, DnsPorts, Endpoint, EndpointId, ExposedPorts, Lifecycle, NameOptions, Network, NetworkId,
    PublishedPorts, Sandbox, SandboxId, Scope, Timestamp,
};
use serde::{Deserialize, Serialize};

/// Set on the network that containers are on without being told to.
const DEFAULT_BRIDGE: &str = "com.docker.network.bridge.default_bridge";
const FAMILIES: [AddressFamily; 2] = [AddressFamily::V4, AddressFamily::V6];

/// A network, as names see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkFacts {
    /// Its identity.
    pub id: NetworkId,
    /// Its name, which may stand behind an endpoint's.
    pub name: String,
    /// Whether its endpoints have names. On the gateway bridge, where nobody meets, they have none.
    pub named: bool,
    /// Whether it was made at daemon start: it comes behind the user's own.
    #[serde(default)]
    pub predefined: bool,
    /// Whether a sandbox on it reaches the outside, so that foreign names may be asked of the host's servers.
    pub outside: bool,
    /// How many families have a gateway: part of the networks' order.
    pub gateways: u8,
    /// Addresses of names of the user's own, `*.` for all names below.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub records: BTreeMap<String, Vec<IpAddr>>,
    /// Servers for some domains and all below them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub forwards: BTreeMap<String, Vec<SocketAddr>>,
    /// Addresses of this host, its gateway's, at which the host itself may ask for its names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<IpAddr>,
    /// Families in which this host's published ports may lead to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub publishes: Vec<AddressFamily>,
}

/// An endpoint, as names see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointFacts {
    /// Its identity.
    pub id: EndpointId,
    /// The network it is on.
    pub network: NetworkId,
    /// The sandbox it is in.
    pub sandbox: SandboxId,
    /// Its names, the one for reverse lookups first.
    pub names: Vec<String>,
    /// Aliases of other endpoints that only this sandbox sees.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub links: BTreeMap<String, String>,
    /// IPv4 address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv4: Option<Ipv4Addr>,
    /// IPv6 address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<Ipv6Addr>,
    /// Precedence of its network in its sandbox.
    #[serde(default)]
    pub priority: i32,
}

/// A sandbox to be served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxFacts {
    /// Its identity.
    pub id: SandboxId,
    /// When it was made: one made anew at the same place is another one, whose sockets are opened anew.
    pub created: Timestamp,
    /// Where its namespace is pinned.
    pub netns: PathBuf,
    /// The ports to serve on inside it.
    pub ports: DnsPorts,
    /// Its own upstream servers, asked from inside it; empty for the host's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<IpAddr>,
    /// Whether its resolver was told after how many dots a name is whole; none where the host's file says that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ndots: Option<bool>,
    /// Another name server is at 127.0.0.11 there, behind ours: what isn't ours is asked of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub behind: bool,
    /// Ports it listens on, for who asks for a service.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exposed: Vec<ExposedPorts>,
    /// Ports of the host that lead to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub published: Vec<PublishedPorts>,
}

/// One change to what is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// A network is new or changed.
    Network(NetworkFacts),
    /// A network is gone.
    NoNetwork(NetworkId),
    /// An endpoint is new or changed.
    Endpoint(EndpointFacts),
    /// An endpoint is gone.
    NoEndpoint(EndpointId),
    /// A sandbox is new or changed.
    Sandbox(SandboxFacts),
    /// A sandbox is gone.
    NoSandbox(SandboxId),
    /// The file that lists the host's servers.
    HostFile(PathBuf),
}

impl NetworkFacts {
    /// What names need of a network's record.
    pub fn of(network: &Network) -> Self {
        let gateways = || network.pools.iter().filter_map(|pool| pool.gateway);
        let has_gateway = |family| gateways().any(|gateway| AddressFamily::of(gateway) == family);
        let options = NameOptions::understood(&network.options);
        let bridge = network.driver.as_str() == "bridge";
        Self {
            id: network.id,
            name: network.name.to_string(),
            named: !network.predefined || network.options.contains_key(DEFAULT_BRIDGE),
            predefined: network.predefined,
            outside: !network.internal && network.driver.as_str() != "null",
            gateways: FAMILIES.map(|family| u8::from(has_gateway(family))).iter().sum(),
            listeners: gateways().filter(|_| options.host && bridge).collect(),
            records: options.records,
            forwards: options.forwards,
            publishes: FAMILIES
                .into_iter()
                .filter(|family| bridge && publishes(network, *family))
                .collect(),
        }
    }
}

/// Ports of the host lead to a bridge network of this host that has a way out and translates addresses.
fn publishes(network: &Network, family: AddressFamily) -> bool {
    let mode = match family {
        AddressFamily::V4 => "com.docker.network.bridge.gateway_mode_ipv4",
        AddressFamily::V6 => "com.docker.network.bridge.gateway_mode_ipv6",
    };
    let mode = network.options.get(mode).map_or("nat", String::as_str);
    !network.internal && network.scope == Scope::Local && !matches!(mode, "routed" | "isolated")
}

/// Whether a resolver's options say after how many dots a name is whole.
pub fn has_ndots<T: AsRef<str>>(options: &[T]) -> bool {
    let mut given = options
        .iter()
        .filter_map(|option| option.as_ref().strip_prefix("ndots:"));
    given.any(|dots| dots.parse::<u8>().is_ok())
}

impl EndpointFacts {
    /// What names need of an endpoint's record; none of one that is not in use.
    pub fn of(endpoint: &Endpoint) -> Option<Self> {
        (endpoint.lifecycle == Lifecycle::Active).then(|| Self {
            id: endpoint.id,
            network: endpoint.network,
            sandbox: endpoint.sandbox,
            names: endpoint.dns_names.clone(),
            links: endpoint
                .links
                .iter()
                .map(|(alias, name)| (alias.clone(), name.clone()))
                .collect(),
            ipv4: endpoint.addresses.ipv4.map(|net| net.addr()),
            ipv6: endpoint.addresses.ipv6.map(|net| net.addr()),
            priority: endpoint.gateway_priority,
        })
    }
}

impl SandboxFacts {
    /// What names need of a sandbox's record; none of one that is not to be served.
    pub fn of(sandbox: &Sandbox) -> Option<Self> {
        let netns = sandbox
            .netns()
            .filter(|_| sandbox.lifecycle == Lifecycle::Active)?;
        Some(Self {
            id: sandbox.id,
            created: sandbox.created,
            netns: netns.clone(),
            ports: sandbox.dns_ports,
            servers: sandbox.dns.servers.clone(),
            // Who dresses a sandbox answers for short names, too.
            ndots: match sandbox.foreign().is_some_and(|foreign| foreign.dressed) {
                true => Some(false),
                false => (!sandbox.dns.options.is_empty()).then(|| has_ndots(&sandbox.dns.options)),
            },
            behind: sandbox.foreign().is_some_and(|foreign| foreign.dressed),
            exposed: sandbox.exposed.clone(),
            published: sandbox.ports.clone(),
        })
    }
}
