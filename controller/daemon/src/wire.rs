//! Constructs every part and hands it its dependencies. The order is the order of need, and of nothing else.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use controller::{BridgeSettings, Controller, Parts};
use drivers::{BuiltIn, HostSettings, VXLAN_PORT, remote::WithPlugins};
use engine::{About, Engine, EngineParts};
use ipam::{DefaultPool, HostRoutes};
use kernel::{Kernel, Linux};
use model::{AddressFamily, DnsConfig, Labels, Node, NodeId, Subnet, Timestamp};
use plugin::Plugin;
use plugin_proto::{Limits, Places, Plugins};
use runtime::{Runtime, RuntimeConfig};
use store::{Store, Stores, embedded::Embedded};

use crate::{
    config::{Config, FirewallBackend},
    identity,
    metrics::ThisHost,
    name_service::Names,
    programs::Programs,
    users,
};

/// How long a stopped container finds its address again before others may get it.
const ADDRESSES_KEPT: Duration = Duration::from_secs(3600);

/// The daemon's parts, running.
#[derive(Debug)]
pub struct Daemon {
    /// Containers, images and networks.
    pub engine: Arc<Engine>,
    /// What `/metrics` tells.
    pub metrics: Arc<api::Metrics>,
    /// What Docker's calls are answered by, where it is to be served.
    pub plugin: Option<Plugin>,
    controller: Arc<Controller>,
    names: Arc<Names>,
    runtime: Runtime,
    kernel: Arc<Linux>,
    exec_root: PathBuf,
}

impl Daemon {
    /// Has `info` say what a new reading of the configuration says.
    pub fn tell(&self, config: &Config) {
        let mut about = About::clone(&self.engine.about());
        about.debug = is_debug(config);
        about.labels.clone_from(&config.labels);
        tell_reloadable(&mut about, config);
        self.engine.reload(about);
    }

    /// Lets go of what runs on: watches end, the lease is given up, the name helper and the containers stay.
    pub async fn stop(&self) {
        self.controller.pause().await;
        if let Some(client) = self.names.client() {
            client.stop().await;
        }
        // It stays while a container runs.
        self.runtime.remove_cgroup_parent();
        let running = !self.engine.containers.list(&engine::Query::default()).is_empty();
        users::stop(&self.exec_root, running);
        // Links whose removal was promised; what is left is swept at the next start.
        let kernel = Arc::clone(&self.kernel);
        let settled = tokio::task::spawn_blocking(move || kernel.settle(Duration::from_secs(1)));
        let _ = settled.await;
    }
}

/// Starts everything but the API.
///
/// # Errors
/// When a part can't start: the chain says which, and what to do.
pub async fn start(config: &Config, programs: &Programs) -> anyhow::Result<Daemon> {
    let node = identity::node_id(&config.data_root)?;
    let address = identity::address(config.cluster_advertise.as_ref())?;
    // First: a setting that is refused leaves nothing behind, and nobody started.
    let users = users::start(config)?;
    let local: Arc<dyn Store> = open_store(&config.data_root)?;
    let stores = Stores {
        local: local.clone(),
        global: cluster_store(config)?,
    };
    let kept = stores.clone();
    let linux = Arc::new(linux(config, node)?);
    let kernel: Arc<dyn Kernel> = linux.clone();
    let names = Arc::new(Names::default());
    let plugins = plugins(config);
    let parts = Parts {
        node: this_node(node, address),
        ipam: Arc::new(address_management(config, node, &stores, host_routes(&kernel))?),
        ipam_plugins: Arc::new(ipam::Remotes::new(plugins.clone(), host_routes(&kernel))),
        catalog: Arc::new(WithPlugins::new(
            catalog(config, node, address, &kernel)?,
            plugins.clone(),
        )),
        stores,
        kernel,
        names: names.clone(),
        settings: settings(config)?,
    };
    let controller = Controller::start(parts).await.context("starting the networks")?;
    let served = name_service(config, programs)?;
    names.connect(names::Client::start(served, controller.snapshot()));
    let runtime = Runtime::new(RuntimeConfig {
        exec_root: config.exec_root.clone(),
        shim: programs.find("cnm-shim")?,
        cgroup_parent: config.cgroup_parent.clone(),
    })?;
    let engine = Engine::start(EngineParts {
        controller: controller.clone(),
        runtime: runtime.clone(),
        images: Arc::new(open_images(&config.data_root)?),
        store: local,
        data_root: config.data_root.clone(),
        hostname: identity::hostname(),
        dns: DnsConfig {
            servers: config.dns.clone(),
            search: config.dns_search.clone(),
            options: config.dns_options.clone(),
        },
        host_gateway: config.host_gateways.clone(),
        users,
        plugins,
        about: about(config, node, address),
    });
    let engine = engine.await.context("starting the containers")?;
    let world = ThisHost {
        node,
        kernel: linux.clone(),
        controller: controller.clone(),
        names: names.clone(),
    };
    Ok(Daemon {
        plugin: config.docker.as_ref().map(|docker| {
            Plugin::start(plugin::Parts {
                controller: controller.clone(),
                stores: kept,
                node,
                docker: docker.docker.clone(),
            })
        }),
        metrics: api::Metrics::new(engine.clone(), Arc::new(world)),
        engine,
        controller,
        names,
        runtime,
        kernel: linux,
        exec_root: config.exec_root.clone(),
    })
}

