//! Order, replacement and loss, as tables without a kernel.

use proptest::{prelude::*, sample::Index};

use super::{Step, plan};
use crate::{
    FakeKernel, Kernel, KernelState, Mark, Netns, Object, Owner,
    contract::objects::*,
    object::{Link, LinkKind},
};

fn network() -> Vec<Object> {
    let sandbox = pinned("/run/box".as_ref());
    vec![
        namespace("/run/box".as_ref()),
        sysctl(&sandbox, "net/ipv6/conf/default/disable_ipv6", "0"),
        Object::Link(bridge(&Netns::Host, "br")),
        Object::Link(port_of("br", vxlan(&Netns::Host, "a-tunnel", 300))),
        Object::Link(port_of("br", veth(&Netns::Host, "a-pair", &sandbox))),
        sysctl(&sandbox, "net/ipv6/conf/eth0/disable_ipv6", "0"),
        address(&sandbox, "eth0", "10.1.0.2/24"),
        route(&sandbox, "eth0", "10.9.0.0/16", None),
        route(&sandbox, "eth0", "0.0.0.0/0", Some("10.1.0.1")),
        neighbor(&Netns::Host, "a-tunnel", "10.1.0.3", 3),
        fdb(&Netns::Host, "a-tunnel", 3, Some("192.0.2.3")),
    ]
}

fn state(objects: &[Object]) -> KernelState {
    objects.iter().cloned().collect()
}

#[test]
fn what_others_need_is_made_first() {
    let wanted = network();
    let steps = plan(&KernelState::new(), &state(&wanted));
    let expected: Vec<_> = wanted.into_iter().map(Step::Create).collect();
    assert_eq!(steps, expected);
}

#[test]
fn what_needs_others_is_removed_first_and_a_namespace_with_all_in_it() {
    let steps = plan(&state(&network()), &KernelState::new());
    let sandbox = pinned("/run/box".as_ref());
    let expected = [
        Step::Remove(fdb(&Netns::Host, "a-tunnel", 3, Some("192.0.2.3"))),
        Step::Remove(neighbor(&Netns::Host, "a-tunnel", "10.1.0.3", 3)),
        Step::Remove(Object::Link(port_of(
            "br",
            veth(&Netns::Host, "a-pair", &sandbox),
        ))),
        Step::Remove(Object::Link(port_of("br", vxlan(&Netns::Host, "a-tunnel", 300)))),
        Step::Remove(Object::Link(bridge(&Netns::Host, "br"))),
        Step::Remove(namespace("/run/box".as_ref())),
    ];
    assert_eq!(steps, expected);
}

#[test]
fn nothing_is_done_for_what_is_right() {
    let wanted = state(&network());
    assert_eq!(plan(&wanted, &wanted), []);
    assert_eq!(plan(&KernelState::new(), &KernelState::new()), []);
}

#[test]
fn what_the_kernel_chose_is_right_where_nothing_was_asked() {
    let there = Link {
        mtu: Some(1500),
        ..bridge(&Netns::Host, "br")
    };
    let wanted = Link {
        mac: None,
        mtu: None,
        ..there.clone()
    };
    let [there, wanted] = [there, wanted].map(|link| state(&[Object::Link(link)]));
    assert_eq!(plan(&there, &wanted), []);
}

#[test]
fn the_other_end_is_right_wherever_the_container_renamed_it_to() {
    let wanted = veth(&Netns::Host, "veth", &pinned("/run/box".as_ref()));
    let mut there = wanted.clone();
    if let LinkKind::Veth { peer, .. } = &mut there.kind {
        peer.netns = Netns::Numbered(3);
        peer.name = name("renamed");
    }
    let [there, wanted] = [there, wanted].map(|link| state(&[Object::Link(link)]));
    assert_eq!(plan(&there, &wanted), []);
}

#[test]
fn a_link_of_another_kind_is_replaced_and_what_was_on_it_made_again() {
    let on_it = address(&Netns::Host, "name", "10.1.0.1/24");
    let (old, new) = (
        Object::Link(bridge(&Netns::Host, "name")),
        Object::Link(vxlan(&Netns::Host, "name", 300)),
    );
    let steps = plan(
        &state(&[old.clone(), on_it.clone()]),
        &state(&[new.clone(), on_it.clone()]),
    );
    assert_eq!(steps, [Step::Remove(old), Step::Create(new), Step::Create(on_it)]);
}

#[test]
fn the_firewall_is_one_run_between_sysctls_and_links() {
    use crate::ruleset::{Item, Table};
    let table = |name: &str| Object::Firewall(Netns::Host, Item::Table(Table::inet(name)));
    let link = Object::Link(bridge(&Netns::Host, "br"));
    let forward = sysctl(&Netns::Host, "net/ipv4/ip_forward", "1");
    let actual = state(&[table("cnm-old")]);
    let steps = plan(
        &actual,
        &state(&[link.clone(), table("cnm-new"), forward.clone()]),
    );
    assert_eq!(
        steps,
        [
            Step::Create(forward),
            Step::Remove(table("cnm-old")),
            Step::Create(table("cnm-new")),
            Step::Create(link),
        ]
    );
}

#[test]
fn sysctls_and_other_peoples_links_are_never_removed() {
    let actual = state(&[
        sysctl(&Netns::Host, "net/ipv4/ip_forward", "1"),
        Object::Link(existing(&Netns::Host, "eth0")),
        Object::Link(peer(&Netns::Host)),
    ]);
    assert_eq!(plan(&actual, &KernelState::new()), []);
}

#[test]
fn values_of_a_sysctl_are_compared_without_their_white_space() {
    let [tabs, spaces] =
        ["1\t2", "1 2"].map(|range| state(&[sysctl(&Netns::Host, "net/ipv4/ip_local_port_range", range)]));
    assert_eq!(plan(&tabs, &spaces), []);
}

#[test]
fn the_undo_of_an_undo_is_the_step() {
    for step in plan(&KernelState::new(), &state(&network())) {
        assert_eq!(step.clone().undo().undo(), step);
    }
}

proptest! {
    /// Any part of a network turns into any other part of it that can stand by itself; after that there is nothing to do.
    #[test]
    fn a_plan_carried_out_leaves_nothing_to_plan(from in proptest::collection::vec(any::<Index>(), 0..12),
                                                 to in proptest::collection::vec(any::<Index>(), 0..12)) {
        let kernel = FakeKernel::new();
        let mark = Mark { node: model::NodeId::random(), owner: Owner::Host };
        let (from, to) = (standing(&from), standing(&to));
        kernel.apply(&mark, &plan(&KernelState::new(), &from)).expect("the first part");
        let keys: Vec<_> = from.keys().chain(to.keys()).cloned().collect();
        let actual = kernel.observe(&keys).expect("looking at it");
        kernel.apply(&mark, &plan(&actual, &to)).expect("the second part");
        let actual = kernel.observe(&keys).expect("looking again");
        prop_assert_eq!(plan(&actual, &to), Vec::<Step>::new());
    }
}

/// The chosen objects that have all that they need among the chosen ones.
fn standing(chosen: &[Index]) -> KernelState {
    let all = network();
    let chosen = state(
        &chosen
            .iter()
            .map(|index| index.get(&all).clone())
            .collect::<Vec<_>>(),
    );
    let kernel = FakeKernel::new();
    let mark = Mark {
        node: model::NodeId::random(),
        owner: Owner::Host,
    };
    plan(&KernelState::new(), &chosen)
        .into_iter()
        .filter(|step| kernel.apply(&mark, std::slice::from_ref(step)).is_ok())
        .map(|step| step.object().clone())
        .collect()
}
