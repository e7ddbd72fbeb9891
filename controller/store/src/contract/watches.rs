//! Watching a prefix.

use std::time::Duration;

use tokio::time::timeout;

use super::{PATIENCE, Subject, key, next_that};
use crate::{Change, Revision, Txn, Watch};

async fn next(watch: &mut dyn Watch) -> Change {
    timeout(PATIENCE, watch.next())
        .await
        .expect("the watch says something")
}

/// Reads on until the watch has told of this revision.
async fn told_of(watch: &mut dyn Watch, revision: Revision) {
    next_that(watch, "the revision of the commit", |change| match change {
        Change::Changed(at) => at >= revision,
        Change::Resync | Change::Lost => panic!("nothing was lost: {change:?}"),
    })
    .await;
}

pub(super) async fn a_watch_first_says_resync(subject: &Subject) {
    for prefix in ["nothing-there", "started"] {
        let mut watch = subject.store.watch(&key(prefix)).await.unwrap();
        assert_eq!(next(watch.as_mut()).await, Change::Resync);
    }
}

pub(super) async fn a_watch_tells_of_creation_change_and_removal(subject: &Subject) {
    let store = &subject.store;
    let mut watch = store.watch(&key("seen")).await.unwrap();
    assert_eq!(next(watch.as_mut()).await, Change::Resync);
    for txn in [
        Txn::new().create(key("seen/deep/a"), b"1".to_vec()),
        Txn::new().put(key("seen/deep/a"), b"2".to_vec()),
        Txn::new().put(key("seen"), b"itself".to_vec()),
        Txn::new().delete(key("seen/deep/a")),
        Txn::new().create(key("seen/deep/a"), b"3".to_vec()),
    ] {
        let revision = store.commit(txn).await.unwrap();
        told_of(watch.as_mut(), revision).await;
    }
}

pub(super) async fn a_watch_is_silent_about_other_prefixes(subject: &Subject) {
    let store = &subject.store;
    let mut watch = store.watch(&key("mine")).await.unwrap();
    assert_eq!(next(watch.as_mut()).await, Change::Resync);
    for name in ["other/a", "min/e", "a"] {
        store.commit(Txn::new().put(key(name), vec![1])).await.unwrap();
    }
    let quiet = timeout(Duration::from_millis(300), watch.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
    let revision = store
        .commit(Txn::new().put(key("mine/a"), vec![1]))
        .await
        .unwrap();
    told_of(watch.as_mut(), revision).await;
}

pub(super) async fn a_change_between_watch_and_list_is_not_missed(subject: &Subject) {
    let store = &subject.store;
    for round in 0..10 {
        let mut watch = store.watch(&key("between")).await.unwrap();
        let write = Txn::new().put(key("between/a"), vec![round]);
        let revision = store.commit(write).await.unwrap();
        assert_eq!(next(watch.as_mut()).await, Change::Resync);
        assert!(store.list(&key("between")).await.unwrap().revision >= revision);
        told_of(watch.as_mut(), revision).await;
    }
}

pub(super) async fn many_changes_may_be_told_as_one_but_the_last_is_told(subject: &Subject) {
    let store = &subject.store;
    let mut watch = store.watch(&key("many-changes")).await.unwrap();
    assert_eq!(next(watch.as_mut()).await, Change::Resync);
    let mut last = Revision(0);
    for n in 0..100_u8 {
        let txn = Txn::new().put(key("many-changes").child(n % 7), vec![n]);
        last = store.commit(txn).await.unwrap();
    }
    told_of(watch.as_mut(), last).await;
}
