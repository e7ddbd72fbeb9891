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

/// What may be used: nothing, then what was granted and what the user's rules say.
pub(super) fn rules(config: &ContainerConfig, granted: &[Granted]) -> Result<Value, SpecError> {
    let more: Vec<Value> = config
        .device_rules
        .iter()
        .map(|text| rule(text))
        .collect::<Result<_, _>>()?;
    if config.privileged {
        return Ok(json!([{"allow": true, "access": "rwm"}]));
    }
    let none = json!({"allow": false, "access": "rwm"});
    let granted = granted.iter().map(|one| one.rule.clone());
    Ok(std::iter::once(none).chain(granted).chain(more).collect())
}

/// `c 1:3 rwm`; `*` for every number, and `a` for both kinds.
fn rule(text: &str) -> Result<Value, SpecError> {
    let read = || {
        let mut words = text.split(' ');
        let (kind, numbers, access) = (words.next()?, words.next()?, words.next()?);
        let (major, minor) = numbers.split_once(':')?;
        let mut rule = json!({"allow": true, "type": kind, "access": access});
        for (name, text) in [("major", major), ("minor", minor)] {
            // What is not said is every number.
            if text != "*" {
                let digits = Some(text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
                rule[name] = json!(digits?.parse::<i64>().ok()?);
            }
        }
        let is_access = (1..=3).contains(&access.len()) && access.bytes().all(|byte| b"rwm".contains(&byte));
        let fits = ["a", "b", "c"].contains(&kind) && is_access && words.next().is_none();
        fits.then_some(rule)
    };
    read().ok_or_else(|| SpecError::Invalid(format!("invalid device cgroup rule format: '{text}'")))
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
    fn rules_name_kind_numbers_and_access() {
        for (text, fits) in [
            ("c 1:3 rwm", true),
            ("b *:* r", true),
            ("a 7:* m", true),
            ("c 1:3", false),
            ("d 1:3 r", false),
            ("c 1:3 x", false),
            ("c -1:3 r", false),
            ("c 1:3 rwmr", false),
            ("c 1:3 r ", false),
        ] {
            assert_eq!(rule(text).is_ok(), fits, "{text:?}");
        }
        let any_major = rule("b *:2 r").unwrap();
        assert_eq!((any_major.get("major"), &any_major["minor"]), (None, &json!(2)));
    }

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
