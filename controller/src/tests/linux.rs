//! The same on the real kernel, in a network and a mount namespace of the test's own.

use std::{path::Path, process::Command, sync::Arc};

use drivers::{BuiltIn, HostSettings, VXLAN_PORT};
use ipam::{DefaultPool, Stored};
use kernel::{Kernel, Linux};
use model::{DnsConfig, Node, NodeId, Sandbox, Timestamp};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};
use store::{Stores, memory::Memory};

use super::host::create;
use crate::{Connect, Controller, CreateSandbox, Namespace, Parts, Settings, WithoutNames};

/// Runs a test on a thread whose namespaces are its own, and so are those of every thread it starts. All that is made
/// there ends with it.
pub(super) fn in_namespaces_of_its_own(test: impl AsyncFnOnce() + Send + 'static) {
    let thread = std::thread::spawn(move || {
        if unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).is_err() {
            eprintln!("skipped: needs the privilege to make namespaces");
            return;
        }
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).expect("mounts of the test's own");
        // The test may block while the controller works: its threads are others, in the same namespaces.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(test());
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

pub(super) async fn start(folder: &Path, stores: &Stores) -> Arc<Controller> {
    start_on(Linux::here().unwrap(), folder, stores).await
}

pub(super) async fn start_on(linux: Linux, folder: &Path, stores: &Stores) -> Arc<Controller> {
    let mut settings = Settings::new(folder.join("run"));
    settings.host_files.resolv_conf = vec![folder.join("host-resolv.conf")];
    let node = Node {
        id: NodeId::from_bytes([7; 32]),
        hostname: "h".to_owned(),
        address: "127.0.0.1".parse().unwrap(),
        started: Timestamp::ZERO,
    };
    let kernel: Arc<dyn Kernel> = Arc::new(linux);
    let routes = Arc::clone(&kernel);
    let routes = move || {
        let routes = routes.host_routes().unwrap_or_default();
        routes
            .into_iter()
            .map(|(subnet, link)| (subnet, link.to_string()))
            .collect()
    };
    let host = HostSettings {
        node: node.id,
        address: node.address,
        vxlan_port: VXLAN_PORT,
        exec_root: settings.exec_root.clone(),
        firewall: true,
        ip_forward: true,
    };
    let pools = DefaultPool::built_in(&node.id);
    let parts = Parts {
        ipam_plugins: Arc::default(),
        ipam: Arc::new(Stored::new(stores.clone(), node.id, pools, Arc::new(routes))),
        node,
        stores: stores.clone(),
        catalog: Arc::new(BuiltIn::new(&host, &kernel).unwrap()),
        kernel,
        names: Arc::new(WithoutNames),
        settings,
    };
    Controller::start(parts).await.unwrap()
}

pub(super) async fn sandbox(controller: &Controller, folder: &Path, hostname: &str) -> Arc<Sandbox> {
    let request = CreateSandbox {
        container: None,
        kind: Namespace::New,
        hostname: hostname.to_owned(),
        domainname: String::new(),
        dns: DnsConfig::default(),
        extra_hosts: Vec::new(),
        links: Vec::new(),
        files: folder.join(hostname),
        name: hostname.to_owned(),
        ports: Vec::new(),
        ports_network: None,
        exposed: Vec::new(),
    };
    controller.sandboxes.create(request).await.unwrap()
}

/// Runs a program: whether it succeeded, and what it printed; also what it complained of if it failed. `ip` complains in
/// passing of names in `/run/netns` that other tests are just making or removing.
pub(super) fn run(program: &str, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(program).args(arguments).output().unwrap();
    let text = match output.status.success() {
        true => output.stdout,
        false => [output.stdout, output.stderr].concat(),
    };
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

pub(super) fn inside(sandbox: &Sandbox, command: &[&str]) -> (bool, String) {
    let netns = format!("--net={}", sandbox.netns().unwrap().display());
    run("nsenter", &[&[netns.as_str(), "--"], command].concat())
}

#[test]
fn a_networks_whole_life_on_linux_leaves_nothing() {
    in_namespaces_of_its_own(async || {
        let folder = tempfile::tempdir().unwrap();
        let stores = Stores::alone(Arc::new(Memory::new()));
        let controller = start(folder.path(), &stores).await;
        let links = run("ip", &["-br", "link"]).1;
        assert!(links.contains("cnm0"), "{links}");
        let lab = controller
            .networks
            .create(create("lab", "bridge", Some("10.1.0.0/24")))
            .await
            .unwrap();
        let overlay = controller
            .networks
            .create(create("ol1", "overlay", Some("172.16.2.0/24")))
            .await
            .unwrap();
        let one = sandbox(&controller, folder.path(), "one").await;
        let two = sandbox(&controller, folder.path(), "two").await;
        for sandbox in [&one, &two] {
            for network in [lab.id, overlay.id] {
                let request = Connect::new(network, sandbox.id, sandbox.hostname.clone());
                controller.endpoints.connect(request).await.unwrap();
            }
        }
        for address in ["10.1.0.1", "10.1.0.3", "172.16.2.3", "172.16.2.1"] {
            let (reached, text) = inside(&one, &["ping", "-c1", "-W2", address]);
            assert!(reached, "{address}: {text}\n{}", inside(&one, &["ip", "addr"]).1);
        }
        let routes = inside(&one, &["ip", "route"]).1;
        assert!(routes.contains("default via 10.1.0.1 dev eth0"), "{routes}");
        let rules = inside(&one, &["nft", "list", "ruleset"]).1;
        assert!(rules.contains("udp dport set"), "{rules}");

        // Another process goes on where this one is killed.
        let before = inside(&one, &["ip", "addr"]).1;
        drop(controller);
        let controller = start(folder.path(), &stores).await;
        assert_eq!(inside(&one, &["ip", "addr"]).1, before);
        assert!(inside(&one, &["ping", "-c1", "-W2", "10.1.0.3"]).0);

        for sandbox in [&one, &two] {
            controller.sandboxes.delete(sandbox.id).await.unwrap();
        }
        controller.networks.delete("lab").await.unwrap();
        controller.networks.delete("ol1").await.unwrap();
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
        loop {
            // A bridge's removal goes on for some milliseconds behind its name.
            let now = run("ip", &["-br", "link"]).1;
            let left: Vec<_> = now
                .lines()
                .filter_map(|line| line.split_whitespace().next())
                .collect();
            if left.iter().all(|link| link.starts_with("lo") || *link == "cnm0") {
                break;
            }
            assert!(tokio::time::Instant::now() < deadline, "left: {left:?}");
            tokio::task::yield_now().await;
        }
        let pins = std::fs::read_dir(folder.path().join("run/netns"))
            .unwrap()
            .count();
        assert_eq!(pins, 0);
    });
}
