//! The way back from everything that [`super::prepare`] and a start made.
//!
//! One function for a start that failed, an exit, a removal and the leftovers of a crash: each thing is found by the
//! container's id, and taking away what is not there is no error.

use super::{Core, container::Container};
use crate::{
    error::{Error, Result},
    volumes,
};

/// Takes the shim, the sandbox with its endpoints, and the mounted root away. Goes on after a failure and tells the
/// first.
pub(super) async fn release(core: &Core, container: &Container) -> Result<()> {
    // None of the three needs another: a process that still runs loses its network and root before it is killed.
    let (shim, network, root) = futures::join!(
        release_shim(core, container),
        release_network(core, container),
        unmount(core, container)
    );
    container.set_prepared(None);
    let volumes = volumes::detach(core, &container.record()).await;
    shim.and(network).and(root).and(volumes)
}

async fn release_shim(core: &Core, container: &Container) -> Result<()> {
    let shim = match container.prepared() {
        Some(prepared) => Some(prepared.shim),
        None => {
            core.runtime
                .adopt(container.id(), &core.paths(&container.id()).bundle)
                .await?
        }
    };
    match shim {
        Some(shim) => Ok(shim.delete().await?),
        None => Ok(()),
    }
}

async fn release_network(core: &Core, container: &Container) -> Result<()> {
    let sandboxes = core.controller.sandboxes.list();
    let ours = sandboxes
        .iter()
        .filter(|sandbox| sandbox.container == Some(container.id()));
    let mut result = Ok(());
    for sandbox in ours {
        let deleted = core.controller.sandboxes.delete(sandbox.id).await;
        result = result.and(deleted.map_err(Error::network("removing the sandbox")));
    }
    result
}

async fn unmount(core: &Core, container: &Container) -> Result<()> {
    let home = core.paths(&container.id()).home;
    super::blocking(move || Ok(runtime::rootfs::unmount(&home)?)).await
}
