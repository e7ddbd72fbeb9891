//! Real flows in a namespace of the test's own.

use std::{net::UdpSocket, os::fd::AsFd, process::Command};

use model::{Exposure, PortRange, Protocol, PublishedPorts};
use nix::sched::{CloneFlags, unshare};

use super::*;
use crate::netns;

#[test]
fn what_an_older_kernel_or_nobody_writes_is_no_flow() {
    for bytes in [&[][..], &[2, 0, 0, 0], &[2, 0, 0, 0, 8, 0, 1, 0, 4, 0, 1, 0]] {
        assert_eq!(read(bytes), None, "{bytes:?}");
    }
}

#[test]
fn addresses_and_ports_are_asked_for_once_each() {
    let ports = |first| PublishedPorts {
        protocol: Protocol::Tcp,
        host_ip: Ipv4Addr::UNSPECIFIED.into(),
        host: PortRange::single(first).unwrap(),
        container: PortRange::single(80).unwrap(),
        exposure: Exposure::Open,
    };
    let container = IpAddr::from([172, 18, 0, 2]);
    let dead: Vec<_> = (1..=100)
        .map(|port| DeadFlows::Through(ports(port), container))
        .collect();
    assert_eq!(asks(&dead).len(), 1);
}

/// A table of the calling thread's namespace; without a file and with filters refused, as other kernels have it.
fn table(is_listed: bool) -> Table {
    let mut table = Table::of(netns::current().unwrap().as_fd()).unwrap();
    if !is_listed {
        table.listing = None;
    }
    table
}

#[test]
fn a_table_is_read_whole_while_that_is_quicker_than_asking() {
    let rows = [
        (1, 1, true),
        (SMALL, 1, true),
        (SMALL + 1, 1, false),
        (SMALL * 2, 2, true),
        (1_000_000, 2, false),
        (u32::MAX, usize::MAX, false),
    ];
    for (entries, asks, expected) in rows {
        assert_eq!(
            is_read_whole(entries, asks),
            expected,
            "{entries} flows, {asks} questions"
        );
    }
}

/// Answers a datagram for each of these ports, so that flows exist.
fn flows(ports: &[u16]) {
    for port in ports {
        let server = UdpSocket::bind(("127.0.0.1", *port)).unwrap();
        let client = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        client.send_to(b"x", server.local_addr().unwrap()).unwrap();
    }
}

fn left(raw: &mut Raw, request: &[u8]) -> Vec<u16> {
    let mut ports = Vec::new();
    raw.dump(GET, request, |answer| {
        ports.extend(read(answer).map(|flow| flow.to_port));
    })
    .unwrap();
    ports.sort_unstable();
    ports
}

#[test]
fn the_kernel_tells_and_forgets_what_it_is_asked_for() {
    let thread = std::thread::spawn(|| {
        if unshare(CloneFlags::CLONE_NEWNET).is_err() {
            eprintln!("skipped: needs the privilege to make namespaces");
            return;
        }
        // Connection tracking works once a rule looks at it.
        let rule = "table ip t { chain c { type filter hook output priority 0; ct state new accept; }; }";
        let tracked = Command::new("nft").arg(rule).status();
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
        if !(tracked.is_ok_and(|status| status.success()) && up.is_ok_and(|status| status.success())) {
            eprintln!("skipped: needs nft and ip");
            return;
        }
        let here = netns::current().unwrap();
        let mut raw = Raw::open(here.as_fd(), NETLINK_NETFILTER).unwrap();
        assert_eq!(count(&mut raw).unwrap(), 0);
        let mut empty = table(true);
        let nobody = DeadFlows::Of([127, 0, 0, 1].into());
        assert_eq!(empty.forget(&[nobody], |_| true).unwrap(), 0);
        assert_eq!(empty.raw.sent(), 1, "an empty table is only counted");
        flows(&[5301, 5302, 5303]);
        assert_eq!(count(&mut raw).unwrap(), 3);
        let by_port = filtered(Ask::ToPort {
            v4: true,
            protocol: 17,
            port: Some(5302),
        });
        assert_eq!(left(&mut raw, &by_port), [5302]);
        let local = IpAddr::from([127, 0, 0, 1]);
        assert_eq!(left(&mut raw, &filtered(Ask::From(local))), [5301, 5302, 5303]);
        assert_eq!(
            left(&mut raw, &filtered(Ask::AnsweredFrom(local))),
            [5301, 5302, 5303]
        );
        let other = filtered(Ask::AnsweredFrom([127, 0, 0, 2].into()));
        assert_eq!(left(&mut raw, &other), Vec::<u16>::new());
        let dead = DeadFlows::ToHost(PublishedPorts {
            protocol: Protocol::Udp,
            host_ip: Ipv4Addr::UNSPECIFIED.into(),
            host: PortRange::new(5301, 5302).unwrap(),
            container: PortRange::new(1, 2).unwrap(),
            exposure: Exposure::Open,
        });
        for is_listed in [false, true] {
            flows(&[5301, 5302]);
            let mut table = table(is_listed && std::path::Path::new("/proc/net/nf_conntrack").exists());
            let forgotten = table
                .forget(std::slice::from_ref(&dead), |ip| ip == local)
                .unwrap();
            assert!(forgotten >= 2, "{forgotten}");
            assert_eq!(left(&mut raw, &header(AF_INET)), [5303]);
        }
        assert_eq!(
            forget(here.as_fd(), &[dead], |ip| ip == local).unwrap(),
            0,
            "twice"
        );
        assert_eq!(
            forget(here.as_fd(), &[DeadFlows::Of(local)], |_| false).unwrap(),
            1
        );
    });
    thread.join().unwrap();
}
