//! A whole engine for tests: the real controller and drivers on a fake kernel, stores in memory, an image store in a
//! folder of the test's own, and a shim that never comes up, so that every start fails and must be undone.
//!
//! The tests of the API take this file in too, so it uses only what everybody sees.

use std::{collections::BTreeSet, net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use controller::{Controller, Parts, WithoutNames};
use drivers::{BuiltIn, HostSettings, VXLAN_PORT};
use engine::{
    About, AskedMode, CreateContainer, Engine, EngineParts, Settings,
    record::{LogSettings, NetworkMode, RestartPolicy},
    run::ContainerConfig,
};
use ipam::{DefaultPool, Stored};
use kernel::{FakeKernel, Kernel};
use model::{DnsConfig, Labels, Node, NodeId, Timestamp};
use runtime::{Runtime, RuntimeConfig};
use store::{Store, Stores, memory::Memory};
use tempfile::TempDir;

/// What outlives an engine of a test.
pub(crate) struct Bench {
    pub(crate) kernel: Arc<FakeKernel>,
    pub(crate) store: Memory,
    /// What it shares with other hosts.
    pub(crate) cluster: Option<Memory>,
    pub(crate) folder: TempDir,
    images: Arc<images::Store>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let images = images::Store::open(folder.path().join("images")).expect("an image store");
        Self {
            kernel: Arc::new(FakeKernel::new()),
            store: Memory::new(),
            cluster: None,
            folder,
            images: Arc::new(images),
        }
    }

    /// Starts an engine on what is there; once more is a restart of the daemon.
    pub(crate) async fn start(&self) -> Arc<Engine> {
        let local: Arc<dyn Store> = Arc::new(self.store.clone());
        let runtime = Runtime::new(RuntimeConfig {
            exec_root: self.folder.path().join("run"),
            shim: PathBuf::from("/bin/false"),
            cgroup_parent: "/cnm-test-of-the-engine".to_owned(),
        });
        let parts = EngineParts {
            controller: self.controller(local.clone()).await,
            runtime: runtime.expect("a runtime"),
            images: self.images.clone(),
            store: local,
            data_root: self.data_root(),
            hostname: "host".to_owned(),
            dns: DnsConfig::default(),
            host_gateway: Vec::new(),
            users: None,
            plugins: plugin_proto::Plugins::new(Default::default(), Default::default()),
            about: About {
                version: "0.0.0".to_owned(),
                ..About::default()
            },
        };
        Engine::start(parts).await.expect("an engine")
    }

    pub(crate) fn data_root(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Folders of containers that are there.
    #[allow(dead_code, reason = "the tests of the API look through HTTP only")]
    pub(crate) fn homes(&self) -> usize {
        std::fs::read_dir(self.data_root().join("containers")).map_or(0, Iterator::count)
    }

    async fn controller(&self, local: Arc<dyn Store>) -> Arc<Controller> {
        let kernel: Arc<dyn Kernel> = self.kernel.clone();
        let shared = |memory: &Memory| -> Arc<dyn Store> { Arc::new(memory.clone()) };
        let stores = Stores {
            local,
            global: self.cluster.as_ref().map(shared),
        };
        let node = Node {
            id: NodeId::from_bytes([1; 32]),
            hostname: "host".to_owned(),
            address: IpAddr::from([10, 99, 0, 1]),
            started: Timestamp::ZERO,
        };
        let exec_root = self.folder.path().join("run");
        let host = HostSettings {
            node: node.id,
            address: node.address,
            vxlan_port: VXLAN_PORT,
            exec_root: exec_root.clone(),
            firewall: true,
            ip_forward: true,
        };
        let pools = DefaultPool::built_in(&node.id);
        let parts = Parts {
            ipam_plugins: Arc::default(),
            ipam: Arc::new(Stored::new(stores.clone(), node.id, pools, Arc::new(Vec::new))),
            node,
            stores,
            catalog: Arc::new(BuiltIn::new(&host, &kernel).expect("drivers")),
            kernel,
            names: Arc::new(WithoutNames),
            settings: controller::Settings {
                repair_every: Duration::from_secs(3600),
                ..controller::Settings::new(exec_root)
            },
        };
        Controller::start(parts).await.expect("a controller")
    }
}

/// The archive of a root file system with next to nothing in it.
pub(crate) fn rootfs() -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_mode(0o755);
    header.set_size(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    archive
        .append_data(&mut header, "bin/", std::io::empty())
        .expect("a folder");
    archive.into_inner().expect("an archive")
}

/// Imports a small image under this name.
pub(crate) async fn import(engine: &Engine, name: &str) {
    let import = engine::Import {
        reference: Some(name.parse().expect("a reference")),
        changes: vec![
            "CMD [\"true\"]".to_owned(),
            "ENV A=image".to_owned(),
            "EXPOSE 80".to_owned(),
        ],
        message: String::new(),
        platform: None,
        created: Timestamp::from_unix_nanos(0),
    };
    engine
        .images
        .import(std::io::Cursor::new(rootfs()), import)
        .await
        .expect("an image");
}

/// What `docker create --name NAME busybox` asks.
pub(crate) fn request(name: Option<&str>) -> CreateContainer {
    CreateContainer {
        name: name.map(str::to_owned),
        image: "busybox".to_owned(),
        mode: AskedMode::Bridge,
        networks: Vec::new(),
        links: Vec::new(),
        sources: Vec::new(),
        volumes: Default::default(),
        shares: Default::default(),
        settings: Settings {
            hostname: String::new(),
            domainname: String::new(),
            labels: Labels::new(),
            exposed_ports: BTreeSet::new(),
            ports: Vec::new(),
            publish_all: false,
            unpublished: Vec::new(),
            links: Vec::new(),
            tty: false,
            console_size: None,
            open_stdin: false,
            stdin_once: false,
            stop_signal: String::new(),
            stop_timeout: None,
            network_mode: NetworkMode::Bridge,
            dns: DnsConfig::default(),
            extra_hosts: Vec::new(),
            restart: RestartPolicy::No,
            auto_remove: false,
            log: LogSettings::default(),
            volumes: Vec::new(),
            health: None,
            shell: Vec::new(),
            init: false,
            shares: Default::default(),
            run: ContainerConfig::default(),
            echo: serde_json::Value::Null,
        },
    }
}
