//! The daemon's start: containers that run are taken over, those that ended meanwhile get their exit status, and what
//! a crash left half done is undone.

mod order;

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
    let mut wanted = Vec::new();
    for container in &containers {
        match Box::pin(adopt(core, container)).await {
            Ok(Then::Start) => wanted.push(container.clone()),
            Ok(Then::Rest) if starts_with_the_daemon(container) => wanted.push(container.clone()),
            Ok(Then::Rest) => {}
            Err(error) => {
                tracing::warn!(container = %container.record().name, error = %error, "taking over a container");
            }
        }
    }
    sweep_homes(core);
    volumes::sweep(core).await;
    tokio::spawn(start_in_order(core.clone(), wanted));
}

/// What becomes of a container that was looked at.
enum Then {
    /// It stays as it is.
    Rest,
    /// Its policy starts it again.
    Start,
}

async fn adopt(core: &Arc<Core>, container: &Arc<Container>) -> Result<Then> {
    let rest = |()| Then::Rest;
    match container.record().state.phase {
        Phase::Running | Phase::Paused => take_over(core, container).await,
        Phase::Removing | Phase::Dead => {
            let volumes = container.record().state.with_volumes;
            remove::remove(core, container, true, volumes).await.map(rest)
        }
        // It exited, or was to be started, and the daemon ended before it was removed.
        Phase::Exited | Phase::Created if container.record().settings.auto_remove => {
            remove::remove(core, container, true, true).await.map(rest)
        }
        // Its creation was never answered.
        Phase::Created if container.record().state.filling => {
            remove::remove(core, container, true, true).await.map(rest)
        }
        Phase::Restarting => {
            release::release(core, container).await?;
            Ok(Then::Start)
        }
        Phase::Created | Phase::Exited => release::release(core, container).await.map(rest),
    }
}

async fn take_over(core: &Arc<Core>, container: &Arc<Container>) -> Result<Then> {
    let id = container.id();
    let Some(shim) = core.runtime.adopt(id, &core.paths(&id).bundle).await? else {
        // The host was started anew.
        return Ok(after(core, container, supervise::unseen()).await);
    };
    let exit = ended(&shim).await?;
    let sandboxes = core.controller.sandboxes.list();
    let sandbox = sandboxes
        .iter()
        .find(|sandbox| sandbox.container == Some(id))
        .map(|sandbox| sandbox.id);
    container.set_prepared(Some(Prepared {
        shim: shim.clone(),
        sandbox,
    }));
    match exit {
        None => {
            health::watch(core, container);
            supervise::watch(core, container, shim);
        }
        Some(exit) => return Ok(after(core, container, exit).await),
    }
    Ok(Then::Rest)
}

async fn after(core: &Arc<Core>, container: &Arc<Container>, exit: Exit) -> Then {
    match supervise::ended_meanwhile(core, container, exit).await {
        true => Then::Start,
        false => Then::Rest,
    }
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

/// Whether it is to run whenever the daemon does.
fn starts_with_the_daemon(container: &Container) -> bool {
    let record = container.record();
    let wanted = match record.settings.restart {
        RestartPolicy::Always => true,
        RestartPolicy::UnlessStopped => !record.state.stopped,
        RestartPolicy::No | RestartPolicy::OnFailure(_) => false,
    };
    wanted && record.state.phase == Phase::Exited
}

/// Starts them, the oldest first, and none before those that it needs.
async fn start_in_order(core: Arc<Core>, wanted: Vec<Arc<Container>>) {
    let needs: Vec<_> = wanted
        .iter()
        .map(|container| (container.id(), order::needs(&container.record())))
        .collect();
    for wave in order::waves(&needs) {
        let starts = wave.iter().filter_map(|id| core.registry.get(id)).map(|container| {
            let core = &core;
            async move {
                if let Err(error) = Box::pin(start::start(core, &container)).await {
                    tracing::warn!(container = %container.record().name, error = %error, "starting a container with the daemon");
                }
            }
        });
        futures::future::join_all(starts).await;
    }
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
