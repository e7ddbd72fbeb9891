//! What a container gets from this host: mounts, networks, limits, capabilities.

use serde::{Deserialize, Serialize};

use crate::shape::{Map, shape};

shape! {
    /// What the host gives a container.
    HostConfig {
        /// `source:destination[:options]`.
        binds: Option<Vec<String>>,
        /// Where the client wrote the id.
        #[serde(rename = "ContainerIDFile")]
        container_id_file: String,
        /// Where output goes.
        log_config: LogConfig,
        /// `bridge`, `default`, `none`, `host`, `container:ID` or a network.
        network_mode: String,
        /// Ports published on the host, by container port as `80/tcp`.
        port_bindings: Option<Map<Option<Vec<PortBinding>>>>,
        /// What happens when it exits.
        restart_policy: RestartPolicy,
        /// Removed when it exits.
        auto_remove: bool,
        /// The driver of volumes made for it.
        volume_driver: String,
        /// Containers whose volumes it shares.
        volumes_from: Option<Vec<String>>,
        /// Height and width of the client's terminal.
        console_size: [u32; 2],
        /// Annotations of the OCI specification.
        #[serde(skip_serializing_if = "Map::is_empty")]
        annotations: Map<String>,
        /// Capabilities beyond the default.
        cap_add: Option<Vec<String>>,
        /// Capabilities taken away.
        cap_drop: Option<Vec<String>>,
        /// `private` or `host`.
        cgroupns_mode: String,
        /// Name servers.
        dns: Option<Vec<String>>,
        /// Resolver options.
        dns_options: Option<Vec<String>>,
        /// Search domains.
        dns_search: Option<Vec<String>>,
        /// `name:address` lines of the hosts file.
        extra_hosts: Option<Vec<String>>,
        /// Further groups of its first process.
        group_add: Option<Vec<String>>,
        /// `private`, `shareable`, `none`, `host` or `container:ID`.
        ipc_mode: String,
        /// Another container's cgroup.
        cgroup: String,
        /// `container:alias` on the default bridge.
        links: Option<Vec<String>>,
        /// The kernel's out-of-memory preference, -1000 to 1000.
        oom_score_adj: i64,
        /// Empty, `host` or `container:ID`.
        pid_mode: String,
        /// Every capability and device.
        privileged: bool,
        /// Publishes every exposed port.
        publish_all_ports: bool,
        /// Its root file system can't be written.
        readonly_rootfs: bool,
        /// `seccomp=…`, `no-new-privileges`, `apparmor=…`.
        security_opt: Option<Vec<String>>,
        /// Options of the storage driver.
        #[serde(skip_serializing_if = "Map::is_empty")]
        storage_opt: Map<String>,
        /// Mount options by path.
        #[serde(skip_serializing_if = "Map::is_empty")]
        tmpfs: Map<String>,
        /// Empty or `host`.
        #[serde(rename = "UTSMode")]
        uts_mode: String,
        /// Empty or `host`.
        userns_mode: String,
        /// Bytes of `/dev/shm`.
        shm_size: i64,
        /// Kernel parameters of its namespaces.
        #[serde(skip_serializing_if = "Map::is_empty")]
        sysctls: Map<String>,
        /// The OCI runtime; empty for the default.
        #[serde(skip_serializing_if = "String::is_empty")]
        runtime: String,
        /// Windows only.
        isolation: String,
        /// Relative weight of processor time.
        cpu_shares: i64,
        /// Bytes of memory; 0 for no limit.
        memory: i64,
        /// Processors, in billionths.
        nano_cpus: i64,
        /// The cgroup its own is made in.
        cgroup_parent: String,
        /// Relative weight of block I/O, 10 to 1000.
        blkio_weight: u16,
        /// The same for one device.
        blkio_weight_device: Option<Vec<BlkioWeightDevice>>,
        /// Bytes a second read from a device.
        blkio_device_read_bps: Option<Vec<ThrottleDevice>>,
        /// Bytes a second written to a device.
        blkio_device_write_bps: Option<Vec<ThrottleDevice>>,
        /// Reads a second from a device.
        #[serde(rename = "BlkioDeviceReadIOps")]
        blkio_device_read_iops: Option<Vec<ThrottleDevice>>,
        /// Writes a second to a device.
        #[serde(rename = "BlkioDeviceWriteIOps")]
        blkio_device_write_iops: Option<Vec<ThrottleDevice>>,
        /// Microseconds of a scheduling period.
        cpu_period: i64,
        /// Microseconds of processor time in a period.
        cpu_quota: i64,
        /// Microseconds of a real-time period.
        cpu_realtime_period: i64,
        /// Microseconds of real-time processor time in a period.
        cpu_realtime_runtime: i64,
        /// Processors it may run on, as `0-2,4`.
        cpuset_cpus: String,
        /// Memory nodes it may use.
        cpuset_mems: String,
        /// Host devices it gets.
        devices: Option<Vec<DeviceMapping>>,
        /// Rules of the device cgroup, as `c 1:3 rwm`.
        device_cgroup_rules: Option<Vec<String>>,
        /// Devices asked of a driver.
        device_requests: Option<Vec<DeviceRequest>>,
        /// Bytes of memory kept for it when memory is short.
        memory_reservation: i64,
        /// Bytes of memory and swap together; -1 for unlimited swap.
        memory_swap: i64,
        /// 0 to 100; `null` for the system's.
        memory_swappiness: Option<i64>,
        /// Whether the kernel spares it when its memory is used up.
        oom_kill_disable: Option<bool>,
        /// Most processes and threads; `null`, 0 or -1 for no limit.
        pids_limit: Option<i64>,
        /// Resource limits.
        ulimits: Option<Vec<Ulimit>>,
        /// Windows only.
        cpu_count: i64,
        /// Windows only.
        cpu_percent: i64,
        /// Windows only.
        #[serde(rename = "IOMaximumIOps")]
        io_maximum_iops: u64,
        /// Windows only.
        #[serde(rename = "IOMaximumBandwidth")]
        io_maximum_bandwidth: u64,
        /// Mounts in the long form.
        #[serde(skip_serializing_if = "Option::is_none")]
        mounts: Option<Vec<MountRequest>>,
        /// Paths hidden from it; `null` for the default list.
        masked_paths: Option<Vec<String>>,
        /// Paths it can't write; `null` for the default list.
        readonly_paths: Option<Vec<String>>,
        /// Runs an init that reaps and passes signals on.
        #[serde(skip_serializing_if = "Option::is_none")]
        init: Option<bool>,
    }
}

