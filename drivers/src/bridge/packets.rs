//! Packets over bridge networks, on the real kernel.

mod backends;
mod modes;
mod ports;
#[cfg(feature = "vm")]
mod sctp;

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use model::{Endpoint, Network};

use crate::{
    Access,
    lab::{Host, Lab, command, megabyte, megabyte_to, pings},
    samples::{endpoint, labels, network, ports},
};

/// A host with an uplink to the outside, where 198.51.100.2 answers and knows no way back to containers.
struct Scene {
    lab: Lab,
    host: Host,
    outside: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let lab = Lab::new();
        let host = lab.host("host", "198.51.100.1");
        let outside = lab.namespace("outside");
        lab.wire([(&host.pin, "198.51.100.1/24"), (&outside, "198.51.100.2/24")]);
        Self { lab, host, outside }
    }

    /// Makes a network and a container with address .2 and maybe one with .3 on it.
    fn with<const N: usize>(&self, network: &Network, addresses: [&[&str]; N]) -> [PathBuf; N] {
        self.host.create(&self.lab, network);
        addresses.map(|addresses| self.join(network, &wearing(network, addresses)))
    }

    fn join(&self, network: &Network, endpoint: &Endpoint) -> PathBuf {
        self.host.sandbox(&self.lab, &endpoint.name, network, endpoint)
    }

    /// Lets this in to the endpoint with these addresses, and nothing else.
    fn let_in(&self, network: &Network, addresses: &[&str], before: &Access, access: &Access) {
        let endpoint = wearing(network, addresses);
        let driver = self.host.driver("bridge");
        let publish = driver.publish(network, &endpoint, before, access);
        self.lab.run(publish).expect("it is published");
    }

    fn publish<const N: usize>(&self, network: &Network, addresses: &[&str], texts: [&str; N]) {
        let access = Access {
            ports: texts.map(ports).into(),
            ..Access::default()
        };
        self.let_in(network, addresses, &Access::default(), &access);
    }

    /// The outside learns a way to these containers.
    fn route(&self, subnet: &str, via: &str) {
        command(&self.outside, &["ip", "route", "add", subnet, "via", via]).expect("a route");
    }
}

/// IPv6 between the host and the outside.
fn with_ipv6(scene: &Scene) {
    for (netns, address) in [
        (&scene.host.pin, "2001:db8::1/64"),
        (&scene.outside, "2001:db8::2/64"),
    ] {
        let add = ["ip", "address", "add", address, "dev", "up0", "nodad"];
        command(netns, &add).expect("an address");
    }
}

