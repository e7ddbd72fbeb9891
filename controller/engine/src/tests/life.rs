use engine::{Error, Query, WaitCondition, record::Phase};

use super::bench::{Bench, import, request};

#[tokio::test]
async fn a_container_has_what_was_asked_and_what_its_image_says() {
    let bench = Bench::new();
    let engine = bench.start().await;
    import(&engine, "busybox").await;
    let mut asked = request(Some("web"));
    asked.settings.run.env = vec!["A=mine".into(), "B=1".into()];
    let view = engine.containers.create(asked).await.expect("a container");
    let settings = &view.record.settings;
    assert_eq!(settings.run.cmd, Some(vec!["true".into()]));
    assert_eq!(settings.run.env, ["A=mine", "B=1"]);
    assert!(settings.exposed_ports.contains("80/tcp"));
    assert_eq!(settings.hostname, view.record.id.short());
    assert_eq!(view.networks[0].name, "bridge");
    assert_eq!(view.record.state.phase, Phase::Created);
    assert_eq!(bench.homes(), 1);
}

#[tokio::test]
async fn a_container_is_found_by_id_name_and_unique_prefix_in_this_order() {
    let bench = Bench::new();
    let engine = bench.start().await;
    import(&engine, "busybox").await;
    let id = engine
        .containers
        .create(request(Some("web")))
        .await
        .expect("one")
        .record
        .id;
    let found = |text: &str| engine.containers.inspect(text).map(|view| view.record.id);
    for text in [id.to_string(), id.short(), "web".into(), "/web".into()] {
        assert_eq!(found(&text).expect("the container"), id, "{text}");
    }
    // A name that is the beginning of another's id means the name.
    let named = engine
        .containers
        .create(request(Some(&id.short())))
        .await
        .expect("another")
        .record
        .id;
    assert_eq!(found(&id.short()).expect("the named one"), named);
    for text in ["", "nobody", "we"] {
        assert!(matches!(found(text), Err(Error::NotFound { .. })), "{text:?}");
    }
}

#[tokio::test]
async fn a_taken_name_is_refused_and_a_missing_image_named_and_both_leave_nothing() {
    let bench = Bench::new();
    let engine = bench.start().await;
    let error = engine
        .containers
        .create(request(Some("web")))
        .await
        .expect_err("no image");
    assert_eq!(error.to_string(), "No such image: busybox:latest");
    import(&engine, "busybox").await;
    engine
        .containers
        .create(request(Some("web")))
        .await
        .expect("the first");
    let error = engine
        .containers
        .create(request(Some("web")))
        .await
        .expect_err("taken");
    assert!(matches!(error, Error::Conflict { .. }), "{error}");
    assert!(
        error
            .to_string()
            .starts_with("Conflict. The container name \"/web\" is already in use by container")
    );
    let bad = engine
        .containers
        .create(request(Some("-")))
        .await
        .expect_err("no name");
    assert!(matches!(bad, Error::Invalid { .. }));
    assert_eq!(bench.homes(), 1);
}

#[tokio::test]
async fn a_container_without_a_name_gets_one_of_its_own() {
    let bench = Bench::new();
    let engine = bench.start().await;
    import(&engine, "busybox").await;
    let mut names = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let view = engine
            .containers
            .create(request(None))
            .await
            .expect("a container");
        names.insert(view.record.name.to_string());
    }
    assert_eq!(names.len(), 20);
}

#[tokio::test]
async fn rename_moves_the_claim() {
    let bench = Bench::new();
    let engine = bench.start().await;
    import(&engine, "busybox").await;
    engine.containers.create(request(Some("one"))).await.expect("one");
    engine.containers.create(request(Some("two"))).await.expect("two");
    assert!(matches!(
        engine.containers.rename("one", "two").await,
        Err(Error::Conflict { .. })
    ));
    assert!(matches!(
        engine.containers.rename("one", "one").await,
        Err(Error::Invalid { .. })
    ));
    engine.containers.rename("one", "three").await.expect("free");
    assert!(engine.containers.inspect("one").is_err());
    engine
        .containers
        .create(request(Some("one")))
        .await
        .expect("free again");
    assert_eq!(
        engine
            .containers
            .inspect("three")
            .expect("renamed")
            .record
            .name
            .as_str(),
        "three"
    );
}

