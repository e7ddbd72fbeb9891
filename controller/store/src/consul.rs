//! Consul, over its HTTP API: check-and-set transactions, sessions as leases, blocking queries as watches.
//!
//! Four of its ways shape the code. A key held by a session is locked, and a lock can't be taken from another
//! session, so a write with a lease is a delete and a lock. A session hangs on its node's health unless told not to,
//! and a restarted agent would end every host's. An agent closes the connections of a client that has more than 200,
//! so few requests are under way at once. A query for a prefix also finds its neighbours (`a/bc` for `a/b`).

mod answer;
mod follow;
mod wire;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

use crate::{
    Entry, Error, Key, LeaseId, Listing, Result, Revision, Store, Txn, Watch, Write,
    members::{Members, Repeat},
};
use answer::Answer;

/// Consul refuses shorter sessions.
const SHORTEST_SESSION: Duration = Duration::from_secs(10);

/// Requests under way at once, watches not counted.
const CONCURRENT: usize = 32;

/// A Consul agent.
#[derive(Debug, Clone)]
struct Agent {
    address: String,
    http: Client,
    slots: Arc<Semaphore>,
}

impl Agent {
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("http://{}/v1/{path}", self.address))
    }
}

/// Records in Consul's key-value store, under a prefix.
#[derive(Debug, Clone)]
pub struct Consul {
    agents: Arc<Members<Agent>>,
    prefix: String,
    shortest_session: Duration,
}

impl Consul {
    /// A store at `HOST:PORT` addresses of agents of one cluster, with every key under `PREFIX/`. Connects at first
    /// use: an agent that is not there yet is no error.
    pub fn connect(addresses: &[String], prefix: &str) -> Self {
        let http = Client::builder()
            .connect_timeout(Duration::from_secs(1))
            .no_proxy()
            .build()
            .expect("a client without TLS has nothing to fail on");
        let agent = |address: &str| Agent {
            address: address.to_owned(),
            http: http.clone(),
            slots: Arc::new(Semaphore::new(CONCURRENT)),
        };
        Self {
            agents: Arc::new(Members::new("consul", addresses, agent)),
            prefix: prefix.to_owned(),
            shortest_session: SHORTEST_SESSION,
        }
    }

    /// For an agent with a lower `session_ttl_min`, so that tests need not wait.
    #[cfg(test)]
    pub(crate) fn with_shortest_session(mut self, ttl: Duration) -> Self {
        self.shortest_session = ttl;
        self
    }

    fn path(&self, key: &Key) -> String {
        format!("{}/{key}", self.prefix)
    }

    /// Our key of Consul's; none if it is not under the prefix or not one of ours.
    fn key(&self, path: &str) -> Option<Key> {
        path.strip_prefix(&self.prefix)?.strip_prefix('/')?.parse().ok()
    }

    /// Sends a request to one agent after another until there is a whole answer that means something.
    async fn send(
        &self,
        repeat: Repeat,
        request: impl Fn(&Agent) -> RequestBuilder,
        accepted: &[StatusCode],
    ) -> Result<Answer> {
        let ask = |agent: Agent| {
            let request = request(&agent);
            async move {
                // The semaphore is never closed.
                let _slot = agent.slots.acquire().await;
                answer::whole(request, accepted).await
            }
        };
        self.agents.ask(repeat, ask).await
    }

    async fn read(&self, path: &str) -> Result<Answer> {
        let accepted = [StatusCode::OK, StatusCode::NOT_FOUND];
        self.send(
            Repeat::Harmless,
            |agent| agent.request(Method::GET, path),
            &accepted,
        )
        .await
    }

    fn parse<T: DeserializeOwned>(&self, answer: &Answer) -> Result<T> {
        serde_json::from_slice(&answer.body).map_err(|error| self.agents.unavailable(error))
    }