shape! {
    /// Where output goes.
    LogConfig {
        /// The log driver; empty for the default.
        r#type: String,
        /// Its options.
        config: Map<String>,
    }
}

shape! {
    /// A place on the host where a port is published.
    PortBinding {
        /// Host address; empty for all.
        host_ip: String,
        /// Host port, a range as `8000-8010`, or empty for any.
        host_port: String,
        /// Ours: `open`, or `host` for a port that obeys the host's own firewall; empty for the default.
        #[serde(skip_serializing_if = "String::is_empty")]
        exposure: String,
    }
}

shape! {
    /// What happens when a container exits.
    RestartPolicy {
        /// Empty or `no`, `always`, `unless-stopped`, `on-failure`.
        name: String,
        /// Most restarts for `on-failure`; 0 for no limit.
        maximum_retry_count: i64,
    }
}

shape! {
    /// Block I/O weight of a device.
    BlkioWeightDevice {
        /// Device node.
        path: String,
        /// 10 to 1000.
        weight: u16,
    }
}

shape! {
    /// A rate of a device.
    ThrottleDevice {
        /// Device node.
        path: String,
        /// Bytes or operations a second.
        rate: u64,
    }
}

shape! {
    /// A device of the host given to a container.
    DeviceMapping {
        /// Where it is on the host.
        path_on_host: String,
        /// Where it appears.
        path_in_container: String,
        /// Some of `r`, `w` and `m`.
        cgroup_permissions: String,
    }
}

