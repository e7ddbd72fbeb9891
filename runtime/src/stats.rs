//! What a container uses: read from its cgroup, of either version, and from its network namespace.
//!
//! The parsing is pure; `Source` says where the files come from.

use std::{collections::BTreeMap, fs, path::Path};

use model::ContainerId;
use shim_protocol::cgroup::Cgroup;

use crate::Runtime;

/// What a container has used and uses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processors.
    pub cpu: Cpu,
    /// Memory.
    pub memory: Memory,
    /// Processes and threads.
    pub pids: Pids,
    /// Block devices.
    pub blocks: Vec<BlockFigure>,
    /// Network interfaces by name.
    pub interfaces: BTreeMap<String, Interface>,
}

/// Time on processors, in nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cpu {
    /// In all.
    pub total: u64,
    /// In programs.
    pub user: u64,
    /// In the kernel.
    pub system: u64,
    /// On each processor; empty with version 2, which doesn't tell.
    pub each: Vec<u64>,
    /// Periods in which it ran with a limit.
    pub periods: u64,
    /// Of those, how often it was held back.
    pub throttled_periods: u64,
    /// How long it was.
    pub throttled: u64,
}

/// Memory, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// Now, with the page cache.
    pub usage: u64,
    /// At most so far; 0 where the kernel doesn't tell.
    pub max_usage: u64,
    /// How often the limit was met.
    pub failures: u64,
    /// The limit; none without one.
    pub limit: Option<u64>,
    /// The kernel's own figures by its names.
    pub figures: BTreeMap<String, u64>,
}

/// Processes and threads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pids {
    /// Now.
    pub current: u64,
    /// The limit; none without one.
    pub limit: Option<u64>,
}

/// One figure of one block device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockFigure {
    /// The device.
    pub major: u64,
    /// The device.
    pub minor: u64,
    /// `read`, `write`, …
    pub operation: String,
    /// Bytes, or how many operations.
    pub value: u64,
    /// Whether it counts operations, not bytes.
    pub counts_operations: bool,
}

/// One network interface.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Interface {
    /// Received: bytes, packets, errors, dropped.
    pub received: [u64; 4],
    /// Sent: the same.
    pub sent: [u64; 4],
}

/// What all containers share.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HostUsage {
    /// Nanoseconds of all processors together, idle ones too.
    pub cpu: u64,
    /// How many processors there are.
    pub cpus: u32,
    /// Bytes of memory.
    pub memory: u64,
}

/// A file of a container's cgroup, by the controller and the file's name.
type Source<'a> = &'a dyn Fn(&str, &str) -> Option<String>;

impl Runtime {
    /// What a container uses now; `pid` is its first process, for its network.
    pub fn usage(&self, id: &ContainerId, pid: Option<i32>) -> Usage {
        let cgroup = Cgroup::locate(&self.cgroup(id)).ok();
        let read = |controller: &str, file: &str| {
            let directory = cgroup.as_ref()?.directory(controller)?;
            fs::read_to_string(directory.join(file)).ok()
        };
        let net = pid.and_then(|pid| fs::read_to_string(format!("/proc/{pid}/net/dev")).ok());
        Usage {
            interfaces: interfaces(&net.unwrap_or_default()),
            ..usage(&read)
        }
    }

    /// The processes of a container, by their pids on the host.
    pub fn processes(&self, id: &ContainerId) -> Vec<i32> {
        Cgroup::locate(&self.cgroup(id)).map_or_else(|_| Vec::new(), |cgroup| cgroup.processes())
    }
}

/// Whether memory is counted by version 2.
pub fn memory_is_unified() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// What the host has and has used.
pub fn host() -> HostUsage {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    parse_host(&stat, &memory)
}

fn parse_host(stat: &str, meminfo: &str) -> HostUsage {
    let first = stat.lines().next().unwrap_or_default();
    // Guests' time is in the users' already.
    let ticks: u64 = first
        .split_whitespace()
        .skip(1)
        .take(8)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    let cpus = stat.lines().filter(|line| {
        line.strip_prefix("cpu")
            .is_some_and(|rest| rest.starts_with(|digit: char| digit.is_ascii_digit()))
    });
    let memory = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let memory = memory.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    HostUsage {
        cpu: ticks * TICK,
        cpus: u32::try_from(cpus.count()).unwrap_or(1),
        memory: memory.unwrap_or_default() << 10,
    }
}

/// Nanoseconds of a tick: USER_HZ is 100 wherever Linux runs.
const TICK: u64 = 10_000_000;

