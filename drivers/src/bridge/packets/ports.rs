//! Packets to published ports: from outside, from the host, from containers, and those that must not pass.

use super::*;
use crate::lab::datagram;

const BOX: &[&str] = &["172.18.1.2/24", "fd00:1::2/64"];
const NEIGHBOUR: &[&str] = &["172.18.1.3/24", "fd00:1::3/64"];

fn dual() -> Network {
    network("bridge", 1, &["172.18.1.0/24", "fd00:1::/64"])
}

#[test]
fn the_outside_reaches_published_ports_of_both_families_only() {
    let scene = Scene::new();
    with_ipv6(&scene);
    let network = dual();
    let [container] = scene.with(&network, [BOX]);
    let texts = [
        "0.0.0.0:8080->80/tcp",
        "[::]:8080->80/tcp",
        "198.51.100.1:81->81/tcp",
        "0.0.0.0:53->5353/udp",
    ];
    scene.publish(&network, BOX, texts);
    let outside = |at| seen(&scene.outside, at, &container, "172.18.1.2:80");
    assert_eq!(outside("198.51.100.1:8080"), ip("198.51.100.2"));
    assert_eq!(
        outside("198.51.100.1:80"),
        None,
        "it is the container's port only"
    );
    let outside = |at| seen(&scene.outside, at, &container, "[fd00:1::2]:80");
    assert_eq!(outside("[2001:db8::1]:8080"), ip("2001:db8::2"));
    let one_address = seen(&scene.outside, "198.51.100.1:81", &container, "172.18.1.2:81");
    assert_eq!(one_address, ip("198.51.100.2"));
    let asked = datagram(
        &scene.outside,
        server("198.51.100.1:53"),
        &container,
        server("172.18.1.2:5353"),
    );
    assert_eq!(asked, ip("198.51.100.2"));
}

#[test]
fn containers_own_addresses_are_not_reached_from_outside() {
    let scene = Scene::new();
    with_ipv6(&scene);
    let network = dual();
    let [container] = scene.with(&network, [BOX]);
    scene.publish(&network, BOX, ["0.0.0.0:8080->80/tcp", "[::]:8080->80/tcp"]);
    scene.route("172.18.1.0/24", "198.51.100.1");
    scene.route("fd00:1::/64", "2001:db8::1");
    for at in ["172.18.1.2:80", "[fd00:1::2]:80", "172.18.1.2:22"] {
        assert_eq!(seen(&scene.outside, at, &container, at), None, "{at}");
    }
    assert!(!pings(&scene.outside, "172.18.1.2"));
}

#[test]
fn the_host_reaches_published_ports_by_all_of_its_addresses() {
    let scene = Scene::new();
    let network = dual();
    let [container] = scene.with(&network, [BOX]);
    let texts = [
        "0.0.0.0:8080->80/tcp",
        "127.0.0.1:8081->80/tcp",
        "0.0.0.0:53->53/udp",
    ];
    scene.publish(&network, BOX, texts);
    for (at, client) in [
        ("127.0.0.1:8080", "172.18.1.1"),
        ("127.0.0.1:8081", "172.18.1.1"),
        ("127.0.5.5:8080", "172.18.1.1"),
        ("198.51.100.1:8080", "198.51.100.1"),
        ("172.18.1.1:8080", "172.18.1.1"),
    ] {
        let by = seen(&scene.host.pin, at, &container, "172.18.1.2:80");
        assert_eq!(by, ip(client), "{at}");
    }
    let at = server("127.0.0.1:53");
    let asked = datagram(&scene.host.pin, at, &container, server("172.18.1.2:53"));
    assert_eq!(asked, ip("172.18.1.1"));
    assert_eq!(
        seen(&scene.host.pin, "198.51.100.1:8081", &container, "172.18.1.2:80"),
        None,
        "it is bound to another address"
    );
}

