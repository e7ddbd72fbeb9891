//! Networks: what is asked at creation, and what `ls` and `inspect` show.

use std::{collections::BTreeMap, net::IpAddr};

use api_types as docker;
use api_types::Map;
use engine::{CreateNetwork, NetworkChange, PoolUse};
use model::{
    DriverName, Endpoint, IpamConfig, Network, NetworkName, Node, Pool, Scope, Subnet, SubnetError,
    SubnetRequest,
};

use super::endpoint;
use crate::status::{Answer, Refusal};

/// A network that a client asks for.
pub(crate) fn create(request: docker::NetworkCreate) -> Answer<CreateNetwork> {
    let name = NetworkName::new(request.name).map_err(|error| Refusal::bad_request(error.to_string()))?;
    let enable_ipv6 = request.enable_ipv6.unwrap_or(false);
    let ipam = request.ipam.unwrap_or_default();
    Ok(CreateNetwork {
        driver: driver(&request.driver)?,
        scope: scope(&request.scope)?,
        labels: request.labels,
        options: request.options,
        enable_ipv4: request.enable_ipv4.unwrap_or(true),
        enable_ipv6,
        internal: request.internal,
        attachable: request.attachable,
        ipam: IpamConfig {
            driver: driver(if ipam.driver.is_empty() {
                "default"
            } else {
                &ipam.driver
            })?
            .unwrap_or_else(default_ipam),
            options: ipam.options.unwrap_or_default(),
            subnets: subnets(ipam.config.unwrap_or_default(), enable_ipv6)?,
        },
        ingress: request.ingress,
        config_only: request.config_only,
        config_from: request
            .config_from
            .map(|from| from.network)
            .filter(|from| !from.is_empty()),
        ..CreateNetwork::named(name)
    })
}

fn default_ipam() -> DriverName {
    DriverName::new("default").expect("a literal follows the rule")
}

/// What of a network is to change. An empty name and what is not said stay.
pub(crate) fn change(request: docker::NetworkUpdate) -> Answer<NetworkChange> {
    let name = Some(request.name)
        .filter(|name| !name.is_empty())
        .map(NetworkName::new)
        .transpose()
        .map_err(|error| Refusal::bad_request(error.to_string()))?;
    let mtu = request.mtu.map(|mtu| {
        u16::try_from(mtu)
            .ok()
            .filter(|mtu| *mtu >= 68)
            .ok_or_else(|| Refusal::bad_request(format!("invalid MTU {mtu} (hint: 68 to 65535 bytes)")))
    });
    let change = NetworkChange {
        name,
        labels: request.labels,
        mtu: mtu.transpose()?,
        icc: request.icc,
        masquerade: request.masquerade,
        add_subnets: subnets(request.subnets, true)?,
    };
    if change == NetworkChange::default() {
        return Err(Refusal::bad_request(
            "nothing to change was named (hint: Name, Labels, MTU, ICC, Masquerade and Subnets can be)",
        ));
    }
    Ok(change)
}

/// An empty driver is the default one.
fn driver(text: &str) -> Answer<Option<DriverName>> {
    let name = Some(text).filter(|text| !text.is_empty()).map(DriverName::new);
    name.transpose()
        .map_err(|error| Refusal::bad_request(error.to_string()))
}

/// An empty scope is the driver's own. Swarm's scope is the cluster's here.
fn scope(text: &str) -> Answer<Option<Scope>> {
    match text {
        "" => Ok(None),
        "local" => Ok(Some(Scope::Local)),
        "global" | "swarm" => Ok(Some(Scope::Global)),
        other => Err(Refusal::bad_request(format!(
            "invalid scope {other:?} (hint: \"local\" or \"global\")"
        ))),
    }
}

/// Every violation is told, as Docker does, in one answer. IPv6 entries are passed over where IPv6 is off, as there too;
/// but a network of which nothing would be left as it was asked for is refused.
fn subnets(pools: Vec<docker::IpamPool>, ipv6: bool) -> Answer<Vec<SubnetRequest>> {
    let mut wrong = Vec::new();
    let mut requests = Vec::new();
    let mut passed_over = None;
    for pool in pools {
        if pool == docker::IpamPool::default() {
            continue;
        }
        match subnet(&pool) {
            Ok(SubnetRequest {
                subnet: Some(subnet), ..
            }) if !ipv6 && subnet.network().is_ipv6() => passed_over = Some(subnet),
            Ok(request) => requests.push(request),
            Err(more) => wrong.extend(more),
        }
    }
    if let (Some(subnet), true) = (passed_over, requests.is_empty() && wrong.is_empty()) {
        return Err(Refusal::bad_request(format!(
            "subnet {subnet} is an IPv6 one, and IPv6 is off on this network (hint: add --ipv6)"
        )));
    }
    if wrong.is_empty() {
        return Ok(requests);
    }
    Err(Refusal::bad_request(format!(
        "invalid network config:\n{}",
        wrong.join("\n")
    )))
}

