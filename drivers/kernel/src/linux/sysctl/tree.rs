//! The files of `/proc/sys`, in a tree of our own for sandboxes.
//!
//! Each namespace has its own `/proc/sys/net/ipv6`, but all those of one mount hang side by side in the kernel's cache of
//! names: who looks for one passes by every other namespace's, which among a thousand sandboxes takes a millisecond. So
//! sandboxes are visited by a mount of our own that nobody else sees, made anew before it has passed many by.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    os::fd::OwnedFd,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use rustix::{
    fs::{Mode, OFlags, openat},
    mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen},
};

/// So many visits make a mount as slow to use as a new one is to make.
const VISITS: u32 = 256;

/// Gives out trees for visits.
#[derive(Debug, Default)]
pub(in crate::linux) struct Trees {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    mount: Option<Arc<OwnedFd>>,
    visits: u32,
}

/// Where the files are found.
#[derive(Debug, Clone)]
pub(in crate::linux) enum Tree {
    /// Where everybody finds them: what is written here is announced to whoever watches the file.
    Common,
    /// In a mount of our own.
    Own(Arc<OwnedFd>),
}

impl Trees {
    /// A tree for one visit to a sandbox. Kernels before 5.2, and hosts that forbid mounts, have the common one only.
    pub(in crate::linux) fn for_visit(&self) -> Tree {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.visits.is_multiple_of(VISITS) {
            let made = mount();
            if let Err(error) = &made {
                tracing::debug!(%error, "sysctls of sandboxes are found in the common /proc");
            }
            state.mount = made.ok().map(Arc::new);
        }
        state.visits = state.visits.wrapping_add(1);
        state.mount.clone().map_or(Tree::Common, Tree::Own)
    }
}

fn mount() -> io::Result<OwnedFd> {
    let context = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

impl Tree {
    /// A file's text, by its name below /proc/sys.
    pub(super) fn read(&self, name: &str) -> io::Result<String> {
        let Self::Own(_) = self else {
            return fs::read_to_string(Path::new("/proc/sys").join(name));
        };
        let mut text = String::new();
        self.open(name, OFlags::RDONLY)?.read_to_string(&mut text)?;
        Ok(text)
    }

    /// Writes without truncating first, which would be announced while the old value is still there.
    pub(super) fn write(&self, name: &str, value: &str) -> io::Result<()> {
        self.open(name, OFlags::WRONLY)?.write_all(value.as_bytes())
    }

    fn open(&self, name: &str, flags: OFlags) -> io::Result<File> {
        let file = match self {
            Self::Common => rustix::fs::open(
                Path::new("/proc/sys").join(name),
                flags | OFlags::CLOEXEC,
                Mode::empty(),
            )?,
            Self::Own(mount) => openat(
                mount,
                Path::new("sys").join(name),
                flags | OFlags::CLOEXEC,
                Mode::empty(),
            )?,
        };
        Ok(file.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_trees_have_the_same_files() {
        let trees = Trees::default();
        let name = "net/ipv4/ip_forward";
        let common = Tree::Common.read(name).unwrap();
        for _ in 0..=VISITS {
            assert_eq!(trees.for_visit().read(name).unwrap(), common);
        }
        let absent = trees.for_visit().read("net/ipv4/nothing");
        assert_eq!(absent.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_mount_is_used_for_many_visits_and_not_for_ever() {
        let trees = Trees::default();
        let mounts: Vec<_> = (0..=VISITS)
            .map(|_| match trees.for_visit() {
                Tree::Own(mount) => Some(Arc::as_ptr(&mount)),
                Tree::Common => None,
            })
            .collect();
        let same = mounts
            .iter()
            .take(VISITS as usize)
            .all(|mount| *mount == mounts[0]);
        assert!(same, "{mounts:?}");
    }
}
