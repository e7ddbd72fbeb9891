//! From wishes to the host's ports.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use model::{Exposure, PortBinding, PortRange, Protocol, PublishedPorts};

use crate::{
    Claims, Intervals, Span,
    book::{Book, Holder, Listener, holder},
};

/// What a choice of ports looks at.
#[derive(Debug, Clone, Copy)]
pub struct Assignment<'a> {
    /// What containers have.
    pub claims: &'a Claims,
    /// What the host's processes have.
    pub listeners: &'a [Listener],
    /// For what a wish leaves open.
    pub defaults: Defaults,
    /// Where ports are taken from that nobody named (`net.ipv4.ip_local_port_range`).
    pub ephemeral: PortRange,
    /// Those of them that are never chosen (`net.ipv4.ip_local_reserved_ports`).
    pub reserved: &'a Intervals,
    /// Any number: where the search for a free one begins, so that a port given back is not at once somebody else's.
    pub start: u16,
}

/// What a wish that leaves something open gets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Defaults {
    /// The host's address; none, or `0.0.0.0`, for all addresses of both families.
    pub host_ip: Option<IpAddr>,
    /// Whose rules it obeys.
    pub exposure: Exposure,
    /// The host has IPv6.
    pub ipv6: bool,
}

/// Why a wish can't be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Neither port by port, nor one out of several.
    #[error("host ports {host} and container ports {container}/{protocol} differ in number")]
    Lengths {
        /// The host's.
        host: PortRange,
        /// The container's.
        container: PortRange,
        /// Of which protocol.
        protocol: Protocol,
    },
    /// An IPv6 address on a host without IPv6.
    #[error("cannot bind to {0}: the host has no IPv6")]
    NoIpv6(IpAddr),
    /// An address that isn't the host's.
    #[error("failed to bind host port {}/{protocol}: cannot assign requested address", socket(*.ip, .ports))]
    Elsewhere {
        /// The address.
        ip: IpAddr,
        /// What is wished for there: ports of the host, or of the container if any will do.
        ports: PortRange,
        /// Of which protocol.
        protocol: Protocol,
    },
    /// Somebody has it.
    #[error("Bind for {} failed: port is already allocated", socket(*.ip, .port))]
    Taken {
        /// At which address.
        ip: IpAddr,
        /// The first port that both want.
        port: u16,
        /// Of which protocol.
        protocol: Protocol,
        /// Who has it.
        holder: Holder,
    },
    /// Nothing is left of the ports to choose from.
    #[error("Bind for {} failed: all ports are allocated", socket(*.ip, .ports))]
    Exhausted {
        /// At which address.
        ip: IpAddr,
        /// The ports to choose from.
        ports: PortRange,
        /// Of which protocol.
        protocol: Protocol,
    },
}

fn socket(ip: IpAddr, port: &impl std::fmt::Display) -> String {
    match ip {
        IpAddr::V4(ip) => format!("{ip}:{port}"),
        IpAddr::V6(ip) => format!("[{ip}]:{port}"),
    }
}

/// Decides on every wish, or tells everything that is wrong with any of them. A wish becomes one result for each family
/// it is for, with the same ports of the host; only where no row of free ports is long enough, several.
pub fn assign(
    wishes: &[PortBinding],
    situation: &Assignment<'_>,
) -> Result<Vec<PublishedPorts>, Vec<Violation>> {
    let mut choosing = Choosing {
        situation,
        book: Book::of(situation.claims, situation.listeners),
    };
    let mut assigned: Vec<Vec<PublishedPorts>> = vec![Vec::new(); wishes.len()];
    let mut violations = Vec::new();
    // Those that have no choice go first, then those that have the least.
    let mut order: Vec<usize> = (0..wishes.len()).collect();
    order.sort_by_key(|at| freedom(&wishes[*at]));
    for at in order {
        if has_no_choice(&wishes[at]) && wishes[..at].contains(&wishes[at]) {
            continue;
        }
        match choosing.one(&wishes[at]) {
            Ok(published) => assigned[at] = published,
            Err(violation) => violations.push((at, violation)),
        }
    }
    if violations.is_empty() {
        return Ok(assigned.into_iter().flatten().collect());
    }
    violations.sort_by_key(|(at, _)| *at);
    Err(violations.into_iter().map(|(_, violation)| violation).collect())
}

fn has_no_choice(wish: &PortBinding) -> bool {
    wish.host
        .is_some_and(|host| host.count() == wish.container.count())
}

fn freedom(wish: &PortBinding) -> u32 {
    match wish.host {
        Some(_) if has_no_choice(wish) => 0,
        Some(host) => host.count(),
        None => u32::MAX,
    }
}

struct Choosing<'a> {
    situation: &'a Assignment<'a>,
    book: Book,
}

