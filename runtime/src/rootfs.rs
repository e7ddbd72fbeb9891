//! A container's root: the image's layers below, one writable layer on top, put together by overlayfs; and safe
//! ways to look into it, because an image's symlinks may point anywhere.
//!
//! The new mount API takes each layer in a call of its own, so neither a page's size nor a colon in a path limits
//! how many there are; the kernel's own limit does.

use std::{
    ffi::CString,
    fs,
    io::{self, Read as _},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::fs::{DirBuilderExt as _, MetadataExt as _},
    },
    path::{Component, Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::{
    fs::{CWD, Mode, OFlags, ResolveFlags, mkdirat, openat2},
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
        fsconfig_create, fsconfig_set_path, fsconfig_set_string, fsmount, fsopen, mount as mount_by_name,
        move_mount, open_tree,
    },
};

use crate::{Error, Result, Users};

/// The kernel takes no more lower layers.
pub const MOST_LAYERS: usize = 500;

/// No passwd or group file is read beyond this.
const LARGEST_FILE: u64 = 16 << 20;

/// A container's directories below its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directories {
    /// What the container has written.
    pub upper: PathBuf,
    /// The kernel's scratch space.
    pub work: PathBuf,
    /// Where the root is mounted.
    pub root: PathBuf,
}

impl Directories {
    /// Those of the container whose own directory is `dir`.
    pub fn new(dir: &Path) -> Self {
        Self {
            upper: dir.join("upper"),
            work: dir.join("work"),
            root: dir.join("rootfs"),
        }
    }
}

/// Mounts the root of a container from its image's layers, topmost first, and the writable layer in the container's
/// own directory. Returns where. If it is mounted already, nothing is done.
///
/// # Errors
/// For too many layers; those of the kernel.
pub fn mount(layers: &[PathBuf], dir: &Path) -> Result<PathBuf> {
    mount_for(layers, dir, None)
}

/// The same for a container in these users' namespace, if there are any.
///
/// # Errors
/// As [`mount`].
pub fn mount_for(layers: &[PathBuf], dir: &Path, users: Option<&Users>) -> Result<PathBuf> {
    let root = Directories::new(dir).root;
    if !is_mounted(&root)? {
        make(&root, 0o711)?;
        let mounted = detached(layers, dir, users)?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        move_mount(&mounted, "", CWD, &root, flags)
            .map_err(|errno| Error::file("mounting", &root)(errno.into()))?;
    }
    Ok(root)
}

/// The root of a container, to look into: where it is mounted, else a mount of its own that ends with the descriptor.
/// The caller sees to it that the container does not start meanwhile.
///
/// # Errors
/// As [`mount`].
pub fn open(layers: &[PathBuf], dir: &Path) -> Result<OwnedFd> {
    let root = Directories::new(dir).root;
    if is_mounted(&root)? {
        open_root(&root)
    } else {
        detached(layers, dir, None)
    }
}

fn detached(layers: &[PathBuf], dir: &Path, users: Option<&Users>) -> Result<OwnedFd> {
    let directories = Directories::new(dir);
    let Directories { upper, work, root } = &directories;
    if layers.len() > MOST_LAYERS {
        let reason = format!(
            "the image has {} layers, the kernel stacks at most {MOST_LAYERS}",
            layers.len()
        );
        return Err(Error::file("mounting", root)(io::Error::new(
            io::ErrorKind::InvalidInput,
            reason,
        )));
    }
    make_upper(layers.first(), upper)?;
    make(work, 0o711)?;
    let empty = dir.join("empty");
    let layers = if layers.is_empty() {
        make(&empty, 0o755)?;
        std::slice::from_ref(&empty)
    } else {
        layers
    };
    let seen = |path: &Path| users.map_or_else(|| path.to_owned(), |users| users.through(path));
    let layers: Vec<PathBuf> = layers.iter().map(|layer| seen(layer)).collect();
    let directories = Directories {
        upper: seen(upper),
        work: seen(work),
        root: root.clone(),
    };
    let mount = || overlay(&layers, &directories);
    // The overlay makes files as who mounted it: that must be somebody in these users' numbers.
    let mounted = match users {
        Some(users) => users.as_root(mount).and_then(|mounted| mounted),
        None => mount(),
    };
    mounted.map_err(|errno| Error::file("mounting", root)(errno.into()))
}

