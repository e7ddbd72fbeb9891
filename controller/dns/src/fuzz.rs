//! Messages of clients and of servers.

use fuzz::run;

use crate::{message::Request, wire};

const HERE: &str = env!("CARGO_MANIFEST_DIR");
/// A query for `web.example` with EDNS.
const QUERY: &[u8] =
    b"\x12\x34\x01\x20\0\x01\0\0\0\0\0\x01\x03web\x07example\0\0\x01\0\x01\0\0\x29\x04\xd0\0\0\0\0\0\0";
/// Its answer, with a name that points back.
const REPLY: &[u8] = b"\x12\x34\x81\x80\0\x01\0\x01\0\x01\0\0\x03web\x07example\0\0\x01\0\x01\xc0\x0c\0\x01\0\x01\0\0\0\x3c\
    \0\x04\xc0\0\x02\x01\xc0\x10\0\x06\0\x01\0\0\0\x3c\0\x19\xc0\x10\xc0\x10\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\x04\0\0\0\x05";
/// A question for an address's name.
const REVERSED: &[u8] =
    b"\0\x01\x01\0\0\x01\0\0\0\0\0\0\x011\x010\x010\x0210\x07in-addr\x04arpa\0\0\x0c\0\x01";

#[test]
fn requests() {
    run("requests", HERE, &[QUERY, REPLY, REVERSED], |packet| {
        let request = Request::parse(packet)?;
        // Whatever was read can be answered and sent on.
        for over_udp in [true, false] {
            let adopted = request.adopt(REPLY.to_vec(), over_udp);
            assert!(adopted.len() >= 12, "there is a header");
        }
        let refused = request.refuse(2);
        assert!(refused.len() >= 12, "there is a header");
        assert!(
            Request::parse(&request.onward(7)).is_ok(),
            "what is sent on is a request"
        );
        Ok::<_, crate::Malformed>((request.key().len() > 20, request.kind()))
    });
}

#[test]
fn replies() {
    let request = Request::parse(QUERY).expect("a good query");
    run("replies", HERE, &[REPLY, QUERY], |packet| {
        let records = wire::records(packet, request.records_at());
        for record in records.iter().flatten() {
            let _ = wire::soa_minimum(packet, record);
        }
        let answered = request.is_answered_by(packet, 0x1234);
        if answered {
            let short = request.adopt(packet.to_vec(), true);
            assert!(short.len() >= 12, "there is a header");
        }
        let truncated = answered && crate::message::is_truncated(packet);
        (answered, records.map(|records| records.len().min(3)), truncated)
    });
}
