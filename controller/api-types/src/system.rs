//! The daemon and its host.

use crate::shape::{Map, shape};

shape! {
    /// `GET /version`.
    SystemVersion {
        /// The product.
        platform: VersionPlatform,
        /// Its parts.
        components: Vec<Component>,
        /// The daemon's version.
        version: String,
        /// The newest API version.
        api_version: String,
        /// The oldest API version.
        #[serde(rename = "MinAPIVersion")]
        min_api_version: String,
        /// The commit it was built from.
        git_commit: String,
        /// The compiler's version: clients print it, whatever the language.
        go_version: String,
        /// `linux`.
        os: String,
        /// `amd64` and so on.
        arch: String,
        /// The kernel's release.
        #[serde(skip_serializing_if = "String::is_empty")]
        kernel_version: String,
        /// It has experimental features.
        #[serde(skip_serializing_if = "crate::shape::is_zero")]
        experimental: bool,
        /// When it was built.
        #[serde(skip_serializing_if = "String::is_empty")]
        build_time: String,
    }
}

shape! {
    /// The product's name.
    VersionPlatform {
        /// The name.
        name: String,
    }
}

shape! {
    /// A part of the product.
    Component {
        /// Its name.
        name: String,
        /// Its version.
        version: String,
        /// More about it.
        #[serde(skip_serializing_if = "Map::is_empty")]
        details: Map<String>,
    }
}

shape! {
    /// `GET /info`.
    Info {
        /// The daemon's identity.
        #[serde(rename = "ID")]
        id: String,
        /// Containers in all.
        containers: i64,
        /// Running ones.
        containers_running: i64,
        /// Frozen ones.
        containers_paused: i64,
        /// The others.
        containers_stopped: i64,
        /// Images.
        images: i64,
        /// The storage driver.
        driver: String,
        /// What it says of itself; rows of two.
        driver_status: Vec<[String; 2]>,
        /// What there are plugins for.
        plugins: Plugins,
        /// The memory limit can be set.
        memory_limit: bool,
        /// The swap limit can be set.
        swap_limit: bool,
        /// The scheduling period can be set.
        cpu_cfs_period: bool,
        /// The scheduling quota can be set.
        cpu_cfs_quota: bool,
        /// Processor weights can be set.
        #[serde(rename = "CPUShares")]
        cpu_shares: bool,
        /// Processors can be chosen.
        #[serde(rename = "CPUSet")]
        cpu_set: bool,
        /// Bridged IPv4 packets are shown to iptables; only before API 1.50.
        #[serde(rename = "BridgeNfIptables", skip_serializing_if = "Option::is_none")]
        bridge_nf_iptables: Option<bool>,
        /// Bridged IPv6 packets are shown to ip6tables; only before API 1.50.
        #[serde(rename = "BridgeNfIp6tables", skip_serializing_if = "Option::is_none")]
        bridge_nf_ip6tables: Option<bool>,
        /// Folders with descriptions of devices.
        #[serde(rename = "CDISpecDirs")]
        cdi_spec_dirs: Vec<String>,
        /// The number of processes can be limited.
        pids_limit: bool,
        /// Packets are forwarded between interfaces.
        #[serde(rename = "IPv4Forwarding")]
        ipv4_forwarding: bool,
        /// It logs at debug level.
        debug: bool,
        /// Open files.
        #[serde(rename = "NFd")]
        n_fd: i64,
        /// The kernel's out-of-memory killer can be kept off.
        oom_kill_disable: bool,
        /// Threads.
        n_goroutines: i64,
        /// The time there, RFC 3339.
        system_time: String,
        /// The default log driver.
        logging_driver: String,
        /// `cgroupfs`.
        cgroup_driver: String,
        /// `1` or `2`.
        cgroup_version: String,
        /// Clients that listen to events.
        n_events_listener: i64,
        /// The kernel's release.
        kernel_version: String,
        /// The distribution, for people.
        operating_system: String,
        /// The distribution's version.
        #[serde(rename = "OSVersion")]
        os_version: String,
        /// `linux`.
        #[serde(rename = "OSType")]
        os_type: String,
        /// `x86_64` and so on.
        architecture: String,
        /// The default registry.
        index_server_address: String,
        /// What is known of registries.
        registry_config: RegistryConfig,
        /// Always `null`: resources that a swarm counts.
        generic_resources: Option<Vec<String>>,
        /// What makes the firewall's rules; since API 1.49.
        #[serde(skip_serializing_if = "Option::is_none")]
        firewall_backend: Option<FirewallBackend>,
        /// Processors.
        #[serde(rename = "NCPU")]
        ncpu: i64,
        /// Bytes of memory.
        mem_total: i64,
        /// The data-root.
        docker_root_dir: String,
        /// Proxy settings.
        http_proxy: String,
        /// Proxy settings.
        https_proxy: String,
        /// Proxy settings.
        no_proxy: String,
        /// The host's name.
        name: String,
        /// The daemon's labels.
        labels: Vec<String>,
        /// It has experimental features.
        experimental_build: bool,
        /// The daemon's version.
        server_version: String,
        /// The cluster store, as it was configured.
        #[serde(skip_serializing_if = "String::is_empty")]
        cluster_store: String,
        /// The address this host is reached at by the others.
        #[serde(skip_serializing_if = "String::is_empty")]
        cluster_advertise: String,
        /// OCI runtimes by name.
        runtimes: Map<Runtime>,
        /// The one taken unless another is asked for.
        default_runtime: String,
        /// Swarm, which is never active.
        swarm: SwarmInfo,
        /// Containers go on while the daemon is away.
        live_restore_enabled: bool,
        /// Always empty.
        isolation: String,
        /// The program that `--init` runs.
        init_binary: String,
        /// A part's commit.
        containerd_commit: Commit,
        /// A part's commit.
        runc_commit: Commit,
        /// A part's commit.
        init_commit: Commit,
        /// `name=seccomp,profile=builtin` and so on.
        security_options: Vec<String>,
        /// Pools that networks without a subnet are cut from.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        default_address_pools: Vec<AddressPool>,
        /// What the user should know; `null` for nothing.
        warnings: Option<Vec<String>>,
    }
}

