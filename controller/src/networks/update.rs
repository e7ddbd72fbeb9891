//! Changes a network while containers are on it: check, allocate, record, change the kernel, publish.
//!
//! The record comes first, so that a daemon that dies in between finishes the change at its next start. When the kernel
//! refuses, the driver takes back what it did and the record becomes what it was.

use std::sync::Arc;

use drivers::{Driver, NetworkView};
use model::{AddressFamily, Lifecycle, Network, NetworkId, Pool, Scope, SubnetRequest};
use store::Txn;

use super::{
    Changed, NetworkChange,
    create::{
        RESERVED,
        allocate::{Allocation, allocate},
        keep_copy, name_taken, refuse_taken_name,
        request::Checked,
        violations::{of_labels, refuse_all},
    },
    find, network_not_found, view,
};
use crate::{
    claims,
    core::Core,
    error::{Error, Result},
    events::EventKind,
    locks::LockKey,
    records, sandboxes,
    undo::UndoStack,
};

const MTU: &str = "com.docker.network.driver.mtu";
const ICC: &str = "com.docker.network.bridge.enable_icc";
const MASQUERADE: &str = "com.docker.network.bridge.enable_ip_masquerade";

#[tracing::instrument(skip_all, fields(network = text, dry_run))]
pub(super) async fn update(
    core: &Arc<Core>,
    text: &str,
    change: NetworkChange,
    dry_run: bool,
) -> Result<Changed> {
    let id = find::find(&core.records.snapshot(), text)?.id;
    let _network = core.locks.exclusive(LockKey::Network(id)).await;
    let before = current(core, id, text)?;
    refuse(&before, &change)?;
    core.require_store(before.scope)?;
    let driver = core.driver(&before.driver)?;
    let name = change.name.as_ref().filter(|name| **name != before.name);
    let _name = match name {
        Some(name) => {
            let lock = LockKey::Name(before.scope, name.to_string());
            let held = core.locks.exclusive(lock).await;
            refuse_taken_name(core, name)?;
            Some(held)
        }
        None => None,
    };
    let _allocation = match change.add_subnets.is_empty() {
        true => None,
        false => Some(core.locks.exclusive(LockKey::Allocation(before.scope)).await),
    };
    let planned = plan(core, &*driver, &before, &change).await?;
    let result = carry_out(core, &driver, &before, &planned, dry_run).await;
    if dry_run || result.is_err() {
        planned.give_back(&before).await;
    }
    result
}

fn current(core: &Core, id: NetworkId, text: &str) -> Result<Arc<Network>> {
    let snapshot = core.records.snapshot();
    let found = snapshot.networks.get(&id).cloned();
    found
        .filter(|network| network.lifecycle == Lifecycle::Active)
        .ok_or_else(|| network_not_found(text))
}

/// Pure: what can't be changed at all.
fn refuse(network: &Network, change: &NetworkChange) -> Result<()> {
    let of_driver = change.mtu.is_some() || change.icc.is_some() || change.masquerade.is_some();
    let in_kernel = of_driver || !change.add_subnets.is_empty();
    if network.predefined {
        return Err(Error::forbidden(format!(
            "{} is a pre-defined network and cannot be changed",
            network.name
        ))
        .with_hint("the default bridge is configured with the daemon's --mtu, --icc, --ip-masq and --bip"));
    }
    if in_kernel && network.config_only {
        return Err(
            Error::forbidden(format!("{} is a configuration-only network", network.name))
                .with_hint("its name and labels can be changed"),
        );
    }
    if in_kernel && (network.scope == Scope::Global || network.driver.as_str() != "bridge") {
        return Err(Error::invalid(format!(
            "of a network of the driver {:?} only name and labels can be changed while it exists",
            network.driver.as_str()
        ))
        .with_hint("make a new network with these settings and connect the containers to it"));
    }
    refuse_all(&change.labels.as_ref().map(of_labels).unwrap_or_default())?;
    if let Some(name) = change
        .name
        .as_ref()
        .filter(|name| RESERVED.contains(&name.as_str()))
    {
        return Err(
            Error::forbidden(format!("operation is not permitted on predefined {name} network"))
                .with_hint("choose another name"),
        );
    }
    Ok(())
}

/// What the network will be, and what has to be committed for it.
struct Planned {
    after: Arc<Network>,
    claims: Txn,
    /// The same the other way round, for undoing it.
    restored: Txn,
    allocation: Option<Allocation>,
    lines: Vec<String>,
}

impl Planned {
    async fn give_back(&self, network: &Network) {
        if let Some(allocation) = &self.allocation {
            allocation.give_back(network.id, network.scope).await;
        }
    }
}

