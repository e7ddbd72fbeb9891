//! Finishes what was left half done, and brings the kernel to what the records say.

use std::{sync::Arc, time::Instant};

use kernel::{KernelState, Key, Survey};
use model::{Endpoint, Lifecycle, Network, Sandbox, Scope};
use tokio::sync::watch::Receiver;

use super::{
    asked_to_stop,
    damage::{self, Heard, Pace},
    host_files, inside_sysctls,
    passage::Passages,
    ports, sweep,
};
use crate::{
    core::Core,
    endpoints,
    error::{Error, Result},
    foreign,
    locks::LockKey,
    networks, sandboxes,
};

/// Repairs at every wake and at every tick, until stopped.
pub(super) async fn run(core: Arc<Core>, heard: Arc<Heard>, mut stopped: Receiver<bool>) {
    let mut tick = tokio::time::interval(core.settings.repair_every);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    tick.tick().await;
    let mut files = host_files::Seen::now(&core.settings.host_files);
    let mut look = tokio::time::interval(host_files::EVERY);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut pace = Pace::default();
    let mut passages = Passages::default();
    passages.look(&core).await;
    loop {
        tokio::select! {
            () = asked_to_stop(&mut stopped) => return,
            _ = tick.tick() => {}
            () = core.wake.notified() => {}
            () = heard.any() => {
                if damage::mend(&core, &heard, &mut pace).await {
                    passages.look(&core).await;
                }
                continue;
            }
            _ = look.tick() => {
                if files.changed() {
                    refresh_sandboxes(&core).await;
                }
                passages.poll(&core).await;
                // Nobody announces that a namespace has ended.
                foreign::reap(&core).await;
                inside_sysctls::look(&core, &heard).await;
                continue;
            }
        }
        let began = Instant::now();
        finish(&core).await;
        repair_all(&core).await;
        report(&core, "claims of ports", "host", ports::settle(&core).await);
        sweep::sweep(&core).await;
        passages.look(&core).await;
        core.work.ran_since(began);
    }
}

/// Undoes what was being made and goes on with what was being removed. What somebody is at right now is left to them.
pub(super) async fn finish(core: &Arc<Core>) {
    let snapshot = core.records.snapshot();
    let own = |endpoint: &&Arc<Endpoint>| endpoint.node == core.node.id;
    for endpoint in snapshot.endpoints.values().filter(own) {
        report(
            core,
            "endpoint",
            &endpoint.name,
            finish_endpoint(core, endpoint).await,
        );
    }
    for sandbox in snapshot.sandboxes.values() {
        report(
            core,
            "sandbox",
            &sandbox.id.short(),
            finish_sandbox(core, sandbox).await,
        );
    }
    foreign::reap(core).await;
    for network in snapshot.networks.values() {
        report(
            core,
            "network",
            &network.name,
            finish_network(core, network).await,
        );
    }
}

pub(super) fn report(core: &Core, what: &'static str, name: &str, result: Result<()>) {
    match result {
        Ok(()) => {}
        Err(error @ Error::Unavailable { .. }) => tracing::debug!(what, name, %error, "waits for the store"),
        Err(error) => {
            core.work.failed();
            tracing::warn!(what, name, %error, "could not be finished; it will be tried again");
        }
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
        // What is in it has ended with it, and nobody is to look there any more.
        Lifecycle::Active if now.foreign().is_some() => {
            let deleting = Arc::new(Sandbox {
                lifecycle: Lifecycle::Deleting,
                ..Sandbox::clone(&now)
            });
            sandboxes::mark(core, &deleting).await?;
            sandboxes::finish_deleting(core, &deleting).await
        }
        // Its namespace ended with the machine's last run.
        Lifecycle::Active | Lifecycle::Creating | Lifecycle::Deleting => {
            sandboxes::finish_deleting(core, &now).await
        }
    }
}

async fn has_namespace(core: &Core, sandbox: &Sandbox) -> Result<bool> {
    if let Some(namespace) = sandbox.foreign() {
        return foreign::is_there(core, namespace).await;
    }
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

/// One look at the host for a walk over all records; none where it can't be had, which only makes the walk slower.
pub(super) async fn survey(core: &Core) -> Option<Arc<Survey>> {
    match core.worker.survey("looking at the host").await {
        Ok(survey) => Some(survey),
        Err(error) => {
            tracing::warn!(%error, "every network is looked at by itself");
            None
        }
    }
}

/// The same verbs as at creation, for every record: networks, then endpoints, then sandboxes.
pub(super) async fn realize_all(core: &Arc<Core>) {
    let survey = survey(core).await;
    let survey = survey.as_ref();
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
            true => networks::realize_knowing(core, network, survey).await,
            false => networks::remove_from_kernel(core, network).await,
        };
        report(core, "network", &network.name, result);
    }
    let own = snapshot
        .endpoints
        .values()
        .filter(|endpoint| endpoint.node == core.node.id);
    for endpoint in own.filter(|endpoint| endpoint.lifecycle == Lifecycle::Active) {
        report(
            core,
            "endpoint",
            &endpoint.name,
            rejoin(core, endpoint, survey).await,
        );
    }
    for sandbox in snapshot.sandboxes.values() {
        report(
            core,
            "sandbox",
            &sandbox.id.short(),
            sandboxes::realize(core, sandbox).await,
        );
        report(
            core,
            "sandbox",
            &sandbox.id.short(),
            endpoints::adjust_gateway_bridge(core, sandbox.id).await,
        );
    }
    for network in snapshot.networks.values() {
        report(
            core,
            "network",
            &network.name,
            networks::tell_all_peers(core, network).await,
        );
    }
}

