//! Reading and writing.

use super::{Subject, conflict, key};
use crate::{Error, Guard, MAX_VALUE, Revision, Txn};

pub(super) async fn an_absent_key_reads_as_nothing(subject: &Subject) {
    let store = &subject.store;
    assert_eq!(store.get(&key("records/none")).await.unwrap(), None);
    assert_eq!(store.list(&key("records/none")).await.unwrap().entries, []);
}

pub(super) async fn what_is_written_is_read_back_with_the_commits_revision(subject: &Subject) {
    let store = &subject.store;
    let txn = Txn::new()
        .create(key("written/a"), b"1".to_vec())
        .put(key("written/b"), b"2".to_vec());
    let revision = store.commit(txn).await.unwrap();
    for (name, value) in [("written/a", b"1"), ("written/b", b"2")] {
        let entry = store.get(&key(name)).await.unwrap().unwrap();
        assert_eq!((entry.key, entry.value), (key(name), value.to_vec()));
        assert_eq!(entry.revision, revision);
    }
    let listing = store.list(&key("written")).await.unwrap();
    assert!(listing.revision >= revision);
    assert!(listing.entries.iter().all(|entry| entry.revision == revision));
}

pub(super) async fn a_key_is_created_once_and_the_conflict_names_it(subject: &Subject) {
    let store = &subject.store;
    let create = |value: &str| Txn::new().create(key("once"), value.into());
    store.commit(create("first")).await.unwrap();
    assert_eq!(conflict(store.commit(create("second")).await), key("once"));
    assert_eq!(store.get(&key("once")).await.unwrap().unwrap().value, b"first");
}

pub(super) async fn a_stale_revision_is_refused_and_the_conflict_names_the_key(subject: &Subject) {
    let store = &subject.store;
    let first = store
        .commit(Txn::new().create(key("stale"), b"1".to_vec()))
        .await
        .unwrap();
    let replace = |revision, value: &str| Txn::new().replace(key("stale"), revision, value.into());
    let second = store.commit(replace(first, "2")).await.unwrap();
    assert_eq!(conflict(store.commit(replace(first, "3")).await), key("stale"));
    store.commit(replace(second, "3")).await.unwrap();
    assert_eq!(store.get(&key("stale")).await.unwrap().unwrap().value, b"3");

    let absent = Txn::new().replace(key("stale-absent"), second, b"4".to_vec());
    assert_eq!(conflict(store.commit(absent).await), key("stale-absent"));
}

pub(super) async fn a_guard_holds_for_a_key_that_is_not_written(subject: &Subject) {
    let store = &subject.store;
    let read = store
        .commit(Txn::new().put(key("guard/read"), b"1".to_vec()))
        .await
        .unwrap();
    let unchanged = Guard::Unchanged(key("guard/read"), read);
    let write = |name| Txn::new().put(key(name), b"2".to_vec()).guard(unchanged.clone());
    store.commit(write("guard/a")).await.unwrap();
    store
        .commit(Txn::new().put(key("guard/read"), b"2".to_vec()))
        .await
        .unwrap();
    assert_eq!(conflict(store.commit(write("guard/b")).await), key("guard/read"));

    let absent = Txn::new()
        .put(key("guard/c"), vec![])
        .guard(Guard::Absent(key("guard/a")));
    assert_eq!(conflict(store.commit(absent).await), key("guard/a"));
    let names = store.list(&key("guard")).await.unwrap().entries;
    assert_eq!(
        names.iter().map(|entry| entry.key.last()).collect::<Vec<_>>(),
        ["a", "read"]
    );
}

pub(super) async fn a_refused_transaction_writes_nothing(subject: &Subject) {
    let store = &subject.store;
    store
        .commit(Txn::new().put(key("atomic/kept"), b"1".to_vec()))
        .await
        .unwrap();
    let txn = Txn::new()
        .put(key("atomic/a"), b"1".to_vec())
        .delete(key("atomic/kept"))
        .create(key("atomic/kept"), b"2".to_vec());
    // A transaction that writes one key twice means nothing; without the delete it is a plain conflict.
    assert!(matches!(store.commit(txn).await, Err(Error::TooLarge(_))));
    let txn = Txn::new()
        .put(key("atomic/a"), b"1".to_vec())
        .create(key("atomic/kept"), vec![]);
    assert_eq!(conflict(store.commit(txn).await), key("atomic/kept"));
    let entries = store.list(&key("atomic")).await.unwrap().entries;
    assert_eq!(entries.len(), 1, "{entries:?}");
    assert_eq!(entries[0].value, b"1");
}

pub(super) async fn a_deleted_key_is_absent_and_deleting_it_again_is_no_error(subject: &Subject) {
    let store = &subject.store;
    let written = store
        .commit(Txn::new().put(key("deleted"), b"1".to_vec()))
        .await
        .unwrap();
    let deleted = store.commit(Txn::new().delete(key("deleted"))).await.unwrap();
    assert!(deleted > written);
    assert_eq!(store.get(&key("deleted")).await.unwrap(), None);
    store.commit(Txn::new().delete(key("deleted"))).await.unwrap();
    let guarded = Txn::new()
        .delete(key("deleted"))
        .guard(Guard::Unchanged(key("deleted"), written));
    assert_eq!(conflict(store.commit(guarded).await), key("deleted"));
}

