//! The record of a new endpoint, committed before anything is made: here in one transaction, or, on a network that is
//! shared, here first and then where every host sees it.

use std::{net::IpAddr, sync::Arc, time::Instant};

use model::{Endpoint, EndpointId, InterfaceName, Lifecycle, Network, Sandbox, Snapshot, Timestamp};
use store::{Guard, Txn};

use super::{
    Connect, addresses,
    check::{name_taken, refuse_taken_name},
    connect::undo_creating,
    strangers,
};
use crate::{
    claims,
    core::Core,
    dressed,
    error::{Error, Result},
    locks::LockKey,
    networks::network_not_found,
    records,
    undo::UndoStack,
};

/// How often a lost race for an address is run again.
const TURNS: usize = 64;

/// Chooses addresses and an interface name and commits the record, as often as somebody else is faster.
pub(super) async fn intent(
    core: &Arc<Core>,
    network: &Arc<Network>,
    sandbox: &Arc<Sandbox>,
    id: EndpointId,
    request: &Connect,
    undo: &mut UndoStack,
) -> Result<Arc<Endpoint>> {
    // Held until the record is in the snapshot, so that two connects don't choose one interface name.
    let _sandbox = core.locks.exclusive(LockKey::Sandbox(sandbox.id)).await;
    check_sandbox(core, sandbox)?;
    let name_key = claims::endpoint_name(network.id, &request.name)?;
    let mut avoid = core.strangers.on(network.id, Instant::now());
    let mut passed_over = !avoid.is_empty();
    for _ in 0..TURNS {
        let chosen = match addresses::choose(core, network, id, request, &avoid).await {
            // Rather one that somebody had a while ago than none: it is asked for once more.
            Err(Error::Unavailable { .. }) if std::mem::take(&mut passed_over) => {
                core.strangers.forget(network.id);
                avoid.clear();
                continue;
            }
            Err(error) => {
                // The name was not looked for, and is what its user should hear of first.
                refuse_taken_name(&core.records.snapshot(), network, request)?;
                return Err(error);
            }
            Ok(chosen) => chosen,
        };
        if let Err(taken) = strangers::look(core, network, &chosen.addresses).await {
            addresses::give_back(core, network, &chosen.addresses).await;
            strangers::refuse_wanted(request, &taken)?;
            avoid.extend(taken.into_keys());
            continue;
        }
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

/// That the sandbox is not being removed: asked under its lock, under which a removal begins.
pub(super) fn check_sandbox(core: &Core, sandbox: &Sandbox) -> Result<()> {
    let snapshot = core.records.snapshot();
    let now = snapshot.sandboxes.get(&sandbox.id);
    match now.is_some_and(|now| now.lifecycle == Lifecycle::Active) {
        true => Ok(()),
        false => Err(Error::not_found(format!(
            "sandbox {} not found",
            sandbox.id.short()
        ))),
    }
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

/// The record of an endpoint that is being made.
pub(super) fn assemble(
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
        answer: None,
        lease: None,
        lease_v6: None,
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
    if dressed::is_dressed(sandbox) {
        return Ok(request.id.map(dressed::name_on_host));
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
    lowest_free(&driver.interface_prefix(network), &used).map(Some)
}

/// The name of an interface whose plugin wants another prefix than was thought. A name that was asked for stays.
pub(super) fn interface_with(core: &Core, endpoint: &Endpoint, prefix: &str) -> Result<InterfaceName> {
    let asked = endpoint
        .options
        .contains_key("com.docker.network.endpoint.ifname");
    if let (true, Some(name)) = (asked, &endpoint.interface) {
        return Ok(name.clone());
    }
    let snapshot = core.records.snapshot();
    let others = snapshot.endpoints_of(&endpoint.sandbox);
    let used: Vec<_> = others
        .filter(|other| other.id != endpoint.id)
        .filter_map(|other| other.interface.clone())
        .collect();
    lowest_free(prefix, &used)
}

fn lowest_free(prefix: &str, used: &[InterfaceName]) -> Result<InterfaceName> {
    let free = (0..=used.len()).filter_map(|number| InterfaceName::numbered(prefix, number).ok());
    let found = free.into_iter().find(|name| !used.contains(name));
    found.ok_or_else(|| {
        Error::invalid(format!("interface prefix {prefix:?} is too long"))
            .with_hint("at most 12 letters are usual")
    })
}

#[cfg(test)]
mod tests;
