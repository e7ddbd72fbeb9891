//! What only a file can show: reopening, a second opener, a kill in the middle of a commit, group commit.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use tokio::task::JoinSet;

use super::Embedded;
use crate::{Key, Revision, Store, Txn};

fn key(text: &str) -> Key {
    text.parse().unwrap()
}

#[tokio::test]
async fn records_and_revisions_survive_reopening_and_leased_keys_do_not() {
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("store.redb");
    let store = Embedded::open(&path).unwrap();
    let lease = store.grant(Duration::from_secs(60)).await.unwrap();
    store
        .commit(Txn::new().put(key("a/gone"), b"0".to_vec()))
        .await
        .unwrap();
    let txn = Txn::new()
        .create(key("a/b"), b"1".to_vec())
        .delete(key("a/gone"))
        .put_leased(key("a/alive"), b"2".to_vec(), lease);
    let revision = store.commit(txn).await.unwrap();
    let kept = store.get(&key("a/b")).await.unwrap();
    drop(store);

    let store = Embedded::open(&path).unwrap();
    let listing = store.list(&key("a")).await.unwrap();
    assert_eq!(listing.entries, Vec::from_iter(kept));
    assert_eq!(listing.revision, revision);
    let next = store
        .commit(Txn::new().replace(key("a/b"), revision, b"3".to_vec()))
        .await;
    assert_eq!(next.unwrap(), Revision(revision.0 + 1));
    drop(store);
    assert_eq!(
        Embedded::open(&path)
            .unwrap()
            .list(&key("a/alive"))
            .await
            .unwrap()
            .entries,
        []
    );
}

#[tokio::test]
async fn a_second_open_says_who_is_in_the_way() {
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("store.redb");
    let _first = Embedded::open(&path).unwrap();
    let error = Embedded::open(&path).unwrap_err().to_string();
    let expected = format!(
        "the embedded store: {} is in use by another process; every daemon needs a data-root of its own",
        path.display()
    );
    assert_eq!(error, expected);
}

#[test]
fn a_file_that_is_no_store_is_refused_and_left_as_it_is() {
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("store.redb");
    std::fs::write(&path, "not a store, but somebody's file").unwrap();
    assert!(Embedded::open(&path).is_err());
    assert_eq!(
        std::fs::read_to_string(&path).unwrap(),
        "not a store, but somebody's file"
    );
    assert!(Embedded::open(files.path().join("no-such-directory/store.redb")).is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_commits_share_their_fsyncs() {
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("store.redb");
    let store = Arc::new(Embedded::open(&path).unwrap());
    let before = store.shared.syncs();
    let mut tasks = JoinSet::new();
    for n in 0..500 {
        let store = Arc::clone(&store);
        tasks.spawn(async move { store.commit(Txn::new().create(key("n").child(n), vec![1])).await });
    }
    let revisions: Vec<_> = tasks.join_all().await.into_iter().map(Result::unwrap).collect();
    assert_eq!(revisions.iter().max(), Some(&Revision(500)));
    let syncs = store.shared.syncs() - before;
    assert!(syncs < 250, "{syncs} fsyncs for 500 commits");
}

/// The variable that turns the test below into the child it kills.
const CHILD: &str = "CNM_TEST_STORE_CHILD";

#[test]
fn a_kill_in_the_middle_of_a_commit_leaves_all_of_it_or_nothing() {
    if let Some(path) = std::env::var_os(CHILD) {
        write_for_ever(Path::new(&path));
    }
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("store.redb");
    let mut last = 0;
    for round in 0..15 {
        let acknowledged = kill_a_writer(&path, round * 3 + 1);
        let store = Embedded::open(&path).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let entries = runtime.block_on(store.list(&key("pair"))).unwrap().entries;
        let values: Vec<u64> = entries.iter().map(|entry| number(&entry.value)).collect();
        assert_eq!(values.len(), 40);
        assert!(values.iter().all(|value| *value == values[0]), "torn: {values:?}");
        assert!(values[0] >= acknowledged, "{} < {acknowledged}", values[0]);
        assert!(values[0] >= last, "went back");
        last = values[0];
    }
}

fn number(value: &[u8]) -> u64 {
    u64::from_be_bytes(value[..8].try_into().unwrap())
}

/// Starts this test again as a child that commits until it is killed, at some moment after some commits. Answers the
/// last commit that it saw acknowledged.
fn kill_a_writer(path: &Path, commits: u32) -> u64 {
    let test = "embedded::tests::a_kill_in_the_middle_of_a_commit_leaves_all_of_it_or_nothing";
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(CHILD, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut numbers = lines
        .map_while(Result::ok)
        .filter_map(|line| line.strip_prefix("committed ")?.parse().ok());
    let mut last = numbers
        .by_ref()
        .take(commits as usize)
        .last()
        .expect("the child commits");
    child.kill().unwrap();
    last = numbers.last().unwrap_or(last);
    child.wait().unwrap();
    last
}

/// Every commit writes the same number under forty keys, in values that take several pages of the file.
fn write_for_ever(path: &Path) -> ! {
    let store = Embedded::open(path).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut n = store
            .list(&key("pair"))
            .await
            .unwrap()
            .entries
            .first()
            .map_or(0, |e| number(&e.value));
        loop {
            n += 1;
            let mut value = vec![0; 1000];
            value[..8].copy_from_slice(&n.to_be_bytes());
            let txn = (0..40).fold(Txn::new(), |txn, k| txn.put(key("pair").child(k), value.clone()));
            store.commit(txn).await.unwrap();
            println!("\ncommitted {n}");
        }
    })
}
