//! The same of namespaces that somebody else made.

use std::sync::Arc;

use kernel::KernelState;

use super::{
    dies_at_every_commit, fails_cleanly_at_every_commit, fails_cleanly_at_every_step,
    goes_on_after_failing_at_every_step,
};
use crate::{
    Controller,
    tests::{
        foreign::{attach, namespace, put},
        host::Host,
        ports::binding,
    },
};

#[tokio::test]
async fn attaching_fails_cleanly_at_every_step() {
    let host = Host::alone().await;
    host.network("lab", "bridge", Some("10.1.0.0/24")).await.unwrap();
    let path = namespace(&host, "pod");
    // A bridge that a port led to once keeps a setting from then on.
    let mut request = attach("pod", &path, "lab", "eth0");
    request.ports = vec![binding("8080:80")];
    let foreign = &host.controller().foreign;
    foreign.attach(request.clone()).await.unwrap();
    let eth0 = "eth0".parse().unwrap();
    foreign.detach("cni", "pod", &eth0, "lan").await.unwrap();
    let attach = |controller: Arc<Controller>| {
        let request = request.clone();
        async move { controller.foreign.attach(request).await }
    };
    fails_cleanly_at_every_commit(&host, "attach", 4, attach).await;
    fails_cleanly_at_every_step(&host, "attach", attach).await;
}

#[tokio::test]
async fn a_second_attachment_fails_cleanly_at_every_step() {
    let host = Host::alone().await;
    host.network("first", "bridge", Some("10.1.0.0/24"))
        .await
        .unwrap();
    host.network("0-second", "bridge", Some("10.2.0.0/24"))
        .await
        .unwrap();
    let path = namespace(&host, "pod");
    let foreign = &host.controller().foreign;
    foreign
        .attach(attach("pod", &path, "first", "eth0"))
        .await
        .unwrap();
    let request = attach("pod", &path, "0-second", "net1");
    let attach = |controller: Arc<Controller>| {
        let request = request.clone();
        async move { controller.foreign.attach(request).await }
    };
    fails_cleanly_at_every_commit(&host, "attach", 2, attach).await;
    fails_cleanly_at_every_step(&host, "attach", attach).await;
}

#[tokio::test]
async fn detaching_goes_on_after_failing_at_every_step() {
    let mut host = Host::alone().await;
    host.network("lab", "bridge", Some("10.1.0.0/24")).await.unwrap();
    let path = namespace(&host, "pod");
    let request = attach("pod", &path, "lab", "eth0");
    let make = |controller: Arc<Controller>| {
        let request = request.clone();
        async move { drop(controller.foreign.attach(request).await.unwrap()) }
    };
    let remove = |controller: Arc<Controller>, ()| async move {
        let eth0 = "eth0".parse().unwrap();
        controller.foreign.detach("cni", "pod", &eth0, "lan").await
    };
    goes_on_after_failing_at_every_step(&mut host, "detach", make, remove).await;
    let there: KernelState = host.kernel.state();
    assert!(
        there.get(&kernel::Key::Namespace(path)).is_some(),
        "the namespace is not ours to remove"
    );
}

#[tokio::test]
async fn a_daemon_that_dies_while_it_attaches_leaves_all_or_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pod");
    std::fs::write(&path, "pod").unwrap();
    let prepare = async |host: &Host| {
        host.network("lab", "bridge", Some("10.1.0.0/24")).await.unwrap();
        put(host, &path);
    };
    let request = attach("pod", &path, "lab", "eth0");
    let attach = |controller: Arc<Controller>| {
        let request = request.clone();
        async move { drop(controller.foreign.attach(request).await) }
    };
    let whole = async |host: &Host| {
        let all = host.controller().foreign.list();
        all.iter().any(|found| found.endpoints.len() == 1)
    };
    dies_at_every_commit("attach", prepare, attach, whole).await;
}
