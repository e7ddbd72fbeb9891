//! Puts the parts together. The spec is written as the JSON people know from runtimes' `config.json`, then read
//! into its types: what the types' own defaults would add (they have some of another runtime's) stays out.

use oci_spec::runtime::{Capabilities, Capability, Spec};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::{
    ContainerConfig, HostFacts, ImageDefaults, Namespace, Place, Seccomp, SpecError, User,
    capabilities as caps, command, devices::Granted, mounts, resources, seccomp,
};

/// What containers can't read, unless they are told or privileged to.
pub const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];
/// What they can't write to.
pub const READONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Builds the spec from wishes and facts; `devices` are those the wishes name, as found on the host.
///
/// # Errors
/// For wishes that can't be met.
pub fn build(
    config: &ContainerConfig,
    image: &ImageDefaults,
    place: &Place,
    user: &User,
    devices: &[Granted],
    host: &HostFacts,
) -> Result<Spec, SpecError> {
    // Nobody raises limits from within a user namespace.
    let host = &HostFacts {
        may_raise_limits: host.may_raise_limits && place.users.is_none(),
        ..host.clone()
    };
    mounts::check(&config.mounts)?;
    let given = caps::decide(
        config.privileged,
        &config.cap_add,
        &config.cap_drop,
        &host.bounding,
    )?;
    let mut spec = json!({
        "ociVersion": "1.0.2",
        "root": {"path": place.rootfs, "readonly": config.readonly_rootfs},
        "process": process(config, image, user, &given, host)?,
        "mounts": mounts::mounts(config, place.users.as_deref()),
        "linux": linux(config, place, &given, devices, host)?,
        "annotations": config.annotations,
    });
    if config.uts == Namespace::Own {
        spec["hostname"] = json!(config.hostname);
        if !config.domainname.is_empty() {
            spec["domainname"] = json!(config.domainname);
        }
    }
    parse(spec)
}

/// Reads JSON into its type.
pub(super) fn parse<T: DeserializeOwned>(value: Value) -> Result<T, SpecError> {
    serde_json::from_value(value)
        .map_err(|error| SpecError::Invalid(format!("the container's spec: {error}")))
}

fn process(
    config: &ContainerConfig,
    image: &ImageDefaults,
    user: &User,
    given: &Capabilities,
    host: &HostFacts,
) -> Result<Value, SpecError> {
    let mut process = json!({
        "terminal": config.tty,
        "user": {"uid": user.uid, "gid": user.gid, "additionalGids": user.groups},
        "args": command::arguments(config, image)?,
        "env": command::environment(config, image, user),
        "cwd": command::working_dir(&config.working_dir, &image.working_dir)?,
        "capabilities": capabilities(given),
        "rlimits": resources::rlimits(&config.ulimits, host)?,
        "oomScoreAdj": oom_score_adj(config.oom_score_adj, host)?,
    });
    // Saying "false" is not the same as saying nothing: the runtime then loads the filter when it may not any more.
    if config.no_new_privileges {
        process["noNewPrivileges"] = json!(true);
    }
    Ok(process)
}

/// As Docker gives them: nothing inheritable and nothing ambient, so only root keeps them over an exec.
pub(super) fn capabilities(given: &Capabilities) -> Value {
    let mut names: Vec<String> = given.iter().map(|one| caps::name(*one)).collect();
    names.sort();
    json!({"bounding": names, "effective": names, "permitted": names})
}

fn oom_score_adj(wanted: i32, host: &HostFacts) -> Result<i32, SpecError> {
    if !(-1000..=1000).contains(&wanted) {
        return Err(SpecError::Invalid(format!(
            "invalid value {wanted}, range for oom score adj is [-1000, 1000]"
        )));
    }
    Ok(if host.may_raise_limits {
        wanted
    } else {
        wanted.max(host.oom_score_adj)
    })
}

