//! Limits of a container that runs, changed in its cgroup: what is written where is decided in a pure function.

use std::{fs, io, path::PathBuf};

use model::ContainerId;
use shim_protocol::cgroup::Cgroup;

use crate::{Error, Result, Runtime, spec::Resources};

/// Microseconds; what a number of processors is measured against.
const PERIOD: u64 = 100_000;

/// One file of a controller and what is written into it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Write {
    controller: &'static str,
    file: &'static str,
    value: String,
}

impl Runtime {
    /// Gives a running container these limits; what is not said stays as it is.
    ///
    /// # Errors
    /// Those of the kernel, such as a memory limit below what is used.
    pub fn limit(&self, id: &ContainerId, wanted: &Resources) -> Result<()> {
        let path = PathBuf::from(self.cgroup(id));
        let cgroup = Cgroup::locate(&self.cgroup(id)).map_err(Error::file("finding the cgroup", &path))?;
        let unified = |controller: &str| cgroup.is_unified(controller);
        let mut all = writes(wanted, &unified);
        // Memory and swap together may never be less than memory: where the one can't go first, the other can.
        if let Err((_, _)) = write_all(&cgroup, &all) {
            all.sort_by_key(|write| write.file != "memory.memsw.limit_in_bytes");
            write_all(&cgroup, &all).map_err(|(path, error)| Error::file("writing", path)(error))?;
        }
        Ok(())
    }
}

fn write_all(cgroup: &Cgroup, all: &[Write]) -> Result<(), (PathBuf, io::Error)> {
    for write in all {
        let Some(directory) = cgroup.directory(write.controller) else {
            return Err((write.controller.into(), io::ErrorKind::NotFound.into()));
        };
        let path = directory.join(write.file);
        match fs::write(&path, &write.value) {
            // Kernels count swap, and weigh block devices, only where they were built to.
            Err(error) if error.kind() == io::ErrorKind::NotFound && is_optional(write.file) => {}
            other => other.map_err(|error| (path, error))?,
        }
    }
    Ok(())
}

fn is_optional(file: &str) -> bool {
    file.contains("memsw") || file.contains("swap") || file.contains("weight")
}

fn writes(wanted: &Resources, unified: &dyn Fn(&str) -> bool) -> Vec<Write> {
    let mut all = Vec::new();
    let mut put = |controller, old: &'static str, new: &'static str, old_value: String, new_value: String| {
        let (file, value) = if unified(controller) {
            (new, new_value)
        } else {
            (old, old_value)
        };
        all.push(Write {
            controller,
            file,
            value,
        });
    };
    let amount = |bytes: i64| {
        if bytes < 0 {
            "max".to_owned()
        } else {
            bytes.to_string()
        }
    };
    if let Some(memory) = wanted.memory {
        put(
            "memory",
            "memory.limit_in_bytes",
            "memory.max",
            memory.to_string(),
            amount(memory),
        );
    }
    if let Some(swap) = wanted.memory_swap {
        // Version 2 counts swap alone.
        let alone = if swap < 0 {
            swap
        } else {
            swap - wanted.memory.unwrap_or_default()
        };
        put(
            "memory",
            "memory.memsw.limit_in_bytes",
            "memory.swap.max",
            swap.to_string(),
            amount(alone),
        );
    }
    if let Some(reservation) = wanted.memory_reservation {
        put(
            "memory",
            "memory.soft_limit_in_bytes",
            "memory.low",
            reservation.to_string(),
            amount(reservation),
        );
    }
    if let Some(shares) = wanted.cpu_shares {
        put(
            "cpu",
            "cpu.shares",
            "cpu.weight",
            shares.to_string(),
            weight(shares).to_string(),
        );
    }
    let (quota, period) = match wanted.nano_cpus {
        Some(nano) => (Some(nano / 10_000), Some(PERIOD)),
        None => (wanted.cpu_quota, wanted.cpu_period),
    };
    if unified("cpu") {
        if quota.is_some() || period.is_some() {
            let quota = quota
                .filter(|quota| *quota > 0)
                .map_or_else(|| "max".to_owned(), |quota| quota.to_string());
            let both = format!("{quota} {}", period.unwrap_or(PERIOD));
            put("cpu", "", "cpu.max", String::new(), both);
        }
    } else {
        if let Some(period) = period {
            put("cpu", "cpu.cfs_period_us", "", period.to_string(), String::new());
        }
        if let Some(quota) = quota {
            put("cpu", "cpu.cfs_quota_us", "", quota.to_string(), String::new());
        }
    }
    for (list, file) in [
        (&wanted.cpuset_cpus, "cpuset.cpus"),
        (&wanted.cpuset_mems, "cpuset.mems"),
    ] {
        if let Some(list) = list {
            put("cpuset", file, file, list.clone(), list.clone());
        }
    }
    if let Some(limit) = wanted.pids_limit {
        let limit = if limit > 0 {
            limit.to_string()
        } else {
            "max".to_owned()
        };
        put("pids", "pids.max", "pids.max", limit.clone(), limit);
    }
    if let Some(weight) = wanted.blkio_weight {
        put(
            "blkio",
            "blkio.bfq.weight",
            "io.bfq.weight",
            weight.to_string(),
            weight.to_string(),
        );
    }
    all
}

/// Shares of version 1 (2 to 262144) as a weight of version 2 (1 to 10000), as container runtimes convert them.
fn weight(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(wanted: &Resources, unified: bool) -> Vec<String> {
        let all = writes(wanted, &|_| unified);
        all.iter()
            .map(|one| format!("{} {}", one.file, one.value))
            .collect()
    }

    #[test]
    fn limits_are_written_where_each_version_has_them() {
        let wanted = Resources {
            memory: Some(64 << 20),
            memory_swap: Some(96 << 20),
            nano_cpus: Some(1_500_000_000),
            cpu_shares: Some(1024),
            pids_limit: Some(-1),
            cpuset_cpus: Some("0".to_owned()),
            ..Resources::default()
        };
        assert_eq!(
            shown(&wanted, false),
            [
                "memory.limit_in_bytes 67108864",
                "memory.memsw.limit_in_bytes 100663296",
                "cpu.shares 1024",
                "cpu.cfs_period_us 100000",
                "cpu.cfs_quota_us 150000",
                "cpuset.cpus 0",
                "pids.max max"
            ]
        );
        assert_eq!(
            shown(&wanted, true),
            [
                "memory.max 67108864",
                "memory.swap.max 33554432",
                "cpu.weight 39",
                "cpu.max 150000 100000",
                "cpuset.cpus 0",
                "pids.max max"
            ]
        );
        assert!(shown(&Resources::default(), true).is_empty());
    }
}
