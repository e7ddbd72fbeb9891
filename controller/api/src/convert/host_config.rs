//! Limits, capabilities and namespaces: from Docker's `HostConfig` to what the runtime is asked for.

use std::path::PathBuf;

use api_types::HostConfig;
use engine::{
    AskedShares,
    record::RestartPolicy,
    run::{ContainerConfig, Device, Namespace, Resources, Seccomp, Ulimit},
};

use crate::status::{Answer, Refusal};

/// Docker's smallest memory limit, below which nothing starts.
const LEAST_MEMORY: i64 = 6 << 20;

/// The names that our one runtime answers to: none, its own, and those of Docker's.
const RUNTIMES: [&str; 4] = ["", "cnm-shim", "runc", "io.containerd.runc.v2"];

/// Puts what the host gives a container into what the runtime is asked for.
pub(crate) fn apply(host: &HostConfig, run: &mut ContainerConfig) -> Answer<()> {
    refuse_what_is_not_there(host)?;
    run.privileged = host.privileged;
    run.cap_add = list(&host.cap_add);
    run.cap_drop = list(&host.cap_drop);
    run.readonly_rootfs = host.readonly_rootfs;
    run.group_add = list(&host.group_add);
    run.devices = host.devices.iter().flatten().map(device).collect();
    run.ulimits = host
        .ulimits
        .iter()
        .flatten()
        .map(|limit| Ulimit {
            name: limit.name.clone(),
            soft: limit.soft,
            hard: limit.hard,
        })
        .collect();
    run.device_rules = list(&host.device_cgroup_rules);
    run.cgroup_parent = cgroup_parent(&host.cgroup_parent)?;
    run.host_users = users(&host.userns_mode)?;
    run.sysctls.clone_from(&host.sysctls);
    run.resources = resources(host)?;
    run.shm_size = shm_size(host.shm_size)?;
    run.oom_score_adj = i32::try_from(host.oom_score_adj)
        .ok()
        .filter(|adj| (-1000..=1000).contains(adj))
        .ok_or_else(|| {
            Refusal::bad_request(format!(
                "Invalid value {}, range for oom score adj is [-1000, 1000]",
                host.oom_score_adj
            ))
        })?;
    run.pid = namespace("PID", &host.pid_mode)?;
    run.ipc = namespace("IPC", &host.ipc_mode)?;
    run.uts = namespace("UTS", &host.uts_mode)?;
    run.cgroup = cgroup_namespace(&host.cgroupns_mode)?;
    run.masked_paths.clone_from(&host.masked_paths);
    run.readonly_paths.clone_from(&host.readonly_paths);
    run.annotations.clone_from(&host.annotations);
    security(host, run)
}

/// Height and width; nothing where either is not known.
pub(crate) fn console_size([height, width]: [u32; 2]) -> Option<(u16, u16)> {
    let side = |side: u32| u16::try_from(side).unwrap_or(u16::MAX);
    (height > 0 && width > 0).then(|| (side(height), side(width)))
}

fn refuse_what_is_not_there(host: &HostConfig) -> Answer<()> {
    if !RUNTIMES.contains(&host.runtime.as_str()) {
        return Err(Refusal::bad_request(format!(
            "unknown or invalid runtime name: {} (hint: there is one runtime; leave --runtime out)",
            host.runtime
        )));
    }
    if host
        .device_requests
        .as_ref()
        .is_some_and(|requests| !requests.is_empty())
    {
        return Err(Refusal::bad_request(
            "could not select device driver: none is there",
        ));
    }
    Ok(())
}

/// A folder below each hierarchy; what leads out of it is none.
fn cgroup_parent(given: &str) -> Answer<String> {
    let parts: Vec<&str> = given
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    if parts.contains(&"..") {
        return Err(Refusal::bad_request(format!(
            "invalid cgroup parent: {given:?} (hint: a path below the cgroups' root without \"..\")"
        )));
    }
    Ok(parts.iter().map(|part| format!("/{part}")).collect())
}

fn users(mode: &str) -> Answer<bool> {
    match mode {
        "" => Ok(false),
        "host" => Ok(true),
        other => Err(Refusal::bad_request(format!(
            "invalid userns mode: {other} (hint: \"host\" or nothing)"
        ))),
    }
}

fn cgroup_namespace(mode: &str) -> Answer<Namespace> {
    match mode {
        "" | "private" => Ok(Namespace::Own),
        "host" => Ok(Namespace::Host),
        other => Err(Refusal::bad_request(format!(
            "invalid cgroup namespace mode: {other}"
        ))),
    }
}

