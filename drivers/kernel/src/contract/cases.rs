//! The cases, each a rule that Linux has and the fake must have too.

use super::{
    Case,
    ensuring::{interface, interfaces},
    objects::*,
};
use crate::{
    Error, KernelState, Key, Mark, Netns, Object, Step, ensure, holds,
    object::{BridgePort, Link, LinkKind},
    remove,
    ruleset::{Chain, Item, Rule, Table, Verdict},
};

pub(super) const HOST: Netns = Netns::Host;

pub(crate) fn every_object_is_made_once_seen_and_removed(case: &Case<'_>) {
    let sandbox = pinned(&case.pin("box"));
    let everything = [
        namespace(&case.pin("box")),
        Object::Link(bridge(&HOST, "br")),
        Object::Link(port_of("br", vxlan(&HOST, "vx", 300))),
        Object::Link(port_of("br", veth(&HOST, "veth", &sandbox))),
        address(&HOST, "br", "10.1.0.1/24"),
        address(&HOST, "br", "fd00::1/64"),
        address(&sandbox, "eth0", "10.1.0.2/24"),
        route(&sandbox, "eth0", "0.0.0.0/0", Some("10.1.0.1")),
        route(&sandbox, "eth0", "10.9.0.0/16", None),
        route(&HOST, "br", "fd01::/64", Some("fd00::2")),
        neighbor(&HOST, "br", "10.1.0.7", 7),
        neighbor(&HOST, "br", "fd00::7", 7),
        fdb(&HOST, "vx", 8, Some("192.0.2.8")),
        fdb(&HOST, "veth", 9, None),
    ];
    for object in &everything {
        assert!(!case.is_there(object), "{object:?} is there already");
        case.given(&[object]);
        assert!(case.holds(object), "{object:?} became {:?}", case.observe(object));
        assert!(
            matches!(case.create(object), Err(Error::Exists(_))),
            "made twice: {object:?}"
        );
    }
    for object in everything.iter().rev() {
        for time in ["once", "twice"] {
            case.remove(object)
                .unwrap_or_else(|error| panic!("removing {object:?} {time}: {error:?}"));
        }
        assert!(!case.is_there(object), "{object:?} is still there");
    }
}

pub(crate) fn a_link_needs_its_namespace_and_its_master(case: &Case<'_>) {
    let nowhere = pinned(&case.pin("nowhere"));
    for link in [
        bridge(&nowhere, "br"),
        veth(&HOST, "veth", &nowhere),
        port_of("nobody", vxlan(&HOST, "vx", 300)),
    ] {
        let error = case.create(&Object::Link(link.clone()));
        assert!(matches!(error, Err(Error::NoSuch { .. })), "{link:?}: {error:?}");
        assert!(!case.is_there(&Object::Link(link)));
    }
}

pub(crate) fn an_end_that_exists_elsewhere_is_refused(case: &Case<'_>) {
    let sandbox = pinned(&case.pin("box"));
    case.given(&[
        &namespace(&case.pin("box")),
        &Object::Link(veth(&HOST, "first", &sandbox)),
    ]);
    let second = Object::Link(veth(&HOST, "second", &sandbox));
    assert!(matches!(case.create(&second), Err(Error::Exists(_))));
    assert!(!case.is_there(&second));
}

pub(crate) fn a_pair_goes_together(case: &Case<'_>) {
    let sandbox = pinned(&case.pin("box"));
    let (maker, end) = (
        Object::Link(veth(&HOST, "veth", &sandbox)),
        Object::Link(peer(&sandbox)),
    );
    case.given(&[&namespace(&case.pin("box")), &maker]);
    assert!(case.holds(&end), "{:?}", case.observe(&end));
    case.remove(&maker).expect("removing one end");
    assert!(!case.is_there(&maker) && !case.is_there(&end));
}