fn usage(read: Source<'_>) -> Usage {
    let old = read("cpuacct", "cpuacct.usage");
    Usage {
        cpu: match old {
            Some(total) => cpu_v1(&total, read),
            None => cpu_v2(read),
        },
        memory: match read("memory", "memory.usage_in_bytes") {
            Some(usage) => memory_v1(&usage, read),
            None => memory_v2(read),
        },
        pids: Pids {
            current: number(read("pids", "pids.current")),
            limit: limit(read("pids", "pids.max")),
        },
        blocks: match read("io", "io.stat") {
            Some(text) => blocks_v2(&text),
            None => blocks_v1(read),
        },
        interfaces: BTreeMap::new(),
    }
}

fn cpu_v1(total: &str, read: Source<'_>) -> Cpu {
    let split = figures(&read("cpuacct", "cpuacct.stat").unwrap_or_default());
    let throttling = figures(&read("cpu", "cpu.stat").unwrap_or_default());
    let of = |map: &BTreeMap<String, u64>, name: &str| map.get(name).copied().unwrap_or_default();
    let each = read("cpuacct", "cpuacct.usage_percpu").unwrap_or_default();
    Cpu {
        total: total.trim().parse().unwrap_or_default(),
        user: of(&split, "user") * TICK,
        system: of(&split, "system") * TICK,
        each: each
            .split_whitespace()
            .filter_map(|field| field.parse().ok())
            .collect(),
        periods: of(&throttling, "nr_periods"),
        throttled_periods: of(&throttling, "nr_throttled"),
        throttled: of(&throttling, "throttled_time"),
    }
}

fn cpu_v2(read: Source<'_>) -> Cpu {
    let stat = figures(&read("cpu", "cpu.stat").unwrap_or_default());
    let of = |name: &str| stat.get(name).copied().unwrap_or_default();
    Cpu {
        total: of("usage_usec") * 1000,
        user: of("user_usec") * 1000,
        system: of("system_usec") * 1000,
        each: Vec::new(),
        periods: of("nr_periods"),
        throttled_periods: of("nr_throttled"),
        throttled: of("throttled_usec") * 1000,
    }
}

fn memory_v1(usage: &str, read: Source<'_>) -> Memory {
    let file = |name: &str| read("memory", name);
    // A limit nobody set is the largest number of pages there is.
    let set = |limit: &u64| *limit < 1 << 62;
    Memory {
        usage: usage.trim().parse().unwrap_or_default(),
        max_usage: number(file("memory.max_usage_in_bytes")),
        failures: number(file("memory.failcnt")),
        limit: limit(file("memory.limit_in_bytes")).filter(set),
        figures: figures(&file("memory.stat").unwrap_or_default()),
    }
}

fn memory_v2(read: Source<'_>) -> Memory {
    let file = |name: &str| read("memory", name);
    let events = figures(&file("memory.events").unwrap_or_default());
    Memory {
        usage: number(file("memory.current")),
        max_usage: number(file("memory.peak")),
        failures: events.get("max").copied().unwrap_or_default(),
        limit: limit(file("memory.max")),
        figures: figures(&file("memory.stat").unwrap_or_default()),
    }
}

