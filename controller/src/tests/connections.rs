//! Sandboxes and endpoints on one host.

use std::sync::Arc;

use kernel::{Key, Netns, Object};
use model::{EndpointId, Sandbox, Subnet};

use super::{
    host::{Host, create, difference},
    linux::{in_namespaces_of_its_own, sandbox, start},
};
use crate::{Connect, CreateSandbox, Error, EventKind, Namespace};

fn default_route(host: &Host, sandbox: &Sandbox) -> Option<(String, String)> {
    let everything: Subnet = "0.0.0.0/0".parse().unwrap();
    let netns = Netns::Pinned(sandbox.netns().unwrap().clone());
    match host.kernel.state().get(&Key::Route(netns, everything)) {
        Some(Object::Route(route)) => Some((route.link.to_string(), route.gateway.unwrap().to_string())),
        _ => None,
    }
}

#[tokio::test]
async fn a_sandbox_joins_and_leaves_without_a_trace_in_two_commits_each() {
    let host = Host::alone().await;
    let network = host.network("lab", "bridge", None).await.unwrap();
    let (kernel, store) = (host.kernel.state(), host.local.keys().await);
    let mut events = host.controller().events();
    let count = || host.local.commits();

    let before = count();
    let sandbox = host.sandbox("web").await.unwrap();
    assert_eq!(count() - before, 2);
    let before = count();
    let endpoint = host.connect(network.id, &sandbox).await.unwrap();
    assert_eq!(count() - before, 2);
    assert_eq!(endpoint.addresses.ipv4.unwrap().to_string(), "172.18.0.2/24");
    assert_eq!(endpoint.addresses.mac.unwrap().to_string(), "02:42:ac:12:00:02");
    assert_eq!(endpoint.interface.as_ref().unwrap().as_str(), "eth0");
    let short = sandbox.container.unwrap().short();
    assert_eq!(endpoint.dns_names, ["web".to_owned(), short]);
    assert_eq!(
        default_route(&host, &sandbox),
        Some(("eth0".to_owned(), "172.18.0.1".to_owned()))
    );
    assert!(matches!(
        events.recv().await.unwrap().kind,
        EventKind::Connected(_)
    ));
    let hosts = std::fs::read_to_string(host.files("web").join("hosts")).unwrap();
    assert!(hosts.ends_with("172.18.0.2\tweb\n"), "{hosts}");
    let resolv = std::fs::read_to_string(host.files("web").join("resolv.conf")).unwrap();
    assert!(resolv.contains("nameserver 127.0.0.11\n"), "{resolv}");

    let before = count();
    host.controller()
        .endpoints
        .disconnect(endpoint.id, false)
        .await
        .unwrap();
    assert_eq!(count() - before, 2);
    assert_eq!(default_route(&host, &sandbox), None);
    assert!(matches!(
        events.recv().await.unwrap().kind,
        EventKind::Disconnected(_)
    ));
    let hosts = std::fs::read_to_string(host.files("web").join("hosts")).unwrap();
    assert!(!hosts.contains("172.18"), "{hosts}");
    let before = count();
    host.controller().sandboxes.delete(sandbox.id).await.unwrap();
    assert_eq!(count() - before, 2);
    host.controller().sandboxes.delete(sandbox.id).await.unwrap();
    assert_eq!(difference(&kernel, &host.kernel.state()), Vec::<String>::new());
    assert_eq!(host.local.keys().await, store);
}

#[tokio::test]
async fn deleting_a_sandbox_disconnects_it_everywhere() {
    let host = Host::alone().await;
    let one = host.network("one", "bridge", None).await.unwrap();
    let two = host.network("two", "bridge", None).await.unwrap();
    let (kernel, store) = (host.kernel.state(), host.local.keys().await);
    let sandbox = host.sandbox("web").await.unwrap();
    host.connect(one.id, &sandbox).await.unwrap();
    host.connect(two.id, &sandbox).await.unwrap();
    host.controller().sandboxes.delete(sandbox.id).await.unwrap();
    assert_eq!(difference(&kernel, &host.kernel.state()), Vec::<String>::new());
    assert_eq!(host.local.keys().await, store);
}