pub(super) async fn a_list_has_the_prefix_and_what_is_under_it_in_key_order(subject: &Subject) {
    let store = &subject.store;
    let names = [
        "l/b", "l/b/2", "l/b/10", "l/b/1/x", "l/bc", "l/b-c", "l/b.c", "l/a", "lb", "l",
    ];
    let txn = names.iter().fold(Txn::new(), |txn, name| {
        txn.put(key(name), name.as_bytes().to_vec())
    });
    store.commit(txn).await.unwrap();
    let listed = async |prefix| -> Vec<String> {
        let listing = store.list(&key(prefix)).await.unwrap();
        listing
            .entries
            .iter()
            .map(|entry| entry.key.to_string())
            .collect()
    };
    assert_eq!(listed("l/b").await, ["l/b", "l/b/1/x", "l/b/10", "l/b/2"]);
    assert_eq!(listed("l/bc").await, ["l/bc"]);
    assert_eq!(listed("l").await.len(), names.len() - 1);
    assert_eq!(listed("l/c").await, [""; 0]);
}

pub(super) async fn revisions_grow_with_every_commit(subject: &Subject) {
    let store = &subject.store;
    let mut last = Revision(0);
    for round in 0..10 {
        let txn = Txn::new().put(key("grow").child(round % 3), b"x".to_vec());
        let revision = store.commit(txn).await.unwrap();
        assert!(revision > last, "{revision:?} after {last:?}");
        last = revision;
    }
    assert!(store.list(&key("grow")).await.unwrap().revision >= last);
}

pub(super) async fn an_empty_value_and_any_bytes_are_kept(subject: &Subject) {
    let store = &subject.store;
    for value in [vec![], vec![0], (0..=255).collect::<Vec<u8>>(), "ü\n\"\\".into()] {
        store
            .commit(Txn::new().put(key("bytes"), value.clone()))
            .await
            .unwrap();
        assert_eq!(store.get(&key("bytes")).await.unwrap().unwrap().value, value);
    }
}

pub(super) async fn sixty_four_operations_are_taken_and_one_more_is_refused(subject: &Subject) {
    let store = &subject.store;
    let creates = |count| {
        (0..count).fold(Txn::new(), |txn, n| {
            txn.create(key("many").child(n), vec![b'x'; 100])
        })
    };
    let full = creates(Txn::MAX_OPERATIONS / 2);
    let over = full.clone().delete(key("other"));
    let refused = store.commit(over).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "a transaction of 65 operations: at most 64 are allowed"
    );
    assert_eq!(store.list(&key("many")).await.unwrap().entries.len(), 0);
    store.commit(full).await.unwrap();
    assert_eq!(store.list(&key("many")).await.unwrap().entries.len(), 32);
}

pub(super) async fn the_largest_value_is_taken_and_a_larger_one_is_refused(subject: &Subject) {
    let store = &subject.store;
    let value = |bytes: usize| (0..bytes).map(|n| (n % 251) as u8).collect::<Vec<u8>>();
    let refused = store
        .commit(Txn::new().put(key("large"), value(MAX_VALUE + 1)))
        .await;
    assert!(matches!(refused, Err(Error::TooLarge(_))), "{refused:?}");
    store
        .commit(Txn::new().put(key("large"), value(MAX_VALUE)))
        .await
        .unwrap();
    assert!(store.get(&key("large")).await.unwrap().unwrap().value == value(MAX_VALUE));
}

pub(super) async fn a_list_may_be_larger_than_any_message(subject: &Subject) {
    let store = &subject.store;
    for n in 0..20 {
        let txn = Txn::new().put(key("large-list").child(n), vec![b'x'; MAX_VALUE]);
        store.commit(txn).await.unwrap();
    }
    let entries = store.list(&key("large-list")).await.unwrap().entries;
    assert_eq!(entries.len(), 20);
    assert!(entries.iter().all(|entry| entry.value.len() == MAX_VALUE));
}

pub(super) async fn a_guarded_removal_answers_a_later_revision(subject: &Subject) {
    let store = &subject.store;
    let (gone, kept) = (key("removed/gone"), key("removed/kept"));
    let txn = Txn::new().put(gone.clone(), vec![]).put(kept.clone(), vec![]);
    let written = store.commit(txn).await.unwrap();
    let removal = Txn::new()
        .guard(Guard::Unchanged(gone.clone(), written))
        .guard(Guard::Unchanged(kept, written))
        .delete(gone);
    let removed = store.commit(removal).await.unwrap();
    assert!(removed > written, "{removed:?} after {written:?}");
}

pub(super) async fn a_transaction_without_writes_only_checks(subject: &Subject) {
    let store = &subject.store;
    let written = store.commit(Txn::new().put(key("check"), vec![])).await.unwrap();
    let checked = store
        .commit(Txn::new().guard(Guard::Unchanged(key("check"), written)))
        .await
        .unwrap();
    assert!(checked >= written);
    let refused = store.commit(Txn::new().guard(Guard::Absent(key("check")))).await;
    assert_eq!(conflict(refused), key("check"));
    assert!(store.commit(Txn::new()).await.unwrap() >= written);
}