fn blocks_v1(read: Source<'_>) -> Vec<BlockFigure> {
    let mut all = Vec::new();
    for (file, counts_operations) in [
        ("io_service_bytes_recursive", false),
        ("io_serviced_recursive", true),
    ] {
        let text = ["blkio.", "blkio.throttle.", "blkio.bfq."]
            .iter()
            .find_map(|prefix| {
                let text = read("blkio", &format!("{prefix}{file}"))?;
                (text.lines().count() > 1).then_some(text)
            });
        for line in text.unwrap_or_default().lines() {
            let mut fields = line.split_whitespace();
            let (Some(device), Some(operation), Some(value)) = (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            all.extend(block(device, operation, value, counts_operations));
        }
    }
    all
}

/// `8:0 rbytes=1 wbytes=2 rios=3 …` a line.
fn blocks_v2(text: &str) -> Vec<BlockFigure> {
    let mut all = Vec::new();
    for line in text.lines() {
        let mut fields = line.split_whitespace();
        let device = fields.next().unwrap_or_default();
        for (name, value) in fields.filter_map(|field| field.split_once('=')) {
            let (operation, counts) = match name {
                "rbytes" => ("read", false),
                "wbytes" => ("write", false),
                "rios" => ("read", true),
                "wios" => ("write", true),
                _ => continue,
            };
            all.extend(block(device, operation, value, counts));
        }
    }
    all
}

fn block(device: &str, operation: &str, value: &str, counts_operations: bool) -> Option<BlockFigure> {
    let (major, minor) = device.split_once(':')?;
    Some(BlockFigure {
        major: major.parse().ok()?,
        minor: minor.parse().ok()?,
        operation: operation.to_ascii_lowercase(),
        value: value.parse().ok()?,
        counts_operations,
    })
}

/// Of `/proc/PID/net/dev`; loopback is nobody's traffic.
fn interfaces(text: &str) -> BTreeMap<String, Interface> {
    let mut all = BTreeMap::new();
    for (name, figures) in text.lines().filter_map(|line| line.split_once(':')) {
        let figures: Vec<u64> = figures
            .split_whitespace()
            .filter_map(|field| field.parse().ok())
            .collect();
        if figures.len() < 12 || name.trim() == "lo" {
            continue;
        }
        let four = |at: usize| [figures[at], figures[at + 1], figures[at + 2], figures[at + 3]];
        let interface = Interface {
            received: four(0),
            sent: four(8),
        };
        all.insert(name.trim().to_owned(), interface);
    }
    all
}

fn figures(text: &str) -> BTreeMap<String, u64> {
    let pair = |line: &str| {
        let (name, value) = line.split_once(' ')?;
        Some((name.to_owned(), value.trim().parse().ok()?))
    };
    text.lines().filter_map(pair).collect()
}

fn number(text: Option<String>) -> u64 {
    text.and_then(|text| text.trim().parse().ok()).unwrap_or_default()
}

/// `max` is none.
fn limit(text: Option<String>) -> Option<u64> {
    text?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(files: &[(&str, &str)]) -> Usage {
        usage(&|_, name| {
            let found = files.iter().find(|(file, _)| *file == name);
            found.map(|(_, text)| (*text).to_owned())
        })
    }

    #[test]
    fn both_versions_tell_the_same() {
        let old = from(&[
            ("cpuacct.usage", "5000000000\n"),
            ("cpuacct.stat", "user 300\nsystem 200\n"),
            ("cpuacct.usage_percpu", "2000000000 3000000000 \n"),
            ("cpu.stat", "nr_periods 7\nnr_throttled 2\nthrottled_time 9000\n"),
            ("memory.usage_in_bytes", "4096\n"),
            ("memory.limit_in_bytes", "67108864\n"),
            ("memory.stat", "total_inactive_file 1024\n"),
            ("pids.current", "3\n"),
            ("pids.max", "max\n"),
            (
                "blkio.throttle.io_service_bytes_recursive",
                "8:0 Read 10\n8:0 Write 20\nTotal 30\n",
            ),
        ]);
        let new = from(&[
            (
                "cpu.stat",
                "usage_usec 5000000\nuser_usec 3000000\nsystem_usec 2000000\nnr_periods 7\nnr_throttled 2\nthrottled_usec 9\n",
            ),
            ("memory.current", "4096\n"),
            ("memory.max", "67108864\n"),
            ("memory.stat", "inactive_file 1024\n"),
            ("pids.current", "3\n"),
            ("pids.max", "max\n"),
            (
                "io.stat",
                "8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n",
            ),
        ]);
        let cpu = Cpu {
            each: vec![2_000_000_000, 3_000_000_000],
            ..new.cpu
        };
        assert_eq!(old.cpu, cpu);
        assert_eq!((old.cpu.total, old.cpu.user), (5_000_000_000, 3_000_000_000));
        for one in [&old, &new] {
            assert_eq!((one.memory.usage, one.memory.limit), (4096, Some(64 << 20)));
            assert_eq!((one.pids.current, one.pids.limit), (3, None));
            let bytes: Vec<_> = one
                .blocks
                .iter()
                .filter(|figure| !figure.counts_operations)
                .collect();
            let bytes: Vec<_> = bytes
                .iter()
                .map(|one| (one.operation.as_str(), one.value))
                .collect();
            assert_eq!(bytes, [("read", 10), ("write", 20)]);
        }
        assert_eq!(
            from(&[
                ("memory.usage_in_bytes", "1"),
                ("memory.limit_in_bytes", "9223372036854771712")
            ])
            .memory
            .limit,
            None
        );
    }

    #[test]
    fn interfaces_and_the_host_are_read() {
        let text = "Inter-|   Receive |  Transmit\n face |bytes packets\n    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  eth0: 100 2 3 4 0 0 0 0 200 5 6 7 0 0 0 0\n";
        let all = interfaces(text);
        assert_eq!(all.keys().collect::<Vec<_>>(), ["eth0"]);
        assert_eq!(
            (all["eth0"].received, all["eth0"].sent),
            ([100, 2, 3, 4], [200, 5, 6, 7])
        );
        let host = parse_host(
            "cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1\ncpu1 1\nintr 5\n",
            "MemTotal:  2 kB\n",
        );
        assert_eq!(
            host,
            HostUsage {
                cpu: 36 * TICK,
                cpus: 2,
                memory: 2048
            }
        );
    }
}
