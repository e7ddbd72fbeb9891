//! IPv6 addresses that the kernel makes from what the segment's routers announce (RFC 4862).

use model::{IpNet, Ipv6Net};

use super::place::Place;
use crate::{
    core::Core,
    error::{Error, Result},
};

/// The one to go by now: the one that was noted as long as it is there, else the first.
pub(super) async fn look(core: &Core, place: &Place, noted: Option<Ipv6Net>) -> Result<Option<Ipv6Net>> {
    let there = core
        .worker
        .addresses_of(place.netns.clone(), place.link.clone())
        .await?;
    Ok(choose(&there, noted))
}

fn choose(there: &[IpNet], noted: Option<Ipv6Net>) -> Option<Ipv6Net> {
    let usable = |net: &IpNet| match net {
        IpNet::V6(v6) if !v6.addr().is_unicast_link_local() => Some(*v6),
        _ => None,
    };
    let all: Vec<_> = there.iter().filter_map(usable).collect();
    noted
        .filter(|noted| all.contains(noted))
        .or_else(|| all.first().copied())
}

/// Nobody has announced anything to make one of.
pub(super) fn nobody(place: &Place) -> Error {
    Error::Unavailable {
        message: format!(
            "no router has announced an IPv6 prefix within {} s",
            place.options.timeout.as_secs()
        ),
        hint: Some(
            "see that one on the parent's segment sends router advertisements; a DHCPv6 server without any is asked with \
             --ipam-opt cnm.dhcp.ipv6=stateful"
                .to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_was_noted_stays_while_it_is_there() {
        let nets: Vec<IpNet> = ["fe80::1/64", "198.18.0.7/24", "2001:db8::7/64", "fd00::7/64"]
            .iter()
            .map(|text| text.parse().expect("an address"))
            .collect();
        let v6 = |text: &str| Some(text.parse::<Ipv6Net>().expect("an address"));
        assert_eq!(choose(&nets, None), v6("2001:db8::7/64"));
        assert_eq!(choose(&nets, v6("fd00::7/64")), v6("fd00::7/64"));
        assert_eq!(choose(&nets, v6("fd00::8/64")), v6("2001:db8::7/64"));
        assert_eq!(choose(&nets[..2], v6("fd00::7/64")), None, "the prefix is gone");
    }
}
