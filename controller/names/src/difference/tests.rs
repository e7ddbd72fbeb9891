use std::sync::Arc;

use model::{
    DnsConfig, DnsPorts, DriverName, EndpointAddresses, EndpointId, IpamConfig, Labels, Lifecycle, Network,
    NetworkId, NetworkName, Sandbox, SandboxId, SandboxKind, Scope, Timestamp,
};

use super::*;

const HERE: NodeId = NodeId::from_bytes([1; 32]);
const THERE: NodeId = NodeId::from_bytes([2; 32]);

fn network(number: u8) -> Network {
    let default = DriverName::new("default").expect("a name");
    Network {
        id: NetworkId::from_bytes([number; 32]),
        name: NetworkName::new(format!("n{number}")).expect("a name"),
        driver: DriverName::new("bridge").expect("a name"),
        scope: Scope::Local,
        lifecycle: Lifecycle::Active,
        created: Timestamp::ZERO,
        labels: Labels::default(),
        options: Labels::default(),
        enable_ipv4: true,
        enable_ipv6: false,
        internal: false,
        attachable: false,
        predefined: false,
        ipam: IpamConfig {
            driver: default,
            options: Labels::default(),
            subnets: Vec::new(),
        },
        pools: Vec::new(),
        vnis: Vec::new(),
        config_only: false,
        config_from: None,
        found: None,
    }
}

fn endpoint(number: u8, node: NodeId) -> Endpoint {
    Endpoint {
        id: EndpointId::from_bytes([number; 32]),
        network: NetworkId::from_bytes([1; 32]),
        sandbox: SandboxId::from_bytes([number; 32]),
        container: None,
        node,
        lifecycle: Lifecycle::Active,
        created: Timestamp::ZERO,
        name: format!("c{number}"),
        dns_names: vec![format!("c{number}")],
        links: Labels::default(),
        addresses: EndpointAddresses::default(),
        interface: None,
        gateway_priority: 0,
        options: Labels::default(),
        requested: Vec::new(),
        answer: None,
        lease: None,
        lease_v6: None,
    }
}

fn sandbox(number: u8) -> Sandbox {
    Sandbox {
        id: SandboxId::from_bytes([number; 32]),
        container: None,
        node: HERE,
        lifecycle: Lifecycle::Active,
        created: Timestamp::ZERO,
        kind: SandboxKind::Own("/run/x".into()),
        hostname: String::new(),
        domainname: String::new(),
        dns: DnsConfig::default(),
        extra_hosts: Vec::new(),
        files: "/files".into(),
        dns_ports: DnsPorts { udp: 1, tcp: 2 },
        ports: Vec::new(),
        exposed: Vec::new(),
        links: Vec::new(),
    }
}

/// Two endpoints on two hosts, one network, one sandbox.
fn world() -> Snapshot {
    let mut snapshot = Snapshot::default();
    snapshot.live_nodes.insert(HERE);
    snapshot.live_nodes.insert(THERE);
    snapshot.networks.insert(network(1).id, Arc::new(network(1)));
    snapshot.insert_endpoint(Arc::new(endpoint(1, HERE)));
    snapshot.insert_endpoint(Arc::new(endpoint(2, THERE)));
    snapshot.sandboxes.insert(sandbox(1).id, Arc::new(sandbox(1)));
    snapshot
}

fn shown(changes: &[Change]) -> Vec<String> {
    let short = |id: String| id[..1].to_owned();
    changes
        .iter()
        .map(|change| match change {
            Change::Network(network) => format!("network {}", network.name),
            Change::NoNetwork(_) => "no network".into(),
            Change::Endpoint(endpoint) => format!("endpoint {}", endpoint.names.join(",")),
            Change::NoEndpoint(id) => format!("no endpoint {}", short(id.to_string()[1..].into())),
            Change::Sandbox(_) => "sandbox".into(),
            Change::NoSandbox(_) => "no sandbox".into(),
            Change::HostFile(_) => "host file".into(),
        })
        .collect()
}

type Edit = fn(&mut Snapshot);