#[test]
fn loopback_ports_are_not_reached_from_a_segment() {
    let scene = Scene::new();
    let network = dual();
    let [container, neighbour] = scene.with(&network, [BOX, NEIGHBOUR]);
    scene.publish(&network, BOX, ["127.0.0.1:8080->80/tcp"]);
    let local = seen(&scene.host.pin, "127.0.0.1:8080", &container, "172.18.1.2:80");
    assert!(local.is_some(), "it is reached from the host");
    for (netns, gateway, device) in [
        (&scene.outside, "198.51.100.1", "up0"),
        (&neighbour, "172.18.1.1", "eth0"),
    ] {
        // As a machine that takes loopback addresses for its neighbour's.
        let setting = format!("net.ipv4.conf.{device}.route_localnet=1");
        let source = if device == "up0" {
            "198.51.100.2"
        } else {
            "172.18.1.3"
        };
        for words in [
            vec!["sysctl", "-q", &setting],
            vec!["ip", "address", "del", "127.0.0.1/8", "dev", "lo"],
            vec!["ip", "route", "add", "127.0.0.0/8", "via", gateway, "src", source],
        ] {
            command(netns, &words).unwrap_or_else(|| panic!("{words:?}"));
        }
        let by = seen(netns, "127.0.0.1:8080", &container, "172.18.1.2:80");
        assert_eq!(by, None, "from {device}");
        // Nor a server of the host's own.
        let by = seen(netns, "127.0.0.1:9090", &scene.host.pin, "127.0.0.1:9090");
        assert_eq!(by, None, "from {device}");
    }
}

#[test]
fn containers_reach_published_ports_by_the_hosts_addresses() {
    let scene = Scene::new();
    for (number, icc, netfilter) in [(1, "true", 1), (2, "true", 0), (3, "false", 0), (4, "false", 1)] {
        if !bridged_packets_are_filtered(&scene, netfilter) && netfilter == 1 {
            eprintln!("skipped: this kernel has no br_netfilter");
            continue;
        }
        let subnet = format!("172.18.{number}.0/24");
        let network = Network {
            options: labels(&[("com.docker.network.bridge.enable_icc", icc)]),
            ..network("bridge", number, &[&subnet])
        };
        let [one, two] = [2, 3].map(|host| format!("172.18.{number}.{host}/24"));
        let [container, neighbour] = scene.with(&network, [&[&one], &[&two]]);
        let port = format!("0.0.0.0:808{number}->80/tcp");
        scene.publish(&network, &[&one], [&port]);
        let (server, gateway) = (format!("172.18.{number}.2:80"), format!("172.18.{number}.1"));
        for at in [
            format!("198.51.100.1:808{number}"),
            format!("{gateway}:808{number}"),
        ] {
            for client in [&container, &neighbour] {
                let by = seen(client, &at, &container, &server);
                // Bridged at once, a neighbour's packets keep their source.
                let kept = netfilter == 1 && client == &neighbour;
                let own = format!("172.18.{number}.3");
                let wanted = if kept { &own } else { &gateway };
                assert_eq!(by, ip(wanted), "icc {icc}, br_netfilter {netfilter}, by {at}");
            }
        }
        let direct = seen(&neighbour, &server, &container, &server);
        assert_eq!(
            direct.is_some(),
            icc == "true",
            "icc {icc}, br_netfilter {netfilter}"
        );
    }
}

/// Switches `br_netfilter` for both families; false where the kernel doesn't have it.
pub(super) fn bridged_packets_are_filtered(scene: &Scene, on: u8) -> bool {
    let switch = |family| {
        let setting = format!("echo {on} > /proc/sys/net/bridge/bridge-nf-call-{family}tables");
        command(&scene.host.pin, &["sh", "-c", &setting]).is_some()
    };
    switch("ip") && switch("ip6")
}