/// Mounts memory that a container shares with others, at a place of its own; returns where. If it is mounted already,
/// nothing is done.
///
/// # Errors
/// Those of the kernel.
pub fn mount_shared_memory(dir: &Path, size: u64) -> Result<PathBuf> {
    let place = shared_memory(dir);
    make(&place, 0o711)?;
    if !is_mounted(&place)? {
        let flags = MountFlags::NOSUID | MountFlags::NOEXEC | MountFlags::NODEV;
        let options = CString::new(format!("mode=1777,size={size}")).unwrap_or_default();
        mount_by_name("shm", &place, "tmpfs", flags, options.as_c_str())
            .map_err(|errno| Error::file("mounting", &place)(errno.into()))?;
    }
    Ok(place)
}

/// Where a container's shared memory is mounted, if others may have it.
pub fn shared_memory(dir: &Path) -> PathBuf {
    dir.join("shm")
}

/// Unmounts a container's root and what it shares. What is not mounted is passed over.
///
/// # Errors
/// Those of the kernel.
pub fn unmount(dir: &Path) -> Result<()> {
    unmount_at(&shared_memory(dir)).and(unmount_at(&Directories::new(dir).root))
}

fn unmount_at(place: &Path) -> Result<()> {
    loop {
        // Detached: a process that still holds a file of it does not keep the name busy.
        match rustix::mount::unmount(place, UnmountFlags::DETACH) {
            Ok(()) => {}
            Err(Errno::INVAL | Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(Error::file("unmounting", place)(errno.into())),
        }
    }
}

/// The layer's own root decides who may enter the container's root directory.
fn make_upper(top: Option<&PathBuf>, upper: &Path) -> Result<()> {
    let mode = top
        .and_then(|layer| fs::metadata(layer).ok())
        .map_or(0o755, |facts| facts.mode() & 0o7777);
    make(upper, mode)
}

fn make(directory: &Path, mode: u32) -> Result<()> {
    let made = fs::DirBuilder::new().recursive(true).mode(mode).create(directory);
    made.map_err(Error::file("making the directory", directory))
}

fn overlay(layers: &[PathBuf], directories: &Directories) -> rustix::io::Result<OwnedFd> {
    // Kernels before 6.5 know no layers one by one, and complain of them in their log: once is enough.
    static AT_ONCE: AtomicBool = AtomicBool::new(false);
    if AT_ONCE.load(Ordering::Relaxed) {
        return at_once(layers, directories);
    }
    match by_layer(layers, directories) {
        Err(Errno::INVAL) => {
            let mounted = at_once(layers, directories)?;
            AT_ONCE.store(true, Ordering::Relaxed);
            Ok(mounted)
        }
        other => other,
    }
}

fn by_layer(layers: &[PathBuf], directories: &Directories) -> rustix::io::Result<OwnedFd> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "source", "overlay")?;
    for layer in layers {
        add_layer(&context, layer)?;
    }
    fsconfig_set_string(&context, "upperdir", &directories.upper)?;
    fsconfig_set_string(&context, "workdir", &directories.work)?;
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}

