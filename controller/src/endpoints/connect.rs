//! Connects a sandbox to a network: addresses and names, the intent, the driver's join, the sandbox's side, the result.
//!
//! On a global network the intent is committed here first and then, with names and leases, where every host sees it.

use std::{net::IpAddr, sync::Arc};

use model::{
    Endpoint, EndpointId, InterfaceName, Lifecycle, Network, Sandbox, SandboxKind, Snapshot, Timestamp,
};
use store::{Guard, Txn};

use super::{Connect, addresses, gateway_bridge, join};
use crate::{
    claims,
    core::Core,
    error::{Error, Result},
    events::EventKind,
    locks::LockKey,
    networks::{self, network_not_found},
    records, sandboxes,
    undo::UndoStack,
};

/// How often a lost race for an address is run again.
const TURNS: usize = 64;

pub(super) async fn connect(core: &Arc<Core>, request: Connect) -> Result<Arc<Endpoint>> {
    let sandbox = request.sandbox;
    let endpoint = inner(core, request).await?;
    if let Err(error) = gateway_bridge::adjust(core, sandbox).await {
        let mut undo = UndoStack::new();
        let (core, id) = (Arc::clone(core), endpoint.id);
        undo.push("disconnecting again", async move {
            super::disconnect::inner(&core, id, false).await.map(|_| ())
        });
        return Err(undo.unwind(error).await);
    }
    core.names_caught_up(core.records.snapshot().generation).await;
    Ok(endpoint)
}

/// The same without the gateway bridge and without waiting for names.
#[tracing::instrument(skip_all, fields(network = %request.network.short(), endpoint = %request.name))]
pub(super) async fn inner(core: &Arc<Core>, request: Connect) -> Result<Arc<Endpoint>> {
    let _network = core.locks.shared(LockKey::Network(request.network)).await;
    let (network, sandbox) = check(core, &request)?;
    let id = EndpointId::random();
    // Held until it is undone, if it comes to that, so that the reconciler doesn't undo it a second time.
    let _endpoint = core.locks.exclusive(LockKey::Endpoint(id)).await;
    let mut undo = UndoStack::new();
    match walk(core, &network, &sandbox, id, &request, &mut undo).await {
        Ok(endpoint) => {
            core.events
                .send(EventKind::Connected(Arc::clone(&endpoint)), network);
            Ok(endpoint)
        }
        Err(error) => Err(undo.unwind(error).await),
    }
}

async fn walk(
    core: &Arc<Core>,
    network: &Arc<Network>,
    sandbox: &Arc<Sandbox>,
    id: EndpointId,
    request: &Connect,
    undo: &mut UndoStack,
) -> Result<Arc<Endpoint>> {
    let endpoint = intent(core, network, sandbox, id, request, undo).await?;
    networks::realize(core, network).await?;
    join::join(core, network, &endpoint, sandbox).await?;
    let active = Arc::new(Endpoint {
        lifecycle: Lifecycle::Active,
        ..Endpoint::clone(&endpoint)
    });
    sandboxes::refresh(core, sandbox).await?;
    networks::tell_peers(core, network).await?;
    let txn = records::endpoints(network.id).put(active.id, &active);
    let published = Arc::clone(&active);
    core.records
        .commit(model::Scope::Local, txn, move |snapshot| {
            snapshot.insert_endpoint(published);
        })
        .await?;
    Ok(active)
}

