//! A part of a volume, held by a mount of its own: what a container swaps for a symlink meanwhile leads nowhere else.

use std::{fs, io, path::Path};

use rustix::{
    fs::{CWD, FileType, Mode, OFlags, fstat, openat2},
    io::Errno,
    mount::{MoveMountFlags, OpenTreeFlags, UnmountFlags, move_mount, open_tree},
};

use crate::{Error, Result, rootfs};

/// Mounts what is at `part` below `data`, which must be there, at `place`, which is made. What is mounted there already
/// goes.
///
/// # Errors
/// When there is no such part, or a link leads out.
pub fn pin(data: &Path, part: &Path, place: &Path) -> Result<()> {
    unpin(place)?;
    let whole = data.join(part);
    let failed = |errno: Errno| Error::file("cannot access path", whole.clone())(errno.into());
    let base = rootfs::open_root(data)?;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let found = openat2(&base, part, flags, Mode::empty(), rootfs::inside()).map_err(failed)?;
    let folder = FileType::from_raw_mode(fstat(&found).map_err(failed)?.st_mode) == FileType::Directory;
    let tree = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = tree | OpenTreeFlags::AT_EMPTY_PATH | OpenTreeFlags::AT_RECURSIVE;
    let tree = open_tree(&found, "", tree).map_err(failed)?;
    make(place, folder).map_err(Error::file("making", place))?;
    let moved = move_mount(&tree, "", CWD, place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH);
    moved.map_err(|errno| Error::file("mounting", place)(errno.into()))
}

fn make(place: &Path, folder: bool) -> io::Result<()> {
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent)?;
    }
    match folder {
        true => fs::create_dir(place),
        false => fs::write(place, ""),
    }
}

/// Takes it away again. If it is not there, nothing is done.
///
/// # Errors
/// Those of the kernel.
pub fn unpin(place: &Path) -> Result<()> {
    loop {
        match rustix::mount::unmount(place, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            Ok(()) => {}
            Err(Errno::INVAL) => break,
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(Error::file("unmounting", place)(errno.into())),
        }
    }
    let removed = fs::remove_file(place).or_else(|_| fs::remove_dir(place));
    removed.map_err(Error::file("removing", place))
}
