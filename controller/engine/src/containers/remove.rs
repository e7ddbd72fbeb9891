//! `rm`: everything of a container goes, its record last.

use std::{io, sync::Arc};

use tokio::sync::MutexGuard;

use super::{Core, container::Container, release, stop};
use crate::{
    error::{Error, Result},
    record::Phase,
    volumes,
};

/// Removes a container; with `force` a running one too, with `volumes` those that it has for itself.
///
/// # Errors
/// `Conflict` when it runs, or is being removed.
pub(super) async fn remove(
    core: &Arc<Core>,
    container: &Container,
    force: bool,
    volumes: bool,
) -> Result<()> {
    let _operation = hold(core, container, force).await?;
    if container.subscribe().borrow().removed {
        return Ok(()); // --rm was quicker
    }
    // On a full disk, what it leaves is the room that its removal needs.
    core.registry
        .note(container, |record| {
            record.state.phase = Phase::Removing;
            record.state.with_volumes = volumes;
        })
        .await?;
    if let Err(error) = forget(core, container).await {
        let dead = core
            .registry
            .note(container, |record| record.state.phase = Phase::Dead)
            .await;
        if let Err(dead) = dead {
            tracing::warn!(container = %container.record().name, error = %dead, "recording a failed removal");
        }
        return Err(error);
    }
    core.events.send(container.event("destroy", &[]));
    container.publish_removed();
    Ok(())
}

/// The lock of a container that doesn't run, and isn't started as long as it is held.
async fn hold<'a>(core: &Core, container: &'a Container, force: bool) -> Result<MutexGuard<'a, ()>> {
    loop {
        let record = container.record();
        if record.state.phase.is_up() {
            if !force {
                return Err(running(&record.name, record.state.phase));
            }
            match stop::end(core, container).await {
                // It exited by itself in this moment.
                Err(Error::Conflict { .. }) => {}
                other => other?,
            }
        }
        let operation = container.operation.lock().await;
        // Somebody else may have started it, or its policy be about to.
        if !container.record().state.phase.is_up() {
            return Ok(operation);
        }
    }
}

async fn forget(core: &Core, container: &Container) -> Result<()> {
    release::release(core, container).await?;
    let networks: Vec<_> = container.record().networks.keys().copied().collect();
    if let Err(error) = core.controller.endpoints.forget(container.id(), &networks).await {
        tracing::warn!(container = %container.id(), %error, "its addresses stay set aside");
    }
    let record = container.record();
    if record.state.with_volumes {
        volumes::remove_anonymous(core, &record).await;
    }
    let home = core.paths(&container.id()).home;
    super::blocking(move || match std::fs::remove_dir_all(&home) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::internal(format!("removing {}", home.display()))(error))
        }
        _ => Ok(()),
    })
    .await?;
    // They know their container as it knows them: left here, neither would ever go.
    let execs = std::mem::take(&mut *container.execs());
    for exec in execs.keys() {
        core.forget_exec(exec);
    }
    core.registry.remove(container).await
}

fn running(name: &model::ContainerName, phase: Phase) -> Error {
    let advice = match phase {
        Phase::Paused => " and must be unpaused first",
        _ => ": stop the container before removing or force remove",
    };
    Error::conflict(format!(
        "cannot remove container \"{name}\": container is {}{advice}",
        phase.as_str()
    ))
}
