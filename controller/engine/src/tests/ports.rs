use controller::{CreateSandbox, Namespace};
use engine::{Engine, Error};
use model::{DnsConfig, PortBinding, Protocol};

use super::bench::{Bench, import, request};

fn binding(host: &str, container: &str) -> PortBinding {
    PortBinding {
        protocol: Protocol::Tcp,
        container: container.parse().expect("ports"),
        host_ip: None,
        host: Some(host.parse().expect("ports")),
        exposure: None,
    }
}

/// Somebody who has port 8080 of the host.
async fn hold(engine: &Engine, bench: &Bench) {
    let holder = CreateSandbox {
        container: None,
        kind: Namespace::New,
        hostname: String::new(),
        domainname: String::new(),
        dns: DnsConfig::default(),
        extra_hosts: Vec::new(),
        links: Vec::new(),
        files: bench.folder.path().join("holder"),
        name: "holder".to_owned(),
        ports: vec![binding("8080", "80")],
        ports_network: None,
        exposed: Vec::new(),
    };
    let held = engine.controller.sandboxes.create(holder).await;
    assert_eq!(held.expect("a free port").ports.len(), 2, "one for each family");
}

#[tokio::test]
async fn a_start_that_finds_its_port_taken_says_by_whom_and_leaves_nothing() {
    let bench = Bench::new();
    let engine = bench.start().await;
    import(&engine, "busybox").await;
    hold(&engine, &bench).await;
    let (kernel, snapshot) = (bench.kernel.state(), engine.snapshot());
    let mut asked = request(Some("web"));
    asked.settings.ports = vec![binding("8080", "80")];
    let web = engine
        .containers
        .create(asked)
        .await
        .expect("it is asked for at the start");
    let error = engine
        .containers
        .start("web")
        .await
        .expect_err("the port is taken");
    let wanted = format!(
        "failed to set up container networking: driver failed programming external connectivity on endpoint web ({}): \
         Bind for 0.0.0.0:8080 failed: port is already allocated",
        web.record.id
    );
    assert!(error.to_string().starts_with(&wanted), "{error}");
    assert!(error.to_string().contains("\"holder\""), "{error}");
    assert!(error.hint().is_some(), "{error}");
    assert_eq!(bench.kernel.state(), kernel);
    assert_eq!(engine.snapshot().sandboxes, snapshot.sandboxes);
    let view = engine.containers.inspect("web").expect("its record stays");
    assert_eq!(view.record.state.error, error.to_string());
}

#[tokio::test]
async fn a_start_that_fails_after_its_ports_were_decided_gives_them_back() {
    let bench = Bench::new();
    let engine = bench.start().await;
    import(&engine, "busybox").await;
    let mut asked = request(Some("web"));
    asked.settings.ports = vec![binding("8080", "80")];
    asked.settings.publish_all = true;
    engine.containers.create(asked).await.expect("a container");
    let error = engine
        .containers
        .start("web")
        .await
        .expect_err("the shim never comes up");
    assert!(!error.to_string().contains("8080"), "{error}");
    hold(&engine, &bench).await;
}

#[tokio::test]
async fn ports_are_recorded_together_and_survive_a_restart_of_the_daemon() {
    let bench = Bench::new();
    let engine = bench.start().await;
    import(&engine, "busybox").await;
    let mut asked = request(Some("web"));
    asked.settings.ports = (8000..8010)
        .map(|port: u16| binding(&port.to_string(), &(port + 1000).to_string()))
        .collect();
    engine.containers.create(asked).await.expect("a container");
    engine
        .containers
        .publish("web", vec![binding("8010", "9010")])
        .await
        .expect("recorded");
    engine
        .containers
        .unpublish("web", &[binding("8005", "9005")])
        .await
        .expect("one of them");
    let missing = engine
        .containers
        .unpublish("web", &[binding("8005", "9005")])
        .await;
    assert!(matches!(missing, Err(Error::NotFound { .. })));
    drop(engine);
    let engine = bench.start().await;
    let view = engine.containers.inspect("web").expect("the container");
    assert_eq!(
        view.record.settings.ports,
        [
            binding("8000-8004", "9000-9004"),
            binding("8006-8010", "9006-9010")
        ]
    );
}
