//! `GET /containers/ID/stats`. Its fields are written in small letters, unlike everything else.

use crate::shape::{Map, is_zero};

/// Declares a message whose fields are as they are called here.
macro_rules! figures {
    ($(#[$meta:meta])* $name:ident { $($(#[$about:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default)]
        pub struct $name {
            $($(#[$about])* #[serde(deserialize_with = "crate::shape::null_is_zero")] pub $field: $type,)*
        }
    };
}

figures! {
    /// What a container used at a moment.
    Stats {
        /// Its name with a leading slash.
        name: String,
        /// Its id.
        id: String,
        /// When, RFC 3339; year 1 when it does not run.
        read: String,
        /// When the sample before was taken.
        preread: String,
        /// Processes and threads.
        pids_stats: PidsStats,
        /// Block devices.
        blkio_stats: BlockStats,
        /// Always 0: of another system.
        num_procs: u32,
        /// Always empty: of another system.
        storage_stats: Map<u64>,
        /// Processors now.
        cpu_stats: CpuStats,
        /// Processors in the sample before.
        precpu_stats: CpuStats,
        /// Memory.
        memory_stats: MemoryStats,
        /// Network interfaces by name; left out for none.
        #[serde(skip_serializing_if = "Map::is_empty")]
        networks: Map<InterfaceStats>,
    }
}

figures! {
    /// Processes and threads.
    PidsStats {
        /// Now.
        #[serde(skip_serializing_if = "is_zero")]
        current: u64,
        /// At most.
        #[serde(skip_serializing_if = "is_zero")]
        limit: u64,
    }
}

figures! {
    /// Block devices; `null` for what the kernel doesn't count.
    BlockStats {
        /// Bytes by device and operation.
        io_service_bytes_recursive: Option<Vec<BlockEntry>>,
        /// Operations by device and kind.
        io_serviced_recursive: Option<Vec<BlockEntry>>,
        /// Never counted here.
        io_queue_recursive: Option<Vec<BlockEntry>>,
        /// Never counted here.
        io_service_time_recursive: Option<Vec<BlockEntry>>,
        /// Never counted here.
        io_wait_time_recursive: Option<Vec<BlockEntry>>,
        /// Never counted here.
        io_merged_recursive: Option<Vec<BlockEntry>>,
        /// Never counted here.
        io_time_recursive: Option<Vec<BlockEntry>>,
        /// Never counted here.
        sectors_recursive: Option<Vec<BlockEntry>>,
    }
}

figures! {
    /// One figure of one device.
    BlockEntry {
        /// The device.
        major: u64,
        /// The device.
        minor: u64,
        /// `read`, `write`.
        op: String,
        /// Bytes or operations.
        value: u64,
    }
}

figures! {
    /// Processors.
    CpuStats {
        /// Time, in nanoseconds.
        cpu_usage: CpuUsage,
        /// Nanoseconds of all processors of the host together, idle ones too.
        #[serde(skip_serializing_if = "is_zero")]
        system_cpu_usage: u64,
        /// How many there are.
        #[serde(skip_serializing_if = "is_zero")]
        online_cpus: u32,
        /// How it was held back.
        throttling_data: ThrottlingData,
    }
}

figures! {
    /// Time on processors, in nanoseconds.
    CpuUsage {
        /// In all.
        total_usage: u64,
        /// On each; only where the kernel tells.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        percpu_usage: Vec<u64>,
        /// In the kernel.
        usage_in_kernelmode: u64,
        /// In programs.
        usage_in_usermode: u64,
    }
}

figures! {
    /// How a container with a limit was held back.
    ThrottlingData {
        /// Periods in which it ran.
        periods: u64,
        /// Of those, how often it was.
        throttled_periods: u64,
        /// How long, in nanoseconds.
        throttled_time: u64,
    }
}

figures! {
    /// Memory, in bytes.
    MemoryStats {
        /// Now, with the page cache.
        #[serde(skip_serializing_if = "is_zero")]
        usage: u64,
        /// At most so far; left out where the kernel doesn't tell.
        #[serde(skip_serializing_if = "is_zero")]
        max_usage: u64,
        /// The kernel's own figures.
        #[serde(skip_serializing_if = "Map::is_empty")]
        stats: Map<u64>,
        /// How often the limit was met.
        #[serde(skip_serializing_if = "is_zero")]
        failcnt: u64,
        /// The limit, or the host's memory.
        #[serde(skip_serializing_if = "is_zero")]
        limit: u64,
    }
}

figures! {
    /// One network interface.
    InterfaceStats {
        /// Bytes received.
        rx_bytes: u64,
        /// Packets received.
        rx_packets: u64,
        /// Packets received that were damaged.
        rx_errors: u64,
        /// Packets dropped on their way in.
        rx_dropped: u64,
        /// Bytes sent.
        tx_bytes: u64,
        /// Packets sent.
        tx_packets: u64,
        /// Packets that could not be sent.
        tx_errors: u64,
        /// Packets dropped on their way out.
        tx_dropped: u64,
    }
}
