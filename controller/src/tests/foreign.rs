//! Sandboxes in namespaces that somebody else made, and that end when he says so.

use std::path::{Path, PathBuf};

use kernel::{
    KernelState, Key, Netns, Object,
    object::{Link, LinkKind},
};
use model::{InterfaceName, Lifecycle};

use super::host::Host;
use crate::{AttachForeign, Error};

/// Somebody makes a namespace.
pub(super) fn namespace(host: &Host, name: &str) -> PathBuf {
    let path = host.folder.path().join(name);
    std::fs::write(&path, name).unwrap();
    put(host, &path);
    path
}

/// The kernel's part of it.
pub(super) fn put(host: &Host, path: &Path) {
    host.kernel.put(Object::Namespace(path.to_owned()));
    host.kernel.put(Object::Link(Link {
        netns: Netns::Pinned(path.to_owned()),
        name: "lo".parse().unwrap(),
        kind: LinkKind::Existing,
        mac: None,
        mtu: None,
        master: None,
        up: true,
    }));
}

/// He ends it, with all that is in it.
fn end(host: &Host, path: &Path) {
    std::fs::remove_file(path).unwrap();
    let inside = Netns::Pinned(path.to_owned());
    for key in host.kernel.state().keys() {
        let peer = host.kernel.state();
        let leads_there = matches!(peer.get(key), Some(Object::Link(link))
            if matches!(&link.kind, LinkKind::Veth { peer, .. } if peer.netns == inside));
        if key.netns() == inside || leads_there {
            host.kernel.take(key);
        }
    }
}

pub(super) fn attach(key: &str, netns: &Path, network: &str, interface: &str) -> AttachForeign {
    AttachForeign {
        manager: "cni".to_owned(),
        key: key.to_owned(),
        netns: netns.to_owned(),
        group: "lan".to_owned(),
        network: network.to_owned(),
        interface: Some(interface.parse().unwrap()),
        name: key.to_owned(),
        ..AttachForeign::default()
    }
}

fn eth0() -> InterfaceName {
    "eth0".parse().unwrap()
}

fn of(state: &KernelState, path: &Path) -> usize {
    let inside = Netns::Pinned(path.to_owned());
    state.keys().filter(|key| key.netns() == inside).count()
}

async fn lab() -> Host {
    let host = Host::alone().await;
    host.network("lab", "bridge", Some("10.1.0.0/24")).await.unwrap();
    host.network("more", "bridge", Some("10.2.0.0/24")).await.unwrap();
    host
}

#[tokio::test]
async fn a_namespace_of_somebodys_gets_interfaces_and_stays_when_they_go() {
    let host = lab().await;
    let path = namespace(&host, "pod");
    let before = of(&host.kernel.state(), &path);
    let foreign = &host.controller().foreign;
    let made = foreign.attach(attach("pod", &path, "lab", "eth0")).await.unwrap();
    assert_eq!(made.endpoint.interface, Some(eth0()));
    assert_eq!(made.endpoint.addresses.ipv4.unwrap().to_string(), "10.1.0.2/24");
    assert!(made.host_link.is_some());
    assert_eq!(made.routes.len(), 1, "the default route");
    foreign
        .attach(attach("pod", &path, "more", "net1"))
        .await
        .unwrap();
    let twice = foreign.attach(attach("pod", &path, "more", "net1")).await;
    assert!(matches!(twice, Err(Error::Conflict { .. })), "{twice:?}");
    let other = foreign.attach(attach("other", &path, "more", "net2")).await;
    assert!(matches!(other, Err(Error::Conflict { .. })), "{other:?}");

    assert_eq!(foreign.list().len(), 1);
    let found = foreign.find("po").unwrap();
    let seen = foreign.observe(&found).await.unwrap();
    assert_eq!(seen.missing, Vec::<String>::new());
    assert_eq!(seen.links.len(), 2);
    assert!(!foreign.detach("cni", "pod", &eth0(), "other").await.unwrap());
    assert!(foreign.detach("cni", "pod", &eth0(), "lan").await.unwrap());
    assert!(!foreign.detach("cni", "pod", &eth0(), "lan").await.unwrap());
    let net1 = "net1".parse().unwrap();
    assert!(foreign.detach("cni", "pod", &net1, "lan").await.unwrap());
    assert!(foreign.list().is_empty());
    let after = of(&host.kernel.state(), &path);
    assert_eq!(after, before, "nothing of ours is left in it");
}

