//! Wishes and what they come to.

use model::SandboxId;

use super::*;

/// `-p` as a user types it.
fn wish(text: &str) -> PortBinding {
    let (rest, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (left, container) = rest.rsplit_once(':').unwrap_or(("", rest));
    let (ip, host) = left.rsplit_once(':').unwrap_or(("", left));
    PortBinding {
        protocol: protocol.parse().unwrap(),
        container: container.parse().unwrap(),
        host_ip: (!ip.is_empty()).then(|| ip.trim_matches(['[', ']']).parse().unwrap()),
        host: (!host.is_empty()).then(|| host.parse().unwrap()),
        exposure: None,
    }
}

fn wishes(texts: &[&str]) -> Vec<PortBinding> {
    texts.iter().map(|text| wish(text)).collect()
}

fn claims(spans: &[&str]) -> Claims {
    let mut claims = Claims::default();
    for (n, span) in (0u8..).zip(spans) {
        let span: Span = span.parse().unwrap();
        let published = PublishedPorts {
            protocol: span.protocol,
            host_ip: span.ip,
            host: span.ports,
            container: span.ports,
            exposure: Exposure::Open,
        };
        claims.add(SandboxId::from_bytes([n; 32]), &format!("c{n}"), &[published]);
    }
    claims
}

fn listener(text: &str, both_families: bool) -> Listener {
    let span: Span = text.parse().unwrap();
    Listener {
        protocol: span.protocol,
        ip: span.ip,
        port: span.ports.first(),
        both_families,
    }
}

struct World {
    claims: Claims,
    listeners: Vec<Listener>,
    reserved: Intervals,
    defaults: Defaults,
    ephemeral: &'static str,
    start: u16,
}

impl Default for World {
    fn default() -> Self {
        Self {
            claims: Claims::default(),
            listeners: Vec::new(),
            reserved: Intervals::new(),
            defaults: Defaults {
                ipv6: true,
                ..Defaults::default()
            },
            ephemeral: "32768-60999",
            start: 0,
        }
    }
}

impl World {
    fn assign(&self, texts: &[&str]) -> Result<Vec<String>, Vec<String>> {
        let situation = Assignment {
            claims: &self.claims,
            listeners: &self.listeners,
            defaults: self.defaults,
            ephemeral: self.ephemeral.parse().unwrap(),
            reserved: &self.reserved,
            start: self.start,
        };
        let published = assign(&wishes(texts), &situation);
        published
            .map(|all| all.iter().map(ToString::to_string).collect())
            .map_err(|all| all.iter().map(ToString::to_string).collect())
    }
}

fn assert_rows(world: &World, rows: &[(&[&str], &[&str])]) {
    for (asked, expected) in rows {
        let got = world.assign(asked).unwrap_or_else(|errors| errors);
        assert_eq!(got, *expected, "{asked:?}");
    }
}

#[test]
fn every_form_becomes_one_interval_for_each_family() {
    assert_rows(
        &World::default(),
        &[
            (&["8080:80"], &["0.0.0.0:8080->80/tcp", "[::]:8080->80/tcp"]),
            (&["8080:80/udp"], &["0.0.0.0:8080->80/udp", "[::]:8080->80/udp"]),
            (&["7:7/sctp"], &["0.0.0.0:7->7/sctp", "[::]:7->7/sctp"]),
            (&["127.0.0.1:5000:5000"], &["127.0.0.1:5000->5000/tcp"]),
            (&["0.0.0.0:5000:5000"], &["0.0.0.0:5000->5000/tcp"]),
            (&["[::1]:5000:5000"], &["[::1]:5000->5000/tcp"]),
            (&["[::ffff:127.0.0.1]:5000:5000"], &["127.0.0.1:5000->5000/tcp"]),
            (&["127.0.0.1::5000"], &["127.0.0.1:32768->5000/tcp"]),
            (&["80"], &["0.0.0.0:32768->80/tcp", "[::]:32768->80/tcp"]),
            (
                &["10000-19999:10000-19999"],
                &[
                    "0.0.0.0:10000-19999->10000-19999/tcp",
                    "[::]:10000-19999->10000-19999/tcp",
                ],
            ),
            (
                &["127.0.0.1:8000-8009:9000-9009/udp"],
                &["127.0.0.1:8000-8009->9000-9009/udp"],
            ),
            (&["127.0.0.1:8000-8009:80"], &["127.0.0.1:8000->80/tcp"]),
            (
                &["127.0.0.1::7000-7999"],
                &["127.0.0.1:32768-33767->7000-7999/tcp"],
            ),
        ],
    );
}

#[test]
fn what_a_wish_leaves_open_is_the_networks_and_the_daemons() {
    let world = |host_ip: &str, ipv6| World {
        defaults: Defaults {
            host_ip: host_ip.parse().ok(),
            exposure: Exposure::Host,
            ipv6,
        },
        ..World::default()
    };
    let rows = [
        (world("", false), "80:80", "0.0.0.0:80->80/tcp"),
        (world("0.0.0.0", false), "80:80", "0.0.0.0:80->80/tcp"),
        (world("127.0.0.1", true), "80:80", "127.0.0.1:80->80/tcp"),
        (world("::", true), "80:80", "[::]:80->80/tcp"),
        (world("127.0.0.1", true), "10.0.0.9:80:80", "10.0.0.9:80->80/tcp"),
    ];
    for (world, asked, expected) in rows {
        assert_eq!(world.assign(&[asked]).unwrap(), [expected], "{asked}");
    }
    let both = world("0.0.0.0", true).assign(&["80:80"]).unwrap();
    assert_eq!(both.len(), 2, "0.0.0.0 as a default is every address of the host");
    let situation = world("", true);
    let refused = world("", false).assign(&["[::1]:80:80"]).unwrap_err();
    assert_eq!(refused, ["cannot bind to ::1: the host has no IPv6"]);
    let published = assign(
        &wishes(&["80:80"]),
        &Assignment {
            claims: &situation.claims,
            listeners: &[],
            defaults: situation.defaults,
            ephemeral: "32768-60999".parse().unwrap(),
            reserved: &situation.reserved,
            start: 0,
        },
    );
    assert!(
        published
            .unwrap()
            .iter()
            .all(|one| one.exposure == Exposure::Host)
    );
}

#[test]
fn what_is_taken_is_refused_with_everything_that_is_wrong() {
    let world = World {
        claims: claims(&["tcp 0.0.0.0 8000-8999", "tcp 127.0.0.1 70", "udp :: 53"]),
        listeners: vec![
            listener("tcp 0.0.0.0 22", false),
            listener("tcp :: 443", true),
            listener("tcp ::1 631", false),
        ],
        ..World::default()
    };
    let taken = |at: &str| format!("Bind for {at} failed: port is already allocated");
    let rows: [(&[&str], &[String]); 9] = [
        (&["8080:80"], &[taken("0.0.0.0:8080")]),
        (&["127.0.0.1:8080:80"], &[taken("127.0.0.1:8080")]),
        (&["7990-8009:7990-8009"], &[taken("0.0.0.0:8000")]),
        (&["70:70"], &[taken("0.0.0.0:70")]),
        (&["22:22", "631:631"], &[taken("0.0.0.0:22"), taken("[::]:631")]),
        (&["0.0.0.0:443:443"], &[taken("0.0.0.0:443")]),
        (&["53:53/udp"], &[taken("[::]:53")]),
        (&["90:90", "90:91"], &[taken("0.0.0.0:90")]),
        (
            &["1-3:80-81", "127.0.0.1:70:70"],
            &[
                "host ports 1-3 and container ports 80-81/tcp differ in number".to_owned(),
                taken("127.0.0.1:70"),
            ],
        ),
    ];
    for (asked, expected) in rows {
        assert_eq!(world.assign(asked).unwrap_err(), expected, "{asked:?}");
    }
    for free in [
        "127.0.0.2:70:70",
        "[::1]:8080:80",
        "0.0.0.0:53:53/udp",
        "8080:80/udp",
        "0.0.0.0:631:1",
    ] {
        assert!(world.assign(&[free]).is_ok(), "{free}");
    }
    assert_eq!(
        world.assign(&["90:90", "90:90"]).unwrap().len(),
        2,
        "said twice is once"
    );
}

#[test]
fn the_holder_is_named() {
    let (claims, listeners) = (
        claims(&["tcp 0.0.0.0 8000-8999"]),
        [listener("tcp 127.0.0.1 22", false)],
    );
    let reserved = Intervals::new();
    let situation = Assignment {
        claims: &claims,
        listeners: &listeners,
        defaults: Defaults::default(),
        ephemeral: "32768-60999".parse().unwrap(),
        reserved: &reserved,
        start: 0,
    };
    let held = |texts: &[&str]| -> Vec<Holder> {
        let violations = assign(&wishes(texts), &situation).unwrap_err();
        let holder = |violation| match violation {
            Violation::Taken { holder, .. } => holder,
            other => panic!("{other}"),
        };
        violations.into_iter().map(holder).collect()
    };
    assert_eq!(
        held(&["8080:1", "20-30:20-30", "1:1", "1:2"]),
        [
            Holder::Sandbox(SandboxId::from_bytes([0; 32]), "c0".to_owned()),
            Holder::Process(listeners[0]),
            Holder::Same,
        ]
    );
}

#[test]
fn free_ports_are_chosen_past_what_is_taken_and_reserved_and_equal_for_both_families() {
    let world = |claimed: &[&str], reserved: &[&str], start| World {
        claims: claims(claimed),
        reserved: reserved.iter().map(|range| range.parse().unwrap()).collect(),
        ephemeral: "100-109",
        start,
        ..World::default()
    };
    let rows: [(World, &[&str], &[&str]); 9] = [
        (world(&[], &[], 3), &["127.0.0.1::80"], &["127.0.0.1:103->80/tcp"]),
        (
            world(&[], &[], 9),
            &["127.0.0.1::80", "127.0.0.1::81"],
            &["127.0.0.1:109->80/tcp", "127.0.0.1:100->81/tcp"],
        ),
        (
            world(&["tcp 0.0.0.0 100", "tcp :: 101"], &["102-104"], 0),
            &["80"],
            &["0.0.0.0:105->80/tcp", "[::]:105->80/tcp"],
        ),
        (
            world(&[], &[], 0),
            &["127.0.0.1::80", "127.0.0.1:100:81"],
            &["127.0.0.1:101->80/tcp", "127.0.0.1:100->81/tcp"],
        ),
        (
            world(&[], &[], 0),
            &["127.0.0.1:100-105:80", "127.0.0.1:100:81"],
            &["127.0.0.1:101->80/tcp", "127.0.0.1:100->81/tcp"],
        ),
        (
            world(&["tcp 127.0.0.1 104"], &[], 0),
            &["127.0.0.1::1-5"],
            &["127.0.0.1:105-109->1-5/tcp"],
        ),
        (
            world(&["tcp 127.0.0.1 104"], &["100"], 0),
            &["127.0.0.1::1-7"],
            &["127.0.0.1:101-103->1-3/tcp", "127.0.0.1:105-108->4-7/tcp"],
        ),
        (
            world(&["tcp 0.0.0.0 104"], &[], 0),
            &["127.0.0.1::1-10"],
            &["Bind for 127.0.0.1:100-109 failed: all ports are allocated"],
        ),
        (
            world(&["tcp 0.0.0.0 104-105"], &["104"], 0),
            &["127.0.0.1:104-105:1"],
            &["Bind for 127.0.0.1:104-105 failed: all ports are allocated"],
        ),
    ];
    for (world, asked, expected) in rows {
        let got = world.assign(asked).unwrap_or_else(|errors| errors);
        assert_eq!(got, expected, "{asked:?}");
    }
}

#[test]
fn a_reserved_port_may_be_named() {
    let world = World {
        reserved: ["8080".parse().unwrap()].into_iter().collect(),
        ..World::default()
    };
    assert!(world.assign(&["8080:80"]).is_ok());
}
