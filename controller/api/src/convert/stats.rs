//! What a container uses, as Docker's clients count it.

use api_types::{
    BlockEntry, BlockStats, CpuStats, CpuUsage, InterfaceStats, MemoryStats, PidsStats, Stats, ThrottlingData,
};
use engine::{
    Sample,
    stats::{Cpu, HostUsage, Interface, Memory, Usage},
};
use model::Timestamp;

/// One message of the stream: a sample beside the one before.
pub(crate) fn stats(sample: &Sample, before: Option<&Sample>) -> Stats {
    let named = Stats {
        name: format!("/{}", sample.name),
        id: sample.id.to_string(),
        read: Timestamp::ZERO.to_string(),
        preread: Timestamp::ZERO.to_string(),
        ..Stats::default()
    };
    let Some((used, host)) = &sample.used else {
        return named;
    };
    let before = before.and_then(|before| Some((before.at, before.used.as_ref()?)));
    Stats {
        read: sample.at.to_string(),
        preread: before.map_or(Timestamp::ZERO, |(at, _)| at).to_string(),
        pids_stats: PidsStats {
            current: used.pids.current,
            limit: used.pids.limit.unwrap_or_default(),
        },
        blkio_stats: blocks(used),
        cpu_stats: cpu(&used.cpu, host),
        precpu_stats: before
            .map(|(_, (used, host))| cpu(&used.cpu, host))
            .unwrap_or_default(),
        memory_stats: memory(&used.memory, host),
        networks: used
            .interfaces
            .iter()
            .map(|(name, one)| (name.clone(), interface(one)))
            .collect(),
        ..named
    }
}

fn cpu(cpu: &Cpu, host: &HostUsage) -> CpuStats {
    CpuStats {
        cpu_usage: CpuUsage {
            total_usage: cpu.total,
            percpu_usage: cpu.each.clone(),
            usage_in_kernelmode: cpu.system,
            usage_in_usermode: cpu.user,
        },
        system_cpu_usage: host.cpu,
        online_cpus: host.cpus,
        throttling_data: ThrottlingData {
            periods: cpu.periods,
            throttled_periods: cpu.throttled_periods,
            throttled_time: cpu.throttled,
        },
    }
}

fn memory(memory: &Memory, host: &HostUsage) -> MemoryStats {
    MemoryStats {
        usage: memory.usage,
        max_usage: memory.max_usage,
        stats: memory.figures.clone(),
        failcnt: memory.failures,
        limit: memory.limit.unwrap_or(host.memory).min(host.memory),
    }
}

fn blocks(used: &Usage) -> BlockStats {
    let unified = engine::stats::memory_is_unified();
    let entries = |counts: bool| {
        let figures = used
            .blocks
            .iter()
            .filter(|figure| figure.counts_operations == counts);
        let entries: Vec<_> = figures
            .map(|figure| BlockEntry {
                major: figure.major,
                minor: figure.minor,
                op: figure.operation.clone(),
                value: figure.value,
            })
            .collect();
        Some(entries).filter(|entries| !entries.is_empty() || !unified)
    };
    // What version 2 doesn't count at all is null there.
    let none = || (!unified).then(Vec::new);
    BlockStats {
        io_service_bytes_recursive: entries(false),
        io_serviced_recursive: entries(true),
        io_queue_recursive: none(),
        io_service_time_recursive: none(),
        io_wait_time_recursive: none(),
        io_merged_recursive: none(),
        io_time_recursive: none(),
        sectors_recursive: none(),
    }
}

fn interface(one: &Interface) -> InterfaceStats {
    let ([rx_bytes, rx_packets, rx_errors, rx_dropped], [tx_bytes, tx_packets, tx_errors, tx_dropped]) =
        (one.received, one.sent);
    InterfaceStats {
        rx_bytes,
        rx_packets,
        rx_errors,
        rx_dropped,
        tx_bytes,
        tx_packets,
        tx_errors,
        tx_dropped,
    }
}
