//! A container's place on networks: what is allowed together, and the way from wishes to an endpoint.

use std::{net::IpAddr, sync::Arc};

use controller::Connect;
use model::{ContainerId, Endpoint, Labels, Lifecycle, Network, NetworkId, SandboxId, Snapshot};

use super::{Core, container::Container};
use crate::{
    error::{Error, Result},
    record::{NetworkMode, Record, Wishes},
};

/// A container's networks in the order they are joined: the one of its mode first, as `eth0`.
pub(super) fn in_order(record: &Record) -> Vec<(&NetworkId, &Wishes)> {
    let main = record.settings.network_mode.to_string();
    let mut networks: Vec<_> = record.networks.iter().collect();
    networks.sort_by_key(|(id, wishes)| {
        let is_main = wishes.network == main || (main.len() >= 12 && id.to_string().starts_with(&main));
        (!is_main, wishes.network.clone())
    });
    networks
}

/// Joins one network.
pub(super) async fn connect(
    core: &Core,
    record: &Record,
    sandbox: SandboxId,
    network: NetworkId,
    wishes: &Wishes,
) -> Result<Arc<Endpoint>> {
    if !core
        .controller
        .snapshot()
        .borrow()
        .networks
        .contains_key(&network)
    {
        return Err(Error::not_found(format!("network {} not found", wishes.network))
            .with_hint("it was removed while the container was stopped: make a network of that name, or disconnect the container from it"));
    }
    let request = Connect {
        container: Some(record.id),
        aliases: wishes.aliases.clone(),
        links: links(core, &wishes.links)?,
        ipv4: wishes.ipv4,
        ipv6: wishes.ipv6,
        link_local: wishes.link_local.clone(),
        mac: wishes.mac,
        gateway_priority: wishes.gateway_priority,
        options: wishes.options.clone(),
        ..Connect::new(network, sandbox, record.name.to_string())
    };
    let endpoint = core.controller.endpoints.connect(request).await;
    endpoint.map_err(Error::network(format!(
        "connecting to network {}",
        wishes.network
    )))
}

/// `container[:alias]` pairs as `alias → name`. The container need not be there yet; an id becomes its name.
fn links(core: &Core, typed: &[String]) -> Result<Labels> {
    let pair = |link: &String| {
        let (target, alias) = link.split_once(':').unwrap_or((link, link));
        if target.is_empty() || alias.is_empty() || alias.contains(':') {
            return Err(Error::invalid(format!("bad format for links: {link}"))
                .with_hint("a link is NAME or NAME:ALIAS"));
        }
        let name = core
            .registry
            .find(target)
            .map_or_else(|_| target.to_owned(), |found| found.record().name.to_string());
        let alias = alias.rsplit('/').next().unwrap_or(alias);
        Ok((alias.to_owned(), name))
    };
    typed.iter().map(pair).collect()
}

/// Refuses what Docker refuses of an endpoint on this network.
pub(super) fn check(network: &Network, wishes: &Wishes) -> Result<()> {
    let user_network = !network.predefined;
    if !user_network && wishes.has_address() {
        return Err(
            Error::invalid("user specified IP address is supported on user defined networks only")
                .with_hint("make a network with \"network create --subnet\" and use that"),
        );
    }
    if !user_network && !wishes.aliases.is_empty() {
        return Err(
            Error::invalid("network-scoped aliases are only supported for user-defined networks")
                .with_hint("make a network with \"network create\" and use that"),
        );
    }
    let wanted = [wishes.ipv4.map(IpAddr::V4), wishes.ipv6.map(IpAddr::V6)];
    for address in wanted.into_iter().flatten() {
        // A server on the segment decides, and is asked for it.
        let elsewhere = controller::Endpoints::asks_for(network, address);
        if !elsewhere && network.pool_around(address).is_none() {
            return Err(Error::invalid(format!(
                "invalid endpoint settings: no configured subnet contains IP address {address}"
            ))
            .with_hint(what_it_has(network)));
        }
    }
    controller::Endpoints::check_options(network, &wishes.options).map_err(Error::from)
}

fn what_it_has(network: &Network) -> String {
    let pools: Vec<String> = network.pools.iter().map(|pool| pool.subnet.to_string()).collect();
    let routers = network.enable_ipv6 && network.ipam.driver.as_str() == "dhcp";
    match (pools.is_empty(), routers) {
        (false, _) => format!("network {} has {}", network.name, pools.join(" and ")),
        (true, true) => {
            "of addresses that routers announce nobody can choose: a network made with --ipam-opt \
             cnm.dhcp.ipv6=stateful asks a server for it"
                .to_owned()
        }
        (true, false) => format!("network {} has no subnets of its own", network.name),
    }
}

