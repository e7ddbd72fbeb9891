//! Whether a sandbox and a network can be brought together as asked, before anything is allocated.

use std::sync::Arc;

use model::{Endpoint, Labels, Lifecycle, Network, Sandbox, SandboxKind, Scope, Snapshot, StaticRoute};

use super::Connect;
use crate::{
    core::Core,
    error::{Error, Result},
    networks::network_not_found,
    sandboxes::desired,
};

/// The network and the sandbox, if they can be brought together as asked.
pub(super) fn check(core: &Core, request: &Connect) -> Result<(Arc<Network>, Arc<Sandbox>)> {
    let snapshot = core.records.snapshot();
    let active = |network: &&Arc<Network>| network.lifecycle == Lifecycle::Active;
    let network = snapshot.networks.get(&request.network).filter(active).cloned();
    let network = network.ok_or_else(|| network_not_found(&request.network.short()))?;
    let sandbox = snapshot.sandboxes.get(&request.sandbox);
    let sandbox = sandbox
        .filter(|sandbox| sandbox.lifecycle == Lifecycle::Active)
        .cloned();
    let sandbox =
        sandbox.ok_or_else(|| Error::not_found(format!("sandbox {} not found", request.sandbox.short())))?;
    refuse_template(&network)?;
    check_routes(&network, &request.options)?;
    refuse_mixed(core, &snapshot, &network, &sandbox)?;
    refuse_on_default_bridge(&network, request)?;
    refuse_twice(&snapshot, &network, request)?;
    refuse_the_bridges_own(core, &network, request)?;
    Ok((network, sandbox))
}

/// What is sent to the gateway would never leave a container of the same Ethernet address.
fn refuse_the_bridges_own(core: &Core, network: &Network, request: &Connect) -> Result<()> {
    let Some(mac) = request.mac else { return Ok(()) };
    match core.driver(&network.driver)?.own_mac(network) == Some(mac) {
        true => Err(Error::invalid(format!(
            "mac-address {mac} is that of the gateway of network {}",
            network.name
        ))
        .with_hint("choose another one, or none to get one of its own")),
        false => Ok(()),
    }
}

/// Keys of ours that a connection has.
const OURS: [&str; 1] = ["cnm.routes"];

/// Refuses options of a connection that its network can't have. Keys that are neither ours nor Docker's are passed on, as
/// Docker does.
pub(super) fn check_options(network: &Network, options: &Labels) -> Result<()> {
    let nobodys = options
        .keys()
        .find(|key| key.starts_with("cnm.") && !OURS.contains(&key.as_str()));
    if let Some(key) = nobodys {
        return Err(Error::invalid(format!("a connection has no option {key:?}"))
            .with_hint(format!("of ours there is {}", OURS.join(", "))));
    }
    desired::check_sysctls(options)?;
    check_routes(network, options)
}

/// Refuses sysctls that this kernel doesn't have, before anything is made.
pub(super) async fn refuse_missing_sysctls(core: &Core, options: &Labels) -> Result<()> {
    let asked = desired::sysctls_of_new_links(options)?;
    if asked.is_empty() {
        return Ok(());
    }
    let there = core
        .worker
        .observe("looking for sysctls", asked.keys().cloned().collect())
        .await?;
    let missing: Vec<_> = asked
        .iter()
        .filter(|(key, _)| there.get(key).is_none())
        .map(|(_, text)| format!("{text:?}"))
        .collect();
    match missing.is_empty() {
        true => Ok(()),
        false => Err(
            Error::invalid(format!("this kernel has no sysctl {}", missing.join(" and "))).with_hint(
                "those of an interface are listed in /proc/sys/net/ipv4/conf/default and its neighbours",
            ),
        ),
    }
}

/// Refuses routes of a connection (`cnm.routes`) that its network can't have; all of them at once.
pub(crate) fn check_routes(network: &Network, options: &Labels) -> Result<()> {
    let subnets: Vec<_> = network.pools.iter().map(|pool| pool.subnet).collect();
    StaticRoute::parse_for(options, &subnets)
        .map(drop)
        .map_err(|wrong| {
            let all: Vec<_> = wrong.iter().map(ToString::to_string).collect();
            Error::invalid(format!("invalid endpoint settings:\n{}", all.join("\n")))
                .with_hint("routes are written cnm.routes=10.9.0.0/16=172.18.0.5,10.8.0.0/16=link")
        })
}

