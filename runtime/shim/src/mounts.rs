//! What a container sees of the host's mounts, and the host of its: prepared before libcontainer mounts anything.
//!
//! libcontainer takes no notice of a mount's propagation: all that it binds would hear of what is mounted on the host
//! later, and nothing would be heard there. So its caller has a mount namespace of its own, where everything is private
//! but the binds that shall not be. Those are copied while they are still the host's peers, and the copies are what
//! libcontainer is told to bind.

use std::{
    fs::{self, File},
    io,
    os::{
        fd::{AsFd as _, IntoRawFd as _, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use nix::sched::{CloneFlags, unshare};
use oci_spec::runtime::{Mount, Spec};
use rustix::{
    fs::CWD,
    mount::{
        MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount as mount_memory,
        mount_change, move_mount, open_tree,
    },
};

use shim_protocol::Launch;

use crate::fork::{self, MountChange};

/// Takes the calling process, which has one thread, into mounts of its own. Whether the spec was changed: what is not
/// private, and all that is bound where the container's maker is nobody on the host, is staged in the shim's folder.
pub(crate) fn prepare(launch: &Launch, spec: &mut Spec) -> Result<bool> {
    unshare(CloneFlags::CLONE_NEWNS).context("making a mount namespace")?;
    let stranger = launch.users.is_some();
    let staged = copies(spec, stranger)?;
    let root = stranger.then(|| copy_root(spec)).transpose()?;
    if stranger {
        open_namespaces(spec)?;
    }
    let all = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", all).context("making the mounts private")?;
    if staged.is_empty() && root.is_none() {
        return Ok(false);
    }
    let folder = stage(&launch.state, stranger)?;
    if let Some(tree) = root {
        let place = folder.join("root");
        attach(&tree, true, &place).context("staging the root")?;
        if let Some(root) = spec.root_mut() {
            root.set_path(place);
        }
    }
    let shared = staged.iter().any(|copy| copy.reach == Some(Reach::Shared));
    let mounts = spec.mounts_mut().as_mut().context("the spec has no mounts")?;
    for copy in staged {
        let place = folder.join(copy.at.to_string());
        attach(&copy.tree, copy.is_folder, &place)
            .with_context(|| format!("staging the mount of {}", copy.source.display()))?;
        if let Some(mount) = mounts.get_mut(copy.at) {
            mount.set_source(Some(place));
        }
    }
    if shared && let Some(linux) = spec.linux_mut() {
        // What is private here then has peers in the container alone; what is shared keeps those it has.
        linux.set_rootfs_propagation(Some("shared".to_owned()));
    }
    Ok(true)
}

/// The folder for mounts, in memory. A stranger finds it where everybody may pass: what that covers is covered here
/// alone, and was copied before if it is bound.
fn stage(state: &Path, stranger: bool) -> Result<PathBuf> {
    let (folder, options) = if stranger {
        (
            open_place(state).context("there is no folder for mounts")?,
            c"mode=0711",
        )
    } else {
        let folder = state.join("mounts");
        fs::create_dir_all(&folder).context("making a folder for mounts")?;
        (folder, c"mode=0700")
    };
    mount_memory("cnm", &folder, "tmpfs", MountFlags::empty(), options).context("mounting memory")?;
    Ok(folder)
}

/// A folder that everybody may pass, and that is not needed for what is still to be done.
fn open_place(state: &Path) -> Option<PathBuf> {
    let places = ["/mnt", "/media", "/srv", "/opt", "/home", "/tmp"];
    let mut places = places.into_iter().map(PathBuf::from);
    places.find(|place| {
        let open = fs::metadata(place).is_ok_and(|facts| facts.is_dir() && facts.mode() & 0o001 != 0);
        open && !state.starts_with(place)
    })
}

/// Namespaces are joined by descriptors: the way to their files may be closed to a stranger.
fn open_namespaces(spec: &mut Spec) -> Result<()> {
    let Some(linux) = spec.linux_mut() else {
        return Ok(());
    };
    let mut all = linux.namespaces().clone().unwrap_or_default();
    for namespace in &mut all {
        if let Some(path) = namespace.path().clone() {
            let file = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
            // Open until the command is executed.
            let path = format!("/proc/self/fd/{}", file.into_raw_fd());
            namespace.set_path(Some(path.into()));
        }
    }
    linux.set_namespaces(Some(all));
    Ok(())
}

fn copy_root(spec: &Spec) -> Result<OwnedFd> {
    let root = spec.root().as_ref().context("the spec has no root")?;
    copy(root.path(), &[]).context("copying the mount of the root")
}

/// How far mounts are heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// In both directions.
    Shared,
    /// The container hears of the host's.
    Heard,
}

struct Copy {
    /// Which of the spec's mounts.
    at: usize,
    source: PathBuf,
    is_folder: bool,
    tree: OwnedFd,
    reach: Option<Reach>,
}

fn copies(spec: &Spec, all: bool) -> Result<Vec<Copy>> {
    let mounts = spec.mounts().iter().flatten().enumerate();
    let mut copies = Vec::new();
    for (at, mount) in mounts {
        let options = options(mount);
        if mount.typ().as_deref() != Some("bind") {
            continue;
        }
        let reach = reach(&options);
        if reach.is_none() && !all {
            continue;
        }
        let source = mount.source().clone().unwrap_or_default();
        let failed = || format!("copying the mount of {}", source.display());
        let tree = copy(&source, &options).with_context(failed)?;
        let is_folder = source.is_dir();
        if reach == Some(Reach::Heard) {
            let change = MountChange::hearing();
            fork::change_mount(tree.as_fd(), &change).with_context(failed)?;
        }
        copies.push(Copy {
            at,
            source,
            is_folder,
            tree,
            reach,
        });
    }
    Ok(copies)
}

fn options(mount: &Mount) -> Vec<&str> {
    mount.options().iter().flatten().map(String::as_str).collect()
}

fn reach(options: &[&str]) -> Option<Reach> {
    options.iter().find_map(|option| match *option {
        "shared" | "rshared" => Some(Reach::Shared),
        "slave" | "rslave" => Some(Reach::Heard),
        _ => None,
    })
}

/// A copy that is mounted nowhere, with the same peers.
fn copy(source: &Path, options: &[&str]) -> io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if options.contains(&"rbind") {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    Ok(open_tree(CWD, source, flags)?)
}

fn attach(tree: &OwnedFd, is_folder: bool, place: &Path) -> io::Result<()> {
    if is_folder {
        fs::create_dir(place)?;
    } else {
        File::create(place)?;
    }
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    Ok(move_mount(tree, "", CWD, place, flags)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_a_mount_is_heard_of_is_in_its_options() {
        for (options, wanted) in [
            (&["rbind", "rw", "rprivate"][..], None),
            (&["rbind", "rshared"], Some(Reach::Shared)),
            (&["bind", "shared", "ro"], Some(Reach::Shared)),
            (&["rbind", "rslave"], Some(Reach::Heard)),
            (&["slave"], Some(Reach::Heard)),
            (&[], None),
        ] {
            assert_eq!(reach(options), wanted, "{options:?}");
        }
    }
}
