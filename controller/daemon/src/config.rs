//! File and flags become one typed configuration, or one clear refusal.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use model::{Exposure, InterfaceName, IpNet, Subnet};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    arguments::Arguments,
    options::{by_key, nearest_key},
};

mod bridge;
mod docker;
mod reloadable;
mod tcp;

pub use bridge::{AddressPool, Bridge};
pub use docker::DockerPlugin;
pub use reloadable::{KEYS as RELOADABLE, Reloadable};
pub use tcp::Tcp;

/// By which name the daemon was called: paths and the default bridge's device follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persona {
    /// `cnmd`.
    Cnmd,
    /// `dockerd`: its socket and file, our data.
    Dockerd,
}

impl Persona {
    /// From `argv[0]`.
    pub fn of(program: &str) -> Self {
        match Path::new(program).file_name().and_then(|name| name.to_str()) {
            Some("dockerd") => Self::Dockerd,
            _ => Self::Cnmd,
        }
    }

    /// The program's name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cnmd => "cnmd",
            Self::Dockerd => "dockerd",
        }
    }

    const fn config_file(self) -> &'static str {
        match self {
            Self::Cnmd => "/etc/cnm/daemon.json",
            Self::Dockerd => "/etc/docker/daemon.json",
        }
    }

    const fn socket(self) -> &'static str {
        match self {
            Self::Cnmd => "/run/cnm/cnm.sock",
            Self::Dockerd => "/run/docker.sock",
        }
    }

    const fn group(self) -> &'static str {
        match self {
            Self::Cnmd => "cnm",
            Self::Dockerd => "docker",
        }
    }

    /// Device of the default bridge.
    pub const fn bridge(self) -> &'static str {
        match self {
            Self::Cnmd => "cnm0",
            Self::Dockerd => "docker0",
        }
    }
}

/// Why the daemon does not start with this configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("reading {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not one JSON object.
    #[error("{}: {source}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where.
        source: serde_json::Error,
    },
    /// A key that nobody knows.
    #[error("{}: unknown key {key:?}{}", path.display(), meant(*nearest))]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// What was perhaps meant.
        nearest: Option<&'static str>,
    },
    /// Given in both places.
    #[error("{} is given both as a flag and in {}: take one of them out", keys.join(", "), path.display())]
    Twice {
        /// The file.
        path: PathBuf,
        /// The keys.
        keys: Vec<String>,
    },
    /// A value that can't be.
    #[error("{key}: {reason}")]
    BadValue {
        /// The key.
        key: String,
        /// Why.
        reason: String,
    },
}

fn meant(nearest: Option<&'static str>) -> String {
    nearest
        .map(|key| format!(", did you mean {key:?}?"))
        .unwrap_or_default()
}

/// Where the API listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// A socket file.
    Unix(PathBuf),
    /// A TCP port, as `HOST:PORT`.
    Tcp(String),
}

/// What `--cluster-advertise` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Advertise {
    /// An address of this host.
    Address(IpAddr),
    /// The first address of this interface.
    Interface(InterfaceName),
}

