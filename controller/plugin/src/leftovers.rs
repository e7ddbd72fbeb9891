//! What a dockerd has left that died in the middle: endpoints, addresses and networks that it doesn't know.
//!
//! Docker's own records are asked, network by network. Something that is being made at this moment is in nobody's records
//! yet, so only what is older than a while is judged; and a binding that another Docker daemon was seen to know is kept.

use std::{collections::BTreeSet, io, net::IpAddr, sync::Arc, time::Duration};

use model::{EndpointId, IpNet, Timestamp};
use serde_json::Value;

use crate::{
    Shared, networks,
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
    let engine = shared.docker.get("/info").await?.unwrap_or_default();
    let engine = Engine::read(&engine);
    let bindings = shared
        .bindings()
        .await
        .map_err(|error| io::Error::other(error.to_string()))?;
    for binding in bindings {
        // What came while Docker was answering, it did not tell of.
        let asked = Timestamp::now();
        let known = shared
            .docker
            .get(&format!("/networks/{}", binding.docker))
            .await?;
        let judged = match known {
            Some(told) => known_to(shared, &binding, &Known::read(&told), &engine, asked).await,
            None => unknown_to(shared, &binding, &engine, asked).await,
        };
        if let Err(error) = judged {
            tracing::warn!(%error, network = %binding.wanted.name, "what Docker has left stays for now");
        }
    }
    if let Err(error) = shared.tidy_holds().await {
        tracing::debug!(%error, "what this host has of others' networks could not be looked through");
    }
    Ok(())
}

/// A Docker daemon: which it is, and where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Engine {
    pub(crate) id: String,
    pub(crate) place: String,
}

impl Engine {
    /// Pure: out of `GET /info`.
    fn read(told: &Value) -> Self {
        let text = |key: &str| told[key].as_str().unwrap_or_default();
        Self {
            id: text("ID").to_owned(),
            place: format!("{}:{}", text("Name"), text("DockerRootDir")),
        }
    }

    /// Pure: whether another daemon may know a network that this one doesn't. One with another id at the same place is the
    /// same, its folder emptied.
    fn leaves(&self, binding: &Binding) -> bool {
        let by_another = binding.seen_by.as_ref().is_some_and(|seen| *seen != self.id);
        by_another && binding.seen_at.as_ref() != Some(&self.place)
    }
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

/// Whether it was there long enough before Docker was asked.
fn is_old(made: Timestamp, asked: Timestamp) -> bool {
    asked.since(made) >= YOUNG
}

async fn known_to(
    shared: &Shared,
    binding: &Binding,
    known: &Known,
    engine: &Engine,
    asked: Timestamp,
) -> Result<()> {
    let seen = Binding {
        seen_by: Some(engine.id.clone()),
        seen_at: Some(engine.place.clone()),
        ..binding.clone()
    };
    // One that is being made at this moment is bound by who makes it.
    if *binding != seen && !binding.intended {
        let txn = crate::records::bindings().put(binding.docker, &seen);
        shared.local().commit(txn).await?;
    }
    let notes = networks::notes_on(shared, binding.docker).await?;
    for note in notes
        .iter()
        .filter(|note| !known.endpoints.contains(&note.id) && is_old(note.made, asked))
    {
        tracing::info!(endpoint = %note.id.short(), network = %binding.wanted.name, "Docker doesn't know it, so it goes");
        networks::forget(shared, note).await?;
    }
    apart(shared, binding, known, &notes, asked).await
}

/// Addresses that Docker was given and forgot.
async fn apart(
    shared: &Shared,
    binding: &Binding,
    known: &Known,
    notes: &[Note],
    asked: Timestamp,
) -> Result<()> {
    let Some(network) = shared.network(binding.network) else {
        return Ok(());
    };
    let apart = shared.controller.dressed.apart(network.id).await?;
    for (address, since) in apart {
        let noted = notes.iter().any(|note| note.addresses.contains(&address));
        if noted || known.addresses.contains(&address) || !is_old(since, asked) {
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

pub(crate) async fn unknown_to(
    shared: &Shared,
    binding: &Binding,
    engine: &Engine,
    asked: Timestamp,
) -> Result<()> {
    if engine.leaves(binding) || !is_old(binding.made, asked) {
        return Ok(());
    }
    tracing::info!(network = %binding.wanted.name, "Docker's network of it is gone, so the binding goes");
    for note in networks::notes_on(shared, binding.docker).await? {
        networks::forget(shared, &note).await?;
    }
    shared.unbind(binding.docker).await
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_daemon_with_a_new_id_in_an_old_place_has_forgotten_what_it_knew() {
        let told = json!({"ID": "new", "Name": "h1", "DockerRootDir": "/var/lib/docker"});
        let engine = Engine::read(&told);
        for (seen_by, seen_at, left) in [
            (None, None, false),
            (Some("new"), None, false),
            (Some("new"), Some("h1:/var/lib/docker"), false),
            (Some("old"), Some("h1:/var/lib/docker"), false),
            (Some("old"), Some("h1:/srv/docker"), true),
            (Some("old"), Some("h2:/var/lib/docker"), true),
            // Recorded before places were.
            (Some("old"), None, true),
        ] {
            let wanted = crate::tests::wanted();
            let binding = Binding {
                seen_by: seen_by.map(str::to_owned),
                seen_at: seen_at.map(str::to_owned),
                ..crate::bindings::binding(model::NetworkId::random(), model::NetworkId::random(), wanted)
            };
            assert_eq!(engine.leaves(&binding), left, "{seen_by:?} {seen_at:?}");
        }
    }

    #[test]
    fn what_came_while_docker_was_answering_is_not_judged() {
        let asked = Timestamp::now();
        assert!(is_old(Timestamp::ZERO, asked));
        assert!(!is_old(asked, asked));
        // Made after the question, however long the answer took.
        assert!(!is_old(asked.plus(Duration::from_secs(30)), asked));
    }

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
