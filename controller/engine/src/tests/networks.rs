use engine::{AskedMode, CreateNetwork, Error, NetworkError, record::Wishes};
use model::NetworkName;

use super::bench::{Bench, import, request};
use store::{Key, Store as _, Txn, memory::Memory};

async fn network(engine: &engine::Engine, name: &str, subnet: &str) {
    network_of(engine, name, "bridge", subnet).await;
}

async fn network_of(engine: &engine::Engine, name: &str, driver: &str, subnet: &str) {
    let mut asked = CreateNetwork::named(NetworkName::new(name).expect("a name"));
    asked.driver = Some(model::DriverName::new(driver).expect("a driver"));
    asked.ipam.subnets = vec![model::SubnetRequest {
        subnet: Some(subnet.parse().expect("a subnet")),
        ip_range: None,
        gateway: None,
        aux_addresses: std::collections::BTreeMap::new(),
    }];
    engine.networks.create(asked).await.expect("a network");
}

fn at(address: &str) -> Wishes {
    Wishes {
        ipv4: Some(address.parse().expect("an address")),
        ..Wishes::default()
    }
}

#[tokio::test]
async fn what_can_not_be_together_is_refused_at_creation() {
    let bench = Bench::new();
    let engine = bench.start().await;
    import(&engine, "busybox").await;
    network(&engine, "n1", "10.1.0.0/24").await;
    let aliases = Wishes {
        aliases: vec!["x".into()],
        ..Wishes::default()
    };
    for (name, mode, networks, says) in [
        (
            "a missing network",
            AskedMode::Network("nope".into()),
            vec![],
            "network nope not found",
        ),
        (
            "a missing container",
            AskedMode::Container("nope".into()),
            vec![],
            "No such container: nope",
        ),
        (
            "host with another",
            AskedMode::Host,
            vec![("n1", Wishes::default())],
            "conflicting options",
        ),
        (
            "none with another",
            AskedMode::None,
            vec![("n1", Wishes::default())],
            "conflicting options",
        ),
        (
            "another with host",
            AskedMode::Network("n1".into()),
            vec![("host", Wishes::default())],
            "conflicting options",
        ),
        (
            "an address on the default bridge",
            AskedMode::Bridge,
            vec![("bridge", at("172.17.0.9"))],
            "user specified IP address",
        ),
        (
            "an alias on the default bridge",
            AskedMode::Bridge,
            vec![("bridge", aliases)],
            "network-scoped aliases",
        ),
        (
            "an address outside",
            AskedMode::Network("n1".into()),
            vec![("n1", at("10.2.0.9"))],
            "invalid endpoint settings",
        ),
    ] {
        let mut asked = request(None);
        asked.mode = mode;
        asked.networks = networks
            .into_iter()
            .map(|(name, wishes)| (name.to_owned(), wishes))
            .collect();
        let error = engine.containers.create(asked).await.expect_err(name);
        assert!(matches!(error, Error::Invalid { .. }), "{name}: {error}");
        assert!(error.to_string().starts_with(says), "{name}: {error}");
    }
    assert_eq!(bench.homes(), 0);
}

#[tokio::test]
async fn networks_of_a_stopped_container_are_recorded_and_no_address_is_taken() {
    let bench = Bench::new();
    let engine = bench.start().await;
    import(&engine, "busybox").await;
    network(&engine, "n1", "10.1.0.0/24").await;
    engine
        .containers
        .create(request(Some("web")))
        .await
        .expect("a container");
    engine
        .containers
        .connect("web", "n1", at("10.1.0.9"))
        .await
        .expect("recorded");
    let names = || -> Vec<String> {
        let view = engine.containers.inspect("web").expect("the container");
        assert!(view.networks.iter().all(|network| network.endpoint.is_none()));
        view.networks.into_iter().map(|network| network.name).collect()
    };
    assert_eq!(names(), ["bridge", "n1"]);
    assert!(engine.snapshot().endpoints.is_empty());
    engine
        .containers
        .disconnect("web", "bridge", false)
        .await
        .expect("recorded");
    assert_eq!(names(), ["n1"]);
    let error = engine
        .containers
        .disconnect("web", "bridge", false)
        .await
        .expect_err("gone already");
    assert!(matches!(error, Error::Forbidden { .. }), "{error}");
}

