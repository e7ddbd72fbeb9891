//! Messages, held against a reader and writer that somebody else wrote.

use dhcproto::{
    Decodable as _, Decoder, Encodable as _,
    v6::{self, DhcpOption as Opt, DhcpOptions, IAAddr, IANA, MessageType, OptionCode, Status, StatusCode},
};
use proptest::prelude::*;

use super::*;

const ADDRESS: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x130);
const SERVER: [u8; 10] = [0, 3, 0, 1, 2, 0x42, 10, 5, 0, 1];

fn who() -> Identity {
    Identity {
        duid: crate::v6::duid_of(&[7; 32]),
        interface: 0x0102_0304,
        hostname: Some("box".to_owned()),
    }
}

fn status(status: Status, msg: &str) -> Opt {
    Opt::StatusCode(StatusCode {
        status,
        msg: msg.to_owned(),
    })
}

fn given(address: Ipv6Addr, preferred: u32, lasts: u32, more: Vec<Opt>) -> Opt {
    Opt::IAAddr(IAAddr {
        addr: address,
        preferred_life: preferred,
        valid_life: lasts,
        opts: more.into_iter().collect(),
    })
}

fn of_interface(id: u32, t1: u32, t2: u32, inside: Vec<Opt>) -> Opt {
    Opt::IANA(IANA {
        id,
        t1,
        t2,
        opts: inside.into_iter().collect(),
    })
}

fn answer(kind: MessageType, options: Vec<Opt>) -> Vec<u8> {
    let mut message = v6::Message::new_with_id(kind, [0, 0, 7]);
    let all = [Opt::ClientId(who().duid), Opt::ServerId(SERVER.to_vec())];
    for option in all.into_iter().chain(options) {
        message.opts_mut().insert(option);
    }
    message.to_vec().expect("it can be written")
}

fn replied(options: Vec<Opt>) -> Reply {
    read(&answer(MessageType::Reply, options), 7, &who()).expect("an answer")
}

#[test]
fn questions_are_read_by_others_as_they_are_meant() {
    let server = SERVER.to_vec();
    for (question, kind, has_server, has_address) in [
        (Question::Solicit(None), MessageType::Solicit, false, false),
        (
            Question::Solicit(Some(ADDRESS)),
            MessageType::Solicit,
            false,
            true,
        ),
        (
            Question::Request {
                address: ADDRESS,
                server: server.clone(),
            },
            MessageType::Request,
            true,
            true,
        ),
        (
            Question::Renew {
                address: ADDRESS,
                server: server.clone(),
            },
            MessageType::Renew,
            true,
            true,
        ),
        (Question::Rebind(ADDRESS), MessageType::Rebind, false, true),
        (
            Question::Release {
                address: ADDRESS,
                server: server.clone(),
            },
            MessageType::Release,
            true,
            true,
        ),
        (
            Question::Decline {
                address: ADDRESS,
                server,
            },
            MessageType::Decline,
            true,
            true,
        ),
    ] {
        let bytes = write(&question, &who(), 0xff12_3456, 250);
        let read = v6::Message::decode(&mut Decoder::new(&bytes)).expect("it can be read");
        assert_eq!((read.msg_type(), read.xid()), (kind, [0x12, 0x34, 0x56]));
        let options = read.opts();
        assert_eq!(
            options.get(OptionCode::ClientId),
            Some(&Opt::ClientId(who().duid)),
            "{question:?}"
        );
        assert_eq!(
            options.get(OptionCode::ServerId).is_some(),
            has_server,
            "{question:?}"
        );
        assert_eq!(options.get(OptionCode::ElapsedTime), Some(&Opt::ElapsedTime(250)));
        let Some(Opt::IANA(held)) = options.get(OptionCode::IANA) else {
            panic!("{question:?} names no interface");
        };
        assert_eq!((held.id, held.t1, held.t2), (0x0102_0304, 0, 0));
        let named = match held.opts.get(OptionCode::IAAddr) {
            Some(Opt::IAAddr(address)) => Some(address.addr),
            _ => None,
        };
        assert_eq!(named, has_address.then_some(ADDRESS), "{question:?}");
        assert_eq!(options.get(OptionCode::ORO).is_some(), question.wants_more());
    }
}

