//! Tagged sub-interfaces as parents.

use super::*;

const SUB: (&str, &str) = ("parent", "eth0.50");

#[test]
fn a_sub_interface_is_made_and_goes_with_its_last_network() {
    let segment = Segment::new("macvlan");
    let [first, second] = [1, 2].map(|number| segment.network(number, &[SUB]));
    segment.check(&first).expect("it can be made");
    assert!(!segment.has(0, "eth0.50"), "a check makes nothing");
    segment.create(0, &first);
    segment.create(0, &second);
    segment.create(1, &first);
    let one = segment.container(0, &first, 100);
    let two = segment.container(1, &first, 101);
    assert!(pings(&one, "10.0.0.101") && pings(&two, "fd00:a::100"));
    assert!(!pings(&one, "10.0.0.254"), "the router is not on that VLAN");
    segment.delete(0, &first);
    assert!(segment.has(0, "eth0.50"), "the other network is on it");
    segment.delete(0, &second);
    assert!(!segment.has(0, "eth0.50"));
    assert!(segment.has(0, "eth0"));
}

#[test]
fn different_tags_are_different_segments() {
    let segment = Segment::new("macvlan");
    let fifty = segment.network(1, &[SUB]);
    let sixty = segment.network(2, &[("parent", "eth0.60")]);
    segment.create(0, &fifty);
    segment.create(1, &sixty);
    let one = segment.container(0, &fifty, 100);
    let _two = segment.container(1, &sixty, 101);
    assert!(!pings(&one, "10.0.0.101"));
}

#[test]
fn one_that_the_user_made_stays() {
    let segment = Segment::new("macvlan");
    ip(
        &segment.hosts[0].pin,
        "link add link eth0 name eth0.50 up type vlan id 50",
    );
    let network = segment.network(1, &[SUB]);
    segment.create(0, &network);
    segment.delete(0, &network);
    assert!(segment.has(0, "eth0.50"));
}

#[test]
fn one_that_a_crash_left_is_removed_at_the_next_start_and_the_users_is_not() {
    let segment = Segment::new("macvlan");
    let host = &segment.hosts[0];
    segment.create(0, &segment.network(1, &[SUB]));
    ip(&host.pin, "link add link eth0 name eth0.60 up type vlan id 60");
    // Another process, which knows of no network.
    let next = host.again("10.0.0.1");
    segment
        .lab
        .run(next.driver("macvlan").tidy())
        .expect("it is tidied");
    assert!(!segment.has(0, "eth0.50"));
    assert!(segment.has(0, "eth0.60"));
}

#[test]
fn none_is_made_on_what_is_down() {
    let segment = Segment::new("macvlan");
    ip(&segment.hosts[0].pin, "link set eth0 down");
    let refused = segment.check(&segment.network(1, &[SUB]));
    let error = refused.expect_err("it is down").to_string();
    assert!(error.contains("\"eth0\" is down"), "{error}");
}

#[test]
fn a_link_that_is_back_has_its_sub_interface_again() {
    let segment = Segment::new("macvlan");
    let network = segment.network(1, &[SUB]);
    segment.create(0, &network);
    ip(&segment.hosts[0].pin, "link delete eth0");
    assert!(!segment.has(0, "eth0.50"));
    let driver = segment.hosts[0].driver("macvlan");
    let view = NetworkView {
        network: Arc::new(network.clone()),
        local: Vec::new(),
        peers: Vec::new(),
    };
    segment.lab.run(driver.repair(&view)).expect("it waits");
    segment.plug_again();
    segment.lab.run(driver.repair(&view)).expect("it repairs");
    assert!(segment.has(0, "eth0.50"));
    let names: Vec<_> = driver.links(&network).iter().map(ToString::to_string).collect();
    assert_eq!(names, ["eth0", "eth0.50"], "both are listened for");
}

#[test]
fn a_server_of_a_tagged_segment_is_heard() {
    let segment = Segment::new("macvlan");
    let network = segment.network(1, &[SUB]);
    segment.create(0, &network);
    segment.create(1, &network);
    let one = segment.container(0, &network, 100);
    let server = segment.container(1, &network, 101);
    assert!(segment::hears_a_server(
        &one,
        &server,
        [10, 0, 0, 100],
        [10, 0, 0, 101]
    ));
}