#[test]
fn a_network_without_icc_stays_closed_and_its_ports_open_whoever_switches_br_netfilter() {
    let scene = Scene::new();
    let network = Network {
        options: labels(&[("com.docker.network.bridge.enable_icc", "false")]),
        ..dual()
    };
    let [container, neighbour] = scene.with(&network, [BOX, NEIGHBOUR]);
    let texts = ["0.0.0.0:8080->80/tcp", "[::]:8080->80/tcp", "0.0.0.0:53->53/udp"];
    scene.publish(&network, BOX, texts);
    let access = Access {
        ports: texts.map(ports).into(),
        ..Access::default()
    };
    for on in [1, 0, 1] {
        if !bridged_packets_are_filtered(&scene, on) && on == 1 {
            eprintln!("skipped: this kernel has no br_netfilter");
            continue;
        }
        let view = scene.host.view(
            &scene.lab,
            &network,
            [
                (wearing(&network, BOX), access.clone()),
                (wearing(&network, NEIGHBOUR), Access::default()),
            ],
        );
        let driver = scene.host.driver("bridge");
        scene.lab.run(driver.repair(&view)).expect("a repair");
        for (at, own) in [
            ("172.18.1.1:8080", "172.18.1.2:80"),
            ("198.51.100.1:8080", "172.18.1.2:80"),
            ("[fd00:1::1]:8080", "[fd00:1::2]:80"),
        ] {
            for client in [&container, &neighbour] {
                let by = seen(client, at, &container, own);
                assert!(by.is_some(), "br_netfilter {on}, by {at}, from {client:?}");
            }
            assert_eq!(
                seen(&neighbour, own, &container, own),
                None,
                "br_netfilter {on}, {own}"
            );
        }
        let asked = datagram(
            &neighbour,
            server("172.18.1.1:53"),
            &container,
            server("172.18.1.2:53"),
        );
        assert!(asked.is_some(), "br_netfilter {on}");
        assert!(!pings(&neighbour, "172.18.1.2") && !pings(&neighbour, "fd00:1::2"));
    }
}

#[test]
fn a_container_of_another_network_reaches_published_ports_only() {
    let scene = Scene::new();
    let network_one = network("bridge", 1, &["172.18.1.0/24"]);
    let [container] = scene.with(&network_one, [&["172.18.1.2/24"]]);
    let [stranger] = scene.with(&network("bridge", 2, &["172.18.2.0/24"]), [&["172.18.2.2/24"]]);
    scene.publish(&network_one, &["172.18.1.2/24"], ["0.0.0.0:8080->80/tcp"]);
    for at in ["198.51.100.1:8080", "172.18.2.1:8080"] {
        let by = seen(&stranger, at, &container, "172.18.1.2:80");
        assert_eq!(by, ip("172.18.1.1"), "{at}");
    }
    let direct = seen(&stranger, "172.18.1.2:80", &container, "172.18.1.2:80");
    assert_eq!(direct, None);
}

#[test]
fn what_is_given_back_leads_nowhere() {
    let scene = Scene::new();
    let network = network("bridge", 1, &["172.18.1.0/24"]);
    let [container] = scene.with(&network, [&["172.18.1.2/24"]]);
    let access = |texts: &[&str]| Access {
        ports: texts.iter().map(|text| ports(text)).collect(),
        ..Access::default()
    };
    let [first, second] = [
        access(&["0.0.0.0:8080->80/tcp", "0.0.0.0:8000-8009->8000-8009/tcp"]),
        access(&["0.0.0.0:8081->80/tcp"]),
    ];
    let asked = |at| seen(&scene.outside, at, &container, "172.18.1.2:80").is_some();
    scene.let_in(&network, &["172.18.1.2/24"], &Access::default(), &first);
    assert!(asked("198.51.100.1:8080") && !asked("198.51.100.1:8081"));
    scene.let_in(&network, &["172.18.1.2/24"], &first, &second);
    assert!(!asked("198.51.100.1:8080") && asked("198.51.100.1:8081"));
    scene.let_in(&network, &["172.18.1.2/24"], &second, &Access::default());
    assert!(!asked("198.51.100.1:8081"));
}

