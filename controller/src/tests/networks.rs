//! Networks on one host: made, found, refused, removed.

use model::{Lifecycle, NetworkName, Scope};

use super::host::{Host, asked, create, difference};
use crate::{CreateNetwork, Error, EventKind, PruneFilter, Settings};

#[tokio::test]
async fn bridge_host_and_none_are_there_from_the_start() {
    let host = Host::alone().await;
    let names: Vec<_> = host
        .controller()
        .networks
        .list()
        .iter()
        .map(|n| n.name.to_string())
        .collect();
    assert_eq!(names, ["bridge", "host", "none"]);
    let bridge = host.controller().networks.find("bridge").unwrap();
    assert_eq!(bridge.pools[0].subnet.to_string(), "172.17.0.0/16");
    assert_eq!(bridge.pools[0].gateway.unwrap().to_string(), "172.17.0.1");
    for name in ["bridge", "host", "none"] {
        let error = host.controller().networks.delete(name).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("{name} is a pre-defined network and cannot be removed")
        );
        assert!(matches!(error, Error::Forbidden { .. }));
        let error = host.network(name, "bridge", None).await.unwrap_err();
        assert!(matches!(error, Error::Forbidden { .. }), "{name}");
    }
}

#[tokio::test]
async fn a_network_comes_and_goes_without_a_trace_in_two_commits_each() {
    let host = Host::alone().await;
    let mut events = host.controller().events();
    let (kernel, store) = (host.kernel.state(), host.local.keys().await);
    let before = host.local.commits();
    let network = host.network("lab", "bridge", None).await.unwrap();
    assert_eq!(host.local.commits() - before, 2);
    assert_eq!(network.lifecycle, Lifecycle::Active);
    assert_eq!(network.pools[0].subnet.to_string(), "172.18.0.0/24");
    assert!(matches!(events.recv().await.unwrap().kind, EventKind::Created));
    assert!(
        !difference(&kernel, &host.kernel.state()).is_empty(),
        "a bridge was made"
    );
    let before = host.local.commits();
    host.controller().networks.delete("lab").await.unwrap();
    assert_eq!(host.local.commits() - before, 2);
    assert!(matches!(events.recv().await.unwrap().kind, EventKind::Destroyed));
    assert_eq!(difference(&kernel, &host.kernel.state()), Vec::<String>::new());
    assert_eq!(host.local.keys().await, [store, vec![]].concat());
    let error = host.controller().networks.find("lab").unwrap_err();
    assert_eq!(error.to_string(), "network lab not found");
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table")]
async fn what_makes_no_sense_is_refused_and_changes_nothing() {
    let host = Host::alone().await;
    host.network("taken", "bridge", Some("10.1.0.0/16"))
        .await
        .unwrap();
    let (kernel, store) = (host.kernel.state(), host.local.everything().await);
    type Change = fn(&mut CreateNetwork);
    type Row = (
        &'static str,
        &'static str,
        Option<&'static str>,
        Change,
        &'static str,
        u16,
    );
    let rows: [Row; 18] = [
        (
            "taken",
            "bridge",
            None,
            |_| {},
            "network with name taken already exists",
            409,
        ),
        ("x", "brigde", None, |_| {}, "plugin \"brigde\" not found", 404),
        (
            "x",
            "host",
            None,
            |_| {},
            "only one instance of \"host\" network is allowed",
            403,
        ),
        (
            "x",
            "bridge",
            Some("10.1.2.0/24"),
            |_| {},
            "invalid pool request: Pool overlaps with other one on this address space: 10.1.2.0/24 overlaps 10.1.0.0/16 \
             of network \"taken\"",
            403,
        ),
        (
            "x",
            "bridge",
            Some("10.2.0.0/32"),
            |_| {},
            "subnet 10.2.0.0/32 is too small for a gateway and one endpoint",
            400,
        ),
        (
            "x",
            "bridge",
            Some("10.2.0.0/24"),
            |r| r.ipam.subnets[0].gateway = "10.3.0.1".parse().ok(),
            "gateway 10.3.0.1 is outside of the subnet 10.2.0.0/24",
            400,
        ),
        (
            "x",
            "bridge",
            Some("10.2.0.0/24"),
            |r| r.ipam.subnets[0].gateway = "10.2.0.255".parse().ok(),
            "gateway 10.2.0.255 is the broadcast address of 10.2.0.0/24",
            400,
        ),
        (
            "x",
            "bridge",
            Some("10.2.0.0/24"),
            |r| {
                let address = "10.2.0.1".parse().unwrap();
                r.ipam.subnets[0].gateway = Some(address);
                r.ipam.subnets[0]
                    .aux_addresses
                    .insert("router".to_owned(), address);
            },
            "gateway 10.2.0.1 is already in use by the auxiliary address \"router\"",
            400,
        ),
        (
            "x",
            "bridge",
            Some("10.2.0.0/24"),
            |r| r.ipam.subnets[0].ip_range = "10.3.0.0/25".parse().ok(),
            "ip-range 10.3.0.0/25 is outside of the subnet 10.2.0.0/24",
            400,
        ),
        (
            "x",
            "bridge",
            Some("fd00:1::/64"),
            |_| {},
            "fd00:1::/64 is given, but IPv6 is not enabled on this network",
            400,
        ),
        (
            "x",
            "bridge",
            None,
            |r| r.enable_ipv4 = false,
            "IPv4 or IPv6 must be enabled",
            400,
        ),
        (
            "x",
            "bridge",
            Some("10.2.0.0/24"),
            |r| r.ipam.subnets.push(asked("10.2.0.0/25")),
            "invalid pool request: Pool overlaps with other one on this address space: 10.2.0.0/25 overlaps 10.2.0.0/24 \
             of network \"x\"",
            403,
        ),
        (
            "x",
            "bridge",
            None,
            |r| r.ipam.driver = model::DriverName::new("nobodys").unwrap(),
            "plugin \"nobodys\" not found",
            404,
        ),
        (
            "x",
            "bridge",
            None,
            |r| r.ipam.driver = model::DriverName::new("dhcp").unwrap(),
            "the IPAM driver \"dhcp\" needs a segment with a server, and a bridge network so made has none",
            400,
        ),
        (
            "x",
            "bridge",
            None,
            |r| r.scope = Some(Scope::Global),
            "networks of the driver \"bridge\" are one host's own",
            400,
        ),
        (
            "x",
            "overlay",
            None,
            |r| r.scope = Some(Scope::Local),
            "cannot downgrade network scope for overlay networks",
            403,
        ),
        (
            "x",
            "bridge",
            None,
            |r| {
                r.options
                    .insert("com.docker.network.bridge.name".to_owned(), "cnm0".to_owned());
            },
            "device name \"cnm0\" is already in use by network \"bridge\"",
            403,
        ),
        (
            "default",
            "bridge",
            None,
            |_| {},
            "operation is not permitted on predefined default network",
            403,
        ),
    ];
    for (name, driver, subnet, change, expected, status) in rows {
        let mut request = create(name, driver, subnet);
        change(&mut request);
        let error = host.controller().networks.create(request).await.unwrap_err();
        let told = error.to_string();
        assert_eq!(told.trim_start_matches("invalid network config:\n"), expected);
        let variant = match error.reason() {
            Error::NotFound { .. } => 404,
            Error::Invalid { .. } => 400,
            Error::Forbidden { .. } => 403,
            Error::Conflict { .. } => 409,
            Error::Unavailable { .. } => 503,
            _ => 500,
        };
        assert_eq!(variant, status, "{expected}");
        assert!(error.hint().is_some(), "{expected}");
        assert_eq!(
            difference(&kernel, &host.kernel.state()),
            Vec::<String>::new(),
            "{expected}"
        );
        assert!(host.local.everything().await == store, "{expected}");
    }
    // What a refused request chose is free again.
    let next = host.network("next", "bridge", Some("10.2.0.0/24")).await.unwrap();
    assert_eq!(next.pools[0].gateway.unwrap().to_string(), "10.2.0.1");
}

#[tokio::test]
async fn a_mistyped_driver_gets_a_hint() {
    let host = Host::alone().await;
    let error = host.network("x", "overlya", None).await.unwrap_err();
    assert_eq!(error.hint().unwrap(), "did you mean the driver \"overlay\"?");
}

#[tokio::test]
async fn a_network_in_use_names_its_users() {
    let host = Host::alone().await;
    let network = host.network("lab", "bridge", None).await.unwrap();
    let sandbox = host.sandbox("web").await.unwrap();
    let endpoint = host.connect(network.id, &sandbox).await.unwrap();
    let error = host.controller().networks.delete("lab").await.unwrap_err();
    let short = endpoint.id.short();
    assert_eq!(
        error.to_string(),
        format!("network lab has active endpoints (name:\"web\" id:\"{short}\")")
    );
    assert!(matches!(error, Error::Forbidden { .. }));
}

#[tokio::test]
async fn prune_removes_what_nobody_uses_and_the_filter_lets_through() {
    let host = Host::alone().await;
    let mut labelled = create("kept", "bridge", None);
    labelled.labels.insert("keep".to_owned(), "yes".to_owned());
    host.controller().networks.create(labelled).await.unwrap();
    host.network("unused", "bridge", None).await.unwrap();
    let used = host.network("used", "bridge", None).await.unwrap();
    let sandbox = host.sandbox("web").await.unwrap();
    host.connect(used.id, &sandbox).await.unwrap();
    let filter = PruneFilter {
        without_labels: vec![("keep".to_owned(), None)],
        ..PruneFilter::default()
    };
    let gone = host.controller().networks.prune(filter).await.unwrap();
    let names: Vec<_> = gone.iter().map(|network| network.name.to_string()).collect();
    assert_eq!(names, ["unused"]);
    let gone = host
        .controller()
        .networks
        .prune(PruneFilter::default())
        .await
        .unwrap();
    assert_eq!(
        gone.len(),
        1,
        "now the labelled one too, and none of the predefined"
    );
}

#[tokio::test]
async fn many_networks_made_at_once_all_get_subnets_of_their_own() {
    let host = std::sync::Arc::new(Host::alone().await);
    let tasks: Vec<_> = (0..20)
        .map(|n| {
            let host = host.clone();
            tokio::spawn(async move { host.network(&format!("n{n}"), "bridge", None).await.unwrap() })
        })
        .collect();
    let mut subnets = Vec::new();
    for task in tasks {
        subnets.push(task.await.unwrap().pools[0].subnet);
    }
    subnets.sort();
    subnets.dedup();
    assert_eq!(subnets.len(), 20);
}

#[tokio::test]
async fn of_two_that_want_one_name_at_once_one_gets_it() {
    let host = Host::alone().await;
    let (one, two) = tokio::join!(
        host.network("lab", "bridge", None),
        host.network("lab", "bridge", None)
    );
    assert_eq!(usize::from(one.is_ok()) + usize::from(two.is_ok()), 1);
    let refused = one.err().or(two.err()).unwrap();
    assert!(matches!(refused, Error::Conflict { .. }), "{refused}");
}

#[tokio::test]
async fn the_default_bridge_takes_the_next_subnet_when_its_own_is_not_free() {
    let mut host = Host::new(1, None);
    let settings = host.settings();
    host.start_with(Settings {
        default_bridge: None,
        ..settings.clone()
    })
    .await
    .unwrap();
    assert!(host.controller().networks.find("bridge").is_err());
    host.network("first", "bridge", Some("172.17.8.0/24"))
        .await
        .unwrap();
    host.stop().await;
    host.start_with(settings).await.unwrap();
    let bridge = host.controller().networks.find("bridge").unwrap();
    assert_eq!(bridge.pools[0].subnet.to_string(), "172.18.0.0/24");
}

#[tokio::test]
async fn ids_and_names_are_found_as_docker_finds_them() {
    let host = Host::alone().await;
    let network = host.network("lab", "bridge", None).await.unwrap();
    let networks = &host.controller().networks;
    for text in ["lab", &network.id.to_string(), &network.id.short()] {
        assert_eq!(networks.find(text).unwrap().id, network.id, "{text}");
    }
    assert!(NetworkName::new("lab").is_ok());
}

#[tokio::test]
async fn names_are_not_told_to_the_host_where_it_has_no_address() {
    let host = Host::alone().await;
    let before = host.local.everything().await;
    for (key, internal) in [
        ("com.docker.network.bridge.inhibit_ipv4", false),
        ("com.docker.network.bridge.gateway_mode_ipv4", true),
    ] {
        let mut request = create("lab", "bridge", Some("10.1.0.0/24"));
        request.internal = internal;
        let value = if internal { "isolated" } else { "true" };
        request.options = [(key, value), ("cnm.dns.host", "true")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
        let error = host
            .controller()
            .networks
            .create(request.clone())
            .await
            .unwrap_err();
        assert!(
            error.to_string().contains("cnm.dns.host") && error.hint().is_some(),
            "{error}"
        );
        request.options.remove("cnm.dns.host");
        assert!(host.local.everything().await == before, "nothing stays");
        let made = host.controller().networks.create(request).await.unwrap();
        host.controller()
            .networks
            .delete(&made.id.to_string())
            .await
            .unwrap();
    }
}
