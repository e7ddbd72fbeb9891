//! `attach`: a client at a container's streams, before its start too.

use std::sync::Arc;

use runtime::{Attach, Streams};

use super::{
    Core,
    container::{Container, Prepared},
    prepare, release,
};
use crate::{
    error::{Error, Result},
    record::Phase,
};

/// Attaches. A container that doesn't run is prepared, so that a start that follows loses no byte.
pub(super) async fn attach(core: &Core, container: &Arc<Container>, wanted: Attach) -> Result<Streams> {
    let Some(prepared) = prepared(core, container).await? else {
        return ended();
    };
    let streams = match prepared.shim.attach(wanted).await {
        // It has ended in this moment: there is nothing more to hear.
        Err(runtime::Error::Gone(_)) => return ended(),
        other => other?,
    };
    core.events.send(container.event("attach", &[]));
    Ok(streams)
}

fn ended() -> Result<Streams> {
    Streams::ended().map_err(Error::internal("making streams"))
}

/// Nothing when a container can't be prepared that doesn't run: the start that follows fails for the same reason and
/// tells it, where clients look for it.
async fn prepared(core: &Core, container: &Container) -> Result<Option<Prepared>> {
    let _operation = container.operation.lock().await;
    let phase = container.record().state.phase;
    match phase {
        Phase::Paused => {
            return Err(Error::conflict(format!(
                "container {} is paused, unpause the container before attach",
                container.record().name
            )));
        }
        Phase::Restarting => {
            return Err(Error::conflict(format!(
                "container {} is restarting, wait until the container is running",
                container.id()
            )));
        }
        Phase::Removing | Phase::Dead => {
            return Err(Error::conflict(format!(
                "container {} is being removed",
                container.id()
            )));
        }
        Phase::Created | Phase::Running | Phase::Exited => {}
    }
    match prepare::prepare(core, container).await {
        Ok(prepared) => Ok(Some(prepared)),
        Err(error) => {
            if let Err(undo) = release::release(core, container).await {
                tracing::warn!(container = %container.record().name, error = %undo, "undoing an attach");
            }
            if phase == Phase::Running {
                return Err(error);
            }
            tracing::info!(container = %container.record().name, error = %error, "preparing for an attach");
            Ok(None)
        }
    }
}

impl super::Containers {
    /// Tells that a client left it running.
    pub fn left(&self, container: &str) {
        if let Ok(container) = self.find(container) {
            self.core.events.send(container.event("detach", &[]));
        }
    }
}
