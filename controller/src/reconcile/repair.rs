//! Finishes what was left half done, and brings the kernel to what the records say.

use std::sync::Arc;

use kernel::{KernelState, Key};
use model::{Endpoint, Lifecycle, Network, Sandbox, Scope};
use tokio::sync::watch::Receiver;

use super::{asked_to_stop, sweep};
use crate::{
    core::Core,
    endpoints,
    error::{Error, Result},
    locks::LockKey,
    networks, sandboxes,
};

/// Repairs at every wake and at every tick, until stopped.
pub(super) async fn run(core: Arc<Core>, mut stopped: Receiver<bool>) {
    let mut tick = tokio::time::interval(core.settings.repair_every);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    tick.tick().await;
    loop {
        tokio::select! {
            () = asked_to_stop(&mut stopped) => return,
            _ = tick.tick() => {}
            () = core.wake.notified() => {}
        }
        finish(&core).await;
        repair_all(&core).await;
        sweep::sweep(&core).await;
    }
}

/// Undoes what was being made and goes on with what was being removed. What somebody is at right now is left to them.
pub(super) async fn finish(core: &Arc<Core>) {
    let snapshot = core.records.snapshot();
    let own = |endpoint: &&Arc<Endpoint>| endpoint.node == core.node.id;
    for endpoint in snapshot.endpoints.values().filter(own) {
        report("endpoint", &endpoint.name, finish_endpoint(core, endpoint).await);
    }
    for sandbox in snapshot.sandboxes.values() {
        report(
            "sandbox",
            &sandbox.id.short(),
            finish_sandbox(core, sandbox).await,
        );
    }
    for network in snapshot.networks.values() {
        report("network", &network.name, finish_network(core, network).await);
    }
}

fn report(what: &'static str, name: &str, result: Result<()>) {
    match result {
        Ok(()) => {}
        Err(error @ Error::Unavailable { .. }) => tracing::debug!(what, name, %error, "waits for the store"),
        Err(error) => tracing::warn!(what, name, %error, "could not be finished; it will be tried again"),
    }
}

async fn finish_endpoint(core: &Arc<Core>, endpoint: &Arc<Endpoint>) -> Result<()> {
    if endpoint.lifecycle == Lifecycle::Active {
        return Ok(());
    }
    let Some(_endpoint) = core.locks.try_exclusive(LockKey::Endpoint(endpoint.id)) else {
        return Ok(());
    };
    let snapshot = core.records.snapshot();
    let (Some(now), Some(network)) = (
        snapshot.endpoints.get(&endpoint.id),
        snapshot.networks.get(&endpoint.network),
    ) else {
        return Ok(());
    };
    match now.lifecycle {
        Lifecycle::Active => Ok(()),
        Lifecycle::Creating => endpoints::undo_creating(core, network, now).await,
        Lifecycle::Deleting => endpoints::finish_deleting(core, network, now, true).await,
    }
}

async fn finish_sandbox(core: &Arc<Core>, sandbox: &Arc<Sandbox>) -> Result<()> {
    let Some(_sandbox) = core.locks.try_exclusive(LockKey::Deletion(sandbox.id)) else {
        return Ok(());
    };
    let Some(now) = core.records.snapshot().sandboxes.get(&sandbox.id).cloned() else {
        return Ok(());
    };
    match now.lifecycle {
        Lifecycle::Active if has_namespace(core, &now).await? => Ok(()),
        // Its namespace ended with the machine's last run.
        Lifecycle::Active | Lifecycle::Creating | Lifecycle::Deleting => {
            sandboxes::finish_deleting(core, &now).await
        }
    }
}

async fn has_namespace(core: &Core, sandbox: &Sandbox) -> Result<bool> {
    let Some(path) = sandbox.netns() else {
        return Ok(true);
    };
    let key = Key::Namespace(path.clone());
    let there: KernelState = core
        .worker
        .observe("looking for the namespace", vec![key.clone()])
        .await?;
    Ok(there.get(&key).is_some())
}

async fn finish_network(core: &Arc<Core>, network: &Arc<Network>) -> Result<()> {
    if network.lifecycle == Lifecycle::Active {
        return Ok(());
    }
    let Some(_network) = core.locks.try_exclusive(LockKey::Network(network.id)) else {
        return Ok(());
    };
    let snapshot = core.records.snapshot();
    let Some(now) = snapshot.networks.get(&network.id) else {
        return Ok(());
    };
    match now.lifecycle {
        Lifecycle::Active => Ok(()),
        Lifecycle::Creating => networks::undo_creating(core, now).await,
        Lifecycle::Deleting if snapshot.endpoints_on(&now.id).next().is_none() => {
            networks::finish_deleting(core, now).await
        }
        Lifecycle::Deleting => Ok(()),
    }
}

