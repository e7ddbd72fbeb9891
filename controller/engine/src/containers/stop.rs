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
    match hold_back(core, container).await? {
        Held::Waiting => Ok(()),
        Held::Running | Held::Ended => end_politely(core, container, signal, timeout).await,
    }
}

/// What a container was doing when its restarts were called off.
enum Held {
    /// It waited for one.
    Waiting,
    /// It runs.
    Running,
    /// Nothing.
    Ended,
}

/// Sees to it that its policy starts it no more. It may exit, and may have been started again, at any moment of this.
async fn hold_back(core: &Core, container: &Container) -> Result<Held> {
    loop {
        let phase = container.record().state.phase;
        if phase == Phase::Restarting {
            if cancel_restart(core, container).await? {
                return Ok(Held::Waiting);
            }
        } else if !phase.has_process() {
            return Ok(Held::Ended);
        } else {
            let update = core
                .registry
                .note(container, |record| record.state.stopped = true);
            if update.await?.state.phase.has_process() {
                return Ok(Held::Running);
            }
        }
    }
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
    let name = || container.record().name.clone();
    let signal =
        signal::parse(signal).map_err(|error| error.after(format!("cannot kill container: {}: ", name())))?;
    if signal == SIGKILL {
        return end(core, container).await;
    }
    let record = container.record();
    let ends = signal::parse(&record.settings.stop_signal).is_ok_and(|stop| stop == signal);
    if ends || record.state.phase == Phase::Restarting {
        match hold_back(core, container).await? {
            Held::Waiting => return Ok(()),
            Held::Running => {}
            Held::Ended => return Err(not_killed(container)),
        }
    }
    if !container.record().state.phase.has_process() {
        return Err(not_killed(container));
    }
    send(core, container, signal).await
}

/// Kills it, however it is, and waits for its exit.
///
/// # Errors
/// `Conflict` when it doesn't run.
pub(super) async fn end(core: &Core, container: &Container) -> Result<()> {
    match hold_back(core, container).await? {
        Held::Waiting => return Ok(()),
        Held::Running => {}
        Held::Ended => return Err(not_killed(container)),
    }
    send(core, container, SIGKILL).await?;
    if exits_within(container, Some(AFTER_KILL)).await {
        Ok(())
    } else {
        Err(did_not_exit(container))
    }
}

fn not_killed(container: &Container) -> Error {
    let record = container.record();
    Error::conflict(format!(
        "cannot kill container: {}: container {} is not running",
        record.name, record.id
    ))
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
        Phase::Paused => {
            return Err(Error::conflict(format!(
                "Container {} is already paused",
                container.id()
            )));
        }
        _ => return Err(not_running(container)),
    }
    still(container, shim(container)?.pause().await)?;
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
    still(container, shim(container)?.resume().await)?;
    core.registry
        .update(container, |record| record.state.phase = Phase::Running)
        .await?;
    core.events.send(container.event("unpause", &[]));
    Ok(())
}

async fn send(core: &Core, container: &Container, signal: i32) -> Result<()> {
    if container.record().state.phase == Phase::Paused {
        // A frozen process takes no signal. One that was thawed or ended meanwhile needs no thawing.
        match unpause(core, container).await {
            Ok(()) | Err(Error::Conflict { .. }) => {}
            Err(error) => return Err(error),
        }
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

/// False when it did not wait any longer.
async fn cancel_restart(core: &Core, container: &Container) -> Result<bool> {
    // Held while it is started: what is Restarting under it is not being started.
    let _operation = container.operation.lock().await;
    if container.record().state.phase != Phase::Restarting {
        return Ok(false);
    }
    let update = core.registry.note(container, |record| {
        record.state.stopped = true;
        record.state.phase = Phase::Exited;
    });
    update.await.map(|_| true)
}

/// Whether it exits in time; none is for ever.
pub(super) async fn exits_within(container: &Container, time: Option<Duration>) -> bool {
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

/// What its shim answered. One that has gone, or whose container has ended in this moment, says so as Docker does.
pub(super) fn still<T>(container: &Container, answer: runtime::Result<T>) -> Result<T> {
    answer.map_err(|error| match error.is_not_running() {
        true => not_running(container),
        false => error.into(),
    })
}

pub(super) fn not_running(container: &Container) -> Error {
    Error::conflict(format!("container {} is not running", container.id()))
}

fn did_not_exit(container: &Container) -> Error {
    Error::Internal {
        doing: format!("killing container {}", container.id()),
        source: "it did not exit though it was killed: a process of it hangs in the kernel".into(),
    }
}
