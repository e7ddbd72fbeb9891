//! Ports of containers: exposed, asked to be published, published.

use std::{collections::BTreeMap, fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::AddressFamily;

/// A transport protocol that has ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// RFC 9293.
    Tcp,
    /// RFC 768.
    Udp,
    /// RFC 9260.
    Sctp,
}

/// Text that names no protocol with ports.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a protocol with ports: \"tcp\", \"udp\" and \"sctp\" are")]
pub struct ProtocolError(String);

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Sctp];

    /// IANA's number.
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }

    /// Its name in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Protocol {
    type Err = ProtocolError;
    fn from_str(text: &str) -> Result<Self, ProtocolError> {
        let same = |protocol: &Self| text.eq_ignore_ascii_case(protocol.as_str());
        let found = Self::ALL.into_iter().find(same);
        found.ok_or_else(|| ProtocolError(text.to_owned()))
    }
}

/// Ports from the first to the last, both included; neither is 0 and they are in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "(u16, u16)", into = "(u16, u16)")]
pub struct PortRange {
    first: u16,
    last: u16,
}

/// Numbers that are no range of ports.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a port or range of ports: 1 to 65535, the first not above the last, are")]
pub struct PortRangeError(String);

impl PortRange {
    /// The ports from `first` to `last`.
    pub fn new(first: u16, last: u16) -> Result<Self, PortRangeError> {
        if first == 0 || first > last {
            return Err(PortRangeError(format!("{first}-{last}")));
        }
        Ok(Self { first, last })
    }

    /// One port.
    pub fn single(port: u16) -> Result<Self, PortRangeError> {
        Self::new(port, port)
    }

    /// The lowest.
    pub const fn first(self) -> u16 {
        self.first
    }

    /// The highest.
    pub const fn last(self) -> u16 {
        self.last
    }

    /// How many there are.
    pub const fn count(self) -> u32 {
        (self.last - self.first) as u32 + 1
    }

    /// Whether this is one of them.
    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }

    /// Whether some port is in both.
    pub const fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// Each of them.
    pub fn iter(self) -> impl ExactSizeIterator<Item = u16> {
        // `RangeInclusive<u16>` has an exact size, for every range that `new` lets pass.
        self.first..=self.last
    }
}

impl TryFrom<(u16, u16)> for PortRange {
    type Error = PortRangeError;
    fn try_from((first, last): (u16, u16)) -> Result<Self, PortRangeError> {
        Self::new(first, last)
    }
}

impl From<PortRange> for (u16, u16) {
    fn from(range: PortRange) -> Self {
        (range.first, range.last)
    }
}

impl FromStr for PortRange {
    type Err = PortRangeError;
    fn from_str(text: &str) -> Result<Self, PortRangeError> {
        let number = |part: &str| match part.bytes().all(|byte| byte.is_ascii_digit()) {
            true => part.parse().map_err(|_| PortRangeError(format!("{text:?}"))),
            false => Err(PortRangeError(format!("{text:?}"))),
        };
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Self::new(number(first)?, number(last)?).map_err(|_| PortRangeError(format!("{text:?}")))
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first == self.last {
            true => write!(f, "{}", self.first),
            false => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

/// Ports that a container listens on, whether they are published or not (`EXPOSE`, `--expose`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ExposedPorts {
    /// Which.
    pub ports: PortRange,
    /// Of which protocol.
    pub protocol: Protocol,
}

impl ExposedPorts {
    /// The same ports in order and in as few ranges as can be: none of them overlap, and none goes on where one ends.
    pub fn united(ports: impl IntoIterator<Item = Self>) -> Vec<Self> {
        let mut ranges: BTreeMap<Protocol, Vec<PortRange>> = BTreeMap::new();
        for ports in ports {
            ranges.entry(ports.protocol).or_default().push(ports.ports);
        }
        let mut united: Vec<Self> = Vec::new();
        for (protocol, mut ranges) in ranges {
            ranges.sort_unstable();
            let mut open: Option<PortRange> = None;
            for range in ranges {
                open = match open {
                    Some(before) if range.first() <= before.last().saturating_add(1) => {
                        let last = before.last().max(range.last());
                        PortRange::new(before.first(), last).ok()
                    }
                    before => {
                        united.extend(before.map(|ports| Self { ports, protocol }));
                        Some(range)
                    }
                };
            }
            united.extend(open.map(|ports| Self { ports, protocol }));
        }
        united
    }

    /// Each of them by itself.
    pub fn each(self) -> impl Iterator<Item = Self> {
        self.ports.iter().filter_map(move |port| {
            Some(Self {
                ports: PortRange::single(port).ok()?,
                ..self
            })
        })
    }
}

impl FromStr for ExposedPorts {
    type Err = String;
    /// `80`, `80/tcp`, `8000-8010/udp`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        Ok(Self {
            ports: ports.parse().map_err(|error: PortRangeError| error.to_string())?,
            protocol: protocol
                .parse()
                .map_err(|error: ProtocolError| error.to_string())?,
        })
    }
}