/// An endpoint with these addresses, numbered after the first of them.
fn wearing(network: &Network, addresses: &[&str]) -> Endpoint {
    let number = addresses[0]
        .bytes()
        .fold(0_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
    endpoint(network, number, addresses)
}

/// Whom a server in a container takes for its client when `from` asks at this address.
fn seen(from: &Path, at: &str, to: &Path, container: &str) -> Option<IpAddr> {
    megabyte_to(from, server(at), to, server(container))
}

fn ip(text: &str) -> Option<IpAddr> {
    Some(text.parse().expect("an address"))
}

fn server(text: &str) -> SocketAddr {
    text.parse().expect("an address and a port")
}

#[test]
fn two_containers_reach_each_other_over_both_families() {
    let scene = Scene::new();
    let network = network("bridge", 1, &["172.18.0.0/24", "fd00:1::/64"]);
    let [one, two] = scene.with(
        &network,
        [
            &["172.18.0.2/24", "fd00:1::2/64"],
            &["172.18.0.3/24", "fd00:1::3/64"],
        ],
    );
    assert!(pings(&one, "172.18.0.3") && pings(&two, "172.18.0.2"));
    assert!(
        pings(&one, "fd00:1::3") && pings(&one, "fd00:1::1"),
        "neighbour and gateway"
    );
    assert_eq!(
        megabyte(&one, &two, server("172.18.0.3:80")),
        Some([172, 18, 0, 2].into())
    );
    assert!(
        pings(&scene.host.pin, "172.18.0.2"),
        "the host reaches its containers"
    );
}

#[test]
fn networks_are_isolated_from_each_other_both_ways() {
    let scene = Scene::new();
    let [one] = scene.with(&network("bridge", 1, &["172.18.1.0/24"]), [&["172.18.1.2/24"]]);
    let [two] = scene.with(&network("bridge", 2, &["172.18.2.0/24"]), [&["172.18.2.2/24"]]);
    assert!(!pings(&one, "172.18.2.2"));
    assert!(!pings(&two, "172.18.1.2"));
    assert_eq!(megabyte(&one, &two, server("172.18.2.2:80")), None);
}

#[test]
fn the_outside_sees_the_hosts_address_and_reaches_no_container() {
    let scene = Scene::new();
    let [container] = scene.with(&network("bridge", 1, &["172.18.1.0/24"]), [&["172.18.1.2/24"]]);
    assert!(pings(&container, "198.51.100.2"));
    let seen = megabyte(&container, &scene.outside, server("198.51.100.2:80"));
    assert_eq!(seen, Some([198, 51, 100, 1].into()));
    let route = ["ip", "route", "add", "172.18.1.0/24", "via", "198.51.100.1"];
    command(&scene.outside, &route).expect("a route");
    assert!(
        !pings(&scene.outside, "172.18.1.2"),
        "what isn't published isn't reachable"
    );
}

#[test]
fn without_masquerade_the_outside_sees_the_container() {
    let scene = Scene::new();
    let network = Network {
        options: labels(&[("com.docker.network.bridge.enable_ip_masquerade", "false")]),
        ..network("bridge", 1, &["172.18.1.0/24"])
    };
    let [container] = scene.with(&network, [&["172.18.1.2/24"]]);
    assert!(!pings(&container, "198.51.100.2"), "there is no way back");
    let route = ["ip", "route", "add", "172.18.1.0/24", "via", "198.51.100.1"];
    command(&scene.outside, &route).expect("a route");
    let seen = megabyte(&container, &scene.outside, server("198.51.100.2:80"));
    assert_eq!(seen, Some([172, 18, 1, 2].into()));
}

#[test]
fn without_icc_containers_reach_only_the_outside() {
    let scene = Scene::new();
    let network = Network {
        options: labels(&[("com.docker.network.bridge.enable_icc", "false")]),
        ..network("bridge", 1, &["172.18.1.0/24"])
    };
    let [one, two] = scene.with(&network, [&["172.18.1.2/24"], &["172.18.1.3/24"]]);
    assert!(!pings(&one, "172.18.1.3"));
    assert!(pings(&one, "172.18.1.1") && pings(&two, "198.51.100.2"));
    // By way of the gateway, as a container could that adds a route.
    let detour = ["ip", "route", "add", "172.18.1.3/32", "via", "172.18.1.1"];
    command(&one, &detour).expect("a route");
    assert!(!pings(&one, "172.18.1.3"));
}

#[test]
fn an_internal_network_reaches_nobody_else() {
    let scene = Scene::new();
    let network = Network {
        internal: true,
        ..network("bridge", 1, &["172.18.1.0/24"])
    };
    let [one, two] = scene.with(&network, [&["172.18.1.2/24"], &["172.18.1.3/24"]]);
    assert!(pings(&one, "172.18.1.3") && pings(&two, "172.18.1.2"));
    // Even for a container that adds the way out itself.
    command(&one, &["ip", "route", "add", "default", "via", "172.18.1.1"]).expect("a route");
    assert!(!pings(&one, "198.51.100.2"));
    let route = ["ip", "route", "add", "172.18.1.0/24", "via", "198.51.100.1"];
    command(&scene.outside, &route).expect("a route");
    assert!(!pings(&scene.outside, "172.18.1.2"));
}

#[test]
fn an_uplink_goes_on_to_believe_advertisements_when_the_host_becomes_a_router() {
    let scene = Scene::new();
    let at = |setting: &str| {
        let value = command(&scene.host.pin, &["sysctl", "-n", setting]);
        value.expect("a setting").trim().to_owned()
    };
    let lines = [
        "sysctl -q net.ipv6.conf.all.forwarding=0 net.ipv6.conf.up0.accept_ra=1",
        "ip link add quiet type bridge",
        "ip link set quiet up",
        "ip route add default via 198.51.100.2",
    ];
    for line in lines {
        let words: Vec<_> = line.split(' ').collect();
        command(&scene.host.pin, &words).expect(line);
    }
    scene.with(&network("bridge", 1, &["fd00:1::/64"]), []);
    assert_eq!(at("net.ipv6.conf.all.forwarding"), "1");
    assert_eq!(at("net.ipv6.conf.up0.accept_ra"), "2", "it leads outside");
    assert_eq!(
        at("net.ipv6.conf.quiet.accept_ra"),
        "1",
        "nothing leads out by it"
    );
}
