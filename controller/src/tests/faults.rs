//! Every operation, failed at every step of the kernel and at every commit: nothing is left behind.

mod dressed;
mod foreign;
mod ports;

use std::future::Future;

use kernel::KernelState;

use super::{
    host::{Host, difference},
    spy::At,
};
use crate::{Connect, Controller, Error, Result};

/// What a host looks like.
struct State {
    kernel: KernelState,
    store: Vec<(String, Vec<u8>)>,
    generation_free: String,
}

async fn state(host: &Host) -> State {
    let snapshot = host.controller().snapshot().borrow().clone();
    let store = host.local.everything().await;
    State {
        kernel: host.kernel.state(),
        store,
        generation_free: format!(
            "{:?} {:?} {:?}",
            snapshot.networks.keys().collect::<Vec<_>>(),
            snapshot.endpoints.keys().collect::<Vec<_>>(),
            snapshot.sandboxes.keys().collect::<Vec<_>>()
        ),
    }
}

fn assert_same(before: &State, after: &State, what: &str) {
    assert_eq!(
        difference(&before.kernel, &after.kernel),
        Vec::<String>::new(),
        "{what}: kernel"
    );
    let keys = |state: &State| state.store.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>();
    assert_eq!(keys(before), keys(after), "{what}: store");
    assert!(before.store == after.store, "{what}: a record's value");
    assert_eq!(before.generation_free, after.generation_free, "{what}: snapshot");
}

/// Fails `operation` at every step of the kernel, then at every commit, and wants nothing changed each time; lets it
/// succeed in the end. `again` brings the host back to before for a next turn.
async fn fails_cleanly_at_every_step<T, F>(
    host: &Host,
    what: &str,
    operation: impl Fn(std::sync::Arc<Controller>) -> F,
) where
    F: Future<Output = Result<T>>,
{
    let before = state(host).await;
    let mut steps = 0;
    loop {
        host.kernel.fail_at(steps);
        let result = operation(host.controller().clone()).await;
        if host.kernel.heal() {
            // The failure was still to come: there are no more steps.
            result.unwrap_or_else(|error| panic!("{what} fails without reason: {error}"));
            break;
        }
        if let Err(error) = result {
            assert_same(
                &before,
                &state(host).await,
                &format!("{what} failed at step {steps} ({error:?})"),
            );
        } else {
            panic!("{what} succeeds although step {steps} failed");
        }
        steps += 1;
    }
    assert!(steps > 0, "{what} does nothing in the kernel");
}

async fn fails_cleanly_at_every_commit<T, F>(
    host: &Host,
    what: &str,
    commits: usize,
    operation: impl Fn(std::sync::Arc<Controller>) -> F,
) where
    F: Future<Output = Result<T>>,
{
    let before = state(host).await;
    for commit in 0..commits {
        host.local.at(commit, At::Fails);
        let result = operation(host.controller().clone()).await;
        assert!(!host.local.heal(), "{what} has fewer than {commits} commits");
        let Err(error) = result else {
            panic!("{what} succeeds although commit {commit} failed");
        };
        assert_same(
            &before,
            &state(host).await,
            &format!("{what} failed at commit {commit} ({error:?})"),
        );
    }
}

#[tokio::test]
async fn creating_a_network_fails_cleanly_at_every_step() {
    let host = Host::alone().await;
    let create = |controller: std::sync::Arc<Controller>| async move {
        controller
            .networks
            .create(super::host::create("lab", "bridge", Some("10.1.0.0/24")))
            .await
    };
    fails_cleanly_at_every_commit(&host, "create", 2, create).await;
    fails_cleanly_at_every_step(&host, "create", create).await;
}

#[tokio::test]
async fn making_a_sandbox_fails_cleanly_at_every_step() {
    let host = Host::alone().await;
    let request = host.sandbox_request("web");
    let create = |controller: std::sync::Arc<Controller>| {
        let request = request.clone();
        async move { controller.sandboxes.create(request).await }
    };
    fails_cleanly_at_every_commit(&host, "sandbox", 2, create).await;
    fails_cleanly_at_every_step(&host, "sandbox", create).await;
}

#[tokio::test]
async fn connecting_fails_cleanly_at_every_step() {
    let host = Host::alone().await;
    let first = host
        .network("first", "bridge", Some("10.1.0.0/24"))
        .await
        .unwrap();
    let second = host
        .network("0-second", "bridge", Some("10.2.0.0/24"))
        .await
        .unwrap();
    let sandbox = host.sandbox("web").await.unwrap();
    for network in [first.id, second.id] {
        // The second one moves the default route, which has to come back.
        let connect = |controller: std::sync::Arc<Controller>| {
            let request = Connect::new(network, sandbox.id, "web");
            async move { controller.endpoints.connect(request).await }
        };
        fails_cleanly_at_every_commit(&host, "connect", 2, connect).await;
        fails_cleanly_at_every_step(&host, "connect", connect).await;
    }
}

