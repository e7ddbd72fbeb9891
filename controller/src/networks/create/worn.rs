//! Pure: a bridge that was there before the network decides what the network's IPv4 subnet and gateway are.

use std::net::IpAddr;

use model::{AddressFamily, IpNet, Subnet, SubnetRequest};

use crate::error::{Error, Result};

/// One request for each pool to be.
type Asked = Vec<(AddressFamily, SubnetRequest)>;

/// What is asked for, with what was left open taken from the bridge's addresses.
pub(super) fn follow(asked: &Asked, worn: &[IpNet]) -> Result<Asked> {
    let worn: Vec<IpNet> = worn.iter().filter(|net| is_its_own(net)).copied().collect();
    let mut followed = asked.clone();
    let mut pools = followed
        .iter_mut()
        .filter(|(family, _)| *family == AddressFamily::V4)
        .map(|(_, pool)| pool);
    let (Some(first), Some(pool)) = (worn.first(), pools.next()) else {
        return Ok(asked.clone());
    };
    if is_open(pool) {
        pool.subnet = Some(Subnet::around(*first));
    }
    // The first that fits some pool is that one's gateway; a network may have more subnets than its bridge knew.
    let mut pools: Vec<_> = std::iter::once(pool).chain(pools).collect();
    let (mut found, mut wanted) = (false, String::new());
    for pool in &mut pools {
        let fits = |net: &&IpNet| {
            pool.subnet == Some(Subnet::around(**net))
                && pool.gateway.is_none_or(|gateway| gateway == net.addr())
        };
        match worn.iter().find(fits) {
            Some(net) => {
                pool.gateway = Some(net.addr());
                found = true;
            }
            None if wanted.is_empty() => wanted = text(pool),
            None => {}
        }
    }
    match found {
        true => Ok(followed),
        false => Err(Error::forbidden(format!(
            "bridge IPv4 ({first}) does not match requested configuration {wanted}"
        ))
        .with_hint("leave out --subnet and --gateway to take the bridge's own")),
    }
}

fn is_open(pool: &SubnetRequest) -> bool {
    pool.subnet.is_none_or(|subnet| subnet.network().is_unspecified())
}

/// An address that others reach it by: none that holds on one link only.
fn is_its_own(net: &IpNet) -> bool {
    match net.addr() {
        IpAddr::V4(address) => !address.is_link_local(),
        IpAddr::V6(_) => false,
    }
}

fn text(asked: &SubnetRequest) -> String {
    match (asked.subnet, asked.gateway) {
        (Some(subnet), Some(gateway)) => subnet.with_address(gateway).to_string(),
        (Some(subnet), None) => subnet.to_string(),
        (None, gateway) => gateway.map(|gateway| gateway.to_string()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is asked for or decided: subnet and gateway, empty for neither.
    type Pair = (&'static str, &'static str);

    fn request(subnet: &str, gateway: &str) -> (AddressFamily, SubnetRequest) {
        let request = SubnetRequest {
            subnet: subnet.parse().ok(),
            ip_range: None,
            gateway: gateway.parse().ok(),
            aux_addresses: std::collections::BTreeMap::new(),
        };
        (AddressFamily::V4, request)
    }

    #[test]
    fn the_bridge_decides_what_is_left_open_and_refuses_what_contradicts_it() {
        let open = ("", "");
        let its = ("10.9.0.0/24", "10.9.0.7");
        let rows: [(&str, Pair, &[&str], Option<Pair>); 10] = [
            ("no bridge", open, &[], Some(open)),
            ("its subnet", open, &["10.9.0.7/24"], Some(its)),
            (
                "only a link's",
                open,
                &["169.254.1.1/16", "fd00::1/64"],
                Some(open),
            ),
            ("the same", ("10.9.0.0/24", ""), &["10.9.0.7/24"], Some(its)),
            ("all the same", its, &["10.9.0.7/24"], Some(its)),
            (
                "one of two",
                ("10.9.0.0/24", ""),
                &["10.8.0.7/24", "10.9.0.7/24"],
                Some(its),
            ),
            ("of that size", ("0.0.0.0/24", ""), &["10.9.0.7/24"], Some(its)),
            ("another subnet", ("10.8.0.0/24", ""), &["10.9.0.7/24"], None),
            ("another length", ("10.9.0.0/16", ""), &["10.9.0.7/24"], None),
            (
                "another gateway",
                ("10.9.0.0/24", "10.9.0.1"),
                &["10.9.0.7/24"],
                None,
            ),
        ];
        for (name, (subnet, gateway), addresses, wanted) in rows {
            let worn: Vec<IpNet> = addresses.iter().map(|text| text.parse().unwrap()).collect();
            let followed = follow(&vec![request(subnet, gateway)], &worn).ok();
            let wanted = wanted.map(|(subnet, gateway)| vec![request(subnet, gateway)]);
            assert_eq!(followed, wanted, "{name}");
        }
    }
}