/// By the old call, whose options are one page: directories are named by descriptors, so that more than two hundred layers
/// have room in it, whatever they are called. It mounts at a place, from which the mount is taken off again.
fn at_once(layers: &[PathBuf], directories: &Directories) -> rustix::io::Result<OwnedFd> {
    let open = |path: &PathBuf| {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty())
    };
    let lower = layers.iter().map(open).collect::<rustix::io::Result<Vec<_>>>()?;
    let (upper, work) = (open(&directories.upper)?, open(&directories.work)?);
    let named = |descriptor: &OwnedFd| format!("/proc/self/fd/{}", descriptor.as_raw_fd());
    let names: Vec<_> = lower.iter().map(named).collect();
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        names.join(":"),
        named(&upper),
        named(&work)
    );
    let options = CString::new(options).map_err(|_| Errno::INVAL)?;
    let root = &directories.root;
    fs::create_dir_all(root).map_err(|_| Errno::NOENT)?;
    mount_by_name(
        "overlay",
        root,
        "overlay",
        MountFlags::empty(),
        options.as_c_str(),
    )?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mounted = open_tree(CWD, root, flags);
    rustix::mount::unmount(root, UnmountFlags::DETACH)?;
    mounted
}

fn add_layer(context: &OwnedFd, layer: &Path) -> rustix::io::Result<()> {
    match fsconfig_set_string(context, "lowerdir+", layer) {
        // Kernels before 6.8 know the option only with a path as its value.
        Err(Errno::INVAL) => fsconfig_set_path(context, "lowerdir+", layer, CWD),
        other => other,
    }
}

/// Whether something is mounted here: a mount point and its parent are on different mounts.
///
/// # Errors
/// Those of looking at it.
pub fn is_mounted(root: &Path) -> Result<bool> {
    use rustix::fs::{AtFlags, StatxAttributes, StatxFlags, statx};
    match statx(CWD, root, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::empty()) {
        Ok(facts) => Ok(facts.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(Error::file("looking at", root)(errno.into())),
    }
}

/// Reads a file of a root, following its symlinks as a process inside would; nothing if it is not there.
///
/// # Errors
/// Those of the file system; a file that is unreasonably large.
pub fn read_file(root: &Path, path: &Path) -> Result<Option<String>> {
    let directory = open_root(root)?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = match openat2(&directory, path, flags, Mode::empty(), inside()) {
        Ok(file) => fs::File::from(file),
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(errno) => return Err(Error::file("reading", root.join(path))(errno.into())),
    };
    let error = || Error::file("reading", root.join(path));
    if !file.metadata().map_err(error())?.is_file() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.take(LARGEST_FILE).read_to_end(&mut bytes).map_err(error())?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Makes a directory of a root, and its parents, following its symlinks as a process inside would.
///
/// # Errors
/// Those of the file system: something else may be in the way.
pub fn make_dir(root: &Path, path: &Path) -> Result<()> {
    make_dir_for(root, path, None)
}

/// The same in the root of a container in these users' namespace: its root owns what is made.
///
/// # Errors
/// As [`make_dir`].
pub fn make_dir_for(root: &Path, path: &Path, users: Option<&Users>) -> Result<()> {
    let error = |errno: Errno| Error::file("making the directory", path)(errno.into());
    let mut directory = open_root(root)?;
    let mut so_far = PathBuf::from(".");
    for component in path.components() {
        match component {
            Component::Normal(name) => so_far.push(name),
            Component::ParentDir => so_far.push(".."),
            _ => continue,
        }
        let base = open_root(root)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        directory = match openat2(&base, &so_far, flags, Mode::empty(), inside()) {
            Err(Errno::NOENT) => {
                let name = so_far.file_name().ok_or_else(|| error(Errno::NOENT))?;
                let make = || mkdirat(&directory, name, Mode::from_raw_mode(0o755));
                users
                    .map_or_else(|| Ok(make()), |users| users.as_root(make))
                    .and_then(|made| made)
                    .map_err(error)?;
                openat2(&base, &so_far, flags, Mode::empty(), inside()).map_err(error)?
            }
            other => other.map_err(error)?,
        };
    }
    Ok(())
}

/// Opens a directory that others' paths are resolved below.
pub(crate) fn open_root(root: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(root, flags, Mode::empty());
    opened.map_err(|errno| Error::file("opening", root)(errno.into()))
}

/// Every path, absolute symlinks included, stays below the root.
pub(crate) fn inside() -> ResolveFlags {
    ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS
}

#[cfg(test)]
mod tests;