pub(crate) fn a_namespace_takes_what_is_in_it(case: &Case<'_>) {
    let sandbox = pinned(&case.pin("box"));
    let place = namespace(&case.pin("box"));
    let maker = Object::Link(veth(&HOST, "veth", &sandbox));
    let worn = address(&sandbox, "eth0", "10.1.0.2/24");
    case.given(&[&place, &maker, &worn]);
    case.remove(&place).expect("removing a namespace");
    assert!(!case.is_there(&place) && !case.is_there(&worn));
    case.eventually("its end of a pair takes the other along", || {
        !case.is_there(&maker)
    });
    case.given(&[&place]);
    assert!(!case.is_there(&worn), "a new namespace of the same name is empty");
}

pub(crate) fn a_removed_bridge_frees_its_name_and_its_ports(case: &Case<'_>) {
    let sandbox = pinned(&case.pin("box"));
    let (master, port) = (Object::Link(bridge(&HOST, "br")), veth(&HOST, "veth", &sandbox));
    case.given(&[
        &namespace(&case.pin("box")),
        &master,
        &Object::Link(port_of("br", port.clone())),
    ]);
    case.remove(&master).expect("removing a bridge");
    case.given(&[&master]);
    assert!(case.kernel.settle(super::DEADLINE));
    assert!(case.holds(&master), "the new one went with the old one");
    assert!(case.holds(&Object::Link(port)), "its port is nobody's");
}

pub(crate) fn a_link_takes_what_is_on_it(case: &Case<'_>) {
    let sandbox = pinned(&case.pin("box"));
    let link = Object::Link(veth(&HOST, "veth", &sandbox));
    let on_it = [
        address(&HOST, "veth", "10.1.0.1/24"),
        route(&HOST, "veth", "10.2.0.0/24", Some("10.1.0.2")),
        neighbor(&HOST, "veth", "10.1.0.2", 2),
    ];
    case.given(&[&namespace(&case.pin("box")), &link]);
    case.given(&on_it.each_ref());
    case.remove(&link).expect("removing a link");
    for object in &on_it {
        assert!(!case.is_there(object), "{object:?}");
    }
}

pub(crate) fn a_route_needs_a_link_that_is_up_and_a_reachable_next_hop(case: &Case<'_>) {
    let mut down = bridge(&HOST, "down");
    down.up = false;
    case.given(&[&Object::Link(bridge(&HOST, "br")), &Object::Link(down)]);
    let without_link = case.create(&route(&HOST, "nobody", "10.2.0.0/24", None));
    assert!(
        matches!(without_link, Err(Error::NoSuch { .. })),
        "{without_link:?}"
    );
    let over_down = case.create(&route(&HOST, "down", "10.2.0.0/24", None));
    assert!(matches!(over_down, Err(Error::Unreachable(_))), "{over_down:?}");
    let through = route(&HOST, "br", "10.2.0.0/24", Some("10.1.0.9"));
    let unreachable = case.create(&through);
    assert!(
        matches!(unreachable, Err(Error::Unreachable(_))),
        "{unreachable:?}"
    );
    case.given(&[&route(&HOST, "br", "10.1.0.0/24", None), &through]);
    assert!(case.holds(&through));
}

pub(crate) fn addresses_and_entries_need_their_link(case: &Case<'_>) {
    for object in [
        address(&HOST, "nobody", "10.1.0.1/24"),
        neighbor(&HOST, "nobody", "10.1.0.2", 2),
        fdb(&HOST, "nobody", 2, Some("192.0.2.2")),
        address(&pinned(&case.pin("nowhere")), "eth0", "10.1.0.1/24"),
    ] {
        let error = case.create(&object);
        assert!(
            matches!(error, Err(Error::NoSuch { .. })),
            "{object:?}: {error:?}"
        );
        assert!(!case.is_there(&object));
    }
}

pub(crate) fn forwarding_entries_need_a_tunnel_or_a_port(case: &Case<'_>) {
    let sandbox = pinned(&case.pin("box"));
    case.given(&[
        &namespace(&case.pin("box")),
        &Object::Link(veth(&HOST, "veth", &sandbox)),
    ]);
    let error = case.create(&fdb(&HOST, "veth", 2, None));
    assert!(matches!(error, Err(Error::Unsupported(_))), "{error:?}");
}