/// The plugins of this host but the one that this daemon is.
fn plugins(config: &Config) -> Arc<Plugins> {
    let own = config.docker.as_ref().map(|_| plugin::NAME);
    Plugins::beside(plugin_places(config), Limits::default(), own)
}

fn name_service(config: &Config, programs: &Programs) -> anyhow::Result<names::Settings> {
    Ok(names::Settings {
        program: programs.find("cnm-names")?,
        exec_root: config.exec_root.clone(),
        host_file: "/etc/resolv.conf".into(),
    })
}

fn open_store(data_root: &Path) -> anyhow::Result<Arc<dyn Store>> {
    let path = data_root.join("records.redb");
    let store = Embedded::open(&path).with_context(|| format!("opening {}", path.display()))?;
    Ok(Arc::new(store))
}

fn open_images(data_root: &Path) -> anyhow::Result<images::Store> {
    let path = data_root.join("images");
    images::Store::open(&path).with_context(|| format!("opening the images in {}", path.display()))
}

fn cluster_store(config: &Config) -> anyhow::Result<Option<Arc<dyn Store>>> {
    let Some(url) = &config.cluster_store else {
        return Ok(None);
    };
    match store::cluster::open(url) {
        Ok(store) => Ok(Some(store)),
        Err(error) => {
            let hint = error.hint().to_owned();
            Err(anyhow::Error::new(error).context(format!("cluster-store: {hint}")))
        }
    }
}

fn this_node(id: NodeId, address: Option<IpAddr>) -> Node {
    let unreachable = IpAddr::from([127, 0, 0, 1]);
    Node {
        id,
        hostname: identity::hostname(),
        address: address.unwrap_or(unreachable),
        started: Timestamp::now(),
    }
}

fn address_management(
    config: &Config,
    node: NodeId,
    stores: &Stores,
    routes: HostRoutes,
) -> anyhow::Result<ipam::Stored> {
    let pools = default_pools(config, node)?;
    Ok(ipam::Stored::new(stores.clone(), node, pools, routes).remembering(ADDRESSES_KEPT))
}

/// The host's routes as address management asks for them.
fn host_routes(kernel: &Arc<dyn Kernel>) -> HostRoutes {
    let kernel = kernel.clone();
    Arc::new(move || match kernel.host_routes() {
        Ok(routes) => routes
            .into_iter()
            .map(|(subnet, link)| (subnet, link.to_string()))
            .collect(),
        Err(error) => {
            tracing::warn!(%error, "reading the host's routes: subnets are not checked against them");
            Vec::new()
        }
    })
}

/// Docker's places, and before them a folder of this daemon's own: there may be several on one kernel.
fn plugin_places(config: &Config) -> Places {
    let mut places = Places::default();
    places.sockets.insert(0, config.exec_root.join("plugins"));
    places
}

/// What the administrator gives replaces the built-in pools of the same family.
fn default_pools(config: &Config, node: NodeId) -> anyhow::Result<Vec<DefaultPool>> {
    let given: Vec<_> = config
        .address_pools
        .iter()
        .map(|pool| DefaultPool::new(pool.base, pool.size))
        .collect::<Result<_, _>>()
        .context("default-address-pools")?;
    let has = |family: AddressFamily| {
        config
            .address_pools
            .iter()
            .any(|pool| pool.base.family() == family)
    };
    let built_in = DefaultPool::built_in(&node)
        .into_iter()
        .filter(|pool| !has(pool.base().family()));
    Ok(given.iter().copied().chain(built_in).collect())
}

fn catalog(
    config: &Config,
    node: NodeId,
    address: Option<IpAddr>,
    kernel: &Arc<dyn Kernel>,
) -> anyhow::Result<BuiltIn> {
    let settings = HostSettings {
        node,
        address: address.unwrap_or(IpAddr::from([127, 0, 0, 1])),
        vxlan_port: VXLAN_PORT,
        exec_root: config.exec_root.clone(),
        firewall: config.firewall,
        ip_forward: config.ip_forward,
    };
    BuiltIn::new(&settings, kernel).context("looking at the host's links")
}

