//! The network driver: Docker's calls, in their order for one container: `CreateEndpoint`, `Join`,
//! `ProgramExternalConnectivity`, and back.

use std::{net::IpAddr, sync::Arc};

use async_trait::async_trait;
use controller::{JoinDressed, JoinedDressed};
use model::{EndpointId, IpNet, Labels, MacAddress, Network, Timestamp};
use plugin_proto::{
    Nothing, Options,
    network_driver::{self as net, EndpointInterface},
    server::{Answer, NetworkDriver},
};
use serde_json::Value;

use crate::{
    MANAGER, Shared, networks, ports,
    records::{self, Note},
    refusal::{Result, refused, tell},
};

/// Answers Docker's calls.
#[derive(Debug)]
pub(crate) struct Driver(pub(crate) Arc<Shared>);

/// A call answered, or refused under its own name.
macro_rules! answer {
    ($method:literal, $call:expr) => {
        $call.await.map_err(|error| tell($method, &error))
    };
}

#[async_trait]
impl NetworkDriver for Driver {
    /// Records are each daemon's own, since Docker keeps global ones for its swarm alone; packets reach every host.
    async fn get_capabilities(&self) -> Answer<net::Capabilities> {
        self.0.called.notify_one();
        Ok(net::Capabilities {
            scope: "local".to_owned(),
            connectivity_scope: "global".to_owned(),
            ..net::Capabilities::default()
        })
    }

    async fn create_network(&self, call: net::CreateNetwork) -> Answer<Nothing> {
        answer!("CreateNetwork", networks::create(&self.0, &call)).map(|()| Nothing {})
    }

    async fn delete_network(&self, call: net::DeleteNetwork) -> Answer<Nothing> {
        answer!("DeleteNetwork", networks::delete(&self.0, &call)).map(|()| Nothing {})
    }

    async fn create_endpoint(&self, call: net::CreateEndpoint) -> Answer<net::CreatedEndpoint> {
        answer!("CreateEndpoint", create(&self.0, &call))
    }

    async fn delete_endpoint(&self, call: net::DeleteEndpoint) -> Answer<Nothing> {
        answer!("DeleteEndpoint", delete(&self.0, &call.endpoint_id)).map(|()| Nothing {})
    }

    async fn endpoint_oper_info(&self, call: net::EndpointOperInfo) -> Answer<net::OperInfo> {
        answer!("EndpointOperInfo", oper_info(&self.0, &call))
    }

    async fn join(&self, call: net::Join) -> Answer<net::Joined> {
        answer!("Join", join(&self.0, &call))
    }

    async fn leave(&self, call: net::Leave) -> Answer<Nothing> {
        answer!("Leave", leave(&self.0, &call)).map(|()| Nothing {})
    }

    async fn program_external_connectivity(&self, call: net::ProgramExternalConnectivity) -> Answer<Nothing> {
        answer!("ProgramExternalConnectivity", program(&self.0, &call)).map(|()| Nothing {})
    }

    async fn revoke_external_connectivity(&self, call: net::RevokeExternalConnectivity) -> Answer<Nothing> {
        answer!("RevokeExternalConnectivity", revoke(&self.0, &call)).map(|()| Nothing {})
    }
}

async fn create(shared: &Shared, call: &net::CreateEndpoint) -> Result<net::CreatedEndpoint> {
    let (id, docker) = (
        endpoint_id(&call.endpoint_id)?,
        networks::docker_id(&call.network_id)?,
    );
    let network = shared.network_of(docker).await?;
    let addresses = addresses(&network, &call.interface)?;
    let given = mac(&call.interface.mac_address)?;
    // All ipvlans of a parent wear its own.
    let derives = network.driver.as_str() != "ipvlan";
    let derived = || {
        addresses
            .first()
            .filter(|_| derives)
            .map(|ip| MacAddress::from_ip(*ip))
    };
    let note = Note {
        id,
        docker,
        network: network.id,
        mac: given.or_else(derived),
        addresses,
        options: labels(&call.options),
        exposed: ports::exposed(&call.options)?,
        made: Timestamp::now(),
    };
    shared.local().commit(records::notes().put(id, &note)).await?;
    // Only what was left open may be answered.
    let chosen = note.mac.filter(|_| given.is_none());
    Ok(net::CreatedEndpoint {
        interface: chosen.map(|mac| EndpointInterface {
            mac_address: mac.to_string(),
            ..EndpointInterface::default()
        }),
    })
}

/// Pure: the endpoint's addresses. Docker has them from address management, ours or its own.
fn addresses(network: &Network, interface: &EndpointInterface) -> Result<Vec<IpAddr>> {
    let mut addresses = Vec::new();
    for text in [&interface.address, &interface.address_ipv6] {
        if !text.is_empty() {
            let net: IpNet = text.parse().map_err(|_| {
                refused(
                    format!("{text:?} is no address"),
                    "an address is written 10.5.0.9/24",
                )
            })?;
            addresses.push(net.addr());
        }
    }
    match addresses.is_empty() {
        false => Ok(addresses),
        true => Err(refused(
            format!("an endpoint of network {:?} needs an address", &*network.name),
            "create Docker's network without --ipam-driver null",
        )),
    }
}

