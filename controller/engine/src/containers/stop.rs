//! `stop`, `kill`, `restart`, `pause` and `unpause`: signals, and the wait for what they do.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::{Core, container::Container, signal, start};
use crate::{
    error::{Error, Result},
    record::Phase,
};

const SIGKILL: i32 = 9;
/// What Docker gives a container to stop by itself.
const DEFAULT_TIMEOUT: i64 = 10;
/// The kernel ends a killed process quickly unless it hangs in the kernel.
const AFTER_KILL: Duration = Duration::from_secs(10);

/// Asks it to stop and kills it when it doesn't. Negative timeouts wait for ever.
///
/// # Errors
/// `NotModified` when it doesn't run.
pub(super) async fn stop(
    core: &Core,
    container: &Container,
    signal: Option<&str>,
    timeout: Option<i64>,
) -> Result<()> {
    if container.record().state.phase == Phase::Restarting {
        return cancel_restart(core, container).await;
    }
    if container.record().state.phase.has_process() {
        core.registry
            .update(container, |record| record.state.stopped = true)
            .await?;
    }
    end_politely(core, container, signal, timeout).await
}

/// Stops everything for a shutdown.
pub(super) async fn stop_all(core: &Core) {
    core.stopping.store(true, Ordering::SeqCst);
    let stops = core.registry.all().into_iter().map(|container| async move {
        match end_politely(core, &container, None, None).await {
            Ok(()) | Err(Error::NotModified(_)) => {}
            Err(error) => {
                tracing::warn!(container = %container.record().name, %error, "stopping a container");
            }
        }
    });
    futures::future::join_all(stops).await;
    core.stopping.store(false, Ordering::SeqCst);
}

async fn end_politely(
    core: &Core,
    container: &Container,
    signal: Option<&str>,
    timeout: Option<i64>,
) -> Result<()> {
    let record = container.record();
    if !record.state.phase.has_process() {
        return Err(Error::NotModified("the container does not run".to_owned()));
    }
    let signal = signal::parse(signal.unwrap_or(&record.settings.stop_signal))?;
    let timeout = timeout
        .or(record.settings.stop_timeout)
        .unwrap_or(DEFAULT_TIMEOUT);
    send(core, container, signal).await?;
    if !exits_within(container, u64::try_from(timeout).ok().map(Duration::from_secs)).await {
        send(core, container, SIGKILL).await?;
        if !exits_within(container, Some(AFTER_KILL)).await {
            return Err(did_not_exit(container));
        }
    }
    core.events.send(container.event("stop", &[]));
    Ok(())
}

/// Sends a signal.
///
/// # Errors
/// `Conflict` when it doesn't run.
pub(super) async fn kill(core: &Core, container: &Container, signal: &str) -> Result<()> {
    let signal = signal::parse(signal)?;
    let record = container.record();
    if record.state.phase == Phase::Restarting {
        return cancel_restart(core, container).await;
    }
    if !record.state.phase.has_process() {
        return Err(Error::conflict(format!(
            "cannot kill container: {}: container {} is not running",
            record.name, record.id
        )));
    }
    let ends =
        signal == SIGKILL || signal::parse(&record.settings.stop_signal).is_ok_and(|stop| stop == signal);
    if ends {
        core.registry
            .update(container, |record| record.state.stopped = true)
            .await?;
    }
    send(core, container, signal).await
}

/// Kills it, however it is, and waits for its exit.
pub(super) async fn end(core: &Core, container: &Container) -> Result<()> {
    kill(core, container, "SIGKILL").await?;
    if exits_within(container, Some(AFTER_KILL)).await {
        Ok(())
    } else {
        Err(did_not_exit(container))
    }
}

/// Stops it if it runs, and starts it.
pub(super) async fn restart(
    core: &Arc<Core>,
    container: &Arc<Container>,
    signal: Option<&str>,
    timeout: Option<i64>,
) -> Result<()> {
    // Stopping it would remove a container with --rm before it could be started again.
    let keeping = container.keep();
    tolerate_stopped(stop(core, container, signal, timeout).await)?;
    let started = Box::pin(start::start(core, container)).await;
    drop(keeping);
    started?;
    core.events.send(container.event("restart", &[]));
    Ok(())
}

fn tolerate_stopped(stopped: Result<()>) -> Result<()> {
    match stopped {
        Err(Error::NotModified(_)) => Ok(()),
        other => other,
    }
}

/// Freezes it.
pub(super) async fn pause(core: &Core, container: &Container) -> Result<()> {
    let _operation = container.operation.lock().await;
    match container.record().state.phase {
        Phase::Running => {}
        Phase::Paused => return Err(Error::conflict("container is already paused")),
        _ => return Err(not_running(container)),
    }
    shim(container)?.pause().await?;
    core.registry
        .update(container, |record| record.state.phase = Phase::Paused)
        .await?;
    core.events.send(container.event("pause", &[]));
    Ok(())
}

/// Lets it run again.
pub(super) async fn unpause(core: &Core, container: &Container) -> Result<()> {
    let _operation = container.operation.lock().await;
    if container.record().state.phase != Phase::Paused {
        return Err(Error::conflict(format!(
            "Container {} is not paused",
            container.id()
        )));
    }
    shim(container)?.resume().await?;
    core.registry
        .update(container, |record| record.state.phase = Phase::Running)
        .await?;
    core.events.send(container.event("unpause", &[]));
    Ok(())
}

async fn send(core: &Core, container: &Container, signal: i32) -> Result<()> {
    if container.record().state.phase == Phase::Paused {
        unpause(core, container).await?; // a frozen process takes no signal
    }
    match shim(container) {
        Ok(shim) => match shim.kill(signal).await {
            // It exited by itself in this moment.
            Err(error) if error.is_not_running() => return Ok(()),
            other => other?,
        },
        Err(_) => return Ok(()),
    }
    core.events
        .send(container.event("kill", &[("signal", signal.to_string())]));
    Ok(())
}

async fn cancel_restart(core: &Core, container: &Container) -> Result<()> {
    let _operation = container.operation.lock().await;
    let update = core.registry.update(container, |record| {
        record.state.stopped = true;
        if record.state.phase == Phase::Restarting {
            record.state.phase = Phase::Exited;
        }
    });
    update.await.map(drop)
}

/// Whether it exits in time; none is for ever.
async fn exits_within(container: &Container, time: Option<Duration>) -> bool {
    let mut changes = container.subscribe();
    let exit = changes.wait_for(|now| now.removed || !now.record.state.phase.has_process());
    match time {
        Some(time) => tokio::time::timeout(time, exit).await.is_ok(),
        None => exit.await.is_ok(),
    }
}

/// The shim of a running container.
pub(super) fn shim(container: &Container) -> Result<runtime::Shim> {
    let shim = container.prepared().map(|prepared| prepared.shim);
    shim.filter(|_| container.record().state.phase.has_process())
        .ok_or_else(|| not_running(container))
}

fn not_running(container: &Container) -> Error {
    Error::conflict(format!("container {} is not running", container.id()))
}

fn did_not_exit(container: &Container) -> Error {
    Error::Internal {
        doing: format!("killing container {}", container.id()),
        source: "it did not exit though it was killed: a process of it hangs in the kernel".into(),
    }
}