fn list(given: &Option<Vec<String>>) -> Vec<String> {
    given.clone().unwrap_or_default()
}

fn device(given: &api_types::DeviceMapping) -> Device {
    let or = |text: &str, default: &str| {
        if text.is_empty() {
            default.to_owned()
        } else {
            text.to_owned()
        }
    };
    Device {
        host: given.path_on_host.clone().into(),
        container: or(&given.path_in_container, &given.path_on_host).into(),
        permissions: or(&given.cgroup_permissions, "rwm"),
    }
}

/// 0 is no limit everywhere; so is -1 for processes, and for swap it means unlimited.
fn resources(host: &HostConfig) -> Answer<Resources> {
    let refuse = |message: &str| Err(Refusal::bad_request(message));
    if host.memory == 0 && host.memory_swap > 0 {
        return refuse("You should always set the Memory limit when using Memoryswap limit, see usage");
    }
    let asked = changed_resources(host)?;
    Ok(Resources {
        pids_limit: asked.pids_limit.filter(|limit| *limit > 0),
        ..asked
    })
}

/// What an update changes: what isn't said stays. Swap may be said alone where memory was limited before.
pub(crate) fn changed_resources(host: &HostConfig) -> Answer<Resources> {
    let refuse = |message: &str| Err(Refusal::bad_request(message));
    if host.memory != 0 && host.memory < LEAST_MEMORY {
        return refuse("Minimum memory limit allowed is 6MB");
    }
    if host.memory_swap > 0 && host.memory_swap < host.memory {
        return refuse("Minimum memoryswap limit should be larger than memory limit, see usage");
    }
    if host.memory_reservation != 0 && host.memory != 0 && host.memory_reservation > host.memory {
        return refuse("Minimum memory limit can not be less than memory reservation limit, see usage");
    }
    if host.nano_cpus > 0 && host.cpu_period > 0 {
        return refuse("Conflicting options: Nano CPUs and CPU Period cannot both be set");
    }
    if host.nano_cpus > 0 && host.cpu_quota > 0 {
        return refuse("Conflicting options: Nano CPUs and CPU Quota cannot both be set");
    }
    if host.blkio_weight != 0 && !(10..=1000).contains(&host.blkio_weight) {
        return refuse("Range of blkio weight is from 10 to 1000");
    }
    if host.cpu_realtime_period != 0 || host.cpu_realtime_runtime != 0 {
        return refuse("kernel does not support CPU real-time scheduler");
    }
    if host.io_maximum_bandwidth != 0 || host.io_maximum_iops != 0 {
        return refuse(
            "Invalid QoS settings: linux does not support Maximum IO Bandwidth or Maximum IO IOps",
        );
    }
    Ok(Resources {
        memory: some(host.memory),
        memory_swap: some(host.memory_swap),
        memory_reservation: some(host.memory_reservation),
        memory_swappiness: swappiness(host.memory_swappiness)?,
        nano_cpus: some(host.nano_cpus),
        cpu_shares: u64::try_from(host.cpu_shares).ok().and_then(some),
        cpu_quota: some(host.cpu_quota),
        cpu_period: u64::try_from(host.cpu_period).ok().and_then(some),
        cpuset_cpus: some(host.cpuset_cpus.clone()),
        cpuset_mems: some(host.cpuset_mems.clone()),
        pids_limit: host.pids_limit,
        blkio_weight: some(host.blkio_weight),
        blkio_weight_devices: weights(&host.blkio_weight_device)?,
        blkio_read_bytes: rates(&host.blkio_device_read_bps),
        blkio_write_bytes: rates(&host.blkio_device_write_bps),
        blkio_reads: rates(&host.blkio_device_read_iops),
        blkio_writes: rates(&host.blkio_device_write_iops),
        oom_kill_disable: host.oom_kill_disable == Some(true),
    })
}

fn weights(given: &Option<Vec<api_types::BlkioWeightDevice>>) -> Answer<Vec<(PathBuf, u64)>> {
    let each = given.iter().flatten().map(|one| match one.weight {
        10..=1000 => Ok((PathBuf::from(&one.path), one.weight.into())),
        _ => Err(Refusal::bad_request("Range of blkio weight is from 10 to 1000")),
    });
    each.collect()
}

