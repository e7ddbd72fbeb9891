//! The endpoint on the gateway bridge: there when a sandbox on an overlay has no other way out, gone when it has.

use std::sync::Arc;

use model::{Endpoint, Lifecycle, SandboxId, Snapshot};

use super::{Connect, connect, disconnect};
use crate::{core::Core, dressed, error::Result, locks::LockKey, networks};

/// What its interface is called in a namespace that somebody else made.
const IN_FOREIGN: &str = "cnm_out";

/// What a sandbox's endpoints say about the outside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Ways {
    /// An endpoint wants the gateway bridge.
    wanted: bool,
    /// An endpoint of another network offers a gateway.
    other: bool,
}

/// Adds or removes the endpoint as the sandbox's other endpoints want it.
pub(crate) async fn adjust(core: &Arc<Core>, sandbox: SandboxId) -> Result<()> {
    let _outside = core.locks.exclusive(LockKey::Outside(sandbox)).await;
    let snapshot = core.records.snapshot();
    // Who dresses a sandbox leads it out, too.
    if snapshot
        .sandboxes
        .get(&sandbox)
        .is_some_and(|sandbox| dressed::is_dressed(sandbox))
    {
        return Ok(());
    }
    let (ways, own) = ways(core, &snapshot, sandbox);
    match (ways.wanted && !ways.other, own) {
        (true, None) => {
            let network = networks::gateway_bridge(core).await?;
            let name = format!("gateway_{}", sandbox.short());
            let mut request = Connect::new(network.id, sandbox, name);
            if snapshot
                .sandboxes
                .get(&sandbox)
                .is_some_and(|sandbox| sandbox.foreign().is_some())
            {
                // Others choose the names there, and would choose the next free one too.
                let option = "com.docker.network.endpoint.ifname".to_owned();
                request.options.insert(option, IN_FOREIGN.to_owned());
            }
            request.container = snapshot
                .endpoints_of(&sandbox)
                .find_map(|endpoint| endpoint.container);
            connect::inner(core, request).await.map(|_| ())
        }
        (false, Some(endpoint)) => disconnect::inner(core, endpoint.id, false).await.map(|_| ()),
        _ => Ok(()),
    }
}

/// What the endpoints say, and the one on the gateway bridge if there is one.
fn ways(core: &Core, snapshot: &Snapshot, sandbox: SandboxId) -> (Ways, Option<Arc<Endpoint>>) {
    let mut ways = Ways::default();
    let mut own = None;
    let joined = snapshot
        .endpoints_of(&sandbox)
        .filter(|endpoint| endpoint.node == core.node.id && endpoint.lifecycle == Lifecycle::Active);
    for endpoint in joined {
        let Some(network) = snapshot.networks.get(&endpoint.network) else {
            continue;
        };
        if is_gateway_bridge(core, network) {
            own = Some(Arc::clone(endpoint));
            continue;
        }
        let driver = core.catalog.driver(&network.driver);
        let wants = driver.is_some_and(|driver| driver.capabilities().gateway_bridge);
        let attachment = core.attachment(network, endpoint).unwrap_or_default();
        let declined = endpoint
            .answer
            .as_ref()
            .is_some_and(|answer| answer.no_gateway_bridge);
        ways.wanted |= wants && !declined && !network.internal;
        ways.other |= attachment.gateway_v4.is_some() || attachment.gateway_v6.is_some();
    }
    (ways, own)
}

/// Whether a network is the gateway bridge.
pub(crate) fn is_gateway_bridge(core: &Core, network: &model::Network) -> bool {
    network.predefined && network.name.as_str() == core.settings.gateway_bridge.device.as_str()
}