#[test]
fn a_reply_is_a_lease() {
    let names = ["2001:db8::53", "ff02::1"].map(|text| text.parse().expect("an address"));
    let reply = replied(vec![
        of_interface(0x0102_0304, 40, 80, vec![given(ADDRESS, 90, 100, vec![])]),
        of_interface(9, 1, 2, vec![given(Ipv6Addr::LOCALHOST, 90, 100, vec![])]),
        Opt::DomainNameServers(names.to_vec()),
        status(Status::Success, "fine"),
    ]);
    let lease = reply.lease(None, Timestamp::ZERO).expect("it is one");
    assert_eq!((lease.address, lease.server.as_slice()), (ADDRESS, &SERVER[..]));
    assert_eq!(
        (lease.renew_after, lease.rebind_after, lease.lasts),
        (40, 80, 100)
    );
    assert_eq!(lease.name_servers, names[..1]);
    assert_eq!((reply.refusal, reply.forgot), (None, false));
    // Not the one that was asked for first, but the one that is had.
    let other = "2001:db8::131".parse().expect("an address");
    let two = replied(vec![of_interface(
        0x0102_0304,
        0,
        0,
        vec![given(other, 50, 100, vec![]), given(ADDRESS, 50, 100, vec![])],
    )]);
    let lease = two.lease(Some(ADDRESS), Timestamp::ZERO).expect("it is one");
    assert_eq!(
        (lease.address, lease.renew_after, lease.rebind_after),
        (ADDRESS, 25, 40)
    );
}

#[test]
fn times_are_the_servers_as_far_as_they_can_be() {
    const EVER: u32 = u32::MAX;
    for (said, are) in [
        ((0, 0, 100, 100), (50, 80)),
        ((40, 80, 100, 100), (40, 80)),
        ((40, 0, 100, 100), (40, 80)),
        ((90, 0, 100, 100), (80, 80)),
        ((0, 300, 100, 200), (50, 200)),
        ((0, 0, 0, 100), (50, 80)),
        ((0, 0, EVER, EVER), (EVER, EVER)),
        ((0, 0, 1, 2), (1, 1)),
    ] {
        let (renew, rebind, preferred, lasts) = said;
        assert_eq!(times(renew, rebind, preferred, lasts), are, "{said:?}");
    }
}

#[test]
fn what_is_no_address_to_use_is_none() {
    let of = |inside| replied(vec![of_interface(0x0102_0304, 0, 0, inside)]);
    for (name, inside) in [
        ("no time left", vec![given(ADDRESS, 0, 0, vec![])]),
        ("times out of order", vec![given(ADDRESS, 100, 50, vec![])]),
        ("nobody's", vec![given(Ipv6Addr::UNSPECIFIED, 50, 100, vec![])]),
        (
            "refused by itself",
            vec![given(
                ADDRESS,
                50,
                100,
                vec![status(Status::NotOnLink, "elsewhere")],
            )],
        ),
        ("none", vec![]),
    ] {
        assert_eq!(of(inside).lease(None, Timestamp::ZERO), None, "{name}");
    }
    let crossed = replied(vec![of_interface(
        0x0102_0304,
        80,
        40,
        vec![given(ADDRESS, 50, 100, vec![])],
    )]);
    assert_eq!(crossed.lease(None, Timestamp::ZERO), None);
    let forgotten = of(vec![status(Status::NoBinding, "who are you")]);
    assert!(forgotten.forgot && forgotten.refusal.as_deref() == Some("who are you"));
    let full = replied(vec![status(Status::NoAddrsAvail, "")]);
    assert_eq!(full.refusal.as_deref(), Some("it has no addresses left"));
    assert!(!full.forgot);
}

#[test]
fn what_is_for_others_is_nothing() {
    let good = answer(MessageType::Advertise, vec![]);
    assert!(read(&good, 7, &who()).is_some_and(|reply| reply.kind == Kind::Advertise));
    assert_eq!(read(&good, 8, &who()), None, "another question's");
    let other = Identity {
        duid: vec![0, 4, 1],
        ..who()
    };
    assert_eq!(read(&good, 7, &other), None, "another client's");
    assert_eq!(read(&answer(MessageType::Solicit, vec![]), 7, &who()), None);
    let mut nameless = v6::Message::new_with_id(MessageType::Reply, [0, 0, 7]);
    nameless.set_opts(DhcpOptions::from_iter([Opt::ClientId(who().duid)]));
    assert_eq!(
        read(&nameless.to_vec().expect("written"), 7, &who()),
        None,
        "nobody's"
    );
}

#[test]
fn names_are_written_as_the_dns_has_them() {
    assert_eq!(name("box").as_deref(), Some(&b"\x01\x03box"[..]));
    assert_eq!(name("box.lan").as_deref(), Some(&b"\x01\x03box\x03lan\x00"[..]));
    assert_eq!(
        (name(""), name("a..b"), name(&"x".repeat(64))),
        (None, None, None)
    );
    assert_eq!(
        domain(b"\x03lan\x07example\x00\x05other\x00").as_deref(),
        Some("lan.example")
    );
    for wrong in [&b"\x03la"[..], b"\x00", b"", b"\x03l n\x00", b"\xc0\x00"] {
        assert_eq!(domain(wrong), None, "{wrong:?}");
    }
}

proptest! {
    #[test]
    fn anything_can_be_read(mut bytes in prop::collection::vec(any::<u8>(), 0..300), honest in any::<bool>()) {
        if honest {
            let mut good = answer(MessageType::Reply, vec![]);
            good.append(&mut bytes);
            bytes = good;
        }
        let _ = read(&bytes, 7, &who()).map(|reply| reply.lease(None, Timestamp::ZERO));
    }
}