async fn rejoin(core: &Arc<Core>, endpoint: &Arc<Endpoint>, survey: Option<&Arc<Survey>>) -> Result<()> {
    let snapshot = core.records.snapshot();
    let (Some(network), Some(sandbox)) = (
        snapshot.networks.get(&endpoint.network),
        snapshot.sandboxes.get(&endpoint.sandbox),
    ) else {
        return orphan(core, endpoint).await;
    };
    endpoints::rejoin(core, network, endpoint, sandbox, survey).await
}

/// An endpoint whose sandbox is gone: nobody will ever disconnect it.
async fn orphan(core: &Arc<Core>, endpoint: &Arc<Endpoint>) -> Result<()> {
    tracing::warn!(endpoint = %endpoint.name, "its sandbox is gone, so it goes too");
    endpoints::leave(core, endpoint.id).await
}

/// Brings every network made here, and every sandbox, to what its records say. One that is being changed right now is
/// left for the next time.
pub(super) async fn repair_all(core: &Arc<Core>) {
    // Before the records are read: what is made meanwhile is looked at by itself.
    let survey = survey(core).await;
    let snapshot = core.records.snapshot();
    for network in snapshot
        .networks
        .values()
        .filter(|network| network.lifecycle == Lifecycle::Active)
    {
        let looked = repair_network(core, network, survey.as_ref()).await;
        report(core, "network", &network.name, looked.map(drop));
    }
    for sandbox in snapshot
        .sandboxes
        .values()
        .filter(|sandbox| sandbox.lifecycle == Lifecycle::Active)
    {
        repair_sandbox(core, sandbox, true).await;
    }
}

/// Brings every sandbox's files to what the host's own say now.
async fn refresh_sandboxes(core: &Arc<Core>) {
    for sandbox in core.records.snapshot().sandboxes.values() {
        if sandbox.lifecycle == Lifecycle::Active {
            repair_sandbox(core, sandbox, false).await;
        }
    }
}

/// Brings a sandbox to what its record says: with `again` all of it, else what has changed since the last time.
pub(super) async fn repair_sandbox(core: &Arc<Core>, sandbox: &Arc<Sandbox>, again: bool) {
    if again {
        join_late(core, sandbox).await;
        let ready = sandboxes::make_ready(core, sandbox).await;
        report(core, "sandbox", &sandbox.id.short(), ready);
    }
    let refreshed = sandboxes::refresh(core, sandbox).await;
    report(core, "sandbox", &sandbox.id.short(), refreshed);
    let adjusted = endpoints::adjust_gateway_bridge(core, sandbox.id).await;
    report(core, "sandbox", &sandbox.id.short(), adjusted);
}

/// Joins endpoints that could not be at start, because what their network stands on was not there.
async fn join_late(core: &Arc<Core>, sandbox: &Arc<Sandbox>) {
    let snapshot = core.records.snapshot();
    for endpoint in snapshot.endpoints_of(&sandbox.id) {
        let joined = endpoints::join_late(core, endpoint.id).await;
        report(core, "endpoint", &endpoint.name, joined);
    }
}

/// What came of looking at a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Looked {
    /// It is what its record says.
    Done,
    /// Somebody is changing it right now.
    Busy,
}

/// Brings a network to what its record says, compared with a survey where there is one.
pub(super) async fn repair_network(
    core: &Arc<Core>,
    network: &Arc<Network>,
    survey: Option<&Arc<Survey>>,
) -> Result<Looked> {
    networks::unrealize(core, network).await?;
    let Some(_network) = core.locks.try_exclusive(LockKey::Network(network.id)) else {
        return Ok(Looked::Busy);
    };
    if !core.is_made(network.id) {
        if network.scope == Scope::Local {
            networks::realize_knowing(core, network, survey).await?;
        }
        return Ok(Looked::Done);
    }
    let _peers = core.locks.exclusive(LockKey::Peers(network.id)).await;
    let _access = core.locks.exclusive(LockKey::Access(network.id)).await;
    let view = networks::view(core, &core.records.snapshot(), network);
    let driver = core.driver_knowing(&network.driver, survey)?;
    let doing = format!("repairing network {}", network.name);
    core.call(&network.driver, doing, driver.repair(&view)).await?;
    core.set_peers(
        network.id,
        view.peers
            .into_iter()
            .map(|peer| (peer.endpoint.id, peer))
            .collect(),
    );
    Ok(Looked::Done)
}
