//! Whether the host's own resolv.conf and hosts were changed: sandboxes' files are made of them.
//!
//! By a look each second: these files are replaced, linked to others and mounted over, which no watch of one file sees.

use std::{fs, os::unix::fs::MetadataExt, path::PathBuf, time::Duration};

use crate::settings::HostFiles;

/// How often they are looked at.
pub(super) const EVERY: Duration = Duration::from_secs(1);

/// Device, inode, size, and the moment of the last change with its nanoseconds.
type Stamp = (u64, u64, u64, i64, i64);

/// The files as they were.
#[derive(Debug)]
pub(super) struct Seen(Vec<(PathBuf, Option<Stamp>)>);

impl Seen {
    pub(super) fn now(files: &HostFiles) -> Self {
        let paths = files.resolv_conf.iter().chain([&files.hosts]);
        Self(paths.map(|path| (path.clone(), stamp(path))).collect())
    }

    /// Whether one has changed since the last call.
    pub(super) fn changed(&mut self) -> bool {
        let mut changed = false;
        for (path, seen) in &mut self.0 {
            let now = stamp(path);
            changed |= *seen != now;
            *seen = now;
        }
        changed
    }
}

fn stamp(path: &PathBuf) -> Option<Stamp> {
    let meta = fs::metadata(path).ok()?;
    Some((
        meta.dev(),
        meta.ino(),
        meta.size(),
        meta.mtime(),
        meta.mtime_nsec(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_written_replaced_or_removed_has_changed_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resolv.conf");
        let mut seen = Seen::now(&HostFiles {
            resolv_conf: vec![path.clone()],
            hosts: folder.path().join("hosts"),
        });
        assert!(!seen.changed());
        let other = folder.path().join("other");
        let steps: [&dyn Fn(); 3] = [
            &|| fs::write(&path, "nameserver 192.0.2.1\n").unwrap(),
            &|| {
                fs::write(&other, "nameserver 192.0.2.2\n").unwrap();
                fs::rename(&other, &path).unwrap();
            },
            &|| fs::remove_file(&path).unwrap(),
        ];
        for step in steps {
            step();
            assert!(seen.changed());
            assert!(!seen.changed());
        }
    }
}