/// Everything the daemon is told.
#[derive(Debug, Clone)]
pub struct Config {
    /// The name it was called by.
    pub persona: Persona,
    /// Where the API listens.
    pub listen: Vec<Listen>,
    /// How TCP is listened on.
    pub tcp: Tcp,
    /// Group of the socket.
    pub group: String,
    /// Folder of what survives a reboot.
    pub data_root: PathBuf,
    /// Folder of what does not.
    pub exec_root: PathBuf,
    /// File for the process id.
    pub pidfile: Option<PathBuf>,
    /// Filter of the log.
    pub log_level: String,
    /// Cgroup of containers.
    pub cgroup_parent: String,
    /// Whose subordinate numbers containers' users get; none for the host's own users.
    pub userns_remap: Option<String>,
    /// Folder of the helper programs, if not beside the daemon.
    pub shim_path: Option<PathBuf>,
    /// Docker's plugin protocol is served.
    pub docker: Option<DockerPlugin>,
    /// Labels of this daemon.
    pub labels: Vec<String>,
    /// URL of the store of global networks.
    pub cluster_store: Option<String>,
    /// This host's address for the others.
    pub cluster_advertise: Option<Advertise>,
    /// The default bridge.
    pub bridge: Bridge,
    /// Name service of containers.
    pub dns: Vec<IpAddr>,
    /// Resolver options of containers.
    pub dns_options: Vec<String>,
    /// Search domains of containers.
    pub dns_search: Vec<String>,
    /// Pools of user networks; empty for the built-in ones.
    pub address_pools: Vec<AddressPool>,
    /// Where the metrics are served beside the API's socket.
    pub metrics_addr: Option<SocketAddr>,
    /// Where ports are published unless an address is given with them; none for every address of the host.
    pub host_ip: Option<IpAddr>,
    /// The host's forwarding is switched on where it is off.
    pub ip_forward: bool,
    /// Firewall rules are made on the host.
    pub firewall: bool,
    /// Whose rules published ports obey where neither they nor their network say so.
    pub exposure: Exposure,
    /// What makes them.
    pub firewall_backend: FirewallBackend,
    /// What `host-gateway` means, at most one address of each family; empty for the default bridge's own.
    pub host_gateways: Vec<IpAddr>,
    /// Options that every new network of a driver starts with, by driver.
    pub network_options: BTreeMap<String, BTreeMap<String, String>>,
    /// Options dockerd has and we don't that were given: warned of, not used.
    pub ignored: Vec<String>,
    /// What can change while the daemon runs.
    pub reloadable: Reloadable,
    /// Every option as it was given.
    pub given: Map<String, Value>,
    /// What was given and does less than its name says, a line each.
    pub warnings: Vec<String>,
}

/// What makes the host's firewall rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirewallBackend {
    /// nf_tables, through netlink.
    Nftables,
    /// Transactions of `iptables-restore`.
    Iptables,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Raw {
    hosts: Vec<String>,
    group: Option<String>,
    tls: Option<bool>,
    tlsverify: Option<bool>,
    tlscacert: Option<PathBuf>,
    tlscert: Option<PathBuf>,
    tlskey: Option<PathBuf>,
    insecure_tcp: Option<bool>,
    data_root: Option<PathBuf>,
    exec_root: Option<PathBuf>,
    pidfile: Option<PathBuf>,
    debug: bool,
    log_level: Option<String>,
    cgroup_parent: Option<String>,
    userns_remap: Option<String>,
    shim_path: Option<PathBuf>,
    docker_plugin: bool,
    docker_socket: Option<String>,
    labels: Vec<String>,
    cluster_store: Option<String>,
    cluster_advertise: Option<String>,
    bridge: Option<String>,
    bip: Option<IpNet>,
    fixed_cidr: Option<Subnet>,
    icc: Option<bool>,
    ip_masq: Option<bool>,
    mtu: Option<u32>,
    bip6: Option<IpNet>,
    fixed_cidr_v6: Option<Subnet>,
    default_gateway: Option<IpAddr>,
    default_gateway_v6: Option<IpAddr>,
    ipv6: Option<bool>,
    ip: Option<IpAddr>,
    ip_forward: Option<bool>,
    iptables: Option<bool>,
    ip6tables: Option<bool>,
    userland_proxy: Option<bool>,
    firewall: Option<String>,
    firewall_backend: Option<String>,
    host_gateway_ips: Vec<IpAddr>,
    default_network_opts: BTreeMap<String, BTreeMap<String, String>>,
    dns: Vec<IpAddr>,
    dns_opts: Vec<String>,
    dns_search: Vec<String>,
    default_address_pools: Vec<AddressPool>,
    metrics_addr: Option<String>,
}

