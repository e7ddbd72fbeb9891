//! A segment for tests: a switch, a router and two hosts on it, each by an interface `eth0`.

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use kernel::{Datagram, Kernel as _, Linux, Netns, netns};
use model::{Endpoint, InterfaceName, Network};

use crate::{
    Draft, Needs, Result,
    lab::{Host, Lab, command, pings},
    samples::{endpoint, labels, network},
};

/// 10.0.0.0/24 and fd00:a::/64: the hosts have .1 and .2, the router .254 (::254), and behind it is 198.51.100.9.
pub(crate) struct Segment {
    pub(crate) lab: Lab,
    pub(crate) switch: PathBuf,
    pub(crate) router: PathBuf,
    pub(crate) hosts: [Host; 2],
    driver: &'static str,
}

impl Segment {
    pub(crate) fn new(driver: &'static str) -> Self {
        let lab = Lab::new();
        let [switch, router, one, two] = ["switch", "router", "one", "two"].map(|name| lab.namespace(name));
        ip(&switch, "link add br0 up type bridge mcast_snooping 0");
        for (port, netns, host) in [("p0", &router, "254"), ("p1", &one, "1"), ("p2", &two, "2")] {
            plug(&switch, port, netns);
            for address in [format!("10.0.0.{host}/24"), format!("fd00:a::{host}/64")] {
                let nodad = if address.contains(':') { " nodad" } else { "" };
                ip(netns, &format!("address add {address} dev eth0{nodad}"));
            }
        }
        ip(&router, "address add 198.51.100.9/32 dev lo");
        command(&router, &["sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"]).expect("forwarding");
        let hosts = [lab.host_in(one, "10.0.0.1"), lab.host_in(two, "10.0.0.2")];
        Self {
            lab,
            switch,
            router,
            hosts,
            driver,
        }
    }

    /// A network of the segment's addresses, whose gateway is the router.
    pub(crate) fn network(&self, number: u8, options: &[(&str, &str)]) -> Network {
        let mut network = Network {
            options: labels(options),
            ..network(self.driver, number, &["10.0.0.0/24", "fd00:a::/64"])
        };
        for (pool, router) in network.pools.iter_mut().zip(["10.0.0.254", "fd00:a::254"]) {
            pool.gateway = router.parse().ok();
        }
        network
    }

    /// What the driver on the first host says of a network before it is made.
    pub(crate) fn check(&self, network: &Network) -> Result<Needs> {
        let draft = Draft {
            id: network.id,
            options: &network.options,
            internal: network.internal,
            families: &[],
            subnets: &[],
        };
        self.lab.run(self.hosts[0].driver(self.driver).check(&draft))
    }

    pub(crate) fn create(&self, host: usize, network: &Network) {
        self.hosts[host].create(&self.lab, network);
    }

    pub(crate) fn delete(&self, host: usize, network: &Network) {
        let driver = self.hosts[host].driver(self.driver);
        self.lab
            .run(driver.delete_network(network))
            .expect("the network is removed");
    }

    /// A container on a host, with the last parts of its addresses.
    pub(crate) fn container(&self, host: usize, network: &Network, last: u8) -> PathBuf {
        let endpoint = wearing(network, last);
        self.hosts[host].sandbox(&self.lab, &endpoint.name, network, &endpoint)
    }

    /// Whether a link is on a host.
    pub(crate) fn has(&self, host: usize, link: &str) -> bool {
        command(&self.hosts[host].pin, &["ip", "link", "show", "dev", link]).is_some()
    }

    /// Gives the first host its interface back after it was taken away.
    pub(crate) fn plug_again(&self) {
        plug(&self.switch, "p1", &self.hosts[0].pin);
        ip(&self.hosts[0].pin, "address add 10.0.0.1/24 dev eth0");
    }
}

/// An endpoint of 10.0.0.LAST and fd00:a::LAST.
pub(crate) fn wearing(network: &Network, last: u8) -> Endpoint {
    endpoint(
        network,
        last,
        &[&format!("10.0.0.{last}/24"), &format!("fd00:a::{last}/64")],
    )
}

/// Wires a namespace to the switch by a port of this name.
fn plug(switch: &Path, port: &str, netns: &Path) {
    let netns = netns.to_str().expect("a plain path");
    ip(
        switch,
        &format!("link add {port} up master br0 type veth peer name eth0 netns {netns}"),
    );
    ip(Path::new(netns), "link set eth0 up");
}

/// Runs ip(8) in a namespace.
pub(crate) fn ip(netns: &Path, words: &str) {
    let words: Vec<_> = std::iter::once("ip").chain(words.split(' ')).collect();
    command(netns, &words).unwrap_or_else(|| panic!("{words:?}"));
}