fn check(core: &Core, request: &Connect) -> Result<(Arc<Network>, Arc<Sandbox>)> {
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
    refuse_mixed(core, &snapshot, &network, &sandbox)?;
    refuse_on_default_bridge(&network, request)?;
    refuse_twice(&snapshot, &network, request)?;
    Ok((network, sandbox))
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

fn refuse_twice(snapshot: &Snapshot, network: &Network, request: &Connect) -> Result<()> {
    let mut others = snapshot.endpoints_on(&network.id);
    match others.find(|other| other.sandbox == request.sandbox || other.name == request.name) {
        None => Ok(()),
        Some(other)
            if releasing(other) && other.name == request.name && network.scope == model::Scope::Global =>
        {
            Ok(())
        }
        Some(other) => Err(name_taken(&other.name, network)),
    }
}

/// Gone here, and waiting for the cluster store to be told.
fn releasing(endpoint: &Endpoint) -> bool {
    endpoint.lifecycle == Lifecycle::Deleting
}

fn name_taken(name: &str, network: &Network) -> Error {
    Error::forbidden(format!(
        "endpoint with name {name} already exists in network {}",
        network.name
    ))
    .with_hint("disconnect it first, or choose another name")
}

/// Chooses addresses and an interface name and commits the record, as often as somebody else is faster.
async fn intent(
    core: &Arc<Core>,
    network: &Arc<Network>,
    sandbox: &Arc<Sandbox>,
    id: EndpointId,
    request: &Connect,
    undo: &mut UndoStack,
) -> Result<Arc<Endpoint>> {
    // Held until the record is in the snapshot, so that two connects don't choose one interface name.
    let _sandbox = core.locks.exclusive(LockKey::Sandbox(sandbox.id)).await;
    let name_key = claims::endpoint_name(network.id, &request.name)?;
    let mut avoid: Vec<IpAddr> = Vec::new();
    for _ in 0..TURNS {
        let chosen = addresses::choose(core, network, id, request, &avoid).await?;
        let endpoint = Arc::new(assemble(core, network, sandbox, request, id, chosen.addresses)?);
        let claim = claims::for_endpoint(name_key.clone(), id, &request.name).and(chosen.txn);
        let error = match commit(core, network, &endpoint, claim, undo).await {
            Ok(()) => return Ok(endpoint),
            Err(error) => error,
        };
        addresses::give_back(core, network, &endpoint.addresses).await;
        match error {
            store::Error::Conflict { key } if key == name_key => {
                return Err(name_taken(&request.name, network));
            }
            store::Error::Conflict { key } if key == records::networks().key(network.id) => {
                return Err(network_not_found(network.name.as_str()));
            }
            store::Error::Conflict { key } => match key.last().parse() {
                Ok(address) => avoid.push(address),
                Err(_) => return Err(store::Error::Conflict { key }.into()),
            },
            other => return Err(other.into()),
        }
    }
    Err(Error::conflict(format!(
        "no address of network {} could be had in {TURNS} tries",
        network.name
    ))
    .with_hint("try again"))
}

/// Commits the intent: in one transaction where one store has it all, here and then there where there are two.
async fn commit(
    core: &Arc<Core>,
    network: &Arc<Network>,
    endpoint: &Arc<Endpoint>,
    claim: Txn,
    undo: &mut UndoStack,
) -> Result<(), store::Error> {
    let table = records::endpoints(network.id);
    let local = table.create(endpoint.id, endpoint);
    let shared = core.records.shared(network.scope);
    let txn = if shared { local } else { local.and(claim.clone()) };
    let published = Arc::clone(endpoint);
    let insert = move |snapshot: &mut Snapshot| snapshot.insert_endpoint(published);
    core.records.commit(model::Scope::Local, txn, insert).await?;
    if shared && let Err(error) = commit_shared(core, network, endpoint, claim).await {
        take_back(core, endpoint, &error).await;
        return Err(error);
    }
    let (core, network, endpoint) = (Arc::clone(core), Arc::clone(network), Arc::clone(endpoint));
    undo.push(format!("removing endpoint {}", endpoint.name), async move {
        undo_creating(&core, &network, &endpoint).await
    });
    Ok(())
}

/// Forgets an intent whose global part failed. Where it is not known whether it did, a note of what may be to release
/// stays.
async fn take_back(core: &Core, endpoint: &Endpoint, error: &store::Error) {
    let table = records::endpoints(endpoint.network);
    let id = endpoint.id;
    let taken_back = if matches!(error, store::Error::Unavailable { .. }) {
        let note = Arc::new(Endpoint {
            lifecycle: Lifecycle::Deleting,
            ..endpoint.clone()
        });
        let txn = table.put(id, &note);
        core.records
            .commit(model::Scope::Local, txn, move |snapshot| {
                snapshot.insert_endpoint(note);
            })
            .await
    } else {
        let forget = move |snapshot: &mut Snapshot| {
            snapshot.remove_endpoint(&id);
        };
        core.records
            .commit(model::Scope::Local, table.delete(id), forget)
            .await
    };
    if let Err(error) = taken_back {
        // The record stays as Creating, which the reconciler undoes.
        tracing::warn!(%error, "forgetting an intent failed");
    }
}

/// Publishes the endpoint to every host, provided that the network is still what this host believes.
async fn commit_shared(
    core: &Core,
    network: &Network,
    endpoint: &Endpoint,
    claim: Txn,
) -> Result<(), store::Error> {
    let active = Endpoint {
        lifecycle: Lifecycle::Active,
        ..endpoint.clone()
    };
    let store = core.stores.of(network.scope);
    let key = records::networks().key(network.id);
    let mut revision = core.records.revision(network.id);
    for _ in 0..3 {
        if revision.is_none() {
            let found = records::networks().get(&**store, network.id).await?;
            let usable = found.filter(|found| found.record.lifecycle == Lifecycle::Active);
            let Some(found) = usable else {
                return Err(store::Error::Conflict { key });
            };
            core.records.set_revision(network.id, Some(found.revision));
            revision = Some(found.revision);
        }
        let guard = revision.map(|revision| Guard::Unchanged(key.clone(), revision));
        let txn = records::endpoints(network.id)
            .put(endpoint.id, &active)
            .and(claim.clone())
            .and(records::changed(network.id));
        match store.commit(guard.into_iter().fold(txn, Txn::guard)).await {
            Err(store::Error::Conflict { key: lost }) if lost == key => revision = None,
            other => return other.map(|_| ()),
        }
    }
    Err(store::Error::Conflict { key })
}

fn assemble(
    core: &Core,
    network: &Network,
    sandbox: &Sandbox,
    request: &Connect,
    id: EndpointId,
    addresses: model::EndpointAddresses,
) -> Result<Endpoint> {
    Ok(Endpoint {
        id,
        network: network.id,
        sandbox: sandbox.id,
        container: request.container.or(sandbox.container),
        node: core.node.id,
        lifecycle: Lifecycle::Creating,
        created: Timestamp::now(),
        name: request.name.clone(),
        dns_names: dns_names(request, sandbox),
        links: request.links.clone(),
        addresses,
        interface: interface(core, network, sandbox, request)?,
        gateway_priority: request.gateway_priority,
        options: request.options.clone(),
        requested: [request.ipv4.map(IpAddr::V4), request.ipv6.map(IpAddr::V6)]
            .into_iter()
            .flatten()
            .collect(),
    })
}

/// Pure: name, aliases, short id, hostname; each once. The first answers reverse lookups.
fn dns_names(request: &Connect, sandbox: &Sandbox) -> Vec<String> {
    let short = request.container.or(sandbox.container).map(|id| id.short());
    let all = [&request.name]
        .into_iter()
        .chain(&request.aliases)
        .chain(&short)
        .chain([&sandbox.hostname]);
    let mut names: Vec<String> = Vec::new();
    for name in all.filter(|name| !name.is_empty()) {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

/// The interface's name: the one asked for, or the driver's prefix with the lowest free number.
fn interface(
    core: &Core,
    network: &Network,
    sandbox: &Sandbox,
    request: &Connect,
) -> Result<Option<InterfaceName>> {
    let driver = core.driver(&network.driver)?;
    if !driver.capabilities().addresses {
        return Ok(None);
    }
    let snapshot = core.records.snapshot();
    let used: Vec<_> = snapshot
        .endpoints_of(&sandbox.id)
        .filter_map(|other| other.interface.clone())
        .collect();
    if let Some(asked) = request.options.get("com.docker.network.endpoint.ifname") {
        let name = InterfaceName::new(asked.as_str()).map_err(|error| Error::invalid(error.to_string()))?;
        return match used.contains(&name) || name.as_str() == "lo" {
            true => Err(Error::invalid(format!(
                "interface name {asked:?} is already in use in the container"
            ))
            .with_hint("choose another name")),
            false => Ok(Some(name)),
        };
    }
    let prefix = driver.interface_prefix(network);
    let free = (0..=used.len()).filter_map(|number| InterfaceName::numbered(&prefix, number).ok());
    let found = free.into_iter().find(|name| !used.contains(name));
    found.map(Some).ok_or_else(|| {
        Error::invalid(format!("interface prefix {prefix:?} is too long"))
            .with_hint("at most 12 letters are usual")
    })
}

/// Undoes an endpoint that was never finished: the kernel's side, then the records'.
pub(crate) async fn undo_creating(
    core: &Arc<Core>,
    network: &Arc<Network>,
    endpoint: &Arc<Endpoint>,
) -> Result<()> {
    super::disconnect::take_out(core, network, endpoint, true).await?;
    super::disconnect::forget(core, network, endpoint).await?;
    networks::unrealize(core, network).await
}

#[cfg(test)]
mod tests;
