//! Every state with what can happen in it.

use super::*;
use crate::v6::{Identity, read, write};

const ADDRESS: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x130);
const OTHER_ADDRESS: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x131);
const SERVER: [u8; 3] = [0, 4, 1];
const OTHER: [u8; 3] = [0, 4, 2];
const FORGOTTEN: u8 = 3;
const FULL: u8 = 2;

/// So many seconds after the lease was asked for.
fn at(seconds: u64) -> Timestamp {
    Timestamp::from_unix_nanos(1_700_000_000_000_000_000).plus(Duration::from_secs(seconds))
}

enum Says {
    /// An address for so many seconds; T1 40 s, T2 80 s.
    Gives(Ipv6Addr, u8),
    /// A status.
    No(u8),
}

fn reply(kind: Kind, server: [u8; 3], says: &Says) -> Reply {
    let who = Identity {
        duid: vec![0, 4, 9],
        interface: 5,
        hostname: None,
    };
    let mut bytes = write(&Question::Solicit(None), &who, 1, 0);
    bytes[0] = if kind == Kind::Advertise { 2 } else { 7 };
    bytes.truncate(4 + 4 + 3);
    bytes.extend([0, 2, 0, 3]);
    bytes.extend(server);
    let mut inside = vec![0, 0, 0, 5, 0, 0, 0, 40, 0, 0, 0, 80];
    match says {
        Says::Gives(address, lasts) => {
            inside.extend([0, 5, 0, 24]);
            inside.extend(address.octets());
            inside.extend([0, 0, 0, *lasts, 0, 0, 0, *lasts]);
        }
        Says::No(status) => inside.extend([0, 13, 0, 2, 0, *status]),
    }
    bytes.extend([0, 3, 0]);
    bytes.push(u8::try_from(inside.len()).expect("short"));
    bytes.extend(inside);
    read(&bytes, 1, &who).expect("an answer")
}

fn lease() -> LeaseV6 {
    let reply = reply(Kind::Reply, SERVER, &Says::Gives(ADDRESS, 100));
    reply.lease(None, at(0)).expect("a whole one")
}

