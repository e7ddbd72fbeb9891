//! What is mounted in a container: the kernel's file systems, then what the user brings.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{ContainerConfig, Mount, Namespace};

const SHM_SIZE: u64 = 64 << 20;

/// The spec's `mounts`, parents before children. What the user mounts at a default's place replaces it.
pub(super) fn mounts(config: &ContainerConfig) -> Value {
    let users = config
        .mounts
        .iter()
        .map(|mount| (destination(mount).to_owned(), user_mount(mount)));
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
    let (queues, shm) = match &config.ipc {
        Namespace::Host => (bind("/dev/mqueue"), bind("/dev/shm")),
        _ => (
            at("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
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

fn user_mount(mount: &Mount) -> Value {
    match mount {
        Mount::Bind {
            source,
            destination,
            readonly,
            propagation,
        } => {
            let propagation = if propagation.is_empty() {
                "rprivate"
            } else {
                propagation
            };
            let access = if *readonly { "ro" } else { "rw" };
            json!({
                "destination": destination, "type": "bind", "source": source,
                "options": ["rbind", access, propagation],
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
        let all = mounts(config);
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
        let all = mounts(&config);
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
            let all = mounts(config);
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
