//! Packets through gateways of each mode, across links, and past the user's chain.

use super::*;
use crate::{LinkAccess, samples::exposed};

const BOX: &[&str] = &["172.18.1.2/24"];

fn with(options: &[(&str, &str)]) -> Network {
    let options: Vec<_> = options
        .iter()
        .map(|(name, value)| (format!("com.docker.network.{name}"), *value))
        .collect();
    let pairs: Vec<_> = options
        .iter()
        .map(|(name, value)| (name.as_str(), *value))
        .collect();
    Network {
        options: labels(&pairs),
        ..network("bridge", 1, &["172.18.1.0/24"])
    }
}

#[test]
fn a_routed_network_is_reached_at_its_published_ports() {
    let scene = Scene::new();
    let network = with(&[("bridge.gateway_mode_ipv4", "routed")]);
    let [container] = scene.with(&network, [BOX]);
    scene.publish(&network, BOX, ["0.0.0.0:8080->80/tcp"]);
    scene.route("172.18.1.0/24", "198.51.100.1");
    let outside = |at| seen(&scene.outside, at, &container, "172.18.1.2:80");
    assert_eq!(outside("172.18.1.2:80"), ip("198.51.100.2"));
    assert_eq!(outside("198.51.100.1:8080"), None, "nothing is translated");
    let closed = seen(&scene.outside, "172.18.1.2:81", &container, "172.18.1.2:81");
    assert_eq!(closed, None);
    assert!(pings(&scene.outside, "172.18.1.2"));
    let out = seen(&container, "198.51.100.2:80", &scene.outside, "198.51.100.2:80");
    assert_eq!(out, ip("172.18.1.2"));
}

#[test]
fn an_unprotected_network_is_reached_at_every_port() {
    let scene = Scene::new();
    let network = with(&[("bridge.gateway_mode_ipv4", "nat-unprotected")]);
    let [container] = scene.with(&network, [BOX]);
    scene.publish(&network, BOX, ["0.0.0.0:8080->80/tcp"]);
    let out = seen(&container, "198.51.100.2:80", &scene.outside, "198.51.100.2:80");
    assert_eq!(out, ip("198.51.100.1"));
    scene.route("172.18.1.0/24", "198.51.100.1");
    for (at, to) in [
        ("198.51.100.1:8080", "172.18.1.2:80"),
        ("172.18.1.2:80", "172.18.1.2:80"),
        ("172.18.1.2:81", "172.18.1.2:81"),
    ] {
        assert!(seen(&scene.outside, at, &container, to).is_some(), "{at}");
    }
}

#[test]
fn on_an_isolated_network_even_the_host_is_nobody() {
    let scene = Scene::new();
    let network = Network {
        internal: true,
        ..with(&[("bridge.gateway_mode_ipv4", "isolated")])
    };
    let [one, two] = scene.with(&network, [BOX, &["172.18.1.3/24"]]);
    assert!(pings(&one, "172.18.1.3") && pings(&two, "172.18.1.2"));
    assert!(!pings(&one, "172.18.1.1"));
    assert!(!pings(&scene.host.pin, "172.18.1.2"));
}

#[test]
fn packets_to_the_outside_have_the_source_asked_for() {
    let scene = Scene::new();
    let add = ["ip", "address", "add", "198.51.100.9/24", "dev", "up0"];
    command(&scene.host.pin, &add).expect("an address");
    let network = with(&[("host_ipv4", "198.51.100.9")]);
    let [container] = scene.with(&network, [BOX]);
    let out = seen(&container, "198.51.100.2:80", &scene.outside, "198.51.100.2:80");
    assert_eq!(out, ip("198.51.100.9"));
}

#[test]
fn a_trusted_interface_reaches_containers_directly() {
    let scene = Scene::new();
    let network = with(&[("bridge.trusted_host_interfaces", "up0")]);
    let [container] = scene.with(&network, [BOX]);
    scene.route("172.18.1.0/24", "198.51.100.1");
    let direct = seen(&scene.outside, "172.18.1.2:80", &container, "172.18.1.2:80");
    assert_eq!(direct, ip("198.51.100.2"));
}

