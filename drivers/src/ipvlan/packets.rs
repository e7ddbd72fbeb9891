//! Packets over ipvlan networks: two hosts on one segment.

use crate::{
    Error,
    lab::{command, pings},
    parent::segment::{self, Segment, ip, mac},
};

const ETH0: (&str, &str) = ("parent", "eth0");

#[test]
fn on_layer_2_containers_are_on_the_segment_with_the_parents_address() {
    let segment = Segment::new("ipvlan");
    let network = segment.network(1, &[ETH0]);
    segment.check(&network).expect("this kernel has it");
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
        (&beside, "10.0.0.254"),
        (&segment.router, "10.0.0.100"),
        (&one, "198.51.100.9"),
    ] {
        assert!(pings(from, to), "{to} from {}", from.display());
    }
    assert_eq!(mac(&one), mac(&segment.hosts[0].pin));
}

#[test]
fn on_layer_3_the_host_routes() {
    for mode in ["l3", "l3s"] {
        let segment = Segment::new("ipvlan");
        let network = segment.network(1, &[ETH0, ("ipvlan_mode", mode)]);
        segment.create(0, &network);
        let [one, two] = [100, 101].map(|last| segment.container(0, &network, last));
        assert!(pings(&one, "10.0.0.101") && pings(&two, "fd00:a::100"), "{mode}");
        let routes = command(&one, &["ip", "route", "show", "default"]).expect("an answer");
        assert!(routes.starts_with("default dev eth0"), "{mode}: {routes}");
        let asked = command(&segment.router, &["ping", "-c", "1", "-W", "1", "10.0.0.100"]);
        assert_eq!(asked, None, "{mode}: nobody answers for it on the segment");
        // As an administrator does who uses it.
        ip(
            &segment.router,
            &format!(
                "neigh replace 10.0.0.100 lladdr {} dev eth0",
                mac(&segment.hosts[0].pin)
            ),
        );
        assert!(pings(&segment.router, "10.0.0.100"), "{mode}");
    }
}

#[test]
fn flags_keep_containers_apart() {
    for flag in ["private", "vepa"] {
        let segment = Segment::new("ipvlan");
        let network = segment.network(1, &[ETH0, ("ipvlan_flag", flag)]);
        segment.create(0, &network);
        let [one, two] = [100, 101].map(|last| segment.container(0, &network, last));
        assert!(!pings(&one, "10.0.0.101") && !pings(&two, "10.0.0.100"), "{flag}");
        assert!(pings(&one, "10.0.0.254"), "{flag}");
    }
}

#[test]
fn one_parent_has_one_mode() {
    let segment = Segment::new("ipvlan");
    let [first, second] = [1, 2].map(|number| segment.network(number, &[ETH0]));
    segment.create(0, &first);
    segment.check(&second).expect("of one mode there may be several");
    let routed = segment.network(2, &[ETH0, ("ipvlan_mode", "l3")]);
    assert!(matches!(segment.check(&routed), Err(Error::Forbidden { .. })));
    segment.create(0, &second);
    let one = segment.container(0, &first, 100);
    let _two = segment.container(0, &second, 101);
    assert!(pings(&one, "10.0.0.101"));
}

#[test]
fn a_parent_is_macvlans_or_ipvlans() {
    let segment = Segment::new("ipvlan");
    let network = segment.network(1, &[ETH0]);
    segment.create(0, &network);
    let mut other = segment.network(2, &[ETH0]);
    other.driver = model::DriverName::new("macvlan").expect("a name");
    let draft = crate::Draft {
        id: other.id,
        options: &other.options,
        internal: false,
        families: &[],
        subnets: &[],
    };
    let driver = segment.hosts[0].driver("macvlan");
    let refused = segment.lab.run(driver.check(&draft));
    assert!(matches!(refused, Err(Error::Forbidden { .. })));
}

#[test]
fn without_a_parent_a_network_is_internal() {
    segment::leads_nowhere_without_a_parent("ipvlan", "di-010101010101");
}

#[test]
fn a_tagged_sub_interface_is_made_and_removed() {
    let segment = Segment::new("ipvlan");
    let network = segment.network(1, &[("parent", "eth0.50")]);
    segment.create(0, &network);
    segment.create(1, &network);
    let one = segment.container(0, &network, 100);
    let _two = segment.container(1, &network, 101);
    assert!(pings(&one, "10.0.0.101") && !pings(&one, "10.0.0.254"));
    segment.delete(0, &network);
    assert!(!segment.has(0, "eth0.50"));
}

#[test]
fn a_server_of_the_segment_is_heard_and_neighbours_are_told() {
    segment::hears_and_is_heard("ipvlan");
}
