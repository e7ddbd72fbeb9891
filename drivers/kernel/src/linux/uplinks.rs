//! The links by which the host reaches the outside, and what IPv6 forwarding would do to them.
//!
//! A host that forwards is a router, and a router believes no router advertisement unless `accept_ra` is 2: with the first
//! IPv6 network a host that has its default route from one would lose it at once. So before forwarding is switched on,
//! links that lead outside and have 1 get 2. It stays when forwarding goes off again, where it means the same as 1.

use std::{collections::BTreeSet, fs, io, path::Path};

/// Switches IPv6 forwarding of all links.
pub(super) const FORWARDING: &str = "net/ipv6/conf/all/forwarding";

/// `RTF_ADDRCONF` of `linux/ipv6_route.h`: learned from an advertisement.
const ADVERTISED: u32 = 0x0004_0000;

/// Has the uplinks of the calling thread's namespace go on to believe advertisements. Best effort: a host that can't be
/// asked is left as it is.
pub(super) fn keep_listening(forwarding: &Path) {
    if is(forwarding, "1") {
        return;
    }
    let Some(links) = forwarding.parent().and_then(Path::parent) else {
        return;
    };
    let table =
        |name: &str| fs::read_to_string(Path::new("/proc/thread-self/net").join(name)).unwrap_or_default();
    for link in uplinks(&table("route"), &table("ipv6_route")) {
        let setting = links.join(&link).join("accept_ra");
        if !is(&setting, "1") {
            continue;
        }
        match listen(&setting) {
            Ok(()) => tracing::info!(
                link,
                "believes router advertisements although the host forwards: accept_ra = 2"
            ),
            Err(error) => tracing::warn!(link, %error, "may lose the route that a router advertised"),
        }
    }
}

fn is(setting: &Path, value: &str) -> bool {
    fs::read_to_string(setting).is_ok_and(|text| text.trim() == value)
}

fn listen(setting: &Path) -> io::Result<()> {
    fs::write(setting, "2")
}

/// Pure: links with a default route of either family, or with a route that was advertised.
fn uplinks(ipv4: &str, ipv6: &str) -> BTreeSet<String> {
    let default_v4 = ipv4.lines().skip(1).filter_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let is_default = fields.get(1) == Some(&"00000000") && fields.get(7) == Some(&"00000000");
        is_default.then(|| fields[0].to_owned())
    });
    let outside_v6 = ipv6.lines().filter_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let flags = u32::from_str_radix(fields.get(8)?, 16).ok()?;
        let is_default = fields[1] == "00" && fields[0].bytes().all(|digit| digit == b'0');
        (is_default || flags & ADVERTISED != 0).then(|| fields[9..].join(" "))
    });
    default_v4.chain(outside_v6).filter(|link| link != "lo").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_that_lead_outside_are_found() {
        let ipv4 = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                    eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                    br0\t000012AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n";
        let zeros = "0".repeat(32);
        let ipv6 = format!(
            "{zeros} 00 {zeros} 00 fe800000000000000000000000000001 00000400 00000001 00000000 00450003     eth1\n\
             20010db8000000000000000000000000 40 {zeros} 00 {zeros} 00000100 00000001 00000000 00440001     eth2\n\
             fd000000000000000000000000000000 40 {zeros} 00 {zeros} 00000100 00000001 00000000 00000001      br0\n\
             {zeros} 00 {zeros} 00 {zeros} ffffffff 00000001 00000000 00200200       lo\n"
        );
        let found: Vec<_> = uplinks(ipv4, &ipv6).into_iter().collect();
        assert_eq!(found, ["eth0", "eth1", "eth2"]);
        assert!(uplinks("", "cut short\n\n").is_empty());
    }
}
