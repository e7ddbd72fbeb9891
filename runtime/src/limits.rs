//! Limits of a container that runs, changed in its cgroup: what is written where is decided in a pure function.

use std::{fs, io, path::PathBuf};

use model::ContainerId;
use shim_protocol::cgroup::{Cgroup, block_weights};

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
            // It has ended in this moment: its next start has them.
            if cgroup.directories().next().is_none() {
                return Ok(());
            }
            return Err((write.controller.into(), io::ErrorKind::NotFound.into()));
        };
        let path = directory.join(write.file);
        // Kernels count swap, and weigh block devices, only where they were built to; one weight is enough.
        let is_missing = is_optional(write.file) && !path.exists();
        let is_said = write.file == "io.weight" && directory.join("io.bfq.weight").exists();
        if is_missing || is_said {
            continue;
        }
        match fs::write(&path, &write.value) {
            Err(_) if !directory.is_dir() => {}
            other => other.map_err(|error| (path, error))?,
        }
    }
    Ok(())
}

fn is_optional(file: &str) -> bool {
    file.contains("memsw") || file.contains("swap") || file.contains("weight")
}

/// The files of each version, and what goes into them.
struct Writes<'a> {
    unified: &'a dyn Fn(&str) -> bool,
    all: Vec<Write>,
}

impl Writes<'_> {
    /// What version 1 and version 2 are told.
    fn put(&mut self, controller: &'static str, old: (&'static str, String), new: (&'static str, String)) {
        let (file, value) = if (self.unified)(controller) { new } else { old };
        self.all.push(Write {
            controller,
            file,
            value,
        });
    }

    fn memory(&mut self, wanted: &Resources) {
        let amount = |bytes: i64| {
            if bytes < 0 {
                "max".to_owned()
            } else {
                bytes.to_string()
            }
        };
        if let Some(memory) = wanted.memory {
            let old = ("memory.limit_in_bytes", memory.to_string());
            self.put("memory", old, ("memory.max", amount(memory)));
        }
        if let Some(swap) = wanted.memory_swap {
            // Version 2 counts swap alone.
            let alone = if swap < 0 {
                swap
            } else {
                swap - wanted.memory.unwrap_or_default()
            };
            let old = ("memory.memsw.limit_in_bytes", swap.to_string());
            self.put("memory", old, ("memory.swap.max", amount(alone)));
        }
        if let Some(reservation) = wanted.memory_reservation {
            let old = ("memory.soft_limit_in_bytes", reservation.to_string());
            self.put("memory", old, ("memory.low", amount(reservation)));
        }
    }

    fn processors(&mut self, wanted: &Resources) {
        if let Some(shares) = wanted.cpu_shares {
            let new = ("cpu.weight", weight(shares).to_string());
            self.put("cpu", ("cpu.shares", shares.to_string()), new);
        }
        let (quota, period) = match wanted.nano_cpus {
            Some(nano) => (Some(nano / 10_000), Some(PERIOD)),
            None => (wanted.cpu_quota, wanted.cpu_period),
        };
        // Version 2 has both in one file.
        let most = quota.filter(|quota| *quota > 0);
        let most = most.map_or_else(|| "max".to_owned(), |quota| quota.to_string());
        let both = || ("cpu.max", format!("{most} {}", period.unwrap_or(PERIOD)));
        if let Some(period) = period {
            self.put("cpu", ("cpu.cfs_period_us", period.to_string()), both());
        }
        if let Some(quota) = quota {
            self.put("cpu", ("cpu.cfs_quota_us", quota.to_string()), both());
        }
        for (list, file) in [
            (&wanted.cpuset_cpus, "cpuset.cpus"),
            (&wanted.cpuset_mems, "cpuset.mems"),
        ] {
            if let Some(list) = list {
                self.put("cpuset", (file, list.clone()), (file, list.clone()));
            }
        }
    }
}

fn writes(wanted: &Resources, unified: &dyn Fn(&str) -> bool) -> Vec<Write> {
    let mut writes = Writes {
        unified,
        all: Vec::new(),
    };
    writes.memory(wanted);
    writes.processors(wanted);
    if let Some(limit) = wanted.pids_limit {
        let limit = if limit > 0 {
            limit.to_string()
        } else {
            "max".to_owned()
        };
        writes.put("pids", ("pids.max", limit.clone()), ("pids.max", limit));
    }
    if let Some(weight) = wanted.blkio_weight {
        for new in block_weights(weight) {
            writes.put("blkio", ("blkio.bfq.weight", weight.to_string()), new);
        }
    }
    writes.all.dedup();
    writes.all
}

/// Shares of version 1 (2 to 262144) as a weight of version 2 (1 to 10000): so that the usual 1024 are the usual 100, on
/// a curve through both ends. libcontainer converts those of a new container in the same way.
fn weight(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        _ => {
            #[expect(clippy::cast_precision_loss, reason = "below 2^18")]
            let power = (shares as f64).log2();
            let exponent = power.mul_add(power, 125.0 * power) / 612.0 - 7.0 / 34.0;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "1 to 10000"
            )]
            let weight = 10_f64.powf(exponent).ceil() as u64;
            weight.clamp(1, 10_000)
        }
    }
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
                "cpu.weight 100",
                "cpu.max 150000 100000",
                "cpuset.cpus 0",
                "pids.max max"
            ]
        );
        assert!(shown(&Resources::default(), true).is_empty());
        let weights = [2, 3, 512, 1024, 2048, 262_143, 262_144].map(weight);
        assert_eq!(weights, [1, 2, 59, 100, 174, 10_000, 10_000]);
        let weighed = Resources {
            blkio_weight: Some(300),
            ..Resources::default()
        };
        assert_eq!(shown(&weighed, false), ["blkio.bfq.weight 300"]);
        assert_eq!(shown(&weighed, true), ["io.bfq.weight 300", "io.weight 2930"]);
    }
}
