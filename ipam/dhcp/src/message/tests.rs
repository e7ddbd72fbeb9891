//! Messages, held against a reader and writer that somebody else wrote.

use std::net::Ipv4Addr;

use dhcproto::{
    Decodable as _, Decoder, Encodable as _,
    v4::{self, DhcpOption as Opt, MessageType, OptionCode},
};
use proptest::prelude::*;

use super::*;

const SERVER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 254);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 130);

fn mac() -> MacAddress {
    MacAddress::for_owner(b"box")
}

fn who() -> Identity {
    Identity {
        mac: mac(),
        client_id: Some(vec![255, 1, 2, 3]),
        hostname: Some("box".to_owned()),
        vendor_class: None,
        broadcast: true,
    }
}

fn answer(kind: MessageType, options: Vec<Opt>) -> Vec<u8> {
    let none = Ipv4Addr::UNSPECIFIED;
    let mut message = v4::Message::new_with_id(7, none, ADDRESS, none, none, &mac().octets());
    message.set_opcode(v4::Opcode::BootReply);
    let all = [Opt::MessageType(kind), Opt::ServerIdentifier(SERVER)];
    for option in all.into_iter().chain(options) {
        message.opts_mut().insert(option);
    }
    message.to_vec().expect("it can be written")
}

#[test]
fn others_read_what_is_asked() {
    let (address, server) = (ADDRESS, SERVER);
    let none = Ipv4Addr::UNSPECIFIED;
    for (question, kind, worn, wanted, to) in [
        (Question::Discover(None), MessageType::Discover, none, None, None),
        (
            Question::Discover(Some(address)),
            MessageType::Discover,
            none,
            Some(address),
            None,
        ),
        (
            Question::Select { address, server },
            MessageType::Request,
            none,
            Some(address),
            Some(server),
        ),
        (
            Question::Reboot(address),
            MessageType::Request,
            none,
            Some(address),
            None,
        ),
        (
            Question::Renew(address),
            MessageType::Request,
            address,
            None,
            None,
        ),
        (
            Question::Release { address, server },
            MessageType::Release,
            address,
            None,
            Some(server),
        ),
        (
            Question::Decline { address, server },
            MessageType::Decline,
            none,
            Some(address),
            Some(server),
        ),
    ] {
        let bytes = write(&question, &who(), 7, 3);
        let read = v4::Message::decode(&mut Decoder::new(&bytes)).expect("a message");
        assert_eq!(
            (read.xid(), read.secs(), read.ciaddr()),
            (7, 3, worn),
            "{question:?}"
        );
        assert_eq!(read.chaddr(), mac().octets());
        assert_eq!(read.flags().broadcast(), worn.is_unspecified(), "{question:?}");
        assert!(read.opts().has_msg_type(kind), "{question:?}");
        let option = |code| read.opts().get(code).cloned();
        assert_eq!(
            option(OptionCode::RequestedIpAddress),
            wanted.map(Opt::RequestedIpAddress)
        );
        assert_eq!(
            option(OptionCode::ServerIdentifier),
            to.map(Opt::ServerIdentifier)
        );
        assert_eq!(
            option(OptionCode::ClientIdentifier),
            Some(Opt::ClientIdentifier(vec![255, 1, 2, 3]))
        );
    }
}

#[test]
fn an_answer_is_a_lease_with_what_came_along() {
    let bytes = answer(
        MessageType::Ack,
        vec![
            Opt::SubnetMask([255, 255, 255, 0].into()),
            Opt::Router(vec![SERVER]),
            Opt::DomainNameServer(vec![[9, 9, 9, 9].into(), [1, 1, 1, 1].into()]),
            Opt::DomainName("lan.example".to_owned()),
            Opt::InterfaceMtu(1400),
            Opt::AddressLeaseTime(120),
            Opt::Renewal(50),
        ],
    );
    let lease = read(&bytes, 7, mac()).expect("an answer").lease(Timestamp::ZERO);
    let lease = lease.expect("a whole one");
    assert_eq!(lease.address.to_string(), "198.18.0.130/24");
    assert_eq!((lease.server, lease.gateway), (SERVER, Some(SERVER)));
    assert_eq!(
        (lease.renew_after, lease.rebind_after, lease.lasts),
        (50, 105, 120)
    );
    assert_eq!(lease.name_servers.len(), 2);
    assert_eq!(
        (lease.domain.as_deref(), lease.mtu),
        (Some("lan.example"), Some(1400))
    );
}

