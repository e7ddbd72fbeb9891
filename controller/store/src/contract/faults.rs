//! What a server does to its clients: it is killed, it hangs, it comes back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::{task::JoinHandle, time::MissedTickBehavior};

use super::{Subject, eventually, key, next_that, servers::Server};
use crate::{Change, Error, Txn};

/// How often the test's own clock ticks.
const TICK: Duration = Duration::from_millis(100);
/// The contract's 2 s, and half of that again for a loaded machine. The clock has no more time than the verbs have: while
/// neither gets to run, it doesn't tick.
const TICKS: u32 = 30;

fn server(subject: &Subject) -> &Server {
    subject.server.as_ref().expect("a back end with a server")
}

fn assert_unavailable<T: std::fmt::Debug>(result: &Result<T, Error>) {
    assert!(matches!(result, Err(Error::Unavailable { .. })), "{result:?}");
}

pub(super) async fn a_killed_server_is_told_once_as_lost_and_its_return_as_resync(subject: &Subject) {
    let store = &subject.store;
    let mut watch = store.watch(&key("killed")).await.unwrap();
    assert_eq!(watch.next().await, Change::Resync);
    store
        .commit(Txn::new().put(key("killed/a"), b"1".to_vec()))
        .await
        .unwrap();
    next_that(watch.as_mut(), "a change", |change| {
        matches!(change, Change::Changed(_))
    })
    .await;

    server(subject).kill();
    next_that(watch.as_mut(), "lost", |change| change == Change::Lost).await;
    assert_unavailable(&store.get(&key("killed/a")).await);
    assert_unavailable(&store.commit(Txn::new().put(key("killed/a"), vec![])).await);
    let quiet = tokio::time::timeout(Duration::from_secs(2), watch.next()).await;
    assert!(quiet.is_err(), "told again while it is down: {quiet:?}");

    server(subject).start();
    next_that(watch.as_mut(), "resync", |change| change == Change::Resync).await;
    subject.comes_up().await;
    assert_eq!(store.get(&key("killed/a")).await.unwrap().unwrap().value, b"1");
    let revision = store
        .commit(Txn::new().put(key("killed/b"), b"2".to_vec()))
        .await
        .unwrap();
    next_that(
        watch.as_mut(),
        "a change after the return",
        |change| matches!(change, Change::Changed(at) if at >= revision),
    )
    .await;
}

pub(super) async fn a_hung_server_is_unavailable_within_the_deadline(subject: &Subject) {
    let store = &subject.store;
    let lease = store.grant(Duration::from_secs(60)).await.unwrap();
    server(subject).pause();
    let name = key("hung");
    let clock = Clock::start();
    let verbs: [(&str, Result<(), String>); 6] = tokio::join!(
        clock.timed("get", store.get(&name)),
        clock.timed("list", store.list(&name)),
        clock.timed("commit", store.commit(Txn::new().put(name.clone(), vec![]))),
        clock.timed("grant", store.grant(Duration::from_secs(10))),
        clock.timed("renew", store.renew(&lease)),
        clock.timed("revoke", store.revoke(&lease)),
    )
    .into();
    server(subject).resume();
    assert!(verbs.iter().all(|(_, said)| said.is_ok()), "{verbs:?}");
    subject.comes_up().await;
}

/// Counts how often it got to run, about each [`TICK`].
struct Clock {
    ticks: Arc<AtomicU32>,
    task: JoinHandle<()>,
}

impl Clock {
    fn start() -> Self {
        let ticks = Arc::<AtomicU32>::default();
        let counting = Arc::clone(&ticks);
        let task = tokio::spawn(async move {
            let mut interval = tokio::time::interval(TICK);
            // What was missed is not made up for.
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                interval.tick().await;
                counting.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { ticks, task }
    }

    /// Whether a verb said in time that the store does not answer; else what it said, and when.
    async fn timed<'a, T: std::fmt::Debug>(
        &self,
        verb: &'a str,
        call: impl Future<Output = Result<T, Error>>,
    ) -> (&'a str, Result<(), String>) {
        let result = call.await;
        let ticks = self.ticks.load(Ordering::Relaxed);
        let in_time = matches!(result, Err(Error::Unavailable { .. })) && ticks <= TICKS;
        let said = if in_time {
            Ok(())
        } else {
            Err(format!("{result:?} after {ticks} ticks"))
        };
        (verb, said)
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(super) async fn a_watch_opened_while_the_server_is_down_comes_up_with_it(subject: &Subject) {
    let store = &subject.store;
    server(subject).kill();
    let mut watch = store.watch(&key("down")).await.unwrap();
    assert_eq!(watch.next().await, Change::Resync);
    assert_unavailable(&store.list(&key("down")).await);
    next_that(watch.as_mut(), "lost", |change| change == Change::Lost).await;
    server(subject).start();
    next_that(watch.as_mut(), "resync", |change| change == Change::Resync).await;
    subject.comes_up().await;
    let revision = store.commit(Txn::new().put(key("down/a"), vec![])).await.unwrap();
    next_that(
        watch.as_mut(),
        "a change",
        |change| matches!(change, Change::Changed(at) if at >= revision),
    )
    .await;
}

pub(super) async fn records_survive_a_servers_restart_with_their_revisions(subject: &Subject) {
    let store = &subject.store;
    let lease = store.grant(Duration::from_secs(60)).await.unwrap();
    let txn = Txn::new().put(key("restart/record"), b"1".to_vec()).put_leased(
        key("restart/alive"),
        b"2".to_vec(),
        lease.clone(),
    );
    let revision = store.commit(txn).await.unwrap();
    server(subject).kill();
    server(subject).start();
    subject.comes_up().await;
    let replace = Txn::new().replace(key("restart/record"), revision, b"3".to_vec());
    store.commit(replace).await.unwrap();
    eventually("the lease is renewed by the restarted server", async || {
        store.renew(&lease).await.is_ok()
    })
    .await;
    assert_eq!(
        store.get(&key("restart/alive")).await.unwrap().unwrap().value,
        b"2"
    );
}
