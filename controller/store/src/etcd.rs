//! etcd, version 3: transactions, leases and watches are the store's own.

mod answer;
mod follow;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use etcd_client::{
    Client, Compare, CompareOp, ConnectOptions, DeleteOptions, GetOptions, KvClient, PutOptions,
    Txn as EtcdTxn, TxnOp, TxnOpResponse, WatchClient,
};
use tokio::sync::OnceCell;

use crate::{
    Entry, Error, Guard, Key, LeaseId, Listing, Result, Revision, Store, Txn, Watch, Write,
    members::{Failure, Members, Repeat},
};

/// A member, connected at first use: the client wants a runtime to live in.
#[derive(Clone)]
struct Member {
    address: String,
    client: Arc<OnceCell<Client>>,
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.address)
    }
}

impl Member {
    fn new(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            client: Arc::default(),
        }
    }

    /// A client of this member alone; nothing is sent yet.
    async fn client(&self) -> Result<Client, Failure> {
        let connect = || Client::connect([&self.address], Some(options()));
        let client = self.client.get_or_try_init(connect).await;
        client.cloned().map_err(|error| Failure::NotReached(error.into()))
    }

    /// For reading and writing. A list has no bound but the store's size, and gRPC's own is 4 MiB.
    async fn records(&self) -> Result<KvClient, Failure> {
        Ok(self
            .client()
            .await?
            .kv_client()
            .max_decoding_message_size(usize::MAX))
    }

    /// For watching. What happened while a stream was broken comes as one message.
    async fn changes(&self) -> Result<WatchClient, Failure> {
        Ok(self
            .client()
            .await?
            .watch_client()
            .max_decoding_message_size(usize::MAX))
    }
}

/// A server that is gone without a word is noticed by pings; etcd forbids them closer than 5 s. A member that lost
/// its leader ends its watches instead of being silent.
fn options() -> ConnectOptions {
    ConnectOptions::new()
        .with_connect_timeout(Duration::from_secs(1))
        .with_keep_alive(Duration::from_secs(6), Duration::from_secs(3))
        .with_keep_alive_while_idle(true)
        .with_require_leader(true)
}

/// Records in etcd, under a prefix.
#[derive(Debug, Clone)]
pub struct Etcd {
    members: Arc<Members<Member>>,
    prefix: String,
}

impl Etcd {
    /// A store at `HOST:PORT` addresses of one cluster, with every key under `PREFIX/`. Connects at first use: a
    /// cluster that is not there yet is no error.
    pub fn connect(addresses: &[String], prefix: &str) -> Self {
        Self {
            members: Arc::new(Members::new("etcd", addresses, Member::new)),
            prefix: prefix.to_owned(),
        }
    }

    fn path(&self, key: &Key) -> String {
        format!("{}/{key}", self.prefix)
    }

    /// The range of what lies under a key; `0` is the byte after `/`.
    fn below(&self, key: &Key) -> (String, String) {
        let path = self.path(key);
        (format!("{path}/"), format!("{path}0"))
    }

    /// Our key of etcd's; none if it is not under the prefix or not one of ours.
    fn key(&self, path: &[u8]) -> Option<Key> {
        let path = std::str::from_utf8(path).ok()?;
        path.strip_prefix(&self.prefix)?.strip_prefix('/')?.parse().ok()
    }

    fn compare(&self, guard: &Guard) -> Compare {
        let path = self.path(guard.key());
        match guard {
            Guard::Absent(_) => Compare::version(path, CompareOp::Equal, 0),
            Guard::Unchanged(_, revision) => {
                Compare::mod_revision(path, CompareOp::Equal, revision.0.cast_signed())
            }
        }
    }

    fn operation(&self, write: &Write) -> Result<TxnOp> {
        let path = self.path(write.key());
        Ok(match write {
            Write::Put { value, lease, .. } => {
                let options = lease
                    .as_ref()
                    .map(|lease| Ok::<_, Error>(PutOptions::new().with_lease(number(lease)?)));
                TxnOp::put(path, value.clone(), options.transpose()?)
            }
            Write::Delete(_) => TxnOp::delete(path, None::<DeleteOptions>),
        })
    }

    /// When a guard fails, the keys of all guards are read in the same transaction, to tell which.
    fn transaction(&self, txn: &Txn) -> Result<EtcdTxn> {
        let read =
            |guard: &Guard| TxnOp::get(self.path(guard.key()), Some(GetOptions::new().with_keys_only()));
        let writes: Vec<TxnOp> = txn
            .writes
            .iter()
            .map(|write| self.operation(write))
            .collect::<Result<_>>()?;
        Ok(EtcdTxn::new()
            .when(
                txn.guards
                    .iter()
                    .map(|guard| self.compare(guard))
                    .collect::<Vec<_>>(),
            )
            .and_then(writes)
            .or_else(txn.guards.iter().map(read).collect::<Vec<_>>()))
    }

