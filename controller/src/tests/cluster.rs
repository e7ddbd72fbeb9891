//! Hosts that share a store.

use std::time::Duration;

use kernel::{KernelState, Key, Object};
use model::Lifecycle;
use store::memory::Memory;

use super::{
    host::{Host, difference},
    spy::At,
};
use crate::{Connect, Error};

/// Ways to endpoints of other hosts.
fn fdb_entries(state: &KernelState) -> usize {
    let tunnelled = |key: &&Key| matches!(key, Key::Fdb(_, link, _) if link.starts_with("vx-"));
    state.keys().filter(tunnelled).count()
}

#[tokio::test]
async fn what_one_host_makes_the_other_sees_and_reaches() {
    let cluster = Memory::new();
    let (one, two) = (Host::of(1, &cluster).await, Host::of(2, &cluster).await);
    let network = one
        .network("ol1", "overlay", Some("172.16.2.0/24"))
        .await
        .unwrap();
    two.sees("the network", |snapshot| {
        snapshot.networks.contains_key(&network.id)
    })
    .await;
    assert_eq!(two.controller().networks.find("ol1").unwrap(), network);

    let (here, there) = (
        one.sandbox("test01").await.unwrap(),
        two.sandbox("test02").await.unwrap(),
    );
    let first = one.connect(network.id, &here).await.unwrap();
    let second = two.connect(network.id, &there).await.unwrap();
    let addresses = [&first, &second].map(|e| e.addresses.ipv4.unwrap().to_string());
    assert_eq!(addresses, ["172.16.2.2/24", "172.16.2.3/24"]);
    one.sees("the other's endpoint", |snapshot| {
        snapshot.endpoints.contains_key(&second.id)
    })
    .await;
    two.sees("the other's endpoint", |snapshot| {
        snapshot.endpoints.contains_key(&first.id)
    })
    .await;
    one.kernel_comes_to("a way to the other", |state| fdb_entries(state) == 1)
        .await;
    two.kernel_comes_to("a way to the other", |state| fdb_entries(state) == 1)
        .await;

    let error = two.controller().networks.delete("ol1").await.unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("network ol1 has active endpoints (name:\"test0"),
        "{error}"
    );
    one.controller().sandboxes.delete(here.id).await.unwrap();
    two.sees("it gone", |snapshot| !snapshot.endpoints.contains_key(&first.id))
        .await;
    two.kernel_comes_to("no way any more", |state| fdb_entries(state) == 0)
        .await;
    two.controller().sandboxes.delete(there.id).await.unwrap();
    two.controller().networks.delete("ol1").await.unwrap();
    one.sees("no network", |snapshot| {
        !snapshot.networks.contains_key(&network.id)
    })
    .await;
    let left = one.global.as_ref().unwrap().keys().await;
    assert_eq!(left, Vec::<String>::new());
}

#[tokio::test]
async fn names_and_addresses_are_unique_across_hosts() {
    let cluster = Memory::new();
    let (one, two) = (Host::of(1, &cluster).await, Host::of(2, &cluster).await);
    let network = one
        .network("ol1", "overlay", Some("172.16.2.0/24"))
        .await
        .unwrap();
    two.sees("the network", |snapshot| {
        snapshot.networks.contains_key(&network.id)
    })
    .await;
    let error = two.network("ol1", "overlay", None).await.unwrap_err();
    assert!(matches!(error, Error::Conflict { .. }), "{error}");
    let error = two
        .network("ol2", "overlay", Some("172.16.0.0/16"))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("\"ol1\""), "{error}");
    let other = two.network("ol2", "overlay", None).await.unwrap();
    assert_eq!(other.vnis[0].get(), 257);

    let (here, there) = (
        one.sandbox("test01").await.unwrap(),
        two.sandbox("test02").await.unwrap(),
    );
    one.connect(network.id, &here).await.unwrap();
    let mut request = Connect::new(network.id, there.id, "test02");
    request.ipv4 = Some("172.16.2.2".parse().unwrap());
    let error = two.controller().endpoints.connect(request).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "Address already in use: 172.16.2.2 is held by \"test01\""
    );
    let error = two
        .controller()
        .endpoints
        .connect(Connect::new(network.id, there.id, "test01"))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "endpoint with name test01 already exists in network ol1"
    );
}

