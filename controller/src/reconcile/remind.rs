//! Asks address plugins again for what this host's networks hold, once after the start: some forget. Nobody waits for it,
//! so that a plugin that is not there yet is in nobody's way.

use std::sync::Arc;

use ipam::{Held, Holder, PoolRequest};
use model::{Lifecycle, Network, Pool, Snapshot};

use crate::core::Core;

/// One task for each network of a plugin.
pub(super) fn all(core: &Arc<Core>) {
    let snapshot = core.records.snapshot();
    let networks = snapshot.networks.values();
    let plugins = networks.filter(|network| {
        network.lifecycle == Lifecycle::Active && !matches!(network.ipam.driver.as_str(), "default" | "null")
    });
    for network in plugins {
        let (core, network) = (Arc::clone(core), Arc::clone(network));
        tokio::spawn(async move { remind(&core, &network).await });
    }
}

async fn remind(core: &Core, network: &Network) {
    let ipam = core.ipam(network);
    for pool in &network.pools {
        let request = PoolRequest {
            network: network.id,
            network_name: network.name.to_string(),
            scope: network.scope,
            family: pool.subnet.family(),
            subnet: Some(pool.subnet),
            ip_range: pool.ip_range,
            aux_addresses: pool.aux_addresses.clone(),
            options: network.ipam.options.clone(),
            siblings: Vec::new(),
            avoid: Vec::new(),
            links: Vec::new(),
            shared_segment: false,
        };
        let held = || held(core, &core.records.snapshot(), network, pool);
        if let Err(error) = ipam.remind(&request, pool, &held).await {
            tracing::warn!(network = %network.name, plugin = %network.ipam.driver, %error, "its addresses may be given twice");
        }
    }
}

/// The gateway, what is set aside, and this host's endpoints; none if the network is gone.
fn held(core: &Core, snapshot: &Snapshot, network: &Network, pool: &Pool) -> Option<Held> {
    let now = snapshot.networks.get(&network.id)?;
    if now.lifecycle != Lifecycle::Active {
        return None;
    }
    let gateway = pool
        .gateway
        .map(|address| (Some(Holder::Gateway(network.id)), address));
    let aside = pool.aux_addresses.values().map(|address| (None, *address));
    let own = snapshot
        .endpoints_on(&network.id)
        .filter(|endpoint| endpoint.node == core.node.id && endpoint.lifecycle != Lifecycle::Deleting);
    let worn = own.flat_map(|endpoint| {
        let holder = Holder::Endpoint(endpoint.id, endpoint.name.clone());
        let addresses: Vec<_> = endpoint.addresses.iter().map(|net| net.addr()).collect();
        addresses
            .into_iter()
            .filter(|address| pool.subnet.contains(address))
            .map(move |address| (Some(holder.clone()), address))
    });
    Some(gateway.into_iter().chain(aside).chain(worn).collect())
}
