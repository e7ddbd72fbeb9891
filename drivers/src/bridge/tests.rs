//! What bridge networks are made of, as golden files, and what is refused.

use std::path::Path;

use kernel::KernelState;
use model::{AddressFamily, Labels, Network, NetworkId, Subnet};

use super::{Bridge, BridgeHost};
use crate::{
    Draft, Error,
    planner::Planner,
    samples::{self, bytes, endpoint, labels, network, node, target},
};

/// Both spellings of a golden rule set.
fn assert_golden(name: &str, state: &KernelState) {
    samples::assert_golden(name, state);
    samples::assert_golden_iptables(name, &planner().base(), state);
}

fn planner() -> Bridge {
    Bridge::new(BridgeHost {
        node: node(),
        mtu: Some(1450),
        ipv6: true,
        firewall: true,
        ip_forward: true,
    })
}

/// A network with one endpoint.
fn plan(network: &Network, addresses: &[&str]) -> KernelState {
    let endpoint = endpoint(network, 0xe1, addresses);
    let mut state = planner().network(network).expect("a plan");
    let target = target(Path::new("/run/cnm/netns/test"));
    let more = planner().endpoint(network, &endpoint, &target).expect("a plan");
    state.extend(more.objects().cloned());
    state
}

#[test]
fn the_base_is_a_constant_number_of_rules() {
    assert_golden("bridge-base.txt", &planner().base());
}

#[test]
fn a_plain_network_masquerades() {
    let network = network("bridge", 1, &["172.18.0.0/24"]);
    assert_golden("bridge-plain.txt", &plan(&network, &["172.18.0.2/24"]));
}

#[test]
fn a_network_of_both_families_has_both_gateways() {
    let network = network("bridge", 2, &["172.18.2.0/24", "fd00:2::/64"]);
    assert_golden(
        "bridge-dual.txt",
        &plan(&network, &["172.18.2.2/24", "fd00:2::2/64"]),
    );
}

#[test]
fn an_internal_network_neither_masquerades_nor_forwards() {
    let network = Network {
        internal: true,
        ..network("bridge", 3, &["172.18.3.0/24"])
    };
    assert_golden("bridge-internal.txt", &plan(&network, &["172.18.3.2/24"]));
    let endpoint = endpoint(&network, 4, &["172.18.3.2/24"]);
    assert_eq!(planner().attachment(&network, &endpoint).gateway_v4, None);
}

#[test]
fn every_option_has_its_effect() {
    let network = Network {
        options: labels(&[
            ("com.docker.network.bridge.name", "br-web"),
            ("com.docker.network.bridge.enable_icc", "false"),
            ("com.docker.network.bridge.enable_ip_masquerade", "false"),
            ("com.docker.network.driver.mtu", "1400"),
            ("com.docker.network.container_iface_prefix", "net"),
        ]),
        ..network("bridge", 5, &["172.18.5.0/24"])
    };
    assert_golden("bridge-options.txt", &plan(&network, &["172.18.5.2/24"]));
    assert_eq!(planner().interface_prefix(&network), "net");
}

#[test]
fn an_endpoint_gets_the_gateways_of_its_own_families() {
    let network = network("bridge", 6, &["172.18.6.0/24", "fd00:6::/64"]);
    let only_v4 = endpoint(&network, 1, &["172.18.6.2/24"]);
    let attachment = planner().attachment(&network, &only_v4);
    assert_eq!(attachment.gateway_v4, Some([172, 18, 6, 1].into()));
    assert_eq!(attachment.gateway_v6, None);
    let both = endpoint(&network, 2, &["172.18.6.2/24", "fd00:6::2/64"]);
    let gateway = planner().attachment(&network, &both).gateway_v6;
    assert_eq!(gateway, network.pools[1].gateway);
}

#[test]
fn two_networks_share_no_object() {
    let one = planner()
        .network(&network("bridge", 1, &["172.18.1.0/24"]))
        .expect("a plan");
    let other = planner()
        .network(&network("bridge", 2, &["172.18.2.0/24"]))
        .expect("a plan");
    assert!(one.keys().all(|key| other.get(key).is_none()));
}

#[test]
fn the_device_is_claimed() {
    let plain = check(&Labels::new(), &[]).expect("it is valid");
    assert_eq!(
        (plain.claims, plain.gateway),
        (vec!["br-070707070707".to_owned()], true)
    );
    let named = check(&labels(&[("com.docker.network.bridge.name", "br-web")]), &[]).expect("it is valid");
    assert_eq!(named.claims, ["br-web"]);
}

#[test]
fn isolation_is_for_internal_networks() {
    let options = labels(&[("com.docker.network.bridge.gateway_mode_ipv4", "isolated")]);
    match check(&options, &[]) {
        Err(Error::Invalid { message, .. }) => {
            assert_eq!(
                message,
                "gateway mode \"isolated\" for IPv4 is for internal networks"
            );
        }
        other => panic!("{other:?}"),
    }
    let draft = Draft {
        internal: true,
        ..draft(&options, &[])
    };
    assert!(!planner().check(&draft).expect("it is valid").gateway);
}

fn check(options: &Labels, subnets: &[Subnet]) -> crate::Result<crate::Needs> {
    planner().check(&draft(options, subnets))
}

fn draft<'a>(options: &'a Labels, subnets: &'a [Subnet]) -> Draft<'a> {
    Draft {
        id: NetworkId::from_bytes(bytes(7)),
        options,
        internal: false,
        families: &[AddressFamily::V4],
        subnets,
    }
}
