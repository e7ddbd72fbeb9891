//! The way back: the interface comes back to the host, or ends with its namespace, and is removed.

use std::sync::Arc;

use model::{EndpointId, SandboxId};

use super::{find, name_on_host};
use crate::{
    core::Core,
    endpoints,
    error::{Error, Result},
    sandboxes,
};

pub(super) async fn leave(core: &Arc<Core>, id: EndpointId) -> Result<()> {
    let (_, _, endpoint) = match find(core, id) {
        Err(Error::NotFound { .. }) => return Ok(()),
        found => found?,
    };
    let on_host = name_on_host(id);
    if endpoint.interface.as_ref() == Some(&on_host) {
        return Ok(());
    }
    // Not written: whoever removes it does that, and what a crash leaves on the host has our mark and nobody's record.
    let mut back = model::Endpoint::clone(&endpoint);
    back.interface = Some(on_host);
    core.records
        .publish(|snapshot| snapshot.insert_endpoint(Arc::new(back)));
    Ok(())
}

pub(super) async fn delete(core: &Arc<Core>, id: EndpointId) -> Result<()> {
    let sandbox = match find(core, id) {
        Err(Error::NotFound { .. }) => return Ok(()),
        found => found?.1,
    };
    match endpoints::leave(core, id).await {
        Ok(()) | Err(Error::NotFound { .. }) => {}
        Err(error) => return Err(error),
    }
    remove_if_empty(core, sandbox.id).await;
    Ok(())
}

/// Removes a sandbox that has no endpoints. What can't be removed, the reconciler tries again.
pub(super) async fn remove_if_empty(core: &Arc<Core>, id: SandboxId) {
    if core.records.snapshot().endpoints_of(&id).next().is_some() {
        return;
    }
    if let Err(error) = sandboxes::delete(core, id).await {
        tracing::warn!(%error, sandbox = %id.short(), "could not be removed; it will be tried again");
    }
}
