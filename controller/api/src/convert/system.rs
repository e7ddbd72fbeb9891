//! `version` and `info`.

use std::collections::BTreeMap;

use api_types as docker;
use engine::{About, Engine, View, record::Phase};
use model::Timestamp;

/// Facts of this host that only the kernel tells.
struct Host {
    kernel: String,
    architecture: String,
    hostname: String,
    distribution: BTreeMap<String, String>,
    memory: i64,
    processors: i64,
    unified_cgroups: bool,
    swap: bool,
    forwarding: bool,
    bridged: [bool; 2],
    files: i64,
    threads: i64,
}

impl Host {
    fn read() -> Self {
        let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let first = |path: &str| text(path).trim().to_owned();
        Self {
            kernel: first("/proc/sys/kernel/osrelease"),
            architecture: std::env::consts::ARCH.to_owned(),
            hostname: first("/proc/sys/kernel/hostname"),
            distribution: distribution(&text("/etc/os-release")),
            memory: memory(&text("/proc/meminfo")),
            processors: std::thread::available_parallelism()
                .map_or(1, |count| i64::try_from(count.get()).unwrap_or(1)),
            unified_cgroups: exists("/sys/fs/cgroup/cgroup.controllers"),
            swap: exists("/sys/fs/cgroup/cgroup.controllers")
                || exists("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes"),
            forwarding: first("/proc/sys/net/ipv4/ip_forward") == "1",
            bridged: ["iptables", "ip6tables"]
                .map(|rules| first(&format!("/proc/sys/net/bridge/bridge-nf-call-{rules}")) == "1"),
            files: entries("/proc/self/fd"),
            threads: entries("/proc/self/task"),
        }
    }
}

fn exists(path: &str) -> bool {
    std::path::Path::new(path).exists()
}

/// How many there are in a folder.
fn entries(folder: &str) -> i64 {
    std::fs::read_dir(folder).map_or(0, |entries| i64::try_from(entries.count()).unwrap_or(i64::MAX))
}

fn distribution(text: &str) -> BTreeMap<String, String> {
    let pair = |line: &str| {
        let (key, value) = line.split_once('=')?;
        Some((key.to_owned(), value.trim_matches(['"', '\'']).to_owned()))
    };
    text.lines().filter_map(pair).collect()
}

/// Bytes, from the line that gives KiB.
fn memory(meminfo: &str) -> i64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<i64>().ok());
    kib.unwrap_or(0) * 1024
}

