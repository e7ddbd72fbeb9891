//! What overlay networks are made of, as golden files, and what is refused.

use std::path::Path;

use kernel::KernelState;
use model::{AddressFamily, Labels, Network, NetworkId, Vni};

use super::{Overlay, OverlayHost};
use crate::{
    Draft, Error, StaticRoute,
    planner::Planner,
    samples::{assert_golden, bytes, endpoint, labels, network, peer, target},
};

fn planner(address: &str) -> Overlay {
    Overlay::new(OverlayHost {
        address: address.parse().expect("an address"),
        port: 4789,
        underlay_mtu: Some(1500),
        exec_root: "/run/cnm".into(),
        ipv6: true,
    })
}

/// A network with one endpoint here and one elsewhere.
fn plan(network: &Network, here: &[&str], there: &[&str]) -> KernelState {
    let planner = planner("192.0.2.1");
    let mut state = planner.network(network).expect("a plan");
    let target = target(Path::new("/run/cnm/netns/test"));
    let local = planner.endpoint(network, &endpoint(network, 0xe1, here), &target);
    let remote = planner.peer(network, &peer(endpoint(network, 0xe2, there), "192.0.2.2"));
    for part in [local, remote] {
        state.extend(part.expect("a plan").objects().cloned());
    }
    state
}

#[test]
fn a_subnet_is_a_bridge_a_tunnel_and_static_entries() {
    let network = network("overlay", 1, &["172.16.2.0/24"]);
    assert_golden(
        "overlay-plain.txt",
        &plan(&network, &["172.16.2.2/24"], &["172.16.2.3/24"]),
    );
}

#[test]
fn two_families_share_a_segment() {
    let network = network("overlay", 2, &["10.2.0.0/24", "fd00:2::/64"]);
    let (here, there) = (["10.2.0.2/24", "fd00:2::2/64"], ["10.2.0.3/24", "fd00:2::3/64"]);
    assert_golden("overlay-dual.txt", &plan(&network, &here, &there));
}

#[test]
fn each_subnet_has_a_segment_and_the_gateway_leads_to_the_others() {
    let network = network("overlay", 3, &["10.3.0.0/24", "10.3.1.0/24"]);
    assert_golden(
        "overlay-two-subnets.txt",
        &plan(&network, &["10.3.0.2/24"], &["10.3.1.3/24"]),
    );
    let attachment = planner("192.0.2.1").attachment(&network, &endpoint(&network, 1, &["10.3.0.2/24"]));
    let wanted = StaticRoute {
        destination: network.pools[1].subnet,
        next_hop: network.pools[0].gateway,
    };
    assert_eq!((attachment.routes, attachment.gateway_v4), (vec![wanted], None));
}

#[test]
fn an_mtu_leaves_room_for_the_tunnel() {
    let mtu = |planner: &Overlay, network: &Network| {
        let options = super::OverlayOptions::parse(&network.options).expect("valid");
        planner.mtu(&options)
    };
    let plain = network("overlay", 4, &["10.4.0.0/24"]);
    assert_eq!(mtu(&planner("192.0.2.1"), &plain), 1450);
    assert_eq!(mtu(&planner("2001:db8::1"), &plain), 1430);
    let said = Network {
        options: labels(&[("com.docker.network.driver.mtu", "1300")]),
        ..plain
    };
    assert_eq!(mtu(&planner("192.0.2.1"), &said), 1300);
}

#[test]
fn addresses_of_two_segments_are_refused() {
    let network = network("overlay", 5, &["10.5.0.0/24", "10.5.1.0/24", "fd00:5::/64"]);
    let astray = endpoint(&network, 1, &["10.5.1.2/24", "fd00:5::2/64"]);
    let target = target(Path::new("/run/cnm/netns/test"));
    assert!(matches!(
        planner("192.0.2.1").endpoint(&network, &astray, &target),
        Err(Error::Invalid { .. })
    ));
}

#[test]
fn identifiers_that_the_user_named_are_needed() {
    let options = labels(&[("com.docker.network.driver.overlay.vxlanid_list", "4097")]);
    let needs = check(&options).expect("it is valid");
    assert_eq!(needs.wanted_vnis, [Vni::new(4097).expect("in range")]);
    assert!(needs.vnis && needs.gateway && needs.claims.is_empty());
    assert!(check(&labels(&[("encrypted", "")])).is_err());
}

fn check(options: &Labels) -> crate::Result<crate::Needs> {
    planner("192.0.2.1").check(&Draft {
        id: NetworkId::from_bytes(bytes(7)),
        options,
        internal: false,
        families: &[AddressFamily::V4],
        subnets: &[],
    })
}
