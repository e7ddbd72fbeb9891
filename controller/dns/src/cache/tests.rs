use super::*;
use crate::Request;

const NS: u16 = 2;
const SOA: u16 = 6;
const CNAME: u16 = 5;

/// A record in the message: section, kind, seconds, data.
type Row<'a> = (usize, u16, u32, &'a [u8]);

fn request(name: &str, edns: bool) -> Request {
    let mut packet = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(edns)];
    assert!(wire::write_name(&mut packet, name));
    packet.extend_from_slice(&[0, 1, 0, 1]);
    if edns {
        packet.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
    }
    Request::parse(&packet).expect(name)
}

fn reply(rcode: u8, rows: &[Row<'_>]) -> Vec<u8> {
    let mut reply = request("example.com", false).onward(1);
    (reply[2], reply[3]) = (0x81, 0x80 | rcode);
    for (section, kind, ttl, data) in rows {
        reply.extend_from_slice(&[0xc0, 12]);
        reply.extend_from_slice(&kind.to_be_bytes());
        reply.extend_from_slice(&[0, 1]);
        reply.extend_from_slice(&ttl.to_be_bytes());
        reply.extend_from_slice(&(data.len() as u16).to_be_bytes());
        reply.extend_from_slice(data);
        reply[7 + 2 * section] += 1;
    }
    reply
}

/// The start of authority whose negative answers may be kept for so long.
fn soa(minimum: u8) -> Vec<u8> {
    let mut data = vec![0; 22];
    data[21] = minimum;
    data
}

fn ttl_of(reply: &[u8]) -> Option<u32> {
    keepable(reply, wire::A, request("example.com", false).records_at()).map(|(ttl, _)| ttl)
}

#[test]
fn a_reply_is_kept_for_as_long_as_its_shortest_record_says() {
    let address = [10, 0, 0, 1].as_slice();
    let (soa, opt) = (soa(60), [0; 4]);
    for (what, reply, wanted) in [
        ("one", reply(0, &[(0, wire::A, 300, address)]), Some(300)),
        (
            "the least of all sections",
            reply(
                0,
                &[
                    (0, wire::A, 300, address),
                    (1, NS, 100, &[0]),
                    (2, wire::A, 20, address),
                ],
            ),
            Some(20),
        ),
        (
            "EDNS has no time",
            reply(0, &[(0, wire::A, 300, address), (2, wire::OPT, 0, &opt)]),
            Some(300),
        ),
        (
            "a month is a day",
            reply(0, &[(0, wire::A, 2_600_000, address)]),
            Some(LONGEST),
        ),
        ("no time at all", reply(0, &[(0, wire::A, 0, address)]), None),
        (
            "a time below none",
            reply(0, &[(0, wire::A, 1 << 31, address)]),
            None,
        ),
        ("no such name", reply(3, &[(1, SOA, 300, &soa)]), Some(60)),
        (
            "the authority's own time",
            reply(3, &[(1, SOA, 30, &soa)]),
            Some(30),
        ),
        ("no such kind", reply(0, &[(1, SOA, 300, &soa)]), Some(60)),
        ("nobody says for how long", reply(3, &[]), None),
        ("a referral", reply(0, &[(1, NS, 300, &[0])]), None),
        (
            "an alias of what is not there",
            reply(0, &[(0, CNAME, 300, &[0])]),
            None,
        ),
        (
            "an alias of what has no such kind",
            reply(0, &[(0, CNAME, 40, &[0]), (1, SOA, 300, &soa)]),
            Some(40),
        ),
        ("a failure", reply(2, &[]), Some(1)),
        ("a refusal", reply(5, &[]), None),
        (
            "cut short",
            reply(0, &[(0, wire::A, 300, address)])[..40].to_vec(),
            None,
        ),
    ] {
        assert_eq!(ttl_of(&reply), wanted, "{what}");
    }
    let mut truncated = reply(0, &[(0, wire::A, 300, address)]);
    truncated[2] |= 2;
    assert_eq!(ttl_of(&truncated), None);
}

#[test]
fn records_age_then_are_stale_then_are_gone() {
    let (start, second) = (Instant::now(), Duration::from_secs(1));
    let mut cache = Cache::new(10, 10_000, Room::new(10_000));
    let message = reply(0, &[(0, wire::A, 300, &[10, 0, 0, 1])]);
    let at = request("example.com", false).records_at();
    cache.insert(b"key", &message, wire::A, at, start);
    let times = |reply: Vec<u8>| wire::u32_at(&reply, at + 6).expect("a time");
    assert_eq!(cache.fresh(b"key", start + 10 * second).map(times), Some(290));
    assert_eq!(cache.fresh(b"key", start + 300 * second), None);
    assert_eq!(cache.stale(b"key", start + 300 * second).map(times), Some(30));
    assert_eq!(cache.stale(b"key", start + STALE + 300 * second), None);
    let failure = reply(2, &[]);
    cache.insert(b"key", &failure, wire::A, at, start + 301 * second);
    assert!(
        cache.stale(b"key", start + 302 * second).is_some(),
        "a failure takes nothing away"
    );
    cache.insert(b"other", &failure, wire::A, at, start);
    assert!(cache.fresh(b"other", start).is_some() && cache.fresh(b"other", start + second).is_none());
    assert!(cache.stale(b"other", start).is_none());
}

#[test]
fn what_is_kept_is_bounded_and_what_is_asked_for_stays() {
    let now = Instant::now();
    let message = reply(0, &[(0, wire::A, 300, &[10, 0, 0, 1])]);
    let at = request("example.com", false).records_at();
    let room = Room::new(3000);
    let mut cache = Cache::new(8, 1 << 20, Arc::clone(&room));
    for number in 0..100_u8 {
        cache.insert(&[number], &message, wire::A, at, now);
        cache.insert(&[number], &message, wire::A, at, now);
        assert!(cache.fresh(&[0], now).is_some(), "asked for after {number}");
        assert!(cache.len() <= 8 && cache.clock.len() == cache.len());
    }
    let mut other = Cache::new(100, 1 << 20, Arc::clone(&room));
    for number in 0..100_u8 {
        other.insert(&[number], &message, wire::A, at, now);
    }
    assert!(other.len() < 10, "the room is shared: {}", other.len());
    drop((cache, other));
    assert_eq!(room.used.load(Ordering::Relaxed), 0);
}

#[test]
fn requests_that_a_server_may_answer_differently_have_different_keys() {
    let (plain, spelled) = (request("example.com", false), request("EXAMPLE.com", false));
    assert_eq!(plain.key(), spelled.key());
    assert_ne!(plain.key(), request("example.com", true).key());
    let adopted = spelled.adopt(reply(0, &[]), true);
    assert_eq!(&adopted[13..20], b"EXAMPLE");
}