#[test]
fn a_network_of_ipv6_alone_is_published_and_reaches_out() {
    let scene = Scene::new();
    for (netns, address) in [
        (&scene.host.pin, "2001:db8::1/64"),
        (&scene.outside, "2001:db8::2/64"),
    ] {
        let add = ["ip", "address", "add", address, "dev", "up0", "nodad"];
        command(netns, &add).expect("an address");
    }
    let network = network("bridge", 1, &["fd00:1::/64", "fd00:2::/64"]);
    let [one, two] = scene.with(&network, [&["fd00:1::2/64"], &["fd00:2::3/64"]]);
    scene.publish(&network, &["fd00:2::3/64"], ["[::]:8080->80/tcp"]);
    let by = seen(&scene.outside, "[2001:db8::1]:8080", &two, "[fd00:2::3]:80");
    assert_eq!(by, ip("2001:db8::2"));
    let out = seen(&one, "[2001:db8::2]:80", &scene.outside, "[2001:db8::2]:80");
    assert_eq!(out, ip("2001:db8::1"));
    let beside = seen(&one, "[fd00:2::3]:80", &two, "[fd00:2::3]:80");
    assert_eq!(beside, ip("fd00:1::2"), "both subnets are one network");
}

#[test]
fn a_link_opens_the_linked_ports_of_a_network_without_icc() {
    let scene = Scene::new();
    let network = Network {
        options: labels(&[("com.docker.network.bridge.enable_icc", "false")]),
        ..network("bridge", 1, &["172.18.1.0/24"])
    };
    let addresses: [&[&str]; 3] = [&["172.18.1.2/24"], &["172.18.1.3/24"], &["172.18.1.4/24"]];
    let [db, web, other] = scene.with(&network, addresses);
    let link = |from: &str| LinkAccess {
        from: from.parse().expect("an address"),
        ports: exposed("80/tcp"),
    };
    let access = Access {
        links: vec![link("172.18.1.3")],
        ..Access::default()
    };
    scene.let_in(&network, addresses[0], &Access::default(), &access);
    let asks = |from: &Path, at| seen(from, at, &db, at);
    assert_eq!(asks(&web, "172.18.1.2:80"), ip("172.18.1.3"));
    assert_eq!(asks(&web, "172.18.1.2:81"), None, "not exposed");
    assert_eq!(asks(&other, "172.18.1.2:80"), None, "not linked");
    assert!(!pings(&db, "172.18.1.3"), "the other way is closed");
    scene.let_in(&network, addresses[0], &access, &Access::default());
    assert_eq!(asks(&web, "172.18.1.2:80"), None, "the link is gone");
}

#[test]
fn a_link_opens_ipv6_ports_too_and_goes_on_to() {
    let scene = Scene::new();
    with_ipv6(&scene);
    let network = Network {
        options: labels(&[("com.docker.network.bridge.enable_icc", "false")]),
        ..network("bridge", 1, &["172.18.1.0/24", "fd00:1::/64"])
    };
    let addresses: [&[&str]; 3] = [
        &["172.18.1.2/24", "fd00:1::2/64"],
        &["172.18.1.3/24", "fd00:1::3/64"],
        &["172.18.1.4/24", "fd00:1::4/64"],
    ];
    let [db, web, other] = scene.with(&network, addresses);
    let link = |from: &str| LinkAccess {
        from: from.parse().expect("an address"),
        ports: exposed("80/tcp"),
    };
    let access = Access {
        links: vec![link("172.18.1.3"), link("fd00:1::3")],
        ..Access::default()
    };
    scene.let_in(&network, addresses[0], &Access::default(), &access);
    let asks = |from: &Path, at| seen(from, at, &db, at);
    // Again and again: a redirect after the first packets would lead the next ones astray.
    for _ in 0..3 {
        assert_eq!(asks(&web, "[fd00:1::2]:80"), ip("fd00:1::3"));
        assert_eq!(asks(&web, "172.18.1.2:80"), ip("172.18.1.3"));
    }
    assert_eq!(asks(&web, "[fd00:1::2]:81"), None, "not exposed");
    assert_eq!(asks(&other, "[fd00:1::2]:80"), None, "not linked");
    assert!(!pings(&db, "fd00:1::3"), "the other way is closed");
    assert!(pings(&web, "2001:db8::2"), "the outside is as near as ever");
    scene.let_in(&network, addresses[0], &access, &Access::default());
    assert_eq!(asks(&web, "[fd00:1::2]:80"), None, "the link is gone");
}

