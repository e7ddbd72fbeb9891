//! Pure: records become a plugin's requests, and its answers become what the controller needs.

use std::net::IpAddr;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use model::{
    AddressFamily, Endpoint, EndpointAddresses, ExposedPorts, InterfaceName, IpNet, MacAddress, Network,
    PluginAnswer, Pool, Protocol, PublishedPorts, Scope, Subnet,
};
use plugin_proto::{
    Options,
    network_driver::{
        CONNECTED, CreateNetwork, ENABLE_IPV4, ENABLE_IPV6, EXPOSED_PORTS, EndpointInterface, GENERIC,
        INTERNAL, IpamData, Joined, MAC_ADDRESS, NEXT_HOP, PORT_MAP, PortBinding, StaticRoute, TransportPort,
    },
};
use serde_json::{Value, json};

use crate::{Draft, Target};

/// More routes than any sandbox has use for are an answer that makes no sense.
const MOST_ROUTES: usize = 1000;

/// What is wrong with an answer.
pub(super) type Reason = String;

pub(super) fn draft_options(draft: &Draft<'_>) -> Options {
    let has = |family| draft.families.contains(&family);
    options(
        draft.options,
        has(AddressFamily::V4),
        has(AddressFamily::V6),
        draft.internal,
    )
}

fn options(typed: &model::Labels, ipv4: bool, ipv6: bool, internal: bool) -> Options {
    let mut options = Options::new();
    options.insert(ENABLE_IPV4.to_owned(), json!(ipv4));
    options.insert(ENABLE_IPV6.to_owned(), json!(ipv6));
    options.insert(GENERIC.to_owned(), json!(typed));
    if internal {
        options.insert(INTERNAL.to_owned(), json!(true));
    }
    options
}

pub(super) fn create_network(network: &Network) -> CreateNetwork {
    let of = |family| {
        let pools = network.pools_of(family);
        pools.map(|pool| ipam_data(network, pool)).collect::<Vec<_>>()
    };
    let mut ipv4_data = of(AddressFamily::V4);
    // What Docker's own `null` gives.
    if network.enable_ipv4 && network.ipam.driver.as_str() == "null" {
        ipv4_data.push(IpamData {
            address_space: "null".to_owned(),
            pool: Some("0.0.0.0/0".to_owned()),
            gateway: Some("0.0.0.0/0".to_owned()),
            ..IpamData::default()
        });
    }
    CreateNetwork {
        network_id: network.id.to_string(),
        options: options(
            &network.options,
            network.enable_ipv4,
            network.enable_ipv6,
            network.internal,
        ),
        ipv4_data,
        ipv6_data: of(AddressFamily::V6),
    }
}

fn ipam_data(network: &Network, pool: &Pool) -> IpamData {
    let with_prefix = |address: &IpAddr| format!("{address}/{}", pool.subnet.prefix_len());
    let aux = pool.aux_addresses.iter();
    let space = pool.space.as_deref().unwrap_or(match network.scope {
        Scope::Local => "LocalDefault",
        Scope::Global => "GlobalDefault",
    });
    IpamData {
        address_space: space.to_owned(),
        pool: Some(pool.subnet.to_string()),
        gateway: pool.gateway.as_ref().map(with_prefix),
        aux_addresses: aux
            .map(|(name, address)| (name.clone(), with_prefix(address)))
            .collect(),
    }
}

pub(super) fn interface(addresses: &EndpointAddresses) -> EndpointInterface {
    let text = |value: Option<String>| value.unwrap_or_default();
    EndpointInterface {
        address: text(addresses.ipv4.map(|net| net.to_string())),
        address_ipv6: text(addresses.ipv6.map(|net| net.to_string())),
        mac_address: text(addresses.mac.map(|mac| mac.to_string())),
    }
}

/// What an endpoint is told: its sandbox's ports where they can be reached, its Ethernet address, and what the user typed.
pub(super) fn endpoint_options(network: &Network, endpoint: &Endpoint, target: &Target) -> Options {
    let mut options = match network.internal {
        true => Options::new(),
        false => sandbox_options(&target.ports, &target.exposed),
    };
    if let Some(mac) = endpoint.addresses.mac {
        options.insert(MAC_ADDRESS.to_owned(), json!(STANDARD.encode(mac.octets())));
    }
    let typed = endpoint.options.iter();
    options.extend(typed.map(|(key, value)| (key.clone(), json!(value))));
    options
}

pub(super) fn sandbox_options(ports: &[PublishedPorts], exposed: &[ExposedPorts]) -> Options {
    let exposed = exposed.iter().flat_map(|exposed| {
        let proto = number(exposed.protocol);
        exposed
            .ports
            .iter()
            .map(move |port| json!(TransportPort { proto, port }))
    });
    let ports = ports.iter().flat_map(bindings).map(|binding| json!(binding));
    let lists = [
        (EXPOSED_PORTS, exposed.collect::<Vec<Value>>()),
        (PORT_MAP, ports.collect()),
    ];
    lists
        .into_iter()
        .map(|(key, list)| (key.to_owned(), Value::Array(list)))
        .collect()
}