pub(crate) fn one_vni_has_one_tunnel(case: &Case<'_>) {
    let place = pinned(&case.pin("overlay"));
    case.given(&[
        &namespace(&case.pin("overlay")),
        &Object::Link(vxlan(&HOST, "one", 300)),
        &Object::Link(vxlan(&HOST, "two", 301)),
    ]);
    let again = Object::Link(vxlan(&place, "three", 300));
    assert!(matches!(case.create(&again), Err(Error::Exists(_))));
    assert!(!case.is_there(&again));
}

pub(crate) fn a_tunnel_is_made_from_the_host_in_its_own_namespace(case: &Case<'_>) {
    let place = pinned(&case.pin("overlay"));
    let tunnel = Link {
        mtu: Some(1450),
        mac: Some(mac(5)),
        ..port_of("br", vxlan(&place, "vx", 300))
    };
    case.given(&[
        &namespace(&case.pin("overlay")),
        &Object::Link(bridge(&place, "br")),
        &Object::Link(tunnel.clone()),
    ]);
    assert!(
        case.holds(&Object::Link(tunnel.clone())),
        "{:?}",
        case.observe(&Object::Link(tunnel))
    );
    assert!(!case.is_there(&Object::Link(vxlan(&HOST, "vx", 300))));
}

pub(crate) fn a_removed_network_frees_its_vni_at_once(case: &Case<'_>) {
    let place = pinned(&case.pin("overlay"));
    let network: KernelState = [
        namespace(&case.pin("overlay")),
        Object::Link(bridge(&place, "br")),
        Object::Link(port_of("br", vxlan(&place, "vx", 300))),
    ]
    .into_iter()
    .collect();
    for _ in 0..5 {
        ensure(case.kernel, &case.mark, &network).expect("a network");
        remove(case.kernel, &case.mark, &network).expect("removing it");
    }
}

pub(crate) fn links_change_in_place(case: &Case<'_>) {
    let sandbox = pinned(&case.pin("box"));
    let first = port_of("br", veth(&HOST, "veth", &sandbox));
    case.given(&[
        &namespace(&case.pin("box")),
        &Object::Link(bridge(&HOST, "br")),
        &Object::Link(bridge(&HOST, "other")),
        &Object::Link(first.clone()),
    ]);
    let changed = |change: &dyn Fn(&mut Link)| {
        let mut link = first.clone();
        change(&mut link);
        Object::Link(link)
    };
    for wanted in [
        changed(&|link| link.mtu = Some(1300)),
        changed(&|link| link.mac = Some(mac(9))),
        changed(&|link| link.up = false),
        changed(&|link| link.master = Some(name("other"))),
        changed(&|link| link.master = None),
        changed(&|link| {
            let LinkKind::Veth { port, .. } = &mut link.kind else {
                return;
            };
            *port = BridgePort {
                hairpin: true,
                learning: false,
                flood: false,
                isolated: true,
                neigh_suppress: true,
            };
        }),
    ] {
        let there = case.observe(&wanted).expect("it is there");
        case.change(&there, &wanted).expect("changing a link");
        assert!(
            case.holds(&wanted),
            "{wanted:?} became {:?}",
            case.observe(&wanted)
        );
        case.change(&wanted, &there).expect("changing it back");
        assert!(case.holds(&there), "{there:?} became {:?}", case.observe(&wanted));
    }
    let lost = changed(&|link| link.master = Some(name("nobody")));
    let error = case.change(&Object::Link(first), &lost);
    assert!(matches!(error, Err(Error::NoSuch { .. })), "{error:?}");
}

