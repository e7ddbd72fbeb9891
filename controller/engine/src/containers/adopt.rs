//! The daemon's start: containers that run are taken over, those that ended meanwhile get their exit status, and what
//! a crash left half done is undone.

use std::{fs, sync::Arc};

use runtime::{Exit, Shim, Status};

use super::{
    Core,
    container::{Container, Prepared},
    health, release, remove, renamed, start, supervise,
};
use crate::{
    error::Result,
    record::{Phase, RestartPolicy},
    volumes,
};

/// Brings every record and what is there together. What fails for one container is logged and does not keep the
/// others.
pub(super) async fn adopt_all(core: &Arc<Core>) {
    renamed::follow_all(core).await;
    let containers = core.registry.all();
    for container in &containers {
        let record = container.record();
        if record.state.phase.has_process() {
            volumes::mark_attached(core, &record);
        }
    }
    for container in &containers {
        if let Err(error) = Box::pin(adopt(core, container)).await {
            tracing::warn!(container = %container.record().name, error = %error, "taking over a container");
        }
    }
    sweep_homes(core);
    volumes::sweep(core).await;
    for container in &containers {
        autostart(core, container);
    }
}

async fn adopt(core: &Arc<Core>, container: &Arc<Container>) -> Result<()> {
    match container.record().state.phase {
        Phase::Running | Phase::Paused => take_over(core, container).await,
        Phase::Removing | Phase::Dead => {
            let volumes = container.record().state.with_volumes;
            remove::remove(core, container, true, volumes).await
        }
        // It exited, and the daemon ended before it was removed.
        Phase::Exited if container.record().settings.auto_remove => {
            remove::remove(core, container, true, true).await
        }
        // Its creation was never answered.
        Phase::Created if container.record().state.filling => {
            remove::remove(core, container, true, true).await
        }
        Phase::Restarting => {
            release::release(core, container).await?;
            supervise::restart_later(core, container, std::time::Duration::ZERO);
            Ok(())
        }
        Phase::Created | Phase::Exited => release::release(core, container).await,
    }
}

async fn take_over(core: &Arc<Core>, container: &Arc<Container>) -> Result<()> {
    let id = container.id();
    let shim = core.runtime.adopt(id, &core.paths(&id).bundle).await?;
    let exit = match &shim {
        Some(shim) => ended(shim).await?,
        None => Some(supervise::unseen()),
    };
    let sandboxes = core.controller.sandboxes.list();
    let sandbox = sandboxes
        .iter()
        .find(|sandbox| sandbox.container == Some(id))
        .map(|sandbox| sandbox.id);
    if let Some(shim) = shim {
        container.set_prepared(Some(Prepared {
            shim: shim.clone(),
            sandbox,
        }));
        if exit.is_none() {
            health::watch(core, container);
            supervise::watch(core, container, shim);
        }
    }
    if let Some(exit) = exit {
        supervise::exited(core, container, exit).await;
    }
    Ok(())
}

/// How it ended, if it did.
async fn ended(shim: &Shim) -> Result<Option<Exit>> {
    let state = shim.state().await?;
    Ok(match state.status {
        Status::Running | Status::Paused | Status::Starting => None,
        Status::Exited => Some(state.exit.unwrap_or_else(supervise::unseen)),
        // The daemon ended between preparing and starting it.
        Status::Created => Some(supervise::unseen()),
    })
}

/// Starts what is to run whenever the daemon does.
fn autostart(core: &Arc<Core>, container: &Arc<Container>) {
    let record = container.record();
    let wanted = match record.settings.restart {
        RestartPolicy::Always => true,
        RestartPolicy::UnlessStopped => !record.state.stopped,
        RestartPolicy::No | RestartPolicy::OnFailure(_) => false,
    };
    if !wanted || record.state.phase != Phase::Exited {
        return;
    }
    let (core, container) = (core.clone(), container.clone());
    tokio::spawn(async move {
        if let Err(error) = start::start(&core, &container).await {
            tracing::warn!(container = %container.record().name, error = %error, "starting a container with the daemon");
        }
    });
}

/// Folders without a record are from a creation or a removal that a crash cut short.
fn sweep_homes(core: &Core) {
    let Ok(entries) = fs::read_dir(core.data_root.join("containers")) else {
        return;
    };
    for entry in entries.flatten() {
        let id = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if id.is_some_and(|id| core.registry.get(&id).is_none())
            && let Err(error) = fs::remove_dir_all(entry.path())
        {
            tracing::warn!(path = %entry.path().display(), error = %error, "removing what a crash left");
        }
    }
}
