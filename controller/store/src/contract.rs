//! The behaviour every back end must show. One function per sentence; each runs on all four.
//!
//! Every test has a store of its own, but a server may be shared: keys are under a root that nobody else uses.

mod faults;
mod leases;
mod race;
mod records;
mod servers;
mod watches;

use std::{fmt::Debug, future::Future, sync::Arc, time::Duration};

use tokio::time::{Instant, timeout};

use crate::{Change, Error, Key, Store, Txn, Watch};
use servers::Server;

/// A store under test, with the server behind it if it has one.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) server: Option<Server>,
    _files: Option<tempfile::TempDir>,
}

/// What to do with a subject that this machine does not have.
type Start = Option<Subject>;

async fn memory() -> Start {
    Some(Subject {
        store: Arc::new(crate::memory::Memory::new()),
        server: None,
        _files: None,
    })
}

async fn embedded() -> Start {
    let files = tempfile::tempdir().expect("a directory for the file");
    let store = crate::embedded::Embedded::open(files.path().join("store.redb")).expect("a new file opens");
    Some(Subject {
        store: Arc::new(store),
        server: None,
        _files: Some(files),
    })
}

#[cfg(feature = "etcd")]
pub(crate) async fn etcd() -> Start {
    let server = Server::etcd()?;
    let store = Arc::new(crate::etcd::Etcd::connect(&[server.address()], "cnm-test"));
    started(store, server).await
}

#[cfg(feature = "consul")]
async fn consul() -> Start {
    with_consul(Server::consul()?).await
}

#[cfg(feature = "consul")]
async fn lasting_consul() -> Start {
    with_consul(Server::lasting_consul()?).await
}

#[cfg(feature = "consul")]
async fn with_consul(server: Server) -> Start {
    let consul = crate::consul::Consul::connect(&[server.address()], "cnm-test");
    let store = Arc::new(consul.with_shortest_session(leases::TTL));
    started(store, server).await
}

async fn started(store: Arc<dyn Store>, server: Server) -> Start {
    let subject = Subject {
        store,
        server: Some(server),
        _files: None,
    };
    subject.comes_up().await;
    Some(subject)
}

impl Subject {
    /// Waits until the store takes a commit.
    async fn comes_up(&self) {
        eventually("the server takes a commit", async || {
            let txn = Txn::new().put(Key::root("started"), b"yes".to_vec());
            self.store.commit(txn).await.is_ok()
        })
        .await;
    }
}

/// How long anything may take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for a condition. Asks again at once after a short pause, which is no part of what is tested.
async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "did not come to hold: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The next change that `wanted` accepts; others are passed over.
async fn next_that(watch: &mut dyn Watch, what: &str, wanted: impl Fn(Change) -> bool) -> Change {
    let found = async {
        loop {
            let change = watch.next().await;
            if wanted(change) {
                return change;
            }
        }
    };
    timeout(PATIENCE, found)
        .await
        .unwrap_or_else(|_| panic!("the watch never said: {what}"))
}

fn key(text: &str) -> Key {
    text.parse().expect("a literal key")
}

/// The key a commit was refused for.
fn conflict<T: Debug>(result: Result<T, Error>) -> Key {
    match result {
        Err(Error::Conflict { key }) => key,
        other => panic!("a conflict was expected: {other:?}"),
    }
}

macro_rules! contract {
    ($tests:ident on $backend:ident: $($module:ident::$sentence:ident),* $(,)?) => {
        mod $tests {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $sentence() {
                    if let Some(subject) = super::$backend().await {
                        super::$module::$sentence(&subject).await;
                    }
                }
            )*
        }
    };
}

macro_rules! every_store {
    ($tests:ident on $backend:ident) => {
        contract!($tests on $backend:
            records::an_absent_key_reads_as_nothing,
            records::what_is_written_is_read_back_with_the_commits_revision,
            records::a_key_is_created_once_and_the_conflict_names_it,
            records::a_stale_revision_is_refused_and_the_conflict_names_the_key,
            records::a_guard_holds_for_a_key_that_is_not_written,
            records::a_refused_transaction_writes_nothing,
            records::a_deleted_key_is_absent_and_deleting_it_again_is_no_error,
            records::a_list_has_the_prefix_and_what_is_under_it_in_key_order,
            records::revisions_grow_with_every_commit,
            records::an_empty_value_and_any_bytes_are_kept,
            records::sixty_four_operations_are_taken_and_one_more_is_refused,
            records::the_largest_value_is_taken_and_a_larger_one_is_refused,
            records::a_list_may_be_larger_than_any_message,
            records::a_guarded_removal_answers_a_later_revision,
            records::a_transaction_without_writes_only_checks,
            race::of_fifty_tasks_creating_one_key_exactly_one_wins,
            race::a_burst_of_commits_is_taken,
            race::no_increment_of_many_tasks_is_lost,
            watches::a_watch_first_says_resync,
            watches::a_watch_tells_of_creation_change_and_removal,
            watches::a_watch_is_silent_about_other_prefixes,
            watches::a_change_between_watch_and_list_is_not_missed,
            watches::many_changes_may_be_told_as_one_but_the_last_is_told,
            leases::a_lease_that_is_not_renewed_takes_its_keys_along_and_a_watch_sees_it,
            leases::a_renewed_lease_keeps_its_keys,
            leases::a_revoked_lease_takes_its_keys_at_once_and_can_be_revoked_again,
            leases::an_ended_lease_is_neither_renewed_nor_written_under,
            leases::a_leased_key_can_be_written_again_and_passed_to_another_lease,
        );
    };
}

macro_rules! every_server {
    ($tests:ident on $backend:ident) => {
        contract!($tests on $backend:
            faults::a_killed_server_is_told_once_as_lost_and_its_return_as_resync,
            faults::a_hung_server_is_unavailable_within_the_deadline,
            faults::a_watch_opened_while_the_server_is_down_comes_up_with_it,
            faults::records_survive_a_servers_restart_with_their_revisions,
        );
    };
}

every_store!(on_memory on memory);
every_store!(on_embedded on embedded);
#[cfg(feature = "etcd")]
every_store!(on_etcd on etcd);
#[cfg(feature = "etcd")]
every_server!(on_an_etcd_server on etcd);
#[cfg(feature = "consul")]
every_store!(on_consul on consul);
#[cfg(feature = "consul")]
every_server!(on_a_consul_server on lasting_consul);