#[tokio::test]
async fn the_default_gateway_follows_the_networks_and_their_priorities() {
    let host = Host::alone().await;
    let a = host.network("a", "bridge", Some("10.1.0.0/24")).await.unwrap();
    let b = host.network("b", "bridge", Some("10.2.0.0/24")).await.unwrap();
    let mut internal = create("0-internal", "bridge", Some("10.3.0.0/24"));
    internal.internal = true;
    let internal = host.controller().networks.create(internal).await.unwrap();
    let sandbox = host.sandbox("web").await.unwrap();
    let gateway = || default_route(&host, &sandbox).map(|(_, gateway)| gateway);
    host.connect(internal.id, &sandbox).await.unwrap();
    assert_eq!(gateway(), None, "an internal network has no way out");
    host.connect(b.id, &sandbox).await.unwrap();
    assert_eq!(gateway().unwrap(), "10.2.0.1");
    let first = host.connect(a.id, &sandbox).await.unwrap();
    assert_eq!(
        default_route(&host, &sandbox).unwrap(),
        ("eth2".to_owned(), "10.1.0.1".to_owned())
    );
    host.controller()
        .endpoints
        .disconnect(first.id, false)
        .await
        .unwrap();
    assert_eq!(gateway().unwrap(), "10.2.0.1", "the next one takes over");
    let mut low = Connect::new(a.id, sandbox.id, "web");
    low.gateway_priority = -1;
    let low = host.controller().endpoints.connect(low).await.unwrap();
    assert_eq!(gateway().unwrap(), "10.2.0.1");
    assert_eq!(
        low.interface.as_ref().unwrap().as_str(),
        "eth2",
        "the free number is used again"
    );
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table")]
async fn what_makes_no_sense_is_refused_and_changes_nothing() {
    let host = Host::alone().await;
    let lab = host.network("lab", "bridge", Some("10.1.0.0/24")).await.unwrap();
    let other = host.sandbox("test01").await.unwrap();
    let mut request = Connect::new(lab.id, other.id, "test01");
    request.ipv4 = Some("10.1.0.9".parse().unwrap());
    host.controller().endpoints.connect(request).await.unwrap();
    let sandbox = host.sandbox("web").await.unwrap();
    let bridge = host.controller().networks.find("bridge").unwrap();
    let on_host = CreateSandbox {
        kind: Namespace::Host,
        ..host.sandbox_request("on-host")
    };
    let on_host = host.controller().sandboxes.create(on_host).await.unwrap();
    let (kernel, store) = (host.kernel.state(), host.local.everything().await);
    let with = |change: &dyn Fn(&mut Connect)| {
        let mut request = Connect::new(lab.id, sandbox.id, "web");
        change(&mut request);
        request
    };
    let rows = [
        (
            with(&|r| r.ipv4 = "10.1.0.9".parse().ok()),
            "Address already in use: 10.1.0.9 is held by \"test01\"",
        ),
        (
            with(&|r| r.ipv4 = "10.1.0.1".parse().ok()),
            "Address already in use: 10.1.0.1 is held by the network's gateway",
        ),
        (
            with(&|r| r.ipv4 = "10.2.0.1".parse().ok()),
            "address 10.2.0.1 is not in a subnet of network lab",
        ),
        (
            with(&|r| r.ipv4 = "10.1.0.0".parse().ok()),
            "address 10.1.0.0 is the network address of 10.1.0.0/24",
        ),
        (
            with(&|r| r.ipv6 = "fd00::1".parse().ok()),
            "address fd00::1 is asked for, but network lab has no IPv6",
        ),
        (
            with(&|r| r.name = "test01".to_owned()),
            "endpoint with name test01 already exists in network lab",
        ),
        (
            with(&|r| r.name = "a b".to_owned()),
            "\"a b\" is not a valid endpoint name",
        ),
        (
            with(&|r| r.link_local = vec!["10.0.0.1".parse().unwrap()]),
            "10.0.0.1 is not a link-local address",
        ),
        (
            with(&|r| {
                r.network = bridge.id;
                r.ipv4 = "172.17.0.9".parse().ok();
            }),
            "user specified IP address is supported on user defined networks only",
        ),
        (
            with(&|r| {
                r.network = bridge.id;
                r.aliases = vec!["x".to_owned()];
            }),
            "network-scoped alias is supported only for containers in user defined networks",
        ),
        (
            with(&|r| r.sandbox = on_host.id),
            "container sharing network namespace with another container or host cannot be connected to any other network",
        ),
        (
            with(&|r| {
                r.options
                    .insert("com.docker.network.endpoint.ifname".to_owned(), "lo".to_owned());
            }),
            "interface name \"lo\" is already in use in the container",
        ),
    ];
    for (request, expected) in rows {
        let error = host.controller().endpoints.connect(request).await.unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert_eq!(
            difference(&kernel, &host.kernel.state()),
            Vec::<String>::new(),
            "{expected}"
        );
        assert!(host.local.everything().await == store, "{expected}");
    }
    let error = host
        .controller()
        .endpoints
        .disconnect(EndpointId::random(), false)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }));
}

