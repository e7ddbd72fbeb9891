use std::net::{Ipv4Addr, Ipv6Addr};

use model::{DnsPorts, EndpointId, ExposedPorts, NetworkId, SandboxId, Timestamp};

use super::*;
use crate::{Change, EndpointFacts, Names, NetworkFacts, SandboxFacts};

fn network(number: u8) -> NetworkId {
    NetworkId::from_bytes([number; 32])
}

fn sandbox(number: u8) -> SandboxId {
    SandboxId::from_bytes([number; 32])
}

fn network_called(number: u8, name: &str) -> NetworkFacts {
    NetworkFacts {
        id: network(number),
        name: name.into(),
        named: true,
        outside: true,
        predefined: false,
        gateways: 1,
        records: [].into(),
        forwards: [].into(),
        listeners: Vec::new(),
        publishes: Vec::new(),
    }
}

fn endpoint(number: u8, on: u8, of: u8, names: &[&str]) -> EndpointFacts {
    EndpointFacts {
        id: EndpointId::from_bytes([number; 32]),
        network: network(on),
        sandbox: sandbox(of),
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        links: [].into(),
        ipv4: Some(Ipv4Addr::new(10, on, 0, number)),
        ipv6: None,
        priority: 0,
    }
}

fn served(number: u8) -> Change {
    Change::Sandbox(SandboxFacts {
        id: sandbox(number),
        created: Timestamp::ZERO,
        netns: format!("/run/netns/{number}").into(),
        ports: DnsPorts { udp: 1, tcp: 2 },
        servers: Vec::new(),
        ndots: None,
        behind: false,
        exposed: Vec::new(),
        published: Vec::new(),
    })
}

/// Two user networks, one of them with a dot in its name, and a predefined one. Sandbox 1 is on all, 2 and 3 on one.
fn world() -> Names {
    let mut names = Names::default();
    let bridge = NetworkFacts {
        named: false,
        predefined: true,
        ..network_called(9, "bridge")
    };
    let six = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 3);
    for change in [
        Change::Network(network_called(1, "front")),
        Change::Network(network_called(2, "Back.End")),
        Change::Network(bridge),
        Change::Endpoint(EndpointFacts {
            priority: 5,
            ..endpoint(1, 1, 1, &["web", "1f2e3d4c5b6a", "www"])
        }),
        Change::Endpoint(EndpointFacts {
            links: [
                ("store".to_owned(), "DB".to_owned()),
                ("later".to_owned(), "nobody".to_owned()),
            ]
            .into(),
            ..endpoint(2, 2, 1, &["web"])
        }),
        Change::Endpoint(endpoint(3, 1, 2, &["Client", "app"])),
        Change::Endpoint(EndpointFacts {
            ipv6: Some(six),
            ..endpoint(4, 2, 3, &["db", "app"])
        }),
        Change::Endpoint(endpoint(5, 2, 4, &["app", "app", "a.b"])),
        Change::Endpoint(endpoint(6, 9, 1, &["web", "onbridge"])),
        Change::Endpoint(endpoint(7, 9, 5, &["lonely"])),
        served(1),
        served(2),
        served(3),
    ] {
        names.apply(change);
    }
    names
}

fn ask(names: &Names, of: u8, name: &str, kind: Kind) -> String {
    let table = names.table(sandbox(of)).expect("a served sandbox");
    match answer(
        &table,
        &Query {
            name: name.into(),
            kind,
        },
        0,
    ) {
        Answer::Addresses(mut addresses) => {
            addresses.sort();
            addresses
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(" ")
        }
        Answer::Pointer(target) => target,
        Answer::Services(services) => {
            let all = services
                .iter()
                .map(|service| format!("{}:{}", service.target, service.port));
            all.collect::<Vec<_>>().join(" ")
        }
        Answer::Nothing => "nothing".into(),
        Answer::Forward => "forward".into(),
        Answer::Refuse => "refuse".into(),
    }
}

