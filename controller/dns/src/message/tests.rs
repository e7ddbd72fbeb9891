use std::net::Ipv4Addr;

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query as Question, ResponseCode},
    rr::{Name, RData, RecordType, rdata::A},
};
use proptest::prelude::*;

use super::*;

fn packet(name: &str, kind: RecordType, edns: Option<u16>) -> Vec<u8> {
    let mut message = Message::new(0x1234, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Question::query(Name::from_ascii(name).expect(name), kind));
    if let Some(size) = edns {
        let mut edns = Edns::new();
        edns.set_max_payload(size);
        message.set_edns(edns);
    }
    message.to_vec().expect("a message")
}

fn parsed(name: &str, kind: RecordType) -> Query {
    Request::parse(&packet(name, kind, None))
        .expect(name)
        .query
        .expect(name)
}

#[test]
fn questions_are_read_in_lower_case() {
    for (name, kind, wanted) in [
        ("Web.Front.", RecordType::A, ("web.front", Kind::Ipv4)),
        ("web", RecordType::AAAA, ("web", Kind::Ipv6)),
        ("web", RecordType::ANY, ("web", Kind::Any)),
        ("web", RecordType::MX, ("web", Kind::Other)),
        (".", RecordType::NS, ("", Kind::Other)),
    ] {
        assert_eq!(
            parsed(name, kind),
            Query {
                name: wanted.0.into(),
                kind: wanted.1
            }
        );
    }
}

#[test]
fn reverse_names_of_both_families_are_addresses() {
    let six = format!("3.{}0.0.D.F.ip6.arpa.", "0.".repeat(27));
    for (name, address) in [
        ("3.0.1.10.in-addr.arpa.", Some("10.1.0.3")),
        ("3.0.1.10.IN-ADDR.ARPA.", Some("10.1.0.3")),
        (&six, Some("fd00::3")),
        ("1.10.in-addr.arpa.", None),
        ("a.0.1.10.in-addr.arpa.", None),
        ("0.3.0.1.10.in-addr.arpa.", None),
        ("f.ip6.arpa.", None),
        ("web.", None),
    ] {
        let wanted = address.map_or(Kind::Other, |text| Kind::Pointer(text.parse().expect(text)));
        assert_eq!(parsed(name, RecordType::PTR).kind, wanted, "{name}");
    }
}

#[test]
fn answers_carry_the_question_as_it_was_asked() {
    let request = Request::parse(&packet("WEB.", RecordType::A, Some(1400))).expect("a request");
    let reply = request.reply(&Answer::Addresses(vec![Ipv4Addr::new(10, 0, 0, 1).into()]), true);
    let reply = Message::from_vec(&reply).expect("a reply");
    assert_eq!(
        (reply.metadata.id, reply.metadata.response_code),
        (0x1234, ResponseCode::NoError)
    );
    assert!(reply.metadata.recursion_available && reply.metadata.recursion_desired);
    assert_eq!(reply.queries[0].name().to_ascii(), "WEB.");
    assert_eq!(
        (reply.answers[0].ttl, &reply.answers[0].data),
        (600, &RData::A(A::new(10, 0, 0, 1)))
    );
    assert_eq!(reply.edns.map(|edns| edns.max_payload()), Some(OUR_UDP));
    let nothing = Message::from_vec(&request.reply(&Answer::Nothing, true)).expect("a reply");
    assert!(nothing.answers.is_empty() && nothing.metadata.response_code == ResponseCode::NoError);
    let pointer =
        Message::from_vec(&request.reply(&Answer::Pointer("a_b.net.".into()), true)).expect("a reply");
    assert_eq!(pointer.answers[0].data.to_string(), "a_b.net.");
    let long = request.reply(&Answer::Pointer(format!("{}.net.", "x".repeat(99))), true);
    assert!(
        Message::from_vec(&long).expect("a reply").answers.is_empty(),
        "no label is that long"
    );
}

#[test]
fn what_is_too_long_for_the_client_says_so() {
    let many = Answer::Addresses((0..60).map(|n| Ipv4Addr::new(10, 0, 0, n).into()).collect());
    for (edns, udp, whole) in [
        (None, true, false),
        (Some(100), true, false),
        (Some(1232), true, true),
        (Some(4096), true, true),
        (None, false, true),
    ] {
        let request = Request::parse(&packet("web", RecordType::A, edns)).expect("a request");
        let bytes = request.reply(&many, udp);
        let reply = Message::from_vec(&bytes).expect("a reply");
        assert_eq!(reply.metadata.truncation, !whole, "{edns:?} {udp}");
        assert_eq!(reply.answers.len(), if whole { 60 } else { 30 });
        assert!(!udp || bytes.len() <= usize::from(edns.unwrap_or(512).max(512)));
    }
}