pub(crate) fn routes_and_entries_change_in_place(case: &Case<'_>) {
    case.given(&[
        &Object::Link(bridge(&HOST, "br")),
        &Object::Link(port_of("br", vxlan(&HOST, "vx", 300))),
        &address(&HOST, "br", "10.1.0.1/24"),
    ]);
    for (from, to) in [
        (
            route(&HOST, "br", "0.0.0.0/0", Some("10.1.0.2")),
            route(&HOST, "br", "0.0.0.0/0", Some("10.1.0.3")),
        ),
        (
            neighbor(&HOST, "br", "10.1.0.4", 4),
            neighbor(&HOST, "br", "10.1.0.4", 5),
        ),
        (
            fdb(&HOST, "vx", 6, Some("192.0.2.6")),
            fdb(&HOST, "vx", 6, Some("192.0.2.7")),
        ),
    ] {
        case.given(&[&from]);
        case.change(&from, &to).expect("changing an entry");
        assert!(case.holds(&to), "{to:?} is {:?}", case.observe(&to));
        case.remove(&to).expect("removing an entry");
        assert!(!case.is_there(&from), "a change left two behind");
    }
}

pub(crate) fn a_sysctl_belongs_to_its_namespace(case: &Case<'_>) {
    let sandbox = pinned(&case.pin("box"));
    case.given(&[&namespace(&case.pin("box"))]);
    let inside = sysctl(&sandbox, "net/ipv4/ip_unprivileged_port_start", "7");
    let there = case.observe(&inside).expect("a sysctl that every namespace has");
    case.change(&there, &inside).expect("writing a sysctl");
    assert!(case.holds(&inside));
    let outside = sysctl(&HOST, "net/ipv4/ip_unprivileged_port_start", "7");
    assert!(!case.holds(&outside), "the host's changed too");
    for nowhere in [
        sysctl(&HOST, "net/ipv4/conf/nobody/forwarding", "1"),
        sysctl(&pinned(&case.pin("nowhere")), "net/ipv4/ip_forward", "1"),
    ] {
        assert!(!case.is_there(&nowhere));
        assert!(matches!(case.create(&nowhere), Err(Error::NoSuch { .. })));
    }
}

pub(crate) fn what_is_not_ours_is_not_removed(case: &Case<'_>) {
    let theirs = Mark {
        node: model::NodeId::random(),
        ..case.mark
    };
    let link = Object::Link(bridge(&HOST, "br"));
    case.kernel
        .apply(&theirs, &[Step::Create(link.clone())])
        .expect("another daemon's bridge");
    case.remove(&link).expect("nothing to do");
    case.remove(&Object::Link(existing(&HOST, "lo")))
        .expect("nothing to do");
    assert!(case.kernel.settle(super::DEADLINE));
    assert!(case.holds(&link));
}

pub(crate) fn a_node_finds_what_it_owns(case: &Case<'_>) {
    let theirs = Mark {
        node: model::NodeId::random(),
        ..case.mark
    };
    let mine = case.endpoint_mark();
    let make = |mark: &Mark, link: Link| {
        let steps = [Step::Create(Object::Link(link))];
        case.kernel.apply(mark, &steps).expect("making a link");
    };
    make(&theirs, bridge(&HOST, "theirs"));
    make(&case.mark, bridge(&HOST, "ours"));
    make(&mine, vxlan(&HOST, "vx", 300));
    let table = Object::Firewall(HOST, Item::Table(Table::inet("cnm-test")));
    case.given(&[&table]);
    let mut owned = case
        .kernel
        .observe_owned(&HOST, case.mark.node)
        .expect("listing what is ours");
    owned.sort_by_key(|(_, object)| object.key());
    let found: Vec<_> = owned.iter().map(|(mark, object)| (*mark, object.key())).collect();
    assert_eq!(
        found,
        [
            (case.mark, Key::Link(HOST, name("ours"))),
            (mine, Key::Link(HOST, name("vx"))),
            (case.mark, table.key()),
        ]
    );
}

