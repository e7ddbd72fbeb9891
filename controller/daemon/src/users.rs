//! `userns-remap`: whose subordinate numbers containers' users get, and the namespace that they are in.

use std::{fs, path::Path, sync::Arc};

use anyhow::Context as _;
use kernel::users::{self, Mapping, Range};
use runtime::Users;

use crate::config::Config;

/// Whom `default` stands for.
const DEFAULT: &str = "dockremap";

/// So many are in the line that a hint proposes.
const USUAL: u32 = 65_536;

/// Makes the namespace, and the mount of the data-root that is seen from it. None where containers have the host's users.
///
/// # Errors
/// For somebody who is not there or has no numbers; where the data-root's file system can't shift owners.
pub fn start(config: &Config) -> anyhow::Result<Option<Arc<Users>>> {
    let folder = config.exec_root.join("users");
    let Some(setting) = &config.userns_remap else {
        // What an earlier start left has no user any more, but for containers that run: they keep it open.
        users::unmount(&folder.join("data")).context("userns-remap")?;
        return Ok(None);
    };
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let mapping = mapping(
        setting,
        &Tables {
            passwd: &read("/etc/passwd"),
            group: &read("/etc/group"),
            subuid: &read("/etc/subuid"),
            subgid: &read("/etc/subgid"),
        },
    )?;
    let namespace = folder.join(name(&mapping));
    users::create(&namespace, &mapping).context("userns-remap: making a user namespace")?;
    let shifted = folder.join("data");
    shift(&config.data_root, &shifted, &namespace)?;
    let ranges = |all: &[Range]| all.iter().map(|one| (one.first, one.count)).collect();
    Ok(Some(Arc::new(Users {
        namespace,
        data_root: config.data_root.clone(),
        shifted,
        uids: ranges(&mapping.users),
        gids: ranges(&mapping.groups),
    })))
}

/// Takes the mount away, and the namespace too unless containers are in it: another start finds that again.
pub fn stop(exec_root: &Path, containers_run: bool) {
    let folder = exec_root.join("users");
    let mut pins = vec![folder.join("data")];
    if !containers_run {
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        pins.extend(entries.map(|entry| entry.path()));
    }
    for pin in &pins {
        if let Err(error) = users::unmount(pin) {
            tracing::warn!(pin = %pin.display(), %error, "letting go of containers' users");
        }
    }
    if !containers_run {
        // Empty files and folders; what is a mount point still, or isn't empty, stays.
        for pin in &pins {
            let _ = fs::remove_file(pin).or_else(|_| fs::remove_dir(pin));
        }
        let _ = fs::remove_dir(&folder);
    }
}

fn shift(data_root: &Path, shifted: &Path, namespace: &Path) -> anyhow::Result<()> {
    users::shift(data_root, shifted, namespace).with_context(|| {
        format!(
            "userns-remap: {} can't be mounted with other owners; it takes Linux 5.19 and a file system such as ext4, \
             xfs or btrfs (move data-root, or leave out userns-remap)",
            data_root.display()
        )
    })
}

/// The namespace of another mapping has another name.
fn name(mapping: &Mapping) -> String {
    let part = |all: &[Range]| {
        let each = all.iter().map(|one| format!("{}+{}", one.first, one.count));
        each.collect::<Vec<_>>().join(",")
    };
    format!("{}:{}", part(&mapping.users), part(&mapping.groups))
}

/// The files that say who there is.
#[derive(Debug, Clone, Copy)]
struct Tables<'a> {
    passwd: &'a str,
    group: &'a str,
    subuid: &'a str,
    subgid: &'a str,
}

/// Reads `default`, `user`, `user:group`; each by name or by number.
fn mapping(setting: &str, tables: &Tables<'_>) -> anyhow::Result<Mapping> {
    let (user, group) = setting.split_once(':').unwrap_or((setting, ""));
    let user = if user == "default" { DEFAULT } else { user };
    anyhow::ensure!(!user.is_empty(), "userns-remap: {setting:?} names no user");
    let (user, own_group) = account(tables.passwd, user).with_context(|| {
        format!(
            "userns-remap: there is no user {user:?} (make one: useradd --system --no-create-home {user})"
        )
    })?;
    let group = match group {
        "" => own_group
            .and_then(|id| entry(tables.group, &id))
            .unwrap_or_else(|| user.clone()),
        name => entry(tables.group, name).with_context(|| {
            format!("userns-remap: there is no group {name:?} (make one: groupadd --system {name})")
        })?,
    };
    Ok(Mapping {
        users: ranges("/etc/subuid", tables.subuid, &user)?,
        groups: ranges("/etc/subgid", tables.subgid, &group)?,
    })
}

