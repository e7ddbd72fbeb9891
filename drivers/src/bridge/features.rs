//! Golden rule sets: a text for each feature of bridge networks.

use std::path::Path;

use kernel::{KernelState, Object, ruleset::Item};
use model::{Exposure, Network, PublishedPorts};

use super::{Bridge, BridgeHost};
use crate::{
    Access, LinkAccess,
    planner::Planner,
    samples::{self, endpoint, exposed, labels, network, node, ports, target},
};

const HOST: BridgeHost = BridgeHost {
    node: node(),
    mtu: Some(1450),
    ipv6: true,
    firewall: true,
    ip_forward: true,
};

/// Both spellings of a golden rule set.
fn assert_golden(name: &str, state: &KernelState) {
    samples::assert_golden(name, state);
    samples::assert_golden_iptables(name, &Bridge::new(HOST).base(), state);
}

fn option(name: &str) -> String {
    format!("com.docker.network.{name}")
}

/// A network with these options.
fn with(network: Network, options: &[(&str, &str)]) -> Network {
    let options: Vec<_> = options
        .iter()
        .map(|(name, value)| (option(name), *value))
        .collect();
    let pairs: Vec<_> = options
        .iter()
        .map(|(name, value)| (name.as_str(), *value))
        .collect();
    Network {
        options: labels(&pairs),
        ..network
    }
}

/// A network with an endpoint and what leads to it.
fn plan(network: &Network, addresses: &[&str], access: &Access) -> KernelState {
    plan_on(HOST, network, addresses, access)
}

fn plan_on(host: BridgeHost, network: &Network, addresses: &[&str], access: &Access) -> KernelState {
    let planner = Bridge::new(host);
    let endpoint = endpoint(network, 0xe1, addresses);
    let target = target(Path::new("/run/cnm/netns/test"));
    let mut state = planner.network(network).expect("a plan");
    for part in [
        planner.endpoint(network, &endpoint, &target),
        planner.access(network, &endpoint, access),
    ] {
        state.extend(part.expect("a plan").objects().cloned());
    }
    state
}

fn published<const N: usize>(texts: [&str; N]) -> Access {
    Access {
        ports: texts.map(ports).into(),
        ..Access::default()
    }
}

#[test]
fn published_ports_are_elements() {
    let network = network("bridge", 2, &["172.18.2.0/24", "fd00:2::/64"]);
    let access = published([
        "0.0.0.0:8080->80/tcp",
        "[::]:8080->80/tcp",
        "127.0.0.1:5000->5000/tcp",
        "198.51.100.1:53->53/udp",
        "[2001:db8::1]:53->53/udp",
        "0.0.0.0:7000->7000/sctp",
    ]);
    let state = plan(&network, &["172.18.2.2/24", "fd00:2::2/64"], &access);
    assert_golden("bridge-ports.txt", &state);
}

#[test]
fn sctp_is_published_like_everything_else() {
    let network = with(
        network("bridge", 2, &["172.18.2.0/24", "fd00:2::/64"]),
        &[
            ("bridge.gateway_mode_ipv6", "routed"),
            ("bridge.enable_icc", "false"),
        ],
    );
    let mut access = published([
        "0.0.0.0:3868->3868/sctp",
        "198.51.100.1:3869->3868/sctp",
        "127.0.0.1:3870->3868/sctp",
        "0.0.0.0:7000-7009->7000-7009/sctp",
        "0.0.0.0:8000-8001->7010-7011/sctp",
        "[::]:3868->3868/sctp",
    ]);
    access.links = vec![LinkAccess {
        from: "172.18.2.3".parse().expect("an address"),
        ports: exposed("3868/sctp"),
    }];
    let state = plan(&network, &["172.18.2.2/24", "fd00:2::2/64"], &access);
    assert_golden("bridge-sctp.txt", &state);
}

#[test]
fn a_range_is_one_element_unless_its_numbers_change() {
    let network = network("bridge", 2, &["172.18.2.0/24", "fd00:2::/64"]);
    let access = published([
        "0.0.0.0:8000-8999->8000-8999/tcp",
        "198.51.100.1:8000-8999->8000-8999/udp",
        "[::]:8000-8999->8000-8999/tcp",
        "127.0.0.1:9000-9002->80-82/tcp",
    ]);
    let state = plan(&network, &["172.18.2.2/24", "fd00:2::2/64"], &access);
    assert_golden("bridge-ranges.txt", &state);
}

