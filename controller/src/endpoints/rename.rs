//! Gives an endpoint another name, as when its container is renamed: the claim moves and the names follow at once.

use std::sync::Arc;

use model::{ContainerId, Endpoint, EndpointId, Lifecycle, Network, Scope};
use store::{Key, Txn};

use super::check::name_taken;
use crate::{
    claims,
    core::Core,
    error::{Error, Result},
    locks::LockKey,
    networks::network_not_found,
    records,
};

pub(super) async fn rename(core: &Arc<Core>, id: EndpointId, name: &str) -> Result<Arc<Endpoint>> {
    let _endpoint = core.locks.exclusive(LockKey::Endpoint(id)).await;
    let (network, endpoint) = own(core, id)?;
    if endpoint.name == name {
        return Ok(endpoint);
    }
    core.require_store(network.scope)?;
    let snapshot = core.records.snapshot();
    let sandbox = snapshot.sandboxes.get(&endpoint.sandbox);
    let keeps_old = sandbox.is_some_and(|sandbox| sandbox.hostname == endpoint.name);
    let old = (!keeps_old).then_some(endpoint.name.as_str());
    let renamed = Arc::new(Endpoint {
        name: name.to_owned(),
        dns_names: dns_names(&endpoint.dns_names, old, name),
        ..Endpoint::clone(&endpoint)
    });
    let key = claims::endpoint_name(network.id, name)?;
    let claim = claims::for_endpoint(key.clone(), id, name)
        .delete(claims::endpoint_name(network.id, &endpoint.name)?);
    commit(core, &network, &renamed, claim)
        .await
        .map_err(|error| taken(error, &key, name, &network))?;
    core.names_caught_up(core.records.snapshot().generation).await;
    Ok(renamed)
}

/// Says whose an endpoint is that was made before its container was known: its name, and those that resolve to it. When it
/// returns, they are served.
pub(crate) async fn introduce(
    core: &Arc<Core>,
    id: EndpointId,
    name: &str,
    container: Option<ContainerId>,
    dns_names: &[String],
) -> Result<()> {
    let _endpoint = core.locks.exclusive(LockKey::Endpoint(id)).await;
    let (network, endpoint) = own(core, id)?;
    let introduced = Arc::new(Endpoint {
        name: name.to_owned(),
        container,
        dns_names: dns_names.to_vec(),
        ..Endpoint::clone(&endpoint)
    });
    if introduced == endpoint {
        return Ok(());
    }
    core.require_store(network.scope)?;
    let key = claims::endpoint_name(network.id, name)?;
    let claim = match endpoint.name == name {
        true => Txn::new(),
        false => claims::for_endpoint(key.clone(), id, name)
            .delete(claims::endpoint_name(network.id, &endpoint.name)?),
    };
    commit(core, &network, &introduced, claim)
        .await
        .map_err(|error| taken(error, &key, name, &network))?;
    core.names_caught_up(core.records.snapshot().generation).await;
    Ok(())
}

/// One of this host's endpoints that is in use, and its network.
fn own(core: &Core, id: EndpointId) -> Result<(Arc<Network>, Arc<Endpoint>)> {
    let snapshot = core.records.snapshot();
    let own =
        |endpoint: &&Arc<Endpoint>| endpoint.node == core.node.id && endpoint.lifecycle == Lifecycle::Active;
    let endpoint = snapshot.endpoints.get(&id).filter(own);
    let endpoint = endpoint.ok_or_else(|| Error::not_found(format!("endpoint {} not found", id.short())))?;
    let network = snapshot.networks.get(&endpoint.network);
    let network = network.ok_or_else(|| network_not_found(&endpoint.network.short()))?;
    Ok((Arc::clone(network), Arc::clone(endpoint)))
}

/// Every host is told first. When this one ends before it has written it too, the old name is claimed again at its next
/// start.
async fn commit(
    core: &Core,
    network: &Network,
    renamed: &Arc<Endpoint>,
    claim: Txn,
) -> Result<(), store::Error> {
    let table = records::endpoints(network.id);
    let mut txn = table.put(renamed.id, renamed);
    if core.records.shared(network.scope) {
        let store = core.stores.of(network.scope);
        let Some(found) = table.get(&**store, renamed.id).await? else {
            let key = table.key(renamed.id);
            return Err(store::Error::Conflict { key });
        };
        let there = table.replace(renamed.id, found.revision, renamed);
        let shared = there.and(claim).and(records::changed(network.id));
        store.commit(shared).await?;
    } else {
        txn = txn.and(claim);
    }
    let published = Arc::clone(renamed);
    core.records
        .commit(Scope::Local, txn, move |snapshot| {
            snapshot.insert_endpoint(published);
        })
        .await?;
    Ok(())
}

fn taken(error: store::Error, key: &Key, name: &str, network: &Network) -> Error {
    match error {
        store::Error::Conflict { key: lost } if lost == *key => name_taken(name, network),
        other => other.into(),
    }
}

/// Pure: the new name first and the `old` one gone, unless it is the hostname too; each name once.
fn dns_names(names: &[String], old: Option<&str>, new: &str) -> Vec<String> {
    let mut renamed = vec![new.to_owned()];
    let others = names
        .iter()
        .filter(|name| Some(name.as_str()) != old && *name != new);
    renamed.extend(others.cloned());
    renamed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_new_name_answers_reverse_lookups_and_the_aliases_stay() {
        let names = ["old", "alias", "0123456789ab"].map(str::to_owned);
        assert_eq!(
            dns_names(&names, Some("old"), "new"),
            ["new", "alias", "0123456789ab"]
        );
        assert_eq!(dns_names(&names, Some("old"), "alias"), ["alias", "0123456789ab"]);
        assert_eq!(
            dns_names(&names, None, "new"),
            ["new", "old", "alias", "0123456789ab"]
        );
    }
}
