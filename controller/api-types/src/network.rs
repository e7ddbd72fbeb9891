//! Networks and endpoints.

use crate::shape::{Map, shape};

shape! {
    /// `POST /networks/create`.
    NetworkCreate {
        /// Its name.
        name: String,
        /// The driver; empty for the default one.
        driver: String,
        /// `local`, `global`, or empty for the driver's own.
        #[serde(skip_serializing_if = "String::is_empty")]
        scope: String,
        /// Whether endpoints get IPv4 addresses; absent for yes.
        #[serde(rename = "EnableIPv4", skip_serializing_if = "Option::is_none")]
        enable_ipv4: Option<bool>,
        /// Whether endpoints get IPv6 addresses; absent for no.
        #[serde(rename = "EnableIPv6", skip_serializing_if = "Option::is_none")]
        enable_ipv6: Option<bool>,
        /// Address management.
        #[serde(rename = "IPAM", skip_serializing_if = "Option::is_none")]
        ipam: Option<Ipam>,
        /// No route to the outside.
        internal: bool,
        /// Any container may join.
        attachable: bool,
        /// The routing mesh's network.
        ingress: bool,
        /// A template for others.
        config_only: bool,
        /// The template it is made from.
        #[serde(skip_serializing_if = "Option::is_none")]
        config_from: Option<ConfigReference>,
        /// The driver's options.
        options: Map<String>,
        /// The user's labels.
        labels: Map<String>,
    }
}

shape! {
    /// The answer to a creation.
    NetworkCreated {
        /// Its full id.
        id: String,
        /// What the user should know; empty for nothing.
        warning: String,
    }
}

shape! {
    /// A network, listed or inspected. Lists have no containers in it.
    Network {
        /// Its name.
        name: String,
        /// Its full id.
        id: String,
        /// When it was made, RFC 3339.
        created: String,
        /// `local` or `global`.
        scope: String,
        /// The driver that realizes it.
        driver: String,
        /// Whether endpoints get IPv4 addresses.
        #[serde(rename = "EnableIPv4")]
        enable_ipv4: bool,
        /// Whether endpoints get IPv6 addresses.
        #[serde(rename = "EnableIPv6")]
        enable_ipv6: bool,
        /// Address management.
        #[serde(rename = "IPAM")]
        ipam: Ipam,
        /// No route to the outside.
        internal: bool,
        /// Any container may join.
        attachable: bool,
        /// The routing mesh's network.
        ingress: bool,
        /// The template it was made from.
        config_from: ConfigReference,
        /// A template for others.
        config_only: bool,
        /// Endpoints by container id, or by `ep-` and the endpoint's id where the container is another host's.
        containers: Map<EndpointResource>,
        /// The driver's options as typed.
        options: Map<String>,
        /// The user's labels.
        labels: Map<String>,
        /// Hosts that have endpoints on it.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        peers: Vec<PeerInfo>,
        /// How much of it is used; only in `inspect`.
        #[serde(skip_serializing_if = "Option::is_none")]
        status: Option<NetworkStatus>,
    }
}

shape! {
    /// How much of a network is used.
    NetworkStatus {
        /// Of its addresses.
        #[serde(rename = "IPAM")]
        ipam: IpamStatus,
    }
}

shape! {
    /// How much of a network's addresses is used.
    IpamStatus {
        /// By subnet.
        subnets: Map<SubnetStatus>,
    }
}

shape! {
    /// How much of a subnet is used.
    SubnetStatus {
        /// Addresses that can't be handed out: held, set aside, or no host's.
        #[serde(rename = "IPsInUse")]
        ips_in_use: u64,
        /// Addresses that the next endpoints may get.
        #[serde(rename = "DynamicIPsAvailable")]
        dynamic_ips_available: u64,
    }
}

shape! {
    /// A reference to a template network.
    ConfigReference {
        /// Its name.
        network: String,
    }
}

shape! {
    /// A host that has endpoints on a network.
    PeerInfo {
        /// The host's name.
        name: String,
        /// Its underlay address.
        #[serde(rename = "IP")]
        ip: String,
    }
}

shape! {
    /// Address management of a network.
    Ipam {
        /// The IPAM driver.
        driver: String,
        /// Its options; `null` when none were given.
        options: Option<Map<String>>,
        /// Its pools; `null` for networks that have no addresses.
        config: Option<Vec<IpamPool>>,
    }
}

shape! {
    /// One subnet.
    IpamPool {
        /// The subnet.
        #[serde(skip_serializing_if = "String::is_empty")]
        subnet: String,
        /// Where dynamic addresses are taken from.
        #[serde(rename = "IPRange", skip_serializing_if = "String::is_empty")]
        ip_range: String,
        /// The gateway's address.
        #[serde(skip_serializing_if = "String::is_empty")]
        gateway: String,
        /// Addresses set aside for others, by name.
        #[serde(skip_serializing_if = "Map::is_empty")]
        auxiliary_addresses: Map<String>,
    }
}

