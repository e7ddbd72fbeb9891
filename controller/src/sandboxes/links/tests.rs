use model::{
    DnsConfig, DnsPorts, EndpointAddresses, EndpointId, ExposedPorts, IpamConfig, Labels, NetworkId,
    NetworkName, NodeId, PortRange, Protocol, SandboxId, SandboxKind, SandboxLink, Scope, Timestamp,
};

use super::*;

fn network(name: &str, predefined: bool) -> Arc<Network> {
    let driver = |name| model::DriverName::new(name).unwrap();
    Arc::new(Network {
        id: NetworkId::random(),
        name: NetworkName::new(name).unwrap(),
        driver: driver("bridge"),
        scope: Scope::Local,
        lifecycle: Lifecycle::Active,
        created: Timestamp::ZERO,
        labels: Labels::new(),
        options: Labels::new(),
        enable_ipv4: true,
        enable_ipv6: true,
        internal: false,
        attachable: false,
        predefined,
        ipam: IpamConfig {
            driver: driver("default"),
            options: Labels::new(),
            subnets: Vec::new(),
        },
        pools: Vec::new(),
        vnis: Vec::new(),
        config_only: false,
        config_from: None,
        found: None,
    })
}

fn sandbox(container: u8, links: &[(u8, &[&str])]) -> Sandbox {
    Sandbox {
        id: SandboxId::from_bytes([container; 32]),
        container: Some(ContainerId::from_bytes([container; 32])),
        node: NodeId::from_bytes([1; 32]),
        lifecycle: Lifecycle::Active,
        created: Timestamp::ZERO,
        kind: SandboxKind::Own("netns".into()),
        hostname: String::new(),
        domainname: String::new(),
        dns: DnsConfig::default(),
        extra_hosts: Vec::new(),
        files: "files".into(),
        dns_ports: DnsPorts { udp: 1, tcp: 2 },
        ports: Vec::new(),
        exposed: vec![ExposedPorts {
            ports: PortRange::single(u16::from(container)).unwrap(),
            protocol: Protocol::Tcp,
        }],
        links: links
            .iter()
            .map(|(to, names)| SandboxLink {
                container: ContainerId::from_bytes([*to; 32]),
                names: names.iter().map(|name| (*name).to_owned()).collect(),
            })
            .collect(),
    }
}

fn endpoint(network: &Network, sandbox: &Sandbox, ipv4: &str) -> Arc<Endpoint> {
    Arc::new(Endpoint {
        id: EndpointId::random(),
        network: network.id,
        sandbox: sandbox.id,
        container: sandbox.container,
        node: sandbox.node,
        lifecycle: Lifecycle::Active,
        created: Timestamp::ZERO,
        name: String::new(),
        dns_names: Vec::new(),
        links: Labels::new(),
        addresses: EndpointAddresses {
            ipv4: Some(ipv4.parse().unwrap()),
            ..EndpointAddresses::default()
        },
        interface: None,
        gateway_priority: 0,
        options: Labels::new(),
        requested: Vec::new(),
        answer: None,
        lease: None,
        lease_v6: None,
    })
}

/// `web` (2) links to `db` (3) as `webdb`; both are on `network`.
fn world(network: &Arc<Network>) -> (Snapshot, Sandbox, Arc<Endpoint>, Arc<Endpoint>) {
    let (web, db) = (
        sandbox(2, &[(3, &["webdb", "333333333333", "db"])]),
        sandbox(3, &[]),
    );
    let (from, to) = (
        endpoint(network, &web, "172.17.0.2/16"),
        endpoint(network, &db, "172.17.0.3/16"),
    );
    let mut snapshot = Snapshot::default();
    snapshot.networks.insert(network.id, network.clone());
    snapshot.sandboxes.insert(web.id, Arc::new(web.clone()));
    snapshot.sandboxes.insert(db.id, Arc::new(db));
    snapshot.insert_endpoint(from.clone());
    snapshot.insert_endpoint(to.clone());
    (snapshot, web, from, to)
}

#[test]
fn a_link_is_a_line_of_hosts_and_opens_the_exposed_ports_of_its_target() {
    let (snapshot, web, from, to) = world(&network("bridge", true));
    let line = HostEntry {
        name: "webdb 333333333333 db".to_owned(),
        address: "172.17.0.3".parse().unwrap(),
    };
    assert_eq!(lines(&snapshot, &web), [line]);
    let reached = access(&snapshot, &to);
    assert_eq!(reached.len(), 1);
    assert_eq!(
        (
            reached[0].from.to_string().as_str(),
            reached[0].ports.to_string().as_str()
        ),
        ("172.17.0.2", "3/tcp")
    );
    assert_eq!(access(&snapshot, &from), [], "it leads one way");
}

#[test]
fn a_link_follows_its_target_and_ends_with_it() {
    let bridge = network("bridge", true);
    let (mut snapshot, web, _, to) = world(&bridge);
    snapshot.remove_endpoint(&to.id);
    assert_eq!(lines(&snapshot, &web), []);
    let again = endpoint(&bridge, &sandbox(3, &[]), "172.17.0.9/16");
    snapshot.insert_endpoint(again);
    assert_eq!(lines(&snapshot, &web)[0].address.to_string(), "172.17.0.9");
}

#[test]
fn other_networks_have_their_links_from_the_name_service() {
    for other in [network("n1", false), network("cnm_gwbridge", true)] {
        let (snapshot, web, _, to) = world(&other);
        assert_eq!((lines(&snapshot, &web), access(&snapshot, &to)), (vec![], vec![]));
    }
}
