//! `start`: prepare, connect the networks, run the command.

use std::sync::Arc;

use model::{SandboxId, Timestamp};

use super::{
    Core,
    container::{Container, Prepared},
    health::{self, Health},
    links, networks, prepare, release, remove, renamed, supervise,
};
use crate::{
    error::{Error, Result},
    record::{Phase, Record},
};

/// What Docker says before the reason, and users' scripts look for.
const NO_TASK: &str = "failed to create task for container: failed to create shim task: OCI runtime create failed: \
                       runc create failed: unable to start container process: ";

/// Starts a container. On failure nothing is left of it but its record, with the reason.
///
/// # Errors
/// `NotModified` when it runs.
pub(super) async fn start(core: &Arc<Core>, container: &Arc<Container>) -> Result<()> {
    let started = start_locked(core, container).await;
    if let Err(error) = &started
        && !matches!(error, Error::NotModified(_))
        && container.record().settings.auto_remove
        && !container.record().state.phase.is_up()
    {
        // Its client waits for the removal.
        if let Err(undo) = remove::remove(core, container, false, true).await {
            tracing::warn!(container = %container.record().name, error = %undo, "removing what failed to start");
        }
    }
    started
}

async fn start_locked(core: &Arc<Core>, container: &Arc<Container>) -> Result<()> {
    let _operation = container.operation.lock().await;
    match container.record().state.phase {
        Phase::Running => return Err(Error::NotModified("the container runs already".to_owned())),
        Phase::Paused => {
            return Err(Error::conflict(
                "cannot start a paused container, try unpause instead",
            ));
        }
        Phase::Removing | Phase::Dead => {
            return Err(Error::conflict(
                "container is marked for removal and cannot be started",
            ));
        }
        Phase::Created | Phase::Restarting | Phase::Exited => {}
    }
    launch_or_release(core, container, |state| state.restarts = 0).await
}

/// The part that restarts share: the caller holds the operation lock.
pub(super) async fn launch_or_release(
    core: &Arc<Core>,
    container: &Arc<Container>,
    change: impl FnOnce(&mut crate::record::State) + Send,
) -> Result<()> {
    match launch(core, container).await {
        Ok((prepared, pid)) => {
            let started = Timestamp::now();
            let recorded = core
                .registry
                .update(container, |record| {
                    let state = &mut record.state;
                    change(state);
                    state.phase = Phase::Running;
                    state.pid = i32::try_from(pid).ok();
                    state.error.clear();
                    state.exit_code = 0;
                    state.oom_killed = false;
                    state.stopped = false;
                    state.health = state.health.take().map(Health::anew);
                    state.started = started;
                })
                .await;
            if let Err(error) = recorded {
                return Err(give_up(core, container, error).await);
            }
            links::follow(core, container).await;
            core.events.send(container.event("start", &[]));
            health::watch(core, container);
            supervise::watch(core, container, prepared.shim);
            Ok(())
        }
        Err(error) => Err(give_up(core, container, error).await),
    }
}

async fn launch(core: &Core, container: &Container) -> Result<(Prepared, u32)> {
    renamed::find_again(core, container).await?;
    let record = container.record();
    let prepared = match container.prepared() {
        Some(prepared) => {
            connect_networks(core, &record, prepared.sandbox).await?;
            prepared
        }
        None => prepare_and_connect(core, container, &record).await?,
    };
    let pid = prepared
        .shim
        .start()
        .await
        .map_err(|error| Error::from(error).behind(NO_TASK))?;
    Ok((prepared, pid))
}

/// Processes and networks need the namespace and not each other. Both come to an end before a failure of either is
/// told, so that what is undone then is whole.
async fn prepare_and_connect(core: &Core, container: &Container, record: &Record) -> Result<Prepared> {
    let network = prepare::join_network(core, record).await?;
    let sandbox = network.sandbox;
    let (prepared, connected) = futures::join!(
        prepare::open_shim(core, container, network),
        connect_networks(core, record, sandbox)
    );
    connected.and(prepared)
}

/// In another container's namespace there is nothing to connect.
async fn connect_networks(core: &Core, record: &Record, sandbox: Option<SandboxId>) -> Result<()> {
    let Some(sandbox) = sandbox else {
        return Ok(());
    };
    for (network, wishes) in networks::in_order(record) {
        networks::connect(core, record, sandbox, *network, wishes).await?;
    }
    Ok(())
}

/// Undoes a half-made start and records why it failed.
async fn give_up(core: &Core, container: &Container, error: Error) -> Error {
    if let Err(undo) = release::release(core, container).await {
        tracing::warn!(container = %container.record().name, error = %undo, "undoing a failed start");
    }
    let exit_code = match &error {
        Error::Command { exit_code, .. } => i64::from(*exit_code),
        _ => 128,
    };
    let text = error.to_string();
    let recorded = core
        .registry
        .note(container, |record| {
            let state = &mut record.state;
            if state.phase != Phase::Created {
                state.phase = Phase::Exited;
            }
            state.pid = None;
            state.error = text;
            state.exit_code = exit_code;
        })
        .await;
    if let Err(recording) = recorded {
        tracing::warn!(container = %container.record().name, error = %recording, "recording a failed start");
    }
    container.publish_failed_start();
    error
}
