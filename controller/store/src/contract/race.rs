//! Many tasks at once.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::{Subject, key};
use crate::{Error, Store, Txn};

pub(super) async fn of_fifty_tasks_creating_one_key_exactly_one_wins(subject: &Subject) {
    let mut tasks = JoinSet::new();
    for task in 0..50_u8 {
        let store = Arc::clone(&subject.store);
        tasks.spawn(async move {
            match store.commit(Txn::new().create(key("race"), vec![task])).await {
                Ok(_) => Some(task),
                Err(Error::Conflict { key: lost }) if lost == key("race") => None,
                Err(other) => panic!("{other:?}"),
            }
        });
    }
    let winners: Vec<u8> = tasks.join_all().await.into_iter().flatten().collect();
    assert_eq!(winners.len(), 1, "{winners:?}");
    let entry = subject.store.get(&key("race")).await.unwrap().unwrap();
    assert_eq!(entry.value, winners);
}

pub(super) async fn a_burst_of_commits_is_taken(subject: &Subject) {
    let mut tasks = JoinSet::new();
    for n in 0..300 {
        let store = Arc::clone(&subject.store);
        tasks.spawn(async move {
            store
                .commit(Txn::new().create(key("burst").child(n), vec![]))
                .await
        });
    }
    for committed in tasks.join_all().await {
        committed.unwrap();
    }
    assert_eq!(
        subject.store.list(&key("burst")).await.unwrap().entries.len(),
        300
    );
}

pub(super) async fn no_increment_of_many_tasks_is_lost(subject: &Subject) {
    let counter = key("counter");
    subject
        .store
        .commit(Txn::new().put(counter.clone(), vec![0]))
        .await
        .unwrap();
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let store = Arc::clone(&subject.store);
        tasks.spawn(async move {
            for _ in 0..5 {
                increment(store.as_ref()).await;
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(subject.store.get(&counter).await.unwrap().unwrap().value, [40]);
}

/// Read, add one, write if unchanged; again until it was.
async fn increment(store: &dyn Store) {
    let counter = key("counter");
    loop {
        let read = store.get(&counter).await.unwrap().unwrap();
        let txn = Txn::new().replace(counter.clone(), read.revision, vec![read.value[0] + 1]);
        match store.commit(txn).await {
            Ok(_) => return,
            Err(Error::Conflict { .. }) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
}