impl fmt::Display for ExposedPorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ports, self.protocol)
    }
}

/// Whose rules a published port obeys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Exposure {
    /// Ours alone: who reaches the host address reaches the port.
    #[default]
    Open,
    /// The host's own input policy too (ufw, firewalld, plain rules): what that drops for this host's port never
    /// reaches the container.
    Host,
}

/// Publishing, as asked: `-p [HOST_IP:][HOST[-LAST]]:CONTAINER[-LAST][/PROTOCOL]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortBinding {
    /// Of which protocol.
    pub protocol: Protocol,
    /// The container's ports.
    pub container: PortRange,
    /// The host's address; none for the network's default, else all addresses of both families.
    pub host_ip: Option<IpAddr>,
    /// The host's ports: as many as the container's, or a range to choose from for one; none for a free one each.
    pub host: Option<PortRange>,
    /// Whose rules it obeys; none for the daemon's default.
    pub exposure: Option<Exposure>,
}

/// Publishing, as decided: `host` leads to `container`, port by port. Both ranges have one length.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PublishedPorts {
    /// Of which protocol.
    pub protocol: Protocol,
    /// The host's address; the unspecified one of a family for all of that family's.
    pub host_ip: IpAddr,
    /// The host's ports.
    pub host: PortRange,
    /// The container's ports.
    pub container: PortRange,
    /// Whose rules they obey.
    pub exposure: Exposure,
}

impl PublishedPorts {
    /// Of one container, how many ports can be served by the relay: each is a socket.
    pub const MOST_RELAYED: usize = 1024;

    /// The family of the host's address.
    pub fn family(&self) -> AddressFamily {
        AddressFamily::of(self.host_ip)
    }

    /// What is left without the ports that `other` has of these, in order: nothing, all, or one or two parts.
    pub fn without(&self, other: &Self) -> Vec<Self> {
        let shift = |ports: PortRange| i32::from(ports.first()) - i32::from(self.container.first());
        let same = (self.protocol, self.host_ip) == (other.protocol, other.host_ip)
            && i32::from(other.host.first()) - i32::from(self.host.first()) == shift(other.container);
        let (first, last) = (self.container.first(), self.container.last());
        if !same || !self.container.overlaps(other.container) {
            return vec![self.clone()];
        }
        let part = |from: u16, to: u16| {
            let host = |port: u16| self.host.first() + (port - first);
            Some(Self {
                host: PortRange::new(host(from), host(to)).ok()?,
                container: PortRange::new(from, to).ok()?,
                ..self.clone()
            })
        };
        let before = (first < other.container.first()).then(|| part(first, other.container.first() - 1));
        let after = (other.container.last() < last).then(|| part(other.container.last() + 1, last));
        before.into_iter().chain(after).flatten().collect()
    }

