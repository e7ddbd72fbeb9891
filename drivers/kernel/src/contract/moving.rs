//! A link goes from one namespace into another.

use super::{Case, cases::HOST, objects::*};
use crate::{Error, Handover, Key, Netns, Object};

fn handover(from: &Netns, link: &str, to: &Netns, as_: &str) -> Handover {
    Handover {
        from: from.clone(),
        link: name(link),
        to: to.clone(),
        name: name(as_),
        mac: Some(mac(7)),
    }
}

pub(crate) fn a_link_moves_under_a_new_name_and_back(case: &Case<'_>) {
    let (sandbox, maker) = (pinned(&case.pin("box")), pinned(&case.pin("maker")));
    case.given(&[
        &namespace(&case.pin("box")),
        &namespace(&case.pin("maker")),
        // Its other end is made on the host, as plugins make theirs, with the name that every such end has here.
        &Object::Link(veth(&maker, "far", &HOST)),
        &address(&HOST, "eth0", "10.1.0.2/24"),
    ]);
    let there = |netns: &Netns, link: &str| {
        let key = Key::Link(netns.clone(), name(link));
        let state = case.kernel.observe(&[key]).expect("looking it up");
        match state.objects().next() {
            Some(Object::Link(link)) => Some((link.mac, link.up)),
            _ => None,
        }
    };
    let away = handover(&HOST, "eth0", &sandbox, "lan3");
    for time in ["once", "twice"] {
        case.kernel
            .hand_over(&away)
            .unwrap_or_else(|error| panic!("moving it {time}: {error:?}"));
        assert_eq!(there(&HOST, "eth0"), None);
        assert_eq!(there(&sandbox, "lan3"), Some((Some(mac(7)), false)));
    }
    assert!(!case.is_there(&address(&HOST, "eth0", "10.1.0.2/24")));
    assert!(!case.is_there(&address(&sandbox, "lan3", "10.1.0.2/24")));
    let back = handover(&sandbox, "lan3", &HOST, "eth0");
    case.kernel.hand_over(&back).expect("moving it back");
    assert!(there(&HOST, "eth0").is_some() && there(&sandbox, "lan3").is_none());
    case.remove(&Object::Link(veth(&maker, "far", &HOST)))
        .expect("removing its maker");
    assert_eq!(there(&HOST, "eth0"), None, "its other end still takes it along");
}

pub(crate) fn what_can_not_move_stays_where_it_is(case: &Case<'_>) {
    let (sandbox, maker) = (pinned(&case.pin("box")), pinned(&case.pin("maker")));
    let nobody = case.kernel.hand_over(&handover(&HOST, "nobody", &HOST, "other"));
    assert!(matches!(nobody, Err(Error::NoSuch { .. })), "{nobody:?}");
    case.given(&[
        &namespace(&case.pin("maker")),
        &Object::Link(veth(&maker, "far", &HOST)),
    ]);
    let nowhere = case.kernel.hand_over(&handover(&HOST, "eth0", &sandbox, "eth0"));
    assert!(matches!(nowhere, Err(Error::NoSuch { .. })), "{nowhere:?}");
    case.given(&[
        &namespace(&case.pin("box")),
        &Object::Link(bridge(&sandbox, "eth0")),
    ]);
    let taken = case.kernel.hand_over(&handover(&HOST, "eth0", &sandbox, "eth0"));
    assert!(matches!(taken, Err(Error::Exists(_))), "{taken:?}");
    let key = Key::Link(HOST, name("eth0"));
    let still = case.kernel.observe(&[key]).expect("looking it up");
    assert!(!still.is_empty(), "it is where it was");
}
