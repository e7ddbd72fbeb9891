//! Every state with everything that can happen in it, as RFC 2131 has them in figure 5.

use model::MacAddress;

use super::*;
use crate::{Identity, read, write};

const SERVER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 254);
const OTHER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 253);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 130);

/// So many seconds after the lease was asked for.
fn at(seconds: u64) -> Timestamp {
    Timestamp::from_unix_nanos(1_700_000_000_000_000_000).plus(Duration::from_secs(seconds))
}

fn lease() -> Lease {
    reply(Kind::Ack, ADDRESS, SERVER)
        .lease(at(0))
        .expect("a whole one")
}

/// An answer with a lease of 100 s, T1 40 s, T2 80 s.
fn reply(kind: Kind, address: Ipv4Addr, server: Ipv4Addr) -> Reply {
    let mac = MacAddress::for_owner(b"box");
    let who = Identity {
        mac,
        client_id: None,
        hostname: None,
        vendor_class: None,
        broadcast: false,
    };
    let mut bytes = write(&Question::Discover(None), &who, 1, 0);
    bytes[0] = 2;
    bytes[16..20].copy_from_slice(&address.octets());
    bytes.truncate(240);
    let number = match kind {
        Kind::Offer => 2,
        Kind::Ack => 5,
        Kind::Nak => 6,
    };
    bytes.extend([53, 1, number, 54, 4]);
    bytes.extend(server.octets());
    bytes.extend([
        51, 4, 0, 0, 0, 100, 58, 4, 0, 0, 0, 40, 59, 4, 0, 0, 0, 80, 1, 4, 255, 255, 255, 0, 255,
    ]);
    read(&bytes, 1, mac).expect("an answer")
}

fn client(state: State) -> Client {
    Client::at(state)
}

fn ask(next: Next) -> Ask {
    match next {
        Next::Ask(ask) => ask,
        other => panic!("{other:?} is no question"),
    }
}

#[test]
fn every_state_takes_the_answers_it_waits_for_and_no_others() {
    let init = || State::Init(None);
    let requesting = || State::Requesting {
        address: ADDRESS,
        server: SERVER,
    };
    let bound = |seconds| {
        let lease = Lease {
            obtained: at(seconds),
            ..lease()
        };
        (State::Bound(lease.clone()), Outcome::Bound(lease))
    };
    let lost = || (init(), Outcome::Lost(Loss::Refused));
    let stays = |state: State| (state, Outcome::Nothing);
    let (offer, ack, nak) = (Kind::Offer, Kind::Ack, Kind::Nak);
    for (name, state, (kind, server), (then, outcome)) in [
        ("an offer is taken", init(), (offer, SERVER), stays(requesting())),
        ("nothing was asked for", init(), (ack, SERVER), stays(init())),
        ("nothing is had", init(), (nak, SERVER), stays(init())),
        ("it is ours", requesting(), (ack, SERVER), bound(50)),
        ("another's", requesting(), (ack, OTHER), stays(requesting())),
        ("too late", requesting(), (nak, SERVER), stays(init())),
        ("another's no", requesting(), (nak, OTHER), stays(requesting())),
        (
            "a second offer",
            requesting(),
            (offer, OTHER),
            stays(requesting()),
        ),
        ("still good", State::Rebooting(lease()), (ack, SERVER), bound(50)),
        ("good no more", State::Rebooting(lease()), (nak, OTHER), lost()),
        (
            "late answers",
            State::Bound(lease()),
            (ack, SERVER),
            stays(State::Bound(lease())),
        ),
        (
            "nobody asked",
            State::Bound(lease()),
            (nak, SERVER),
            stays(State::Bound(lease())),
        ),
        ("more time", State::Renewing(lease()), (ack, SERVER), bound(50)),
        ("no more time", State::Renewing(lease()), (nak, SERVER), lost()),
        (
            "not its to say",
            State::Renewing(lease()),
            (nak, OTHER),
            stays(State::Renewing(lease())),
        ),
        (
            "more time by another",
            State::Rebinding(lease()),
            (nak, OTHER),
            lost(),
        ),
    ] {
        let mut client = client(state);
        let was = client.answered(Some(&reply(kind, ADDRESS, server)), at(50), at(51));
        assert_eq!((client.state.clone(), was), (then, outcome), "{name}");
    }
    let mut rebinding = client(State::Rebinding(lease()));
    let taken = rebinding.answered(Some(&reply(ack, ADDRESS, OTHER)), at(90), at(90));
    assert!(matches!(taken, Outcome::Bound(lease) if lease.server == OTHER && lease.obtained == at(90)));
}

#[test]
fn another_address_than_ours_is_no_answer() {
    for state in [
        State::Requesting {
            address: ADDRESS,
            server: SERVER,
        },
        State::Renewing(lease()),
        State::Rebinding(lease()),
        State::Rebooting(lease()),
    ] {
        let strange = reply(Kind::Ack, [198, 18, 0, 131].into(), SERVER);
        assert!(!client(state).waits_for(&strange));
    }
}