#[tokio::test]
async fn with_the_store_down_what_is_local_works_and_what_is_global_waits() {
    let cluster = Memory::new();
    let (one, two) = (Host::of(1, &cluster).await, Host::of(2, &cluster).await);
    let network = one
        .network("ol1", "overlay", Some("172.16.2.0/24"))
        .await
        .unwrap();
    let sandbox = one.sandbox("test01").await.unwrap();
    let endpoint = one.connect(network.id, &sandbox).await.unwrap();
    two.sees("the endpoint", |snapshot| {
        snapshot.endpoints.contains_key(&endpoint.id)
    })
    .await;

    let store = one.global.clone().unwrap();
    store.set_up(false);
    one.sees("that the store is gone", |snapshot| snapshot.stale)
        .await;
    let error = one.network("ol2", "overlay", None).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    one.network("lab", "bridge", None).await.unwrap();
    one.controller()
        .endpoints
        .disconnect(endpoint.id, false)
        .await
        .unwrap();
    one.controller().sandboxes.delete(sandbox.id).await.unwrap();
    assert_eq!(one.controller().sandboxes.list().len(), 0);
    let noted = one.controller().endpoints.get(endpoint.id).unwrap();
    assert_eq!(
        noted.lifecycle,
        Lifecycle::Deleting,
        "the note of what is to release"
    );

    store.set_up(true);
    one.sees("nothing to release", |snapshot| {
        !snapshot.endpoints.contains_key(&endpoint.id)
    })
    .await;
    two.sees("it gone", |snapshot| {
        !snapshot.endpoints.contains_key(&endpoint.id)
    })
    .await;
    let keys = store.keys().await;
    assert!(
        !keys
            .iter()
            .any(|key| key.contains("172.16.2.2") || key.ends_with("/test01")),
        "{keys:?}"
    );
}

#[tokio::test]
async fn a_restart_without_the_store_serves_the_copy_marked_stale() {
    let cluster = Memory::new();
    let (mut one, two) = (Host::of(1, &cluster).await, Host::of(2, &cluster).await);
    let network = one
        .network("ol1", "overlay", Some("172.16.2.0/24"))
        .await
        .unwrap();
    let (here, there) = (
        one.sandbox("test01").await.unwrap(),
        two.sandbox("test02").await.unwrap(),
    );
    let own = one.connect(network.id, &here).await.unwrap();
    two.sees("the network", |snapshot| {
        snapshot.networks.contains_key(&network.id)
    })
    .await;
    let other = two.connect(network.id, &there).await.unwrap();
    one.kernel_comes_to("a way to the other", |state| fdb_entries(state) == 1)
        .await;
    let kernel = one.kernel.state();

    one.kill();
    one.global.as_ref().unwrap().set_up(false);
    one.start().await;
    let snapshot = one.controller().snapshot().borrow().clone();
    assert!(snapshot.stale);
    assert_eq!(one.controller().networks.find("ol1").unwrap(), network);
    assert!(snapshot.endpoints.contains_key(&own.id) && snapshot.endpoints.contains_key(&other.id));
    assert_eq!(
        difference(&kernel, &one.kernel.state()),
        Vec::<String>::new(),
        "what runs goes on running"
    );

    one.global.as_ref().unwrap().set_up(true);
    one.sees("that the store is back", |snapshot| !snapshot.stale)
        .await;
    assert_eq!(difference(&kernel, &one.kernel.state()), Vec::<String>::new());
}

#[tokio::test]
async fn what_went_while_a_host_was_down_is_gone_after_its_restart() {
    let cluster = Memory::new();
    let (mut one, two) = (Host::of(1, &cluster).await, Host::of(2, &cluster).await);
    let network = one
        .network("ol1", "overlay", Some("172.16.2.0/24"))
        .await
        .unwrap();
    two.sees("the network", |snapshot| {
        snapshot.networks.contains_key(&network.id)
    })
    .await;
    let (here, there) = (
        one.sandbox("test01").await.unwrap(),
        two.sandbox("test02").await.unwrap(),
    );
    one.connect(network.id, &here).await.unwrap();
    let other = two.connect(network.id, &there).await.unwrap();
    one.kernel_comes_to("a way to the other", |state| fdb_entries(state) == 1)
        .await;
    one.kill();
    two.controller()
        .endpoints
        .disconnect(other.id, false)
        .await
        .unwrap();
    one.start().await;
    assert_eq!(fdb_entries(&one.kernel.state()), 0);
}