#[tokio::test]
async fn a_container_in_the_hosts_namespace_joins_the_host_network_alone() {
    let host = Host::alone().await;
    let network = host.controller().networks.find("host").unwrap();
    let kernel = host.kernel.state();
    let request = CreateSandbox {
        kind: Namespace::Host,
        ..host.sandbox_request("on-host")
    };
    let sandbox = host.controller().sandboxes.create(request).await.unwrap();
    let endpoint = host.connect(network.id, &sandbox).await.unwrap();
    assert_eq!(endpoint.interface, None);
    assert_eq!(endpoint.addresses, model::EndpointAddresses::default());
    assert_eq!(difference(&kernel, &host.kernel.state()), Vec::<String>::new());
    host.controller().sandboxes.delete(sandbox.id).await.unwrap();
}

#[tokio::test]
async fn none_goes_with_nothing_else() {
    let host = Host::alone().await;
    let none = host.controller().networks.find("none").unwrap();
    let lab = host.network("lab", "bridge", None).await.unwrap();
    let sandbox = host.sandbox("web").await.unwrap();
    host.connect(none.id, &sandbox).await.unwrap();
    let error = host.connect(lab.id, &sandbox).await.unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }), "{error}");
}

#[tokio::test]
async fn an_overlay_endpoint_gets_its_way_out_over_the_gateway_bridge() {
    let host = Host::alone().await;
    let overlay = host
        .network("ol1", "overlay", Some("172.16.2.0/24"))
        .await
        .unwrap();
    assert_eq!(overlay.vnis[0].get(), 256);
    let lab = host.network("lab", "bridge", Some("10.1.0.0/24")).await.unwrap();
    let sandbox = host.sandbox("web").await.unwrap();
    let on_gateway_bridge = || {
        let snapshot = host.controller().snapshot().borrow().clone();
        let networks = snapshot.networks.clone();
        snapshot
            .endpoints_of(&sandbox.id)
            .find(|endpoint| networks[&endpoint.network].name.as_str() == "cnm_gwbridge")
            .cloned()
    };
    host.connect(overlay.id, &sandbox).await.unwrap();
    let way_out = on_gateway_bridge().expect("an endpoint on the gateway bridge");
    assert_eq!(way_out.interface.as_ref().unwrap().as_str(), "eth1");
    assert_eq!(default_route(&host, &sandbox).unwrap().0, "eth1");
    let other = host.connect(lab.id, &sandbox).await.unwrap();
    assert!(on_gateway_bridge().is_none(), "the bridge network is a way out");
    assert_eq!(default_route(&host, &sandbox).unwrap().1, "10.1.0.1");
    host.controller()
        .endpoints
        .disconnect(other.id, false)
        .await
        .unwrap();
    assert!(on_gateway_bridge().is_some());
    host.controller().sandboxes.delete(sandbox.id).await.unwrap();
    host.controller().networks.delete("ol1").await.unwrap();
}

#[tokio::test]
async fn many_connects_at_once_get_addresses_and_interfaces_of_their_own() {
    let host = Arc::new(Host::alone().await);
    let network = host.network("lab", "bridge", Some("10.1.0.0/24")).await.unwrap();
    let mut tasks = Vec::new();
    for n in 0..16 {
        let (host, network) = (host.clone(), network.id);
        tasks.push(tokio::spawn(async move {
            let sandbox = host.sandbox(&format!("c{n}")).await.unwrap();
            host.connect(network, &sandbox).await.unwrap()
        }));
    }
    let mut addresses = Vec::new();
    for task in tasks {
        addresses.push(task.await.unwrap().addresses.ipv4.unwrap());
    }
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 16);
}