shape! {
    /// Devices asked of a driver.
    DeviceRequest {
        /// The driver.
        driver: String,
        /// How many; -1 for all.
        count: i64,
        /// Which ones.
        #[serde(rename = "DeviceIDs")]
        device_ids: Option<Vec<String>>,
        /// What they must be able to do: any list, every member of it.
        capabilities: Option<Vec<Vec<String>>>,
        /// The driver's options.
        options: Map<String>,
    }
}

shape! {
    /// A resource limit.
    Ulimit {
        /// Its name without `RLIMIT_`, in lower case.
        name: String,
        /// The hard limit; -1 for none.
        hard: i64,
        /// The soft limit; -1 for none.
        soft: i64,
    }
}

shape! {
    /// A mount in the long form (`--mount`).
    MountRequest {
        /// `bind`, `volume`, `tmpfs`.
        #[serde(skip_serializing_if = "String::is_empty")]
        r#type: String,
        /// A host path or a volume's name.
        #[serde(skip_serializing_if = "String::is_empty")]
        source: String,
        /// Where it appears.
        #[serde(skip_serializing_if = "String::is_empty")]
        target: String,
        /// It can't be written.
        #[serde(skip_serializing_if = "crate::shape::is_zero")]
        read_only: bool,
        /// `default`, `consistent`, `cached`, `delegated`: all the same on Linux.
        #[serde(skip_serializing_if = "String::is_empty")]
        consistency: String,
        /// Options of a bind.
        #[serde(skip_serializing_if = "Option::is_none")]
        bind_options: Option<BindOptions>,
        /// Options of a volume.
        #[serde(skip_serializing_if = "Option::is_none")]
        volume_options: Option<VolumeOptions>,
        /// Options of a tmpfs.
        #[serde(skip_serializing_if = "Option::is_none")]
        tmpfs_options: Option<TmpfsOptions>,
    }
}

shape! {
    /// Options of a bind mount.
    BindOptions {
        /// `rprivate`, `private`, `rshared`, `shared`, `rslave`, `slave`.
        #[serde(skip_serializing_if = "String::is_empty")]
        propagation: String,
        /// Mounts below the source are left out.
        #[serde(skip_serializing_if = "crate::shape::is_zero")]
        non_recursive: bool,
        /// A missing source is made.
        #[serde(skip_serializing_if = "crate::shape::is_zero")]
        create_mountpoint: bool,
        /// Mounts below the source stay writable.
        #[serde(skip_serializing_if = "crate::shape::is_zero")]
        read_only_non_recursive: bool,
        /// Refuses where mounts below the source can't be made read-only.
        #[serde(skip_serializing_if = "crate::shape::is_zero")]
        read_only_force_recursive: bool,
    }
}

shape! {
    /// Options of a volume's mount, and of the volume if it is made with it.
    VolumeOptions {
        /// The image's content is not copied into it.
        #[serde(skip_serializing_if = "crate::shape::is_zero")]
        no_copy: bool,
        /// The volume's labels.
        #[serde(skip_serializing_if = "Map::is_empty")]
        labels: Map<String>,
        /// Only this part of it is mounted.
        #[serde(skip_serializing_if = "String::is_empty")]
        subpath: String,
        /// Its driver.
        #[serde(skip_serializing_if = "Option::is_none")]
        driver_config: Option<VolumeDriverConfig>,
    }
}

shape! {
    /// A volume's driver.
    VolumeDriverConfig {
        /// Its name.
        #[serde(skip_serializing_if = "String::is_empty")]
        name: String,
        /// Its options.
        #[serde(skip_serializing_if = "Map::is_empty")]
        options: Map<String>,
    }
}

/// Options of a tmpfs mount.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TmpfsOptions {
    /// Bytes; 0 for no limit.
    #[serde(skip_serializing_if = "crate::shape::is_zero")]
    pub size_bytes: i64,
    /// Mode bits; 0 for 1777.
    #[serde(skip_serializing_if = "crate::shape::is_zero")]
    pub mode: u32,
    /// Further options, each a name or a name and a value.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<Vec<String>>,
}