#[tokio::test]
async fn a_dead_hosts_endpoints_are_dropped_and_after_the_quarantine_freed() {
    let cluster = Memory::new();
    let mut one = Host::new(1, Some(&cluster));
    one.quarantine = Duration::from_millis(200);
    one.start().await;
    let mut two = Host::of(2, &cluster).await;
    let network = one
        .network("ol1", "overlay", Some("172.16.2.0/24"))
        .await
        .unwrap();
    two.sees("the network", |snapshot| {
        snapshot.networks.contains_key(&network.id)
    })
    .await;
    let (here, there) = (
        one.sandbox("test01").await.unwrap(),
        two.sandbox("test02").await.unwrap(),
    );
    one.connect(network.id, &here).await.unwrap();
    let other = two.connect(network.id, &there).await.unwrap();
    one.kernel_comes_to("a way to the other", |state| fdb_entries(state) == 1)
        .await;
    // It gives its lease up; a host that dies without a word is dead when the lease has ended.
    two.stop().await;
    one.sees("that it is dead", |snapshot| {
        !snapshot.live_nodes.contains(&other.node)
    })
    .await;
    one.kernel_comes_to("no way any more", |state| fdb_entries(state) == 0)
        .await;
    one.sees("its endpoint freed", |snapshot| {
        !snapshot.endpoints.contains_key(&other.id)
    })
    .await;
    let again = one.sandbox("test02").await.unwrap();
    let endpoint = one.connect(network.id, &again).await.unwrap();
    assert_eq!(endpoint.addresses, other.addresses, "name and address are free");
}