fn subnet(pool: &docker::IpamPool) -> Result<SubnetRequest, Vec<String>> {
    let mut wrong = Vec::new();
    let mut parsed = |what: &str, text: &str| {
        if text.is_empty() {
            return None;
        }
        text.parse::<Subnet>()
            .map_err(|error| wrong.push(wrong_subnet(what, text, &error)))
            .ok()
    };
    let subnet = parsed("subnet", &pool.subnet);
    let ip_range = parsed("ip-range", &pool.ip_range);
    let mut inside = |what: &str, text: &str| {
        let address = text
            .parse::<IpAddr>()
            .map_err(|_| wrong.push(format!("invalid {what} {text}: no IP address")))
            .ok()?;
        if let Some(subnet) = subnet
            && !subnet.contains(&address)
        {
            wrong.push(format!(
                "invalid {what} {text}: parent subnet {subnet} doesn't contain it"
            ));
        }
        Some(address)
    };
    let gateway = Some(pool.gateway.as_str()).filter(|text| !text.is_empty());
    let gateway = gateway.and_then(|text| inside("gateway", text));
    let aux: BTreeMap<String, IpAddr> = pool
        .auxiliary_addresses
        .iter()
        .filter_map(|(name, text)| Some((name.clone(), inside("auxiliary address", text)?)))
        .collect();
    if let (Some(subnet), Some(range)) = (subnet, ip_range)
        && !subnet.net().contains(&range.net())
    {
        wrong.push(format!(
            "invalid ip-range {range}: parent subnet {subnet} doesn't contain ip-range"
        ));
    }
    if wrong.is_empty() {
        Ok(SubnetRequest {
            subnet,
            ip_range,
            gateway,
            aux_addresses: aux,
        })
    } else {
        Err(wrong)
    }
}

fn wrong_subnet(what: &str, text: &str, error: &SubnetError) -> String {
    match error {
        SubnetError::HostBits { meant, .. } => format!("invalid {what} {text}: it should be {meant}"),
        SubnetError::Malformed(_) => format!("invalid {what} {text}: no subnet such as 172.16.2.0/24"),
    }
}

/// A network as lists show it: nobody's endpoints, no peers.
pub(crate) fn summary(network: &Network) -> docker::Network {
    docker::Network {
        name: network.name.to_string(),
        id: network.id.to_string(),
        created: network.created.to_string(),
        scope: network.scope.to_string(),
        driver: network.driver.to_string(),
        enable_ipv4: network.enable_ipv4,
        enable_ipv6: network.enable_ipv6,
        ipam: ipam(network),
        internal: network.internal,
        attachable: network.attachable,
        config_only: network.config_only,
        config_from: docker::ConfigReference {
            network: network.config_from.as_deref().unwrap_or_default().to_owned(),
        },
        options: network.options.clone(),
        labels: network.labels.clone(),
        ..docker::Network::default()
    }
}

/// Networks without addresses have `null` pools, and those made at start `null` options.
fn ipam(network: &Network) -> docker::Ipam {
    let options = network.ipam.options.clone();
    docker::Ipam {
        driver: network.ipam.driver.to_string(),
        options: Some(options).filter(|options| !options.is_empty() || !network.predefined),
        config: Some(network.pools.iter().map(pool).collect::<Vec<_>>()).filter(|pools| !pools.is_empty()),
    }
}

fn pool(pool: &Pool) -> docker::IpamPool {
    docker::IpamPool {
        subnet: pool.subnet.to_string(),
        ip_range: pool.ip_range.map(|range| range.to_string()).unwrap_or_default(),
        gateway: pool
            .gateway
            .map(|gateway| gateway.to_string())
            .unwrap_or_default(),
        auxiliary_addresses: pool
            .aux_addresses
            .iter()
            .map(|(name, address)| (name.clone(), address.to_string()))
            .collect(),
    }
}

/// A network with its endpoints, this host's and others', and the hosts they are on.
pub(crate) fn inspect<'a>(
    network: &Network,
    endpoints: impl Iterator<Item = &'a Endpoint> + Clone,
    node: impl Fn(&model::NodeId) -> Option<&'a Node>,
) -> docker::Network {
    let containers: Map<_> = endpoints
        .clone()
        .map(|one| (key(one), endpoint::resource(one)))
        .collect();
    let mut hosts: Vec<_> = endpoints.filter_map(|one| node(&one.node)).collect();
    hosts.sort_by_key(|host| host.id);
    hosts.dedup_by_key(|host| host.id);
    let peer = |host: &Node| docker::PeerInfo {
        name: host.hostname.clone(),
        ip: host.address.to_string(),
    };
    let peers = match network.scope {
        Scope::Global => hosts.into_iter().map(peer).collect(),
        Scope::Local => Vec::new(),
    };
    docker::Network {
        containers,
        peers,
        ..summary(network)
    }
}

/// How much of its addresses is used.
pub(crate) fn status(pools: &[PoolUse]) -> docker::NetworkStatus {
    let subnet = |pool: &PoolUse| {
        let used = docker::SubnetStatus {
            ips_in_use: pool.in_use,
            dynamic_ips_available: pool.available,
        };
        (pool.subnet.to_string(), used)
    };
    docker::NetworkStatus {
        ipam: docker::IpamStatus {
            subnets: pools.iter().map(subnet).collect(),
        },
    }
}

