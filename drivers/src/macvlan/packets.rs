//! Packets over macvlan networks: two hosts on one segment, as in walkthrough N16.

#[cfg(feature = "vm")]
mod vlan;

use std::sync::Arc;

use crate::{
    Access, Error, Local, NetworkView,
    lab::{command, pings},
    parent::segment::{self, Segment, ip, mac, wearing},
    samples::target,
};

const ETH0: (&str, &str) = ("parent", "eth0");

#[test]
fn containers_of_two_hosts_are_on_the_segment() {
    let segment = Segment::new("macvlan");
    let network = segment.network(1, &[ETH0]);
    segment.create(0, &network);
    segment.create(1, &network);
    let one = segment.container(0, &network, 100);
    let two = segment.container(1, &network, 101);
    let beside = segment.container(0, &network, 102);
    for (from, to) in [
        (&one, "10.0.0.101"),
        (&one, "fd00:a::101"),
        (&two, "10.0.0.100"),
        (&one, "10.0.0.102"),
        (&beside, "10.0.0.101"),
        (&one, "10.0.0.254"),
        (&one, "10.0.0.2"),
        (&segment.router, "10.0.0.100"),
    ] {
        assert!(pings(from, to), "{to} from {}", from.display());
    }
    assert!(pings(&one, "198.51.100.9"), "by way of the segment's router");
    let own = &segment.hosts[0].pin;
    assert!(!pings(own, "10.0.0.100"), "the kernel keeps the host apart");
    assert_eq!(mac(&one), "02:42:0a:00:00:64");
}

#[test]
fn private_containers_reach_only_others_of_the_segment() {
    let segment = Segment::new("macvlan");
    let network = segment.network(1, &[ETH0, ("macvlan_mode", "private")]);
    segment.create(0, &network);
    let [one, two] = [100, 101].map(|last| segment.container(0, &network, last));
    assert!(!pings(&one, "10.0.0.101") && !pings(&two, "fd00:a::100"));
    assert!(pings(&one, "10.0.0.254") && pings(&two, "10.0.0.2"));
}

#[test]
fn vepa_leaves_it_to_the_switch() {
    let segment = Segment::new("macvlan");
    let network = segment.network(1, &[ETH0, ("macvlan_mode", "vepa")]);
    segment.create(0, &network);
    let [one, _two] = [100, 101].map(|last| segment.container(0, &network, last));
    assert!(!pings(&one, "10.0.0.101"), "this switch sends nothing back");
    ip(&segment.switch, "link set p1 type bridge_slave hairpin on");
    assert!((0..5).any(|_| pings(&one, "10.0.0.101")), "this one does");
}

#[test]
fn what_passes_through_has_its_parent_for_itself() {
    let segment = Segment::new("macvlan");
    let network = segment.network(1, &[ETH0, ("macvlan_mode", "passthru")]);
    segment.create(0, &network);
    let one = segment.container(0, &network, 100);
    assert!(pings(&one, "10.0.0.254"));
    assert_eq!(mac(&one), "02:42:0a:00:00:64", "the one that was recorded");
    for (other, options) in [
        ("macvlan", &[ETH0][..]),
        ("a second one", &[ETH0, ("macvlan_mode", "passthru")]),
    ] {
        let refused = segment.check(&segment.network(2, options));
        let Err(Error::Forbidden { message, .. }) = refused else {
            panic!("{other} is refused");
        };
        assert!(
            message.contains("\"net1\" is already using parent interface \"eth0\""),
            "{message}"
        );
    }
    let elsewhere = segment.network(2, &[]);
    segment.check(&elsewhere).expect("it has a link of its own");
    segment.delete(0, &network);
    segment
        .check(&segment.network(2, &[ETH0]))
        .expect("the parent is free");
}

#[test]
fn several_networks_share_a_parent() {
    let segment = Segment::new("macvlan");
    let [first, second] = [1, 2].map(|number| segment.network(number, &[ETH0]));
    segment.create(0, &first);
    segment.check(&second).expect("it may");
    segment.create(0, &second);
    let one = segment.container(0, &first, 100);
    let _two = segment.container(0, &second, 101);
    assert!(pings(&one, "10.0.0.101"), "it is one segment");
    segment.delete(0, &second);
    assert!(pings(&one, "10.0.0.254"));
}

