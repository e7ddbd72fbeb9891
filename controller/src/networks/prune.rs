//! Removes what nobody uses.

use std::sync::Arc;

use model::{Labels, Network};

use super::{PruneFilter, delete::delete, find};
use crate::{
    core::Core,
    error::{Error, Result},
    locks::LockKey,
};

pub(super) async fn prune(core: &Arc<Core>, filter: &PruneFilter) -> Result<Vec<Arc<Network>>> {
    let lock = core.locks.try_exclusive(LockKey::Prune);
    let _prune = lock.ok_or_else(|| Error::conflict("a prune operation is already running"))?;
    let snapshot = core.records.snapshot();
    let unused = find::list(&snapshot)
        .into_iter()
        .filter(|network| !network.predefined && !network.config_only && passes(filter, network))
        .filter(|network| snapshot.endpoints_on(&network.id).next().is_none());
    let mut gone = Vec::new();
    for network in unused {
        match delete(core, network.id).await {
            Ok(network) => gone.push(network),
            Err(error) => tracing::warn!(%error, network = %network.name, "not pruned"),
        }
    }
    Ok(gone)
}

/// Pure: whether the filter lets a network through.
fn passes(filter: &PruneFilter, network: &Network) -> bool {
    let old_enough = filter.until.is_none_or(|until| network.created < until);
    old_enough
        && filter.labels.iter().all(|wanted| has(&network.labels, wanted))
        && !filter
            .without_labels
            .iter()
            .any(|unwanted| has(&network.labels, unwanted))
}

fn has(labels: &Labels, (key, value): &(String, Option<String>)) -> bool {
    match value {
        None => labels.contains_key(key),
        Some(value) => labels.get(key) == Some(value),
    }
}