pub(crate) fn a_links_static_entries_are_listed(case: &Case<'_>) {
    let tunnel = Link {
        master: Some(name("br")),
        ..vxlan(&HOST, "vx", 300)
    };
    case.given(&[&Object::Link(bridge(&HOST, "br")), &Object::Link(tunnel)]);
    let list = |link: &str| case.kernel.observe_entries(&HOST, &name(link)).expect("a list");
    assert_eq!(list("vx"), []);
    assert_eq!(list("nowhere"), []);
    let entries = [
        neighbor(&HOST, "vx", "10.1.0.3", 3),
        neighbor(&HOST, "vx", "fd00::3", 3),
        fdb(&HOST, "vx", 3, Some("192.0.2.2")),
        fdb(&HOST, "vx", 4, Some("192.0.2.3")),
    ];
    case.given(&entries.iter().collect::<Vec<_>>());
    case.given(&[&neighbor(&HOST, "br", "10.1.0.9", 9)]);
    let found: KernelState = list("vx").into_iter().collect();
    assert_eq!(found, entries.into_iter().collect());
    let elsewhere = pinned(&case.pin("nowhere"));
    let none = case.kernel.observe_entries(&elsewhere, &name("vx"));
    assert_eq!(none.expect("a list"), []);
}

pub(crate) fn the_first_failure_stops_and_tells_what_was_done(case: &Case<'_>) {
    let steps = [
        Step::Create(Object::Link(bridge(&HOST, "br"))),
        Step::Create(address(&HOST, "br", "10.1.0.1/24")),
        Step::Create(route(&HOST, "br", "10.2.0.0/24", Some("10.9.9.9"))),
        Step::Create(Object::Link(bridge(&HOST, "later"))),
    ];
    let failure = case.apply(&steps).expect_err("an unreachable next hop");
    assert_eq!((failure.done, failure.failed), (vec![0, 1], 2));
    assert!(matches!(failure.error, Error::Unreachable(_)));
    let there = steps.map(|step| case.is_there(step.object()));
    assert_eq!(there, [true, true, false, false]);
}

pub(crate) fn adopted_links_are_only_tuned(case: &Case<'_>) {
    let sandbox = pinned(&case.pin("box"));
    case.given(&[
        &namespace(&case.pin("box")),
        &Object::Link(veth(&HOST, "veth", &sandbox)),
    ]);
    let adopted = Link {
        mtu: Some(1280),
        ..existing(&sandbox, "eth0")
    };
    let desired: KernelState = [Object::Link(adopted)].into_iter().collect();
    ensure(case.kernel, &case.mark, &desired).expect("tuning a link");
    let end = Object::Link(Link {
        mtu: Some(1280),
        ..peer(&sandbox)
    });
    assert!(case.holds(&end), "{:?}", case.observe(&end));
    remove(case.kernel, &case.mark, &desired).expect("nothing to remove");
    assert!(case.is_there(&end));
    let missing: KernelState = [Object::Link(existing(&sandbox, "nobody"))].into_iter().collect();
    let error = ensure(case.kernel, &case.mark, &missing);
    assert!(matches!(error, Err(Error::NoSuch { .. })), "{error:?}");
}

pub(crate) fn many_entries_are_one_plan(case: &Case<'_>) {
    let place = pinned(&case.pin("overlay"));
    let mut desired: KernelState = [
        namespace(&case.pin("overlay")),
        Object::Link(bridge(&place, "br")),
        Object::Link(port_of("br", vxlan(&place, "vx", 300))),
    ]
    .into_iter()
    .collect();
    for last in 1..=250 {
        desired.insert(neighbor(&place, "vx", &format!("10.1.0.{last}"), last));
        desired.insert(fdb(&place, "vx", last, Some("192.0.2.2")));
    }
    ensure(case.kernel, &case.mark, &desired).expect("making many entries");
    assert!(holds(case.kernel, &desired).expect("looking everything up"));
    let entries: KernelState = desired
        .objects()
        .filter(|object| matches!(object, Object::Neighbor(_) | Object::Fdb(_)))
        .cloned()
        .collect();
    remove(case.kernel, &case.mark, &entries).expect("removing many entries");
    case.nothing_of(&entries);
    remove(case.kernel, &case.mark, &desired).expect("removing the rest");
    case.nothing_of(&desired);
}

