//! What the kernel and its neighbours say: a daemon lives through whatever they come to say in years to come.

use fuzz::run;
use model::Protocol;

use super::{
    addresses, conntrack, firewalld, iptables, links, monitor, netlink,
    own::Own,
    raw::{attribute, attributes},
    routes, sock_diag, traffic,
};
use crate::damage::Damage;

const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// A message with its header, of this kind.
fn message(kind: u16, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + payload.len()).expect("a short message");
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend([0, 0, 1, 0, 0, 0, 2, 0, 0, 0]);
    bytes.extend(payload);
    bytes
}

/// An attribute.
fn one(number: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    super::raw::push(&mut bytes, number, value);
    bytes
}

fn link() -> Vec<u8> {
    let info = [one(1, b"bridge\0"), one(2, &one(5, &[1, 0]))].concat();
    let fields = [
        one(3, b"br-0\0"),
        one(1, &[2, 0, 0, 0, 0, 1]),
        one(4, &[0xdc, 5, 0, 0]),
        one(18, &info),
    ];
    let head = [&[0, 0, 1, 0, 7, 0, 0, 0, 0x43, 0x10, 0, 0, 0, 0, 0, 0][..]];
    message(16, &[&head.concat()[..], &fields.concat()].concat())
}

fn address() -> Vec<u8> {
    let fields = [one(1, &[10, 0, 0, 1]), one(2, &[10, 0, 0, 1]), one(3, b"eth0\0")].concat();
    message(20, &[&[2, 24, 0x80, 0, 7, 0, 0, 0][..], &fields].concat())
}

fn route() -> Vec<u8> {
    let fields = [
        one(5, &[10, 0, 0, 254]),
        one(4, &[7, 0, 0, 0]),
        one(15, &[254, 0, 0, 0]),
    ]
    .concat();
    message(
        24,
        &[&[2, 0, 0, 0, 254, 4, 0, 1, 0, 0, 0, 0][..], &fields].concat(),
    )
}

#[test]
fn links_addresses_and_routes() {
    let refused = message(2, &[&[0xef, 0xff, 0xff, 0xff][..], &message(16, b"")].concat());
    let good = [link(), address(), route(), refused];
    let good: Vec<&[u8]> = good.iter().map(Vec::as_slice).collect();
    run("route-netlink", HERE, &good, |bytes| {
        // Whoever splits a datagram has seen that there is a header.
        let answer = netlink::read(bytes.get(..16).map(|_| bytes)?);
        let netlink::Answer::Object(object) = answer else {
            return None;
        };
        let link = links::Found::read(object.clone()).is_some();
        let address = addresses::read(vec![object.clone()]).next().is_some();
        Some((link, address, routes::read(object).is_some()))
    });
}

#[test]
fn flows_and_sockets() {
    let tuple = |numbers: [u8; 4]| {
        let ip = [one(1, &[10, 0, 0, 1]), one(2, &numbers)].concat();
        [
            one(1, &ip),
            one(2, &[one(1, &[6]), one(2, &[0, 80]), one(3, &[1, 0])].concat()),
        ]
        .concat()
    };
    let flow = [
        &[2, 0, 0, 0][..],
        &one(1, &tuple([10, 0, 0, 2])),
        &one(2, &tuple([10, 0, 0, 3])),
        &one(12, &[9]),
    ];
    let socket = [
        &[2, 10, 0, 0, 0, 80, 0, 0, 192, 0, 2, 1][..],
        &[0; 60],
        &one(11, &[1]),
    ]
    .concat();
    run("flows-and-sockets", HERE, &[&flow.concat(), &socket], |bytes| {
        let numbers: Vec<u16> = attributes(bytes).map(|(number, _)| number).take(3).collect();
        (
            conntrack::read(bytes).is_some(),
            conntrack::deletion(bytes).is_some(),
            sock_diag::read(Protocol::Tcp, bytes).is_some(),
            attribute(bytes, 1).is_some(),
            numbers,
        )
    });
    let line =
        b"ipv4     2 tcp      6 431999 ESTABLISHED src=10.0.0.1 dst=10.0.0.2 sport=1 dport=80 src=10.0.0.2 \
        dst=10.0.0.1 sport=80 dport=1 [ASSURED] mark=0 zone=0 use=2";
    run("flow-lines", HERE, &[line], |bytes| {
        conntrack::listing::is_legible(&String::from_utf8_lossy(bytes))
    });
}

#[test]
fn announcements() {
    let table = [&[1, 0, 0, 0][..], &one(1, b"cnm-12345678\0")].concat();
    let generation = [&[0, 0, 0, 0][..], &one(1, &[0, 0, 0, 9]), &one(2, &[0, 0, 0, 7])].concat();
    let good = [
        message(0x0a00, &table),
        message(0x0a06, &table),
        message(0x0a0f, &generation),
    ];
    run("announcements", HERE, &[&good.concat(), &good[0]], |bytes| {
        let mut damage = Damage::default();
        monitor::read_rules(bytes, &Own::default(), &mut damage);
        (damage.rules, damage.others)
    });
}

#[test]
fn answers_of_the_message_bus() {
    let mut good =
        b"l\x02\x01\x01\x08\0\0\0\x07\0\0\0\x0f\0\0\0\x05\x01u\0\x01\0\0\0\x08\x01g\0\x01s\0\0".to_vec();
    good.extend(b"\x03\0\0\0yes\0");
    run("message-bus", HERE, &[&good], firewalld::is_answer);
}

#[test]
fn what_iptables_saves() {
    let good = "*filter\n:FORWARD DROP [0:0]\n:CNM-FWD - [0:0]\n-A FORWARD -j CNM-FWD\n-A CNM-FWD -m comment --comment \
        \"cnm:0123\" -j ACCEPT\nCOMMIT\n*nat\n:CNM-PRE - [0:0]\n-A CNM-PRE -p tcp -j DNAT --to-destination 10.0.0.2:80\n";
    run("iptables-save", HERE, &[good.as_bytes()], |bytes| {
        iptables::chains_in(&String::from_utf8_lossy(bytes), "CNM-")
    });
}

#[test]
fn port_ranges_of_the_host() {
    run(
        "port-ranges",
        HERE,
        &[b"32768\t60999\n8080,9000-9010\n"],
        |bytes| {
            let text = String::from_utf8_lossy(bytes);
            let (range, reserved) = text.split_once('\n').unwrap_or((&text, ""));
            format!("{:?}", traffic::parse(range, reserved)).len()
        },
    );
}