/// Reads the file (a missing one is empty unless it was named) and merges the flags into it.
pub fn load(persona: Persona, arguments: &Arguments) -> Result<Config, ConfigError> {
    let named = arguments.config_file.is_some();
    let path = PathBuf::from(arguments.config_file.as_deref().unwrap_or(persona.config_file()));
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !named => String::new(),
        Err(source) => return Err(ConfigError::Unreadable { path, source }),
    };
    decide(persona, &arguments.options, &path, &text)
}

/// The pure part of [`load`].
pub fn decide(
    persona: Persona,
    flags: &Map<String, Value>,
    path: &Path,
    text: &str,
) -> Result<Config, ConfigError> {
    let file = parse(path, text)?;
    let twice: Vec<String> = flags
        .keys()
        .filter(|key| file.contains_key(*key))
        .cloned()
        .collect();
    if !twice.is_empty() {
        return Err(ConfigError::Twice {
            path: path.to_owned(),
            keys: twice,
        });
    }
    let (ours, theirs): (Map<_, _>, Map<_, _>) = file
        .into_iter()
        .chain(flags.clone())
        .partition(|(key, _)| by_key(key).is_some_and(|row| row.help.is_some()));
    typed(persona, ours, theirs.into_iter().map(|(key, _)| key).collect())
}

fn parse(path: &Path, text: &str) -> Result<Map<String, Value>, ConfigError> {
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    let file: Map<String, Value> = serde_json::from_str(text).map_err(|source| ConfigError::Malformed {
        path: path.to_owned(),
        source,
    })?;
    match file.keys().find(|key| by_key(key).is_none()) {
        Some(key) => Err(ConfigError::UnknownKey {
            path: path.to_owned(),
            key: key.clone(),
            nearest: nearest_key(key),
        }),
        None => Ok(file),
    }
}

/// Deserializes key by key, so that a bad value is told with its key.
fn raw(options: Map<String, Value>) -> Result<Raw, ConfigError> {
    for (key, value) in &options {
        let alone = Map::from_iter([(key.clone(), value.clone())]);
        if let Err(error) = serde_json::from_value::<Raw>(Value::Object(alone)) {
            return Err(ConfigError::BadValue {
                key: key.clone(),
                reason: format!("{error}, not {value}"),
            });
        }
    }
    serde_json::from_value(Value::Object(options)).map_err(|error| ConfigError::BadValue {
        key: "configuration".to_owned(),
        reason: error.to_string(),
    })
}

fn typed(persona: Persona, options: Map<String, Value>, ignored: Vec<String>) -> Result<Config, ConfigError> {
    let (given, reloadable) = (options.clone(), Reloadable::read(&options)?);
    let raw = raw(options)?;
    let hosts = if raw.hosts.is_empty() {
        vec![format!("unix://{}", persona.socket())]
    } else {
        raw.hosts.clone()
    };
    let tcp = Tcp::read(&raw)?;
    Ok(Config {
        persona,
        listen: hosts
            .iter()
            .map(|host| listen(host, &tcp))
            .collect::<Result<_, _>>()?,
        tcp,
        group: raw.group.clone().unwrap_or_else(|| persona.group().to_owned()),
        data_root: absolute("data-root", raw.data_root.clone(), "/var/lib/cnm")?,
        exec_root: absolute("exec-root", raw.exec_root.clone(), "/run/cnm")?,
        pidfile: raw.pidfile.clone(),
        log_level: log_level(raw.debug, raw.log_level.as_deref())?,
        cgroup_parent: raw.cgroup_parent.clone().unwrap_or_else(|| "/cnm".to_owned()),
        userns_remap: raw.userns_remap.clone().filter(|whose| !whose.is_empty()),
        shim_path: raw.shim_path.clone(),
        docker: docker::plugin(persona, &raw)?,
        labels: raw.labels.clone(),
        cluster_store: raw.cluster_store.clone(),
        cluster_advertise: raw.cluster_advertise.as_deref().map(advertise).transpose()?,
        bridge: bridge::bridge(persona, &raw)?,
        host_ip: raw.ip,
        ip_forward: raw.ip_forward.unwrap_or(true),
        firewall: raw.iptables.unwrap_or(true),
        exposure: exposure(raw.firewall.as_deref())?,
        firewall_backend: firewall_backend(raw.firewall_backend.as_deref())?,
        host_gateways: host_gateways(&raw.host_gateway_ips)?,
        network_options: network_options(raw.default_network_opts.clone())?,
        warnings: [warnings(&raw), reloadable.warnings.clone()].concat(),
        reloadable,
        given,
        dns: raw.dns,
        dns_options: raw.dns_opts,
        dns_search: raw.dns_search,
        address_pools: pools(raw.default_address_pools)?,
        metrics_addr: raw.metrics_addr.as_deref().map(metrics_address).transpose()?,
        ignored,
    })
}