#[tokio::test]
async fn connecting_to_an_overlay_fails_cleanly_at_every_step() {
    let host = Host::alone().await;
    let network = host
        .network("ol1", "overlay", Some("172.16.2.0/24"))
        .await
        .unwrap();
    // The gateway bridge stays once it is made: a first connection makes it.
    let other = host.sandbox("other").await.unwrap();
    host.connect(network.id, &other).await.unwrap();
    host.controller().sandboxes.delete(other.id).await.unwrap();
    let sandbox = host.sandbox("web").await.unwrap();
    let connect = |controller: std::sync::Arc<Controller>| {
        let request = Connect::new(network.id, sandbox.id, "web");
        async move { controller.endpoints.connect(request).await }
    };
    fails_cleanly_at_every_step(&host, "connect", connect).await;
}

/// Asked for again, a removal is finished, unless the reconciler has done so meanwhile.
fn again<T>(what: &str, result: Result<T>) {
    match result {
        Ok(_) | Err(Error::NotFound { .. }) => {}
        Err(error) => panic!("{what} again: {error:?}"),
    }
}

/// The same, unless the reconciler, woken by the failure, is in the middle of a repair: that ends.
async fn assert_comes_to(before: &State, host: &Host, what: &str) {
    let end = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let now = state(host).await;
        let is_same = difference(&before.kernel, &now.kernel).is_empty() && before.store == now.store;
        if is_same || tokio::time::Instant::now() > end {
            return assert_same(before, &now, what);
        }
        tokio::task::yield_now().await;
    }
}

/// A removal that fails has happened in part; asked for again, it is finished and nothing is left.
async fn goes_on_after_failing_at_every_step<T, F, M, N>(
    host: &mut Host,
    what: &str,
    make: impl Fn(std::sync::Arc<Controller>) -> M,
    remove: impl Fn(std::sync::Arc<Controller>, N) -> F,
) where
    F: Future<Output = Result<T>>,
    M: Future<Output = N>,
    N: Clone,
{
    let before = state(host).await;
    let mut step = 0;
    loop {
        let made = make(host.controller().clone()).await;
        host.kernel.fail_at(step);
        let result = remove(host.controller().clone(), made.clone()).await;
        let more = !host.kernel.heal();
        if result.is_err() {
            again(what, remove(host.controller().clone(), made).await);
        }
        assert_comes_to(&before, host, &format!("{what} failed at step {step}")).await;
        if !more {
            break;
        }
        step += 1;
    }
    for commit in 0..2 {
        let made = make(host.controller().clone()).await;
        host.local.at(commit, At::Fails);
        remove(host.controller().clone(), made.clone())
            .await
            .err()
            .expect("a failed commit is told");
        again(what, remove(host.controller().clone(), made).await);
        assert_comes_to(&before, host, &format!("{what} failed at commit {commit}")).await;
    }
    assert!(step > 0, "{what} does nothing in the kernel");
}

#[tokio::test]
async fn deleting_a_network_is_finished_after_failing_at_any_step() {
    let mut host = Host::alone().await;
    goes_on_after_failing_at_every_step(
        &mut host,
        "delete",
        |controller| async move {
            let request = super::host::create("lab", "bridge", Some("10.1.0.0/24"));
            controller.networks.create(request).await.unwrap().id
        },
        |controller, id| async move { controller.networks.delete(&id.to_string()).await },
    )
    .await;
}

#[tokio::test]
async fn disconnecting_is_finished_after_failing_at_any_step() {
    let mut host = Host::alone().await;
    let network = host.network("lab", "bridge", Some("10.1.0.0/24")).await.unwrap();
    let other = host
        .network("other", "bridge", Some("10.2.0.0/24"))
        .await
        .unwrap();
    let sandbox = host.sandbox("web").await.unwrap();
    host.connect(other.id, &sandbox).await.unwrap();
    let (network, sandbox) = (network.id, sandbox.id);
    goes_on_after_failing_at_every_step(
        &mut host,
        "disconnect",
        |controller| async move {
            controller
                .endpoints
                .connect(Connect::new(network, sandbox, "web"))
                .await
                .unwrap()
                .id
        },
        |controller, id| async move { controller.endpoints.disconnect(id, false).await },
    )
    .await;
}

#[tokio::test]
async fn deleting_a_sandbox_is_finished_after_failing_at_any_step() {
    let mut host = Host::alone().await;
    let network = host
        .network("lab", "bridge", Some("10.1.0.0/24"))
        .await
        .unwrap()
        .id;
    let request = host.sandbox_request("web");
    goes_on_after_failing_at_every_step(
        &mut host,
        "delete",
        |controller| {
            let request = request.clone();
            async move {
                let sandbox = controller.sandboxes.create(request).await.unwrap();
                controller
                    .endpoints
                    .connect(Connect::new(network, sandbox.id, "web"))
                    .await
                    .unwrap();
                sandbox.id
            }
        },
        |controller, id| async move { controller.sandboxes.delete(id).await },
    )
    .await;
}

