//! Leases, with a time to live far below the contract's 10 s, which only Consul insists on, and only by default.

use std::time::Duration;

use tokio::time::Instant;

use super::{Subject, eventually, key, next_that};
use crate::{Change, Error, LeaseId, Txn};

pub(super) const TTL: Duration = Duration::from_secs(2);

async fn is_absent(subject: &Subject, name: &str) -> bool {
    subject.store.get(&key(name)).await.unwrap().is_none()
}

fn assert_ended<T: std::fmt::Debug>(result: Result<T, Error>, lease: &LeaseId) {
    match result {
        Err(Error::LeaseEnded(ended)) => assert_eq!(&ended, lease),
        other => panic!("an ended lease was expected: {other:?}"),
    }
}

pub(super) async fn a_lease_that_is_not_renewed_takes_its_keys_along_and_a_watch_sees_it(subject: &Subject) {
    let store = &subject.store;
    let lease = store.grant(TTL).await.unwrap();
    let granted = Instant::now();
    let txn = Txn::new()
        .put_leased(key("expires/a"), b"1".to_vec(), lease.clone())
        .put_leased(key("expires/b"), b"2".to_vec(), lease.clone())
        .put(key("expires/stays"), b"3".to_vec());
    store.commit(txn).await.unwrap();
    let mut watch = store.watch(&key("expires")).await.unwrap();
    assert_eq!(watch.next().await, Change::Resync);
    assert_eq!(store.list(&key("expires")).await.unwrap().entries.len(), 3);

    while !is_absent(subject, "expires/a").await || !is_absent(subject, "expires/b").await {
        next_that(watch.as_mut(), "the lease's end", |change| {
            matches!(change, Change::Changed(_))
        })
        .await;
    }
    let lived = granted.elapsed();
    assert!(lived >= TTL.mul_f32(0.9), "it ended early, after {lived:?}");
    assert!(!is_absent(subject, "expires/stays").await);
    assert_ended(store.renew(&lease).await, &lease);
}

pub(super) async fn a_renewed_lease_keeps_its_keys(subject: &Subject) {
    let store = &subject.store;
    let lease = store.grant(TTL).await.unwrap();
    let granted = Instant::now();
    let txn = Txn::new().put_leased(key("renewed"), b"1".to_vec(), lease.clone());
    store.commit(txn).await.unwrap();
    eventually("twice the time to live passes, with renewals", async || {
        tokio::time::sleep(TTL / 5).await;
        store.renew(&lease).await.unwrap();
        assert!(!is_absent(subject, "renewed").await);
        granted.elapsed() > TTL * 2 + TTL / 2
    })
    .await;
}

pub(super) async fn a_revoked_lease_takes_its_keys_at_once_and_can_be_revoked_again(subject: &Subject) {
    let store = &subject.store;
    let lease = store.grant(TTL).await.unwrap();
    let txn = Txn::new().put_leased(key("revoked"), b"1".to_vec(), lease.clone());
    store.commit(txn).await.unwrap();
    store.revoke(&lease).await.unwrap();
    assert!(is_absent(subject, "revoked").await);
    store.revoke(&lease).await.unwrap();
}

pub(super) async fn an_ended_lease_is_neither_renewed_nor_written_under(subject: &Subject) {
    let store = &subject.store;
    let lease = store.grant(TTL).await.unwrap();
    store.revoke(&lease).await.unwrap();
    assert_ended(store.renew(&lease).await, &lease);
    let txn = Txn::new()
        .put(key("late/other"), vec![])
        .put_leased(key("late/leased"), vec![], lease.clone());
    assert_ended(store.commit(txn).await, &lease);
    assert!(is_absent(subject, "late/other").await);
}

pub(super) async fn a_leased_key_can_be_written_again_and_passed_to_another_lease(subject: &Subject) {
    let store = &subject.store;
    let first = store.grant(TTL).await.unwrap();
    let second = store.grant(TTL).await.unwrap();
    let put =
        |value: &[u8], lease: &LeaseId| Txn::new().put_leased(key("passed"), value.to_vec(), lease.clone());
    let created = store.commit(put(b"1", &first)).await.unwrap();
    let written = store.commit(put(b"2", &first)).await.unwrap();
    assert!(written > created);
    let passed = store.commit(put(b"3", &second)).await.unwrap();
    assert!(passed > written);
    store.revoke(&first).await.unwrap();
    let entry = store.get(&key("passed")).await.unwrap().unwrap();
    assert_eq!((entry.value, entry.revision), (b"3".to_vec(), passed));
    store.revoke(&second).await.unwrap();
    assert!(is_absent(subject, "passed").await);
}