#[tokio::test]
async fn waits_end_with_what_they_wait_for() {
    let bench = Bench::new();
    let engine = bench.start().await;
    import(&engine, "busybox").await;
    engine
        .containers
        .create(request(Some("web")))
        .await
        .expect("a container");
    let now = engine
        .containers
        .wait("web", WaitCondition::NotRunning)
        .expect("a wait");
    assert_eq!(now.finish().await, 0, "it doesn't run");
    let exit = engine
        .containers
        .wait("web", WaitCondition::NextExit)
        .expect("a wait");
    let removed = engine
        .containers
        .wait("web", WaitCondition::Removed)
        .expect("a wait");
    engine
        .containers
        .start("web")
        .await
        .expect_err("the shim never comes up");
    assert_eq!(exit.finish().await, 128, "a start that failed is an exit");
    engine.containers.remove("web", false).await.expect("removed");
    assert_eq!(removed.finish().await, 128);
}

#[tokio::test]
async fn what_does_not_run_can_be_neither_stopped_nor_killed_nor_entered() {
    let bench = Bench::new();
    let engine = bench.start().await;
    import(&engine, "busybox").await;
    engine
        .containers
        .create(request(Some("web")))
        .await
        .expect("a container");
    let containers = &engine.containers;
    assert!(matches!(
        containers.stop("web", &Default::default()).await,
        Err(Error::NotModified(_))
    ));
    assert!(matches!(
        containers.kill("web", "KILL").await,
        Err(Error::Conflict { .. })
    ));
    assert!(matches!(
        containers.kill("web", "NOPE").await,
        Err(Error::Invalid { .. })
    ));
    assert!(matches!(
        containers.pause("web").await,
        Err(Error::Conflict { .. })
    ));
    assert!(matches!(
        containers.resize("web", 1, 1).await,
        Err(Error::Conflict { .. })
    ));
    let exec = engine::CreateExec {
        config: engine::run::ExecConfig {
            cmd: vec!["sh".into()],
            ..Default::default()
        },
        stdin: false,
        stdout: true,
        stderr: true,
        detach_keys: String::new(),
    };
    assert!(matches!(
        containers.create_exec("web", exec),
        Err(Error::Conflict { .. })
    ));
}

#[tokio::test]
async fn a_removed_container_leaves_no_folder_no_record_and_its_name_free() {
    let bench = Bench::new();
    let engine = bench.start().await;
    import(&engine, "busybox").await;
    engine
        .containers
        .create(request(Some("web")))
        .await
        .expect("a container");
    assert!(
        matches!(
            engine.images.remove("busybox", false).await,
            Err(Error::Conflict { .. })
        ),
        "in use"
    );
    engine.containers.remove("web", false).await.expect("removed");
    assert_eq!(bench.homes(), 0);
    assert!(
        engine
            .containers
            .list(&Query {
                all: true,
                ..Query::default()
            })
            .is_empty()
    );
    drop(engine);
    let engine = bench.start().await;
    assert!(engine.containers.inspect("web").is_err());
    engine
        .images
        .remove("busybox", false)
        .await
        .expect("in use by nobody");
}

#[tokio::test]
async fn everything_that_happens_is_told_once() {
    let bench = Bench::new();
    let engine = bench.start().await;
    let mut events = engine.events.subscribe().coming;
    import(&engine, "busybox").await;
    engine
        .containers
        .create(request(Some("web")))
        .await
        .expect("a container");
    engine.containers.rename("web", "www").await.expect("renamed");
    engine.containers.remove("www", false).await.expect("removed");
    let mut told = Vec::new();
    while let Ok(event) = events.try_recv() {
        told.push(format!("{} {}", event.action, event.attributes["name"]));
    }
    assert_eq!(
        told,
        ["import busybox:latest", "create web", "rename www", "destroy www"]
    );
}
