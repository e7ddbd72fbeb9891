//! Pairs of links whose namespaces were made anew.

use std::time::{Duration, Instant};

use super::{Linux, Pins, apart};
use crate::{
    Kernel, KernelState, Key, Mark, Object, Owner, contract::objects::*, ensure, linux::netns, object::Netns,
};

fn mark() -> Mark {
    Mark {
        node: model::NodeId::random(),
        owner: Owner::Endpoint(model::EndpointId::random()),
    }
}

#[test]
fn a_pair_whose_other_end_is_in_an_old_namespace_is_made_anew() {
    apart(|| {
        let (kernel, mark, folder) = (Linux::here().expect("a kernel"), mark(), Pins::new());
        let pin = folder.path().join("box");
        let sandbox = pinned(&pin);
        let wanted: KernelState = [Object::Link(veth(&Netns::Host, "veth1", &sandbox))]
            .into_iter()
            .collect();
        netns::create(&pin).expect("a namespace");
        ensure(&kernel, &mark, &wanted).expect("a pair");
        let kept = netns::open(&pin).expect("somebody who keeps the old namespace");
        netns::remove(&pin).expect("unpinned");
        netns::create(&pin).expect("a new namespace");
        ensure(&kernel, &mark, &wanted).expect("mended");
        let end = Key::Link(sandbox, name("eth0"));
        let found = kernel.observe(std::slice::from_ref(&end)).expect("looking");
        assert!(found.get(&end).is_some(), "the new namespace has its end");
        let sent = kernel.messages_sent();
        ensure(&kernel, &mark, &wanted).expect("nothing to do");
        assert!(kernel.messages_sent() - sent < 10);
        drop(kept);
    });
}

#[test]
fn a_pair_that_is_ending_with_its_old_namespace_is_not_taken_for_the_new_one() {
    apart(|| {
        let (kernel, mark, folder) = (Linux::here().expect("a kernel"), mark(), Pins::new());
        let pin = folder.path().join("box");
        let sandbox = pinned(&pin);
        let wanted: KernelState = [Object::Link(veth(&Netns::Host, "veth1", &sandbox))]
            .into_iter()
            .collect();
        netns::create(&pin).expect("a namespace");
        ensure(&kernel, &mark, &wanted).expect("a pair");
        for round in 0..20 {
            netns::remove(&pin).expect("unpinned");
            netns::create(&pin).expect("a new namespace");
            ensure(&kernel, &mark, &wanted).expect("mended");
            let end = Key::Link(sandbox.clone(), name("eth0"));
            let found = kernel.observe(std::slice::from_ref(&end)).expect("looking");
            assert!(found.get(&end).is_some(), "round {round}");
        }
    });
}

#[test]
fn a_pair_whose_other_end_was_renamed_is_left_alone() {
    apart(|| {
        let (kernel, mark, folder) = (Linux::here().expect("a kernel"), mark(), Pins::new());
        let pin = folder.path().join("box");
        let made = veth(&Netns::Host, "veth1", &pinned(&pin));
        netns::create(&pin).expect("a namespace");
        let state: KernelState = [Object::Link(made.clone())].into_iter().collect();
        ensure(&kernel, &mark, &state).expect("a pair");
        let mut renamed = made;
        if let crate::object::LinkKind::Veth { peer, .. } = &mut renamed.kind {
            peer.name = name("other");
        }
        let state: KernelState = [Object::Link(renamed)].into_iter().collect();
        ensure(&kernel, &mark, &state).expect("nothing to do");
        let end = Key::Link(pinned(&pin), name("eth0"));
        assert!(
            kernel
                .observe(std::slice::from_ref(&end))
                .expect("looking")
                .get(&end)
                .is_some()
        );
    });
}

#[test]
fn a_forwarding_entry_takes_the_place_of_one_that_the_bridge_has_learned() {
    apart(|| {
        let (kernel, mark, folder) = (Linux::here().expect("a kernel"), mark(), Pins::new());
        let pin = folder.path().join("box");
        netns::create(&pin).expect("a namespace");
        let port = port_of("br", veth(&Netns::Host, "veth1", &pinned(&pin)));
        let wanted: KernelState = [Object::Link(bridge(&Netns::Host, "br")), Object::Link(port)]
            .into_iter()
            .collect();
        ensure(&kernel, &mark, &wanted).expect("a port");
        let learn = || {
            std::process::Command::new("bridge")
                .args([
                    "fdb",
                    "add",
                    "02:42:00:00:00:09",
                    "dev",
                    "veth1",
                    "master",
                    "dynamic",
                ])
                .stderr(std::process::Stdio::null())
                .status()
                .expect("iproute2")
                .success()
        };
        // A port learns only once its link has carrier.
        let deadline = Instant::now() + Duration::from_secs(10);
        while !learn() {
            assert!(Instant::now() < deadline, "the port never learns");
            std::thread::yield_now();
        }
        let entry: KernelState = [fdb(&Netns::Host, "veth1", 9, None)].into_iter().collect();
        let key = entry.keys().next().expect("one").clone();
        let seen = kernel.observe(std::slice::from_ref(&key)).expect("looking");
        assert!(seen.is_empty(), "what was learned is nobody's: {seen:?}");
        ensure(&kernel, &mark, &entry).expect("an entry");
        let seen = kernel.observe(&[key]).expect("looking");
        assert_eq!(seen, entry, "it never ages");
        kernel
            .apply(&mark, &[crate::Step::Create(fdb(&Netns::Host, "veth1", 9, None))])
            .expect_err("there is one now");
    });
}