/// By container id; what has no container (of ours) goes by its own id.
fn key(endpoint: &Endpoint) -> String {
    endpoint.container.map_or_else(
        || format!("ep-{}", endpoint.id),
        |container| container.to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(json: serde_json::Value) -> Answer<CreateNetwork> {
        create(serde_json::from_value(json).expect("a request"))
    }

    #[test]
    fn what_the_cli_sends_without_options_is_every_default() {
        let asked = request(serde_json::json!({
            "Name": "n", "CheckDuplicate": true, "Driver": "bridge", "Scope": "", "EnableIPv6": null,
            "IPAM": {"Driver": "default", "Options": {}, "Config": []}, "Internal": false, "Attachable": false,
            "Ingress": false, "ConfigOnly": false, "ConfigFrom": null, "Options": {}, "Labels": {}
        }))
        .expect("a network");
        assert_eq!(asked.driver.as_deref(), Some("bridge"));
        assert_eq!(
            (asked.scope, asked.enable_ipv4, asked.enable_ipv6),
            (None, true, false)
        );
        assert!(asked.ipam.subnets.is_empty());
    }

    #[test]
    fn an_empty_driver_is_the_default_one_and_an_empty_pool_is_none() {
        let asked = request(serde_json::json!({"Name": "n", "IPAM": {"Driver": "", "Config": [{}]}}))
            .expect("a network");
        assert_eq!(asked.driver, None);
        assert_eq!(asked.ipam.driver.as_str(), "default");
        assert!(asked.ipam.subnets.is_empty());
    }

    #[test]
    fn every_wrong_address_is_told_at_once() {
        let refusal = request(serde_json::json!({"Name": "n", "IPAM": {"Config": [
            {"Subnet": "10.0.0.1/24"},
            {"Subnet": "10.1.0.0/24", "Gateway": "10.2.0.1", "IPRange": "10.1.0.0/16", "AuxiliaryAddresses": {"a": "x"}}
        ]}}))
        .expect_err("all wrong");
        let message = refusal.message();
        assert!(message.starts_with("invalid network config:\n"), "{message}");
        for part in [
            "it should be 10.0.0.0/24",
            "invalid gateway 10.2.0.1",
            "invalid ip-range 10.1.0.0/16",
            "invalid auxiliary address x",
        ] {
            assert!(message.contains(part), "{part} in {message}");
        }
    }

    #[test]
    fn ipv6_pools_are_passed_over_where_ipv6_is_off_and_there_are_others() {
        let pools = serde_json::json!([{"Subnet": "10.1.0.0/24"}, {"Subnet": "fd00::/64"}]);
        let off = request(serde_json::json!({"Name": "n", "IPAM": {"Config": pools}})).expect("a network");
        assert_eq!(off.ipam.subnets.len(), 1);
        let on = request(serde_json::json!({"Name": "n", "EnableIPv6": true, "IPAM": {"Config": pools}}))
            .expect("a network");
        assert_eq!(on.ipam.subnets.len(), 2);
        let alone = serde_json::json!([{"Subnet": "fd00::/64"}]);
        let refused = request(serde_json::json!({"Name": "n", "IPAM": {"Config": alone}}));
        let refusal = refused.expect_err("it would get an IPv4 subnet");
        let message = refusal.message();
        assert!(
            message.contains("fd00::/64") && message.contains("--ipv6"),
            "{message}"
        );
    }

    #[test]
    fn what_is_not_said_stays_and_a_change_of_nothing_is_refused() {
        let asked = |json| change(serde_json::from_value(json).expect("a request"));
        let found = asked(serde_json::json!({
            "Name": "", "Labels": null, "MTU": 1400, "ICC": false, "Subnets": [{"Subnet": "10.9.0.0/24"}]
        }))
        .expect("a change");
        assert_eq!((found.name, found.labels, found.masquerade), (None, None, None));
        assert_eq!(
            (found.mtu, found.icc, found.add_subnets.len()),
            (Some(1400), Some(false), 1)
        );
        for wrong in [
            serde_json::json!({}),
            serde_json::json!({"MTU": 67}),
            serde_json::json!({"MTU": 65536}),
            serde_json::json!({"Name": "a b"}),
            serde_json::json!({"Subnets": [{"Subnet": "10.9.0.1/24"}]}),
        ] {
            assert_eq!(
                asked(wrong.clone()).expect_err("refused").status().as_u16(),
                400,
                "{wrong}"
            );
        }
    }

    #[test]
    fn names_and_scopes_are_checked_and_swarms_scope_is_global() {
        for name in ["", " ", "a b", "-x"] {
            assert!(request(serde_json::json!({"Name": name})).is_err(), "{name:?}");
        }
        assert!(request(serde_json::json!({"Name": "n", "Scope": "galaxy"})).is_err());
        let swarm = request(serde_json::json!({"Name": "n", "Scope": "swarm"})).expect("a network");
        assert_eq!(swarm.scope, Some(Scope::Global));
    }
}
