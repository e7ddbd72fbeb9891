//! Requests and answers, as tables.

use model::{Lifecycle, Scope};
use plugin_proto::network_driver::InterfaceName as Named;

use super::*;
use crate::samples::{endpoint, exposed, labels, network, ports, target};

fn route(destination: &str, route_type: i64, next_hop: &str) -> StaticRoute {
    StaticRoute {
        destination: destination.to_owned(),
        route_type,
        next_hop: next_hop.to_owned(),
    }
}

#[test]
fn a_network_is_told_with_its_pools_and_what_the_user_typed() {
    let mut lan = network("stub", 1, &["10.1.0.0/24", "fd01::/64"]);
    lan.options = labels(&[("colour", "red")]);
    lan.internal = true;
    let request = serde_json::to_value(create_network(&lan)).unwrap();
    assert_eq!(
        request["Options"],
        json!({ENABLE_IPV4: true, ENABLE_IPV6: true, GENERIC: {"colour": "red"}, INTERNAL: true})
    );
    let pool = |pool: &str, gateway: &str| json!([{"AddressSpace": "LocalDefault", "Pool": pool, "Gateway": gateway}]);
    assert_eq!(request["IPv4Data"], pool("10.1.0.0/24", "10.1.0.1/24"));
    assert_eq!(request["IPv6Data"], pool("fd01::/64", "fd01::1/64"));
    let mut bare = network("stub", 1, &[]);
    (bare.enable_ipv4, bare.scope) = (true, Scope::Global);
    bare.ipam.driver = model::DriverName::new("null").unwrap();
    assert_eq!(bare.lifecycle, Lifecycle::Active);
    let request = serde_json::to_value(create_network(&bare)).unwrap();
    assert_eq!(
        request["IPv4Data"],
        json!([{"AddressSpace": "null", "Pool": "0.0.0.0/0", "Gateway": "0.0.0.0/0"}])
    );
}

#[test]
fn an_endpoint_is_told_with_each_port_and_its_ethernet_address_in_base64() {
    let lan = network("stub", 1, &["10.1.0.0/24"]);
    let one = endpoint(&lan, 2, &["10.1.0.2/24"]);
    let mut place = target(std::path::Path::new("/run/box"));
    place.ports = vec![ports("127.0.0.1:8080-8081->80-81/udp")];
    place.exposed = vec![exposed("80-81/udp")];
    let options = Value::Object(endpoint_options(&lan, &one, &place));
    assert_eq!(options[MAC_ADDRESS], "AkIKAQAC");
    assert_eq!(
        options[EXPOSED_PORTS],
        json!([{"Proto": 17, "Port": 80}, {"Proto": 17, "Port": 81}])
    );
    let host_ports: Vec<_> = options[PORT_MAP]
        .as_array()
        .unwrap()
        .iter()
        .map(|port| {
            (
                port["Port"].clone(),
                port["HostPort"].clone(),
                port["HostIP"].clone(),
            )
        })
        .collect();
    assert_eq!(
        host_ports,
        [
            (json!(80), json!(8080), json!("127.0.0.1")),
            (json!(81), json!(8081), json!("127.0.0.1"))
        ]
    );
}

#[test]
fn a_plugin_may_only_fill_in_what_was_left_to_it() {
    let lan = network("stub", 1, &["10.1.0.0/24"]);
    let had = endpoint(&lan, 2, &["10.1.0.2/24"]).addresses;
    let answer = |address: &str, v6: &str, mac: &str| EndpointInterface {
        address: address.to_owned(),
        address_ipv6: v6.to_owned(),
        mac_address: mac.to_owned(),
    };
    let nothing = EndpointAddresses::default();
    let rows = [
        ("nothing", &had, answer("", "", ""), Ok((false, false, false))),
        (
            "the same",
            &had,
            answer("10.1.0.2/24", "", "02:42:0a:01:00:02"),
            Ok((false, false, false)),
        ),
        (
            "what was open",
            &had,
            answer("", "fd01::2/64", ""),
            Ok((false, true, false)),
        ),
        (
            "all",
            &nothing,
            answer("10.9.0.2/24", "fd01::2/64", "02:00:00:00:00:01"),
            Ok((true, true, true)),
        ),
        (
            "another address",
            &had,
            answer("10.1.0.3/24", "", ""),
            Err("IP present (10.1.0.2/24). Cannot be modified"),
        ),
        (
            "another MAC",
            &had,
            answer("", "", "02:00:00:00:00:01"),
            Err("driver modified interface MAC address"),
        ),
        (
            "no address",
            &nothing,
            answer("10.1.0.3", "", ""),
            Err("invalid IPv4 address"),
        ),
        (
            "the wrong family",
            &nothing,
            answer("fd01::2/64", "", ""),
            Err("no IPv4 address"),
        ),
        (
            "the other wrong family",
            &nothing,
            answer("", "10.1.0.3/24", ""),
            Err("no IPv6 address"),
        ),
        (
            "a multicast MAC",
            &nothing,
            answer("", "", "nonsense"),
            Err("invalid MAC address"),
        ),
    ];
    for (name, had, answer, wanted) in rows {
        let new = chosen(had, &answer).map(|new| (new.ipv4.is_some(), new.ipv6.is_some(), new.mac.is_some()));
        match (new, wanted) {
            (Ok(new), Ok(wanted)) => assert_eq!(new, wanted, "{name}"),
            (Err(reason), Err(wanted)) => assert!(reason.contains(wanted), "{name}: {reason}"),
            (new, wanted) => panic!("{name}: {new:?} instead of {wanted:?}"),
        }
    }
}

