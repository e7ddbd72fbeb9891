use model::{IpamConfig, Pool, Scope, Timestamp};
use serde_json::json;

use super::*;

/// A call with these user options, pools and more of Docker's own options.
fn call(generic: &Value, pools: &[(&str, &str)], more: &[(&str, bool)]) -> CreateNetwork {
    let data = |v6: bool| {
        let of = pools.iter().filter(|(pool, _)| pool.contains("::") == v6);
        of.map(|(pool, space)| IpamData {
            address_space: (*space).to_owned(),
            pool: Some((*pool).to_owned()),
            gateway: None,
            aux_addresses: BTreeMap::new(),
        })
        .collect()
    };
    let more = more.iter().map(|(key, value)| ((*key).to_owned(), json!(value)));
    CreateNetwork {
        network_id: "0".repeat(64),
        options: more.chain([(GENERIC.to_owned(), generic.clone())]).collect(),
        ipv4_data: data(false),
        ipv6_data: data(true),
    }
}

#[test]
fn what_docker_asks_for_is_read() {
    let rows = [
        (
            "an overlay when nothing is said",
            call(
                &json!({"cnm.network": "ol1"}),
                &[("10.5.0.0/24", SPACE)],
                &[(ENABLE_IPV6, false)],
            ),
            ("ol1", "overlay", false, false),
        ),
        (
            "an internal bridge with IPv6 and Docker's own addresses",
            call(
                &json!({"cnm.network": "lan", "cnm.driver": "bridge"}),
                &[("10.5.0.0/24", "LocalDefault"), ("fd00:5::/64", "LocalDefault")],
                &[(ENABLE_IPV6, true), (INTERNAL, true)],
            ),
            ("lan", "bridge", true, true),
        ),
    ];
    for (name, call, (network, driver, ipv6, internal)) in rows {
        let wanted = Wanted::read(&call).expect(name);
        let read = (&*wanted.name, wanted.made_by(), wanted.ipv6, wanted.internal);
        assert_eq!(read, (network, driver, ipv6, internal), "{name}");
        assert!(wanted.ipv4, "{name}");
        assert!(wanted.options.is_empty(), "{name}");
    }
}

#[test]
fn what_cannot_be_meant_is_refused_with_what_to_do() {
    let ours = &[("10.5.0.0/24", SPACE)][..];
    let rows = [
        (
            call(&json!({}), ours, &[]),
            "which network of cnm it is to be isn't said: -o cnm.network=NAME is missing (give both \"-o cnm.network=NAME\" \
             and \"--ipam-driver cnm --ipam-opt cnm.network=NAME\")",
        ),
        (
            call(&json!({"cnm.network": "a b"}), ours, &[]),
            "cnm.network=a b: ",
        ),
        (
            call(&json!({"cnm.network": "x", "cnm.driver": "host"}), ours, &[]),
            "Docker can't have a network of the driver \"host\" from cnm (cnm.driver is one of overlay, bridge, macvlan, ipvlan)",
        ),
        (
            call(
                &json!({"cnm.network": "x"}),
                &[("10.5.0.0/24", "LocalDefault")],
                &[],
            ),
            "hosts of the overlay \"x\" must have their addresses from one place (add --ipam-driver cnm --ipam-opt \
             cnm.network=x)",
        ),
        (
            call(&json!({"cnm.network": "x"}), &[("10.5.0.1/24", SPACE)], &[]),
            "a pool can't be read: \"10.5.0.1/24\"",
        ),
        (
            call(&json!({"cnm.network": "x", "mtu": 7}), ours, &[]),
            "option \"mtu\" is no text but 7",
        ),
    ];
    for (call, says) in rows {
        let error = Wanted::read(&call).expect_err(says).to_string();
        assert!(error.starts_with(says), "{error}");
    }
}

#[test]
fn address_management_has_one_option() {
    let options = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    };
    assert_eq!(
        &*ipam_name(&options(&[("cnm.network", "ol1")])).expect("a name"),
        "ol1"
    );
    for (given, says) in [
        (options(&[]), "--ipam-opt cnm.network=NAME is missing"),
        (
            options(&[("cnm.network", "")]),
            "--ipam-opt cnm.network=NAME is missing",
        ),
        (
            options(&[("cnm.network", "x"), ("cnm.driver", "bridge")]),
            "no option \"cnm.driver\"",
        ),
    ] {
        let error = ipam_name(&given).expect_err(says).to_string();
        assert!(error.contains(says), "{error}");
    }
}

