//! What only etcd does: it forgets its history.

use std::time::Duration;

use tokio::time::timeout;

use super::{Etcd, follow};
use crate::{Change, Key, Store, Txn, Watch, contract::Subject};

const PATIENCE: Duration = Duration::from_secs(30);

async fn next(watch: &mut dyn Watch) -> Change {
    timeout(PATIENCE, watch.next()).await.unwrap()
}

/// A real etcd whose history of ten commits under `k` is gone, and a client of it.
async fn compacted() -> Option<(Subject, Etcd, Key)> {
    let subject = crate::contract::etcd().await?;
    let address = subject.server.as_ref().unwrap().address();
    let etcd = Etcd::connect(&[address], "cnm-test");
    let prefix = Key::root("k");
    let mut last = 0;
    for n in 0..10 {
        last = etcd
            .commit(Txn::new().put(prefix.child(n), vec![]))
            .await
            .unwrap()
            .0;
    }
    compact(&etcd, last).await;
    Some((subject, etcd, prefix))
}

async fn compact(etcd: &Etcd, revision: u64) {
    let mut client = etcd.members.preferred().client().await.unwrap();
    client.compact(revision.cast_signed(), None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_whose_place_is_compacted_away_says_resync_and_goes_on() {
    let Some((_subject, etcd, prefix)) = compacted().await else {
        return;
    };
    let mut watch = follow::subscribe(&etcd, &prefix, Some(2)).await;
    assert_eq!(next(&mut watch).await, Change::Resync);
    assert_eq!(next(&mut watch).await, Change::Resync);
    let revision = etcd
        .commit(Txn::new().put(prefix.child("new"), vec![]))
        .await
        .unwrap();
    assert_eq!(next(&mut watch).await, Change::Changed(revision));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compaction_under_a_live_watch_costs_it_nothing() {
    let Some((_subject, etcd, prefix)) = compacted().await else {
        return;
    };
    let mut watch = etcd.watch(&prefix).await.unwrap();
    assert_eq!(next(watch.as_mut()).await, Change::Resync);
    for n in 0..3 {
        let revision = etcd
            .commit(Txn::new().put(prefix.child(n), vec![1]))
            .await
            .unwrap();
        compact(&etcd, revision.0).await;
        assert_eq!(next(watch.as_mut()).await, Change::Changed(revision));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_from_a_revision_that_is_still_there_misses_nothing() {
    let Some((_subject, etcd, prefix)) = compacted().await else {
        return;
    };
    let first = etcd
        .commit(Txn::new().put(prefix.child("a"), vec![]))
        .await
        .unwrap();
    let mut watch = follow::subscribe(&etcd, &prefix, Some(first.0.cast_signed())).await;
    assert_eq!(next(&mut watch).await, Change::Resync);
    assert_eq!(next(&mut watch).await, Change::Changed(first));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_member_of_the_list_costs_no_error() {
    let Some((subject, _, prefix)) = compacted().await else {
        return;
    };
    let address = subject.server.as_ref().unwrap().address();
    // Port 1 of loopback refuses.
    let etcd = Etcd::connect(&["127.0.0.1:1".to_owned(), address], "cnm-test");
    let revision = etcd
        .commit(Txn::new().put(prefix.child("b"), vec![]))
        .await
        .unwrap();
    assert_eq!(
        etcd.get(&prefix.child("b")).await.unwrap().unwrap().revision,
        revision
    );
    let mut watch = etcd.watch(&prefix).await.unwrap();
    assert_eq!(next(watch.as_mut()).await, Change::Resync);
}

#[tokio::test]
async fn a_lease_of_another_store_has_ended() {
    let etcd = Etcd::connect(&["127.0.0.1:1".to_owned()], "cnm-test");
    let lease = crate::LeaseId("d1a7".to_owned());
    assert!(matches!(
        etcd.renew(&lease).await,
        Err(crate::Error::LeaseEnded(_))
    ));
}

#[tokio::test]
async fn a_watch_given_up_while_it_is_opened_leaves_nothing_behind() {
    // It takes connections and answers nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let etcd = Etcd::connect(&[silent.local_addr().unwrap().to_string()], "cnm-test");
    let key = Key::root("k");
    let given_up = timeout(Duration::from_millis(50), etcd.watch(&key)).await;
    assert!(given_up.is_err(), "nobody confirmed it");
    let alone = async {
        while std::sync::Arc::strong_count(&etcd.members) > 1 {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(10), alone)
        .await
        .expect("its task has ended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_that_etcd_refuses_says_that_it_is_lost() {
    let Some((_subject, etcd, prefix)) = compacted().await else {
        return;
    };
    let client = etcd.members.preferred().client().await.unwrap();
    let mut users = client.auth_client();
    users.user_add("root", "secret", None).await.unwrap();
    users.user_grant_role("root", "root").await.unwrap();
    users.auth_enable().await.unwrap();
    let mut watch = etcd.watch(&prefix).await.unwrap();
    assert_eq!(next(watch.as_mut()).await, Change::Resync);
    assert_eq!(next(watch.as_mut()).await, Change::Lost);
    let error = etcd.get(&prefix).await.unwrap_err().to_string();
    assert!(error.starts_with("the etcd store: "), "{error}");
}