#[tokio::test]
async fn a_forced_disconnect_goes_on_past_a_kernel_that_refuses() {
    let host = Host::alone().await;
    let network = host.network("lab", "bridge", None).await.unwrap();
    let sandbox = host.sandbox("web").await.unwrap();
    let endpoint = host.connect(network.id, &sandbox).await.unwrap();
    host.kernel.fail_from(0);
    host.controller()
        .endpoints
        .disconnect(endpoint.id, true)
        .await
        .unwrap();
    host.kernel.heal();
    assert!(host.controller().endpoints.get(endpoint.id).is_err());
}

/// Lets the process die before and after every commit of an operation, and starts again on what it left.
async fn dies_at_every_commit<F>(
    what: &str,
    prepare: impl AsyncFn(&Host),
    operation: impl Fn(std::sync::Arc<Controller>) -> F,
    whole: impl AsyncFn(&Host) -> bool,
) where
    F: Future<Output = ()>,
{
    for at in [At::DiesBefore, At::DiesAfter] {
        for commit in 0.. {
            let mut host = Host::alone().await;
            prepare(&host).await;
            let before = state(&host).await;
            host.local.at(commit, at);
            let died = tokio::select! {
                () = host.local.death() => true,
                () = operation(host.controller().clone()) => false,
            };
            host.local.heal();
            host.kill();
            host.start().await;
            let told = format!("{what}, {at:?} commit {commit}");
            let after = state(&host).await;
            if !whole(&host).await {
                assert_same(&before, &after, &told);
            }
            // A second start finds nothing to do.
            let steps = host.kernel.state();
            host.kill();
            host.start().await;
            assert_eq!(
                difference(&steps, &host.kernel.state()),
                Vec::<String>::new(),
                "{told}: second start"
            );
            if !died {
                assert!(commit > 0, "{what} commits nothing");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_death_while_creating_a_network_leaves_all_of_it_or_nothing() {
    dies_at_every_commit(
        "create",
        async |_| {},
        |controller| async move {
            let request = super::host::create("lab", "bridge", Some("10.1.0.0/24"));
            controller.networks.create(request).await.unwrap();
        },
        async |host| host.controller().networks.find("lab").is_ok(),
    )
    .await;
}

#[tokio::test]
async fn a_death_while_deleting_a_network_leaves_all_of_it_or_nothing() {
    dies_at_every_commit(
        "delete",
        async |host| {
            host.network("lab", "bridge", Some("10.1.0.0/24")).await.unwrap();
        },
        |controller| async move {
            controller.networks.delete("lab").await.unwrap();
        },
        async |host| {
            // Dead before the first commit it is all there, which is compared; later it is gone.
            host.controller().networks.find("lab").is_err()
        },
    )
    .await;
}

#[tokio::test]
async fn a_death_while_connecting_leaves_all_of_it_or_nothing() {
    dies_at_every_commit(
        "connect",
        async |host| {
            host.network("lab", "bridge", Some("10.1.0.0/24")).await.unwrap();
            host.sandbox("web").await.unwrap();
        },
        |controller| async move {
            let network = controller.networks.find("lab").unwrap().id;
            let sandbox = controller.sandboxes.list()[0].id;
            controller
                .endpoints
                .connect(Connect::new(network, sandbox, "web"))
                .await
                .unwrap();
        },
        async |host| {
            let network = host.controller().networks.find("lab").unwrap().id;
            !host.controller().networks.endpoints(network).is_empty()
        },
    )
    .await;
}

#[tokio::test]
async fn a_death_while_deleting_a_sandbox_leaves_nothing_of_it() {
    dies_at_every_commit(
        "delete",
        async |host| {
            let network = host.network("lab", "bridge", Some("10.1.0.0/24")).await.unwrap();
            let sandbox = host.sandbox("web").await.unwrap();
            host.connect(network.id, &sandbox).await.unwrap();
        },
        |controller| async move {
            let sandbox = controller.sandboxes.list()[0].id;
            controller.sandboxes.delete(sandbox).await.unwrap();
        },
        async |host| host.controller().sandboxes.list().is_empty(),
    )
    .await;
}

#[tokio::test]
async fn changing_a_network_fails_cleanly_at_every_step() {
    let host = Host::alone().await;
    let network = host.network("lab", "bridge", Some("10.1.0.0/24")).await.unwrap();
    let sandbox = host.sandbox("web").await.unwrap();
    host.connect(network.id, &sandbox).await.unwrap();
    let id = network.id;
    let change = |controller: std::sync::Arc<Controller>| async move {
        let change = crate::NetworkChange {
            name: Some(model::NetworkName::new("store").unwrap()),
            mtu: Some(1400),
            masquerade: Some(false),
            add_subnets: super::host::create("x", "bridge", Some("10.2.0.0/24"))
                .ipam
                .subnets,
            ..crate::NetworkChange::default()
        };
        controller.networks.update(&id.to_string(), change, false).await
    };
    fails_cleanly_at_every_commit(&host, "change", 1, change).await;
    fails_cleanly_at_every_step(&host, "change", change).await;
}
