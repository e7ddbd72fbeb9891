//! Containers' own user namespace: root in a container is somebody without rights on the host.
//!
//! One for all containers of a daemon, so that they can share what they may share. On the disk nothing is shifted: what
//! belongs to a container's root belongs to the host's there, and is seen through a mount of the data-root that shifts
//! owners. So images and volumes are the same for containers with and without.

use std::path::{Path, PathBuf};

use rustix::{
    io::Errno,
    thread::{capabilities, set_capabilities},
};

/// The namespace, and what is needed to be seen from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Users {
    /// Where it is pinned.
    pub namespace: PathBuf,
    /// The data-root as it is.
    pub data_root: PathBuf,
    /// The data-root with its owners shifted.
    pub shifted: PathBuf,
    /// The host's numbers of users inside: the first, and how many; one range behind the other.
    pub uids: Vec<(u32, u32)>,
    /// The same of groups.
    pub gids: Vec<(u32, u32)>,
}

impl Users {
    /// A path in the data-root as it is seen with owners shifted; any other as it is.
    pub fn through(&self, path: &Path) -> PathBuf {
        match path.strip_prefix(&self.data_root) {
            Ok(inner) => self.shifted.join(inner),
            Err(_) => path.to_owned(),
        }
    }

    /// What a user and a group of the host are inside.
    pub fn inside(&self, uid: u32, gid: u32) -> (u32, u32) {
        (inside(&self.uids, uid), inside(&self.gids, gid))
    }

    /// What a user and a group of a container are on the host.
    pub fn outside(&self, uid: u32, gid: u32) -> (u32, u32) {
        (outside(&self.uids, uid), outside(&self.gids, gid))
    }

    /// Does something to a container's files as its root: what is made then belongs to that. On this thread alone.
    pub fn as_root<T>(&self, work: impl FnOnce() -> T) -> Result<T, Errno> {
        let (uid, gid) = self.outside(0, 0);
        let _back = Back::new(uid, gid)?;
        Ok(work())
    }
}

/// Takes the thread back to the host's root.
struct Back;

impl Back {
    fn new(uid: u32, gid: u32) -> Result<Self, Errno> {
        let all = capabilities(None)?;
        nix::unistd::setfsgid(gid.into());
        nix::unistd::setfsuid(uid.into());
        let back = Self;
        // Who takes on another's number for files loses what is for files only.
        set_capabilities(None, all)?;
        Ok(back)
    }
}

impl Drop for Back {
    fn drop(&mut self) {
        nix::unistd::setfsuid(0.into());
        nix::unistd::setfsgid(0.into());
    }
}

/// Nobody's number, as the kernel has it.
const NOBODY: u32 = 65_534;

fn inside(ranges: &[(u32, u32)], number: u32) -> u32 {
    let mut before = 0;
    for (first, count) in ranges {
        if number >= *first && number - first < *count {
            return before + (number - first);
        }
        before += count;
    }
    NOBODY
}

/// What is beyond all ranges can't be made: the last number is refused by the kernel.
fn outside(ranges: &[(u32, u32)], number: u32) -> u32 {
    let mut rest = number;
    for (first, count) in ranges {
        if rest < *count {
            return first + rest;
        }
        rest -= count;
    }
    u32::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_counted_through_the_ranges() {
        let ranges = [(100_000, 10), (500, 5)];
        for (within, host) in [(0, 100_000), (9, 100_009), (10, 500), (14, 504)] {
            assert_eq!(inside(&ranges, host), within);
            assert_eq!(outside(&ranges, within), host);
        }
        assert_eq!(inside(&ranges, 0), NOBODY);
        assert_eq!(outside(&ranges, 15), u32::MAX);
    }

    #[test]
    fn the_data_root_is_seen_through_its_other_mount() {
        let users = Users {
            namespace: "/run/users/ns".into(),
            data_root: "/var/lib/cnm".into(),
            shifted: "/run/users/data".into(),
            uids: vec![(1, 1)],
            gids: vec![(1, 1)],
        };
        let through = |path: &str| users.through(Path::new(path));
        assert_eq!(
            through("/var/lib/cnm/images/x"),
            Path::new("/run/users/data/images/x")
        );
        assert_eq!(through("/srv/x"), Path::new("/srv/x"));
    }
}