shape! {
    /// An endpoint, as `inspect` of its network shows it.
    EndpointResource {
        /// The endpoint's name: its container's.
        name: String,
        /// The endpoint's id.
        #[serde(rename = "EndpointID")]
        endpoint_id: String,
        /// Ethernet address.
        mac_address: String,
        /// Address with prefix length, or empty.
        #[serde(rename = "IPv4Address")]
        ipv4_address: String,
        /// Address with prefix length, or empty.
        #[serde(rename = "IPv6Address")]
        ipv6_address: String,
    }
}

shape! {
    /// `POST /networks/ID/connect`.
    Connect {
        /// The container's name or id.
        container: String,
        /// What the endpoint should be like.
        #[serde(skip_serializing_if = "Option::is_none")]
        endpoint_config: Option<EndpointSettings>,
    }
}

shape! {
    /// `POST /networks/ID/disconnect`.
    Disconnect {
        /// The container's name or id.
        container: String,
        /// Even when the container is lost.
        force: bool,
    }
}

shape! {
    /// `POST /networks/prune`.
    NetworksPruned {
        /// Names of those removed; `null` for none.
        networks_deleted: Option<Vec<String>>,
    }
}

shape! {
    /// An endpoint: as asked for at creation and connect, and as a container's `inspect` shows it.
    EndpointSettings {
        /// Addresses asked for; `null` when none were.
        #[serde(rename = "IPAMConfig")]
        ipam_config: Option<EndpointIpamConfig>,
        /// `container:alias` pairs.
        links: Option<Vec<String>>,
        /// Further names on this network.
        aliases: Option<Vec<String>>,
        /// Ethernet address.
        mac_address: String,
        /// The driver's options for this endpoint.
        driver_opts: Option<Map<String>>,
        /// Precedence in the choice of the default gateway; the highest wins.
        gw_priority: i64,
        /// The network's id.
        #[serde(rename = "NetworkID")]
        network_id: String,
        /// The endpoint's id; empty while the container doesn't run.
        #[serde(rename = "EndpointID")]
        endpoint_id: String,
        /// IPv4 gateway of the network.
        gateway: String,
        /// IPv4 address without prefix length.
        #[serde(rename = "IPAddress")]
        ip_address: String,
        /// Its prefix length.
        #[serde(rename = "IPPrefixLen")]
        ip_prefix_len: u32,
        /// IPv6 gateway of the network.
        #[serde(rename = "IPv6Gateway")]
        ipv6_gateway: String,
        /// IPv6 address without prefix length.
        #[serde(rename = "GlobalIPv6Address")]
        global_ipv6_address: String,
        /// Its prefix length.
        #[serde(rename = "GlobalIPv6PrefixLen")]
        global_ipv6_prefix_len: u32,
        /// Every name it answers to: container name, aliases, short id, hostname.
        #[serde(rename = "DNSNames")]
        dns_names: Option<Vec<String>>,
    }
}

shape! {
    /// Addresses asked for.
    EndpointIpamConfig {
        /// `--ip`.
        #[serde(rename = "IPv4Address", skip_serializing_if = "String::is_empty")]
        ipv4_address: String,
        /// `--ip6`.
        #[serde(rename = "IPv6Address", skip_serializing_if = "String::is_empty")]
        ipv6_address: String,
        /// `--link-local-ip`.
        #[serde(rename = "LinkLocalIPs", skip_serializing_if = "Vec::is_empty")]
        link_local_ips: Vec<String>,
    }
}

shape! {
    /// `POST /networks/ID/update` (ours), with `?dryrun=1` to be told only: what is to change while containers are on
    /// the network. What is absent, empty or `null` stays.
    NetworkUpdate {
        /// Its new name.
        name: String,
        /// All of its labels.
        labels: Option<Map<String>>,
        /// MTU in bytes.
        #[serde(rename = "MTU")]
        mtu: Option<u32>,
        /// Whether its containers reach each other.
        #[serde(rename = "ICC")]
        icc: Option<bool>,
        /// Whether packets to the outside get the host's address.
        masquerade: Option<bool>,
        /// Subnets to add.
        subnets: Vec<IpamPool>,
    }
}

shape! {
    /// The answer to it.
    NetworkUpdated {
        /// The network's id.
        id: String,
        /// What was or would be done in the kernel, a line each: `~` changed, `+` made, `-` removed.
        steps: Vec<String>,
    }
}
