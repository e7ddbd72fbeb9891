use engine::{Query, record::Phase};
use store::{Key, Store as _, Table};

use super::bench::{Bench, import, request};
use crate::record::Record;

fn records() -> Table<Record> {
    Table::new(Key::root("containers"), 1)
}

/// Puts a container's record into a phase, as a daemon that was killed leaves it.
pub(super) async fn leave(bench: &Bench, name: &str, phase: Phase) {
    let (_, all) = records().list(&bench.store).await.expect("records");
    let found = all.into_iter().find(|one| one.record.name.as_str() == name);
    let mut record = found.expect("its record").record;
    record.state.phase = phase;
    bench
        .store
        .commit(records().put(record.id, &record))
        .await
        .expect("written");
}

/// How the containers that are recorded are.
pub(super) async fn phases(bench: &Bench) -> Vec<Phase> {
    let (_, all) = records().list(&bench.store).await.expect("records");
    all.iter().map(|one| one.record.state.phase).collect()
}

#[tokio::test]
async fn a_restarted_daemon_brings_records_and_world_together() {
    let bench = Bench::new();
    let engine = bench.start().await;
    import(&engine, "busybox").await;
    for name in ["made", "ran", "paused", "going"] {
        engine.containers.create(request(Some(name))).await.expect(name);
    }
    drop(engine);
    for (name, phase) in [
        ("ran", Phase::Running),
        ("paused", Phase::Paused),
        ("going", Phase::Removing),
    ] {
        leave(&bench, name, phase).await;
    }
    let orphan = bench.data_root().join("containers").join("ab".repeat(32));
    std::fs::create_dir_all(&orphan).expect("a folder without a record");

    let engine = bench.start().await;
    let state = |name: &str| engine.containers.inspect(name).expect(name).record.state.clone();
    assert_eq!(state("made").phase, Phase::Created);
    for name in ["ran", "paused"] {
        let state = state(name);
        assert_eq!(
            (state.phase, state.exit_code, state.pid),
            (Phase::Exited, 255, None),
            "nobody saw {name} end"
        );
    }
    assert!(
        engine.containers.inspect("going").is_err(),
        "its removal is finished"
    );
    assert!(!orphan.exists());
    assert_eq!(bench.homes(), 3);
    assert_eq!(
        engine
            .containers
            .list(&Query {
                all: true,
                ..Query::default()
            })
            .len(),
        3
    );
}

#[tokio::test]
async fn a_container_with_rm_that_ended_unseen_is_removed() {
    let bench = Bench::new();
    let engine = bench.start().await;
    import(&engine, "busybox").await;
    let mut asked = request(Some("job"));
    asked.settings.auto_remove = true;
    engine.containers.create(asked).await.expect("a container");
    drop(engine);
    leave(&bench, "job", Phase::Running).await;
    let engine = bench.start().await;
    assert!(engine.containers.inspect("job").is_err());
    assert_eq!(bench.homes(), 0);
}