#[tokio::test]
async fn what_is_no_namespace_of_somebodys_is_refused() {
    let host = lab().await;
    let foreign = &host.controller().foreign;
    let ours = host.sandbox("ours").await.unwrap();
    let pin = ours.netns().unwrap().clone();
    for (path, code) in [
        (Path::new("pod"), "Invalid"),
        (&host.folder.path().join("none"), "NotFound"),
        (&pin, "Invalid"),
    ] {
        let refused = foreign
            .attach(attach("pod", path, "lab", "eth0"))
            .await
            .unwrap_err();
        assert!(format!("{refused:?}").starts_with(code), "{path:?}: {refused:?}");
    }
    let path = namespace(&host, "pod");
    for network in ["none", "host"] {
        let refused = foreign
            .attach(attach("pod", &path, network, "eth0"))
            .await
            .unwrap_err();
        assert!(matches!(refused, Error::Invalid { .. }), "{refused:?}");
    }
    for key in ["", "a/b"] {
        let refused = foreign
            .attach(attach(key, &path, "lab", "eth0"))
            .await
            .unwrap_err();
        assert!(matches!(refused, Error::Invalid { .. }), "{refused:?}");
    }
    assert!(foreign.list().is_empty());
}

#[tokio::test]
async fn a_namespace_that_ended_without_a_word_takes_its_sandbox_along() {
    let mut host = lab().await;
    let path = namespace(&host, "pod");
    let foreign = host.controller().foreign.clone();
    foreign.attach(attach("pod", &path, "lab", "eth0")).await.unwrap();
    foreign
        .attach(attach("pod", &path, "more", "net1"))
        .await
        .unwrap();
    // While the daemon runs, by the next DEL at the latest.
    end(&host, &path);
    assert!(foreign.detach("cni", "pod", &eth0(), "lan").await.unwrap());
    assert!(foreign.list().is_empty(), "with both interfaces");

    // Or by whoever wants what it had: here its name and its address.
    let path = namespace(&host, "pod");
    foreign.attach(attach("pod", &path, "lab", "eth0")).await.unwrap();
    end(&host, &path);
    let next = namespace(&host, "next");
    let mut request = attach("next", &next, "lab", "eth0");
    request.name = "pod".to_owned();
    request.addresses = vec!["10.1.0.2".parse().unwrap()];
    foreign.attach(request).await.unwrap();
    assert_eq!(foreign.list().len(), 1);

    // Or at the daemon's next start.
    host.kill();
    end(&host, &next);
    host.start().await;
    let snapshot = host.controller().snapshot().borrow().clone();
    assert!(snapshot.sandboxes.is_empty());
    assert!(snapshot.endpoints.is_empty());
}

#[tokio::test]
async fn a_path_that_leads_to_another_namespace_is_another_container() {
    let host = lab().await;
    let path = namespace(&host, "pod");
    let foreign = &host.controller().foreign;
    let first = foreign.attach(attach("pod", &path, "lab", "eth0")).await.unwrap();
    // Held open, or the file system may give the number of the file that is gone to the next one.
    let _held = std::fs::File::open(&path).unwrap();
    end(&host, &path);
    let again = namespace(&host, "pod");
    let second = foreign
        .attach(attach("pod", &again, "lab", "eth0"))
        .await
        .unwrap();
    assert_ne!(first.sandbox.id, second.sandbox.id);
    assert_eq!(foreign.list().len(), 1);
}

#[tokio::test]
async fn a_restarted_daemon_takes_it_over() {
    let mut host = lab().await;
    let path = namespace(&host, "pod");
    let foreign = host.controller().foreign.clone();
    foreign.attach(attach("pod", &path, "lab", "eth0")).await.unwrap();
    let before = host.kernel.state();
    drop(foreign);
    host.kill();
    host.kernel.take(&Key::Address(
        Netns::Pinned(path.clone()),
        eth0(),
        "10.1.0.2/24".parse().unwrap(),
    ));
    host.start().await;
    assert_eq!(
        super::host::difference(&before, &host.kernel.state()),
        Vec::<String>::new()
    );
    let found = host.controller().foreign.find("pod").unwrap();
    assert_eq!(found.sandbox.lifecycle, Lifecycle::Active);
}

#[tokio::test]
async fn only_those_who_are_named_stay() {
    let host = lab().await;
    let foreign = &host.controller().foreign;
    for key in ["one", "two", "three"] {
        let path = namespace(&host, key);
        let mut request = attach(key, &path, "lab", "eth0");
        if key == "three" {
            request.group = "other".to_owned();
        }
        foreign.attach(request).await.unwrap();
    }
    let valid = [
        ("one".to_owned(), "eth0".to_owned()),
        ("two".to_owned(), "eth1".to_owned()),
    ];
    let gone = foreign.retain("cni", "lan", &valid).await.unwrap();
    assert_eq!(gone, [("two".to_owned(), eth0())]);
    assert_eq!(foreign.list().len(), 2);
    assert!(foreign.retain("docker", "lan", &[]).await.unwrap().is_empty());
}