#[tokio::test]
async fn the_modes_host_none_and_container_stay_alone() {
    let bench = Bench::new();
    let engine = bench.start().await;
    import(&engine, "busybox").await;
    network(&engine, "n1", "10.1.0.0/24").await;
    engine
        .containers
        .create(request(Some("main")))
        .await
        .expect("a container");
    for (name, mode) in [
        ("on-host", AskedMode::Host),
        ("alone", AskedMode::None),
        ("guest", AskedMode::Container("main".into())),
    ] {
        let mut asked = request(Some(name));
        asked.mode = mode;
        engine.containers.create(asked).await.expect(name);
        let error = engine
            .containers
            .connect(name, "n1", Wishes::default())
            .await
            .expect_err(name);
        assert!(matches!(error, Error::Invalid { .. }), "{name}: {error}");
    }
    let error = engine
        .containers
        .start("guest")
        .await
        .expect_err("main doesn't run");
    assert!(
        error
            .to_string()
            .starts_with("cannot join network of a non running container"),
        "{error}"
    );
    let host = engine.containers.inspect("on-host").expect("a container");
    assert_eq!(host.record.settings.hostname, "host");
}

#[tokio::test]
async fn a_network_that_went_while_its_container_was_stopped_is_named_at_the_start() {
    let bench = Bench::new();
    let engine = bench.start().await;
    import(&engine, "busybox").await;
    network(&engine, "n1", "10.1.0.0/24").await;
    let mut asked = request(Some("web"));
    asked.mode = AskedMode::Network("n1".into());
    engine.containers.create(asked).await.expect("a container");
    engine.networks.delete("n1").await.expect("nobody is connected");
    let view = engine.containers.inspect("web").expect("the container");
    assert_eq!(
        (view.networks[0].name.as_str(), view.networks[0].network.is_none()),
        ("n1", true)
    );
    let error = engine
        .containers
        .connect("web", "n1", Wishes::default())
        .await
        .expect_err("it is gone");
    assert!(
        matches!(
            error,
            Error::Network {
                source: NetworkError::NotFound { .. },
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_host_that_was_taken_for_dead_sets_its_stopped_containers_addresses_aside_again() {
    let cluster = Memory::new();
    let mut bench = Bench::new();
    bench.cluster = Some(cluster.clone());
    let engine = bench.start().await;
    import(&engine, "busybox").await;
    network_of(&engine, "ol1", "overlay", "172.16.2.0/24").await;
    let mut asked = request(Some("web"));
    asked.mode = AskedMode::Network("ol1".into());
    asked.networks = vec![("ol1".to_owned(), at("172.16.2.77"))];
    engine.containers.create(asked).await.expect("a container");
    let lease = async || -> Option<Key> {
        let all = cluster.list(&Key::root("leases")).await.expect("leases");
        all.entries
            .into_iter()
            .map(|entry| entry.key)
            .find(|key| key.last() == "172.16.2.77")
    };
    let key = lease().await.expect("it is set aside");
    drop(engine);
    // As the others do after the quarantine.
    cluster.commit(Txn::new().delete(key)).await.expect("freed");
    let engine = bench.start().await;
    let again = async {
        while lease().await.is_none() {
            tokio::task::yield_now().await;
        }
    };
    let again = tokio::time::timeout(std::time::Duration::from_secs(30), again);
    again.await.expect("it is set aside again");
    engine.containers.remove("web", false).await.expect("removed");
    assert_eq!(lease().await, None);
}