fn rates(given: &Option<Vec<api_types::ThrottleDevice>>) -> Vec<(PathBuf, u64)> {
    let each = given
        .iter()
        .flatten()
        .map(|one| (PathBuf::from(&one.path), one.rate));
    each.collect()
}

fn some<T: Default + PartialEq>(value: T) -> Option<T> {
    (value != T::default()).then_some(value)
}

/// `null` and -1 are the system's.
fn swappiness(given: Option<i64>) -> Answer<Option<u64>> {
    match given {
        None | Some(-1) => Ok(None),
        Some(value @ 0..=100) => Ok(Some(value.unsigned_abs())),
        Some(other) => Err(Refusal::bad_request(format!(
            "invalid value: {other}, valid memory swappiness range is 0-100"
        ))),
    }
}

fn shm_size(given: i64) -> Answer<Option<u64>> {
    let size = u64::try_from(given).map_err(|_| Refusal::bad_request("SHM size can not be less than 0"))?;
    Ok(some(size))
}

/// `private`, `shareable` and nothing are a namespace of its own.
fn namespace(kind: &str, mode: &str) -> Answer<Namespace> {
    match mode {
        "" | "private" | "shareable" | "none" => Ok(Namespace::Own),
        "host" => Ok(Namespace::Host),
        // Which one that is, and where it runs, the engine finds.
        other if other.starts_with("container:") && ["PID", "IPC"].contains(&kind) => Ok(Namespace::Own),
        other => Err(Refusal::bad_request(format!("invalid {kind} mode: {other}"))),
    }
}

/// The containers whose namespaces it shares, as they are named.
pub(crate) fn shares(host: &HostConfig) -> AskedShares {
    let other = |mode: &str| mode.strip_prefix("container:").map(str::to_owned);
    AskedShares {
        pid: other(&host.pid_mode),
        ipc: other(&host.ipc_mode),
        shareable: host.ipc_mode == "shareable",
    }
}

/// `name=value` or, as Docker's first versions had it, `name:value`.
fn security(host: &HostConfig, run: &mut ContainerConfig) -> Answer<()> {
    for option in host.security_opt.iter().flatten() {
        let (name, value) = option.split_once(['=', ':']).unwrap_or((option, ""));
        match (name, value) {
            ("no-new-privileges", "" | "true") => run.no_new_privileges = true,
            ("no-new-privileges", "false") => run.no_new_privileges = false,
            ("seccomp", "unconfined") => run.seccomp = Seccomp::Unconfined,
            ("seccomp", "builtin") => run.seccomp = Seccomp::Default,
            ("seccomp", profile) => {
                let profile = serde_json::from_str(profile).map_err(|error| {
                    Refusal::bad_request(format!("Decoding seccomp profile failed: {error}"))
                })?;
                run.seccomp = Seccomp::Profile(Box::new(profile));
            }
            // Neither is active in our containers, so asking for none, or for a label, changes nothing.
            ("apparmor", "unconfined") | ("label" | "systempaths" | "writable-cgroups", _) => {}
            ("apparmor", _) => {
                return Err(Refusal::not_implemented(
                    "AppArmor profiles are not supported yet",
                ));
            }
            _ => {
                return Err(Refusal::bad_request(format!(
                    "invalid --security-opt 2: {option:?}"
                )));
            }
        }
    }
    Ok(())
}

/// What happens when it exits.
pub(crate) fn restart(host: &HostConfig) -> Answer<RestartPolicy> {
    let policy = &host.restart_policy;
    let refuse = |message: String| Err(Refusal::bad_request(message));
    if policy.maximum_retry_count < 0 {
        return refuse("invalid restart policy: maximum retry count cannot be negative".to_owned());
    }
    if policy.maximum_retry_count > 0 && policy.name != "on-failure" {
        return refuse(
            "invalid restart policy: maximum retry count can only be used with 'on-failure'".to_owned(),
        );
    }
    let parsed = match policy.name.as_str() {
        "" | "no" => RestartPolicy::No,
        "always" => RestartPolicy::Always,
        "unless-stopped" => RestartPolicy::UnlessStopped,
        "on-failure" => {
            RestartPolicy::OnFailure(u32::try_from(policy.maximum_retry_count).unwrap_or(u32::MAX))
        }
        other => {
            return refuse(format!(
                "invalid restart policy: unknown policy '{other}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
            ));
        }
    };
    if host.auto_remove && parsed != RestartPolicy::No {
        return refuse("can't create 'AutoRemove' container with restart policy".to_owned());
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests;
