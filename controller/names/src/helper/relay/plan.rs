//! Pure: which published ports are relayed, and where to.

use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

use dns::NameTable;
use model::{AddressFamily, Exposure, Protocol, PublishedPorts};

/// A sandbox's most relays, each of which is a socket.
const MOST: usize = PublishedPorts::MOST_RELAYED;

/// One port of the host that leads to one of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::helper) struct Relay {
    pub(super) protocol: Protocol,
    pub(super) listen: SocketAddr,
    pub(super) target: SocketAddr,
}

impl fmt::Display for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}->{}/{}", self.listen, self.target, self.protocol)
    }
}

/// A sandbox's relays, and what of its ports can't be relayed.
pub(in crate::helper) fn relays(
    published: &[PublishedPorts],
    table: NameTable<'_>,
) -> (BTreeSet<Relay>, Option<String>) {
    decide(published, |family| table.published_at(family).next())
}

fn decide(
    published: &[PublishedPorts],
    address: impl Fn(AddressFamily) -> Option<IpAddr>,
) -> (BTreeSet<Relay>, Option<String>) {
    let (mut relays, mut trouble) = (BTreeSet::new(), None);
    // First those that nothing but the relay leads to: they were counted when they were granted.
    let mut published: Vec<_> = published.iter().collect();
    published.sort_by_key(|ports| ports.exposure != Exposure::Host);
    for ports in published {
        let own = address(ports.family());
        let other = address(match ports.family() {
            AddressFamily::V4 => AddressFamily::V6,
            AddressFamily::V6 => AddressFamily::V4,
        });
        let Some((listen, target)) = path(ports, own, other) else {
            continue;
        };
        if ports.protocol == Protocol::Sctp {
            // Of SCTP at [::1] nobody expects more than the kernel does.
            if listen == ports.host_ip {
                trouble.get_or_insert(format!("{ports} can't be relayed: SCTP is not"));
            }
            continue;
        }
        let room = MOST.saturating_sub(relays.len());
        if ports.host.count() as usize > room {
            trouble.get_or_insert(format!(
                "of {ports} only the first {room} ports are relayed at {listen}: {MOST} are the most for a container"
            ));
        }
        let pairs = ports.host.iter().zip(ports.container.iter()).take(room);
        relays.extend(pairs.map(|(from, to)| Relay {
            protocol: ports.protocol,
            listen: SocketAddr::new(listen, from),
            target: SocketAddr::new(target, to),
        }));
    }
    (relays, trouble)
}

/// Where to listen and where that leads; none where translation does it, or nothing can.
fn path(ports: &PublishedPorts, own: Option<IpAddr>, other: Option<IpAddr>) -> Option<(IpAddr, IpAddr)> {
    let loopback = IpAddr::V6(Ipv6Addr::LOCALHOST);
    match (ports.exposure, own, other) {
        (Exposure::Host, Some(target), _) | (_, None, Some(target)) => Some((ports.host_ip, target)),
        (Exposure::Open, Some(target), _)
            if ports.family() == AddressFamily::V6
                && (ports.host_ip.is_unspecified() || ports.host_ip == loopback) =>
        {
            Some((loopback, target))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(text: &str, exposure: Exposure) -> PublishedPorts {
        let (ip, rest) = text.split_once(' ').expect("an address");
        let (ports, protocol) = rest.split_once('/').expect("a protocol");
        let (host, container) = ports.split_once(':').expect("two ports");
        PublishedPorts {
            protocol: protocol.parse().expect("a protocol"),
            host_ip: ip.parse().expect("an address"),
            host: host.parse().expect("ports"),
            container: container.parse().expect("ports"),
            exposure,
        }
    }

    fn shown(text: &str, exposure: Exposure, has: &[&str]) -> (Vec<String>, bool) {
        let address = |family| {
            let all = has.iter().map(|text| text.parse::<IpAddr>().expect("an address"));
            all.into_iter()
                .find(|address| AddressFamily::of(*address) == family)
        };
        let (relays, trouble) = decide(&[published(text, exposure)], address);
        (
            relays.iter().map(ToString::to_string).collect(),
            trouble.is_some(),
        )
    }

    #[test]
    fn only_what_translation_cannot_do_is_relayed() {
        let (both, v4, v6) = (["10.0.0.2", "fd00::2"], ["10.0.0.2"], ["fd00::2"]);
        let rows: [(&str, Exposure, &[&str], &[&str]); 14] = [
            ("0.0.0.0 80:8080/tcp", Exposure::Open, &both, &[]),
            ("127.0.0.1 80:8080/tcp", Exposure::Open, &v4, &[]),
            (
                ":: 80:8080/tcp",
                Exposure::Open,
                &both,
                &["[::1]:80->[fd00::2]:8080/tcp"],
            ),
            (
                "::1 80:8080/udp",
                Exposure::Open,
                &both,
                &["[::1]:80->[fd00::2]:8080/udp"],
            ),
            ("fd01::1 80:8080/tcp", Exposure::Open, &both, &[]),
            (
                ":: 80:8080/tcp",
                Exposure::Open,
                &v4,
                &["[::]:80->10.0.0.2:8080/tcp"],
            ),
            (
                "fd01::1 80:8080/tcp",
                Exposure::Open,
                &v4,
                &["[fd01::1]:80->10.0.0.2:8080/tcp"],
            ),
            (
                "0.0.0.0 80:8080/tcp",
                Exposure::Open,
                &v6,
                &["0.0.0.0:80->[fd00::2]:8080/tcp"],
            ),
            (
                "0.0.0.0 80:8080/tcp",
                Exposure::Host,
                &both,
                &["0.0.0.0:80->10.0.0.2:8080/tcp"],
            ),
            (
                ":: 80:8080/tcp",
                Exposure::Host,
                &both,
                &["[::]:80->[fd00::2]:8080/tcp"],
            ),
            (
                ":: 80:8080/tcp",
                Exposure::Host,
                &v4,
                &["[::]:80->10.0.0.2:8080/tcp"],
            ),
            (":: 80:8080/tcp", Exposure::Open, &[], &[]),
            (":: 80:8080/sctp", Exposure::Open, &both, &[]),
            (
                "::1 80-81:90-91/tcp",
                Exposure::Open,
                &both,
                &["[::1]:80->[fd00::2]:90/tcp", "[::1]:81->[fd00::2]:91/tcp"],
            ),
        ];
        for (text, exposure, has, wanted) in rows {
            let (relays, trouble) = shown(text, exposure, has);
            assert_eq!(relays, wanted, "{text} {exposure:?} to {has:?}");
            assert!(!trouble, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_relayed_is_told() {
        assert_eq!(
            shown(":: 80:80/sctp", Exposure::Open, &["10.0.0.2"]),
            (vec![], true)
        );
        let (relays, trouble) = shown(":: 1-2000:1-2000/tcp", Exposure::Open, &["fd00::2"]);
        assert_eq!((relays.len(), trouble), (MOST, true));
    }
}
