//! Devices of the host that a container is given.

use std::{
    fs,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::{ContainerConfig, Device, SpecError};

/// A device as the spec wants it: the node, and the rule that lets it be used.
#[derive(Debug, Clone, PartialEq)]
pub struct Granted {
    pub(super) node: Value,
    pub(super) rule: Value,
}

/// Reads the devices the configuration names; for a privileged container every one the host has.
pub(super) fn gather(config: &ContainerConfig) -> Result<Vec<Granted>, SpecError> {
    let mut granted = if config.privileged {
        all_of_host(Path::new("/dev"))
    } else {
        Vec::new()
    };
    for device in &config.devices {
        granted.extend(one(device)?);
    }
    Ok(granted)
}

/// A directory stands for every device in it.
fn one(device: &Device) -> Result<Vec<Granted>, SpecError> {
    let error = |reason: String| SpecError::Device {
        path: device.host.clone(),
        reason,
    };
    let facts = fs::metadata(&device.host).map_err(|source| error(source.to_string()))?;
    if !facts.is_dir() {
        return Ok(vec![
            node(&device.host, &device.container, &device.permissions)
                .ok_or_else(|| error("not a device node".into()))?,
        ]);
    }
    let entries = fs::read_dir(&device.host).map_err(|source| error(source.to_string()))?;
    let inside = entries.flatten().filter_map(|entry| {
        node(
            &entry.path(),
            &device.container.join(entry.file_name()),
            &device.permissions,
        )
    });
    Ok(inside.collect())
}

fn node(host: &Path, container: &Path, permissions: &str) -> Option<Granted> {
    let facts = fs::metadata(host).ok()?;
    let kind = match facts.file_type() {
        kind if kind.is_char_device() => "c",
        kind if kind.is_block_device() => "b",
        _ => return None,
    };
    let (major, minor) = (rustix::fs::major(facts.rdev()), rustix::fs::minor(facts.rdev()));
    let access = if permissions.is_empty() {
        "rwm"
    } else {
        permissions
    };
    Some(Granted {
        node: json!({
            "path": container, "type": kind, "major": major, "minor": minor,
            "fileMode": facts.mode() & 0o7777, "uid": facts.uid(), "gid": facts.gid(),
        }),
        rule: json!({"allow": true, "type": kind, "major": major, "minor": minor, "access": access}),
    })
}

/// Terminals, shared memory and queues are the container's own; symlinks lead to what is found anyway.
fn all_of_host(directory: &Path) -> Vec<Granted> {
    let mut paths: Vec<PathBuf> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|one| one.path())
        .collect();
    paths.sort();
    let own = [
        "/dev/pts",
        "/dev/shm",
        "/dev/mqueue",
        "/dev/fd",
        "/dev/console",
        "/dev/ptmx",
    ];
    let mut found = Vec::new();
    for path in paths
        .into_iter()
        .filter(|path| !own.iter().any(|own| path == Path::new(own)))
    {
        match fs::symlink_metadata(&path) {
            Ok(facts) if facts.is_dir() => found.extend(all_of_host(&path)),
            Ok(facts) if !facts.is_symlink() => found.extend(node(&path, &path, "rwm")),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_named_by_its_numbers_and_what_is_none_is_refused() {
        let null = |host: &str| Device {
            host: host.into(),
            container: "/dev/nothing".into(),
            permissions: "r".into(),
        };
        let granted = one(&null("/dev/null")).unwrap();
        assert_eq!(
            granted[0].rule,
            json!({"allow": true, "type": "c", "major": 1, "minor": 3, "access": "r"})
        );
        assert_eq!(granted[0].node["path"], "/dev/nothing");
        assert!(matches!(one(&null("/etc/passwd")), Err(SpecError::Device { .. })));
        assert!(matches!(one(&null("/no/such")), Err(SpecError::Device { .. })));
    }
}