/// Go's name of an architecture, which clients compare with images'.
fn go_architecture(rust: &str) -> &str {
    match rust {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn security_options(about: &About) -> Vec<String> {
    let users = about.remapped_users.then(|| "name=userns".to_owned());
    std::iter::once("name=seccomp,profile=builtin".to_owned())
        .chain(users)
        .collect()
}

/// `GET /version`.
pub(crate) fn version(engine: &Engine) -> docker::SystemVersion {
    let (about, host) = (engine.about(), Host::read());
    let architecture = go_architecture(&host.architecture).to_owned();
    let details = [
        ("ApiVersion", docker::API_VERSION.to_owned()),
        ("Arch", architecture.clone()),
        ("BuildTime", about.built.clone()),
        ("Experimental", "false".to_owned()),
        ("GitCommit", about.commit.clone()),
        ("GoVersion", about.compiler.clone()),
        ("KernelVersion", host.kernel.clone()),
        ("MinAPIVersion", docker::MIN_API_VERSION.to_owned()),
        ("Os", "linux".to_owned()),
    ];
    let component = docker::Component {
        name: "Engine".to_owned(),
        version: about.version.clone(),
        details: details
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
    };
    docker::SystemVersion {
        platform: docker::VersionPlatform {
            name: "cnm".to_owned(),
        },
        components: vec![component],
        version: about.version.clone(),
        api_version: docker::API_VERSION.to_owned(),
        min_api_version: docker::MIN_API_VERSION.to_owned(),
        git_commit: about.commit.clone(),
        go_version: about.compiler.clone(),
        os: "linux".to_owned(),
        arch: architecture,
        kernel_version: host.kernel,
        experimental: false,
        build_time: about.built.clone(),
    }
}

/// `GET /info`.
pub(crate) fn info(
    engine: &Engine,
    containers: &[View],
    images: usize,
    volume_drivers: Vec<String>,
) -> docker::Info {
    let (about, host) = (engine.about(), Host::read());
    let count = |holds: &dyn Fn(Phase) -> bool| {
        let phases = containers.iter().map(|view| view.record.state.phase);
        i64::try_from(phases.filter(|phase| holds(*phase)).count()).unwrap_or(i64::MAX)
    };
    let of = |key: &str| host.distribution.get(key).cloned().unwrap_or_default();
    docker::Info {
        id: about.id.clone(),
        containers: count(&|_| true),
        containers_running: count(&|phase| matches!(phase, Phase::Running | Phase::Restarting)),
        containers_paused: count(&|phase| phase == Phase::Paused),
        containers_stopped: count(&|phase| !phase.is_up()),
        images: i64::try_from(images).unwrap_or(i64::MAX),
        driver: "overlay2".to_owned(),
        driver_status: vec![["Backing Filesystem".to_owned(), "overlayfs".to_owned()]],
        plugins: plugins(engine.networks.drivers(), volume_drivers),
        memory_limit: true,
        swap_limit: host.swap,
        cpu_cfs_period: true,
        cpu_cfs_quota: true,
        cpu_shares: true,
        cpu_set: true,
        pids_limit: true,
        ipv4_forwarding: host.forwarding,
        debug: about.debug,
        n_fd: host.files,
        n_goroutines: host.threads,
        bridge_nf_iptables: Some(host.bridged[0]),
        bridge_nf_ip6tables: Some(host.bridged[1]),
        index_server_address: HUB_INDEX.to_owned(),
        registry_config: registries(&about),
        firewall_backend: Some(about.firewall_backend.clone())
            .filter(|driver| !driver.is_empty())
            .map(|driver| docker::FirewallBackend { driver }),
        init_binary: "cnm-shim".to_owned(),
        oom_kill_disable: !host.unified_cgroups,
        system_time: Timestamp::now().to_string(),
        logging_driver: "json-file".to_owned(),
        cgroup_driver: "cgroupfs".to_owned(),
        cgroup_version: if host.unified_cgroups { "2" } else { "1" }.to_owned(),
        n_events_listener: i64::try_from(engine.events.listeners()).unwrap_or(0),
        kernel_version: host.kernel.clone(),
        operating_system: of("PRETTY_NAME"),
        os_version: of("VERSION_ID"),
        os_type: "linux".to_owned(),
        architecture: host.architecture.clone(),
        ncpu: host.processors,
        mem_total: host.memory,
        docker_root_dir: engine.data_root().display().to_string(),
        name: host.hostname.clone(),
        labels: about.labels.clone(),
        server_version: about.version.clone(),
        cluster_store: about.cluster_store.clone(),
        cluster_advertise: about.cluster_advertise.clone(),
        runtimes: runtimes(),
        default_runtime: "cnm-shim".to_owned(),
        swarm: docker::SwarmInfo {
            local_node_state: "inactive".to_owned(),
            ..docker::SwarmInfo::default()
        },
        live_restore_enabled: true,
        security_options: security_options(&about),
        default_address_pools: about
            .default_pools
            .iter()
            .map(|(base, size)| docker::AddressPool {
                base: base.clone(),
                size: (*size).into(),
            })
            .collect(),
        warnings: warnings(engine),
        ..docker::Info::default()
    }
}

/// The one there is.
fn runtimes() -> docker::Map<docker::Runtime> {
    let path = "cnm-shim".to_owned();
    [(path.clone(), docker::Runtime { path })].into()
}

/// Where `docker login` logs in when no registry is named.
const HUB_INDEX: &str = "https://index.docker.io/v1/";
const HUB: &str = "docker.io";

fn registries(about: &About) -> docker::RegistryConfig {
    let (mut subnets, hosts): (Vec<String>, Vec<String>) = about
        .insecure_registries
        .iter()
        .cloned()
        .partition(|text| text.contains('/'));
    subnets.extend(["::1/128", "127.0.0.0/8"].map(str::to_owned));
    let index = |name: &str, mirrors: &[String], secure| docker::RegistryIndex {
        name: name.to_owned(),
        mirrors: mirrors.to_vec(),
        secure,
        official: secure,
    };
    let hub = (HUB.to_owned(), index(HUB, &about.registry_mirrors, true));
    let insecure = hosts.iter().map(|host| (host.clone(), index(host, &[], false)));
    docker::RegistryConfig {
        insecure_registry_cidrs: subnets,
        index_configs: insecure.chain([hub]).collect(),
        mirrors: Some(about.registry_mirrors.clone()).filter(|mirrors| !mirrors.is_empty()),
        ..docker::RegistryConfig::default()
    }
}

/// What the kernel lacks, and whose firewall stands in the way, in the words that Docker's client shows as they are.
fn warnings(engine: &Engine) -> Option<Vec<String>> {
    let missing = engine.missing();
    let missing = missing
        .iter()
        .map(|missing| format!("WARNING: {missing} ({})", missing.remedy()));
    let blocked = engine.blocked();
    let blocked = blocked
        .iter()
        .map(|(by, hint)| format!("WARNING: {by} may drop packets of containers ({hint})"));
    let lines: Vec<_> = missing.chain(blocked).collect();
    (!lines.is_empty()).then_some(lines)
}

fn plugins(drivers: Vec<String>, volumes: Vec<String>) -> docker::Plugins {
    let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    docker::Plugins {
        volume: volumes,
        network: drivers,
        authorization: None,
        log: list(&["journald", "json-file", "local", "syslog"]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_read_from_the_systems_text() {
        assert_eq!(memory("MemTotal:       16000 kB\nMemFree: 1 kB\n"), 16_384_000);
        assert_eq!(
            distribution("ID=debian\nPRETTY_NAME=\"Debian 12\"\n")["PRETTY_NAME"],
            "Debian 12"
        );
        assert_eq!(
            (go_architecture("x86_64"), go_architecture("riscv64")),
            ("amd64", "riscv64")
        );
    }
}
