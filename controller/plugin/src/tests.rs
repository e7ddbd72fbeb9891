//! Networks of Docker's on a fake kernel: what a crash or a store that fails in the middle leaves, and that it goes.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use controller::{Controller, Settings, WithoutNames};
use drivers::{BuiltIn, HostSettings, VXLAN_PORT};
use ipam::{DefaultPool, Stored};
use kernel::{FakeKernel, Kernel};
use model::{NetworkId, Node, NodeId, Timestamp};
use plugin_proto::network_driver::{CreateNetwork, DeleteNetwork};
use serde_json::json;
use store::{Entry, Key, LeaseId, Listing, Revision, Store, Stores, Txn, Watch, memory::Memory};
use tempfile::TempDir;
use tokio::sync::Notify;

use crate::{Shared, docker::Docker, drafts::Drafts, leftovers, networks, records, wanted::Wanted};

/// A store that answers so many commits and then no other until it is healed, as after the end of its process.
#[derive(Debug)]
struct Mortal {
    inner: Memory,
    left: Arc<AtomicUsize>,
    failed: Arc<AtomicBool>,
}

#[async_trait]
impl Store for Mortal {
    async fn get(&self, key: &Key) -> store::Result<Option<Entry>> {
        self.inner.get(key).await
    }

    async fn list(&self, prefix: &Key) -> store::Result<Listing> {
        self.inner.list(prefix).await
    }

    async fn commit(&self, txn: Txn) -> store::Result<Revision> {
        let less = |left: usize| left.checked_sub(1);
        match self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less) {
            Ok(_) => self.inner.commit(txn).await,
            Err(_) => {
                self.failed.store(true, Ordering::SeqCst);
                Err(store::Error::Broken {
                    store: "mortal",
                    message: "asked to fail".to_owned(),
                })
            }
        }
    }

    async fn watch(&self, prefix: &Key) -> store::Result<Box<dyn Watch>> {
        self.inner.watch(prefix).await
    }

    async fn grant(&self, ttl: Duration) -> store::Result<LeaseId> {
        self.inner.grant(ttl).await
    }

    async fn renew(&self, lease: &LeaseId) -> store::Result<()> {
        self.inner.renew(lease).await
    }

    async fn revoke(&self, lease: &LeaseId) -> store::Result<()> {
        self.inner.revoke(lease).await
    }
}

/// A host whose daemon may die and start again.
struct World {
    kernel: Arc<FakeKernel>,
    memory: Memory,
    left: Arc<AtomicUsize>,
    failed: Arc<AtomicBool>,
    node: Node,
    folder: TempDir,
}

impl World {
    fn new() -> Self {
        Self {
            kernel: Arc::new(FakeKernel::new()),
            memory: Memory::new(),
            left: Arc::new(AtomicUsize::new(usize::MAX)),
            failed: Arc::default(),
            node: Node {
                id: NodeId::from_bytes([1; 32]),
                hostname: "h1".to_owned(),
                address: IpAddr::from([10, 99, 0, 1]),
                started: Timestamp::ZERO,
            },
            folder: tempfile::tempdir().unwrap(),
        }
    }

    async fn start(&self) -> Shared {
        self.left.store(usize::MAX, Ordering::SeqCst);
        let settings = Settings::new(self.folder.path().join("run"));
        let kernel: Arc<dyn Kernel> = self.kernel.clone();
        let stores = Stores::alone(Arc::new(Mortal {
            inner: self.memory.clone(),
            left: Arc::clone(&self.left),
            failed: Arc::clone(&self.failed),
        }));
        let host = HostSettings {
            node: self.node.id,
            address: self.node.address,
            vxlan_port: VXLAN_PORT,
            exec_root: settings.exec_root.clone(),
            firewall: true,
            ip_forward: true,
        };
        let pools = DefaultPool::built_in(&self.node.id);
        let parts = controller::Parts {
            node: self.node.clone(),
            ipam_plugins: Arc::default(),
            ipam: Arc::new(Stored::new(
                stores.clone(),
                self.node.id,
                pools,
                Arc::new(Vec::new),
            )),
            stores: stores.clone(),
            catalog: Arc::new(BuiltIn::new(&host, &kernel).unwrap()),
            kernel,
            names: Arc::new(WithoutNames),
            settings,
        };
        Shared {
            controller: Controller::start(parts).await.unwrap(),
            stores,
            node: self.node.id,
            docker: Docker::at(self.folder.path().join("none")),
            drafts: Drafts::default(),
            joined: Notify::new(),
            called: Notify::new(),
            binding: tokio::sync::Mutex::default(),
        }
    }

    /// From here on so many commits are carried out.
    fn dies_after(&self, commits: usize) {
        self.failed.store(false, Ordering::SeqCst);
        self.left.store(commits, Ordering::SeqCst);
    }

    /// No commit fails any more. Answers whether one did.
    fn heal(&self) -> bool {
        self.left.store(usize::MAX, Ordering::SeqCst);
        self.failed.load(Ordering::SeqCst)
    }

