//! The driver's part of a connection: its interface in the sandbox, and the answer that the sandbox's side needs.

use std::sync::Arc;

use drivers::{Attachment, Link};
use kernel::Survey;
use model::{Endpoint, Network, Sandbox};

use crate::{
    attachments::Published,
    core::{Core, target},
    error::{Error, Result},
};

/// Joins, and remembers the driver's answer.
pub(super) async fn join(
    core: &Core,
    network: &Network,
    endpoint: &Endpoint,
    sandbox: &Sandbox,
) -> Result<()> {
    join_knowing(core, network, endpoint, sandbox, None).await
}

async fn join_knowing(
    core: &Core,
    network: &Network,
    endpoint: &Endpoint,
    sandbox: &Sandbox,
    survey: Option<&Arc<Survey>>,
) -> Result<()> {
    let driver = core.driver_knowing(&network.driver, survey)?;
    let target = target(sandbox, endpoint);
    let doing = format!("joining network {}", network.name);
    let attachment = core
        .call(&network.driver, doing, driver.join(network, endpoint, &target))
        .await?;
    refuse_left_on_host(network, &attachment)?;
    core.attachments.insert(endpoint.id, attachment);
    Ok(())
}

/// Joins again after a restart, or to repair.
pub(crate) async fn rejoin(
    core: &Arc<Core>,
    network: &Arc<Network>,
    endpoint: &Arc<Endpoint>,
    sandbox: &Arc<Sandbox>,
    survey: Option<&Arc<Survey>>,
) -> Result<()> {
    join_knowing(core, network, endpoint, sandbox, survey).await
}

/// Leaves, and forgets the driver's answer.
pub(super) async fn leave(
    core: &Core,
    network: &Network,
    endpoint: &Endpoint,
    sandbox: &Sandbox,
) -> Result<()> {
    let driver = core.driver(&network.driver)?;
    let target = target(sandbox, endpoint);
    let doing = format!("leaving network {}", network.name);
    core.call(&network.driver, doing, driver.leave(network, endpoint, &target))
        .await?;
    core.attachments.remove(endpoint.id);
    core.attachments.set_published(endpoint.id, Published::default());
    Ok(())
}

/// Only plugins make interfaces on the host, and those come with a driver that moves them itself.
fn refuse_left_on_host(network: &Network, attachment: &Attachment) -> Result<()> {
    match &attachment.link {
        Some(Link::OnHost(name)) => Err(Error::invalid(format!(
            "the driver {:?} left its interface {name} on the host",
            network.driver.as_str()
        ))),
        Some(Link::InPlace) | None => Ok(()),
    }
}
