//! Starting again on what is there: nothing changes, and what is missing comes back.

use kernel::{Key, Netns};

use super::host::{Host, difference};

#[tokio::test]
async fn a_restart_changes_nothing_and_knows_everything() {
    let mut host = Host::alone().await;
    let network = host.network("lab", "bridge", None).await.unwrap();
    let overlay = host.network("ol1", "overlay", None).await.unwrap();
    let sandbox = host.sandbox("web").await.unwrap();
    let endpoint = host.connect(network.id, &sandbox).await.unwrap();
    host.connect(overlay.id, &sandbox).await.unwrap();
    let (kernel, store) = (host.kernel.state(), host.local.everything().await);
    host.kill();
    host.start().await;
    assert_eq!(difference(&kernel, &host.kernel.state()), Vec::<String>::new());
    assert!(host.local.everything().await == store, "no record changed");
    let controller = host.controller();
    assert_eq!(controller.endpoints.get(endpoint.id).unwrap(), endpoint);
    assert_eq!(
        controller.endpoints.gateways(endpoint.id).v4,
        network.pools[0].gateway
    );
    assert_eq!(controller.sandboxes.get(sandbox.id).unwrap(), sandbox);
    // And it can all be taken down by the new process.
    controller.sandboxes.delete(sandbox.id).await.unwrap();
    controller.networks.delete("lab").await.unwrap();
    controller.networks.delete("ol1").await.unwrap();
}

#[tokio::test]
async fn what_the_kernel_lost_comes_back_at_a_restart() {
    let mut host = Host::alone().await;
    let network = host.network("lab", "bridge", None).await.unwrap();
    let sandbox = host.sandbox("web").await.unwrap();
    host.connect(network.id, &sandbox).await.unwrap();
    let before = host.kernel.state();
    host.kill();
    let bridge = format!("br-{}", network.id.short()).parse().unwrap();
    host.kernel.take(&Key::Link(Netns::Host, bridge));
    host.kernel.take(&Key::Link(
        Netns::Pinned(sandbox.netns().unwrap().clone()),
        "eth0".parse().unwrap(),
    ));
    assert!(!difference(&before, &host.kernel.state()).is_empty());
    host.start().await;
    assert_eq!(difference(&before, &host.kernel.state()), Vec::<String>::new());
}

#[tokio::test]
async fn what_the_kernel_lost_comes_back_when_the_reconciler_is_woken() {
    let host = Host::alone().await;
    let network = host.network("lab", "bridge", None).await.unwrap();
    let sandbox = host.sandbox("web").await.unwrap();
    host.connect(network.id, &sandbox).await.unwrap();
    let before = host.kernel.state();
    host.kernel.take(&Key::Link(
        Netns::Pinned(sandbox.netns().unwrap().clone()),
        "eth0".parse().unwrap(),
    ));
    host.controller().wake();
    host.kernel_comes_to("everything again", |state| difference(&before, state).is_empty())
        .await;
}

/// A namespace as the overlay driver makes one, with its tunnel.
fn overlay_home(host: &Host, name: &str) -> std::path::PathBuf {
    let folder = host.settings().exec_root.join("netns");
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    std::fs::write(&path, "").unwrap();
    path
}

#[tokio::test]
async fn the_namespace_of_a_network_whose_record_is_lost_goes_with_its_tunnels() {
    let mut host = Host::alone().await;
    let one = host.network("ol1", "overlay", None).await.unwrap();
    let other = host.network("ol2", "overlay", None).await.unwrap();
    let sandbox = host.sandbox("web").await.unwrap();
    host.connect(one.id, &sandbox).await.unwrap();
    host.connect(other.id, &sandbox).await.unwrap();
    let pins = [&one, &other].map(|network| overlay_home(&host, &format!("ov-{}", network.id.short())));
    overlay_home(&host, "ov-somebody-elses");
    host.kill();
    host.local = std::sync::Arc::new(super::spy::Spy::over(store::memory::Memory::new()));
    host.start().await;
    let namespaces = host.kernel.namespaces();
    assert!(pins.iter().all(|pin| !namespaces.contains(pin)), "{namespaces:?}");
    let left = host.kernel.state();
    let inside = |key: &Key| pins.iter().any(|pin| key.netns() == Netns::Pinned(pin.clone()));
    assert_eq!(left.keys().filter(|key| inside(key)).count(), 0);
}

#[tokio::test]
async fn the_namespace_of_a_network_that_is_known_is_not_swept() {
    let mut host = Host::alone().await;
    let network = host.network("ol1", "overlay", None).await.unwrap();
    let sandbox = host.sandbox("web").await.unwrap();
    host.connect(network.id, &sandbox).await.unwrap();
    let pin = overlay_home(&host, &format!("ov-{}", network.id.short()));
    let before = host.kernel.state();
    host.kill();
    host.start().await;
    assert!(host.kernel.namespaces().contains(&pin));
    assert_eq!(difference(&before, &host.kernel.state()), Vec::<String>::new());
}

#[tokio::test]
async fn after_a_reboot_sandboxes_are_gone_and_networks_are_back() {
    let mut host = Host::alone().await;
    let network = host.network("lab", "bridge", None).await.unwrap();
    let before = host.kernel.state();
    let sandbox = host.sandbox("web").await.unwrap();
    host.connect(network.id, &sandbox).await.unwrap();
    host.kill();
    // A machine that starts again has none of it.
    host.kernel = std::sync::Arc::new(kernel::FakeKernel::new());
    host.start().await;
    assert_eq!(difference(&before, &host.kernel.state()), Vec::<String>::new());
    assert!(host.controller().sandboxes.list().is_empty());
    assert!(host.controller().networks.endpoints(network.id).is_empty());
    let again = host.sandbox("web").await.unwrap();
    let endpoint = host.connect(network.id, &again).await.unwrap();
    assert_eq!(
        endpoint.addresses.ipv4.unwrap().addr().to_string(),
        "172.18.0.2",
        "the old lease is free"
    );
}
