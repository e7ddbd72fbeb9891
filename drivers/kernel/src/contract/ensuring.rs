//! Cases of what is ensured as a whole: repaired, walked back from, never taken over.

use super::{Case, cases::HOST, objects::*};
use crate::{
    Error, KernelState, Object, Survey, ensure, ensure_surveyed, holds,
    object::LinkKind,
    plan::satisfied,
    remove,
    ruleset::{Content, Element, Item, Mapped, Set, Table, Type, Value},
};

/// A bridge network's objects and those of one endpoint with its sandbox.
fn endpoint(case: &Case<'_>) -> KernelState {
    let sandbox = pinned(&case.pin("box"));
    [
        namespace(&case.pin("box")),
        Object::Link(bridge(&HOST, "br")),
        address(&HOST, "br", "10.1.0.1/24"),
        Object::Link(port_of("br", veth(&HOST, "veth", &sandbox))),
        Object::Link(peer(&sandbox)),
        sysctl(&sandbox, "net/ipv4/ip_unprivileged_port_start", "0"),
        sysctl(&sandbox, "net/ipv4/conf/eth0/arp_notify", "1"),
        sysctl(&HOST, "net/ipv4/ip_forward", "1"),
        address(&sandbox, "eth0", "10.1.0.2/24"),
        route(&sandbox, "eth0", "0.0.0.0/0", Some("10.1.0.1")),
        neighbor(&sandbox, "eth0", "10.1.0.1", 1),
        fdb(&HOST, "veth", 2, None),
        Object::Firewall(HOST, Item::Table(Table::inet("cnm-test"))),
        Object::Firewall(HOST, Item::Set(interfaces())),
        Object::Firewall(HOST, Item::Element(interface("br"))),
    ]
    .into_iter()
    .collect()
}

pub(crate) fn interfaces() -> Set {
    Set {
        table: Table::inet("cnm-test"),
        name: "networks".to_owned(),
        key: vec![Type::Interface],
        content: Content::Keys,
        intervals: false,
    }
}

pub(crate) fn interface(of: &str) -> Element {
    Element {
        table: Table::inet("cnm-test"),
        set: "networks".to_owned(),
        key: vec![Value::Interface(name(of))],
        to: Mapped::Nothing,
    }
}

pub(crate) fn ensuring_twice_changes_nothing(case: &Case<'_>) {
    let desired = endpoint(case);
    for time in ["once", "twice"] {
        ensure(case.kernel, &case.mark, &desired).unwrap_or_else(|error| panic!("{time}: {error:?}"));
        assert!(
            holds(case.kernel, &desired).expect("looking everything up"),
            "{time}"
        );
    }
    remove(case.kernel, &case.mark, &desired).expect("removing everything");
    case.nothing_of(&desired);
}

pub(crate) fn ensuring_repairs_what_somebody_took_away(case: &Case<'_>) {
    let desired = endpoint(case);
    ensure(case.kernel, &case.mark, &desired).expect("making everything");
    for object in desired.objects() {
        let gone = match object {
            Object::Sysctl(_) => continue,
            Object::Link(link) if link.kind == LinkKind::VethPeer => continue,
            // What a bridge leaves behind is repaired once it is really gone.
            object => object.clone(),
        };
        case.remove(&gone)
            .unwrap_or_else(|error| panic!("taking {gone:?} away: {error:?}"));
        assert!(case.kernel.settle(super::DEADLINE));
        if let Object::Namespace(_) = gone {
            let maker = Object::Link(veth(&HOST, "veth", &HOST));
            case.eventually("the pair goes with the namespace", || !case.is_there(&maker));
        }
        ensure(case.kernel, &case.mark, &desired)
            .unwrap_or_else(|error| panic!("repairing {gone:?}: {error:?}"));
        assert!(
            holds(case.kernel, &desired).expect("looking everything up"),
            "{gone:?}"
        );
    }
}

pub(crate) fn ensuring_walks_back_from_a_failure(case: &Case<'_>) {
    let mut desired = endpoint(case);
    let before = case.observe(&sysctl(&HOST, "net/ipv4/ip_forward", ""));
    desired.insert(route(&HOST, "br", "10.3.0.0/24", Some("10.9.9.9")));
    let error = ensure(case.kernel, &case.mark, &desired).expect_err("an unreachable next hop");
    assert!(matches!(error, Error::Unreachable(_)), "{error:?}");
    case.nothing_of(&desired);
    assert_eq!(case.observe(&sysctl(&HOST, "net/ipv4/ip_forward", "")), before);
}

pub(crate) fn ensuring_does_not_take_over_another_kind_of_link(case: &Case<'_>) {
    case.given(&[&Object::Link(bridge(&HOST, "name"))]);
    let wanted = Object::Link(vxlan(&HOST, "name", 300));
    let desired = [wanted.clone()].into_iter().collect();
    let error = ensure(case.kernel, &case.mark, &desired);
    assert!(matches!(error, Err(Error::Foreign(_))), "{error:?}");
    assert!(case.is_there(&wanted), "the bridge was removed");
}

pub(crate) fn removing_what_is_gone_is_no_error(case: &Case<'_>) {
    remove(case.kernel, &case.mark, &endpoint(case)).expect("nothing was there");
}

pub(crate) fn a_survey_stands_for_many_looks(case: &Case<'_>) {
    let desired = endpoint(case);
    ensure(case.kernel, &case.mark, &desired).expect("making everything");
    let gone = address(&HOST, "br", "10.1.0.1/24");
    case.remove(&gone).expect("removing an address");
    let survey = Survey::of_host(case.kernel, case.mark.node).expect("looking at everything");
    assert!(survey.tells_of(&gone.key()) && survey.get(&gone.key()).is_none());
    for seen in [
        Object::Link(bridge(&HOST, "br")),
        Object::Firewall(HOST, Item::Element(interface("br"))),
    ] {
        let found = survey
            .get(&seen.key())
            .unwrap_or_else(|| panic!("{seen:?} is not seen"));
        assert!(satisfied(found, &seen), "{seen:?} is seen as {found:?}");
    }
    assert!(survey.owned(&case.mark.owner).len() > 3);
    for time in ["repairs", "changes nothing"] {
        ensure_surveyed(case.kernel, &case.mark, &survey, &desired)
            .unwrap_or_else(|error| panic!("{time}: {error:?}"));
        assert!(
            holds(case.kernel, &desired).expect("looking everything up"),
            "{time}"
        );
    }
    remove(case.kernel, &case.mark, &desired).expect("removing everything");
    case.nothing_of(&desired);
}