#[test]
fn packets_that_make_no_sense_get_an_error_or_silence() {
    let good = packet("web", RecordType::A, None);
    let bent = |at: usize, value: u8| {
        let mut packet = good.clone();
        packet[at] = value;
        packet
    };
    for (name, packet, code) in [
        ("nothing", Vec::new(), None),
        ("half a header", good[..11].to_vec(), None),
        ("an answer", bent(2, 0x81), None),
        ("a header alone", good[..12].to_vec(), Some(ResponseCode::FormErr)),
        (
            "no question",
            [&good[..4], &[0; 8][..]].concat(),
            Some(ResponseCode::FormErr),
        ),
        ("two questions", bent(5, 2), Some(ResponseCode::FormErr)),
        ("a label past the end", bent(12, 63), Some(ResponseCode::FormErr)),
        (
            "a pointer to itself",
            [&good[..12], &[0xc0, 12, 0, 1, 0, 1][..]].concat(),
            Some(ResponseCode::FormErr),
        ),
        (
            "a pointer ahead",
            [&good[..12], &[0xc0, 40, 0, 1, 0, 1][..]].concat(),
            Some(ResponseCode::FormErr),
        ),
        ("an update", bent(2, 5 << 3), Some(ResponseCode::NotImp)),
        (
            "records that are not there",
            bent(11, 9),
            Some(ResponseCode::FormErr),
        ),
    ] {
        let reply = match Request::parse(&packet).map(|_| ()).expect_err(name) {
            Malformed::Silent => None,
            Malformed::Reply(reply) => Some(Message::from_vec(&reply).expect(name).metadata),
        };
        assert_eq!(reply.map(|reply| reply.response_code), code, "{name}");
        assert!(reply.is_none_or(|reply| reply.id == 0x1234), "{name}");
    }
}

#[test]
fn a_later_version_of_edns_is_told_which_one_we_know() {
    let mut message = Message::from_vec(&packet("web.", RecordType::A, Some(1232))).expect("a message");
    let edns = message.edns.as_mut().expect("asked for");
    edns.set_version(1);
    let Err(Malformed::Reply(reply)) = Request::parse(&message.to_vec().expect("bytes")) else {
        panic!("it was taken for one that we know");
    };
    let reply = Message::from_vec(&reply).expect("a message");
    assert_eq!(u16::from(reply.metadata.response_code), 16);
    assert_eq!(reply.edns.map(|edns| edns.version()), Some(0));
}

#[test]
fn only_the_reply_to_this_question_under_this_number_counts() {
    let request = Request::parse(&packet("web.example.", RecordType::A, None)).expect("a request");
    let reply = |name: &str, kind, id| {
        let mut packet = packet(name, kind, None);
        packet[..2].copy_from_slice(&u16::to_be_bytes(id));
        packet[2] |= 0x80;
        packet
    };
    assert!(request.is_answered_by(&reply("web.example.", RecordType::A, 7), 7));
    assert!(
        !request.is_answered_by(&reply("web.example.", RecordType::A, 8), 7),
        "another number"
    );
    assert!(
        !request.is_answered_by(&reply("web.evil.", RecordType::A, 7), 7),
        "another name"
    );
    assert!(
        !request.is_answered_by(&reply("web.example.", RecordType::NS, 7), 7),
        "another kind"
    );
    assert!(
        !request.is_answered_by(&packet("web.example.", RecordType::A, None), 0x1234),
        "a question"
    );
    assert!(!request.is_answered_by(b"short", 7));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600), id in any::<u16>()) {
        let request = Request::parse(&packet("web", RecordType::A, None)).expect("a request");
        request.is_answered_by(&bytes, id);
        if let Ok(request) = Request::parse(&bytes) {
            for answer in [Answer::Nothing, Answer::Pointer("a.b.".into()), Answer::Addresses(vec![Ipv4Addr::LOCALHOST.into()])] {
                let reply = request.reply(&answer, true);
                prop_assert!(reply.len() <= 4096);
                prop_assert_eq!(&reply[..2], &bytes[..2]);
            }
        }
    }

    #[test]
    fn bent_packets_never_make_it_panic(at in 0_usize..60, value in any::<u8>(), cut in 0_usize..80) {
        let mut bytes = packet("some.long.name.example.", RecordType::A, Some(4096));
        let at = at % bytes.len();
        bytes[at] = value;
        bytes.truncate(cut.max(1));
        match Request::parse(&bytes) {
            Ok(request) => prop_assert!(!request.refuse(code::REFUSED).is_empty()),
            Err(Malformed::Reply(reply)) => prop_assert!(Message::from_vec(&reply).is_ok()),
            Err(Malformed::Silent) => {}
        }
    }
}