#[test]
fn routes_come_before_the_router() {
    let bytes = answer(
        MessageType::Ack,
        vec![
            Opt::SubnetMask([255, 255, 255, 0].into()),
            Opt::Router(vec![SERVER]),
            Opt::AddressLeaseTime(120),
            Opt::ClasslessStaticRoute(vec![
                ("10.9.0.0/16".parse().expect("a net"), [198, 18, 0, 9].into()),
                ("10.8.0.0/20".parse().expect("a net"), Ipv4Addr::UNSPECIFIED),
                ("0.0.0.0/0".parse().expect("a net"), [198, 18, 0, 7].into()),
            ]),
        ],
    );
    let lease = read(&bytes, 7, mac()).and_then(|reply| reply.lease(Timestamp::ZERO));
    let lease = lease.expect("a whole one");
    assert_eq!(lease.gateway, Some([198, 18, 0, 7].into()), "not the router");
    let routes: Vec<_> = lease
        .routes
        .iter()
        .map(|(net, hop)| (net.to_string(), *hop))
        .collect();
    assert_eq!(
        routes,
        [
            ("10.9.0.0/16".to_owned(), Some([198, 18, 0, 9].into())),
            ("10.8.0.0/20".to_owned(), None)
        ]
    );
}

#[test]
fn times_are_what_the_server_says_as_far_as_they_come_in_order() {
    let ever = Lease::FOR_EVER;
    for (lasts, renew, rebind, wanted) in [
        (3600, None, None, (1800, 3150)),
        (3600, Some(10), Some(20), (10, 20)),
        (3600, Some(3000), Some(20), (20, 20)),
        (100, Some(500), Some(600), (50, 88)),
        (2, None, None, (1, 2)),
        (ever, Some(5), Some(6), (ever, ever)),
    ] {
        assert_eq!(
            times(lasts, renew, rebind),
            wanted,
            "{lasts} {renew:?} {rebind:?}"
        );
    }
}

#[test]
fn what_is_not_for_us_is_passed_over() {
    let bytes = answer(MessageType::Offer, vec![]);
    assert!(read(&bytes, 7, mac()).is_some());
    assert!(read(&bytes, 8, mac()).is_none(), "another question's");
    assert!(read(&bytes, 7, MacAddress::for_owner(b"other")).is_none());
    assert!(read(&write(&Question::Discover(None), &who(), 7, 0), 7, mac()).is_none());
    let whole = read(&bytes, 7, mac()).expect("an answer");
    assert_eq!(whole.lease(Timestamp::ZERO), None, "it says no time");
}

#[test]
fn what_is_wrong_in_one_option_is_not_in_the_others() {
    let mut bytes = answer(MessageType::Ack, vec![Opt::AddressLeaseTime(60)]);
    let end = bytes.iter().rposition(|byte| *byte == 255).expect("an end");
    bytes.truncate(end);
    bytes.extend([
        code::DOMAIN,
        2,
        0xc3,
        0x28,
        code::MTU,
        1,
        5,
        code::ROUTES,
        2,
        33,
        1,
    ]);
    bytes.extend([code::NAME_SERVERS, 2, 9, 9, code::NAME_SERVERS, 2, 9, 9, 255]);
    let lease = read(&bytes, 7, mac()).and_then(|reply| reply.lease(Timestamp::ZERO));
    let lease = lease.expect("a whole one");
    assert_eq!((&lease.domain, lease.mtu, lease.routes.len()), (&None, None, 0));
    assert_eq!(
        lease.name_servers,
        [Ipv4Addr::new(9, 9, 9, 9)],
        "it came in two parts"
    );
}

proptest! {
    #[test]
    fn no_bytes_are_too_strange(head in 0..4_usize, bytes in prop::collection::vec(any::<u8>(), 0..700)) {
        let mut all = answer(MessageType::Ack, vec![Opt::AddressLeaseTime(60)]);
        all.truncate(OPTIONS + head * 3);
        all.extend(bytes);
        if let Some(reply) = read(&all, 7, mac()) {
            let _ = reply.lease(Timestamp::ZERO);
        }
    }
}
