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
    let mut client = etcd.members.preferred().unwrap().client().await.unwrap();
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
