//! The changes from one snapshot to the next.
//!
//! Snapshots share all but what changed, and their maps compare shared parts by pointer: the cost follows the change,
//! not the number of endpoints.

use std::{cmp::Reverse, collections::BTreeSet, net::IpAddr};

use dns::{Change, EndpointFacts, NetworkFacts, SandboxFacts};
use imbl::ordmap::DiffItem;
use model::{Endpoint, Lifecycle, NodeId, Sandbox, SandboxId, Snapshot};

/// What names must be told to get from `old` to `new`.
pub(crate) fn difference(old: &Snapshot, new: &Snapshot) -> Vec<Change> {
    let mut changes = Vec::new();
    networks(old, new, &mut changes);
    endpoints(old, new, &mut changes);
    sandboxes(old, new, &mut changes);
    changes
}

fn networks(old: &Snapshot, new: &Snapshot, changes: &mut Vec<Change>) {
    for item in old.networks.diff(&new.networks) {
        changes.extend(match item {
            DiffItem::Add(_, network) => Some(Change::Network(NetworkFacts::of(network))),
            DiffItem::Remove(id, _) => Some(Change::NoNetwork(*id)),
            DiffItem::Update {
                old: (_, old),
                new: (_, new),
            } => {
                let facts = NetworkFacts::of(new);
                (facts != NetworkFacts::of(old)).then_some(Change::Network(facts))
            }
        });
    }
}

fn endpoints(old: &Snapshot, new: &Snapshot, changes: &mut Vec<Change>) {
    let moved = nodes_that_came_or_went(old, new);
    if !moved.is_empty() {
        // Rare: a host died or came back, or the cluster store did.
        for endpoint in new
            .endpoints
            .values()
            .filter(|endpoint| moved.contains(&endpoint.node))
        {
            let before = old
                .endpoints
                .get(&endpoint.id)
                .and_then(|before| visible(before, old));
            changes.extend(change(before.as_ref(), visible(endpoint, new)));
        }
    }
    for item in old.endpoints.diff(&new.endpoints) {
        let (before, after) = match item {
            DiffItem::Add(_, endpoint) => (None, Some(endpoint)),
            DiffItem::Remove(_, endpoint) => (Some(endpoint), None),
            DiffItem::Update {
                old: (_, old),
                new: (_, new),
            } => (Some(old), Some(new)),
        };
        if after.is_some_and(|after| moved.contains(&after.node)) {
            continue; // told above
        }
        let before = before.and_then(|before| visible(before, old));
        changes.extend(change(
            before.as_ref(),
            after.and_then(|after| visible(after, new)),
        ));
    }
}

fn change(before: Option<&EndpointFacts>, after: Option<EndpointFacts>) -> Option<Change> {
    match (before, after) {
        (None, None) => None,
        (Some(before), None) => Some(Change::NoEndpoint(before.id)),
        (before, Some(after)) => (before != Some(&after)).then_some(Change::Endpoint(after)),
    }
}

/// An endpoint of a host whose lease ended has no names; while the cluster store is silent nobody knows, so it keeps them.
fn visible(endpoint: &Endpoint, snapshot: &Snapshot) -> Option<EndpointFacts> {
    let alive = snapshot.stale || snapshot.live_nodes.contains(&endpoint.node);
    alive.then(|| EndpointFacts::of(endpoint)).flatten()
}

fn nodes_that_came_or_went(old: &Snapshot, new: &Snapshot) -> BTreeSet<NodeId> {
    if old.stale == new.stale && old.live_nodes == new.live_nodes {
        return BTreeSet::new();
    }
    let seen = |snapshot: &Snapshot, node: &NodeId| snapshot.stale || snapshot.live_nodes.contains(node);
    let owners = new
        .endpoints
        .values()
        .map(|endpoint| endpoint.node)
        .collect::<BTreeSet<_>>();
    owners
        .into_iter()
        .filter(|node| seen(old, node) != seen(new, node))
        .collect()
}

/// What a sandbox has for names, with the servers that came with its endpoints' leases where it has none of its own.
fn facts(sandbox: &Sandbox, snapshot: &Snapshot) -> Option<SandboxFacts> {
    let mut facts = SandboxFacts::of(sandbox)?;
    if facts.servers.is_empty() {
        facts.servers = leased_servers(sandbox.id, snapshot);
    }
    Some(facts)
}

/// Those of the endpoint with the highest precedence first; of networks without a way out none.
fn leased_servers(sandbox: SandboxId, snapshot: &Snapshot) -> Vec<IpAddr> {
    let leads_out = |endpoint: &Endpoint| {
        let network = snapshot.networks.get(&endpoint.network);
        network.is_some_and(|network| !network.internal)
    };
    let mut leased: Vec<_> = snapshot
        .endpoints_of(&sandbox)
        .filter(|endpoint| endpoint.lifecycle == Lifecycle::Active && leads_out(endpoint))
        .collect();
    leased.sort_by_key(|endpoint| (Reverse(endpoint.gateway_priority), endpoint.created, endpoint.id));
    let mut servers: Vec<IpAddr> = Vec::new();
    let told = leased.iter().flat_map(|endpoint| {
        let v4 = endpoint.lease.iter().flat_map(|lease| &lease.name_servers);
        let v6 = endpoint.lease_v6.iter().flat_map(|lease| &lease.name_servers);
        v4.map(|server| IpAddr::V4(*server))
            .chain(v6.map(|server| IpAddr::V6(*server)))
    });
    for server in told {
        if !servers.contains(&server) {
            servers.push(server);
        }
    }
    servers
}

/// Sandboxes whose endpoints' leases have changed.
fn leased_otherwise(old: &Snapshot, new: &Snapshot) -> BTreeSet<SandboxId> {
    let of = |endpoint: &Endpoint| {
        let leased = endpoint.lease.is_some() || endpoint.lease_v6.is_some();
        leased.then_some(endpoint.sandbox)
    };
    let touched = old.endpoints.diff(&new.endpoints).flat_map(|item| match item {
        DiffItem::Add(_, endpoint) | DiffItem::Remove(_, endpoint) => [of(endpoint), None],
        DiffItem::Update {
            old: (_, old),
            new: (_, new),
        } => [of(old), of(new)],
    });
    touched.flatten().collect()
}

fn sandboxes(old: &Snapshot, new: &Snapshot, changes: &mut Vec<Change>) {
    let mut leased = leased_otherwise(old, new);
    for item in old.sandboxes.diff(&new.sandboxes) {
        let (id, before, after) = match item {
            DiffItem::Add(id, sandbox) => (id, None, Some(sandbox)),
            DiffItem::Remove(id, sandbox) => (id, Some(sandbox), None),
            DiffItem::Update {
                old: (id, old),
                new: (_, new),
            } => (id, Some(old), Some(new)),
        };
        leased.remove(id);
        let before = before.and_then(|sandbox| facts(sandbox, old));
        let after = after.and_then(|sandbox| facts(sandbox, new));
        changes.extend(match (before, after) {
            (Some(_), None) => Some(Change::NoSandbox(*id)),
            (before, Some(after)) if before.as_ref() != Some(&after) => Some(Change::Sandbox(after)),
            _ => None,
        });
    }
    for id in leased {
        let of = |snapshot: &Snapshot| {
            let sandbox = snapshot.sandboxes.get(&id)?;
            facts(sandbox, snapshot)
        };
        changes.extend(
            of(new)
                .filter(|after| of(old).as_ref() != Some(after))
                .map(Change::Sandbox),
        );
    }
}

#[cfg(test)]
mod tests;