// A table: its length is its worth, and its edits are expressions.
#[allow(clippy::too_many_lines, clippy::semicolon_if_nothing_returned)]
#[test]
fn only_what_names_need_and_what_changed_is_told() {
    let edits: [(&str, Edit, &[&str]); 13] = [
        ("nothing", |_| {}, &[]),
        (
            "an endpoint comes",
            |s| s.insert_endpoint(Arc::new(endpoint(3, HERE))),
            &["endpoint c3"],
        ),
        (
            "an endpoint goes",
            |s| drop(s.remove_endpoint(&endpoint(2, HERE).id)),
            &["no endpoint 2"],
        ),
        (
            "an endpoint is not ready",
            |s| {
                s.insert_endpoint(Arc::new(Endpoint {
                    lifecycle: Lifecycle::Creating,
                    ..endpoint(3, HERE)
                }))
            },
            &[],
        ),
        (
            "an endpoint begins to go",
            |s| {
                s.insert_endpoint(Arc::new(Endpoint {
                    lifecycle: Lifecycle::Deleting,
                    ..endpoint(1, HERE)
                }))
            },
            &["no endpoint 1"],
        ),
        (
            "an option changes",
            |s| {
                s.insert_endpoint(Arc::new(Endpoint {
                    requested: vec![[1, 2, 3, 4].into()],
                    ..endpoint(1, HERE)
                }))
            },
            &[],
        ),
        (
            "a name changes",
            |s| {
                s.insert_endpoint(Arc::new(Endpoint {
                    dns_names: vec!["new".into()],
                    ..endpoint(1, HERE)
                }))
            },
            &["endpoint new"],
        ),
        (
            "a host dies",
            |s| {
                s.live_nodes.remove(&THERE);
            },
            &["no endpoint 2"],
        ),
        (
            "a host dies while the store is silent",
            |s| {
                s.stale = true;
                s.live_nodes.remove(&THERE);
            },
            &[],
        ),
        (
            "a host dies and its endpoint is removed at once",
            |s| {
                s.live_nodes.remove(&THERE);
                s.remove_endpoint(&endpoint(2, THERE).id);
            },
            &["no endpoint 2"],
        ),
        (
            "a network becomes internal",
            |s| {
                drop(s.networks.insert(
                    network(1).id,
                    Arc::new(Network {
                        internal: true,
                        ..network(1)
                    }),
                ))
            },
            &["network n1"],
        ),
        (
            "a sandbox is on its way out",
            |s| {
                let leaving = Sandbox {
                    lifecycle: Lifecycle::Deleting,
                    ..sandbox(1)
                };
                s.sandboxes.insert(leaving.id, Arc::new(leaving));
            },
            &["no sandbox"],
        ),
        (
            "a sandbox is made anew in its place",
            |s| {
                let anew = Sandbox {
                    created: Timestamp::now(),
                    ..sandbox(1)
                };
                s.sandboxes.insert(anew.id, Arc::new(anew));
            },
            &["sandbox"],
        ),
    ];
    for (name, edit, wanted) in edits {
        let (old, mut new) = (world(), world());
        edit(&mut new);
        assert_eq!(shown(&difference(&old, &new)), wanted, "{name}");
    }
    let all = shown(&difference(&Snapshot::default(), &world()));
    assert_eq!(
        all,
        ["network n1", "endpoint c1", "endpoint c2", "sandbox"],
        "from nothing"
    );
}

fn lease(server: [u8; 4]) -> model::Lease {
    model::Lease {
        address: "10.5.0.9/24".parse().expect("an address"),
        server: [10, 5, 0, 1].into(),
        obtained: Timestamp::ZERO,
        renew_after: 1,
        rebind_after: 2,
        lasts: 3,
        gateway: None,
        routes: Vec::new(),
        name_servers: vec![server.into()],
        domain: None,
        mtu: None,
    }
}

fn leasing(server: [u8; 4]) -> Arc<Endpoint> {
    Arc::new(Endpoint {
        lease: Some(lease(server)),
        ..endpoint(1, HERE)
    })
}

#[test]
fn the_servers_of_a_lease_are_its_sandboxes_unless_that_has_its_own() {
    let servers = |changes: &[Change]| {
        changes.iter().find_map(|change| match change {
            Change::Sandbox(sandbox) => Some(sandbox.servers.clone()),
            _ => None,
        })
    };
    let with = |server| {
        let mut snapshot = world();
        snapshot.insert_endpoint(leasing(server));
        snapshot
    };
    let (first, second) = (with([10, 5, 0, 53]), with([10, 5, 0, 54]));
    assert_eq!(
        servers(&difference(&world(), &first)),
        Some(vec![[10, 5, 0, 53].into()])
    );
    assert_eq!(
        servers(&difference(&first, &second)),
        Some(vec![[10, 5, 0, 54].into()])
    );
    assert_eq!(
        servers(&difference(&second, &world())),
        Some(Vec::new()),
        "the lease is lost"
    );
    assert_eq!(servers(&difference(&first, &first.clone())), None);
    let own = |mut snapshot: Snapshot| {
        let mut sandbox = sandbox(1);
        sandbox.dns.servers = vec![[9, 9, 9, 9].into()];
        snapshot.sandboxes.insert(sandbox.id, Arc::new(sandbox));
        snapshot
    };
    assert_eq!(
        servers(&difference(&own(first), &own(second))),
        None,
        "the user's come first"
    );
    let internal = |mut snapshot: Snapshot| {
        let network = Network {
            internal: true,
            ..network(1)
        };
        snapshot.networks.insert(network.id, Arc::new(network));
        snapshot
    };
    let apart = internal(with([10, 5, 0, 53]));
    assert_eq!(
        servers(&difference(&internal(world()), &apart)),
        None,
        "it leads nowhere"
    );
}

#[test]
fn a_host_that_comes_back_has_its_names_again() {
    let (mut old, new) = (world(), world());
    old.live_nodes.remove(&THERE);
    assert_eq!(shown(&difference(&old, &new)), ["endpoint c2"]);
}

#[test]
fn the_host_namespace_is_never_served() {
    let (old, mut new) = (Snapshot::default(), Snapshot::default());
    let host = Sandbox {
        kind: SandboxKind::Host,
        ..sandbox(1)
    };
    new.sandboxes.insert(host.id, Arc::new(host));
    assert!(difference(&old, &new).is_empty());
}