fn linux(
    config: &ContainerConfig,
    place: &Place,
    given: &Capabilities,
    devices: &[Granted],
    host: &HostFacts,
) -> Result<Value, SpecError> {
    let mut linux = json!({
        "cgroupsPath": place.cgroup,
        "namespaces": namespaces(config, place),
        "resources": resources::resources(config, devices, host)?,
        "devices": devices.iter().map(|one| one.node.clone()).collect::<Vec<_>>(),
        "sysctl": sysctls(config, place.users.is_some())?,
    });
    if let Some(users) = &place.users {
        linux["uidMappings"] = mappings(&users.uids);
        linux["gidMappings"] = mappings(&users.gids);
    }
    if !config.privileged {
        linux["maskedPaths"] = config
            .masked_paths
            .as_ref()
            .map_or_else(|| json!(MASKED), |paths| json!(paths));
        linux["readonlyPaths"] = config
            .readonly_paths
            .as_ref()
            .map_or_else(|| json!(READONLY), |paths| json!(paths));
    }
    let filter = match &config.seccomp {
        Seccomp::Default if config.privileged => None,
        Seccomp::Default => Some(seccomp::default_filter(given, host.kernel)),
        Seccomp::Unconfined => None,
        Seccomp::Profile(profile) => Some(json!(profile)),
    };
    if let Some(filter) = filter {
        linux["seccomp"] = filter;
    }
    Ok(linux)
}

/// One range behind the other.
fn mappings(ranges: &[(u32, u32)]) -> Value {
    let mut inside = 0;
    let each = ranges.iter().map(|(first, count)| {
        let mapping = json!({"containerID": inside, "hostID": first, "size": count});
        inside += count;
        mapping
    });
    each.collect()
}

fn namespaces(config: &ContainerConfig, place: &Place) -> Value {
    let mut all = vec![json!({"type": "mount"})];
    if let Some(users) = &place.users {
        all.push(json!({"type": "user", "path": users.namespace}));
    }
    for (kind, namespace) in [
        ("network", &config.network),
        ("pid", &config.pid),
        ("ipc", &config.ipc),
        ("uts", &config.uts),
        ("cgroup", &config.cgroup),
    ] {
        match namespace {
            Namespace::Own => all.push(json!({"type": kind})),
            Namespace::Path(path) => all.push(json!({"type": kind, "path": path})),
            Namespace::Host => {}
        }
    }
    all.into()
}

/// What containers get unless told otherwise in a network namespace that is not the host's: anybody may ping and
/// bind low ports.
const NETWORK_SYSCTLS: [(&str, &str); 2] = [
    ("net.ipv4.ip_unprivileged_port_start", "0"),
    ("net.ipv4.ping_group_range", "0 2147483647"),
];

fn sysctls(config: &ContainerConfig, own_users: bool) -> Result<Value, SpecError> {
    let mut all = Map::new();
    if config.network != Namespace::Host {
        // Not every group has a number inside of a user namespace, and a range that has none is refused.
        let given = NETWORK_SYSCTLS
            .into_iter()
            .filter(|(name, _)| !own_users || !name.contains("group_range"));
        all.extend(given.map(|(name, value)| (name.to_owned(), json!(value))));
    }
    for (name, value) in &config.sysctls {
        let is = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
        let own = match name.as_str() {
            _ if is(&["net."]) => config.network != Namespace::Host,
            _ if is(&["kernel.msg", "kernel.sem", "kernel.shm", "fs.mqueue."]) => {
                config.ipc != Namespace::Host
            }
            "kernel.domainname" => config.uts != Namespace::Host,
            _ => false,
        };
        if !own {
            return Err(SpecError::Sysctl(name.clone()));
        }
        all.insert(name.clone(), json!(value));
    }
    Ok(all.into())
}

impl HostFacts {
    /// A host that can give everything, for tables that should not depend on this one.
    #[cfg(test)]
    pub(super) fn powerful() -> Self {
        Self {
            bounding: caps::from_mask(u64::MAX),
            may_raise_limits: true,
            hard_limits: Default::default(),
            oom_score_adj: 0,
            kernel: (6, 1),
            unified_cgroups: false,
            cpus: 2,
            cpu_list: "0-1".into(),
            memory_list: "0".into(),
            block_weights: true,
            block_limits: true,
            oom_kill_switch: true,
            swap_accounting: true,
        }
    }

    /// Whether the container's processes may be given this capability.
    pub fn has(&self, capability: Capability) -> bool {
        self.bounding.contains(&capability)
    }
}

#[cfg(test)]
mod tests;
