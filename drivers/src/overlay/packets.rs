//! Packets between two hosts over an overlay, on the real kernel.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use model::{Endpoint, Network};

use crate::{
    lab::{Host, Lab, command, megabyte, pings},
    samples::{endpoint, network, peer},
};

/// Two hosts on one segment of the underlay, with a network between them and a container on each.
struct Scene {
    lab: Lab,
    network: Network,
    hosts: [Host; 2],
    endpoints: [Endpoint; 2],
    boxes: [PathBuf; 2],
}

impl Scene {
    fn new(underlay: [&str; 2], subnets: &[&str], addresses: [&[&str]; 2]) -> Self {
        let lab = Lab::new();
        let bare = underlay.map(|text| text.split('/').next().unwrap_or_default());
        let pins = ["one", "two"].map(|name| lab.namespace(name));
        lab.wire([(&pins[0], underlay[0]), (&pins[1], underlay[1])]);
        let [one, two] = pins;
        let hosts = [(one, bare[0]), (two, bare[1])].map(|(pin, address)| lab.host_in(pin, address));
        let network = network("overlay", 1, subnets);
        let endpoints = [(0xe1, addresses[0]), (0xe2, addresses[1])];
        let endpoints = endpoints.map(|(number, addresses)| endpoint(&network, number, addresses));
        let boxes = [0, 1].map(|at| {
            hosts[at].create(&lab, &network);
            let there = [peer(endpoints[1 - at].clone(), bare[1 - at])];
            let driver = hosts[at].driver("overlay");
            lab.run(driver.peers_changed(&network, &[], &there))
                .expect("the peer is told");
            hosts[at].sandbox(&lab, &format!("box{at}"), &network, &endpoints[at])
        });
        Self {
            lab,
            network,
            hosts,
            endpoints,
            boxes,
        }
    }

    /// Frames that left by a host's tunnel.
    fn sent(&self, host: &Host) -> u64 {
        let home = host
            .exec_root
            .join("netns")
            .join(format!("ov-{}", self.network.id.short()));
        let links = command(&home, &["ip", "-s", "-d", "link", "show", "type", "vxlan"]).expect("a list");
        let mut lines = links
            .lines()
            .skip_while(|line| !line.trim_start().starts_with("TX:"));
        let counts = lines.nth(1).expect("numbers under the heading");
        let packets = counts.split_whitespace().nth(1).expect("bytes, then packets");
        packets.parse().expect("a number")
    }
}

fn mtu(netns: &Path) -> String {
    let link = command(netns, &["ip", "-o", "link", "show", "eth0"]).expect("a link");
    let mut words = link.split_whitespace().skip_while(|word| *word != "mtu");
    words.nth(1).unwrap_or_default().to_owned()
}

fn server(text: &str) -> SocketAddr {
    text.parse().expect("an address and a port")
}

#[test]
fn containers_on_two_hosts_reach_each_other() {
    let scene = Scene::new(
        ["192.0.2.1/24", "192.0.2.2/24"],
        &["172.16.2.0/24", "fd00:2::/64"],
        [
            &["172.16.2.2/24", "fd00:2::2/64"],
            &["172.16.2.3/24", "fd00:2::3/64"],
        ],
    );
    let [one, two] = &scene.boxes;
    assert!(pings(one, "172.16.2.3") && pings(two, "172.16.2.2"));
    assert!(pings(one, "fd00:2::3") && pings(two, "fd00:2::2"));
    assert!(
        pings(one, "172.16.2.1") && pings(two, "172.16.2.1"),
        "each host has the gateway"
    );
    assert_eq!(
        megabyte(one, two, server("172.16.2.3:80")),
        Some([172, 16, 2, 2].into())
    );
    assert_eq!(
        megabyte(two, one, server("[fd00:2::2]:80")),
        Some("fd00:2::3".parse().expect("an address"))
    );
    assert_eq!(mtu(one), "1450");
}

#[test]
fn an_underlay_of_ipv6_works_as_well() {
    let scene = Scene::new(
        ["2001:db8::1/64", "2001:db8::2/64"],
        &["172.16.2.0/24"],
        [&["172.16.2.2/24"], &["172.16.2.3/24"]],
    );
    let [one, two] = &scene.boxes;
    assert!(pings(one, "172.16.2.3"));
    assert_eq!(
        megabyte(two, one, server("172.16.2.2:80")),
        Some([172, 16, 2, 3].into())
    );
    assert_eq!(mtu(one), "1430");
}