pub(crate) fn firewall_steps_are_all_or_none(case: &Case<'_>) {
    let table = Object::Firewall(HOST, Item::Table(Table::inet("cnm-test")));
    let set = Object::Firewall(HOST, Item::Set(interfaces()));
    let element = |of| Object::Firewall(HOST, Item::Element(interface(of)));
    let together: Vec<_> = [element("br"), set.clone(), table.clone()]
        .into_iter()
        .map(Step::Create)
        .collect();
    case.apply(&together)
        .expect("the order within a transaction is free");
    assert!(case.holds(&element("br")) && case.holds(&set));
    let mut half = vec![Step::Create(element("other"))];
    half.push(Step::Create(set.clone()));
    let failure = case.apply(&half).expect_err("the set is there");
    assert!(matches!(failure.error, Error::Exists(_)), "{failure:?}");
    assert!(failure.done.is_empty() && !case.is_there(&element("other")));
    case.remove(&table).expect("removing a table");
    assert!(!case.is_there(&set) && !case.is_there(&element("br")));
}

pub(crate) fn a_users_chain_is_made_once_and_left_alone(case: &Case<'_>) {
    let table = Object::Firewall(HOST, Item::Table(Table::inet("cnm-test")));
    let chain = |users, rules: usize| {
        let accept = Rule::verdict(Verdict::Accept);
        Object::Firewall(
            HOST,
            Item::Chain(Chain {
                table: Table::inet("cnm-test"),
                name: "user".to_owned(),
                base: None,
                rules: vec![accept; rules],
                users,
            }),
        )
    };
    let wanted: KernelState = [table, chain(true, 0)].into_iter().collect();
    ensure(case.kernel, &case.mark, &wanted).expect("it is made");
    case.change(&chain(false, 0), &chain(false, 1))
        .expect("the user writes a rule");
    ensure(case.kernel, &case.mark, &wanted).expect("it is there");
    let Some(Object::Firewall(_, Item::Chain(there))) = case.observe(&chain(true, 0)) else {
        panic!("the chain is gone");
    };
    assert_eq!(there.rules.len(), 1, "the user's rule is kept");
}

pub(crate) fn routes_and_mtu_of_the_host_are_known(case: &Case<'_>) {
    let underlay = Link {
        mtu: Some(1380),
        ..bridge(&HOST, "br")
    };
    case.given(&[
        &Object::Link(underlay),
        &address(&HOST, "br", "10.1.0.1/24"),
        &address(&HOST, "br", "fd00::1/64"),
        &route(&HOST, "br", "10.7.0.0/16", None),
        &route(&HOST, "br", "10.8.0.0/16", Some("10.1.0.2")),
        &route(&HOST, "br", "0.0.0.0/0", Some("10.1.0.2")),
    ]);
    let routes = case.kernel.host_routes().expect("listing routes");
    let has = |subnet: &str| routes.contains(&(subnet.parse().expect("a subnet"), name("br")));
    assert!(
        has("10.1.0.0/24") && has("10.7.0.0/16") && has("fd00::/64"),
        "{routes:?}"
    );
    assert!(!has("10.8.0.0/16") && !has("0.0.0.0/0"), "{routes:?}");
    let mtu = |address: &str| case.kernel.underlay_mtu(ip(address)).expect("asking for it");
    assert_eq!((mtu("10.1.0.1"), mtu("10.1.0.2")), (Some(1380), None));
}

pub(crate) fn errors_name_their_object(case: &Case<'_>) {
    let error = case
        .create(&address(&HOST, "nobody", "10.1.0.1/24"))
        .expect_err("no such link");
    assert_eq!(
        error.to_string(),
        r#"address 10.1.0.1/24 on "nobody": there is no link "nobody""#
    );
}
