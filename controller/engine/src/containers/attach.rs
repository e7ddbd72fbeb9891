//! `attach`: a client at a container's streams, before its start too.

use std::sync::Arc;

use runtime::{Attach, Streams};

use super::{
    Core,
    container::{Container, Prepared},
    prepare, release, start,
};
use crate::{
    error::{Error, Result},
    record::Phase,
};

/// Attaches. A container that doesn't run is prepared, so that a start that follows loses no byte.
pub(super) async fn attach(core: &Arc<Core>, container: &Arc<Container>, wanted: Attach) -> Result<Streams> {
    let prepared = prepared(core, container).await?;
    let streams = prepared.shim.attach(wanted).await?;
    core.events.send(container.event("attach", &[]));
    Ok(streams)
}

async fn prepared(core: &Arc<Core>, container: &Arc<Container>) -> Result<Prepared> {
    let operation = container.operation.lock().await;
    match container.record().state.phase {
        Phase::Paused => {
            return Err(Error::conflict(format!(
                "container {} is paused, unpause the container before attach",
                container.id()
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
    let error = match prepare::prepare(core, container).await {
        Ok(prepared) => return Ok(prepared),
        Err(error) => error,
    };
    if let Err(undo) = release::release(core, container).await {
        tracing::warn!(container = %container.record().name, error = %undo, "undoing an attach");
    }
    drop(operation);
    start::discard(core, container).await;
    Err(error)
}
