//! Links on top of others.

use model::InterfaceName;

use super::{
    Case,
    objects::{existing, namespace, pinned},
};
use crate::{
    Error, Netns, Object,
    object::{Link, LinkKind, MacvlanMode, Upper, UpperKind},
};

fn dummy(of: &str) -> Object {
    Object::Link(Link {
        kind: LinkKind::Dummy,
        ..existing(&Netns::Host, of)
    })
}

fn macvlan(netns: &Netns, of: &str, lower: &str, mode: MacvlanMode) -> Object {
    let upper = Upper {
        lower: InterfaceName::new(lower).expect("a name"),
        lower_in: Netns::Host,
        kind: UpperKind::Macvlan(mode),
    };
    Object::Link(Link {
        kind: LinkKind::Upper(upper),
        ..existing(netns, of)
    })
}

pub(crate) fn a_link_on_another_is_made_where_it_belongs_and_goes_with_it(case: &Case<'_>) {
    let inside = pinned(&case.pin("box"));
    let (lower, sandbox) = (dummy("low0"), namespace(&case.pin("box")));
    let upper = macvlan(&inside, "eth0", "low0", MacvlanMode::Bridge);
    case.given(&[&sandbox]);
    assert!(matches!(case.create(&upper), Err(Error::NoSuch { .. })));
    case.given(&[&lower, &upper]);
    assert!(case.holds(&upper) && case.holds(&lower));
    assert!(!case.is_there(&macvlan(&Netns::Host, "eth0", "low0", MacvlanMode::Bridge)));
    assert!(matches!(case.create(&upper), Err(Error::Exists(_))));
    let elsewhere = macvlan(&inside, "eth0", "low0", MacvlanMode::Vepa);
    assert!(!case.holds(&elsewhere), "its mode is seen");
    case.remove(&lower).expect("it goes");
    case.eventually("what stood on it is gone", || !case.is_there(&upper));
    case.remove(&upper).expect("what is gone is removed");
}

pub(crate) fn one_that_passes_through_has_its_link_for_itself(case: &Case<'_>) {
    let (lower, sandbox) = (dummy("low0"), namespace(&case.pin("box")));
    let inside = pinned(&case.pin("box"));
    let alone = macvlan(&inside, "eth0", "low0", MacvlanMode::Passthru);
    let other = macvlan(&inside, "eth1", "low0", MacvlanMode::Bridge);
    case.given(&[&lower, &sandbox, &alone]);
    assert!(matches!(case.create(&other), Err(Error::Invalid { .. })));
    case.remove(&alone).expect("it goes");
    case.given(&[&other]);
    assert!(matches!(case.create(&alone), Err(Error::Invalid { .. })));
    case.remove(&other).expect("it goes");
    case.remove(&lower).expect("it goes");
}

/// As nearly every host's interface and nearly every container's.
pub(crate) fn one_may_be_called_like_the_one_below(case: &Case<'_>) {
    let inside = pinned(&case.pin("box"));
    let (lower, sandbox) = (dummy("eth0"), namespace(&case.pin("box")));
    let upper = macvlan(&inside, "eth0", "eth0", MacvlanMode::Bridge);
    case.given(&[&lower, &sandbox, &upper]);
    assert!(case.holds(&upper) && case.holds(&lower));
    assert!(matches!(case.create(&upper), Err(Error::Exists(_))));
    let state = [upper.clone()].into_iter().collect();
    crate::ensure(case.kernel, &case.mark, &state).expect("it is there");
    case.remove(&upper).expect("it goes");
    assert!(case.is_there(&lower) && !case.is_there(&upper));
    case.remove(&lower).expect("it goes");
}

/// Whether it has the kind is asked without making anything.
pub(crate) fn kinds_are_asked_for(case: &Case<'_>) {
    let macvlan = UpperKind::Macvlan(MacvlanMode::Bridge);
    assert!(case.kernel.supports(macvlan).expect("an answer"));
    assert!(case.kernel.supports(macvlan).expect("the same answer"));
    let name = InterfaceName::new("cnm-kind").expect("a name");
    assert!(!case.is_there(&Object::Link(existing(&Netns::Host, &name))));
}
