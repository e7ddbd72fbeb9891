//! A disk without room, and changes that come after the end.

use std::{sync::Arc, time::Duration};

use engine::{Error, Query, StopOptions, WaitCondition, record::Phase};

use super::{
    bench::{Bench, import, request},
    windows::{End, exec, running},
};

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn what_ends_while_nothing_can_be_recorded_has_ended_and_is_recorded_later() {
    let (bench, engine, over) = running(End::Before).await;
    let exit = engine.containers.wait("web", WaitCondition::NotRunning);
    bench.store.refuse(true);
    over.send(()).expect("it is waited for");
    let code = tokio::time::timeout(PATIENCE, exit.expect("a wait").finish());
    assert_eq!(code.await.expect("its end is known"), 0);
    let phase = |engine: &engine::Engine| engine.containers.inspect("web").expect("web").record.state.phase;
    assert_eq!(phase(&engine), Phase::Exited);
    bench.store.refuse(false);
    let recorded = async {
        while !super::restart::phases(&bench).await.contains(&Phase::Exited) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, recorded)
        .await
        .expect("written as soon as it can be");
    engine.containers.remove("web", false).await.expect("removed");
    assert_eq!(bench.homes(), 0);
}

#[tokio::test]
async fn a_full_disk_keeps_nobody_from_stopping_and_a_removal_is_finished_later() {
    let (bench, engine, _over) = running(End::Asked).await;
    bench.store.refuse(true);
    let asked = StopOptions::default();
    let stopped = engine.containers.stop("web", &asked);
    let stopped = tokio::time::timeout(PATIENCE, stopped).await.expect("in time");
    stopped.expect("it is stopped");
    let gone = engine.containers.wait("web", WaitCondition::Removed);
    engine
        .containers
        .remove("web", false)
        .await
        .expect_err("its record can't be removed");
    let told = tokio::time::timeout(PATIENCE, gone.expect("a wait").finish());
    told.await.expect("clients of --rm wait for that");
    assert_eq!(bench.homes(), 0, "the room that it took is given back first");
    bench.store.refuse(false);
    engine.containers.remove("web", false).await.expect("removed");
}

#[tokio::test]
async fn a_change_that_waited_for_a_removal_brings_nothing_back() {
    let bench = Bench::new();
    let engine = bench.start().await;
    import(&engine, "busybox").await;
    for which in 0..2 {
        engine.containers.create(request(Some("web"))).await.expect("web");
        let containers = &engine.containers;
        let late = async {
            match which {
                0 => containers.rename("web", "late").await,
                _ => containers.disconnect("web", "bridge", false).await,
            }
        };
        let (removed, late) = futures::join!(containers.remove("web", false), late);
        removed.expect("removed");
        assert!(matches!(late, Err(Error::NotFound { .. })), "{which}: {late:?}");
        assert!(super::restart::phases(&bench).await.is_empty(), "{which}");
    }
    let all = Query {
        all: true,
        ..Query::default()
    };
    assert!(bench.start().await.containers.list(&all).is_empty());
}

#[tokio::test]
async fn a_removed_container_is_forgotten_with_its_execs() {
    let (_bench, engine, _over) = running(End::Asked).await;
    let id = engine.containers.inspect("web").expect("web").record.id;
    engine.containers.create_exec("web", exec()).expect("an exec");
    let container = engine.containers.core.registry.get(&id).expect("web");
    let container = {
        let weak = Arc::downgrade(&container);
        drop(container);
        weak
    };
    engine.containers.remove("web", true).await.expect("removed");
    let gone = async {
        while container.upgrade().is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, gone)
        .await
        .expect("nobody holds it");
}