#[tokio::test]
async fn of_two_that_want_one_address_at_once_one_gets_it_and_the_other_is_told_by_whom() {
    let host = Host::alone().await;
    let network = host.network("lab", "bridge", Some("10.1.0.0/24")).await.unwrap();
    for turn in 0..10 {
        let names = [format!("a{turn}"), format!("b{turn}")];
        let one = host.sandbox(&names[0]).await.unwrap();
        let two = host.sandbox(&names[1]).await.unwrap();
        let wanting = |sandbox: &Sandbox| Connect {
            ipv4: "10.1.0.7".parse().ok(),
            ..Connect::new(network.id, sandbox.id, sandbox.hostname.clone())
        };
        let endpoints = &host.controller().endpoints;
        let (first, second) =
            tokio::join!(endpoints.connect(wanting(&one)), endpoints.connect(wanting(&two)));
        let (won, lost, winner) = match (first, second) {
            (Ok(won), Err(lost)) => (won, lost, &names[0]),
            (Err(lost), Ok(won)) => (won, lost, &names[1]),
            other => panic!("one of the two: {other:?}"),
        };
        assert!(matches!(lost, Error::Forbidden { .. }), "{lost}");
        assert!(lost.to_string().contains(&format!("{winner:?}")), "{lost}");
        endpoints.disconnect(won.id, false).await.unwrap();
        for sandbox in [one, two] {
            host.controller().sandboxes.delete(sandbox.id).await.unwrap();
        }
    }
}

#[tokio::test]
async fn the_hundredth_connection_costs_what_the_second_did() {
    let host = Host::alone().await;
    let network = host.network("lab", "bridge", Some("10.1.0.0/16")).await.unwrap();
    let mut costs = Vec::new();
    for n in 0..100 {
        let sandbox = host.sandbox(&format!("c{n}")).await.unwrap();
        let before = (host.kernel.steps(), host.kernel.observed(), host.local.commits());
        host.connect(network.id, &sandbox).await.unwrap();
        let after = (host.kernel.steps(), host.kernel.observed(), host.local.commits());
        costs.push((after.0 - before.0, after.1 - before.1, after.2 - before.2));
    }
    assert_eq!(costs[1], costs[99], "steps, lookups, commits");
}

#[tokio::test]
async fn a_sandbox_that_goes_while_it_is_being_connected_takes_the_endpoint_along() {
    let host = Arc::new(Host::alone().await);
    let network = host.network("lab", "bridge", None).await.unwrap();
    let (kernel, store) = (host.kernel.state(), host.local.keys().await);
    for _ in 0..20 {
        let sandbox = host.sandbox("web").await.unwrap();
        let (connected, deleted) = tokio::join!(
            host.connect(network.id, &sandbox),
            host.controller().sandboxes.delete(sandbox.id)
        );
        deleted.unwrap();
        if let Err(error) = connected {
            assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
        }
        assert_eq!(difference(&kernel, &host.kernel.state()), Vec::<String>::new());
        assert_eq!(host.local.keys().await, store);
    }
}

#[tokio::test]
async fn a_renamed_endpoint_is_known_by_its_new_name_alone() {
    let host = Host::alone().await;
    let network = host.network("lab", "bridge", None).await.unwrap();
    let store = host.local.keys().await;
    let (web, db) = (
        host.sandbox("web").await.unwrap(),
        host.sandbox("db").await.unwrap(),
    );
    let endpoint = host.connect(network.id, &web).await.unwrap();
    host.connect(network.id, &db).await.unwrap();
    let endpoints = &host.controller().endpoints;
    let taken = endpoints.rename(endpoint.id, "db").await.unwrap_err();
    assert_eq!(
        taken.to_string(),
        "endpoint with name db already exists in network lab"
    );
    let renamed = endpoints.rename(endpoint.id, "shop").await.unwrap();
    assert_eq!(
        (renamed.name.as_str(), renamed.dns_names[0].as_str()),
        ("shop", "shop")
    );
    assert_eq!(endpoints.get(endpoint.id).unwrap(), renamed);
    let third = host.sandbox("third").await.unwrap();
    let free = endpoints.connect(Connect::new(network.id, third.id, "web")).await;
    free.expect("the old name is free");
    for sandbox in [&web, &db, &third] {
        host.controller().sandboxes.delete(sandbox.id).await.unwrap();
    }
    assert_eq!(host.local.keys().await, store);
}