/// Refuses connections that the container's mode rules out.
fn check_mode(record: &Record, network: &Network) -> Result<()> {
    let mode = &record.settings.network_mode;
    match (mode, network.driver.as_str()) {
        (NetworkMode::Container(_), _) => Err(Error::invalid(
            "container sharing network namespace with another container or host cannot be connected to any other network",
        )),
        (NetworkMode::Host, _) | (_, "host") => Err(Error::invalid(
            "container cannot be disconnected from host network or connected to host network",
        )),
        (NetworkMode::None, driver) if driver != "null" => Err(Error::invalid(
            "container cannot be connected to multiple networks with one of the networks in private (none) mode",
        )),
        (_, "null") => Err(Error::invalid(
            "container cannot be connected to multiple networks with one of the networks in private (none) mode",
        )),
        _ => Ok(()),
    }
}

/// `network connect`: at once when it runs, else recorded for its next start.
pub(super) async fn attach(
    core: &Core,
    container: &Container,
    network: &str,
    mut wishes: Wishes,
) -> Result<()> {
    let network = core.controller.networks.find(network)?;
    let _operation = container.operation.lock().await;
    let record = container.record();
    check_mode(&record, &network)?;
    wishes.network = network.name.to_string();
    check(&network, &wishes)?;
    if record.state.phase.has_process() {
        if record.networks.contains_key(&network.id) {
            return Err(Error::forbidden(format!(
                "endpoint with name {} already exists in network {}",
                record.name, network.name
            )));
        }
        let sandbox = sandbox(container)?;
        let endpoint = connect(core, &record, sandbox, network.id, &wishes).await?;
        let recorded = core.registry.update(container, |record| {
            record.networks.insert(network.id, wishes);
        });
        if let Err(error) = recorded.await {
            let undo = core.controller.endpoints.disconnect(endpoint.id, true).await;
            if let Err(undo) = undo {
                tracing::warn!(container = %record.name, network = %network.name, error = %undo, "undoing a connection");
            }
            return Err(error);
        }
        return Ok(());
    }
    core.registry
        .update(container, |record| {
            record.networks.insert(network.id, wishes);
        })
        .await
        .map(drop)
}

/// `network disconnect`.
pub(super) async fn detach(core: &Core, container: &Container, network: &str, force: bool) -> Result<()> {
    let network = core.controller.networks.find(network)?;
    let _operation = container.operation.lock().await;
    let record = container.record();
    if record.settings.network_mode == NetworkMode::Host {
        return Err(Error::invalid(
            "container cannot be disconnected from host network or connected to host network",
        ));
    }
    let endpoint = endpoint_of(core, &record, &network);
    if endpoint.is_none() && !record.networks.contains_key(&network.id) {
        return Err(Error::forbidden(format!(
            "container {} is not connected to network {}",
            record.id, network.name
        )));
    }
    if let Some(endpoint) = endpoint {
        let disconnected = core.controller.endpoints.disconnect(endpoint.id, force).await;
        disconnected.map_err(Error::network(format!(
            "disconnecting from network {}",
            network.name
        )))?;
    }
    core.registry
        .update(container, |record| {
            record.networks.remove(&network.id);
        })
        .await
        .map(drop)
}

/// Its endpoints are called what the container is called: all of them, or none.
pub(super) async fn rename(core: &Core, container: &Container) -> Result<()> {
    let record = container.record();
    let snapshot = core.controller.snapshot().borrow().clone();
    // The one on the gateway bridge is not its own.
    let own = |endpoint: &&Arc<Endpoint>| {
        record.networks.contains_key(&endpoint.network) && endpoint.lifecycle == Lifecycle::Active
    };
    let Some(sandbox) = container.prepared().and_then(|prepared| prepared.sandbox) else {
        return Ok(());
    };
    let endpoints = &core.controller.endpoints;
    let mut renamed: Vec<&Arc<Endpoint>> = Vec::new();
    for endpoint in snapshot.endpoints_of(&sandbox).filter(own) {
        let Err(error) = endpoints.rename(endpoint.id, record.name.as_str()).await else {
            renamed.push(endpoint);
            continue;
        };
        for endpoint in renamed {
            if let Err(undo) = endpoints.rename(endpoint.id, &endpoint.name).await {
                tracing::warn!(endpoint = %endpoint.name, error = %undo, "undoing a rename");
            }
        }
        return Err(Error::network("renaming it on its networks")(error));
    }
    Ok(())
}

