//! What was seen once is not looked at again, and what is missing is made.

use super::Survey;
use crate::{
    FakeKernel, KernelState, Mark, Netns, Object, Owner,
    contract::{interface, interfaces, objects::*},
    ensure, ensure_surveyed,
    ruleset::{Item, Table},
};

fn mark() -> Mark {
    Mark {
        node: model::NodeId::random(),
        owner: Owner::Host,
    }
}

fn network() -> KernelState {
    [
        Object::Link(bridge(&Netns::Host, "br")),
        address(&Netns::Host, "br", "10.1.0.1/24"),
        Object::Firewall(Netns::Host, Item::Table(Table::inet("cnm-test"))),
        Object::Firewall(Netns::Host, Item::Set(interfaces())),
        Object::Firewall(Netns::Host, Item::Element(interface("br"))),
    ]
    .into_iter()
    .collect()
}

fn surveyed(kernel: &FakeKernel, mark: &Mark) -> Survey {
    Survey::of_host(kernel, mark.node).expect("looking at everything")
}

#[test]
fn what_is_as_it_should_be_costs_neither_a_look_nor_a_step() {
    let (kernel, mark) = (FakeKernel::new(), mark());
    ensure(&kernel, &mark, &network()).expect("a network");
    let survey = surveyed(&kernel, &mark);
    let before = (kernel.observed(), kernel.steps());
    ensure_surveyed(&kernel, &mark, &survey, &network()).expect("nothing to do");
    assert_eq!((kernel.observed(), kernel.steps()), before);
    let owned: KernelState = survey
        .owned(&Owner::Host)
        .iter()
        .filter_map(|key| survey.get(key).cloned())
        .collect();
    // An address has no mark of its own: it is its link's.
    assert_eq!(owned.len(), network().len() - 1);
}

#[test]
fn each_object_that_is_missing_is_made() {
    for gone in network().keys() {
        let (kernel, mark) = (FakeKernel::new(), mark());
        ensure(&kernel, &mark, &network()).expect("a network");
        kernel.take(gone);
        let survey = surveyed(&kernel, &mark);
        ensure_surveyed(&kernel, &mark, &survey, &network()).expect("a repair");
        for key in network().keys() {
            assert!(kernel.state().get(key).is_some(), "{key} after {gone} had gone");
        }
    }
}

#[test]
fn what_was_made_after_the_survey_is_no_error() {
    let (kernel, mark) = (FakeKernel::new(), mark());
    let survey = surveyed(&kernel, &mark);
    ensure(&kernel, &mark, &network()).expect("a network");
    let before = kernel.state();
    ensure_surveyed(&kernel, &mark, &survey, &network()).expect("a second look");
    assert_eq!(kernel.state(), before);
}

#[test]
fn what_is_in_a_namespace_that_is_there_is_looked_up_before_it_is_made() {
    let (kernel, mark) = (FakeKernel::new(), mark());
    let pin = std::path::Path::new("/run/netns/1");
    let inside: KernelState = [
        namespace(pin),
        Object::Link(bridge(&pinned(pin), "br")),
        address(&pinned(pin), "br", "10.1.0.1/24"),
    ]
    .into_iter()
    .collect();
    ensure(&kernel, &mark, &inside).expect("a namespace");
    let before = (kernel.observed(), kernel.steps());
    ensure(&kernel, &mark, &inside).expect("nothing to do");
    // Whether the namespace is there, and then all that is wanted.
    assert_eq!(
        (kernel.observed(), kernel.steps()),
        (before.0 + 1 + inside.len(), before.1)
    );
}