    /// All that tells of Docker and of the networks made for it.
    async fn keys(&self) -> Vec<String> {
        let mut keys = Vec::new();
        for root in ["docker", "networks", "network-names", "pools", "leases"] {
            let listed = self.memory.list(&root.parse().unwrap()).await.unwrap();
            keys.extend(listed.entries.iter().map(|entry| entry.key.to_string()));
        }
        keys
    }
}

fn create(docker: NetworkId) -> CreateNetwork {
    let call = json!({
        "NetworkID": docker.to_string(),
        "Options": {"com.docker.network.generic": {"cnm.network": "lan", "cnm.driver": "bridge"}},
        "IPv4Data": [{"AddressSpace": "cnm", "Pool": "10.5.0.0/24", "Gateway": "10.5.0.1/24"}],
        "IPv6Data": []
    });
    serde_json::from_value(call).unwrap()
}

fn delete(docker: NetworkId) -> DeleteNetwork {
    serde_json::from_value(json!({"NetworkID": docker.to_string()})).unwrap()
}

/// A network as Docker asks for it.
pub(crate) fn wanted() -> Wanted {
    Wanted::read(&create(NetworkId::random())).unwrap()
}

fn long_after() -> Timestamp {
    Timestamp::now().plus(Duration::from_secs(60))
}

/// What is looked for in Docker's records and isn't there.
async fn docker_knows_nothing(shared: &Shared) {
    for binding in shared.bindings().await.unwrap() {
        let engine = leftovers::Engine::default();
        leftovers::unknown_to(shared, &binding, &engine, long_after())
            .await
            .unwrap();
    }
    shared.tidy_holds().await.unwrap();
}

#[tokio::test]
async fn a_death_while_a_network_is_made_leaves_nothing_that_stays() {
    let world = World::new();
    let shared = world.start().await;
    let before = world.keys().await;
    drop(shared);
    let mut deaths = 0;
    loop {
        let shared = world.start().await;
        world.dies_after(deaths);
        let made = networks::create(&shared, &create(NetworkId::random())).await;
        drop(shared);
        let died = world.heal();
        // Docker has died, too, or was told that it failed: it knows no such network.
        let shared = world.start().await;
        docker_knows_nothing(&shared).await;
        assert_eq!(world.keys().await, before, "after {deaths} commits");
        if !died {
            made.unwrap();
            break;
        }
        deaths += 1;
    }
    assert!(deaths >= 4, "intent, network, hold and binding: {deaths}");
}

#[tokio::test]
async fn a_removal_that_fails_anywhere_is_finished_when_docker_asks_again() {
    let world = World::new();
    let before = {
        let _shared = world.start().await;
        world.keys().await
    };
    let mut deaths = 0;
    loop {
        let shared = world.start().await;
        let docker = NetworkId::random();
        networks::create(&shared, &create(docker)).await.unwrap();
        world.dies_after(deaths);
        let removed = networks::delete(&shared, &delete(docker)).await;
        drop(shared);
        let died = world.heal();
        assert!(died || removed.is_ok(), "after {deaths} commits: {removed:?}");
        let shared = world.start().await;
        networks::delete(&shared, &delete(docker)).await.unwrap();
        assert_eq!(world.keys().await, before, "after {deaths} commits");
        if !died {
            break;
        }
        deaths += 1;
    }
    assert!(deaths >= 3, "hold, network and binding: {deaths}");
}

#[tokio::test]
async fn a_network_that_is_refused_leaves_what_is_there_as_it_is() {
    let world = World::new();
    let shared = world.start().await;
    let (docker, other) = (NetworkId::random(), NetworkId::random());
    networks::create(&shared, &create(docker)).await.unwrap();
    let before = world.keys().await;
    let mut differs = create(other);
    differs.ipv4_data[0].pool = Some("10.6.0.0/24".to_owned());
    differs.ipv4_data[0].gateway = Some("10.6.0.1/24".to_owned());
    networks::create(&shared, &differs).await.unwrap_err();
    docker_knows_other(&shared, docker).await;
    assert_eq!(world.keys().await, before);
}

async fn docker_knows_other(shared: &Shared, docker: NetworkId) {
    let bindings = shared.bindings().await.unwrap();
    assert_eq!(bindings.len(), 1);
    assert_eq!(bindings[0].docker, docker);
    shared.tidy_holds().await.unwrap();
}

#[tokio::test]
async fn a_hold_of_a_network_that_is_gone_goes_and_others_stay() {
    let world = World::new();
    let shared = world.start().await;
    networks::create(&shared, &create(NetworkId::random()))
        .await
        .unwrap();
    let before = world.keys().await;
    for node in [world.node.id, NodeId::random()] {
        let hold = records::Hold { node };
        let txn = records::holds(NetworkId::from_bytes([7; 32])).put(node, &hold);
        shared.stores.local.commit(txn).await.unwrap();
    }
    shared.tidy_holds().await.unwrap();
    let after = world.keys().await;
    assert_eq!(
        after.len(),
        before.len() + 1,
        "another host's is its own: {after:?}"
    );
}
