//! `GET /containers/ID/json`.

use super::{
    config::Config,
    host_config::{HostConfig, PortBinding},
};
use crate::{
    network::EndpointSettings,
    shape::{Map, shape},
};

/// Published ports by container port; `null` for a port that is exposed only.
pub type PortMap = Map<Option<Vec<PortBinding>>>;

shape! {
    /// Everything about one container.
    ContainerInspect {
        /// Its full id.
        id: String,
        /// When it was made, RFC 3339.
        created: String,
        /// The program of its first process.
        path: String,
        /// That program's arguments; never `null`.
        args: Vec<String>,
        /// How it is.
        state: ContainerState,
        /// The image's id.
        image: String,
        /// Its resolv.conf on the host.
        resolv_conf_path: String,
        /// Its hostname file on the host.
        hostname_path: String,
        /// Its hosts file on the host.
        hosts_path: String,
        /// Its log on the host.
        log_path: String,
        /// Its name with a leading slash.
        name: String,
        /// How often the restart policy started it.
        restart_count: i64,
        /// The storage driver.
        driver: String,
        /// `linux`.
        platform: String,
        /// SELinux label of its mounts.
        mount_label: String,
        /// SELinux label of its processes.
        process_label: String,
        /// AppArmor profile.
        app_armor_profile: String,
        /// Its running execs; `null` for none.
        #[serde(rename = "ExecIDs")]
        exec_ids: Option<Vec<String>>,
        /// What the host gives it.
        host_config: HostConfig,
        /// Where its root file system is.
        graph_driver: GraphDriver,
        /// Bytes written; only when asked for.
        #[serde(skip_serializing_if = "Option::is_none")]
        size_rw: Option<i64>,
        /// Bytes in all; only when asked for.
        #[serde(skip_serializing_if = "Option::is_none")]
        size_root_fs: Option<i64>,
        /// What is mounted in it.
        mounts: Vec<MountPoint>,
        /// What it runs.
        config: Config,
        /// Its networks.
        network_settings: NetworkSettings,
    }
}

shape! {
    /// How a container is.
    ContainerState {
        /// `created`, `running`, `paused`, `restarting`, `removing`, `exited` or `dead`.
        status: String,
        /// It has a first process.
        running: bool,
        /// It is frozen.
        paused: bool,
        /// Its restart policy is about to start it.
        restarting: bool,
        /// The kernel killed a process of it for memory.
        #[serde(rename = "OOMKilled")]
        oom_killed: bool,
        /// Its removal failed half way.
        dead: bool,
        /// Its first process, or 0.
        pid: i64,
        /// The last exit status.
        exit_code: i64,
        /// Why the last start failed.
        error: String,
        /// RFC 3339; year 1 for never.
        started_at: String,
        /// RFC 3339; year 1 for never.
        finished_at: String,
        /// What its health check says; left out without one.
        #[serde(skip_serializing_if = "Option::is_none")]
        health: Option<Health>,
    }
}

shape! {
    /// What a health check says.
    Health {
        /// `starting`, `healthy` or `unhealthy`.
        status: String,
        /// Failures in a row.
        failing_streak: i64,
        /// The last probes, the oldest first.
        log: Vec<HealthProbe>,
    }
}

shape! {
    /// One probe.
    HealthProbe {
        /// RFC 3339.
        start: String,
        /// RFC 3339.
        end: String,
        /// Its exit status; -1 when it was given up.
        exit_code: i64,
        /// What it wrote.
        output: String,
    }
}

shape! {
    /// Where a root file system is.
    GraphDriver {
        /// Folders by role; `null` for none.
        data: Option<Map<String>>,
        /// The storage driver.
        name: String,
    }
}

shape! {
    /// Something mounted in a container.
    MountPoint {
        /// `bind`, `volume`, `tmpfs`.
        r#type: String,
        /// The volume's name.
        #[serde(skip_serializing_if = "String::is_empty")]
        name: String,
        /// Where it is on the host.
        source: String,
        /// Where it appears.
        destination: String,
        /// The volume's driver.
        #[serde(skip_serializing_if = "String::is_empty")]
        driver: String,
        /// Options as typed.
        mode: String,
        /// It can be written.
        #[serde(rename = "RW")]
        rw: bool,
        /// How mounts below it spread.
        propagation: String,
    }
}

shape! {
    /// A container's networks. The fields before `Networks` repeat the default bridge's endpoint.
    NetworkSettings {
        /// Always empty.
        bridge: String,
        /// The sandbox's id.
        #[serde(rename = "SandboxID")]
        sandbox_id: String,
        /// Where its namespace is pinned.
        sandbox_key: String,
        /// Ports; `{}` for none.
        ports: PortMap,
        /// Always false.
        hairpin_mode: bool,
        /// Always empty.
        #[serde(rename = "LinkLocalIPv6Address")]
        link_local_ipv6_address: String,
        /// Always 0.
        #[serde(rename = "LinkLocalIPv6PrefixLen")]
        link_local_ipv6_prefix_len: u32,
        /// Always `null`.
        #[serde(rename = "SecondaryIPAddresses")]
        secondary_ip_addresses: Option<Vec<String>>,
        /// Always `null`.
        #[serde(rename = "SecondaryIPv6Addresses")]
        secondary_ipv6_addresses: Option<Vec<String>>,
        /// Of the default bridge.
        #[serde(rename = "EndpointID")]
        endpoint_id: String,
        /// Of the default bridge.
        gateway: String,
        /// Of the default bridge.
        #[serde(rename = "GlobalIPv6Address")]
        global_ipv6_address: String,
        /// Of the default bridge.
        #[serde(rename = "GlobalIPv6PrefixLen")]
        global_ipv6_prefix_len: u32,
        /// Of the default bridge.
        #[serde(rename = "IPAddress")]
        ip_address: String,
        /// Of the default bridge.
        #[serde(rename = "IPPrefixLen")]
        ip_prefix_len: u32,
        /// Of the default bridge.
        #[serde(rename = "IPv6Gateway")]
        ipv6_gateway: String,
        /// Of the default bridge.
        mac_address: String,
        /// Endpoints by network name.
        networks: Map<EndpointSettings>,
    }
}
