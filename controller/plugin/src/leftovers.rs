//! What a dockerd has left that died in the middle: endpoints, addresses and networks that it doesn't know.
//!
//! Docker's own records are asked, network by network. Something that is being made at this moment is in nobody's records
//! yet, so only what is older than a while is judged; and a binding that another Docker daemon was seen to know is kept.

use std::{collections::BTreeSet, io, net::IpAddr, sync::Arc, time::Duration};

use model::{EndpointId, IpNet, Timestamp};
use serde_json::Value;

use crate::{
    Shared, endpoints, networks,
    records::{Binding, Note},
    refusal::Result,
};

/// What is younger may be in the making.
const YOUNG: Duration = Duration::from_secs(10);

pub(crate) async fn remove(shared: &Arc<Shared>) {
    if let Err(error) = look(shared).await {
        tracing::debug!(%error, "Docker could not be asked for what it knows");
    }
}

async fn look(shared: &Shared) -> io::Result<()> {
    let daemon = shared.docker.get("/info").await?.unwrap_or_default();
    let daemon = daemon["ID"].as_str().unwrap_or_default().to_owned();
    let bindings = shared
        .bindings()
        .await
        .map_err(|error| io::Error::other(error.to_string()))?;
    for binding in bindings {
        let known = shared
            .docker
            .get(&format!("/networks/{}", binding.docker))
            .await?;
        let judged = match known {
            Some(told) => known_to(shared, &binding, &Known::read(&told), &daemon).await,
            None => unknown_to(shared, &binding, &daemon).await,
        };
        if let Err(error) = judged {
            tracing::warn!(%error, network = %binding.wanted.name, "what Docker has left stays for now");
        }
    }
    Ok(())
}

/// A network as Docker knows it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Known {
    endpoints: BTreeSet<EndpointId>,
    addresses: BTreeSet<IpAddr>,
}

impl Known {
    /// Pure: out of `GET /networks/ID`.
    fn read(told: &Value) -> Self {
        let mut known = Self::default();
        for one in told["Containers"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(_, one)| one)
        {
            let id: Option<EndpointId> = one["EndpointID"].as_str().and_then(|id| id.parse().ok());
            known.endpoints.extend(id);
            for key in ["IPv4Address", "IPv6Address"] {
                let net: Option<IpNet> = one[key].as_str().and_then(|net| net.parse().ok());
                known.addresses.extend(net.map(|net| net.addr()));
            }
        }
        let configs = told["IPAM"]["Config"].as_array().into_iter().flatten();
        for config in configs {
            let aux = config["AuxiliaryAddresses"].as_object().into_iter().flatten();
            let aux = aux.filter_map(|(_, address)| address.as_str()?.parse::<IpAddr>().ok());
            known.addresses.extend(aux);
        }
        known
    }
}

fn is_old(made: Timestamp) -> bool {
    Timestamp::now().since(made) >= YOUNG
}

async fn known_to(shared: &Shared, binding: &Binding, known: &Known, daemon: &str) -> Result<()> {
    if binding.seen_by.as_deref() != Some(daemon) {
        let seen = Binding {
            seen_by: Some(daemon.to_owned()),
            ..binding.clone()
        };
        let txn = crate::records::bindings().put(binding.docker, &seen);
        shared.local().commit(txn).await?;
    }
    let notes = networks::notes_on(shared, binding.docker).await?;
    for note in notes
        .iter()
        .filter(|note| !known.endpoints.contains(&note.id) && is_old(note.made))
    {
        tracing::info!(endpoint = %note.id.short(), network = %binding.wanted.name, "Docker doesn't know it, so it goes");
        endpoints::remove(shared, note.id).await?;
    }
    apart(shared, binding, known, &notes).await
}

/// Addresses that Docker was given and forgot.
async fn apart(shared: &Shared, binding: &Binding, known: &Known, notes: &[Note]) -> Result<()> {
    let Some(network) = shared.network(binding.network) else {
        return Ok(());
    };
    let apart = shared.controller.dressed.apart(network.id).await?;
    for (address, since) in apart {
        let noted = notes.iter().any(|note| note.addresses.contains(&address));
        if noted || known.addresses.contains(&address) || !is_old(since) {
            continue;
        }
        if let Some(pool) = network.pool_around(address) {
            tracing::info!(%address, network = %network.name, "Docker has forgotten it, so it is free again");
            shared
                .controller
                .dressed
                .give_up(network.id, pool, address)
                .await?;
        }
    }
    Ok(())
}

async fn unknown_to(shared: &Shared, binding: &Binding, daemon: &str) -> Result<()> {
    let anothers = binding.seen_by.as_deref().is_some_and(|seen| seen != daemon);
    if anothers || !is_old(binding.made) {
        return Ok(());
    }
    tracing::info!(network = %binding.wanted.name, "Docker's network of it is gone, so the binding goes");
    for note in networks::notes_on(shared, binding.docker).await? {
        endpoints::remove(shared, note.id).await?;
    }
    shared.unbind(binding.docker).await
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_docker_knows_is_read_out_of_its_answer() {
        let id = EndpointId::random();
        let told = json!({
            "Containers": {
                "0123": {"Name": "web", "EndpointID": id.to_string(), "IPv4Address": "10.5.0.2/24", "IPv6Address": ""},
                "ep-77": {"Name": "gone", "EndpointID": "short", "IPv6Address": "fd00::2/64"}
            },
            "IPAM": {"Config": [{"Subnet": "10.5.0.0/24", "AuxiliaryAddresses": {"far": "10.5.0.200"}}]}
        });
        let known = Known::read(&told);
        assert_eq!(known.endpoints, [id].into());
        let addresses: Vec<_> = known.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["10.5.0.2", "10.5.0.200", "fd00::2"]);
        assert_eq!(Known::read(&json!({"Containers": null})), Known::default());
    }
}
