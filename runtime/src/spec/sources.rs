//! What binds ask of the mounts that their sources are on: nothing of ours reaches the host's mounts, or theirs ours,
//! unless those are shared.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Mount, SpecError};

/// Refuses a bind that is to share mounts with the host where the host's mount shares none.
pub(super) fn check(mounts: &[Mount]) -> Result<(), SpecError> {
    let mut table = None;
    for mount in mounts {
        let Mount::Bind {
            source, propagation, ..
        } = mount
        else {
            continue;
        };
        let wanted = match propagation.trim_start_matches('r') {
            "shared" => Wanted::Shared,
            "slave" => Wanted::Heard,
            _ => continue,
        };
        // Not to be read is not to be known: the kernel decides then.
        let table =
            table.get_or_insert_with(|| fs::read_to_string("/proc/self/mountinfo").unwrap_or_default());
        let source = fs::canonicalize(source).unwrap_or_else(|_| source.clone());
        allowed(table, &source, wanted)?;
    }
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// What the container mounts is seen by the host.
    Shared,
    /// What the host mounts is seen by the container.
    Heard,
}

fn allowed(mountinfo: &str, source: &Path, wanted: Wanted) -> Result<(), SpecError> {
    let on = mountinfo
        .lines()
        .filter_map(entry)
        .filter(|(place, _)| source.starts_with(place))
        // Of several at one place the last is on top.
        .max_by_key(|(place, _)| place.components().count());
    let Some((mount, fields)) = on else {
        return Ok(());
    };
    let is = |kind: &str| fields.iter().any(|field| field.starts_with(kind));
    let (fits, words) = match wanted {
        Wanted::Shared => (is("shared:"), "shared"),
        Wanted::Heard => (is("shared:") || is("master:"), "shared or slave"),
    };
    match fits {
        true => Ok(()),
        false => Err(SpecError::Propagation {
            path: source.to_owned(),
            mount,
            wanted: words,
        }),
    }
}

/// Where it is mounted, and the optional fields: `36 35 98:0 /root /at rw,noatime master:1 - ext3 …`.
fn entry(line: &str) -> Option<(PathBuf, Vec<&str>)> {
    let (left, _) = line.split_once(" - ")?;
    let mut fields = left.split(' ');
    let place = fields.nth(4)?;
    Some((unescaped(place).into(), fields.skip(1).collect()))
}

/// The kernel writes spaces and the like as `\\040`.
fn unescaped(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (code, plain)| text.replace(code, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
1 0 8:1 / / rw,relatime - ext4 /dev/sda rw
2 1 8:2 / /srv rw shared:7 - ext4 /dev/sdb rw
3 1 8:3 / /srv/with\\040space rw master:7 - ext4 /dev/sdc rw
4 1 8:4 / /both rw shared:8 master:7 - ext4 /dev/sdd rw
";

    #[test]
    fn what_is_to_be_shared_must_be_on_a_shared_mount() {
        let table = [
            ("/srv/x", Wanted::Shared, None),
            ("/srv", Wanted::Heard, None),
            ("/srvx", Wanted::Shared, Some("/")),
            ("/srv/with space/y", Wanted::Shared, Some("/srv/with space")),
            ("/srv/with space/y", Wanted::Heard, None),
            ("/both", Wanted::Shared, None),
            ("/home", Wanted::Heard, Some("/")),
        ];
        for (source, wanted, refused) in table {
            let mount = match allowed(TABLE, Path::new(source), wanted) {
                Err(SpecError::Propagation { mount, .. }) => Some(mount),
                _ => None,
            };
            assert_eq!(mount.as_deref(), refused.map(Path::new), "{source} {wanted:?}");
        }
    }

    #[test]
    fn the_refusal_names_both_paths() {
        let refused = allowed(TABLE, Path::new("/h"), Wanted::Shared).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "path /h is mounted on / but it is not a shared mount"
        );
    }
}
