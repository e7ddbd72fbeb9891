//! What is mounted in a container: the kernel's file systems, then what the user brings.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Below, ContainerConfig, Mount, Namespace, SpecError};
use crate::Users;

const SHM_SIZE: u64 = 64 << 20;

/// The spec's `mounts`, parents before children. What the user mounts at a default's place replaces it.
pub(super) fn mounts(config: &ContainerConfig, users: Option<&Users>) -> Value {
    let users = config
        .mounts
        .iter()
        .map(|mount| (destination(mount).to_owned(), user_mount(mount, users)));
    let users: Vec<(PathBuf, Value)> = users.collect();
    let mut all: Vec<(PathBuf, Value)> = defaults(config);
    all.retain(|(place, _)| !users.iter().any(|(taken, _)| taken == place));
    all.extend(users);
    all.sort_by_key(|(place, _)| place.components().count());
    all.into_iter().map(|(_, mount)| mount).collect()
}

fn destination(mount: &Mount) -> &Path {
    match mount {
        Mount::Bind { destination, .. } | Mount::Tmpfs { destination, .. } => destination,
    }
}

fn defaults(config: &ContainerConfig) -> Vec<(PathBuf, Value)> {
    let writable = if config.privileged { "rw" } else { "ro" };
    let shm_size = format!(
        "size={}",
        config.shm_size.filter(|size| *size > 0).unwrap_or(SHM_SIZE)
    );
    let bind = |path: &str| at(path, "bind", path, &["rbind", "nosuid", "noexec", "nodev"]);
    let queues = at("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]);
    let (queues, shm) = match &config.ipc {
        // Queues are mounted anew, which shows those of the same namespace: a host may have none mounted.
        Namespace::Host => (queues, bind("/dev/shm")),
        _ => (
            queues,
            at(
                "/dev/shm",
                "tmpfs",
                "shm",
                &["nosuid", "noexec", "nodev", "mode=1777", &shm_size],
            ),
        ),
    };
    vec![
        at("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        at(
            "/dev",
            "tmpfs",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k"],
        ),
        at(
            "/dev/pts",
            "devpts",
            "devpts",
            &[
                "nosuid",
                "noexec",
                "newinstance",
                "ptmxmode=0666",
                "mode=0620",
                "gid=5",
            ],
        ),
        at("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", writable]),
        at(
            "/sys/fs/cgroup",
            "cgroup",
            "cgroup",
            &[writable, "nosuid", "noexec", "nodev"],
        ),
        queues,
        shm,
    ]
}

fn at(destination: &str, kind: &str, source: &str, options: &[&str]) -> (PathBuf, Value) {
    let mount = json!({"destination": destination, "type": kind, "source": source, "options": options});
    (destination.into(), mount)
}

fn user_mount(mount: &Mount, users: Option<&Users>) -> Value {
    match mount {
        Mount::Bind {
            source,
            destination,
            readonly,
            propagation,
            below,
            ours,
        } => {
            let source = match users {
                Some(users) if *ours => users.through(source),
                _ => source.clone(),
            };
            let propagation = if propagation.is_empty() {
                "rprivate"
            } else {
                propagation
            };
            let kind = if *below == Below::Absent { "bind" } else { "rbind" };
            let access = match (readonly, below) {
                (false, _) => "rw",
                (true, Below::Writable) => "ro",
                // With the mounts below; every kernel that runs us can.
                (true, _) => "rro",
            };
            json!({
                "destination": destination, "type": "bind", "source": source,
                "options": [kind, access, propagation],
            })
        }
        Mount::Tmpfs { destination, options } => {
            let mut all: Vec<&str> = ["noexec", "nosuid", "nodev"]
                .into_iter()
                .filter(|flag| !undone(flag, options))
                .collect();
            all.extend(
                options
                    .iter()
                    .map(String::as_str)
                    .filter(|option| !option.is_empty()),
            );
            json!({"destination": destination, "type": "tmpfs", "source": "tmpfs", "options": all})
        }
    }
}

/// Refuses options of memory that the kernel doesn't know.
pub(super) fn check(mounts: &[Mount]) -> Result<(), SpecError> {
    let options = mounts.iter().flat_map(|mount| match mount {
        Mount::Tmpfs { options, .. } => options.as_slice(),
        Mount::Bind { .. } => &[],
    });
    for option in options.filter(|option| !option.is_empty()) {
        let name = option.split_once('=').map_or(option.as_str(), |(name, _)| name);
        let known = match option.contains('=') {
            true => MEMORY_VALUES.contains(&name),
            false => MEMORY_FLAGS.contains(&name),
        };
        if !known {
            return Err(SpecError::Invalid(format!("invalid tmpfs option {option:?}")));
        }
    }
    Ok(())
}

const MEMORY_VALUES: [&str; 7] = ["size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"];
const MEMORY_FLAGS: [&str; 24] = [
    "defaults",
    "ro",
    "rw",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "exec",
    "noexec",
    "sync",
    "async",
    "dirsync",
    "remount",
    "mand",
    "nomand",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
    "rprivate",
];

/// Whether the user says the opposite (`exec` for `noexec`), or the same.
fn undone(flag: &str, options: &[String]) -> bool {
    options
        .iter()
        .any(|option| option == flag || Some(option.as_str()) == flag.strip_prefix("no"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(config: &ContainerConfig) -> Vec<String> {
        let all = mounts(config, None);
        all.as_array()
            .unwrap()
            .iter()
            .map(|mount| mount["destination"].as_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn parents_come_before_children_and_a_users_mount_replaces_a_default() {
        let tmpfs = |place: &str| Mount::Tmpfs {
            destination: place.into(),
            options: vec!["exec".into()],
        };
        let config = ContainerConfig {
            mounts: vec![tmpfs("/a/b"), tmpfs("/a"), tmpfs("/dev/shm")],
            ..Default::default()
        };
        let places = places(&config);
        let place = |name: &str| places.iter().position(|one| one == name).unwrap();
        assert!(place("/a") < place("/a/b") && place("/dev") < place("/dev/pts"));
        assert_eq!(places.iter().filter(|one| *one == "/dev/shm").count(), 1);
        let all = mounts(&config, None);
        let shm = all
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["destination"] == "/dev/shm")
            .unwrap();
        assert_eq!(shm["options"], json!(["nosuid", "nodev", "exec"]));
    }

    #[test]
    fn sysfs_and_cgroups_are_writable_only_when_privileged() {
        let options = |config: &ContainerConfig| {
            let all = mounts(config, None);
            all.as_array()
                .unwrap()
                .iter()
                .find(|one| one["destination"] == "/sys")
                .unwrap()["options"]
                .clone()
        };
        assert_eq!(options(&ContainerConfig::default())[3], "ro");
        assert_eq!(
            options(&ContainerConfig {
                privileged: true,
                ..Default::default()
            })[3],
            "rw"
        );
    }
}