fn bindings(ports: &PublishedPorts) -> Vec<PortBinding> {
    let pairs = ports.container.iter().zip(ports.host.iter());
    pairs
        .map(|(port, host_port)| PortBinding {
            proto: number(ports.protocol),
            ip: String::new(),
            port,
            host_ip: ports.host_ip.to_string(),
            host_port,
            host_port_end: host_port,
        })
        .collect()
}

/// IANA's number of a protocol.
fn number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    }
}

/// Addresses that a plugin chose. It may only fill in what was left to it.
pub(super) fn chosen(
    had: &EndpointAddresses,
    answer: &EndpointInterface,
) -> Result<EndpointAddresses, Reason> {
    let mac: Option<MacAddress> = parsed("MAC address", &answer.mac_address)?;
    let v4: Option<IpNet> = parsed("IPv4 address", &answer.address)?;
    let v6: Option<IpNet> = parsed("IPv6 address", &answer.address_ipv6)?;
    let ipv4 = match v4 {
        Some(IpNet::V4(net)) => Some(net),
        Some(IpNet::V6(net)) => return Err(format!("{net} is no IPv4 address")),
        None => None,
    };
    let ipv6 = match v6 {
        Some(IpNet::V6(net)) => Some(net),
        Some(IpNet::V4(net)) => return Err(format!("{net} is no IPv6 address")),
        None => None,
    };
    Ok(EndpointAddresses {
        mac: filled("MAC address", had.mac, mac)?,
        ipv4: filled("IP", had.ipv4, ipv4)?,
        ipv6: filled("IPv6", had.ipv6, ipv6)?,
        link_local: Vec::new(),
    })
}

fn parsed<T: std::str::FromStr>(what: &str, text: &str) -> Result<Option<T>, Reason> {
    match text {
        "" => Ok(None),
        text => text
            .parse()
            .map(Some)
            .map_err(|_| format!("invalid {what} {text:?}")),
    }
}

/// Only what is new.
fn filled<T: PartialEq + std::fmt::Display>(
    what: &str,
    had: Option<T>,
    chosen: Option<T>,
) -> Result<Option<T>, Reason> {
    match (had, chosen) {
        (None, chosen) => Ok(chosen),
        (Some(had), Some(chosen)) if had != chosen => Err(format!(
            "driver modified interface {what}: endpoint interface {what} present ({had}). Cannot be modified with \
             {chosen}."
        )),
        (Some(_), _) => Ok(None),
    }
}

/// What an answer to Join means, with the prefix of the interface's name in the sandbox.
pub(super) fn joined(answer: &Joined) -> Result<(PluginAnswer, Option<String>), Reason> {
    let name = answer.interface_name.clone().unwrap_or_default();
    let link = match name.src_name.as_str() {
        "" => None,
        text => Some(InterfaceName::new(text).map_err(|error| error.to_string())?),
    };
    let prefix = Some(name.dst_prefix).filter(|prefix| !prefix.is_empty());
    if let Some(prefix) = &prefix {
        InterfaceName::numbered(prefix, 0).map_err(|error| error.to_string())?;
    }
    let gateway_v4 = gateway(AddressFamily::V4, &answer.gateway)?;
    let gateway_v6 = gateway(AddressFamily::V6, &answer.gateway_ipv6)?;
    if answer.static_routes.len() > MOST_ROUTES {
        let count = answer.static_routes.len();
        return Err(format!("{count} routes are more than {MOST_ROUTES}"));
    }
    let routes = answer.static_routes.iter().map(route);
    let routes: Vec<_> = routes.collect::<Result<_, _>>()?;
    let leads_out = routes
        .iter()
        .any(|(destination, _): &(Subnet, _)| destination.prefix_len() == 0);
    let answer = PluginAnswer {
        link,
        gateway_v4,
        gateway_v6,
        routes,
        no_gateway_bridge: answer.disable_gateway_service || leads_out,
    };
    Ok((answer, prefix))
}

fn gateway(family: AddressFamily, text: &str) -> Result<Option<IpAddr>, Reason> {
    let gateway: Option<IpAddr> = parsed("gateway", text)?;
    match gateway {
        Some(gateway) if AddressFamily::of(gateway) != family => {
            Err(format!("the {family} gateway can't be {gateway}"))
        }
        other => Ok(other),
    }
}

fn route(route: &StaticRoute) -> Result<(Subnet, Option<IpAddr>), Reason> {
    let destination: IpNet = parsed("route destination", &route.destination)?
        .ok_or_else(|| "a route has no destination".to_owned())?;
    let next_hop: Option<IpAddr> = parsed("next hop", &route.next_hop)?;
    let destination = Subnet::around(destination);
    match (route.route_type, next_hop) {
        (NEXT_HOP, Some(hop)) if AddressFamily::of(hop) == destination.family() => {
            Ok((destination, Some(hop)))
        }
        (CONNECTED, _) => Ok((destination, None)),
        (NEXT_HOP, _) => Err(format!(
            "the route to {destination} has no next hop of its family"
        )),
        (other, _) => Err(format!("a route has the type {other}")),
    }
}

#[cfg(test)]
mod tests;