/// The kernel with the firewall backend that is asked for. What the other one made before a change of mind goes.
fn linux(config: &Config, node: NodeId) -> anyhow::Result<Linux> {
    let linux = Linux::here().context("opening netlink sockets")?;
    if !config.firewall {
        return Ok(linux);
    }
    let linux = match config.firewall_backend {
        FirewallBackend::Nftables => linux,
        FirewallBackend::Iptables => linux
            .with_iptables(node)
            .context("firewall-backend iptables: running iptables-restore and ip6tables-restore")?,
    };
    if let Err(error) = linux.remove_other_firewall(node) {
        tracing::warn!(%error, "rules of the other firewall backend could not be removed");
    }
    Ok(linux)
}

fn settings(config: &Config) -> anyhow::Result<controller::Settings> {
    let mut settings = controller::Settings::new(&config.exec_root);
    settings.default_bridge = default_bridge(config)?;
    settings.host_ip = config.host_ip;
    settings.exposure = config.exposure;
    settings.firewall = config.firewall;
    let options = config.network_options.iter();
    settings.default_options = options
        .map(|(driver, options)| (driver.clone(), options.clone()))
        .collect();
    Ok(settings)
}

fn default_bridge(config: &Config) -> anyhow::Result<Option<BridgeSettings>> {
    let bridge = &config.bridge;
    let Some(device) = bridge.device.clone() else {
        return Ok(None);
    };
    let (v4, v6) = match bridge.adopted {
        false => (bridge.address, bridge.address_v6),
        true => {
            let worn = identity::worn(&device)?;
            let first = |v4: bool| worn.iter().copied().find(|net| net.addr().is_ipv4() == v4);
            anyhow::ensure!(
                first(true).is_some() || first(false).is_some(),
                "bridge: {device} has no address, or there is no such link; give it one (ip address add …), or leave \
                 out --bridge"
            );
            (first(true), first(false).filter(|_| bridge.ipv6))
        }
    };
    let usual: Option<Subnet> = "172.17.0.0/16".parse().ok();
    // A range alone says which subnet is meant: the usual one if that holds it, else itself.
    let around = |range: Subnet| match usual {
        Some(usual) if usual.contains(&range.net()) => None,
        _ => Some(range),
    };
    Ok(Some(BridgeSettings {
        preferred_subnet: usual,
        subnet: v4.map(Subnet::around).or_else(|| bridge.range.and_then(around)),
        gateway: v4.map(|address| address.addr()),
        ip_range: bridge.range,
        ipv6: bridge.ipv6,
        subnet_v6: v6.map(Subnet::around).or(bridge.range_v6),
        gateway_v6: v6.map(|address| address.addr()),
        ip_range_v6: bridge.range_v6,
        default_gateways: bridge.gateways.clone(),
        options: bridge_options(config),
        ..BridgeSettings::on(device)
    }))
}

fn bridge_options(config: &Config) -> Labels {
    let bridge = &config.bridge;
    let host_ip = config.host_ip.map_or("0.0.0.0".to_owned(), |ip| ip.to_string());
    let options = [
        ("bridge.default_bridge", Some("true".to_owned())),
        ("bridge.enable_icc", Some(bridge.icc.to_string())),
        ("bridge.enable_ip_masquerade", Some(bridge.masquerade.to_string())),
        ("bridge.host_binding_ipv4", Some(host_ip)),
        ("driver.mtu", bridge.mtu.map(|mtu| mtu.to_string())),
    ];
    let given = options.into_iter().filter_map(|(key, value)| Some((key, value?)));
    given
        .map(|(key, value)| (format!("com.docker.network.{key}"), value))
        .collect()
}

fn is_debug(config: &Config) -> bool {
    config.log_level == "debug"
}

fn tell_reloadable(about: &mut About, config: &Config) {
    let reloadable = &config.reloadable;
    about
        .insecure_registries
        .clone_from(&reloadable.insecure_registries);
    about.registry_mirrors.clone_from(&reloadable.registry_mirrors);
    about.settings.clone_from(&reloadable.told);
}

fn about(config: &Config, node: NodeId, address: Option<IpAddr>) -> About {
    let pools = config
        .address_pools
        .iter()
        .map(|pool| (pool.base.to_string(), pool.size));
    let mut about = About {
        id: node.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        compiler: "rustc 1.95".to_owned(),
        debug: is_debug(config),
        cluster_store: config.cluster_store.clone().unwrap_or_default(),
        cluster_advertise: address
            .filter(|_| config.cluster_store.is_some())
            .map(|a| a.to_string())
            .unwrap_or_default(),
        default_pools: pools.collect(),
        labels: config.labels.clone(),
        remapped_users: config.userns_remap.is_some(),
        firewall_backend: match (config.firewall, config.firewall_backend) {
            (false, _) => String::new(),
            (true, FirewallBackend::Nftables) => "nftables".to_owned(),
            (true, FirewallBackend::Iptables) => "iptables".to_owned(),
        },
        ..About::default()
    };
    tell_reloadable(&mut about, config);
    about
}
