//! Failing at every step leaves nothing behind, and what is ensured costs what changed.

use super::{ensure, exchange, remove};
use crate::{
    Error, FakeKernel, KernelState, Mark, Netns, Object, Owner,
    contract::objects::*,
    ruleset::{Item, Table},
};

fn mark() -> Mark {
    Mark {
        node: model::NodeId::random(),
        owner: Owner::Host,
    }
}

fn endpoint(number: u8) -> KernelState {
    let pin = format!("/run/netns/{number}");
    let sandbox = pinned(pin.as_ref());
    [
        namespace(pin.as_ref()),
        Object::Link(port_of(
            "br",
            veth(&Netns::Host, &format!("veth{number}"), &sandbox),
        )),
        sysctl(&sandbox, "net/ipv4/conf/eth0/arp_notify", "1"),
        sysctl(
            &Netns::Host,
            &format!("net/ipv4/conf/veth{number}/forwarding"),
            "1",
        ),
        sysctl(&Netns::Host, "net/ipv4/ip_forward", "1"),
        address(&sandbox, "eth0", &format!("10.1.0.{number}/24")),
        route(&sandbox, "eth0", "0.0.0.0/0", Some("10.1.0.1")),
        fdb(&Netns::Host, &format!("veth{number}"), number, None),
        Object::Firewall(Netns::Host, Item::Table(Table::inet(format!("cnm-{number}")))),
    ]
    .into_iter()
    .collect()
}

fn host() -> FakeKernel {
    let kernel = FakeKernel::new();
    let network = [
        Object::Link(bridge(&Netns::Host, "br")),
        address(&Netns::Host, "br", "10.1.0.1/24"),
    ];
    ensure(&kernel, &mark(), &network.into_iter().collect()).expect("a network");
    kernel
}

/// Runs an operation with its first step failing, then its second, until it has no more.
fn failing_at_each_step(prepare: impl Fn(&FakeKernel), wanted: &KernelState, check: impl Fn(usize, &Error)) {
    for n in 0.. {
        let kernel = host();
        prepare(&kernel);
        let before = kernel.state();
        kernel.fail_at(n);
        match ensure(&kernel, &mark(), wanted) {
            Ok(()) => {
                assert!(
                    kernel.heal(),
                    "an operation can't succeed when one of its steps fails"
                );
                assert!(n > 3, "the operation has more steps than that");
                return;
            }
            Err(error) => {
                assert_eq!(kernel.state(), before, "left behind after failing at step {n}");
                check(n, &error);
            }
        }
    }
}

#[test]
fn failing_at_any_step_leaves_nothing_behind() {
    let checked = |n: usize, error: &Error| {
        assert!(matches!(error, Error::System { .. }), "{error:?} at step {n}");
    };
    failing_at_each_step(|_| {}, &endpoint(7), checked);
}

#[test]
fn failing_at_any_step_of_a_repair_leaves_what_was_there() {
    let wanted = endpoint(7);
    let half_taken = |kernel: &FakeKernel| {
        ensure(kernel, &mark(), &wanted).expect("an endpoint");
        for (at, key) in wanted.keys().enumerate() {
            if at % 2 == 1 {
                kernel.take(key);
            }
        }
    };
    failing_at_each_step(half_taken, &wanted, |_, _| {});
}

#[test]
fn when_undoing_fails_too_both_errors_are_kept() {
    let kernel = host();
    kernel.fail_from(4);
    let error = ensure(&kernel, &mark(), &endpoint(7)).expect_err("nothing works any more");
    let Error::NotUndone { error, left } = error else {
        panic!("{error:?}");
    };
    assert!(matches!(*error, Error::System { .. }));
    assert_eq!(left.len(), 4);
}

#[test]
fn removing_goes_on_behind_a_failure() {
    let kernel = host();
    let before = kernel.state();
    let wanted = endpoint(7);
    let mark = mark();
    ensure(&kernel, &mark, &wanted).expect("an endpoint");
    kernel.fail_at(0);
    remove(&kernel, &mark, &wanted).expect_err("one of the removals failed");
    let left = kernel.state().len() - before.len();
    assert!(left <= 2, "{left} objects are left for one failure");
    remove(&kernel, &mark, &wanted).expect("removing the rest");
    assert_eq!(without_sysctls(&kernel.state()), without_sysctls(&before));
}

fn without_sysctls(state: &KernelState) -> KernelState {
    let objects = state.objects();
    objects
        .filter(|object| !matches!(object, Object::Sysctl(_)))
        .cloned()
        .collect()
}

#[test]
fn the_last_endpoint_costs_what_the_first_did() {
    let kernel = host();
    let cost = |number: u8| {
        let before = (kernel.steps(), kernel.observed());
        ensure(&kernel, &mark(), &endpoint(number)).expect("an endpoint");
        (kernel.steps() - before.0, kernel.observed() - before.1)
    };
    cost(2);
    let second = cost(3);
    for number in 4..250 {
        assert_eq!(cost(number), second, "endpoint {number}");
    }
}

#[test]
fn what_is_new_is_not_looked_up() {
    let kernel = host();
    let before = kernel.observed();
    ensure(&kernel, &mark(), &endpoint(7)).expect("an endpoint");
    // Whether the namespace is there, and the host's own sysctl, whose value undo would have to know.
    assert_eq!(kernel.observed() - before, 2);
}

#[test]
fn ensuring_what_is_right_changes_nothing() {
    let kernel = host();
    let mark = mark();
    ensure(&kernel, &mark, &endpoint(7)).expect("an endpoint");
    let before = kernel.state();
    ensure(&kernel, &mark, &endpoint(7)).expect("the same endpoint");
    assert_eq!(kernel.state(), before);
}

#[test]
fn an_exchange_that_fails_at_any_step_leaves_what_was_there() {
    let (mark, old, new) = (mark(), endpoint(7), endpoint(8));
    for n in 0.. {
        let kernel = host();
        ensure(&kernel, &mark, &old).expect("an endpoint");
        let before = kernel.state();
        kernel.fail_at(n);
        let done = exchange(&kernel, &mark, &firewall(&old), &firewall(&new));
        if done.is_ok() {
            assert!(kernel.heal() && n > 1, "an exchange has two steps here");
            let after = firewall(&kernel.state());
            assert_eq!(after, firewall(&new));
            exchange(&kernel, &mark, &firewall(&old), &firewall(&new)).expect("the same again");
            assert_eq!(firewall(&kernel.state()), after);
            return;
        }
        assert_eq!(kernel.state(), before, "after failing at step {n}");
    }
}

fn firewall(state: &KernelState) -> KernelState {
    state.filtered(|_, object| matches!(object, Object::Firewall(..)))
}