fn there(driver: &str, subnets: &[&str]) -> Network {
    let pool = |subnet: &&str| Pool {
        id: "p".to_owned(),
        space: None,
        subnet: subnet.parse().expect("a subnet"),
        ip_range: None,
        gateway: None,
        aux_addresses: BTreeMap::new(),
    };
    Network {
        id: model::NetworkId::random(),
        name: "ol1".parse().expect("a name"),
        driver: driver.parse().expect("a driver"),
        scope: Scope::Global,
        lifecycle: model::Lifecycle::Active,
        created: Timestamp::now(),
        labels: Labels::new(),
        options: Labels::from([("com.docker.network.driver.mtu".to_owned(), "1400".to_owned())]),
        enable_ipv4: true,
        enable_ipv6: subnets.iter().any(|subnet| subnet.contains("::")),
        internal: false,
        attachable: true,
        predefined: false,
        ipam: IpamConfig {
            driver: "default".parse().expect("a driver"),
            options: Labels::new(),
            subnets: Vec::new(),
        },
        pools: subnets.iter().map(pool).collect(),
        vnis: Vec::new(),
        config_only: false,
        config_from: None,
        found: None,
    }
}

#[test]
fn a_network_that_is_there_is_taken_only_for_what_it_is() {
    let plain = || json!({"cnm.network": "ol1"});
    let v4 = &[("10.5.0.0/24", SPACE)][..];
    let both = &[("10.5.0.0/24", SPACE), ("fd00:5::/64", SPACE)][..];
    let rows: [(&str, CreateNetwork, Network, Option<&str>); 8] = [
        (
            "the same",
            call(&plain(), v4, &[]),
            there("overlay", &["10.5.0.0/24"]),
            None,
        ),
        (
            "whatever driver it has",
            call(&plain(), v4, &[]),
            there("bridge", &["10.5.0.0/24"]),
            None,
        ),
        (
            "another driver than the one named",
            call(&json!({"cnm.network": "ol1", "cnm.driver": "overlay"}), v4, &[]),
            there("bridge", &["10.5.0.0/24"]),
            Some("has the driver bridge, not overlay"),
        ),
        (
            "another subnet",
            call(&plain(), v4, &[]),
            there("overlay", &["10.6.0.0/24"]),
            Some("has the subnets 10.6.0.0/24, not 10.5.0.0/24 (give all of these with --subnet)"),
        ),
        (
            "IPv6 there",
            call(&plain(), v4, &[(ENABLE_IPV6, false)]),
            there("overlay", &["10.5.0.0/24", "fd00:5::/64"]),
            Some("(add --ipv6)"),
        ),
        (
            "no IPv6 there",
            call(&plain(), both, &[(ENABLE_IPV6, true)]),
            there("overlay", &["10.5.0.0/24"]),
            Some("(leave out --ipv6)"),
        ),
        (
            "internal",
            call(&plain(), v4, &[(INTERNAL, true)]),
            there("overlay", &["10.5.0.0/24"]),
            Some("is not internal (leave out --internal)"),
        ),
        (
            "another option",
            call(
                &json!({"cnm.network": "ol1", "com.docker.network.driver.mtu": "1500"}),
                v4,
                &[],
            ),
            there("overlay", &["10.5.0.0/24"]),
            Some("has com.docker.network.driver.mtu=1400, not 1500"),
        ),
    ];
    for (name, call, network, says) in rows {
        let judged = Wanted::read(&call).expect(name).refuse_other(&network);
        match says {
            None => judged.expect(name),
            Some(says) => {
                let error = judged.expect_err(name).to_string();
                assert!(error.contains(says), "{name}: {error}");
            }
        }
    }
}

#[test]
fn the_first_address_is_the_gateway_where_nobody_says() {
    for (subnet, first) in [
        ("10.5.0.0/24", "10.5.0.1"),
        ("10.5.0.128/25", "10.5.0.129"),
        ("fd00:5::/64", "fd00:5::1"),
        ("10.5.0.8/31", "10.5.0.8"),
        ("10.5.0.8/32", "10.5.0.8"),
    ] {
        let address = first_address(subnet.parse().expect("a subnet"));
        assert_eq!(address.to_string(), first, "{subnet}");
    }
}
