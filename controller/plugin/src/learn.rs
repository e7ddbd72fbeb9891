//! Names of containers, from Docker's own API: who is on which endpoint, and what it is called.
//!
//! Docker tells of events on a stream, and answers about a container only when nothing is being done to it. So nothing of
//! this happens within a call of Docker's, and containers are asked about side by side. When the stream breaks, Docker is
//! restarting: everything is asked anew when it is back.

use std::{io, sync::Arc, time::Duration};

use controller::Learnt;
use model::EndpointId;
use serde_json::Value;
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, interval_at, sleep},
};

use crate::{Shared, leftovers};

/// How long after a start Docker is left alone before what it doesn't know is removed; and how often after that.
const SETTLED: Duration = Duration::from_secs(12);
const EVERY: Duration = Duration::from_secs(60);
/// How many containers are asked about at once: each is a connection, and Docker may answer late.
const AT_ONCE: usize = 64;
/// Docker is looked for again after this.
const AGAIN: Duration = Duration::from_millis(500);

pub(crate) async fn run(shared: Arc<Shared>) {
    let mut complaint = String::new();
    loop {
        match session(&shared).await {
            Ok(()) => complaint.clear(),
            Err(error) if error.to_string() == complaint => {}
            Err(error) => {
                complaint = error.to_string();
                tracing::info!(%error, "Docker doesn't tell names now; it is asked again");
            }
        }
        sleep(AGAIN).await;
    }
}

/// One stream of events, from all that there is to its end.
async fn session(shared: &Arc<Shared>) -> io::Result<()> {
    let mut events = shared.docker.events().await?;
    let mut asked = JoinSet::new();
    let room = Arc::new(Semaphore::new(AT_ONCE));
    for container in running(shared).await? {
        asked.spawn(in_turn(Arc::clone(&room), Arc::clone(shared), container));
    }
    let mut tidy = interval_at(Instant::now() + SETTLED, EVERY);
    loop {
        tokio::select! {
            event = events.next() => match event? {
                None => return Ok(()),
                Some(event) => if let Some(container) = concerned(&event) {
                    asked.spawn(in_turn(Arc::clone(&room), Arc::clone(shared), container.to_owned()));
                },
            },
            Some(_) = asked.join_next(), if !asked.is_empty() => {}
            _ = tidy.tick() => leftovers::remove(shared).await,
        }
    }
}

async fn running(shared: &Shared) -> io::Result<Vec<String>> {
    let listed = shared.docker.get("/containers/json").await?.unwrap_or_default();
    let ids = listed.as_array().into_iter().flatten();
    Ok(ids
        .filter_map(|one| Some(one["Id"].as_str()?.to_owned()))
        .collect())
}

/// Pure: the container whose names an event may have changed.
fn concerned(event: &Value) -> Option<&str> {
    match (event["Type"].as_str()?, event["Action"].as_str()?) {
        ("container", "start" | "rename") => event["Actor"]["ID"].as_str(),
        ("network", "connect") => event["Actor"]["Attributes"]["container"].as_str(),
        _ => None,
    }
}

async fn in_turn(room: Arc<Semaphore>, shared: Arc<Shared>, container: String) {
    // It is never closed.
    let _turn = room.acquire().await;
    learn(shared, container).await;
}

/// Asks about one container and notes what its endpoints are called. What Docker doesn't say now, a later event will.
async fn learn(shared: Arc<Shared>, container: String) {
    let path = format!("/containers/{container}/json");
    let told = match shared.docker.get(&path).await {
        Ok(Some(told)) => told,
        Ok(None) => return,
        Err(error) => {
            tracing::debug!(%error, container, "Docker doesn't tell its names");
            return;
        }
    };
    for (endpoint, learnt) in names(&told) {
        if !shared
            .controller
            .snapshot()
            .borrow()
            .endpoints
            .contains_key(&endpoint)
        {
            continue;
        }
        let dressed = shared.controller.dressed.clone();
        // To its end, also when Docker hangs up: half of it would be left.
        let noted = tokio::spawn(async move { dressed.learn(endpoint, learnt).await });
        match noted.await {
            Ok(Ok(()) | Err(controller::Error::NotFound { .. })) => {}
            Ok(Err(error)) => tracing::warn!(%error, container, "its names are not served"),
            Err(error) => tracing::warn!(%error, container, "its names are not served"),
        }
    }
    shared.joined.notify_one();
}

/// Pure: the endpoints of a container as Docker shows it, with what each is called on its network.
fn names(told: &Value) -> Vec<(EndpointId, Learnt)> {
    let id = told["Id"].as_str().unwrap_or_default();
    let Some(name) = told["Name"].as_str().map(|name| name.trim_start_matches('/')) else {
        return Vec::new();
    };
    let hostname = told["Config"]["Hostname"].as_str().unwrap_or_default();
    let networks = told["NetworkSettings"]["Networks"]
        .as_object()
        .into_iter()
        .flatten();
    let endpoints = networks.filter_map(|(_, network)| {
        let endpoint = network["EndpointID"].as_str()?.parse().ok()?;
        let of = |key: &str| {
            let list = network[key].as_array().into_iter().flatten();
            list.filter_map(Value::as_str)
        };
        let all = std::iter::once(name)
            .chain(of("DNSNames"))
            .chain(of("Aliases"))
            .chain(id.get(..12))
            .chain([hostname]);
        let mut dns_names: Vec<String> = Vec::new();
        for one in all.filter(|one| !one.is_empty()) {
            if !dns_names.iter().any(|known| known == one) {
                dns_names.push(one.to_owned());
            }
        }
        Some((
            endpoint,
            Learnt {
                container: id.parse().ok(),
                name: name.to_owned(),
                dns_names,
            },
        ))
    });
    endpoints.collect()
}

#[cfg(test)]
mod tests;
