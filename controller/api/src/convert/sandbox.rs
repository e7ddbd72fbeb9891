//! Sandboxes in namespaces that somebody else made: what is asked, and what `inspect` shows.

use std::net::IpAddr;

use api_types as wire;
use engine::{AttachForeign, AttachedForeign, ForeignSandbox, Observed, ObservedRoute};
use model::{DnsConfig, InterfaceName, IpNet, NAME_SERVER};

use super::{endpoint, ports};
use crate::status::{Answer, Refusal};

/// An interface that a client asks for.
pub(crate) fn attach(asked: wire::SandboxAttach) -> Answer<AttachForeign> {
    Ok(AttachForeign {
        ports: ports::bindings(&asked.port_bindings)?,
        interface: interface(&asked.interface)?,
        addresses: asked
            .addresses
            .iter()
            .map(|text| address(text))
            .collect::<Answer<_>>()?,
        mac: endpoint::mac(&asked.mac_address)?,
        gateway_priority: i32::try_from(asked.gw_priority)
            .map_err(|_| Refusal::bad_request(format!("invalid gateway priority {}", asked.gw_priority)))?,
        dns: DnsConfig {
            servers: asked
                .dns
                .iter()
                .map(|text| address(text))
                .collect::<Answer<_>>()?,
            search: asked.dns_search,
            options: asked.dns_options,
        },
        manager: asked.manager,
        key: asked.key,
        netns: asked.netns.into(),
        group: asked.group,
        network: asked.network,
        name: asked.name,
        hostname: asked.hostname,
        aliases: asked.aliases,
        options: asked.driver_opts,
    })
}

/// An interface's name; empty for none.
pub(crate) fn interface(text: &str) -> Answer<Option<InterfaceName>> {
    if text.is_empty() {
        return Ok(None);
    }
    let named = InterfaceName::new(text).map_err(|error| Refusal::bad_request(error.to_string()));
    named.map(Some)
}

fn address(text: &str) -> Answer<IpAddr> {
    let refused = |_| Refusal::bad_request(format!("{text:?} is no IP address"));
    text.parse().map_err(refused)
}

/// What was made.
pub(crate) fn attached(made: &AttachedForeign) -> wire::SandboxAttached {
    let endpoint = &made.endpoint;
    let own = endpoint.addresses.iter();
    wire::SandboxAttached {
        sandbox_id: made.sandbox.id.to_string(),
        endpoint_id: endpoint.id.to_string(),
        network_id: made.network.id.to_string(),
        interface: text(endpoint.interface.as_ref()),
        host_interface: text(made.host_link.as_ref()),
        mac_address: text(endpoint.addresses.mac.as_ref()),
        mtu: made.mtu.unwrap_or_default(),
        addresses: own
            .map(|net| wire::SandboxAddress {
                address: net.to_string(),
                gateway: gateway(net, made),
            })
            .collect(),
        routes: made
            .routes
            .iter()
            .map(|(destination, hop)| wire::SandboxRoute {
                destination: destination.to_string(),
                gateway: text(hop.as_ref()),
                interface: String::new(),
            })
            .collect(),
        name_server: NAME_SERVER.to_string(),
    }
}

/// The gateway of an address' family; everything on link is none.
fn gateway(net: IpNet, made: &AttachedForeign) -> String {
    let offered = match net {
        IpNet::V4(_) => made.gateways.v4,
        IpNet::V6(_) => made.gateways.v6,
    };
    text(offered.filter(|ip| !ip.is_unspecified()).as_ref())
}

/// A sandbox, listed.
pub(crate) fn summary(found: &ForeignSandbox) -> wire::Sandbox {
    let sandbox = &found.sandbox;
    let foreign = sandbox.foreign();
    let endpoints = found
        .endpoints
        .iter()
        .map(|(endpoint, network)| wire::SandboxEndpoint {
            endpoint_id: endpoint.id.to_string(),
            network_id: network.id.to_string(),
            network: network.name.to_string(),
            group: engine::foreign_group(endpoint).to_owned(),
            interface: text(endpoint.interface.as_ref()),
            name: endpoint.name.clone(),
            dns_names: endpoint.dns_names.clone(),
            mac_address: text(endpoint.addresses.mac.as_ref()),
            addresses: endpoint.addresses.iter().map(|net| net.to_string()).collect(),
        });
    wire::Sandbox {
        id: sandbox.id.to_string(),
        manager: foreign.map(|it| it.manager.clone()).unwrap_or_default(),
        key: foreign.map(|it| it.key.clone()).unwrap_or_default(),
        netns: foreign
            .map(|it| it.path.display().to_string())
            .unwrap_or_default(),
        hostname: sandbox.hostname.clone(),
        created: String::from(sandbox.created),
        endpoints: endpoints.collect(),
        ports: ports::published(&sandbox.ports),
        observed: None,
    }
}

/// What is in its namespace.
pub(crate) fn observed(seen: &Observed) -> wire::SandboxObserved {
    let links = seen.links.iter().map(|link| wire::SandboxLink {
        name: link.name.to_string(),
        mac_address: text(link.mac.as_ref()),
        mtu: link.mtu.unwrap_or_default(),
        up: link.up,
        addresses: link.addresses.iter().map(ToString::to_string).collect(),
    });
    let routes = seen
        .routes
        .iter()
        .map(|route: &ObservedRoute| wire::SandboxRoute {
            destination: route.0.to_string(),
            gateway: text(route.1.as_ref()),
            interface: route.2.to_string(),
        });
    wire::SandboxObserved {
        interfaces: links.collect(),
        routes: routes.collect(),
        missing: seen.missing.clone(),
    }
}

fn text(value: Option<&impl ToString>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}