    /// Whether both cannot be published at once: a host address, protocol and port in common.
    pub fn collides(&self, other: &Self) -> bool {
        self.protocol == other.protocol
            && self.host.overlaps(other.host)
            && self.family() == other.family()
            && (self.host_ip == other.host_ip
                || self.host_ip.is_unspecified()
                || other.host_ip.is_unspecified())
    }
}

impl fmt::Display for PublishedPorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host_ip {
            IpAddr::V4(ip) => write!(f, "{ip}:{}", self.host)?,
            IpAddr::V6(ip) => write!(f, "[{ip}]:{}", self.host)?,
        }
        write!(f, "->{}/{}", self.container, self.protocol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_and_written() {
        for (text, count) in [("80", 1), ("8000-8009", 10), ("1-65535", 65535)] {
            let range: PortRange = text.parse().expect("a range");
            assert_eq!((range.to_string().as_str(), range.count()), (text, count));
        }
        for bad in ["", "0", "65536", "9-8", "-", "80-", "+80", " 80", "8 0", "1-2-3"] {
            assert!(bad.parse::<PortRange>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn exposed_ports_are_as_few_ranges_as_can_be() {
        let rows: [(&str, &[&str]); 5] = [
            ("80/tcp 81/tcp 82/tcp", &["80-82/tcp"]),
            ("82 80 81 90", &["80-82/tcp", "90/tcp"]),
            ("80-90/udp 85-95/udp 80/tcp", &["80/tcp", "80-95/udp"]),
            ("1-65535/tcp 65535/tcp", &["1-65535/tcp"]),
            ("", &[]),
        ];
        for (given, wanted) in rows {
            let ports = given
                .split_whitespace()
                .map(|text| text.parse::<ExposedPorts>().expect("ports"));
            let united: Vec<_> = ExposedPorts::united(ports)
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(united, wanted, "{given}");
        }
        let all: ExposedPorts = "80-82/udp".parse().expect("ports");
        let each: Vec<_> = all.each().map(|one| one.to_string()).collect();
        assert_eq!(each, ["80/udp", "81/udp", "82/udp"]);
    }

    #[test]
    fn a_part_is_taken_out_of_published_ports() {
        let published = |host: &str, container: &str| PublishedPorts {
            protocol: Protocol::Tcp,
            host_ip: IpAddr::from([0; 4]),
            host: host.parse().expect("a range"),
            container: container.parse().expect("a range"),
            exposure: Exposure::Open,
        };
        let all = published("80-89", "90-99");
        let rows: [(PublishedPorts, &[PublishedPorts]); 6] = [
            (
                published("85", "95"),
                &[published("80-84", "90-94"), published("86-89", "96-99")],
            ),
            (published("80", "90"), &[published("81-89", "91-99")]),
            (published("88-89", "98-99"), &[published("80-87", "90-97")]),
            (published("80-89", "90-99"), &[]),
            (published("79-90", "89-100"), &[]),
            (published("85", "96"), &[published("80-89", "90-99")]),
        ];
        for (gone, left) in rows {
            assert_eq!(all.without(&gone), left, "{gone}");
        }
    }

    #[test]
    fn the_unspecified_address_collides_with_every_address_of_its_family() {
        let published = |ip: &str, first, last| PublishedPorts {
            protocol: Protocol::Tcp,
            host_ip: ip.parse().expect("an address"),
            host: PortRange::new(first, last).expect("a range"),
            container: PortRange::new(first, last).expect("a range"),
            exposure: Exposure::Open,
        };
        let all = published("0.0.0.0", 80, 90);
        let rows = [
            (published("127.0.0.1", 90, 95), true),
            (published("127.0.0.1", 91, 95), false),
            (published("::", 80, 80), false),
            (published("0.0.0.0", 85, 85), true),
        ];
        for (other, collide) in rows {
            assert_eq!(all.collides(&other), collide, "{other}");
            assert_eq!(other.collides(&all), collide, "{other}");
        }
    }
}