async fn plan(
    core: &Arc<Core>,
    driver: &dyn Driver,
    before: &Arc<Network>,
    change: &NetworkChange,
) -> Result<Planned> {
    let mut after = changed(before, change);
    let checked = Checked::more(&after, &change.add_subnets)?;
    let needs = core
        .call(
            &after.driver,
            "checking the change",
            driver.check(&checked.draft(after.id)),
        )
        .await;
    let needs = match before.config_only {
        true => drivers::Needs::default(),
        false => needs?,
    };
    let mut planned = Planned {
        claims: Txn::new(),
        restored: Txn::new(),
        allocation: None,
        lines: lines(before, &after, &change.add_subnets),
        after: Arc::clone(before),
    };
    if !change.add_subnets.is_empty() {
        let allocation = allocate(core, &checked, after.id, &needs).await?;
        after.pools.extend(allocation.pools.iter().cloned());
        after.pools.sort_by_key(|pool| pool.subnet.family());
        planned.claims = allocation.txn.clone();
        planned.allocation = Some(allocation);
    }
    if after.name != before.name {
        let (there, back) = rename(core, before, &after, &needs).await?;
        planned.claims = planned.claims.and(there);
        planned.restored = planned.restored.and(back);
    }
    planned.after = Arc::new(after);
    Ok(planned)
}

/// Pure: the record with the change, but for what has to be allocated.
fn changed(before: &Network, change: &NetworkChange) -> Network {
    let mut after = before.clone();
    if let Some(name) = &change.name {
        after.name = name.clone();
    }
    if let Some(labels) = &change.labels {
        after.labels = labels.clone();
    }
    let options = [
        (MTU, change.mtu.map(|mtu| mtu.to_string())),
        (ICC, change.icc.map(|icc| icc.to_string())),
        (
            MASQUERADE,
            change.masquerade.map(|masquerade| masquerade.to_string()),
        ),
    ];
    for (key, value) in options {
        if let Some(value) = value {
            after.options.insert(key.to_owned(), value);
        }
    }
    // Who is on it stays as he is; whoever comes has both families.
    let has = |family| {
        let of = |pool: &SubnetRequest| pool.subnet.is_some_and(|subnet| subnet.family() == family);
        change.add_subnets.iter().any(of)
    };
    after.enable_ipv4 |= has(AddressFamily::V4);
    after.enable_ipv6 |= has(AddressFamily::V6);
    after.ipam.subnets.extend(change.add_subnets.iter().cloned());
    after
}

/// Pure: what of the record changes, for people.
fn lines(before: &Network, after: &Network, added: &[SubnetRequest]) -> Vec<String> {
    let mut lines = Vec::new();
    if before.name != after.name {
        lines.push(format!("~ network name: {} -> {}", before.name, after.name));
    }
    for (what, old, new) in [
        ("label", &before.labels, &after.labels),
        ("option", &before.options, &after.options),
    ] {
        for (key, value) in new {
            match old.get(key) {
                None => lines.push(format!("+ network {what} {key}={value}")),
                Some(was) if was != value => lines.push(format!("~ network {what} {key}: {was} -> {value}")),
                Some(_) => {}
            }
        }
        let gone = old.keys().filter(|key| !new.contains_key(*key));
        lines.extend(gone.map(|key| format!("- network {what} {key}")));
    }
    for (family, was, is) in [
        (AddressFamily::V4, before.enable_ipv4, after.enable_ipv4),
        (AddressFamily::V6, before.enable_ipv6, after.enable_ipv6),
    ] {
        if was != is {
            lines.push(format!(
                "~ network {family}: off -> on, for containers that start or connect from now on"
            ));
        }
    }
    for pool in added {
        let subnet = pool
            .subnet
            .map_or("of the default pools".to_owned(), |subnet| subnet.to_string());
        lines.push(format!("+ network subnet {subnet}"));
    }
    lines
}

/// What gives back the pools and gateways of an allocation that was committed.
async fn released(core: &Core, network: &Network, pools: &[Pool]) -> Result<Txn> {
    let mut txn = Txn::new();
    let ipam = core.ipam(network);
    for pool in pools {
        if let Some(gateway) = pool.gateway {
            let address = ipam.release_address(network.id, network.scope, pool, gateway);
            txn = txn.and(address.await?);
        }
        txn = txn.and(ipam.release_pool(network.id, network.scope, pool).await?);
    }
    Ok(txn)
}

/// The claims that move with a name, there and back again.
async fn rename(
    core: &Core,
    before: &Network,
    after: &Network,
    needs: &drivers::Needs,
) -> Result<(Txn, Txn)> {
    let (old, new) = (&before.name, &after.name);
    let mut txns = Vec::new();
    for (from, to) in [(old, new), (new, old)] {
        let name = claims::for_network(claims::network_name(to), before.id, to);
        let mut txn = name.delete(claims::network_name(from));
        for device in &needs.claims {
            txn = txn.and(claims::renamed(claims::device(device)?, before.id, to));
        }
        let pools = core
            .ipam(before)
            .rename(before.id, before.scope, &before.pools, to)
            .await?;
        txns.push(txn.and(pools));
    }
    let back = txns.pop().unwrap_or_default();
    let there = txns.pop().unwrap_or_default();
    Ok((there, back))
}