fn mac(text: &str) -> Result<Option<MacAddress>> {
    match text {
        "" => Ok(None),
        text => text
            .parse()
            .map(Some)
            .map_err(|error: model::MacError| refused(format!("{text:?}: {error}"), "leave it out")),
    }
}

/// Pure: what the user typed with `--driver-opt`. Docker's own are for Docker.
fn labels(options: &Options) -> Labels {
    let own = options.iter().filter(|(key, _)| !key.starts_with("com.docker."));
    let texts = own.filter_map(|(key, value)| match value {
        Value::String(text) => Some((key.clone(), text.clone())),
        _ => None,
    });
    texts.collect()
}

async fn join(shared: &Shared, call: &net::Join) -> Result<net::Joined> {
    let id = endpoint_id(&call.endpoint_id)?;
    let found = records::notes().get(shared.local(), id).await?;
    let note = found.map(|found| found.record).ok_or_else(|| {
        refused(
            format!("endpoint {} is not known", id.short()),
            "start the container again",
        )
    })?;
    let network = shared.network_of(note.docker).await?;
    let of = |v4: bool| note.addresses.iter().copied().find(|ip| ip.is_ipv4() == v4);
    let joined = shared.controller.dressed.join(JoinDressed {
        id,
        network: network.id,
        manager: MANAGER.to_owned(),
        netns: call.sandbox_key.clone().into(),
        ipv4: of(true).and_then(|ip| match ip {
            IpAddr::V4(v4) => Some(v4),
            IpAddr::V6(_) => None,
        }),
        ipv6: of(false).and_then(|ip| match ip {
            IpAddr::V6(v6) => Some(v6),
            IpAddr::V4(_) => None,
        }),
        mac: note.mac,
        options: note.options,
        exposed: note.exposed,
    });
    let answer = answer(&network, &joined.await?);
    shared.joined.notify_one();
    Ok(answer)
}

/// Pure: how Docker is to dress the sandbox.
fn answer(network: &Network, joined: &JoinedDressed) -> net::Joined {
    let text = |ip: Option<IpAddr>| ip.map(|ip| ip.to_string()).unwrap_or_default();
    let attachment = &joined.attachment;
    let routes = attachment.routes.iter().map(|route| net::StaticRoute {
        destination: route.destination.to_string(),
        route_type: match route.next_hop {
            Some(_) => net::NEXT_HOP,
            None => net::CONNECTED,
        },
        next_hop: text(route.next_hop),
    });
    let source = joined.endpoint.interface.as_ref();
    net::Joined {
        interface_name: source.map(|source| net::InterfaceName {
            src_name: source.to_string(),
            dst_prefix: joined.prefix.clone(),
            ..net::InterfaceName::default()
        }),
        gateway: text(attachment.gateway_v4),
        gateway_ipv6: text(attachment.gateway_v6),
        static_routes: routes.collect(),
        // Who is on an overlay alone goes out by Docker's own gateway bridge.
        disable_gateway_service: network.driver.as_str() != "overlay" || network.internal,
    }
}

async fn leave(shared: &Shared, call: &net::Leave) -> Result<()> {
    Ok(shared
        .controller
        .dressed
        .leave(endpoint_id(&call.endpoint_id)?)
        .await?)
}

async fn delete(shared: &Shared, endpoint: &str) -> Result<()> {
    remove(shared, endpoint_id(endpoint)?).await
}

/// Removes an endpoint with what was noted of it. One that isn't there is no error.
pub(crate) async fn remove(shared: &Shared, id: EndpointId) -> Result<()> {
    shared.controller.dressed.delete(id).await?;
    shared.local().commit(records::notes().delete(id)).await?;
    Ok(())
}

async fn program(shared: &Shared, call: &net::ProgramExternalConnectivity) -> Result<()> {
    let id = endpoint_id(&call.endpoint_id)?;
    let wanted = ports::bindings(&call.options)?;
    shared.controller.dressed.publish(id, wanted).await?;
    Ok(())
}

async fn revoke(shared: &Shared, call: &net::RevokeExternalConnectivity) -> Result<()> {
    let id = endpoint_id(&call.endpoint_id)?;
    Ok(shared.controller.dressed.unpublish(id).await?)
}

/// The ports that lead to it, for `docker ps`.
async fn oper_info(shared: &Shared, call: &net::EndpointOperInfo) -> Result<net::OperInfo> {
    let id = endpoint_id(&call.endpoint_id)?;
    let snapshot = shared.controller.snapshot().borrow().clone();
    let endpoint = snapshot.endpoints.get(&id);
    let sandbox = endpoint.and_then(|endpoint| snapshot.sandboxes.get(&endpoint.sandbox));
    let mut value = Options::new();
    let (Some(endpoint), Some(sandbox)) = (endpoint, sandbox) else {
        return Ok(net::OperInfo { value });
    };
    let is_gateway = endpoint.gateway_priority > 0;
    if is_gateway && !sandbox.ports.is_empty() {
        let told = serde_json::to_value(ports::told(&sandbox.ports));
        value.extend(told.ok().map(|told| (net::PORT_MAP.to_owned(), told)));
    }
    Ok(net::OperInfo { value })
}

fn endpoint_id(text: &str) -> Result<EndpointId> {
    text.parse().map_err(|_| networks::not_an_id(text))
}

#[cfg(test)]
mod tests;
