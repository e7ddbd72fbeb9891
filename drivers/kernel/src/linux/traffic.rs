//! The host's own use of ports, read and put right: sockets, limits, flows.

use std::{collections::BTreeSet, fs, io, net::IpAddr, os::fd::AsFd};

use model::{PortRange, Protocol};

use super::{Linux, addresses, any_link, conntrack, netns, sock_diag};
use crate::{
    Error, Key, Netns, Result,
    traffic::{DeadFlows, HostSocket, PortLimits},
};

const RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";
const RESERVED: &str = "/proc/sys/net/ipv4/ip_local_reserved_ports";

pub(super) fn sockets(linux: &Linux, protocols: &[Protocol]) -> Result<Vec<HostSocket>> {
    sock_diag::list(linux.host.descriptor.as_fd(), protocols).map_err(failure("sockets", "listing them"))
}

pub(super) fn limits(linux: &Linux) -> Result<PortLimits> {
    let read = || Ok((fs::read_to_string(RANGE)?, fs::read_to_string(RESERVED)?));
    let (range, reserved) =
        netns::inside(linux.host.descriptor.as_fd(), read).map_err(failure("port limits", "reading them"))?;
    Ok(parse(&range, &reserved))
}

pub(super) fn forget(linux: &Linux, dead: &[DeadFlows]) -> Result<usize> {
    let local: BTreeSet<IpAddr> = match dead.iter().any(|dead| matches!(dead, DeadFlows::ToHost(_))) {
        true => {
            let mut visits = linux.visits();
            let visit = visits.visit(&Netns::Host, &Key::Link(Netns::Host, any_link()))?;
            let found = addresses::dump(visit)?;
            found.into_iter().map(|(_, net)| net.addr()).collect()
        }
        false => BTreeSet::new(),
    };
    conntrack::forget(linux.host.descriptor.as_fd(), dead, |ip| local.contains(&ip))
        .map_err(failure("connection tracking", "forgetting flows"))
}

/// Pure: the two files. What makes no sense is as the kernel has it when nobody says otherwise.
pub(super) fn parse(range: &str, reserved: &str) -> PortLimits {
    let mut numbers = range.split_whitespace().map(str::parse);
    let ephemeral = match (numbers.next(), numbers.next()) {
        (Some(Ok(first)), Some(Ok(last))) => PortRange::new(first, last).ok(),
        _ => None,
    };
    let by_default = || PortRange::new(32768, 60999).expect("two numbers in order");
    PortLimits {
        ephemeral: ephemeral.unwrap_or_else(by_default),
        reserved: reserved
            .trim()
            .split(',')
            .filter_map(|ports| ports.parse().ok())
            .collect(),
    }
}

fn failure(object: &'static str, action: &'static str) -> impl Fn(io::Error) -> Error {
    move |source| Error::System {
        object: object.to_owned(),
        action,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_the_kernel_writes_them() {
        let rows = [
            ("32768\t60999\n", "\n", "32768-60999", ""),
            (
                "1024\t65535\n",
                "8080,9000-9010\n",
                "1024-65535",
                "8080 9000-9010",
            ),
            ("", "", "32768-60999", ""),
            ("9\t8", "x", "32768-60999", ""),
        ];
        for (range, reserved, ephemeral, expected) in rows {
            let limits = parse(range, reserved);
            let reserved: Vec<_> = limits.reserved.iter().map(ToString::to_string).collect();
            assert_eq!(
                (limits.ephemeral.to_string().as_str(), reserved.join(" ").as_str()),
                (ephemeral, expected)
            );
        }
    }
}