impl Choosing<'_> {
    fn one(&mut self, wish: &PortBinding) -> Result<Vec<PublishedPorts>, Violation> {
        let addresses = self.addresses(wish)?;
        let (container, protocol) = (wish.container, wish.protocol);
        let rows = match wish.host {
            Some(host) if host.count() == container.count() => {
                self.free(protocol, &addresses, host)?;
                vec![host]
            }
            Some(host) if container.count() == 1 => {
                let none = Intervals::new();
                let found = self.search(protocol, &addresses, host, &none, 1, host.first());
                vec![found.ok_or_else(|| exhausted(protocol, &addresses, host))?]
            }
            Some(host) => {
                return Err(Violation::Lengths {
                    host,
                    container,
                    protocol,
                });
            }
            None => self.ephemeral(protocol, &addresses, container.count())?,
        };
        Ok(self.take(wish, &addresses, &rows))
    }

    /// The addresses that a wish is for, one of each family at most.
    fn addresses(&self, wish: &PortBinding) -> Result<Vec<IpAddr>, Violation> {
        let defaults = self.situation.defaults;
        let default = defaults.host_ip.filter(|ip| *ip != Ipv4Addr::UNSPECIFIED);
        match wish.host_ip.or(default).map(|ip| ip.to_canonical()) {
            Some(ip) if ip.is_ipv6() && !defaults.ipv6 => Err(Violation::NoIpv6(ip)),
            Some(ip) => Ok(vec![ip]),
            None => {
                let v6 = defaults.ipv6.then_some(Ipv6Addr::UNSPECIFIED.into());
                Ok([Ipv4Addr::UNSPECIFIED.into()].into_iter().chain(v6).collect())
            }
        }
    }

    fn free(&self, protocol: Protocol, addresses: &[IpAddr], host: PortRange) -> Result<(), Violation> {
        let Some((wanted, taken)) = self.book.conflict(&spans(protocol, addresses, host)) else {
            return Ok(());
        };
        let port = taken.first().max(host.first());
        let common = PortRange::single(port).map_or(wanted, |ports| Span { ports, ..wanted });
        Err(Violation::Taken {
            ip: wanted.ip,
            port,
            protocol,
            holder: holder(self.situation.claims, self.situation.listeners, common),
        })
    }

    /// The first row of so many free ports from `start` on, and then from the beginning.
    fn search(
        &self,
        protocol: Protocol,
        addresses: &[IpAddr],
        within: PortRange,
        reserved: &Intervals,
        count: u32,
        start: u16,
    ) -> Option<PortRange> {
        let from = |start: u16| {
            let mut first = start;
            loop {
                let last = u16::try_from(u32::from(first) + count - 1).ok()?;
                let row = PortRange::new(first, last)
                    .ok()
                    .filter(|_| last <= within.last())?;
                match self.in_the_way(protocol, addresses, row, reserved) {
                    None => return Some(row),
                    Some(taken) => first = taken.last().checked_add(1)?,
                }
            }
        };
        from(start).or_else(|| from(within.first()))
    }

    fn in_the_way(
        &self,
        protocol: Protocol,
        addresses: &[IpAddr],
        row: PortRange,
        reserved: &Intervals,
    ) -> Option<PortRange> {
        let taken = self.book.conflict(&spans(protocol, addresses, row));
        taken.map(|(_, taken)| taken).or_else(|| reserved.overlap(row))
    }

    /// So many ports that nobody named: one row of them if there is one, else as few as there are.
    fn ephemeral(
        &self,
        protocol: Protocol,
        addresses: &[IpAddr],
        count: u32,
    ) -> Result<Vec<PortRange>, Violation> {
        let (pool, reserved) = (self.situation.ephemeral, self.situation.reserved);
        let offset = u32::from(self.situation.start) % pool.count();
        let start = u16::try_from(u32::from(pool.first()) + offset).unwrap_or(pool.first());
        if let Some(row) = self.search(protocol, addresses, pool, reserved, count, start) {
            return Ok(vec![row]);
        }
        let (mut rows, mut missing, mut next) = (Vec::new(), count, Some(pool.first()));
        while let Some(from) = next.filter(|from| missing > 0 && *from <= pool.last()) {
            let last = u32::from(pool.last()).min(u32::from(from) + missing - 1);
            let last = u16::try_from(last).unwrap_or(pool.last());
            let (row, then) = self.run(protocol, addresses, (from, last), reserved);
            missing -= row.map_or(0, PortRange::count);
            rows.extend(row);
            next = then;
        }
        match missing {
            0 => Ok(rows),
            _ => Err(exhausted(protocol, addresses, pool)),
        }
    }

    /// The free ports right from the first of these, if it is free, and where to go on.
    fn run(
        &self,
        protocol: Protocol,
        addresses: &[IpAddr],
        (first, last): (u16, u16),
        reserved: &Intervals,
    ) -> (Option<PortRange>, Option<u16>) {
        let mut end = last;
        while let Ok(row) = PortRange::new(first, end) {
            match self.in_the_way(protocol, addresses, row, reserved) {
                None => return (Some(row), end.checked_add(1)),
                Some(taken) if taken.first() <= first => return (None, taken.last().checked_add(1)),
                Some(taken) => end = taken.first() - 1,
            }
        }
        (None, None)
    }

    fn take(&mut self, wish: &PortBinding, addresses: &[IpAddr], rows: &[PortRange]) -> Vec<PublishedPorts> {
        let mut published = Vec::new();
        let mut container = u32::from(wish.container.first());
        for host in rows {
            let last = container + host.count() - 1;
            let ends = (u16::try_from(container), u16::try_from(last));
            container = last + 1;
            let (Ok(first), Ok(last)) = ends else { continue };
            let Ok(container) = PortRange::new(first, last) else {
                continue;
            };
            for span in spans(wish.protocol, addresses, *host) {
                self.book.take(span);
                published.push(PublishedPorts {
                    protocol: wish.protocol,
                    host_ip: span.ip,
                    host: *host,
                    container,
                    exposure: wish.exposure.unwrap_or(self.situation.defaults.exposure),
                });
            }
        }
        published
    }
}

fn spans(protocol: Protocol, addresses: &[IpAddr], ports: PortRange) -> Vec<Span> {
    let span = |ip: &IpAddr| Span {
        protocol,
        ip: *ip,
        ports,
    };
    addresses.iter().map(span).collect()
}

fn exhausted(protocol: Protocol, addresses: &[IpAddr], ports: PortRange) -> Violation {
    Violation::Exhausted {
        ip: addresses.first().copied().unwrap_or(Ipv4Addr::UNSPECIFIED.into()),
        ports,
        protocol,
    }
}

#[cfg(test)]
mod tests;