#[test]
fn time_alone_goes_through_the_states_of_a_lease() {
    let mut client = Client::with(lease(), at(0));
    let to = |to| To::Server { from: ADDRESS, to };
    assert_eq!(client.next(at(39)), Next::Rest(Some(at(40))));
    let asked = ask(client.next(at(40)));
    assert_eq!((asked.question, asked.to), (Question::Renew(ADDRESS), to(SERVER)));
    assert_eq!(client.answered(None, at(40), at(42)), Outcome::Nothing);
    // Half of 38 s is less than a minute, and that more than there is.
    assert_eq!(client.next(at(42)), Next::Rest(Some(at(80))));
    let asked = ask(client.next(at(80)));
    assert_eq!(
        (asked.question, asked.to),
        (Question::Renew(ADDRESS), to(Ipv4Addr::BROADCAST))
    );
    assert_eq!(client.answered(None, at(80), at(82)), Outcome::Nothing);
    assert_eq!(client.next(at(82)), Next::Rest(Some(at(100))));
    assert_eq!(client.next(at(100)), Next::Lost(Loss::Expired));
    let asked = ask(client.next(at(100)));
    assert_eq!(
        asked.question,
        Question::Discover(Some(ADDRESS)),
        "and it would like it back"
    );
}

#[test]
fn a_long_lease_is_asked_for_more_often_as_time_runs_out() {
    let long = Lease {
        renew_after: 3600,
        rebind_after: 6300,
        lasts: 7200,
        ..lease()
    };
    let mut client = Client::with(long, at(3600));
    let mut asked = Vec::new();
    let mut now = 3600;
    while now < 6300 {
        match client.next(at(now)) {
            Next::Ask(_) => {
                asked.push(now);
                let _ = client.answered(None, at(now), at(now));
            }
            Next::Rest(Some(until)) => now += until.since(at(now)).as_secs().max(1),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(asked[..4], [3600, 4950, 5625, 5963]);
    let closest = asked.windows(2).map(|pair| pair[1] - pair[0]).min();
    assert_eq!(closest, Some(60), "{asked:?}");
}

#[test]
fn silence_is_answered_with_patience_and_then_with_another_way() {
    let waits = |client: &mut Client, count: usize| -> Vec<u64> {
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(ask(client.next(at(200))).wait.as_secs());
            let _ = client.answered(None, at(200), at(200));
        }
        all
    };
    let mut looking = Client::new(None);
    assert_eq!(waits(&mut looking, 9), [1, 2, 4, 8, 16, 32, 64, 64, 64]);
    assert_eq!(*looking.state(), State::Init(None), "it never gives up by itself");

    let mut requesting = client(State::Requesting {
        address: ADDRESS,
        server: SERVER,
    });
    assert_eq!(waits(&mut requesting, 4), [1, 2, 4, 8]);
    assert_eq!(*requesting.state(), State::Init(Some(ADDRESS)));

    let mut rebooting = Client::with(lease(), at(200));
    assert_eq!(
        *rebooting.state(),
        State::Rebooting(lease()),
        "it ended while nobody looked"
    );
    assert_eq!(waits(&mut rebooting, 2), [1, 2]);
    let asked = ask(rebooting.next(at(200)));
    assert_eq!(
        (asked.question, asked.to),
        (Question::Reboot(ADDRESS), To::Everybody)
    );
    assert_eq!(
        rebooting.answered(None, at(200), at(204)),
        Outcome::Lost(Loss::Expired)
    );
    assert_eq!(*rebooting.state(), State::Init(Some(ADDRESS)));
}

#[test]
fn a_lease_for_ever_is_never_asked_for_again() {
    let ever = Lease {
        renew_after: Lease::FOR_EVER,
        rebind_after: Lease::FOR_EVER,
        lasts: Lease::FOR_EVER,
        ..lease()
    };
    let mut client = Client::with(ever, at(0));
    assert_eq!(client.next(at(u64::from(u32::MAX) + 9)), Next::Rest(None));
}

#[test]
fn a_clock_that_was_set_back_makes_no_lease_longer_than_it_is() {
    let mut client = Client::with(
        Lease {
            obtained: at(1000),
            ..lease()
        },
        at(0),
    );
    assert_eq!(
        client.next(at(0)),
        Next::Rest(Some(at(1040))),
        "as far as it can tell"
    );
    let _ = ask(client.next(at(1040)));
}

#[test]
fn what_somebody_else_uses_is_declined() {
    let mut client = Client::with(lease(), at(0));
    let told = client.decline();
    assert_eq!(
        told,
        Some(Question::Decline {
            address: ADDRESS,
            server: SERVER
        })
    );
    assert_eq!(
        ask(client.next(at(1))).question,
        Question::Discover(None),
        "and not wanted again"
    );
    assert_eq!(client.decline(), None);
    client.pause(at(10));
    for mut paused in [Client::with(lease(), at(200)), Client::with(lease(), at(50))] {
        let _ = paused.next(at(200));
        paused.pause(at(210));
        let next = paused.next(at(201));
        assert!(!matches!(next, Next::Ask(_)), "{next:?}");
    }
    assert_eq!(client.next(at(2)), Next::Rest(Some(at(10))));
}
