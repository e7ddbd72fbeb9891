use std::collections::BTreeMap;

use model::{IpamConfig, Labels, Scope, Timestamp};

use super::*;

fn network(pools: &[(&str, Option<&str>, Option<&str>)]) -> Network {
    let pool = |(subnet, range, gateway): &(&str, Option<&str>, Option<&str>)| Pool {
        id: "p".to_owned(),
        space: None,
        subnet: subnet.parse().expect("a subnet"),
        ip_range: range.map(|range| range.parse().expect("a subnet")),
        gateway: gateway.map(|gateway| gateway.parse().expect("an address")),
        aux_addresses: BTreeMap::new(),
    };
    Network {
        id: model::NetworkId::random(),
        name: "ol1".parse().expect("a name"),
        driver: "overlay".parse().expect("a driver"),
        scope: Scope::Global,
        lifecycle: model::Lifecycle::Active,
        created: Timestamp::now(),
        labels: Labels::new(),
        options: Labels::new(),
        enable_ipv4: true,
        enable_ipv6: false,
        internal: false,
        attachable: true,
        predefined: false,
        ipam: IpamConfig {
            driver: "default".parse().expect("a driver"),
            options: Labels::new(),
            subnets: Vec::new(),
        },
        pools: pools.iter().map(pool).collect(),
        vnis: Vec::new(),
        config_only: false,
        config_from: None,
        found: None,
    }
}

#[test]
fn a_pool_of_a_network_that_is_there_is_the_one_it_has() {
    let there = network(&[
        ("10.5.0.0/24", Some("10.5.0.128/25"), None),
        ("10.6.0.0/24", None, None),
        ("fd00:5::/64", None, None),
    ]);
    let subnet = |text: &str| Some(text.parse::<Subnet>().expect("a subnet"));
    let (v4, v6) = (AddressFamily::V4, AddressFamily::V6);
    let rows = [
        (v4, None, None, Ok("10.5.0.0/24")),
        (v4, subnet("10.6.0.0/24"), None, Ok("10.6.0.0/24")),
        (
            v4,
            subnet("10.5.0.0/24"),
            subnet("10.5.0.128/25"),
            Ok("10.5.0.0/24"),
        ),
        (v6, None, None, Ok("fd00:5::/64")),
        (
            v4,
            subnet("10.7.0.0/24"),
            None,
            Err(
                "network \"ol1\" is there and has 10.5.0.0/24, 10.6.0.0/24, not 10.7.0.0/24 (leave out --subnet, or give what \
                 it has)",
            ),
        ),
        (
            v4,
            subnet("10.5.0.0/24"),
            subnet("10.5.0.0/25"),
            Err("network \"ol1\" hands out addresses of 10.5.0.128/25, not of 10.5.0.0/25"),
        ),
        (
            v4,
            subnet("10.6.0.0/24"),
            subnet("10.6.0.0/25"),
            Err("network \"ol1\" hands out addresses of all of 10.6.0.0/24"),
        ),
    ];
    for (family, asked, range, expected) in rows {
        let found = pool_there(&there, family, asked, range).map(|pool| pool.subnet.to_string());
        match expected {
            Ok(expected) => assert_eq!(found.expect("a pool"), expected),
            Err(says) => {
                let error = found.expect_err(says).to_string();
                assert!(error.starts_with(says), "{error}");
            }
        }
    }
    let v4_alone = network(&[("10.5.0.0/24", None, None)]);
    let error = pool_there(&v4_alone, v6, None, None)
        .expect_err("none")
        .to_string();
    assert!(
        error.starts_with("network \"ol1\" is there and has no IPv6"),
        "{error}"
    );
}

#[test]
fn every_host_gets_the_same_gateway() {
    let there = network(&[
        ("10.5.0.0/24", None, Some("10.5.0.254")),
        ("10.6.0.0/24", None, None),
    ]);
    let address = |text: &str| Some(text.parse::<IpAddr>().expect("an address"));
    let rows = [
        (0, None, Ok("10.5.0.254")),
        (0, address("10.5.0.254"), Ok("10.5.0.254")),
        (1, None, Ok("10.6.0.1")),
        (1, address("10.6.0.9"), Ok("10.6.0.9")),
        (
            0,
            address("10.5.0.1"),
            Err(
                "network \"ol1\" is there and has the gateway 10.5.0.254, not 10.5.0.1 (leave out --gateway, or give that one)",
            ),
        ),
    ];
    for (pool, asked, expected) in rows {
        let found = gateway(&there, &there.pools[pool], asked).map(|address| address.to_string());
        assert_eq!(
            found.map_err(|error| error.to_string()),
            expected.map(str::to_owned).map_err(str::to_owned)
        );
    }
}