/// The same verbs as at creation, for every record: networks, then endpoints, then sandboxes.
pub(super) async fn realize_all(core: &Arc<Core>) {
    let snapshot = core.records.snapshot();
    let active = snapshot
        .networks
        .values()
        .filter(|network| network.lifecycle == Lifecycle::Active);
    for network in active {
        let used = snapshot
            .endpoints_on(&network.id)
            .any(|endpoint| endpoint.node == core.node.id);
        // One that is no longer used here may have been left by a process that died at the wrong moment.
        let result = match network.scope == Scope::Local || used {
            true => networks::realize(core, network).await,
            false => networks::remove_from_kernel(core, network).await,
        };
        report("network", &network.name, result);
    }
    let own = snapshot
        .endpoints
        .values()
        .filter(|endpoint| endpoint.node == core.node.id);
    for endpoint in own.filter(|endpoint| endpoint.lifecycle == Lifecycle::Active) {
        report("endpoint", &endpoint.name, rejoin(core, endpoint).await);
    }
    for sandbox in snapshot.sandboxes.values() {
        report(
            "sandbox",
            &sandbox.id.short(),
            sandboxes::realize(core, sandbox).await,
        );
        report(
            "sandbox",
            &sandbox.id.short(),
            endpoints::adjust_gateway_bridge(core, sandbox.id).await,
        );
    }
    for network in snapshot.networks.values() {
        report(
            "network",
            &network.name,
            networks::tell_all_peers(core, network).await,
        );
    }
}

async fn rejoin(core: &Arc<Core>, endpoint: &Arc<Endpoint>) -> Result<()> {
    let snapshot = core.records.snapshot();
    let (Some(network), Some(sandbox)) = (
        snapshot.networks.get(&endpoint.network),
        snapshot.sandboxes.get(&endpoint.sandbox),
    ) else {
        return orphan(core, endpoint).await;
    };
    endpoints::rejoin(core, network, endpoint, sandbox).await
}

/// An endpoint whose sandbox is gone: nobody will ever disconnect it.
async fn orphan(core: &Arc<Core>, endpoint: &Arc<Endpoint>) -> Result<()> {
    tracing::warn!(endpoint = %endpoint.name, "its sandbox is gone, so it goes too");
    endpoints::leave(core, endpoint.id).await
}

/// Brings every network made here, and every sandbox, to what its records say. One that is being changed right now is
/// left for the next time.
async fn repair_all(core: &Arc<Core>) {
    let snapshot = core.records.snapshot();
    for network in snapshot
        .networks
        .values()
        .filter(|network| network.lifecycle == Lifecycle::Active)
    {
        report("network", &network.name, repair_network(core, network).await);
    }
    for sandbox in snapshot
        .sandboxes
        .values()
        .filter(|sandbox| sandbox.lifecycle == Lifecycle::Active)
    {
        core.attachments.forget(sandbox.id);
        report(
            "sandbox",
            &sandbox.id.short(),
            sandboxes::refresh(core, sandbox).await,
        );
        report(
            "sandbox",
            &sandbox.id.short(),
            endpoints::adjust_gateway_bridge(core, sandbox.id).await,
        );
    }
}

async fn repair_network(core: &Arc<Core>, network: &Arc<Network>) -> Result<()> {
    networks::unrealize(core, network).await?;
    let Some(_network) = core.locks.try_exclusive(LockKey::Network(network.id)) else {
        return Ok(());
    };
    if !core.is_made(network.id) {
        return match network.scope {
            Scope::Local => networks::realize(core, network).await,
            Scope::Global => Ok(()),
        };
    }
    let _peers = core.locks.exclusive(LockKey::Peers(network.id)).await;
    let view = networks::view(&core.records.snapshot(), network, core.node.id);
    let driver = core.driver(&network.driver)?;
    let doing = format!("repairing network {}", network.name);
    core.call(&network.driver, doing, driver.repair(&view)).await?;
    core.set_peers(
        network.id,
        view.peers
            .into_iter()
            .map(|peer| (peer.endpoint.id, peer))
            .collect(),
    );
    Ok(())
}