/// The Ethernet address of a namespace's `eth0`.
pub(crate) fn mac(netns: &Path) -> String {
    let told = command(netns, &["ip", "-o", "link", "show", "dev", "eth0"]).expect("it has one");
    let (_, from) = told.split_once("link/ether ").expect("an address");
    from.split(' ').next().unwrap_or_default().to_owned()
}

fn eth0() -> InterfaceName {
    InterfaceName::new("eth0").expect("a name")
}

/// Whether somebody in `client` without an address hears what a server of the segment in `server` says to everybody, and one
/// with this address what it says to it.
pub(crate) fn hears_a_server(client: &Path, server: &Path, own: [u8; 4], theirs: [u8; 4]) -> bool {
    let socket = netns::udp_in(server, "0.0.0.0:67".parse().expect("an address")).expect("a socket");
    socket.set_broadcast(true).expect("it may");
    socket
        .set_read_timeout(Some(Duration::from_secs(30)))
        .expect("a limit");
    command(
        server,
        &["ip", "route", "replace", "255.255.255.255/32", "dev", "eth0"],
    )
    .expect("a way to everybody");
    let serving = thread::spawn(move || {
        let mut heard = [0; 64];
        for _ in 0..2 {
            let (length, from) = socket.recv_from(&mut heard).expect("a question");
            let to = match from.ip().is_unspecified() {
                true => (Ipv4Addr::BROADCAST, 68).into(),
                false => from,
            };
            socket.send_to(&heard[..length], to).expect("it is said");
        }
    });
    let kernel = Linux::here().expect("a kernel");
    let ask = |from: Option<Ipv4Addr>| {
        let datagram = Datagram {
            netns: Netns::Pinned(client.to_owned()),
            link: eth0(),
            from,
            to: from.map_or(Ipv4Addr::BROADCAST.into(), |_| theirs.into()),
            own_port: 68,
            port: 67,
            payload: b"who has an address?".to_vec(),
        };
        let mut heard = |said: &[u8]| said == b"who has an address?";
        kernel
            .converse(&datagram, Duration::from_secs(20), &mut heard)
            .expect("it is asked")
    };
    let heard = ask(None) && ask(Some(own.into()));
    heard && serving.join().is_ok()
}

/// Whether the router forgets what it believed of these addresses once a container has said who has them.
pub(crate) fn is_believed(segment: &Segment, container: &Path, addresses: &[&str]) -> bool {
    for address in addresses {
        ip(
            &segment.router,
            &format!("neigh replace {address} lladdr 02:00:00:00:00:99 dev eth0 nud stale"),
        );
    }
    let kernel = Linux::here().expect("a kernel");
    let own = mac(container);
    let all: Vec<_> = addresses
        .iter()
        .map(|text| text.parse().expect("an address"))
        .collect();
    let knows = |address: &&str| {
        let told = command(&segment.router, &["ip", "neigh", "show", address, "dev", "eth0"]);
        told.is_some_and(|told| told.contains(&own))
    };
    // What was heard of a neighbour a moment ago is not overridden.
    (0..50).any(|_| {
        kernel
            .announce(&Netns::Pinned(container.to_owned()), &eth0(), &all)
            .expect("it is told");
        addresses.iter().all(&knows) || {
            thread::sleep(Duration::from_millis(100));
            false
        }
    })
}

/// Without a parent there is a link of the network's own below it, and its containers reach each other and nobody else.
pub(crate) fn leads_nowhere_without_a_parent(driver: &'static str, link: &str) {
    let segment = Segment::new(driver);
    let network = segment.network(1, &[]);
    segment.create(0, &network);
    assert!(segment.has(0, link));
    let [one, two] = [100, 101].map(|last| segment.container(0, &network, last));
    assert!(pings(&one, "10.0.0.101") && pings(&two, "fd00:a::100"));
    assert!(!pings(&one, "10.0.0.254") && !pings(&segment.hosts[0].pin, "10.0.0.100"));
    let routes = command(&one, &["ip", "route", "show", "default"]).expect("an answer");
    assert_eq!(routes, "");
    segment.delete(0, &network);
    assert!(!segment.has(0, link));
}

/// A container hears a server of its segment before and after it has an address, beside another container, and its
/// neighbours believe what it says.
pub(crate) fn hears_and_is_heard(driver: &'static str) {
    let segment = Segment::new(driver);
    let network = segment.network(1, &[("parent", "eth0")]);
    segment.create(0, &network);
    let one = segment.container(0, &network, 100);
    let _beside = segment.container(0, &network, 101);
    let (own, theirs) = ([10, 0, 0, 100], [10, 0, 0, 254]);
    assert!(hears_a_server(&one, &segment.router, own, theirs));
    assert!(is_believed(&segment, &one, &["10.0.0.100", "fd00:a::100"]));
}
