//! Ports of a running sandbox: published and given back.

use std::sync::Arc;

use model::{PortBinding, PublishedPorts, SandboxId};

use crate::{
    core::Core,
    error::{Error, Result},
};

pub(super) async fn publish(
    core: &Arc<Core>,
    id: SandboxId,
    _bindings: Vec<PortBinding>,
) -> Result<Vec<PublishedPorts>> {
    find(core, id).and_then(|()| {
        Err(Error::invalid(
            "ports of a running sandbox can't be published yet",
        ))
    })
}

pub(super) async fn unpublish(core: &Arc<Core>, id: SandboxId, _ports: &[PublishedPorts]) -> Result<()> {
    find(core, id)
}

fn find(core: &Core, id: SandboxId) -> Result<()> {
    match core.records.snapshot().sandboxes.contains_key(&id) {
        true => Ok(()),
        false => Err(Error::not_found(format!("sandbox {} not found", id.short()))),
    }
}