    /// One transaction that reads the key itself and what is below.
    async fn read(&self, key: &Key) -> Result<etcd_client::TxnResponse> {
        let (from, to) = self.below(key);
        let reads = vec![
            TxnOp::get(self.path(key), None),
            TxnOp::get(from, Some(GetOptions::new().with_range(to))),
        ];
        let ask = |member: Member| {
            let txn = EtcdTxn::new().and_then(reads.clone());
            async move { member.records().await?.txn(txn).await.map_err(answer::failure) }
        };
        self.members.ask(Repeat::Harmless, ask).await
    }
}

/// A lease as etcd knows it. What is no number was never granted by etcd, so it has ended.
fn number(lease: &LeaseId) -> Result<i64> {
    lease.0.parse().map_err(|_| Error::LeaseEnded(lease.clone()))
}

/// Whole seconds, rounded up.
fn seconds(ttl: Duration) -> i64 {
    let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
    i64::try_from(seconds.max(1)).unwrap_or(i64::MAX)
}

#[async_trait]
impl Store for Etcd {
    async fn get(&self, key: &Key) -> Result<Option<Entry>> {
        let path = self.path(key);
        let ask = |member: Member| {
            let path = path.clone();
            async move {
                member
                    .records()
                    .await?
                    .get(path, None)
                    .await
                    .map_err(answer::failure)
            }
        };
        let found = self.members.ask(Repeat::Harmless, ask).await?;
        Ok(found.kvs().first().map(|pair| answer::entry(key.clone(), pair)))
    }

    async fn list(&self, prefix: &Key) -> Result<Listing> {
        let answer = self.read(prefix).await?;
        let responses = answer.op_responses();
        let pairs = responses.iter().flat_map(|response| match response {
            TxnOpResponse::Get(found) => found.kvs(),
            TxnOpResponse::Put(_) | TxnOpResponse::Delete(_) | TxnOpResponse::Txn(_) => &[],
        });
        Ok(Listing {
            revision: answer::revision(answer.header()),
            entries: pairs
                .filter_map(|pair| Some(answer::entry(self.key(pair.key())?, pair)))
                .collect(),
        })
    }

    async fn commit(&self, txn: Txn) -> Result<Revision> {
        txn.check()?;
        let request = self.transaction(&txn)?;
        let ask = |member: Member| {
            let request = request.clone();
            async move {
                member
                    .records()
                    .await?
                    .txn(request)
                    .await
                    .map_err(answer::failure)
            }
        };
        let answer = self.members.ask(Repeat::Harmful, ask).await;
        let answer = answer.map_err(|error| answer::name_lease(error, &txn))?;
        if answer.succeeded() {
            return Ok(answer::revision(answer.header()));
        }
        let key = answer::failed_guard(&txn.guards, &answer.op_responses());
        Err(key.map_or_else(
            || {
                self.members
                    .broken("a transaction failed, but all its guards hold".to_owned())
            },
            |key| Error::Conflict { key },
        ))
    }

    async fn watch(&self, prefix: &Key) -> Result<Box<dyn Watch>> {
        Ok(Box::new(follow::subscribe(self, prefix, None).await))
    }

    async fn grant(&self, ttl: Duration) -> Result<LeaseId> {
        let ask = |member: Member| async move {
            let granted = member.client().await?.lease_grant(seconds(ttl), None).await;
            granted.map_err(answer::failure)
        };
        let granted = self.members.ask(Repeat::Harmless, ask).await?;
        Ok(LeaseId(granted.id().to_string()))
    }

    async fn renew(&self, lease: &LeaseId) -> Result<()> {
        let id = number(lease)?;
        let ask = |member: Member| async move {
            let kept = member.client().await?.lease_keep_alive(id).await;
            kept.map(drop)
                .map_err(|error| answer::renewal_failure(error, lease))
        };
        self.members.ask(Repeat::Harmless, ask).await
    }

    async fn revoke(&self, lease: &LeaseId) -> Result<()> {
        let id = number(lease)?;
        let ask = |member: Member| async move {
            let revoked = member.client().await?.lease_revoke(id).await;
            revoked.map(drop).map_err(answer::failure)
        };
        match self.members.ask(Repeat::Harmless, ask).await {
            Err(Error::LeaseEnded(_)) => Ok(()),
            revoked => revoked,
        }
    }
}

#[cfg(test)]
mod tests;
