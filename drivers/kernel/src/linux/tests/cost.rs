//! What is done costs what changed, however much is there: counted in messages, because times lie.

use super::{Linux, Pins, apart};
use crate::{
    Kernel, KernelState, Mark, Netns, Object, Owner, Survey,
    contract::objects::*,
    ensure, ensure_surveyed,
    object::{Link, LinkKind},
    remove,
};

fn mark() -> Mark {
    Mark {
        node: model::NodeId::random(),
        owner: Owner::Host,
    }
}

fn made(kernel: &Linux, mark: &Mark, objects: impl IntoIterator<Item = Object>) -> KernelState {
    let objects: KernelState = objects.into_iter().collect();
    ensure(kernel, mark, &objects).expect("making objects");
    objects
}

/// An endpoint whose end in the sandbox is `eth` and the number.
fn endpoint(number: usize, sandbox: &Netns) -> KernelState {
    let mut pair = port_of("br", veth(&Netns::Host, &format!("veth{number}"), sandbox));
    let end = format!("eth{number}");
    if let Link {
        kind: LinkKind::Veth { peer, .. },
        ..
    } = &mut pair
    {
        peer.name = name(&end);
    }
    let (high, low) = (number / 250, number % 250 + 2);
    [
        Object::Link(pair),
        address(sandbox, &end, &format!("10.1.{high}.{low}/16")),
        neighbor(sandbox, &end, "10.1.255.1", 1),
    ]
    .into_iter()
    .collect()
}

#[test]
fn the_two_hundredth_endpoint_costs_what_the_first_did() {
    apart(|| {
        let pins = Pins::new();
        let (kernel, mark) = (Linux::here().expect("a kernel"), mark());
        let pin = pins.path().join("box");
        let sandbox = Netns::Pinned(pin.clone());
        made(
            &kernel,
            &mark,
            [Object::Namespace(pin), Object::Link(bridge(&Netns::Host, "br"))],
        );
        let cost = |number| {
            let before = kernel.messages_sent();
            ensure(&kernel, &mark, &endpoint(number, &sandbox)).expect("an endpoint");
            kernel.messages_sent() - before
        };
        let first = cost(0);
        // The master's index, the pair, its alias, its other end up, that end's index, an address, a neighbour.
        assert_eq!(first, 7);
        for number in 1..200 {
            assert_eq!(cost(number), first, "endpoint {number}");
        }
        let before = kernel.messages_sent();
        remove(&kernel, &mark, &endpoint(199, &sandbox)).expect("removing an endpoint");
        assert!(kernel.settle(std::time::Duration::from_secs(10)));
        // Its end's index, the entry and the address on it, the link's index and its removal.
        assert_eq!(kernel.messages_sent() - before, 5);
    });
}

/// What a namespace's IPv6 routes of all tables, and its addresses, say of links called `veth…`.
fn ipv6_of_ports(file: &str) -> Vec<String> {
    let text = std::fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap_or_default();
    let port = |line: &&str| {
        line.split_whitespace()
            .last()
            .is_some_and(|link| link.starts_with("veth"))
    };
    text.lines().filter(port).map(str::to_owned).collect()
}

#[test]
fn a_bridges_port_has_no_ipv6_address_nor_route_that_its_neighbours_share() {
    apart(|| {
        let pins = Pins::new();
        let (kernel, mark) = (Linux::here().expect("a kernel"), mark());
        let pin = pins.path().join("box");
        let sandbox = Netns::Pinned(pin.clone());
        let up = |mut link: Link| {
            link.up = true;
            link
        };
        made(
            &kernel,
            &mark,
            [
                Object::Namespace(pin),
                Object::Link(up(bridge(&Netns::Host, "br"))),
            ],
        );
        ensure(&kernel, &mark, &endpoint(1, &sandbox)).expect("an endpoint");
        // One that is on no bridge gets its address in the same way, and later than the port would have.
        let free = Object::Link(up(veth(&Netns::Host, "vethfree", &sandbox)));
        made(&kernel, &mark, [free]);
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while ipv6_of_ports("if_inet6").is_empty() && std::path::Path::new("/proc/net/if_inet6").exists() {
            assert!(
                std::time::Instant::now() < deadline,
                "the kernel gives nobody an address"
            );
            std::thread::yield_now();
        }
        for line in ipv6_of_ports("if_inet6") {
            assert!(line.ends_with("vethfree"), "{line}");
        }
        let routes = ipv6_of_ports("ipv6_route");
        // Nor one for multicasts, which every removal of a port would pass by.
        let of_port = routes.iter().filter(|line| line.ends_with("veth1"));
        assert_eq!(of_port.count(), 0, "{routes:?}");
        assert!(routes.iter().any(|line| line.ends_with("vethfree")), "{routes:?}");
    });
}

