//! One host of a test: a fake kernel, a local store, perhaps a shared one, and the controller on them.

use std::{net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use drivers::{BuiltIn, HostSettings, VXLAN_PORT};
use ipam::{DefaultPool, Stored};
use kernel::{FakeKernel, Kernel, KernelState, traffic::Flow};
use model::{
    ContainerId, DnsConfig, Endpoint, Network, NetworkId, NetworkName, Node, NodeId, Sandbox, SubnetRequest,
    Timestamp,
};
use store::{Store, Stores, memory::Memory};
use tempfile::TempDir;

use super::{plugins::WithPlug, spy::Spy};
use crate::{
    Connect, Controller, CreateNetwork, CreateSandbox, Namespace, Parts, Result, Settings, WithoutNames,
};

pub(super) struct Host {
    pub(super) kernel: Arc<FakeKernel>,
    pub(super) local: Arc<Spy>,
    pub(super) global: Option<Arc<Spy>>,
    pub(super) node: Node,
    pub(super) folder: TempDir,
    pub(super) quarantine: Duration,
    running: Option<Arc<Controller>>,
}

impl Host {
    /// A host that stands alone, its controller started.
    pub(super) async fn alone() -> Self {
        let mut host = Self::new(1, None);
        host.start().await;
        host
    }

    /// The `n`th host of a cluster, its controller started.
    pub(super) async fn of(n: u8, cluster: &Memory) -> Self {
        let mut host = Self::new(n, Some(cluster));
        host.start().await;
        host
    }

    pub(super) fn new(n: u8, cluster: Option<&Memory>) -> Self {
        let node = Node {
            id: NodeId::from_bytes([n; 32]),
            hostname: format!("h{n}"),
            address: IpAddr::from([10, 99, 0, n]),
            started: Timestamp::ZERO,
        };
        Self {
            kernel: Arc::new(FakeKernel::new()),
            local: Arc::new(Spy::over(Memory::new())),
            global: cluster.map(|memory| Arc::new(Spy::over(memory.clone()))),
            node,
            folder: tempfile::tempdir().unwrap(),
            quarantine: Duration::from_secs(3600),
            running: None,
        }
    }

    pub(super) fn settings(&self) -> Settings {
        Settings {
            quarantine: self.quarantine,
            ..Settings::new(self.folder.path().join("run"))
        }
    }

    pub(super) async fn start(&mut self) {
        let settings = self.settings();
        self.start_with(settings).await.unwrap();
    }

    pub(super) async fn start_with(&mut self, settings: Settings) -> Result<()> {
        let kernel: Arc<dyn Kernel> = self.kernel.clone();
        let stores = Stores {
            local: self.local.clone(),
            global: self.global.clone().map(|spy| spy as Arc<dyn Store>),
        };
        let host = HostSettings {
            node: self.node.id,
            address: self.node.address,
            vxlan_port: VXLAN_PORT,
            exec_root: settings.exec_root.clone(),
            firewall: true,
            ip_forward: true,
        };
        let routes = self.kernel.clone();
        let routes = move || {
            let routes = routes.host_routes().unwrap_or_default();
            routes
                .into_iter()
                .map(|(subnet, link)| (subnet, link.to_string()))
                .collect()
        };
        let pools = DefaultPool::built_in(&self.node.id);
        let parts = Parts {
            node: self.node.clone(),
            ipam_plugins: Arc::default(),
            ipam: Arc::new(Stored::new(stores.clone(), self.node.id, pools, Arc::new(routes))),
            stores,
            catalog: Arc::new(WithPlug {
                built_in: BuiltIn::new(&host, &kernel).unwrap(),
                kernel: self.kernel.clone(),
            }),
            kernel,
            names: Arc::new(WithoutNames),
            settings,
        };
        self.running = Some(Controller::start(parts).await?);
        Ok(())
    }

    pub(super) fn controller(&self) -> &Arc<Controller> {
        self.running.as_ref().expect("the test has started it")
    }

    /// As `kill -9`: nothing is said to anybody.
    pub(super) fn kill(&mut self) {
        self.running = None;
    }

    pub(super) async fn stop(&mut self) {
        if let Some(controller) = self.running.take() {
            controller.stop().await;
        }
    }

    pub(super) async fn network(
        &self,
        name: &str,
        driver: &str,
        subnet: Option<&str>,
    ) -> Result<Arc<Network>> {
        let created = self
            .controller()
            .networks
            .create(create(name, driver, subnet))
            .await?;
        self.controller().networks.find(&created.id.to_string())
    }

    pub(super) async fn sandbox(&self, hostname: &str) -> Result<Arc<Sandbox>> {
        self.controller()
            .sandboxes
            .create(self.sandbox_request(hostname))
            .await
    }

    pub(super) fn sandbox_request(&self, hostname: &str) -> CreateSandbox {
        CreateSandbox {
            container: Some(ContainerId::random()),
            kind: Namespace::New,
            hostname: hostname.to_owned(),
            domainname: String::new(),
            dns: DnsConfig::default(),
            extra_hosts: Vec::new(),
            links: Vec::new(),
            files: self.files(hostname),
            name: hostname.to_owned(),
            ports: Vec::new(),
            ports_network: None,
            exposed: Vec::new(),
        }
    }

    pub(super) fn files(&self, hostname: &str) -> PathBuf {
        self.folder.path().join("files").join(hostname)
    }

    pub(super) async fn connect(&self, network: NetworkId, sandbox: &Sandbox) -> Result<Arc<Endpoint>> {
        self.controller()
            .endpoints
            .connect(Connect::new(network, sandbox.id, sandbox.hostname.clone()))
            .await
    }

    /// Waits until the snapshot shows something.
    pub(super) async fn sees(&self, what: &str, seen: impl Fn(&model::Snapshot) -> bool) {
        let mut snapshots = self.controller().snapshot();
        let waited = tokio::time::timeout(
            Duration::from_secs(10),
            snapshots.wait_for(|snapshot| seen(snapshot)),
        )
        .await;
        assert!(waited.is_ok(), "{} never sees {what}", self.node.hostname);
    }

    /// Waits until these flows are left.
    pub(super) async fn flows_come_to(&self, left: &[Flow]) {
        self.comes("those flows are left", || self.kernel.flows() == left)
            .await;
    }

    /// Waits until something is so.
    pub(super) async fn comes(&self, what: &str, so: impl Fn() -> bool) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        while !so() {
            assert!(tokio::time::Instant::now() < deadline, "never: {what}");
            tokio::task::yield_now().await;
        }
    }

    /// Waits until the kernel is in a state.
    pub(super) async fn kernel_comes_to(&self, what: &str, there: impl Fn(&KernelState) -> bool) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        while !there(&self.kernel.state()) {
            assert!(
                tokio::time::Instant::now() < deadline,
                "{}: the kernel never has {what}",
                self.node.hostname
            );
            tokio::task::yield_now().await;
        }
    }
}

pub(super) fn create(name: &str, driver: &str, subnet: Option<&str>) -> CreateNetwork {
    let mut request = CreateNetwork::named(NetworkName::new(name).unwrap());
    request.driver = Some(model::DriverName::new(driver).unwrap());
    request.ipam.subnets = subnet.map(asked).into_iter().collect();
    request
}

pub(super) fn asked(subnet: &str) -> SubnetRequest {
    SubnetRequest {
        subnet: Some(subnet.parse().unwrap()),
        ip_range: None,
        gateway: None,
        aux_addresses: std::collections::BTreeMap::new(),
    }
}

/// What differs between two states of the kernel, readably.
pub(super) fn difference(before: &KernelState, after: &KernelState) -> Vec<String> {
    let missing = before
        .keys()
        .filter(|key| after.get(key).is_none())
        .map(|key| format!("missing {key}"));
    let new = after
        .objects()
        .filter(|object| before.get(&object.key()) != Some(object));
    missing
        .chain(new.map(|object| format!("left {}", object.key())))
        .collect()
}