/// Somebody's name and number.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Named {
    name: String,
    id: String,
}

/// A user, and the number of the group.
fn account(passwd: &str, wanted: &str) -> Option<(Named, Option<String>)> {
    let found = entry(passwd, wanted)?;
    let line = passwd
        .lines()
        .find(|line| line.split(':').next() == Some(&found.name))?;
    Some((found, line.split(':').nth(3).map(str::to_owned)))
}

/// By name, else by number.
fn entry(table: &str, wanted: &str) -> Option<Named> {
    let entries = || {
        table.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let (name, id) = (fields.next()?, fields.nth(1)?);
            Some((name, id))
        })
    };
    let found = entries()
        .find(|(name, _)| *name == wanted)
        .or_else(|| entries().find(|(_, id)| *id == wanted))?;
    Some(Named {
        name: found.0.to_owned(),
        id: found.1.to_owned(),
    })
}

/// `name:first:count`, a line for each range.
fn ranges(path: &str, table: &str, whose: &Named) -> anyhow::Result<Vec<Range>> {
    let mut ranges = Vec::new();
    for line in table.lines().filter(|line| !line.trim_start().starts_with('#')) {
        let mut fields = line.trim().split(':');
        let (Some(name), Some(first), Some(count)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        if name != whose.name && name != whose.id {
            continue;
        }
        let number = |text: &str| text.parse::<u32>();
        match (number(first), number(count)) {
            (Ok(first), Ok(count)) if count > 0 && first.checked_add(count).is_some() => {
                ranges.push(Range { first, count });
            }
            _ => anyhow::bail!("userns-remap: {path} says {line:?}, which is no range of numbers"),
        }
    }
    anyhow::ensure!(
        !ranges.is_empty(),
        "userns-remap: {path} has no line for {name} (add one of numbers that nobody has: {name}:{first}:{USUAL})",
        name = whose.name,
        first = free(table),
    );
    Ok(ranges)
}

/// The first number behind all ranges.
fn free(table: &str) -> u32 {
    let ends = table.lines().filter_map(|line| {
        let mut fields = line.trim().split(':').skip(1);
        let (first, count) = (
            fields.next()?.parse::<u32>().ok()?,
            fields.next()?.parse::<u32>().ok()?,
        );
        first.checked_add(count)
    });
    ends.max().unwrap_or(100_000).max(100_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLES: Tables<'_> = Tables {
        passwd: "root:x:0:0::/root:/bin/sh\ndockremap:x:999:998::/:/bin/false\nann:x:1000:1000::/:\n",
        group: "root:x:0:\ndockremap:x:998:\nann:x:1000:\nmany:x:50:\n",
        subuid: "# a comment\nann:100000:65536\ndockremap:200000:65536\ndockremap:400000:10\n",
        subgid: "1000:300000:65536\n998:200000:65536\nmany:500000:5\n",
    };

    fn read(setting: &str) -> String {
        match mapping(setting, &TABLES) {
            Ok(mapping) => name(&mapping),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn users_and_groups_are_found_by_name_and_number() {
        for (setting, wanted) in [
            ("default", "200000+65536,400000+10:200000+65536"),
            ("dockremap", "200000+65536,400000+10:200000+65536"),
            ("999", "200000+65536,400000+10:200000+65536"),
            ("ann", "100000+65536:300000+65536"),
            ("1000:1000", "100000+65536:300000+65536"),
            ("ann:many", "100000+65536:500000+5"),
        ] {
            assert_eq!(read(setting), wanted, "{setting}");
        }
    }

    #[test]
    fn what_is_missing_is_said_with_what_to_add() {
        for (setting, says) in [
            ("bob", "there is no user \"bob\""),
            ("ann:nobodys", "there is no group \"nobodys\""),
            (
                "root",
                "/etc/subuid has no line for root (add one of numbers that nobody has: root:400010:65536)",
            ),
            (":ann", "names no user"),
        ] {
            assert!(read(setting).contains(says), "{setting}: {}", read(setting));
        }
        let wrong = Tables {
            subuid: "ann:0:x\n",
            ..TABLES
        };
        let error = mapping("ann", &wrong).expect_err("no range").to_string();
        assert!(error.contains("which is no range"), "{error}");
    }
}
