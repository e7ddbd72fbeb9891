//! What a host does with its ports apart from our objects: sockets of its processes, and flows that its connection
//! tracking remembers.

use std::net::IpAddr;

use model::{PortRange, Protocol, PublishedPorts};

/// A socket that takes a port of the host: a TCP or SCTP listener, a UDP socket that anybody may send to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostSocket {
    /// Of which protocol.
    pub protocol: Protocol,
    /// Where it is bound.
    pub ip: IpAddr,
    /// Its port.
    pub port: u16,
    /// Bound to all IPv6 addresses, it takes the port of IPv4 too.
    pub both_families: bool,
    /// What its file is called in /proc.
    pub inode: u32,
}

/// A process of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Its name, as far as the kernel keeps it.
    pub name: String,
}

/// Where the host takes ports from that nobody named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortLimits {
    /// `net.ipv4.ip_local_port_range`.
    pub ephemeral: PortRange,
    /// `net.ipv4.ip_local_reserved_ports`.
    pub reserved: Vec<PortRange>,
}

/// Flows that lead nowhere any more, or not to where they should.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeadFlows {
    /// From or to an address that nobody has any more.
    Of(IpAddr),
    /// Through ports of the host that led to this address.
    Through(PublishedPorts, IpAddr),
    /// To the host itself, by datagrams on ports that now lead elsewhere: without an end of their own, they would go on
    /// past the new way.
    ToHost(PublishedPorts),
}

/// A flow as connection tracking has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// Its protocol's number.
    pub protocol: u8,
    /// Whence its first packet came.
    pub from: IpAddr,
    /// Where that was sent to.
    pub to: IpAddr,
    /// At which port; 0 for a protocol without.
    pub to_port: u16,
    /// Who answers: another address than `to` where that was translated.
    pub answers_from: IpAddr,
}

impl DeadFlows {
    /// Pure: whether a flow is one of these. `is_local` tells the host's own addresses.
    pub fn matches(&self, flow: &Flow, is_local: impl Fn(IpAddr) -> bool) -> bool {
        let through = |ports: &PublishedPorts| {
            ports.protocol.number() == flow.protocol
                && ports.host.contains(flow.to_port)
                && ports.host_ip.is_ipv4() == flow.to.is_ipv4()
                && (ports.host_ip.is_unspecified() || ports.host_ip == flow.to)
        };
        match self {
            Self::Of(address) => *address == flow.from || *address == flow.answers_from,
            Self::Through(ports, to) => {
                through(ports) && *to == flow.answers_from && flow.to != flow.answers_from
            }
            Self::ToHost(ports) => through(ports) && flow.to == flow.answers_from && is_local(flow.to),
        }
    }

    /// The family of what it is about.
    pub fn is_ipv4(&self) -> bool {
        match self {
            Self::Of(address) => address.is_ipv4(),
            Self::Through(ports, _) | Self::ToHost(ports) => ports.host_ip.is_ipv4(),
        }
    }
}

#[cfg(test)]
mod tests {
    use model::Exposure;

    use super::*;

    fn ports(ip: &str, protocol: Protocol) -> PublishedPorts {
        PublishedPorts {
            protocol,
            host_ip: ip.parse().unwrap(),
            host: "8000-8009".parse().unwrap(),
            container: "80-89".parse().unwrap(),
            exposure: Exposure::Open,
        }
    }

    fn flow(to: &str, to_port: u16, answers_from: &str) -> Flow {
        Flow {
            protocol: 6,
            from: "192.0.2.9".parse().unwrap(),
            to: to.parse().unwrap(),
            to_port,
            answers_from: answers_from.parse().unwrap(),
        }
    }

    #[test]
    fn only_what_went_through_the_dead_mapping_matches() {
        let container: IpAddr = "172.18.0.2".parse().unwrap();
        let through = |ip, protocol| DeadFlows::Through(ports(ip, protocol), container);
        let all = || through("0.0.0.0", Protocol::Tcp);
        let rows = [
            ("through it", all(), flow("10.0.0.1", 8005, "172.18.0.2"), true),
            ("another port", all(), flow("10.0.0.1", 8010, "172.18.0.2"), false),
            (
                "another container",
                all(),
                flow("10.0.0.1", 8005, "172.18.0.3"),
                false,
            ),
            (
                "straight to the container",
                all(),
                flow("172.18.0.2", 8005, "172.18.0.2"),
                false,
            ),
            ("past it", all(), flow("10.0.0.1", 8005, "10.0.0.1"), false),
            (
                "another address of the host",
                through("10.0.0.2", Protocol::Tcp),
                flow("10.0.0.1", 8005, "172.18.0.2"),
                false,
            ),
            (
                "another protocol",
                through("0.0.0.0", Protocol::Udp),
                flow("10.0.0.1", 8005, "172.18.0.2"),
                false,
            ),
            (
                "its address",
                DeadFlows::Of(container),
                flow("10.0.0.1", 1, "172.18.0.2"),
                true,
            ),
            (
                "another's",
                DeadFlows::Of(container),
                flow("10.0.0.1", 1, "172.18.0.3"),
                false,
            ),
            (
                "to the host",
                DeadFlows::ToHost(ports("0.0.0.0", Protocol::Tcp)),
                flow("10.0.0.1", 8001, "10.0.0.1"),
                true,
            ),
            (
                "past the host",
                DeadFlows::ToHost(ports("0.0.0.0", Protocol::Tcp)),
                flow("10.0.0.7", 8001, "10.0.0.7"),
                false,
            ),
        ];
        let is_local = |ip: IpAddr| ip.to_string() == "10.0.0.1";
        for (told, dead, flow, expected) in rows {
            assert_eq!(dead.matches(&flow, is_local), expected, "{told}");
        }
    }
}
