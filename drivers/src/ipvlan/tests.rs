//! What ipvlan networks are made of, without a kernel.

use std::net::IpAddr;

use kernel::object::{IpvlanMode, Isolation};
use model::Network;

use super::*;
use crate::{
    desired,
    samples::{assert_golden, endpoint, labels, network, target},
    view::{Access, Local, NetworkView},
};

fn with(options: &[(&str, &str)]) -> Network {
    Network {
        options: labels(options),
        ..network("ipvlan", 1, &["10.0.0.0/24", "fd00:1::/64"])
    }
}

#[test]
fn every_mode_and_flag_is_read() {
    for (mode, wanted) in [
        ("", IpvlanMode::L2),
        ("l2", IpvlanMode::L2),
        ("l3", IpvlanMode::L3),
        ("l3s", IpvlanMode::L3s),
    ] {
        for (flag, isolated) in [
            ("", Isolation::Bridge),
            ("bridge", Isolation::Bridge),
            ("private", Isolation::Private),
            ("vepa", Isolation::Vepa),
        ] {
            let options = labels(&[("ipvlan_mode", mode), ("ipvlan_flag", flag)]);
            let stack = Ipvlan.stack(&options).expect("both are there");
            assert_eq!(stack.kind, UpperKind::Ipvlan(wanted, isolated));
        }
    }
    for (options, says) in [
        ([("ipvlan_mode", "l4")], "not an ipvlan mode"),
        ([("ipvlan_flag", "public")], "not an ipvlan flag"),
        ([("macvlan_mode", "bridge")], "no option \"macvlan_mode\""),
        ([("parent", "lo")], "loopback"),
    ] {
        let error = Ipvlan.stack(&labels(&options)).expect_err(says).to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn on_layer_3_the_whole_world_is_on_link() {
    let gateways = |network: &Network| {
        let endpoint = endpoint(network, 7, &["10.0.0.100/24", "fd00:1::100/64"]);
        let attachment = Ipvlan.attachment(network, &endpoint);
        [attachment.gateway_v4, attachment.gateway_v6]
    };
    let unspecified = ["0.0.0.0", "::"].map(|text| text.parse::<IpAddr>().ok());
    let routers = ["10.0.0.1", "fd00:1::1"].map(|text| text.parse::<IpAddr>().ok());
    assert_eq!(gateways(&with(&[("parent", "eth0")])), routers);
    for mode in ["l3", "l3s"] {
        assert_eq!(
            gateways(&with(&[("parent", "eth0"), ("ipvlan_mode", mode)])),
            unspecified
        );
        assert_eq!(
            gateways(&with(&[("ipvlan_mode", mode)])),
            [None, None],
            "no parent"
        );
    }
}

#[test]
fn golden_files_show_what_is_made() {
    for (name, options) in [
        (
            "ipvlan-parent.txt",
            &[("parent", "eth0.50"), ("ipvlan_mode", "l3")][..],
        ),
        ("ipvlan-none.txt", &[("ipvlan_flag", "private")]),
    ] {
        let network = with(options);
        let endpoint = endpoint(&network, 7, &["10.0.0.100/24", "fd00:1::100/64"]);
        let view = NetworkView {
            network: network.into(),
            local: vec![Local {
                endpoint: endpoint.into(),
                target: target(std::path::Path::new("/pins/box")),
                access: Access::default(),
            }],
            peers: Vec::new(),
        };
        assert_golden(name, &desired(&Ipvlan, &view).expect("it is planned"));
    }
}