#[test]
fn a_sandbox_sees_the_names_of_its_networks_and_no_others() {
    let names = world();
    for (who, name, kind, wanted) in [
        (1, "client", Kind::Ipv4, "10.1.0.3"),
        (1, "www", Kind::Ipv4, "10.1.0.1"),
        (1, "1f2e3d4c5b6a", Kind::Ipv4, "10.1.0.1"),
        (1, "db", Kind::Ipv4, "10.2.0.4"),
        (2, "db", Kind::Ipv4, "forward"),
        (3, "client", Kind::Ipv4, "forward"),
        (3, "web", Kind::Ipv4, "10.2.0.2"),
        (1, "web", Kind::Ipv4, "10.1.0.1"), // the network of the higher priority answers alone
        (1, "web.front", Kind::Ipv4, "10.1.0.1"), // a network may be named
        (1, "web.back.end", Kind::Ipv4, "10.2.0.2"), // whatever its case and its dots
        (1, "web.none", Kind::Ipv4, "forward"),
        (1, "front", Kind::Ipv4, "forward"),
        (1, "a.b", Kind::Ipv4, "10.2.0.5"),
        (1, "a.b.back.end", Kind::Ipv4, "10.2.0.5"),
        (3, "app", Kind::Ipv4, "10.2.0.4 10.2.0.5"), // an alias that several have
        (3, "app", Kind::Ipv6, "fd00::3"),
        (3, "app", Kind::Any, "10.2.0.4 10.2.0.5 fd00::3"),
        (1, "app", Kind::Ipv6, "fd00::3"), // the first network that has the family
        (1, "client", Kind::Ipv6, "nothing"), // never forwarded
        (1, "db", Kind::Other, "nothing"), // MX and the like
        (1, "example.com", Kind::Other, "forward"),
        (1, "store", Kind::Ipv4, "10.2.0.4"), // a link
        (1, "store.back.end", Kind::Ipv4, "10.2.0.4"),
        (3, "store", Kind::Ipv4, "forward"),    // seen by one sandbox only
        (1, "later", Kind::Ipv4, "forward"),    // a link to what is not there yet
        (1, "onbridge", Kind::Ipv4, "forward"), // no names on the gateway bridge
        (1, "", Kind::Ipv4, "forward"),
        (1, ".", Kind::Ipv4, "forward"),
    ] {
        assert_eq!(
            ask(&names, who, name, kind),
            wanted,
            "{name} {kind:?} asked by {who}"
        );
    }
}

#[test]
fn addresses_have_their_first_name_on_the_askers_networks() {
    let names = world();
    for (who, address, wanted) in [
        (1, "10.1.0.3", "Client.front."),
        (3, "fd00::3", "db.Back.End."),
        (2, "10.2.0.4", "forward"),
        (1, "192.0.2.1", "forward"),
        (1, "10.9.0.6", "forward"),
    ] {
        let address = address.parse().expect("an address");
        assert_eq!(ask(&names, who, "x", Kind::Pointer(address)), wanted, "{address}");
    }
}

#[test]
fn every_address_gets_its_turn() {
    let names = world();
    let table = names.table(sandbox(3)).expect("served");
    let query = Query {
        name: "app".into(),
        kind: Kind::Ipv4,
    };
    let first = |turn| match answer(&table, &query, turn) {
        Answer::Addresses(addresses) => addresses[0],
        other => panic!("{other:?}"),
    };
    assert_ne!(first(0), first(1));
    assert_eq!(first(0), first(2));
}

#[test]
fn changes_take_names_away_and_lead_back_to_nothing() {
    let mut names = world();
    names.apply(Change::Endpoint(endpoint(3, 1, 2, &["renamed"])));
    assert_eq!(ask(&names, 1, "client", Kind::Ipv4), "forward");
    assert_eq!(ask(&names, 1, "renamed", Kind::Ipv4), "10.1.0.3");
    names.apply(Change::NoEndpoint(EndpointId::from_bytes([5; 32])));
    assert_eq!(ask(&names, 3, "app", Kind::Ipv4), "10.2.0.4");
    assert!(names.table(sandbox(2)).expect("served").reaches_outside());
    names.apply(Change::Network(NetworkFacts {
        outside: false,
        ..network_called(1, "front")
    }));
    assert!(!names.table(sandbox(2)).expect("served").reaches_outside());
    let everything: Vec<_> = names.changes().collect();
    assert!(names.surplus(&everything).is_empty());
    for change in names.surplus(&[]) {
        names.apply(change);
    }
    assert_eq!(names.changes().count(), 0);
    assert!(names.zones.is_empty() && names.by_sandbox.is_empty() && names.views.is_empty());
}