async fn carry_out(
    core: &Arc<Core>,
    driver: &Arc<dyn Driver>,
    before: &Arc<Network>,
    planned: &Planned,
    dry_run: bool,
) -> Result<Changed> {
    let snapshot = core.records.snapshot();
    let (from, to) = (
        view(core, &snapshot, before),
        view(core, &snapshot, &planned.after),
    );
    let mut steps = planned.lines.clone();
    let touches = core.is_made(before.id) && is_kernels(before, &planned.after);
    if touches {
        let doing = format!("comparing network {} with the kernel", before.name);
        steps.extend(core.call(&before.driver, doing, driver.preview(&to)).await?);
    }
    if dry_run || before == &planned.after {
        return Ok(Changed {
            network: Arc::clone(before),
            steps,
        });
    }
    let mut undo = UndoStack::new();
    let done = walk(
        core,
        driver,
        planned,
        touches.then_some((&from, &to)),
        before,
        &mut undo,
    )
    .await;
    if let Err(error) = done {
        return Err(core.unwind(undo, error).await);
    }
    refresh_sandboxes(core, before.id).await;
    let after = Arc::clone(&planned.after);
    core.events.send(EventKind::Updated, Arc::clone(&after));
    core.names_caught_up(core.records.snapshot().generation).await;
    Ok(Changed {
        network: after,
        steps,
    })
}

/// Whether the kernel has to know: its objects don't depend on names and labels.
fn is_kernels(before: &Network, after: &Network) -> bool {
    before.options != after.options || before.pools != after.pools
}

async fn walk(
    core: &Arc<Core>,
    driver: &Arc<dyn Driver>,
    planned: &Planned,
    views: Option<(&NetworkView, &NetworkView)>,
    before: &Arc<Network>,
    undo: &mut UndoStack,
) -> Result<()> {
    commit(core, &planned.after, planned.claims.clone()).await?;
    let (again, back, claims) = (Arc::clone(core), Arc::clone(before), planned.restored.clone());
    let added = planned
        .allocation
        .as_ref()
        .map_or_else(Vec::new, |new| new.pools.clone());
    undo.push(
        format!("recording network {} as it was", before.name),
        async move {
            let claims = claims.and(released(&again, &back, &added).await?);
            commit(&again, &back, claims).await
        },
    );
    let Some((from, to)) = views else {
        return Ok(());
    };
    // A driver takes back by itself what it had done when it failed.
    let doing = format!("changing network {}", before.name);
    core.call(&before.driver, doing, driver.change(from, to)).await
}

/// Records and publishes; of two hosts that change a shared network at once, one is told.
async fn commit(core: &Arc<Core>, network: &Arc<Network>, claims: Txn) -> Result<()> {
    let (id, table) = (network.id, records::networks());
    let shared = core.records.shared(network.scope);
    let txn = match shared {
        false => table.put(id, network).and(claims),
        true => {
            let store = core.stores.of(network.scope);
            let found = table.get(&**store, id).await?;
            let found = found.ok_or_else(|| network_not_found(network.name.as_str()))?;
            let record = table.replace(id, found.revision, network);
            record.and(claims).and(records::changed(id))
        }
    };
    let committed = core.stores.of(network.scope).commit(txn).await;
    let revision = committed.map_err(|error| match error {
        store::Error::Conflict { key } if key == claims::network_name(&network.name) => {
            name_taken(&network.name).with_hint("choose another name")
        }
        other => other.into(),
    })?;
    if shared {
        core.records.set_revision(id, Some(revision));
    }
    let published = Arc::clone(network);
    core.records.publish(move |snapshot| {
        snapshot.networks.insert(id, published);
    });
    keep_copy(core, network).await;
    Ok(())
}

/// Which network is the default gateway's depends on names. What fails here the reconciler does.
async fn refresh_sandboxes(core: &Arc<Core>, id: NetworkId) {
    let snapshot = core.records.snapshot();
    for endpoint in snapshot.endpoints_on(&id) {
        let Some(sandbox) = snapshot.sandboxes.get(&endpoint.sandbox) else {
            continue;
        };
        if let Err(error) = sandboxes::refresh(core, sandbox).await {
            tracing::warn!(%error, sandbox = %sandbox.id.short(), "not refreshed after a change of its network");
            core.wake.notify_one();
        }
    }
}

#[cfg(test)]
mod tests;