#[test]
fn without_a_parent_a_network_is_internal() {
    segment::leads_nowhere_without_a_parent("macvlan", "dm-010101010101");
}

#[test]
fn a_parent_that_can_not_be_is_refused_before_anything_is_made() {
    let segment = Segment::new("macvlan");
    for (parent, says) in [
        ("lo", "loopback"),
        ("eth9", "no interface \"eth9\""),
        ("eth0.4095", "1 to 4094"),
        ("eth9.50", "no interface \"eth9\""),
        ("eth0.fifty", "no interface \"eth0.fifty\""),
    ] {
        let refused = segment.check(&segment.network(1, &[("parent", parent)]));
        let error = refused.expect_err(parent).to_string();
        assert!(error.contains(says), "{parent}: {error}");
    }
    segment.check(&segment.network(1, &[ETH0])).expect("it is there");
}

/// Says the same as a container's start would, and earlier.
#[test]
fn a_kernel_without_802_1q_is_told_of() {
    let segment = Segment::new("macvlan");
    let made = command(
        &segment.switch,
        &[
            "ip", "link", "add", "link", "br0", "name", "v5", "type", "vlan", "id", "5",
        ],
    );
    let checked = segment.check(&segment.network(1, &[("parent", "eth0.50")]));
    match made {
        Some(_) => drop(checked.expect("this kernel has it")),
        None => assert!(checked.expect_err("it has not").to_string().contains("802.1q")),
    }
}

#[test]
fn the_host_reaches_its_containers_where_it_shall() {
    let segment = Segment::new("macvlan");
    let mut network = segment.network(1, &[ETH0, ("cnm.host_access", "true")]);
    for (pool, (key, address)) in network
        .pools
        .iter_mut()
        .zip([("host", "10.0.0.250"), ("host6", "fd00:a::250")])
    {
        pool.aux_addresses
            .insert(key.to_owned(), address.parse().expect("an address"));
    }
    segment.create(0, &network);
    let one = segment.container(0, &network, 100);
    let host = segment.hosts[0].pin.clone();
    assert!(pings(&host, "10.0.0.100") && pings(&host, "fd00:a::100"));
    assert!(pings(&one, "10.0.0.250") && pings(&one, "fd00:a::250"));
    assert!(pings(&host, "10.0.0.2"), "the rest of the segment as before");
    let endpoint = wearing(&network, 100);
    let driver = segment.hosts[0].driver("macvlan");
    segment
        .lab
        .run(driver.leave(&network, &endpoint, &target(&one)))
        .expect("it leaves");
    let routes = command(&host, &["ip", "route", "show", "10.0.0.100"]).expect("an answer");
    assert_eq!(routes, "");
    segment.delete(0, &network);
    assert!(!segment.has(0, "mh-010101010101"));
}

#[test]
fn a_parent_that_vanished_and_is_back_has_its_interfaces_again() {
    let segment = Segment::new("macvlan");
    let network = segment.network(1, &[ETH0]);
    segment.create(0, &network);
    let one = segment.container(0, &network, 100);
    let driver = segment.hosts[0].driver("macvlan");
    let endpoint = wearing(&network, 100);
    let view = NetworkView {
        network: Arc::new(network.clone()),
        local: vec![Local {
            endpoint: Arc::new(endpoint.clone()),
            target: target(&one),
            access: Access::default(),
        }],
        peers: Vec::new(),
    };
    let there = || command(&one, &["ip", "link", "show", "dev", "eth0"]).is_some();
    let repair = || segment.lab.run(driver.repair(&view)).expect("it repairs");
    ip(&segment.hosts[0].pin, "link delete eth0");
    assert!(!there(), "it went with its parent");
    repair();
    let target = target(&one);
    let joining = segment.lab.run(driver.join(&network, &endpoint, &target));
    let error = joining.expect_err("it waits").to_string();
    assert!(error.contains("has lost its parent"), "{error}");
    segment.plug_again();
    repair();
    assert!(there(), "it is back");
    // The controller's part.
    ip(&one, "address add 10.0.0.100/24 dev eth0");
    assert!(pings(&one, "10.0.0.254"));
}

#[test]
fn a_server_of_the_segment_is_heard_and_neighbours_are_told() {
    segment::hears_and_is_heard("macvlan");
}