#[test]
fn ten_thousand_equal_ports_are_one_element_and_shifted_ones_ten_thousand() {
    let network = network("bridge", 2, &["172.18.2.0/24"]);
    let planner = Bridge::new(HOST);
    let endpoint = endpoint(&network, 1, &["172.18.2.2/24"]);
    for (text, wanted) in [
        ("198.51.100.1:20000-29999->20000-29999/tcp", 2),
        ("198.51.100.1:20000-29999->30000-39999/tcp", 10_001),
    ] {
        // And one for the container that uses them itself.
        let state = planner.access(&network, &endpoint, &published([text]));
        assert_eq!(state.expect("a plan").len(), wanted, "{text}");
    }
}

#[test]
fn a_port_under_the_hosts_own_rules_is_in_no_map_and_closed_to_internal_networks() {
    let network = network("bridge", 2, &["172.18.2.0/24"]);
    let port = PublishedPorts {
        exposure: Exposure::Host,
        ..ports("0.0.0.0:8080->80/tcp")
    };
    let access = Access {
        ports: vec![port],
        ..Access::default()
    };
    let endpoint = endpoint(&network, 1, &["172.18.2.2/24"]);
    for mode in ["nat", "nat-unprotected", "routed"] {
        let network = with(network.clone(), &[("bridge.gateway_mode_ipv4", mode)]);
        let state = Bridge::new(HOST).access(&network, &endpoint, &access);
        assert_eq!(sets(&state.expect("a plan")), ["relayed-v4"], "{mode}");
    }
}

#[test]
fn what_only_the_relay_can_lead_there_is_closed_to_internal_networks() {
    let network = network("bridge", 2, &["172.18.2.0/24"]);
    let access = published(["[::]:8080->80/tcp", "[::]:9000-9009->9000-9009/udp"]);
    let endpoint = endpoint(&network, 1, &["172.18.2.2/24"]);
    let state = Bridge::new(HOST).access(&network, &endpoint, &access);
    assert_eq!(sets(&state.expect("a plan")), ["relayed-v6", "relayed-v6"]);
}

/// The sets and maps that have elements.
fn sets(state: &KernelState) -> Vec<String> {
    let set = |object: &Object| match object {
        Object::Firewall(_, Item::Element(element)) => Some(element.set.clone()),
        _ => None,
    };
    state.objects().filter_map(set).collect()
}

#[test]
fn a_family_of_its_own_address_opens_ports_instead() {
    let network = with(
        network("bridge", 2, &["172.18.2.0/24", "fd00:2::/64"]),
        &[("bridge.gateway_mode_ipv6", "routed")],
    );
    let access = published([
        "0.0.0.0:8080->80/tcp",
        "[::]:8080->80/tcp",
        "[::]:8081->81/tcp",
        "[::]:9000-9009->79-88/tcp",
    ]);
    let state = plan(&network, &["172.18.2.2/24", "fd00:2::2/64"], &access);
    assert_golden("bridge-routed.txt", &state);
}

#[test]
fn an_unprotected_network_is_reached_directly() {
    let network = with(
        network("bridge", 2, &["172.18.2.0/24"]),
        &[("bridge.gateway_mode_ipv4", "nat-unprotected")],
    );
    let access = published(["0.0.0.0:8080->80/tcp"]);
    let state = plan(&network, &["172.18.2.2/24"], &access);
    assert_golden("bridge-unprotected.txt", &state);
}

#[test]
fn an_isolated_bridge_has_no_address() {
    let network = with(
        network("bridge", 2, &["172.18.2.0/24", "fd00:2::/64"]),
        &[
            ("bridge.gateway_mode_ipv4", "isolated"),
            ("bridge.gateway_mode_ipv6", "isolated"),
        ],
    );
    let network = Network {
        internal: true,
        ..network
    };
    let access = published(["0.0.0.0:8080->80/tcp"]);
    let state = plan(&network, &["172.18.2.2/24", "fd00:2::2/64"], &access);
    assert_golden("bridge-isolated.txt", &state);
}

#[test]
fn sources_and_trusted_interfaces_are_elements() {
    let network = with(
        network("bridge", 2, &["172.18.2.0/24", "fd00:2::/64"]),
        &[
            ("host_ipv4", "192.0.2.1"),
            ("host_ipv6", "2001:db8::1"),
            ("bridge.trusted_host_interfaces", "eth1:tun0"),
            ("bridge.inhibit_ipv4", "true"),
        ],
    );
    let state = plan(&network, &["172.18.2.2/24", "fd00:2::2/64"], &Access::default());
    assert_golden("bridge-sources.txt", &state);
}

