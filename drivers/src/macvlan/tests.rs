//! What macvlan networks are made of, without a kernel.

use model::{AddressFamily, Network};

use super::*;
use crate::{
    desired,
    samples::{assert_golden, endpoint, labels, network, target},
    view::{Access, Local, NetworkView},
};

fn with(options: &[(&str, &str)]) -> Network {
    Network {
        options: labels(options),
        ..network("macvlan", 1, &["10.0.0.0/24", "fd00:1::/64"])
    }
}

fn draft(options: &[(&str, &str)]) -> Result<Needs> {
    let options = labels(options);
    Macvlan.check(&Draft {
        id: with(&[]).id,
        options: &options,
        internal: false,
        families: &[AddressFamily::V4],
        subnets: &[],
    })
}

#[test]
fn what_an_option_can_t_be_is_refused() {
    for (options, says) in [
        ([("macvlan_mode", "bridged")], "not a macvlan mode"),
        ([("parent", "lo")], "loopback"),
        ([("parent", "a name that is far too long")], "parent"),
        ([("macvlan_mod", "bridge")], "no option \"macvlan_mod\""),
        ([("com.docker.network.driver.mtu", "-1")], "mtu"),
    ] {
        let error = draft(&options).expect_err(says).to_string();
        assert!(error.contains(says), "{options:?}: {error}");
    }
    for options in [
        &[][..],
        &[("parent", "eth0.50"), ("macvlan_mode", "vepa")],
        &[("parent", ""), ("macvlan_mode", "")],
    ] {
        let needs = draft(options).expect("it is right");
        assert!(!needs.gateway, "no gateway but the user's");
    }
    assert!(draft(&[("cnm.host_access", "true"), ("macvlan_mode", "private")]).is_err());
}

#[test]
fn a_gateway_is_the_segments_and_only_where_there_is_one() {
    let gateway = |network: &Network| {
        let endpoint = endpoint(network, 7, &["10.0.0.100/24"]);
        Macvlan.attachment(network, &endpoint).gateway_v4
    };
    let network = with(&[("parent", "eth0")]);
    assert_eq!(gateway(&network), Some([10, 0, 0, 1].into()));
    let internal = Network {
        internal: true,
        ..network.clone()
    };
    assert_eq!(gateway(&internal), None);
    assert_eq!(gateway(&with(&[])), None, "without a parent it leads nowhere");
    let mut without = network;
    without.pools[0].gateway = None;
    assert_eq!(gateway(&without), None);
}

fn golden(name: &str, network: Network) {
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
    assert_golden(name, &desired(&Macvlan, &view).expect("it is planned"));
}

#[test]
fn golden_files_show_what_is_made() {
    golden("macvlan-parent.txt", with(&[("parent", "eth0.50")]));
    golden("macvlan-none.txt", with(&[("macvlan_mode", "private")]));
    let mut reached = with(&[("parent", "eth0"), ("cnm.host_access", "true")]);
    for (pool, (key, address)) in reached
        .pools
        .iter_mut()
        .zip([("host", "10.0.0.250"), ("host6", "fd00:1::250")])
    {
        pool.aux_addresses
            .insert(key.to_owned(), address.parse().expect("an address"));
    }
    golden("macvlan-host-access.txt", reached);
}

#[test]
fn the_host_needs_an_address_to_reach_containers() {
    let refused = Macvlan.network(&with(&[("parent", "eth0"), ("cnm.host_access", "true")]));
    assert!(refused.is_err());
}