fn bad(key: &str, reason: impl Into<String>) -> ConfigError {
    ConfigError::BadValue {
        key: key.to_owned(),
        reason: reason.into(),
    }
}

fn absolute(key: &str, given: Option<PathBuf>, default: &str) -> Result<PathBuf, ConfigError> {
    let path = given.unwrap_or_else(|| PathBuf::from(default));
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(bad(key, format!("{} is not an absolute path", path.display())))
    }
}

fn listen(host: &str, tcp: &Tcp) -> Result<Listen, ConfigError> {
    match host.split_once("://") {
        Some(("unix", path)) if path.starts_with('/') => Ok(Listen::Unix(path.into())),
        Some(("unix", path)) => Err(bad(
            "host",
            format!("unix://{path} is no absolute path: unix:///run/cnm/cnm.sock is"),
        )),
        Some(("tcp", address)) => tcp.listen(address),
        _ => Err(bad(
            "host",
            format!("{host:?} is no listener: unix:///PATH and tcp://HOST:PORT are"),
        )),
    }
}

/// `ADDRESS:PORT`, `[V6]:PORT`, `localhost:PORT`, or `:PORT` for this host alone: dockerd would listen to everybody.
fn metrics_address(text: &str) -> Result<SocketAddr, ConfigError> {
    let local = text
        .strip_prefix("localhost:")
        .or_else(|| text.strip_prefix(':'))
        .map(|port| format!("127.0.0.1:{port}"));
    local.as_deref().unwrap_or(text).parse().map_err(|_| {
        bad(
            "metrics-addr",
            format!("{text:?} is no ADDRESS:PORT, such as 127.0.0.1:9323"),
        )
    })
}

fn log_level(debug: bool, level: Option<&str>) -> Result<String, ConfigError> {
    match level {
        _ if debug => Ok("debug".to_owned()),
        None => Ok("info".to_owned()),
        Some("fatal" | "panic") => Ok("error".to_owned()),
        Some(level @ ("trace" | "debug" | "info" | "warn" | "error")) => Ok(level.to_owned()),
        Some(other) => Err(bad(
            "log-level",
            format!("{other:?} is none of debug, info, warn, error, fatal"),
        )),
    }
}

/// `ADDRESS`, `ADDRESS:PORT`, `[V6]:PORT`, `INTERFACE` or `INTERFACE:PORT`. The port was serf's and is not used.
fn advertise(text: &str) -> Result<Advertise, ConfigError> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(Advertise::Address(address));
    }
    if let Ok(socket) = text.parse::<SocketAddr>() {
        return Ok(Advertise::Address(socket.ip()));
    }
    let name = text.rsplit_once(':').map_or(text, |(name, _)| name);
    let reason = || {
        bad(
            "cluster-advertise",
            format!("{text:?} is neither ADDRESS[:PORT] nor INTERFACE[:PORT]"),
        )
    };
    InterfaceName::new(name)
        .map(Advertise::Interface)
        .map_err(|_| reason())
}

fn exposure(text: Option<&str>) -> Result<Exposure, ConfigError> {
    match text {
        None => Ok(Exposure::default()),
        Some("open") => Ok(Exposure::Open),
        Some("host") => Ok(Exposure::Host),
        Some(other) => Err(bad(
            "firewall",
            format!("{other:?} is neither \"open\" nor \"host\""),
        )),
    }
}

