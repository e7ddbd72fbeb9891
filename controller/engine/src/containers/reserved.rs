//! Static addresses are set aside for as long as their container exists, whether it runs or not.
//!
//! On networks of all hosts the others free what a dead host had. When it is back, from the dead or from behind a broken
//! line, it sets them aside again, unless somebody else has them by now.

use std::{net::IpAddr, sync::Arc};

use model::Scope;

use super::{Core, container::Container};

/// Sets them aside on its networks, or on those of a scope alone. One that somebody has is told by the start, as Docker
/// does: it may be free by then.
pub(super) async fn reserve(core: &Core, container: &Container, scope: Option<Scope>) {
    let record = container.record();
    let snapshot = core.controller.snapshot().borrow().clone();
    for (network, wishes) in &record.networks {
        let (v4, v6) = (wishes.ipv4.map(IpAddr::V4), wishes.ipv6.map(IpAddr::V6));
        let wanted: Vec<_> = v4.into_iter().chain(v6).collect();
        let found = snapshot.networks.get(network).map(|network| network.scope);
        if wanted.is_empty() || scope.is_some() && found != scope {
            continue;
        }
        let endpoints = &core.controller.endpoints;
        if let Err(error) = endpoints
            .reserve(*network, record.id, &record.name, &wanted)
            .await
        {
            tracing::info!(container = %record.name, %error, "its address is not set aside");
        }
    }
}

/// Sets them aside again whenever the cluster store has been found: at once, and after each time without it.
pub(super) fn keep(core: &Arc<Core>) {
    let (core, mut snapshot) = (Arc::downgrade(core), core.controller.snapshot());
    tokio::spawn(async move {
        while snapshot.wait_for(|now| !now.stale).await.is_ok() {
            let Some(core) = core.upgrade() else { return };
            for container in core.registry.all() {
                again(&core, &container).await;
            }
            drop(core);
            if snapshot.wait_for(|now| now.stale).await.is_err() {
                return;
            }
        }
    });
}

/// Endpoints of one that runs are published again by the controller.
async fn again(core: &Core, container: &Container) {
    let _operation = container.operation.lock().await;
    if core.registry.get(&container.id()).is_some() && !container.record().state.phase.has_process() {
        reserve(core, container, Some(Scope::Global)).await;
    }
}
