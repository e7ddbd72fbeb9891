//! Real questions on a real segment: a bridge, and a machine behind one of its ports.

use std::{path::Path, process::Command, sync::Arc, time::Duration, time::Instant};

use model::{InterfaceName, NodeId};

use super::*;
use crate::{
    Kernel, Linux,
    linux::tests::{Pins, apart},
};

/// Long enough for an answer on the busiest of machines.
const LONG: Duration = Duration::from_secs(10);

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
}

fn ip(arguments: &str) {
    run("ip", &arguments.split(' ').collect::<Vec<_>>());
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn bridge() -> InterfaceName {
    InterfaceName::new("br0").expect("a name")
}

/// A bridge, and behind its port a machine with 192.0.2.7, fd00::7 and this Ethernet address.
fn segment(pin: &Path) {
    netns::create(pin).expect("a namespace");
    let net = format!("--net={}", pin.display());
    ip("link add br0 type bridge");
    ip("link set br0 up");
    ip(&format!(
        "link add port0 type veth peer name eth0 netns {}",
        pin.display()
    ));
    ip("link set port0 master br0 up");
    for arguments in [
        "link set eth0 address 02:00:00:00:00:77 up",
        "address add 192.0.2.7/24 dev eth0",
        "address add fd00::7/64 dev eth0 nodad",
    ] {
        let all: Vec<_> = [net.as_str(), "ip"]
            .into_iter()
            .chain(arguments.split(' '))
            .collect();
        run("nsenter", &all);
    }
}

#[test]
fn who_has_an_address_on_the_segment_answers_with_his_own_and_nobody_for_the_rest() {
    apart(|| {
        let pins = Pins::new();
        segment(&pins.path());
        let linux = Linux::here().expect("a kernel");
        let there = [address("192.0.2.7"), address("fd00::7")];
        let holders = linux
            .holders(&bridge(), &there, Rivals::Count, LONG)
            .expect("asked");
        let told: Vec<_> = holders.values().map(ToString::to_string).collect();
        assert_eq!(told, ["02:00:00:00:00:77"; 2], "{holders:?}");

        let mixed = [address("192.0.2.8"), address("fd00::8"), there[0]];
        let holders = linux
            .holders(&bridge(), &mixed, Rivals::Count, Duration::from_secs(1))
            .expect("asked");
        assert_eq!(holders.into_keys().collect::<Vec<_>>(), [there[0]]);

        // What the host wears itself nobody answers for, and yet it is taken.
        ip("address add 192.0.2.8/24 dev br0");
        let holders = linux
            .holders(&bridge(), &mixed[..1], Rivals::Count, LONG)
            .expect("asked");
        assert_eq!(holders.len(), 1);
    });
}

#[test]
fn a_flood_on_the_segment_does_not_keep_who_asks() {
    apart(|| {
        let pins = Pins::new();
        segment(&pins.path());
        let index = |link: &str| nix::net::if_::if_nametoindex(link);
        let socket = open(index("br0").expect("a bridge"), protocol(Family::V4)).expect("a socket");
        let open_there = || open(index("eth0").map_err(io::Error::from)?, protocol(Family::V4));
        let sender = netns::enter(&pins.path(), open_there).expect("a socket there");
        // More than one turn of what the machine there says, and what is waited for behind it.
        let other = MacAddress::new([2, 0, 0, 0, 0, 9]).expect("an address");
        for last in 0..TURN {
            let last = u8::try_from(last).expect("a turn is short");
            let frame = frame::probe(other, IpAddr::from([192, 0, 3, last]));
            send(sender.as_raw_fd(), &frame, MsgFlags::empty()).expect("sent");
        }
        let wanted = address("192.0.2.99");
        let frame = frame::probe(other, wanted);
        send(sender.as_raw_fd(), &frame, MsgFlags::empty()).expect("sent");
        let own = MacAddress::new([2, 0, 0, 0, 0, 1]).expect("an address");
        let claim =
            |frame: &[u8]| frame::claim(frame).filter(|(address, mac)| *mac != own && *address == wanted);
        let first = hear(&socket, claim).expect("heard");
        assert!(first.is_empty(), "the clock is looked at before all is heard");
        let began = Instant::now();
        while !hear(&socket, claim).expect("heard").contains_key(&wanted) {
            assert!(began.elapsed() < LONG, "it is never heard");
        }
    });
}

#[test]
fn a_link_that_is_down_or_not_there_leads_to_nobody() {
    apart(|| {
        let linux = Linux::here().expect("a kernel");
        let asked = [address("192.0.2.7"), address("fd00::7")];
        assert!(
            linux
                .holders(&bridge(), &asked, Rivals::Count, LONG)
                .expect("no link")
                .is_empty()
        );
        ip("link add br0 type bridge");
        assert!(
            linux
                .holders(&bridge(), &asked, Rivals::Count, LONG)
                .expect("down")
                .is_empty()
        );
    });
}

#[test]
fn a_bridge_is_shared_as_long_as_it_has_a_port_of_somebody_elses_watched_or_not() {
    apart(|| {
        let pins = Pins::new();
        segment(&pins.path());
        let linux = Arc::new(Linux::here().expect("a kernel"));
        let node = NodeId::from_bytes([7; 32]);
        let shared = || linux.is_shared(&bridge(), node).expect("looked");
        let becomes = |wanted: bool| {
            let began = Instant::now();
            while shared() != wanted {
                assert!(began.elapsed() < LONG, "it never becomes {wanted}");
                std::thread::yield_now();
            }
        };
        assert!(shared(), "seen by looking");
        let watch = linux.watch(Box::new(|_| {})).expect("a watch");
        assert!(shared(), "known from the start of the watch");
        ip("link set port0 nomaster");
        becomes(false);
        ip("link set port0 master br0");
        becomes(true);
        ip("link del port0");
        becomes(false);
        drop(watch);
        assert!(!shared(), "and without the watch");
    });
}
