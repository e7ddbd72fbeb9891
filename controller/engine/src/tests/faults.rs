use engine::record::Phase;

use super::bench::{Bench, import, request};

/// Every start here fails, at the latest because the shim doesn't come up; before that, at any step in the kernel.
#[tokio::test]
async fn a_start_that_fails_at_any_step_leaves_nothing_but_the_reason() {
    let bench = Bench::new();
    let engine = bench.start().await;
    import(&engine, "busybox").await;
    engine
        .containers
        .create(request(Some("web")))
        .await
        .expect("a container");
    let before = bench.kernel.state();
    let mut reasons = std::collections::BTreeSet::new();
    for step in 1.. {
        bench.kernel.fail_at(step);
        let error = engine
            .containers
            .start("web")
            .await
            .expect_err("the shim never comes up");
        reasons.insert(error.to_string());
        // The last round runs into no failing step.
        let failed = bench.kernel.heal();
        let view = engine.containers.inspect("web").expect("its record stays");
        assert_eq!(view.record.state.phase, Phase::Created, "step {step}");
        assert_eq!(
            (view.record.state.exit_code, view.record.state.error.is_empty()),
            (128, false),
            "step {step}"
        );
        assert!(view.sandbox.is_none() && view.networks.iter().all(|network| network.endpoint.is_none()));
        assert!(engine.snapshot().sandboxes.is_empty(), "step {step}");
        assert!(engine.snapshot().endpoints.is_empty(), "step {step}");
        assert_eq!(bench.kernel.state(), before, "step {step}");
        if !failed {
            break;
        }
    }
    assert!(!reasons.is_empty());
    engine
        .containers
        .remove("web", false)
        .await
        .expect("it can be removed");
    assert_eq!(bench.homes(), 0);
}

#[tokio::test]
async fn a_container_with_rm_that_fails_to_start_is_removed() {
    let bench = Bench::new();
    let engine = bench.start().await;
    import(&engine, "busybox").await;
    let mut asked = request(Some("web"));
    asked.settings.auto_remove = true;
    engine.containers.create(asked).await.expect("a container");
    let removed = engine
        .containers
        .wait("web", engine::WaitCondition::Removed)
        .expect("a wait");
    engine
        .containers
        .start("web")
        .await
        .expect_err("the shim never comes up");
    removed.finish().await;
    assert!(engine.containers.inspect("web").is_err());
    assert_eq!(bench.homes(), 0);
}

#[tokio::test]
async fn an_attach_that_can_not_prepare_ends_at_once_and_the_start_tells_why() {
    let bench = Bench::new();
    let engine = bench.start().await;
    import(&engine, "busybox").await;
    let mut asked = request(Some("web"));
    asked.settings.auto_remove = true;
    engine.containers.create(asked).await.expect("a container");
    let mut streams = engine
        .containers
        .attach("web", engine::Attach::default())
        .await
        .expect("streams");
    let mut heard = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut streams.output, &mut heard)
        .await
        .expect("an end");
    assert!(heard.is_empty());
    let told = engine.containers.start("web").await;
    told.expect_err("the shim never comes up");
    assert!(engine.containers.inspect("web").is_err(), "it had --rm");
}

#[tokio::test]
async fn what_no_start_could_give_is_refused_when_it_is_asked_for() {
    let bench = Bench::new();
    let engine = bench.start().await;
    import(&engine, "busybox").await;
    let mut capability = request(Some("web"));
    capability.settings.run.cap_add = vec!["NOPE".to_owned()];
    let mut cpus = request(Some("web"));
    cpus.settings.run.resources.nano_cpus = Some(999_000_000_000_000);
    for (asked, says) in [
        (capability, "unknown capability"),
        (cpus, "range of CPUs is from 0.01 to"),
    ] {
        let error = engine.containers.create(asked).await.expect_err(says);
        assert!(matches!(error, engine::Error::Invalid { .. }), "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
    assert_eq!(bench.homes(), 0);
}