#[test]
fn ten_thousand_ports_lead_where_they_should() {
    let scene = Scene::new();
    let network = network("bridge", 1, &["172.18.1.0/24"]);
    let [container] = scene.with(&network, [&["172.18.1.2/24"]]);
    let mut known = Access::default();
    for (text, at, to) in [
        (
            "0.0.0.0:20000-29999->20000-29999/tcp",
            "198.51.100.1:29999",
            "172.18.1.2:29999",
        ),
        (
            "0.0.0.0:30000-39999->20000-29999/tcp",
            "198.51.100.1:39999",
            "172.18.1.2:29999",
        ),
    ] {
        let start = std::time::Instant::now();
        let more = Access {
            ports: known.ports.iter().cloned().chain([ports(text)]).collect(),
            ..Access::default()
        };
        scene.let_in(&network, &["172.18.1.2/24"], &known, &more);
        known = more;
        eprintln!("{text}: {:?}", start.elapsed());
        assert!(seen(&scene.outside, at, &container, to).is_some(), "{text}");
    }
}

#[test]
fn a_part_given_back_closes_and_the_rest_goes_on() {
    let scene = Scene::new();
    let network = network("bridge", 1, &["172.18.1.0/24"]);
    let [container] = scene.with(&network, [&["172.18.1.2/24"]]);
    let access = |texts: &[&str]| Access {
        ports: texts.iter().map(|text| ports(text)).collect(),
        ..Access::default()
    };
    let whole = access(&["0.0.0.0:8000-8009->8000-8009/tcp", "0.0.0.0:9000-9001->80-81/tcp"]);
    let rest = access(&[
        "0.0.0.0:8000-8004->8000-8004/tcp",
        "0.0.0.0:8006-8009->8006-8009/tcp",
    ]);
    scene.let_in(&network, &["172.18.1.2/24"], &Access::default(), &whole);
    scene.let_in(&network, &["172.18.1.2/24"], &whole, &rest);
    let asked = |port| {
        let (at, to) = (format!("198.51.100.1:{port}"), format!("172.18.1.2:{port}"));
        seen(&scene.outside, &at, &container, &to).is_some()
    };
    assert!(asked(8004) && asked(8006) && !asked(8005) && !asked(9000));
}

#[test]
fn the_bridge_takes_answers_to_loopback_only_while_a_port_needs_it() {
    let scene = Scene::new();
    let network = network("bridge", 1, &["172.18.1.0/24"]);
    scene.with(&network, [&["172.18.1.2/24"], &["172.18.1.3/24"]]);
    let device = format!("br-{}", network.id.short());
    let setting = format!("net.ipv4.conf.{device}.route_localnet");
    let is_set = || {
        let value = command(&scene.host.pin, &["sysctl", "-n", &setting]);
        value.expect("a setting").trim() == "1"
    };
    let access = |text: &str| Access {
        ports: vec![ports(text)],
        ..Access::default()
    };
    let (local, all, other) = (
        access("127.0.0.1:8080->80/tcp"),
        access("0.0.0.0:8081->80/tcp"),
        access("198.51.100.1:8081->80/tcp"),
    );
    let none = Access::default();
    let (one, two) = (&["172.18.1.2/24"], &["172.18.1.3/24"]);
    assert!(!is_set());
    scene.let_in(&network, one, &none, &local);
    scene.let_in(&network, two, &none, &all);
    assert!(is_set());
    scene.let_in(&network, one, &local, &none);
    assert!(is_set(), "the neighbour's port needs it");
    scene.let_in(&network, two, &all, &other);
    assert!(!is_set(), "what is bound to another address doesn't");
    scene.let_in(&network, one, &none, &local);
    assert!(is_set(), "and back");
}
