//! The same of published ports.

use std::sync::Arc;

use model::{Network, PublishedPorts, Sandbox, SandboxId};

use super::{
    dies_at_every_commit, fails_cleanly_at_every_commit, fails_cleanly_at_every_step,
    goes_on_after_failing_at_every_step,
};
use crate::{
    Connect, Controller,
    tests::{
        host::Host,
        ports::{binding, request},
    },
};

/// A network that a port led to once: its bridge keeps a setting from then on.
async fn used(host: &Host, name: &str, subnet: &str) -> Arc<Network> {
    let network = host.network(name, "bridge", Some(subnet)).await.unwrap();
    let request = request(host, "before", &["8080:80"]);
    let sandbox = host.controller().sandboxes.create(request).await.unwrap();
    host.connect(network.id, &sandbox).await.unwrap();
    host.controller().sandboxes.delete(sandbox.id).await.unwrap();
    network
}

/// A container that is connected.
async fn web(host: &Host) -> Arc<Sandbox> {
    let network = used(host, "lab", "10.1.0.0/24").await;
    let sandbox = host.sandbox("web").await.unwrap();
    host.connect(network.id, &sandbox).await.unwrap();
    sandbox
}

async fn publish(controller: &Controller, id: SandboxId) -> Vec<PublishedPorts> {
    let bindings = vec![binding("8080:80"), binding("53:53/udp")];
    controller.sandboxes.publish(id, bindings).await.unwrap()
}

#[tokio::test]
async fn making_a_sandbox_with_ports_fails_cleanly_at_every_step() {
    let host = Host::alone().await;
    let request = request(&host, "web", &["8080:80", "127.0.0.1::5000"]);
    let create = |controller: Arc<Controller>| {
        let request = request.clone();
        async move { controller.sandboxes.create(request).await }
    };
    fails_cleanly_at_every_commit(&host, "sandbox", 2, create).await;
    fails_cleanly_at_every_step(&host, "sandbox", create).await;
}

#[tokio::test]
async fn connecting_with_ports_fails_cleanly_at_every_step() {
    let host = Host::alone().await;
    let first = used(&host, "first", "10.1.0.0/24").await;
    let second = used(&host, "0-second", "10.2.0.0/24").await;
    let request = request(&host, "web", &["8080:80", "53:53/udp"]);
    let sandbox = host.controller().sandboxes.create(request).await.unwrap();
    for network in [first.id, second.id] {
        // The second one becomes the gateway, so the ports move and have to come back.
        let connect = |controller: Arc<Controller>| {
            let request = Connect::new(network, sandbox.id, "web");
            async move { controller.endpoints.connect(request).await }
        };
        fails_cleanly_at_every_commit(&host, "connect", 2, connect).await;
        fails_cleanly_at_every_step(&host, "connect", connect).await;
    }
}

#[tokio::test]
async fn disconnecting_the_gateway_of_ports_is_finished_after_failing_at_any_step() {
    let mut host = Host::alone().await;
    let stays = used(&host, "stays", "10.1.0.0/24").await;
    let goes = used(&host, "0-goes", "10.2.0.0/24").await.id;
    let request = request(&host, "web", &["8080:80"]);
    let sandbox = host.controller().sandboxes.create(request).await.unwrap();
    host.connect(stays.id, &sandbox).await.unwrap();
    let sandbox = sandbox.id;
    goes_on_after_failing_at_every_step(
        &mut host,
        "disconnect",
        |controller| async move {
            let request = Connect::new(goes, sandbox, "web");
            controller.endpoints.connect(request).await.unwrap().id
        },
        |controller, id| async move { controller.endpoints.disconnect(id, false).await },
    )
    .await;
}

#[tokio::test]
async fn publishing_fails_cleanly_at_every_step() {
    let host = Host::alone().await;
    let id = web(&host).await.id;
    let publish = |controller: Arc<Controller>| async move {
        let bindings = vec![binding("8080:80"), binding("53:53/udp")];
        controller.sandboxes.publish(id, bindings).await
    };
    fails_cleanly_at_every_commit(&host, "publish", 1, publish).await;
    fails_cleanly_at_every_step(&host, "publish", publish).await;
}

#[tokio::test]
async fn giving_ports_back_is_finished_after_failing_at_any_step() {
    let mut host = Host::alone().await;
    let id = web(&host).await.id;
    goes_on_after_failing_at_every_step(
        &mut host,
        "unpublish",
        |controller| async move { publish(&controller, id).await },
        |controller, ports| async move { controller.sandboxes.unpublish(id, &ports).await },
    )
    .await;
}

#[tokio::test]
async fn a_death_while_making_a_sandbox_with_ports_leaves_all_of_it_or_nothing() {
    dies_at_every_commit(
        "sandbox",
        async |host| {
            used(host, "lab", "10.1.0.0/24").await;
        },
        |controller| async move {
            let files = controller.core.settings.exec_root.join("files");
            let request = crate::CreateSandbox {
                container: None,
                kind: crate::Namespace::New,
                hostname: "web".to_owned(),
                domainname: String::new(),
                dns: model::DnsConfig::default(),
                extra_hosts: Vec::new(),
                links: Vec::new(),
                files,
                name: "web".to_owned(),
                ports: vec![binding("8080:80")],
                ports_network: None,
                exposed: Vec::new(),
            };
            let sandbox = controller.sandboxes.create(request).await.unwrap();
            let network = controller.networks.find("lab").unwrap().id;
            let request = Connect::new(network, sandbox.id, "web");
            controller.endpoints.connect(request).await.unwrap();
        },
        async |host| !host.controller().sandboxes.list().is_empty(),
    )
    .await;
}

#[tokio::test]
async fn a_death_while_publishing_leaves_all_of_it_or_nothing() {
    dies_at_every_commit(
        "publish",
        async |host| {
            web(host).await;
        },
        |controller| async move {
            publish(&controller, controller.sandboxes.list()[0].id).await;
        },
        async |host| !host.controller().sandboxes.list()[0].ports.is_empty(),
    )
    .await;
}

#[tokio::test]
async fn a_death_while_giving_ports_back_leaves_all_of_them_or_none() {
    dies_at_every_commit(
        "unpublish",
        async |host| {
            let id = web(host).await.id;
            publish(host.controller(), id).await;
        },
        |controller| async move {
            let sandbox = controller.sandboxes.list()[0].clone();
            controller
                .sandboxes
                .unpublish(sandbox.id, &sandbox.ports)
                .await
                .unwrap();
        },
        async |host| {
            // Nothing of them is left, not even a claim; whole, they are compared.
            let sandbox = host.controller().sandboxes.list()[0].clone();
            let claims = host
                .local
                .keys()
                .await
                .iter()
                .any(|key| key.starts_with("ports/"));
            assert_eq!(claims, !sandbox.ports.is_empty(), "claims and record agree");
            sandbox.ports.is_empty()
        },
    )
    .await;
}