#[test]
fn an_adopted_bridge_stays_as_it_was() {
    let scene = Scene::new();
    let host = &scene.host.pin;
    for words in [
        "ip link add br-mine address 02:00:00:00:00:07 type bridge",
        "ip address add 172.18.1.1/24 dev br-mine",
        "ip address add 192.0.2.1/24 dev br-mine",
        "ip address add fd00:7::1/64 dev br-mine",
    ] {
        let words: Vec<_> = words.split(' ').collect();
        command(host, &words).unwrap_or_else(|| panic!("{words:?}"));
    }
    let network = with(&[("bridge.name", "br-mine"), ("bridge.enable_icc", "false")]);
    let answers = || {
        let path = "/proc/sys/net/ipv4/conf/br-mine/proxy_arp_pvlan";
        command(host, &["cat", path]).expect("a setting")
    };
    let [container] = scene.with(&network, [BOX]);
    assert!(pings(&container, "172.18.1.1") && pings(&container, "198.51.100.2"));
    assert_eq!(answers().trim(), "1");
    let target = crate::Target {
        netns: Some(container),
        interface: crate::lab::interface("eth0"),
        ports: Vec::new(),
        exposed: Vec::new(),
        on_host: false,
    };
    let driver = scene.host.driver("bridge");
    let endpoint = wearing(&network, BOX);
    scene
        .lab
        .run(driver.leave(&network, &endpoint, &target))
        .expect("it leaves");
    scene
        .lab
        .run(driver.delete_network(&network))
        .expect("it is removed");
    let left = command(host, &["ip", "address", "show", "br-mine"]).expect("it is there");
    for kept in [
        "02:00:00:00:00:07",
        "172.18.1.1/24",
        "192.0.2.1/24",
        "fd00:7::1/64",
    ] {
        assert!(left.contains(kept), "{kept} is gone: {left}");
    }
    assert_eq!(
        answers().trim(),
        "0",
        "the host answers for everybody on a bridge that isn't ours any more"
    );
}

/// What `ip` and sysctl say of a bridge: what a user would compare. That it forwards is a matter of the host.
fn looks(host: &Path, bridge: &str) -> Vec<String> {
    let script = format!(
        "ip -o address show {bridge} | sed 's/^[0-9]*: //;s/valid_lft.*//' | sort; cat /sys/class/net/{bridge}/mtu; \
         cd /proc/sys/net; grep -H . ipv4/conf/{bridge}/* ipv6/conf/{bridge}/* ipv4/neigh/{bridge}/* ipv6/neigh/{bridge}/* \
         2>/dev/null | grep -v 'stable_secret\\|mtu:\\|/forwarding:'"
    );
    let text = command(host, &["sh", "-c", &script]).expect("it is there");
    text.lines().map(str::to_owned).collect()
}