#[tokio::test]
async fn an_endpoint_that_was_disconnected_while_it_waited_for_its_turn_is_not_joined() {
    let host = Host::alone().await;
    let lab = host.network("lab", "bridge", Some("10.1.0.0/24")).await.unwrap();
    let one = host.sandbox("one").await.unwrap();
    let endpoint = host.connect(lab.id, &one).await.unwrap();
    let core = &host.controller().core;
    let connected = host.kernel.state();
    core.attachments.remove(endpoint.id);
    crate::endpoints::join_late(core, endpoint.id).await.unwrap();
    assert!(
        core.attachments.has(endpoint.id),
        "one that is connected still is joined"
    );
    assert!(host.kernel.state() == connected);
    host.controller()
        .endpoints
        .disconnect(endpoint.id, false)
        .await
        .unwrap();
    let before = host.kernel.state();
    crate::endpoints::join_late(core, endpoint.id).await.unwrap();
    assert!(!core.attachments.has(endpoint.id) && host.kernel.state() == before);
}

#[tokio::test]
async fn what_a_connection_cannot_have_is_refused_before_anything_is_made() {
    let host = Host::alone().await;
    let network = host.network("lab", "bridge", Some("10.1.0.0/24")).await.unwrap();
    let sandbox = host.sandbox("one").await.unwrap();
    let before = (host.kernel.state(), host.local.everything().await);
    let sysctls = |text: &str| {
        let key = "com.docker.network.endpoint.sysctls".to_owned();
        Connect {
            options: [(key, text.to_owned())].into(),
            ..Connect::new(network.id, sandbox.id, "one")
        }
    };
    let gateway = model::MacAddress::from_ip("10.1.0.1".parse().unwrap());
    let of_the_gateway = Connect {
        mac: Some(gateway),
        ..Connect::new(network.id, sandbox.id, "one")
    };
    for (request, says) in [
        (of_the_gateway, "is that of the gateway of network lab"),
        (
            sysctls("net.ipv4.ip_forward=1"),
            "is not a sysctl of an interface",
        ),
    ] {
        let error = host.controller().endpoints.connect(request).await.unwrap_err();
        assert!(
            error.to_string().contains(says) && error.hint().is_some(),
            "{error}"
        );
        let after = (host.kernel.state(), host.local.everything().await);
        assert!(after == before, "{says}: nothing is made");
    }
    for (key, fits) in [
        ("cnm.routes", true),
        ("cnm.nosuch", false),
        ("com.example.mine", true),
    ] {
        let value = if key == "cnm.routes" {
            "10.9.0.0/16=link"
        } else {
            "1"
        };
        let options = [(key.to_owned(), value.to_owned())].into();
        let checked = crate::Endpoints::check_options(&network, &options);
        assert_eq!(checked.is_ok(), fits, "{key}: {checked:?}");
    }
}

#[test]
fn a_sysctl_that_the_kernel_does_not_have_is_refused_with_a_hint() {
    in_namespaces_of_its_own(async || {
        let folder = tempfile::tempdir().unwrap();
        let stores = store::Stores::alone(Arc::new(store::memory::Memory::new()));
        let controller = start(folder.path(), &stores).await;
        let request = create("lab", "bridge", Some("10.1.0.0/24"));
        let lab = controller.networks.create(request).await.unwrap();
        let one = sandbox(&controller, folder.path(), "one").await;
        let connect = |text: &str| {
            let key = "com.docker.network.endpoint.sysctls".to_owned();
            let request = Connect {
                options: [(key, text.to_owned())].into(),
                ..Connect::new(lab.id, one.id, "one")
            };
            controller.endpoints.connect(request)
        };
        let error = connect("net.ipv4.conf.IFNAME.nosuch=1,net.ipv4.conf.IFNAME.log_martians=1")
            .await
            .unwrap_err();
        let told = error.to_string();
        assert_eq!(told, "this kernel has no sysctl \"net.ipv4.conf.IFNAME.nosuch\"");
        assert!(matches!(error, Error::Invalid { .. }) && error.hint().is_some());
        assert!(controller.snapshot().borrow().endpoints.is_empty());
        connect("net.ipv4.conf.IFNAME.log_martians=1").await.unwrap();
        controller.stop().await;
    });
}