/// The container's endpoint on a network, while it has one.
pub(super) fn endpoint_of(core: &Core, record: &Record, network: &Network) -> Option<Arc<Endpoint>> {
    let snapshot = core.controller.snapshot().borrow().clone();
    let prepared = core.registry.get(&record.id).and_then(|own| own.prepared());
    let endpoint = own_endpoint(
        &snapshot,
        &record.id,
        prepared.and_then(|prepared| prepared.sandbox),
        &network.id,
    )?;
    (endpoint.lifecycle == Lifecycle::Active).then(|| Arc::clone(endpoint))
}

/// A container's endpoint on a network: among the few of its sandbox, while it has one, rather than all of the network's.
pub(super) fn own_endpoint<'a>(
    snapshot: &'a Snapshot,
    container: &ContainerId,
    sandbox: Option<SandboxId>,
    network: &NetworkId,
) -> Option<&'a Arc<Endpoint>> {
    let is_own = |endpoint: &&Arc<Endpoint>| endpoint.container == Some(*container);
    match sandbox {
        Some(sandbox) => snapshot
            .endpoints_of(&sandbox)
            .filter(|endpoint| endpoint.network == *network)
            .find(is_own),
        None => snapshot.endpoints_on(network).find(is_own),
    }
}

fn sandbox(container: &Container) -> Result<SandboxId> {
    container
        .prepared()
        .and_then(|prepared| prepared.sandbox)
        .ok_or_else(|| Error::conflict("the container has no network namespace of its own"))
}

/// `network disconnect -f` of a container that is gone: the endpoint of that name or container id goes.
pub(super) async fn detach_lost(core: &Core, container: &str, network: &str) -> Result<()> {
    let network = core.controller.networks.find(network)?;
    let endpoints = core.controller.networks.endpoints(network.id);
    let left = endpoints.iter().find(|endpoint| {
        endpoint.name == container || endpoint.container.is_some_and(|id| id.to_string() == container)
    });
    let Some(endpoint) = left else {
        return Err(Error::not_found(format!("No such container: {container}")));
    };
    let disconnected = core.controller.endpoints.disconnect(endpoint.id, true).await;
    disconnected.map_err(Error::network(format!(
        "disconnecting from network {}",
        network.name
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leased(options: &[(&str, &str)]) -> Network {
        let options: Labels = options
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        serde_json::from_value(serde_json::json!({
            "id": "ab".repeat(32), "name": "lan", "driver": "macvlan", "scope": "local", "lifecycle": "active",
            "created": "2026-11-21T09:00:00Z", "labels": {}, "options": {}, "enable_ipv4": true, "enable_ipv6": true,
            "internal": false, "attachable": false, "predefined": false,
            "ipam": {"driver": "dhcp", "options": options, "subnets": []}, "pools": [], "vnis": []
        }))
        .expect("a network")
    }

    #[test]
    fn a_segments_server_may_be_asked_for_an_address_of_either_family() {
        let at = |address: &str| {
            let address: IpAddr = address.parse().expect("an address");
            let mut wishes = Wishes::default();
            match address {
                IpAddr::V4(v4) => wishes.ipv4 = Some(v4),
                IpAddr::V6(v6) => wishes.ipv6 = Some(v6),
            }
            wishes
        };
        const HOW: &str = "cnm.dhcp.ipv6";
        for (options, address, wanted) in [
            (&[][..], "198.18.0.9", true),
            (&[(HOW, "stateful")], "198.18.0.9", true),
            (&[(HOW, "stateful")], "2001:db8::9", true),
            (&[], "2001:db8::9", false),
            (&[(HOW, "slaac")], "2001:db8::9", false),
        ] {
            let checked = check(&leased(options), &at(address));
            assert_eq!(checked.is_ok(), wanted, "{options:?} {address}: {checked:?}");
            if let Err(error) = checked {
                let hint = error.hint().unwrap_or_default();
                assert!(hint.contains("cnm.dhcp.ipv6=stateful"), "{hint}");
            }
        }
    }
}
