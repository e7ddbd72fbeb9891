//! Tells a network's driver which endpoints of other hosts went and came, and only those.

use std::{collections::BTreeMap, sync::Arc};

use drivers::Peer;
use model::{EndpointId, Network};

use super::peers_of;
use crate::{core::Core, error::Result, locks::LockKey};

/// Brings the driver up to date with the snapshot. Nothing is told of a network that is not made on this host.
pub(crate) async fn tell_peers(core: &Arc<Core>, network: &Arc<Network>) -> Result<()> {
    tell(core, network, false).await
}

/// The same at start: who came is everybody, and who went is known from what was last seen before the restart.
pub(crate) async fn tell_all_peers(core: &Arc<Core>, network: &Arc<Network>) -> Result<()> {
    tell(core, network, true).await
}

async fn tell(core: &Arc<Core>, network: &Arc<Network>, everybody: bool) -> Result<()> {
    if network.scope != model::Scope::Global {
        return Ok(());
    }
    let _peers = core.locks.exclusive(LockKey::Peers(network.id)).await;
    if !core.is_made(network.id) {
        return Ok(());
    }
    let wanted = peers_of(&core.records.snapshot(), network, core.node.id);
    let known = core.peers(network.id);
    let (gone, mut come) = difference(&known, &wanted);
    if everybody {
        come = wanted.values().cloned().collect();
    }
    if gone.is_empty() && come.is_empty() {
        return Ok(());
    }
    let driver = core.driver(&network.driver)?;
    let doing = format!("telling network {} of its peers", network.name);
    core.call(
        &network.driver,
        doing,
        driver.peers_changed(network, &gone, &come),
    )
    .await?;
    tracing::debug!(network = %network.name, gone = gone.len(), come = come.len(), "peers changed");
    core.set_peers(network.id, wanted);
    Ok(())
}

/// Pure: who went and who came. One whose addresses or host changed went and came.
fn difference(
    known: &BTreeMap<EndpointId, Peer>,
    wanted: &BTreeMap<EndpointId, Peer>,
) -> (Vec<Peer>, Vec<Peer>) {
    let missing_in = |other: &BTreeMap<EndpointId, Peer>, peer: &Peer| {
        let same = other
            .get(&peer.endpoint.id)
            .is_some_and(|there| reached_alike(there, peer));
        !same
    };
    let gone = known
        .values()
        .filter(|peer| missing_in(wanted, peer))
        .cloned()
        .collect();
    let come = wanted
        .values()
        .filter(|peer| missing_in(known, peer))
        .cloned()
        .collect();
    (gone, come)
}

fn reached_alike(one: &Peer, other: &Peer) -> bool {
    one.vtep == other.vtep && one.endpoint.addresses == other.endpoint.addresses
}