#[test]
fn links_open_what_icc_closes() {
    let network = with(
        network("bridge", 2, &["172.18.2.0/24", "fd00:2::/64"]),
        &[("bridge.enable_icc", "false")],
    );
    let link = |from: &str, text| LinkAccess {
        from: from.parse().expect("an address"),
        ports: exposed(text),
    };
    let access = Access {
        links: vec![
            link("172.18.2.3", "80/tcp"),
            link("172.18.2.3", "80-90/tcp"),
            link("172.18.2.4", "53/udp"),
        ],
        ..Access::default()
    };
    let state = plan(&network, &["172.18.2.2/24", "fd00:2::2/64"], &access);
    assert_golden("bridge-links.txt", &state);
}

#[test]
fn a_network_may_have_ipv6_only_and_several_subnets() {
    let network = network("bridge", 2, &["fd00:2::/64", "fd00:3::/64"]);
    let access = published(["[::]:8080->80/tcp"]);
    let state = plan(&network, &["fd00:3::2/64"], &access);
    assert_golden("bridge-ipv6.txt", &state);
    let endpoint = endpoint(&network, 1, &["fd00:3::2/64"]);
    let attachment = Bridge::new(HOST).attachment(&network, &endpoint);
    assert_eq!(
        attachment.gateway_v6, network.pools[1].gateway,
        "its own subnet's"
    );
}

#[test]
fn without_a_firewall_there_is_no_firewall_object() {
    let host = BridgeHost {
        firewall: false,
        ip_forward: false,
        ..HOST
    };
    assert!(Bridge::new(host.clone()).base().is_empty());
    let network = with(
        network("bridge", 2, &["172.18.2.0/24", "fd00:2::/64"]),
        &[("bridge.enable_icc", "false")],
    );
    let access = published(["0.0.0.0:8080->80/tcp"]);
    let state = plan_on(host, &network, &["172.18.2.2/24", "fd00:2::2/64"], &access);
    let ruled = |object: &Object| matches!(object, Object::Firewall(_, Item::Element(_)));
    assert!(!state.objects().any(ruled));
    assert_golden("bridge-no-firewall.txt", &state);
}

/// Lines of the transactions that bring one more network about where there are so many, and that take it away again.
fn iptables_lines(networks: u8) -> [usize; 2] {
    let planner = Bridge::new(HOST);
    let mut items: Vec<Item> = items_of(&planner.base()).collect();
    for number in 1..=networks {
        let subnets = [format!("172.18.{number}.0/24"), format!("fd00:{number:x}::/64")];
        let network = network("bridge", number, &[&subnets[0], &subnets[1]]);
        items.extend(items_of(&planner.network(&network).expect("a plan")));
    }
    let more = network("bridge", 250, &["172.18.250.0/24", "fd00:fa::/64"]);
    let access = published(["0.0.0.0:8080->80/tcp", "[::]:8080->80/tcp"]);
    let endpoint = endpoint(&more, 1, &["172.18.250.2/24", "fd00:fa::2/64"]);
    let new = [planner.network(&more), planner.access(&more, &endpoint, &access)];
    let new: Vec<Item> = new
        .iter()
        .flat_map(|state| items_of(state.as_ref().expect("a plan")))
        .collect();
    let all: Vec<_> = items.iter().chain(&new).collect();
    let count = |before: &[&Item], after: &[&Item]| {
        let scripts = kernel::linux::iptables::change(before.iter().copied(), after.iter().copied());
        let scripts = scripts.expect("iptables has words for it");
        scripts.iter().map(|script| script.lines().count()).sum()
    };
    let known: Vec<_> = items.iter().collect();
    [count(&known, &all), count(&all, &known)]
}

fn items_of(state: &KernelState) -> impl Iterator<Item = Item> {
    state.objects().filter_map(|object| match object {
        Object::Firewall(_, item) => Some(item.clone()),
        _ => None,
    })
}

#[test]
fn one_more_network_costs_iptables_as_many_lines_whatever_their_number() {
    let first = iptables_lines(1);
    assert!(first.iter().all(|lines| *lines < 50), "{first:?}");
    assert_eq!(iptables_lines(200), first);
}