/// What other networks are made from is none itself.
fn refuse_template(network: &Network) -> Result<()> {
    match network.config_only {
        true => Err(Error::forbidden(format!(
            "cannot create container on configuration-only network {:?}",
            network.name.as_str()
        ))
        .with_hint("make a network from it, with --config-from")),
        false => Ok(()),
    }
}

/// The host's namespace and `none` go with nothing else.
fn refuse_mixed(core: &Core, snapshot: &Snapshot, network: &Network, sandbox: &Sandbox) -> Result<()> {
    let on_host = sandbox.kind == SandboxKind::Host;
    if on_host != (network.driver.as_str() == "host") {
        return Err(match on_host {
            true => Error::invalid(
                "container sharing network namespace with another container or host cannot be connected to any other \
                 network",
            ),
            false => Error::invalid("container cannot be connected to host network or disconnected from it")
                .with_hint("start the container with --network host"),
        });
    }
    let without = |id| {
        let network: Option<&Arc<Network>> = snapshot.networks.get(id);
        network.is_some_and(|network| network.driver.as_str() == "null")
    };
    let mut others = snapshot
        .endpoints_of(&sandbox.id)
        .filter(|endpoint| endpoint.node == core.node.id);
    let clash = match network.driver.as_str() {
        "null" => others.next().is_some(),
        _ => others.any(|endpoint| without(&endpoint.network)),
    };
    match clash {
        true => Err(Error::invalid(
            "container cannot be connected to multiple networks with one of the networks in private (none) mode",
        )
        .with_hint("disconnect it from \"none\" first")),
        false => Ok(()),
    }
}

fn refuse_on_default_bridge(network: &Network, request: &Connect) -> Result<()> {
    if !(network.predefined && network.name.as_str() == "bridge") {
        return Ok(());
    }
    let hint = "make a network with \"network create\" and use that";
    if request.ipv4.is_some() || request.ipv6.is_some() {
        return Err(
            Error::invalid("user specified IP address is supported on user defined networks only")
                .with_hint(hint),
        );
    }
    if !request.aliases.is_empty() {
        return Err(Error::invalid(
            "network-scoped alias is supported only for containers in user defined networks",
        )
        .with_hint(hint));
    }
    Ok(())
}

/// On a network of this host with addresses of ours, the claim of the name is what refuses a second one: looking for it
/// here would cost more with each endpoint that is there.
fn refuse_twice(snapshot: &Snapshot, network: &Network, request: &Connect) -> Result<()> {
    let own = snapshot
        .endpoints_of(&request.sandbox)
        .filter(|endpoint| endpoint.network == network.id)
        .find(|other| !is_released_here(other, network));
    if let Some(own) = own {
        return Err(name_taken(&own.name, network));
    }
    match network.scope == Scope::Local && network.ipam.driver.as_str() == "default" {
        true => Ok(()),
        false => refuse_taken_name(snapshot, network, request),
    }
}

/// That no endpoint of the network has the name.
pub(super) fn refuse_taken_name(snapshot: &Snapshot, network: &Network, request: &Connect) -> Result<()> {
    let other = snapshot
        .endpoints_on(&network.id)
        .filter(|other| !is_released_here(other, network))
        .find(|other| other.name == request.name);
    other.map_or(Ok(()), |other| Err(name_taken(&other.name, network)))
}

/// Gone here, and waiting for the cluster store to be told.
pub(super) fn is_released_here(endpoint: &Endpoint, network: &Network) -> bool {
    endpoint.lifecycle == Lifecycle::Deleting && network.scope == Scope::Global
}

/// The error for a name that another endpoint of the network has.
pub(super) fn name_taken(name: &str, network: &Network) -> Error {
    Error::forbidden(format!(
        "endpoint with name {name} already exists in network {}",
        network.name
    ))
    .with_hint("disconnect it first, or choose another name")
}