#[test]
fn the_users_records_are_behind_endpoints_and_the_longest_star_counts() {
    let mut names = world();
    let records = [
        ("api.dev", "10.5.0.1"),
        ("*.dev", "10.5.0.2"),
        ("*.x.dev", "fd00::5"),
        ("client", "10.5.0.3"),
    ];
    names.apply(Change::Network(NetworkFacts {
        records: records
            .map(|(name, address)| (name.to_owned(), vec![address.parse().expect("an address")]))
            .into(),
        ..network_called(1, "front")
    }));
    for (who, name, kind, wanted) in [
        (2, "api.dev", Kind::Ipv4, "10.5.0.1"),
        (2, "api.dev.front", Kind::Ipv4, "10.5.0.1"),
        (2, "api.dev", Kind::Ipv6, "nothing"),
        (2, "a.b.dev", Kind::Ipv4, "10.5.0.2"),
        (2, "a.x.dev", Kind::Ipv6, "fd00::5"),
        (2, "a.x.dev", Kind::Ipv4, "nothing"),
        (2, "dev", Kind::Ipv4, "forward"),
        (2, "x.dev", Kind::Ipv4, "10.5.0.2"),
        (2, "adev", Kind::Ipv4, "forward"),
        (2, "client", Kind::Ipv4, "10.1.0.3"),
        (3, "api.dev", Kind::Ipv4, "forward"), // on another network
    ] {
        assert_eq!(ask(&names, who, name, kind), wanted, "{name} asked by {who}");
    }
    for (address, wanted) in [
        ("10.5.0.1", "api.dev."),
        ("10.5.0.2", "forward"), // whose name is any of many
        ("10.5.0.3", "client.front."),
        ("10.1.0.3", "Client.front."),
    ] {
        let address = address.parse().expect("an address");
        assert_eq!(ask(&names, 2, "x", Kind::Pointer(address)), wanted, "{address}");
    }
}

#[test]
fn a_domains_own_servers_are_found_by_the_longest_domain() {
    let mut names = world();
    let forwards = |pairs: &[(&str, u16)]| {
        let at = |port| vec![std::net::SocketAddr::from(([10, 0, 0, 1], port))];
        let all = pairs
            .iter()
            .map(|(domain, port)| ((*domain).to_owned(), at(*port)));
        all.collect()
    };
    names.apply(Change::Network(NetworkFacts {
        forwards: forwards(&[("corp", 1), ("eu.corp", 2)]),
        ..network_called(1, "front")
    }));
    names.apply(Change::Network(NetworkFacts {
        forwards: forwards(&[("corp", 3), ("de.eu.corp", 4)]),
        ..network_called(2, "Back.End")
    }));
    for (who, name, wanted) in [
        (1, "corp", Some(1)),
        (1, "a.corp", Some(1)),
        (1, "acorp", None),
        (1, "a.eu.corp", Some(2)),
        (1, "a.de.eu.corp", Some(4)),
        (3, "a.eu.corp", Some(3)),
        (2, "example.com", None),
    ] {
        let table = names.table(sandbox(who)).expect("served");
        let found = table.forward(name).map(|(_, servers)| servers[0].port());
        assert_eq!(found, wanted, "{name} asked by {who}");
    }
}

#[test]
fn a_service_is_where_a_container_says_that_it_listens() {
    let mut names = world();
    let Change::Sandbox(mut facts) = served(2) else {
        unreachable!("it is a sandbox")
    };
    facts.exposed = vec![ExposedPorts {
        ports: "80-81".parse().expect("ports"),
        protocol: Protocol::Tcp,
    }];
    names.apply(Change::Sandbox(facts));
    for (name, wanted) in [
        ("_80._tcp.client", "Client.front.:80"),
        ("_81._tcp.client.front", "Client.front.:81"),
        ("_82._tcp.client", "nothing"),
        ("_80._udp.client", "nothing"),
        ("_80._icmp.client", "forward"),
        ("_+80._tcp.client", "forward"),
        ("_80._tcp.web", "nothing"),
        ("client", "nothing"),
        ("_80._tcp.example.com", "forward"),
    ] {
        assert_eq!(ask(&names, 1, name, Kind::Service), wanted, "{name}");
    }
}

#[test]
fn the_host_finds_the_names_of_one_network() {
    let names = world();
    let ask = |name: &str, kind| {
        answer_host(
            &names,
            network(1),
            &Query {
                name: name.into(),
                kind,
            },
            0,
        )
    };
    let client = Answer::Addresses(vec![Ipv4Addr::new(10, 1, 0, 3).into()]);
    assert_eq!(ask("client", Kind::Ipv4), client);
    assert_eq!(ask("client.front", Kind::Ipv4), client);
    assert_eq!(ask("db", Kind::Ipv4), Answer::Forward);
    let back = Kind::Pointer(Ipv4Addr::new(10, 1, 0, 3).into());
    assert_eq!(ask("x", back), Answer::Pointer("Client.front.".into()));
}