#[test]
fn subnets_of_one_network_reach_each_other_by_the_gateway() {
    let scene = Scene::new(
        ["192.0.2.1/24", "192.0.2.2/24"],
        &["172.16.2.0/24", "172.16.3.0/24"],
        [&["172.16.2.2/24"], &["172.16.3.3/24"]],
    );
    let [one, two] = &scene.boxes;
    assert_eq!(
        megabyte(one, two, server("172.16.3.3:80")),
        Some([172, 16, 2, 2].into())
    );
}

#[test]
fn nothing_is_flooded_to_the_underlay() {
    let scene = Scene::new(
        ["192.0.2.1/24", "192.0.2.2/24"],
        &["172.16.2.0/24"],
        [&["172.16.2.2/24"], &["172.16.2.3/24"]],
    );
    let [one, _] = &scene.boxes;
    assert!(pings(one, "172.16.2.3"), "what is known is sent");
    let before = scene.sent(&scene.hosts[0]);
    assert!(before > 0);
    assert!(!pings(one, "172.16.2.99"), "nobody has that address");
    let unknown = [
        "ip",
        "neigh",
        "replace",
        "172.16.2.98",
        "lladdr",
        "02:42:ac:10:02:62",
        "dev",
        "eth0",
    ];
    command(one, &unknown).expect("an entry");
    assert!(!pings(one, "172.16.2.98"), "nobody has that Ethernet address");
    assert_eq!(scene.sent(&scene.hosts[0]), before);
}

#[test]
fn a_peer_that_moved_or_went_is_followed() {
    let scene = Scene::new(
        ["192.0.2.1/24", "192.0.2.2/24"],
        &["172.16.2.0/24"],
        [&["172.16.2.2/24"], &["172.16.2.3/24"]],
    );
    let [one, _] = &scene.boxes;
    let driver = scene.hosts[0].driver("overlay");
    let at = |vtep| [peer(scene.endpoints[1].clone(), vtep)];
    let change = |gone: &[_], come: &[_]| {
        scene
            .lab
            .run(driver.peers_changed(&scene.network, gone, come))
            .expect("it follows");
    };
    change(&at("192.0.2.2"), &at("192.0.2.9"));
    assert!(!pings(one, "172.16.2.3"), "it is said to be elsewhere");
    change(&at("192.0.2.9"), &at("192.0.2.2"));
    assert!(pings(one, "172.16.2.3"));
    change(&at("192.0.2.2"), &[]);
    assert!(!pings(one, "172.16.2.3"), "it is gone");
}

#[test]
fn two_networks_may_have_the_same_subnet() {
    let lab = Lab::new();
    let host = lab.host("host", "192.0.2.1");
    let sandboxes = [1, 2].map(|number| {
        let network = network("overlay", number, &["172.16.2.0/24"]);
        host.create(&lab, &network);
        let both = [("a", "172.16.2.2/24"), ("b", "172.16.2.3/24")];
        both.map(|(name, address)| {
            let endpoint = endpoint(&network, number * 16 + address.as_bytes()[9], &[address]);
            host.sandbox(&lab, &format!("{name}{number}"), &network, &endpoint)
        })
    });
    for [one, two] in &sandboxes {
        assert_eq!(
            megabyte(one, two, server("172.16.2.3:80")),
            Some([172, 16, 2, 2].into())
        );
    }
}

#[test]
fn a_network_can_be_made_again_while_its_old_namespace_lingers() {
    let lab = Lab::new();
    let host = lab.host("host", "192.0.2.1");
    let network = network("overlay", 1, &["172.16.2.0/24"]);
    let home = host
        .exec_root
        .join("netns")
        .join(format!("ov-{}", network.id.short()));
    host.create(&lab, &network);
    let _held = kernel::netns::open(&home).expect("it is there");
    lab.run(host.driver("overlay").delete_network(&network))
        .expect("it goes");
    host.create(&lab, &network);
}