#[test]
fn an_adopted_bridge_is_given_back_exactly_as_it_was_found() {
    let scene = Scene::new();
    let host = &scene.host.pin;
    let driver = scene.host.driver("bridge");
    for (name, lines) in [
        ("br-v4", &["ip address add 10.88.0.1/24 dev br-v4"][..]),
        ("br-none", &[]),
        (
            "br-both",
            &[
                "ip address add 10.88.1.1/24 dev br-both",
                "ip address add fd00:abc::1/64 dev br-both nodad",
                "sysctl -q net.ipv6.conf.br-both.accept_ra=2 net.ipv4.conf.br-both.route_localnet=1",
            ],
        ),
    ] {
        let make = [
            format!("ip link add {name} type bridge"),
            format!("ip link set {name} mtu 1400 up"),
        ];
        for line in make.iter().map(String::as_str).chain(lines.iter().copied()) {
            let words: Vec<_> = line.split(' ').collect();
            command(host, &words).unwrap_or_else(|| panic!("{line}"));
        }
        // Its link-local address is tentative for a moment.
        let settled = || !looks(host, name).iter().any(|line| line.contains("tentative"));
        let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while !settled() && std::time::Instant::now() < end {
            std::thread::yield_now();
        }
        let before = looks(host, name);
        let options = labels(&[
            ("com.docker.network.bridge.name", name),
            ("com.docker.network.bridge.enable_icc", "false"),
            ("com.docker.network.driver.mtu", "1300"),
        ]);
        let mut network = Network {
            options,
            ..network("bridge", 7, &["10.90.0.0/24", "fd00:7::/64"])
        };
        let families = [model::AddressFamily::V4, model::AddressFamily::V6];
        let draft = crate::Draft {
            id: network.id,
            options: &network.options,
            internal: false,
            families: &families,
            subnets: &[],
        };
        network.found = scene.lab.run(driver.check(&draft)).expect("it is valid").found;
        assert!(network.found.is_some(), "{name}");
        scene.host.create(&scene.lab, &network);
        assert_ne!(
            looks(host, name),
            before,
            "{name}: it does not become the network's"
        );
        let delete = || {
            scene
                .lab
                .run(driver.delete_network(&network))
                .expect("it is removed");
        };
        let other = || {
            let mut now = looks(host, name);
            now.retain(|line| !before.contains(line));
            now
        };
        delete();
        assert_eq!(
            (other(), looks(host, name).len()),
            (Vec::new(), before.len()),
            "{name}"
        );
        delete();
        assert_eq!(other(), Vec::<String>::new(), "{name}: said twice");
    }
}

#[test]
fn the_users_chain_comes_first_and_survives_repair() {
    let scene = Scene::new();
    let network = network("bridge", 1, &["172.18.1.0/24"]);
    let [container] = scene.with(&network, [BOX]);
    let access = Access {
        ports: vec![ports("0.0.0.0:8080->80/tcp")],
        ..Access::default()
    };
    scene.let_in(&network, BOX, &Access::default(), &access);
    let asked = || seen(&scene.outside, "198.51.100.1:8080", &container, "172.18.1.2:80").is_some();
    assert!(asked());
    let [add, list] = users_rule(&scene.host.pin);
    let run = |script: &str| command(&scene.host.pin, &["sh", "-ec", script]).expect("it runs");
    run(&add);
    assert!(!asked());
    let view = crate::NetworkView {
        network: network.clone().into(),
        local: vec![crate::Local {
            endpoint: wearing(&network, BOX).into(),
            target: crate::Target {
                netns: Some(container.clone()),
                interface: crate::lab::interface("eth0"),
                ports: Vec::new(),
                exposed: Vec::new(),
                on_host: false,
            },
            access,
        }],
        peers: Vec::new(),
    };
    let driver = scene.host.driver("bridge");
    scene.lab.run(driver.repair(&view)).expect("it is repaired");
    let listed = run(&list);
    assert!(listed.contains("198.51.100.0/24"), "{listed}");
    assert!(!asked());
}

/// What adds a rule to the user's chain, and what lists it.
fn users_rule(host: &Path) -> [String; 2] {
    let (list, begin) = match std::env::var_os(crate::lab::BACKEND) {
        None => ("nft list tables", "cnm-"),
        Some(_) => ("iptables -S | cut -d' ' -f2", "CNM-"),
    };
    let words = command(host, &["sh", "-ec", list]).expect("its program is there");
    let ours = words
        .split_whitespace()
        .find(|word| word.starts_with(begin))
        .expect("ours");
    if begin == "cnm-" {
        let rule = "ip saddr 198.51.100.0/24 drop";
        let chain = format!("inet {ours} user");
        return [
            format!("nft add rule {chain} {rule}"),
            format!("nft list chain {chain}"),
        ];
    }
    let chain = format!("{}-user", ours.get(..12).expect("a node's digits"));
    let rule = "-s 198.51.100.0/24 -j DROP";
    [
        format!("iptables -A {chain} {rule}"),
        format!("iptables -S {chain}"),
    ]
}