#[tokio::test]
async fn what_a_dead_host_has_set_aside_is_free_after_the_quarantine() {
    let cluster = Memory::new();
    let mut one = Host::new(1, Some(&cluster));
    one.quarantine = Duration::from_millis(200);
    one.start().await;
    let mut two = Host::of(2, &cluster).await;
    let network = one
        .network("ol1", "overlay", Some("172.16.2.0/24"))
        .await
        .unwrap();
    two.sees("the network", |snapshot| {
        snapshot.networks.contains_key(&network.id)
    })
    .await;
    // A container created with an address and never started, and one that an engine has asked for.
    let address = |last: u8| std::net::IpAddr::from([172, 16, 2, last]);
    two.controller()
        .endpoints
        .reserve(network.id, model::ContainerId::random(), "never", &[address(77)])
        .await
        .unwrap();
    let apart = two
        .controller()
        .dressed
        .set_apart(network.id, &network.pools[0], Some(address(78)));
    apart.await.unwrap();
    let sandbox = one.sandbox("test01").await.unwrap();
    let connect = async |last: u8| {
        let std::net::IpAddr::V4(v4) = address(last) else {
            unreachable!("it is one");
        };
        let mut request = Connect::new(network.id, sandbox.id, format!("at{last}"));
        request.ipv4 = Some(v4);
        one.controller().endpoints.connect(request).await
    };
    connect(77).await.unwrap_err();
    connect(78).await.unwrap_err();
    two.stop().await;
    let leases = || async {
        let keys = one.global.as_ref().unwrap().keys().await;
        keys.iter()
            .filter(|key| key.ends_with("/172.16.2.77") || key.ends_with("/172.16.2.78"))
            .count()
    };
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while leases().await > 0 {
        assert!(std::time::Instant::now() < deadline, "they stay");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let first = connect(77).await.unwrap();
    let endpoints = &one.controller().endpoints;
    endpoints.disconnect(first.id, false).await.unwrap();
    connect(78).await.unwrap();
}

#[tokio::test]
async fn a_host_that_cannot_renew_takes_its_global_endpoints_off_the_network() {
    let cluster = Memory::new();
    let mut one = Host::new(1, Some(&cluster));
    one.quarantine = Duration::from_millis(100);
    let mut settings = one.settings();
    settings.lease = Duration::from_millis(60);
    one.start_with(settings).await.unwrap();
    let network = one
        .network("ol1", "overlay", Some("172.16.2.0/24"))
        .await
        .unwrap();
    let sandbox = one.sandbox("test01").await.unwrap();
    one.connect(network.id, &sandbox).await.unwrap();
    let up = |state: &KernelState, wanted: bool| {
        let netns = kernel::Netns::Pinned(sandbox.netns().unwrap().clone());
        let link = state.get(&Key::Link(netns, "eth0".parse().unwrap()));
        matches!(link, Some(Object::Link(link)) if link.up == wanted)
    };
    assert!(up(&one.kernel.state(), true));
    one.global.as_ref().unwrap().set_up(false);
    one.kernel_comes_to("its interface down", |state| up(state, false))
        .await;
    one.global.as_ref().unwrap().set_up(true);
    one.kernel_comes_to("its interface up again", |state| up(state, true))
        .await;
    one.global.as_ref().unwrap().set_up(false);
    one.kernel_comes_to("its interface down once more", |state| up(state, false))
        .await;
    // A process that starts with its endpoints fenced lifts the fence: it has to fail anew first.
    one.kill();
    one.global.as_ref().unwrap().set_up(true);
    one.start().await;
    one.kernel_comes_to("its interface up again", |state| up(state, true))
        .await;
}

#[tokio::test]
async fn a_connection_that_fails_here_leaves_nothing_there() {
    let cluster = Memory::new();
    let one = Host::of(1, &cluster).await;
    let network = one
        .network("ol1", "overlay", Some("172.16.2.0/24"))
        .await
        .unwrap();
    let other = one.sandbox("other").await.unwrap();
    one.connect(network.id, &other).await.unwrap();
    one.controller().sandboxes.delete(other.id).await.unwrap();
    let sandbox = one.sandbox("test01").await.unwrap();
    let (kernel, local) = (one.kernel.state(), one.local.keys().await);
    let global = one.global.clone().unwrap();
    let shared = global.keys().await;
    for commit in 0..2 {
        one.local.at(commit, At::Fails);
        one.connect(network.id, &sandbox).await.unwrap_err();
        assert_eq!(one.local.keys().await, local, "local commit {commit}");
        assert_eq!(global.keys().await, shared, "local commit {commit}");
    }
    global.at(0, At::Fails);
    one.connect(network.id, &sandbox).await.unwrap_err();
    assert_eq!(
        (one.local.keys().await, global.keys().await),
        (local.clone(), shared.clone()),
        "global commit"
    );
    for step in 0.. {
        one.kernel.fail_at(step);
        let result = one.connect(network.id, &sandbox).await;
        if one.kernel.heal() {
            result.unwrap();
            break;
        }
        assert_eq!(one.local.keys().await, local, "step {step}");
        assert_eq!(global.keys().await, shared, "step {step}");
        assert_eq!(
            difference(&kernel, &one.kernel.state()),
            Vec::<String>::new(),
            "step {step}"
        );
    }
}

#[tokio::test]
async fn a_container_whose_leases_are_still_held_starts_again_without_the_store() {
    let cluster = Memory::new();
    let (one, two) = (Host::of(1, &cluster).await, Host::of(2, &cluster).await);
    let network = one
        .network("ol1", "overlay", Some("172.16.2.0/24"))
        .await
        .unwrap();
    let sandbox = one.sandbox("test01").await.unwrap();
    let endpoint = one.connect(network.id, &sandbox).await.unwrap();
    let store = one.global.clone().unwrap();
    store.set_up(false);
    one.sees("that the store is gone", |snapshot| snapshot.stale)
        .await;

    one.controller().sandboxes.delete(sandbox.id).await.unwrap();
    let again = one.sandbox("test01").await.unwrap();
    let revived = one.connect(network.id, &again).await.unwrap();
    assert_eq!(
        (revived.id, &revived.addresses),
        (endpoint.id, &endpoint.addresses)
    );
    assert_eq!(revived.lifecycle, Lifecycle::Active);
    // What needs a new lease has to wait.
    let other = one.sandbox("other").await.unwrap();
    let error = one.connect(network.id, &other).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");

    store.set_up(true);
    two.sees("the new sandbox", |snapshot| {
        let there = snapshot.endpoints.get(&endpoint.id);
        there.is_some_and(|there| there.sandbox == again.id)
    })
    .await;
    one.sees("nothing of what failed", |snapshot| {
        snapshot
            .endpoints
            .values()
            .all(|endpoint| endpoint.lifecycle == Lifecycle::Active)
    })
    .await;
    one.connect(network.id, &other).await.unwrap();
}

#[tokio::test]
async fn what_was_freed_meanwhile_is_claimed_again_or_has_to_go() {
    let cluster = Memory::new();
    let (mut one, two) = (Host::of(1, &cluster).await, Host::of(2, &cluster).await);
    let network = one
        .network("ol1", "overlay", Some("172.16.2.0/24"))
        .await
        .unwrap();
    two.sees("the network", |snapshot| {
        snapshot.networks.contains_key(&network.id)
    })
    .await;
    let (first, second) = (
        one.sandbox("test01").await.unwrap(),
        one.sandbox("test02").await.unwrap(),
    );
    let kept = one.connect(network.id, &first).await.unwrap();
    let lost = one.connect(network.id, &second).await.unwrap();
    two.sees("both", |snapshot| {
        snapshot.endpoints.contains_key(&lost.id) && snapshot.endpoints.contains_key(&kept.id)
    })
    .await;
    one.stop().await;
    two.sees("that it is dead", |snapshot| {
        !snapshot.live_nodes.contains(&kept.node)
    })
    .await;
    for endpoint in [&kept, &lost] {
        two.controller()
            .endpoints
            .disconnect(endpoint.id, false)
            .await
            .unwrap_err();
        two.controller()
            .endpoints
            .disconnect(endpoint.id, true)
            .await
            .unwrap();
    }
    let other = two.sandbox("other").await.unwrap();
    let mut request = Connect::new(network.id, other.id, "other");
    request.ipv4 = lost.addresses.ipv4.map(|net| net.addr());
    two.controller().endpoints.connect(request).await.unwrap();

    one.start().await;
    let snapshot = one.controller().snapshot().borrow().clone();
    assert!(snapshot.endpoints.contains_key(&kept.id) && !snapshot.endpoints.contains_key(&lost.id));
    two.sees("the one that was claimed again", |snapshot| {
        snapshot.endpoints.contains_key(&kept.id)
    })
    .await;
}

#[tokio::test]
async fn a_network_removed_elsewhere_while_a_host_was_down_is_gone_from_its_kernel() {
    let cluster = Memory::new();
    let (mut one, two) = (Host::of(1, &cluster).await, Host::of(2, &cluster).await);
    let network = one
        .network("ol1", "overlay", Some("172.16.2.0/24"))
        .await
        .unwrap();
    two.sees("the network", |snapshot| {
        snapshot.networks.contains_key(&network.id)
    })
    .await;
    let before = one.kernel.state();
    let sandbox = one.sandbox("test01").await.unwrap();
    let endpoint = one.connect(network.id, &sandbox).await.unwrap();
    one.kernel_comes_to("its own namespace", |state| {
        !difference(&before, state).is_empty()
    })
    .await;
    one.stop().await;
    two.sees("that it is dead", |snapshot| {
        !snapshot.live_nodes.contains(&endpoint.node)
    })
    .await;
    // The container ends and its namespace goes while no daemon looks.
    one.kernel.take(&Key::Namespace(sandbox.netns().unwrap().clone()));
    two.controller()
        .endpoints
        .disconnect(endpoint.id, true)
        .await
        .unwrap();
    two.controller().networks.delete("ol1").await.unwrap();
    one.start().await;
    one.sees("no network", |snapshot| {
        !snapshot.networks.contains_key(&network.id)
    })
    .await;
    let left = |state: &KernelState| {
        let gateway_bridge = |text: &String| !text.contains("gwbridge");
        difference(&before, state)
            .into_iter()
            .filter(gateway_bridge)
            .collect::<Vec<_>>()
    };
    one.kernel_comes_to("nothing left", |state| left(state).is_empty())
        .await;
    assert!(
        one.local
            .keys()
            .await
            .iter()
            .all(|key| !key.contains(&endpoint.id.to_string()))
    );
}

#[tokio::test]
async fn a_new_name_is_told_to_every_host() {
    let cluster = Memory::new();
    let (one, two) = (Host::of(1, &cluster).await, Host::of(2, &cluster).await);
    let network = one.network("ol1", "overlay", None).await.unwrap();
    let sandbox = one.sandbox("web").await.unwrap();
    let endpoint = one.connect(network.id, &sandbox).await.unwrap();
    let endpoints = &one.controller().endpoints;
    endpoints.rename(endpoint.id, "shop").await.unwrap();
    two.sees("the new name", |snapshot| {
        let seen = snapshot.endpoints.get(&endpoint.id);
        seen.is_some_and(|seen| seen.name == "shop" && seen.dns_names[0] == "shop")
    })
    .await;
    let store = one.global.clone().unwrap();
    store.set_up(false);
    let down = endpoints.rename(endpoint.id, "market").await.unwrap_err();
    assert!(matches!(down, Error::Unavailable { .. }), "{down}");
    assert_eq!(endpoints.get(endpoint.id).unwrap().name, "shop");
    store.set_up(true);
}
