//! Copies a folder of a mounted root, attributes and all, without ever leaving it by a symlink.

use std::{
    collections::HashMap,
    ffi::CStr,
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{
        AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags, chmodat,
        chownat, fchmod, fchown, fgetxattr, flistxattr, fsetxattr, fstat, futimens, linkat, mkdirat, mknodat,
        openat, openat2, readlinkat, statat, symlinkat, utimensat,
    },
    io::Errno,
};

use crate::{Error, Result, rootfs};

const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Copies the folder `path` of `root` into the folder `data`, which is empty. Whether `root` has it.
///
/// # Errors
/// Those of the file system.
pub fn fill(root: &Path, path: &Path, data: &Path) -> Result<bool> {
    let failed = |errno: Errno| Error::file("copying the image's content of", path)(errno.into());
    let base = rootfs::open_root(root)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let from = match openat2(&base, path, flags, Mode::empty(), rootfs::inside()) {
        Ok(from) => from,
        Err(Errno::NOENT) => return Ok(false),
        Err(errno) => return Err(failed(errno)),
    };
    let to = openat(CWD, data, flags, Mode::empty()).map_err(failed)?;
    let mut links = HashMap::new();
    copy_folder(&from, &to, &to, &mut links)
        .map_err(|error| Error::file("copying the image's content of", path)(error))?;
    Ok(true)
}

/// Whether a root has anything at a path.
///
/// # Errors
/// Those of the file system.
pub fn offers(root: &Path, path: &Path) -> Result<bool> {
    let base = rootfs::open_root(root)?;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    match openat2(&base, path, flags, Mode::empty(), rootfs::inside()) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
        Err(errno) => Err(Error::file("looking at", path)(errno.into())),
    }
}

/// Files with several names: where their first one was copied to.
type Links = HashMap<(u64, u64), OwnedFd>;

fn copy_folder(from: &OwnedFd, to: &OwnedFd, top: &OwnedFd, links: &mut Links) -> io::Result<()> {
    for entry in Dir::read_from(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            copy(from, to, name, top, links)?;
        }
    }
    dress(from, to, &fstat(from)?)
}

fn copy(from: &OwnedFd, to: &OwnedFd, name: &CStr, top: &OwnedFd, links: &mut Links) -> io::Result<()> {
    let facts = statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let kind = FileType::from_raw_mode(facts.st_mode);
    if kind == FileType::Directory {
        let inner = openat(from, name, FOLDER, Mode::empty())?;
        mkdirat(to, name, Mode::from_raw_mode(0o700))?;
        return copy_folder(&inner, &openat(to, name, FOLDER, Mode::empty())?, top, links);
    }
    let identity = (facts.st_dev, facts.st_ino);
    if let Some(first) = links.get(&identity) {
        return Ok(link(first, to, name)?);
    }
    match kind {
        FileType::RegularFile => copy_file(from, to, name, &facts)?,
        FileType::Symlink => symlinkat(readlinkat(from, name, Vec::new())?, to, name)?,
        _ => mknodat(
            to,
            name,
            kind,
            Mode::from_raw_mode(facts.st_mode & 0o7777),
            facts.st_rdev,
        )?,
    }
    if kind != FileType::RegularFile {
        dress_name(to, name, kind, &facts)?;
    }
    if facts.st_nlink > 1 {
        let opened = openat(
            to,
            name,
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        links.insert(identity, opened);
    }
    Ok(())
}

/// One more name for a file that is copied already.
fn link(first: &OwnedFd, to: &OwnedFd, name: &CStr) -> rustix::io::Result<()> {
    linkat(first, c"", to, name, AtFlags::EMPTY_PATH)
}

fn copy_file(from: &OwnedFd, to: &OwnedFd, name: &CStr, facts: &Stat) -> io::Result<()> {
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut source = File::from(openat(from, name, flags | OFlags::RDONLY, Mode::empty())?);
    let made = flags | OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    let mut target = File::from(openat(to, name, made, Mode::from_raw_mode(0o600))?);
    io::copy(&mut source, &mut target)?;
    dress(source, target, facts)
}

fn times(facts: &Stat) -> Timestamps {
    let stamp = |seconds: i64, nanos: u64| Timespec {
        tv_sec: seconds,
        tv_nsec: i64::try_from(nanos).unwrap_or(0),
    };
    Timestamps {
        last_access: stamp(facts.st_atime, facts.st_atime_nsec),
        last_modification: stamp(facts.st_mtime, facts.st_mtime_nsec),
    }
}

/// Owner, extended attributes, mode and times of something opened, in this order: a change of owner takes set-id bits and
/// capabilities away.
fn dress(from: impl AsFd, to: impl AsFd, facts: &Stat) -> io::Result<()> {
    fchown(
        &to,
        Some(Uid::from_raw(facts.st_uid)),
        Some(Gid::from_raw(facts.st_gid)),
    )?;
    copy_attributes(from.as_fd(), to.as_fd())?;
    fchmod(&to, Mode::from_raw_mode(facts.st_mode & 0o7777))?;
    Ok(futimens(&to, &times(facts))?)
}

fn dress_name(to: &OwnedFd, name: &CStr, kind: FileType, facts: &Stat) -> io::Result<()> {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    let (owner, group) = (Uid::from_raw(facts.st_uid), Gid::from_raw(facts.st_gid));
    chownat(to, name, Some(owner), Some(group), flags)?;
    if kind != FileType::Symlink {
        chmodat(
            to,
            name,
            Mode::from_raw_mode(facts.st_mode & 0o7777),
            AtFlags::empty(),
        )?;
    }
    Ok(utimensat(to, name, &times(facts), flags)?)
}

/// What the volume's file system can't hold is left behind.
fn copy_attributes(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    let mut names = vec![0; 64 << 10];
    let length = match flistxattr(from, &mut names[..]) {
        Err(Errno::NOTSUP) => return Ok(()),
        other => other?,
    };
    let mut value = vec![0; 64 << 10];
    for name in names[..length].split_inclusive(|byte| *byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else {
            continue;
        };
        let length = match fgetxattr(from, name, &mut value[..]) {
            Err(Errno::NODATA) => continue,
            other => other?,
        };
        match fsetxattr(to, name, &value[..length], XattrFlags::empty()) {
            Err(Errno::NOTSUP | Errno::PERM) => {}
            other => other?,
        }
    }
    Ok(())
}