/// What a well-behaved plugin answers.
fn good_join() -> Joined {
    Joined {
        interface_name: Some(Named {
            src_name: "veth1".to_owned(),
            dst_prefix: "lan".to_owned(),
            dst_name: "ignored".to_owned(),
        }),
        gateway: "10.1.0.1".to_owned(),
        gateway_ipv6: "fd01::1".to_owned(),
        static_routes: vec![
            route("10.9.0.0/16", CONNECTED, ""),
            route("fd09::/16", NEXT_HOP, "fd01::9"),
        ],
        disable_gateway_service: false,
    }
}

#[test]
fn an_answer_to_join_is_taken_field_for_field() {
    let good = good_join();
    let (answer, prefix) = joined(&good).unwrap();
    assert_eq!(answer.link.as_deref(), Some("veth1"));
    assert_eq!(prefix.as_deref(), Some("lan"));
    assert_eq!(answer.routes[0], ("10.9.0.0/16".parse().unwrap(), None));
    assert_eq!(answer.routes[1].1, Some("fd01::9".parse().unwrap()));
    assert!(!answer.no_gateway_bridge);
    assert_eq!(
        joined(&Joined::default()).unwrap(),
        (PluginAnswer::default(), None)
    );
}

#[test]
fn an_answer_to_join_is_checked_before_anything_is_moved() {
    let good = good_join();
    let name = |src: &str, prefix: &str| {
        Some(Named {
            src_name: src.to_owned(),
            dst_prefix: prefix.to_owned(),
            dst_name: String::new(),
        })
    };
    let named = |src: &str, prefix: &str| Joined {
        interface_name: name(src, prefix),
        ..good.clone()
    };
    let routed = |destination: &str, route_type: i64, next_hop: &str| Joined {
        static_routes: vec![route(destination, route_type, next_hop)],
        ..good.clone()
    };
    let rows = [
        ("a name with a slash", named("../x", "eth")),
        ("a name that is too long", named("a-name-of-sixteen", "eth")),
        ("a prefix that is too long", named("x", "a-name-of-sixteen")),
        (
            "an IPv6 gateway of IPv4",
            Joined {
                gateway_ipv6: "10.1.0.1".to_owned(),
                ..good.clone()
            },
        ),
        (
            "a gateway with a prefix",
            Joined {
                gateway: "10.1.0.1/24".to_owned(),
                ..good.clone()
            },
        ),
        ("a route of an unknown type", routed("10.9.0.0/16", 7, "")),
        (
            "a route without its next hop",
            routed("10.9.0.0/16", NEXT_HOP, ""),
        ),
        ("a route to nowhere", routed("", CONNECTED, "")),
        (
            "more routes than anybody needs",
            Joined {
                static_routes: vec![route("10.9.0.0/16", CONNECTED, ""); 1001],
                ..good.clone()
            },
        ),
        ("a name with a NUL", named("a\0b", "eth")),
        ("a prefix with a control letter", named("x", "e\u{1b}h")),
    ];
    for (name, answer) in rows {
        assert!(joined(&answer).is_err(), "{name}");
    }
    let declines = Joined {
        disable_gateway_service: true,
        ..good.clone()
    };
    for answer in [declines, routed("0.0.0.0/0", CONNECTED, "")] {
        assert!(joined(&answer).unwrap().0.no_gateway_bridge);
    }
}