shape! {
    /// What there are plugins for.
    Plugins {
        /// Volume drivers.
        volume: Vec<String>,
        /// Network drivers.
        network: Vec<String>,
        /// Authorization plugins; `null` for none.
        authorization: Option<Vec<String>>,
        /// Log drivers.
        log: Vec<String>,
    }
}

shape! {
    /// An OCI runtime.
    Runtime {
        /// Its program.
        #[serde(rename = "path", skip_serializing_if = "String::is_empty")]
        path: String,
    }
}

shape! {
    /// A part's commit.
    Commit {
        /// What it is.
        #[serde(rename = "ID")]
        id: String,
        /// What it should be.
        #[serde(skip_serializing_if = "String::is_empty")]
        expected: String,
    }
}

shape! {
    /// Swarm, which is never active.
    SwarmInfo {
        /// Empty.
        #[serde(rename = "NodeID")]
        node_id: String,
        /// Empty.
        node_addr: String,
        /// `inactive`.
        local_node_state: String,
        /// False.
        control_available: bool,
        /// Empty.
        error: String,
        /// `null`.
        remote_managers: Option<Vec<String>>,
    }
}

shape! {
    /// What is known of registries of images.
    RegistryConfig {
        /// Subnets whose registries need no certificate.
        #[serde(rename = "InsecureRegistryCIDRs")]
        insecure_registry_cidrs: Vec<String>,
        /// Registries by their names: Docker Hub, and those that were called insecure.
        index_configs: Map<RegistryIndex>,
        /// What has what Docker Hub has; `null` for none.
        mirrors: Option<Vec<String>>,
        /// `null`, and only before version 1.48.
        #[serde(rename = "AllowNondistributableArtifactsCIDRs", skip_serializing_if = "Option::is_none")]
        artifacts_cidrs: Option<serde_json::Value>,
        /// `null`, and only before version 1.48.
        #[serde(rename = "AllowNondistributableArtifactsHostnames", skip_serializing_if = "Option::is_none")]
        artifacts_hostnames: Option<serde_json::Value>,
    }
}

shape! {
    /// A registry.
    RegistryIndex {
        /// Its name.
        name: String,
        /// What has the same as it.
        mirrors: Vec<String>,
        /// It must have a certificate that somebody vouches for.
        secure: bool,
        /// It is Docker Hub.
        official: bool,
    }
}

shape! {
    /// What makes the firewall's rules.
    FirewallBackend {
        /// `nftables` or `iptables`.
        driver: String,
    }
}

shape! {
    /// A pool that networks are cut from.
    AddressPool {
        /// The whole.
        base: String,
        /// Prefix length of one piece.
        size: i64,
    }
}

shape! {
    /// `GET /system/df`. What was not asked for is left out.
    DiskUsage {
        /// Bytes of all layers.
        layers_size: i64,
        /// Images with what they share.
        #[serde(skip_serializing_if = "Option::is_none")]
        images: Option<Vec<crate::ImageSummary>>,
        /// Containers with what they wrote.
        #[serde(skip_serializing_if = "Option::is_none")]
        containers: Option<Vec<crate::ContainerSummary>>,
        /// Volumes with what is in them.
        #[serde(skip_serializing_if = "Option::is_none")]
        volumes: Option<Vec<crate::Volume>>,
        /// Cached steps of builds: none yet.
        #[serde(skip_serializing_if = "Option::is_none")]
        build_cache: Option<Vec<serde_json::Value>>,
        /// Bytes of those; only before API 1.42.
        #[serde(skip_serializing_if = "Option::is_none")]
        builder_size: Option<i64>,
    }
}

shape! {
    /// `POST /build/prune`.
    BuildPruned {
        /// Ids of cached steps removed; `null` for none.
        caches_deleted: Option<Vec<String>>,
        /// Bytes freed.
        space_reclaimed: u64,
    }
}