fn firewall_backend(text: Option<&str>) -> Result<FirewallBackend, ConfigError> {
    match text {
        None | Some("" | "nftables") => Ok(FirewallBackend::Nftables),
        Some("iptables") => Ok(FirewallBackend::Iptables),
        Some(other) => Err(bad(
            "firewall-backend",
            format!("{other:?} is neither \"nftables\" nor \"iptables\""),
        )),
    }
}

/// One address of each family at most: a name has no more.
fn host_gateways(addresses: &[IpAddr]) -> Result<Vec<IpAddr>, ConfigError> {
    let count = |v4: bool| addresses.iter().filter(|address| address.is_ipv4() == v4).count();
    match count(true) > 1 || count(false) > 1 {
        true => Err(bad(
            "host-gateway-ips",
            "at most one IPv4 and one IPv6 address are wanted",
        )),
        false => Ok(addresses.to_vec()),
    }
}

type NetworkOptions = BTreeMap<String, BTreeMap<String, String>>;

/// Keys are checked by their driver when a network is made; that the driver is one of ours is checked here.
fn network_options(options: NetworkOptions) -> Result<NetworkOptions, ConfigError> {
    const DRIVERS: [&str; 6] = ["bridge", "overlay", "macvlan", "ipvlan", "host", "null"];
    match options.keys().find(|driver| !DRIVERS.contains(&driver.as_str())) {
        Some(driver) => Err(bad(
            "default-network-opts",
            format!("no driver is named {driver:?}: {} are", DRIVERS.join(", ")),
        )),
        None => Ok(options),
    }
}

/// Pure: what was given and means less here than in dockerd, or nothing without something else.
fn warnings(raw: &Raw) -> Vec<String> {
    let ipv6 = raw.ipv6.unwrap_or(false);
    let without_ipv6 = "has no effect without ipv6";
    let none = raw.bridge.as_deref() == Some("none");
    let rows: [(bool, String); 7] = [
        (
            raw.userland_proxy == Some(false),
            "userland-proxy=false: cnm has no proxy process for each port; the relay for [::1] and across families stays"
                .to_owned(),
        ),
        (
            raw.ip6tables.is_some() && raw.ip6tables != Some(raw.iptables.unwrap_or(true)),
            "ip6tables: rules of both families are made together and follow iptables".to_owned(),
        ),
        (raw.bip6.is_some() && !ipv6, format!("bip6 {without_ipv6}")),
        (raw.fixed_cidr_v6.is_some() && !ipv6, format!("fixed-cidr-v6 {without_ipv6}")),
        (
            raw.default_gateway_v6.is_some() && !ipv6,
            format!("default-gateway-v6 {without_ipv6}"),
        ),
        (
            raw.iptables == Some(false),
            "iptables=false: nothing is published, masqueraded or isolated on this host unless you do it".to_owned(),
        ),
        (
            none && (raw.ipv6.is_some() || raw.icc.is_some() || raw.mtu.is_some()),
            "bridge=none: there is no default bridge for the options of it".to_owned(),
        ),
    ];
    rows.into_iter()
        .filter_map(|(applies, text)| applies.then_some(text))
        .collect()
}

fn pools(pools: Vec<AddressPool>) -> Result<Vec<AddressPool>, ConfigError> {
    for (at, pool) in pools.iter().enumerate() {
        let longest = pool.base.max_prefix_len() - 2;
        if !(pool.base.prefix_len()..=longest).contains(&pool.size) {
            let reason = format!(
                "size {} does not cut {}: {} to {longest} do",
                pool.size,
                pool.base,
                pool.base.prefix_len()
            );
            return Err(bad("default-address-pools", reason));
        }
        if let Some(other) = pools[..at].iter().find(|other| other.base.overlaps(pool.base)) {
            return Err(bad(
                "default-address-pools",
                format!("{} overlaps {}", pool.base, other.base),
            ));
        }
    }
    Ok(pools)
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