#[test]
fn a_hundred_networks_are_surveyed_by_as_many_messages_as_one() {
    apart(|| {
        let (kernel, mark) = (Linux::here().expect("a kernel"), mark());
        let network = |number: usize| {
            let bridge_name = format!("br{number}");
            let objects = [
                Object::Link(bridge(&Netns::Host, &bridge_name)),
                address(&Netns::Host, &bridge_name, &format!("10.1.{number}.1/24")),
            ];
            objects.into_iter().collect::<KernelState>()
        };
        let cost = |count: usize| {
            let before = kernel.messages_sent();
            let survey = Survey::of_host(&kernel, mark.node).expect("looking at everything");
            for number in 0..count {
                ensure_surveyed(&kernel, &mark, &survey, &network(number)).expect("nothing to do");
            }
            kernel.messages_sent() - before
        };
        ensure(&kernel, &mark, &network(0)).expect("a network");
        let first = cost(1);
        // All links, all addresses.
        assert_eq!(first, 2);
        for number in 1..100 {
            ensure(&kernel, &mark, &network(number)).expect("a network");
        }
        assert_eq!(cost(100), first);
        let before = kernel.messages_sent();
        assert_eq!(kernel.host_routes().expect("routes").len(), 100);
        assert_eq!(
            kernel.messages_sent() - before,
            2,
            "both families' routes, and no link"
        );
    });
}

#[test]
fn many_removals_at_once_are_all_announced() {
    apart(|| {
        let pins = Pins::new();
        let (kernel, mark) = (Linux::here().expect("a kernel"), mark());
        let pin = pins.path().join("box");
        let sandbox = Netns::Pinned(pin.clone());
        made(
            &kernel,
            &mark,
            [Object::Namespace(pin), Object::Link(bridge(&Netns::Host, "br"))],
        );
        for number in 0..40 {
            ensure(&kernel, &mark, &endpoint(number, &sandbox)).expect("an endpoint");
        }
        std::thread::scope(|scope| {
            for from in 0..4 {
                let (kernel, mark, sandbox) = (&kernel, &mark, &sandbox);
                scope.spawn(move || {
                    for number in (from * 10)..(from * 10 + 10) {
                        let gone = endpoint(number, sandbox);
                        remove(kernel, mark, &gone).expect("removing an endpoint");
                        let keys: Vec<_> = gone.keys().cloned().collect();
                        assert!(kernel.observe(&keys).expect("looking").is_empty());
                    }
                });
            }
        });
    });
}

#[test]
fn no_descriptor_and_no_namespace_is_left_behind() {
    apart(|| {
        let pins = Pins::new();
        let (kernel, mark) = (Linux::here().expect("a kernel"), mark());
        made(&kernel, &mark, [Object::Link(bridge(&Netns::Host, "br"))]);
        let pin = pins.path().join("box");
        let sandbox = Netns::Pinned(pin.clone());
        let life = |number| {
            let namespace = made(&kernel, &mark, [Object::Namespace(pin.clone())]);
            let state = endpoint(number, &sandbox);
            ensure(&kernel, &mark, &state).expect("an endpoint");
            // What can't be done must not keep anything either.
            let astray = [address(&sandbox, "nowhere", "10.1.0.9/16")]
                .into_iter()
                .collect();
            ensure(&kernel, &mark, &astray).expect_err("there is no such link");
            remove(&kernel, &mark, &state).expect("removed");
            remove(&kernel, &mark, &namespace).expect("removed");
        };
        let descriptors = || std::fs::read_dir("/proc/thread-self/fd").expect("proc").count();
        life(0);
        assert!(kernel.settle(std::time::Duration::from_secs(10)));
        let before = descriptors();
        (1..50).for_each(life);
        assert!(kernel.settle(std::time::Duration::from_secs(10)));
        assert!(descriptors() <= before + 4, "{before} became {}", descriptors());
        assert!(!pin.exists());
    });
}
