//! What this host lets us give away: a container can't be given a capability or a limit that we don't have.

use std::collections::BTreeMap;

use oci_spec::runtime::{Capabilities, Capability};
use rustix::process::{Resource, getrlimit};

use super::capabilities;

/// What this host lets us give away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFacts {
    /// Capabilities in our bounding set.
    pub bounding: Capabilities,
    /// Whether limits may be raised above our own, and processes be protected from the kernel's memory killer.
    pub may_raise_limits: bool,
    /// Our own hard limits, by name (`RLIMIT_NOFILE`, …); what is missing is unlimited.
    pub hard_limits: BTreeMap<String, u64>,
    /// Our own protection from the memory killer; a container's may not be better without the right to raise.
    pub oom_score_adj: i32,
    /// Major and minor version of the kernel.
    pub kernel: (u32, u32),
    /// Whether cgroups are version 2 only.
    pub unified_cgroups: bool,
    /// Number of processors.
    pub cpus: usize,
    /// The processors that are there, as the kernel lists them: `0-3`; empty where it doesn't say.
    pub cpu_list: String,
    /// The memory nodes that are there.
    pub memory_list: String,
    /// Whether block devices are shared by weight.
    pub block_weights: bool,
    /// Whether block devices' throughput can be limited.
    pub block_limits: bool,
    /// Whether the kernel can be told to let wait, not to kill, who wants too much memory.
    pub oom_kill_switch: bool,
    /// Whether swap is accounted (else a limit on it is refused by the kernel, and left out).
    pub swap_accounting: bool,
}

impl HostFacts {
    /// Reads them; what can't be read counts as the most restrictive that is common.
    pub fn read() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let bounding = capabilities::from_mask(mask(&status, "CapBnd:"));
        let effective = capabilities::from_mask(mask(&status, "CapEff:"));
        let there = |path: &str| std::path::Path::new(path).exists();
        let text = |path: &str| {
            std::fs::read_to_string(path).map_or_else(|_| String::new(), |text| text.trim().to_owned())
        };
        let unified_cgroups = there("/sys/fs/cgroup/cgroup.controllers");
        let blocks = text("/sys/fs/cgroup/cgroup.controllers");
        let unified_blocks = unified_cgroups && blocks.split(' ').any(|name| name == "io");
        Self {
            may_raise_limits: effective.contains(&Capability::SysResource),
            bounding,
            hard_limits: hard_limits(),
            oom_score_adj: number("/proc/self/oom_score_adj").unwrap_or(0),
            kernel: kernel_version(rustix::system::uname().release().to_str().unwrap_or_default()),
            unified_cgroups,
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            swap_accounting: unified_cgroups || there("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes"),
            cpu_list: text("/sys/devices/system/cpu/online"),
            memory_list: text("/sys/devices/system/node/online"),
            block_weights: there("/sys/fs/cgroup/blkio/blkio.weight")
                || there("/sys/fs/cgroup/blkio/blkio.bfq.weight")
                || unified_blocks,
            block_limits: there("/sys/fs/cgroup/blkio/blkio.throttle.read_bps_device") || unified_blocks,
            oom_kill_switch: there("/sys/fs/cgroup/memory/memory.oom_control"),
        }
    }
}

fn mask(status: &str, name: &str) -> u64 {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .unwrap_or_default();
    u64::from_str_radix(line.trim(), 16).unwrap_or(0)
}

fn number(path: &str) -> Option<i32> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn kernel_version(release: &str) -> (u32, u32) {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|text| text.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn hard_limits() -> BTreeMap<String, u64> {
    [
        ("CORE", Resource::Core),
        ("CPU", Resource::Cpu),
        ("DATA", Resource::Data),
        ("FSIZE", Resource::Fsize),
        ("LOCKS", Resource::Locks),
        ("MEMLOCK", Resource::Memlock),
        ("MSGQUEUE", Resource::Msgqueue),
        ("NICE", Resource::Nice),
        ("NOFILE", Resource::Nofile),
        ("NPROC", Resource::Nproc),
        ("RSS", Resource::Rss),
        ("RTPRIO", Resource::Rtprio),
        ("RTTIME", Resource::Rttime),
        ("SIGPENDING", Resource::Sigpending),
        ("STACK", Resource::Stack),
    ]
    .into_iter()
    .filter_map(|(name, resource)| Some((format!("RLIMIT_{name}"), getrlimit(resource).maximum?)))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_masks_are_read_from_the_kernels_text() {
        assert_eq!(kernel_version("6.18.44-fc-v595"), (6, 18));
        assert_eq!(kernel_version("6.1"), (6, 1));
        assert_eq!(kernel_version(""), (0, 0));
        let status = "Name:\tx\nCapBnd:\t000001fffeffffff\n";
        assert_eq!(mask(status, "CapBnd:"), 0x1ff_feff_ffff);
        assert!(!capabilities::from_mask(mask(status, "CapBnd:")).contains(&Capability::SysResource));
        assert!(capabilities::from_mask(mask(status, "CapBnd:")).contains(&Capability::Chown));
    }
}