fn ask(next: Next) -> Question {
    match next {
        Next::Ask(ask) => ask.question,
        other => panic!("{other:?} is no question"),
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn every_state_takes_the_answers_it_waits_for_and_no_others() {
    let init = || State::Init(None);
    let requesting = |held| State::Requesting {
        address: ADDRESS,
        server: SERVER.to_vec(),
        held,
    };
    let (renewing, rebinding) = (|| State::Renewing(lease()), || State::Rebinding(lease()));
    let gives = || Says::Gives(ADDRESS, 100);
    let another = LeaseV6 {
        address: OTHER_ADDRESS,
        obtained: at(50),
        ..lease()
    };
    let bound = |server: [u8; 3]| {
        let lease = LeaseV6 {
            obtained: at(50),
            server: server.to_vec(),
            ..lease()
        };
        (State::Bound(lease.clone()), Outcome::Bound(lease))
    };
    let stays = |state: State| (state, Outcome::Nothing);
    let lost = || (init(), Outcome::Lost(Loss::Refused));
    let (advertise, answer) = (Kind::Advertise, Kind::Reply);
    for (name, state, (kind, server, says), (then, outcome)) in [
        (
            "an offer is taken",
            init(),
            (advertise, SERVER, gives()),
            stays(requesting(None)),
        ),
        (
            "nothing was asked for",
            init(),
            (answer, SERVER, gives()),
            stays(init()),
        ),
        (
            "it has none",
            init(),
            (advertise, SERVER, Says::No(FULL)),
            stays(init()),
        ),
        (
            "it is ours",
            requesting(None),
            (answer, SERVER, gives()),
            bound(SERVER),
        ),
        (
            "another's",
            requesting(None),
            (answer, OTHER, gives()),
            stays(requesting(None)),
        ),
        (
            "too late",
            requesting(None),
            (answer, SERVER, Says::No(FULL)),
            stays(init()),
        ),
        (
            "ours after all",
            requesting(Some(lease())),
            (answer, SERVER, gives()),
            bound(SERVER),
        ),
        (
            "gone for good",
            requesting(Some(lease())),
            (answer, SERVER, Says::No(FULL)),
            lost(),
        ),
        (
            "nobody asked",
            State::Bound(lease()),
            (answer, SERVER, gives()),
            stays(State::Bound(lease())),
        ),
        ("more time", renewing(), (answer, SERVER, gives()), bound(SERVER)),
        (
            "not its to say",
            renewing(),
            (answer, OTHER, gives()),
            stays(renewing()),
        ),
        (
            "no more time",
            renewing(),
            (answer, SERVER, Says::Gives(ADDRESS, 0)),
            lost(),
        ),
        (
            "forgotten",
            renewing(),
            (answer, SERVER, Says::No(FORGOTTEN)),
            stays(requesting(Some(lease()))),
        ),
        (
            "not now",
            renewing(),
            (answer, SERVER, Says::No(FULL)),
            stays(renewing()),
        ),
        (
            "another address",
            renewing(),
            (answer, SERVER, Says::Gives(OTHER_ADDRESS, 100)),
            (State::Bound(another.clone()), Outcome::Bound(another)),
        ),
        (
            "more time by another",
            rebinding(),
            (answer, OTHER, gives()),
            bound(OTHER),
        ),
    ] {
        let mut client = Client::at(state);
        let reply = reply(kind, server, &says);
        let came = client.answered(Some(&reply), at(50), at(51));
        assert_eq!((client.state(), &came), (&then, &outcome), "{name}");
    }
}

#[test]
fn a_lease_is_renewed_then_rebound_then_lost() {
    let mut client = Client::with(lease());
    assert_eq!(client.next(at(0)), Next::Rest(Some(at(40))));
    let renew = Question::Renew {
        address: ADDRESS,
        server: SERVER.to_vec(),
    };
    assert_eq!(ask(client.next(at(40))), renew);
    assert_eq!(client.answered(None, at(40), at(41)), Outcome::Nothing);
    assert!(matches!(client.next(at(42)), Next::Rest(Some(until)) if until > at(50) && until < at(80)));
    assert_eq!(ask(client.next(at(80))), Question::Rebind(ADDRESS));
    assert_eq!(client.answered(None, at(80), at(81)), Outcome::Nothing);
    assert!(matches!(client.next(at(82)), Next::Rest(Some(until)) if until <= at(100)));
    assert_eq!(client.next(at(100)), Next::Lost(Loss::Expired));
    assert_eq!(ask(client.next(at(100))), Question::Solicit(Some(ADDRESS)));
    let for_ever = LeaseV6 {
        renew_after: Lease::FOR_EVER,
        rebind_after: Lease::FOR_EVER,
        lasts: Lease::FOR_EVER,
        ..lease()
    };
    assert_eq!(Client::with(for_ever).next(at(1 << 40)), Next::Rest(None));
}

#[test]
fn who_is_silent_is_asked_less_and_less_often_and_others_instead() {
    let mut client = Client::new(None);
    let offer = reply(Kind::Advertise, SERVER, &Says::Gives(ADDRESS, 100));
    client.answered(Some(&offer), at(0), at(0));
    for _ in 0..SELECTIONS {
        assert!(matches!(ask(client.next(at(1))), Question::Request { .. }));
        client.answered(None, at(1), at(1));
    }
    assert_eq!(ask(client.next(at(2))), Question::Solicit(Some(ADDRESS)));
    for wait in [1, 2, 4, 8, 16, 32, 64, 120, 120] {
        let Next::Ask(ask) = client.next(at(2)) else {
            panic!("it asks");
        };
        assert_eq!(ask.wait, Duration::from_secs(wait));
        client.answered(None, at(2), at(2));
    }
    // What a silent server has forgotten is had until it ends.
    let mut client = Client::at(State::Requesting {
        address: ADDRESS,
        server: SERVER.to_vec(),
        held: Some(lease()),
    });
    for _ in 0..SELECTIONS {
        client.answered(None, at(50), at(50));
    }
    assert_eq!(client.lease(), Some(&lease()));
    assert_eq!(ask(client.next(at(90))), Question::Rebind(ADDRESS));
    assert_eq!(client.next(at(100)), Next::Lost(Loss::Expired));
}

#[test]
fn what_somebody_else_uses_is_declined() {
    let mut client = Client::with(lease());
    let told = Question::Decline {
        address: ADDRESS,
        server: SERVER.to_vec(),
    };
    assert_eq!(client.decline(), Some(told));
    client.pause(at(10));
    assert_eq!(client.next(at(5)), Next::Rest(Some(at(10))));
    assert_eq!(ask(client.next(at(10))), Question::Solicit(None));
}