    fn pairs(&self, answer: &Answer) -> Result<Vec<wire::Pair>> {
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(Vec::new());
        }
        self.parse(answer)
    }

    fn entry(&self, pair: &wire::Pair) -> Option<Result<Entry>> {
        let key = self.key(&pair.key)?;
        Some(match pair.value() {
            Some(value) => Ok(Entry {
                key,
                value,
                revision: Revision(pair.modify_index),
            }),
            None => Err(self.agents.broken(format!("the value of {key} is not base64"))),
        })
    }

    /// The revision that a transaction has made, or that it has checked.
    async fn revision(&self, txn: &Txn, done: &wire::Done) -> Result<Revision> {
        let deletes = txn.writes.iter().find_map(|write| match write {
            Write::Delete(key) => Some(self.path(key)),
            Write::Put { .. } => None,
        });
        let puts = txn.writes.iter().any(|write| matches!(write, Write::Put { .. }));
        // Of a removal Consul tells no index, and the guards' are older ones.
        let asked = match (puts, deletes, done.last_index()) {
            (true, _, Some(index)) | (false, None, Some(index)) => return Ok(Revision(index)),
            (_, Some(deleted), _) => deleted,
            (_, None, None) => self.prefix.clone(),
        };
        let answer = self.read(&format!("kv/{asked}?{}", wire::INDEX)).await?;
        Ok(Revision(answer.index.unwrap_or_default()))
    }
}

#[async_trait]
impl Store for Consul {
    async fn get(&self, key: &Key) -> Result<Option<Entry>> {
        let answer = self.read(&format!("kv/{}", self.path(key))).await?;
        let pairs = self.pairs(&answer)?;
        pairs.iter().find_map(|pair| self.entry(pair)).transpose()
    }

    async fn list(&self, prefix: &Key) -> Result<Listing> {
        let answer = self.read(&format!("kv/{}?recurse", self.path(prefix))).await?;
        let revision = Revision(answer.index.unwrap_or_default());
        let pairs = self.pairs(&answer)?;
        let ours = pairs.iter().filter_map(|pair| self.entry(pair));
        let ours = ours.filter(|entry| entry.as_ref().map_or(true, |entry| entry.key.is_under(prefix)));
        let mut entries = ours.collect::<Result<Vec<_>>>()?;
        entries.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Listing { revision, entries })
    }

    async fn commit(&self, txn: Txn) -> Result<Revision> {
        txn.check()?;
        let request = wire::transaction(&txn, mark(), |key| self.path(key));
        let answer = self
            .send(
                Repeat::Harmful,
                |agent| agent.request(Method::PUT, "txn").json(&request),
                &[StatusCode::OK, StatusCode::CONFLICT],
            )
            .await?;
        let done: wire::Done = self.parse(&answer)?;
        if answer.status == StatusCode::CONFLICT {
            return Err(answer::refusal(&txn, &done, &self.agents));
        }
        self.revision(&txn, &done).await
    }

    async fn watch(&self, prefix: &Key) -> Result<Box<dyn Watch>> {
        Ok(Box::new(follow::subscribe(self, prefix).await))
    }

    async fn grant(&self, ttl: Duration) -> Result<LeaseId> {
        let session = wire::Session::new(ttl.max(self.shortest_session));
        let create = |agent: &Agent| agent.request(Method::PUT, "session/create").json(&session);
        let answer = self.send(Repeat::Harmless, create, &[StatusCode::OK]).await?;
        let created: wire::Created = self.parse(&answer)?;
        Ok(LeaseId(created.id))
    }

    async fn renew(&self, lease: &LeaseId) -> Result<()> {
        let path = session_path("renew", lease)?;
        let accepted = [StatusCode::OK, StatusCode::NOT_FOUND];
        let renew = |agent: &Agent| agent.request(Method::PUT, &path);
        match self.send(Repeat::Harmless, renew, &accepted).await?.status {
            StatusCode::NOT_FOUND => Err(Error::LeaseEnded(lease.clone())),
            _ => Ok(()),
        }
    }

    async fn revoke(&self, lease: &LeaseId) -> Result<()> {
        let Ok(path) = session_path("destroy", lease) else {
            return Ok(());
        };
        let destroy = |agent: &Agent| agent.request(Method::PUT, &path);
        self.send(Repeat::Harmless, destroy, &[StatusCode::OK])
            .await
            .map(drop)
    }
}

/// A number that no other transaction has.
fn mark() -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("getrandom(2) does not fail after boot");
    u64::from_ne_bytes(bytes)
}

/// What does not look like a session's id was never granted by Consul, so it has ended.
fn session_path(verb: &str, lease: &LeaseId) -> Result<String> {
    let is_id = lease.0.len() == 36 && lease.0.bytes().all(|c| c.is_ascii_hexdigit() || c == b'-');
    is_id
        .then(|| format!("session/{verb}/{}", lease.0))
        .ok_or_else(|| Error::LeaseEnded(lease.clone()))
}

#[cfg(test)]
mod tests;
