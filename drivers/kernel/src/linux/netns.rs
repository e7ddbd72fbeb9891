//! Network namespaces: made, pinned to a path, entered, removed.
//!
//! A namespace belongs to a thread. A visitor's thread enters for the time of one call, which never waits and never
//! moves to another thread, and is back in its own before anybody else sees it: a thread for each visit would cost two
//! switches of threads, which a busy machine takes milliseconds for. What a visitor opens (a socket, a file of
//! /proc/sys) keeps its namespace and may be used from anywhere.

use std::{
    fs::{self, File, OpenOptions},
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::Path,
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, setns, unshare},
    sys::{
        socket::{AddressFamily, SockFlag, SockType, socket},
        stat::{fstat, stat},
        statfs::{FsType, fstatfs},
    },
};

use super::{links, netlink::Connection};
use crate::{Error, Key, Result};

/// What the kernel calls its file system of namespaces (`NSFS_MAGIC`).
pub(super) const NSFS: FsType = FsType(0x6e73_6673);

/// The calling thread's own namespace, whatever becomes of the process' main thread.
const OWN: &str = "/proc/thread-self/ns/net";

/// How soon a thread tries again to go back.
const AGAIN: Duration = Duration::from_millis(10);

/// Mounting and unmounting pins, which share the mount of their folder.
static PINS: Mutex<()> = Mutex::new(());

/// Makes a namespace with its loopback up and pins it at `path`. A file that pins nothing (left by a restart of the
/// machine) is taken over; a live pin is [`Error::Exists`].
pub fn create(path: &Path) -> Result<()> {
    let fail = |action| move |source| failure(path, action, source);
    if open(path).is_ok() {
        return Err(Error::Exists(Key::Namespace(path.to_owned()).into()));
    }
    let new = away(|| -> io::Result<OwnedFd> {
        unshare(CloneFlags::CLONE_NEWNET)?;
        let own = current()?;
        links::loopback_up(&mut Connection::here()?)?;
        Ok(own)
    })
    .map_err(fail("making a namespace"))?;
    pin(new.as_fd(), path).map_err(fail("pinning a namespace"))
}

/// Pins a namespace that was made elsewhere, with its loopback up.
pub(super) fn adopt(namespace: &OwnedFd, path: &Path) -> Result<()> {
    let fail = |action| move |source| failure(path, action, source);
    inside(namespace.as_fd(), || links::loopback_up(&mut Connection::here()?))
        .map_err(fail("making a namespace"))?;
    pin(namespace.as_fd(), path).map_err(fail("pinning a namespace"))
}

/// Opens the namespace pinned at `path`, which may also be a process' `/proc/PID/ns/net`.
pub fn open(path: &Path) -> Result<OwnedFd> {
    let file = File::open(path).map_err(|error| failure(path, "opening a namespace", error))?;
    match fstatfs(&file) {
        Ok(stat) if stat.filesystem_type() == NSFS && is_of_networks(&file) => Ok(file.into()),
        Ok(_) => Err(absent(path)),
        Err(errno) => Err(failure(path, "opening a namespace", errno.into())),
    }
}

nix::ioctl_none!(
    /// Which kind of namespace it is (`NS_GET_NSTYPE`).
    kind_of,
    0xb7,
    0x3
);

/// Whether it is a namespace of networks and not of mounts, processes or the like.
fn is_of_networks(file: &File) -> bool {
    use std::os::fd::AsRawFd;
    // SAFETY: the request has no argument, and the descriptor is open.
    match unsafe { kind_of(file.as_raw_fd()) } {
        Ok(kind) => kind == CloneFlags::CLONE_NEWNET.bits(),
        // A kernel before 4.11 doesn't say.
        Err(_) => true,
    }
}

/// Removes a pin. The namespace ends when nobody is in it any more and no socket is open into it. A pin that is gone
/// is no error.
pub fn remove(path: &Path) -> Result<()> {
    let fail = |source| failure(path, "unpinning a namespace", source);
    let _guard = PINS.lock().unwrap_or_else(PoisonError::into_inner);
    match umount2(path, MntFlags::MNT_DETACH) {
        // Not a mount point, or not there at all.
        Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => {}
        Err(errno) => return Err(fail(errno.into())),
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fail(error)),
        _ => {}
    }
    path.parent()
        .map_or(Ok(()), |folder| leave_folder(folder).map_err(fail))
}

/// The calling thread's namespace.
pub fn current() -> io::Result<OwnedFd> {
    File::open(OWN).map(OwnedFd::from)
}

/// Runs `visit` inside a namespace, on this very thread.
pub fn inside<T: Send>(netns: BorrowedFd<'_>, visit: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    if is_current(netns) {
        return visit();
    }
    away(|| {
        setns(netns, CloneFlags::CLONE_NEWNET)?;
        visit()
    })
}

/// Whether the calling thread is in this namespace.
fn is_current(netns: BorrowedFd<'_>) -> bool {
    let (Ok(there), Ok(here)) = (fstat(netns), stat(OWN)) else {
        return false;
    };
    (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)
}

/// Runs `visit` inside the namespace pinned at `path`.
pub fn enter<T: Send>(path: &Path, visit: impl FnOnce() -> io::Result<T> + Send) -> Result<T> {
    inside(open(path)?.as_fd(), visit).map_err(|error| failure(path, "entering a namespace", error))
}

/// A socket that belongs to the namespace pinned at `path`, closed on exec.
pub fn socket_in(path: &Path, family: AddressFamily, kind: SockType) -> Result<OwnedFd> {
    enter(path, || Ok(socket(family, kind, SockFlag::SOCK_CLOEXEC, None)?))
}

/// A UDP socket bound inside the namespace pinned at `path`.
pub fn udp_in(path: &Path, address: SocketAddr) -> Result<UdpSocket> {
    enter(path, || UdpSocket::bind(address))
}

/// A TCP listener bound inside the namespace pinned at `path`.
pub fn tcp_in(path: &Path, address: SocketAddr) -> Result<TcpListener> {
    enter(path, || TcpListener::bind(address))
}

/// Runs what changes the thread's namespace, and goes back.
fn away<T>(work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let _back = Back(current()?);
    work()
}

/// Takes the thread back to where it was, also out of a panic.
struct Back(OwnedFd);

impl Drop for Back {
    fn drop(&mut self) {
        // Only want of memory can keep a thread from going back, and nothing else may be done where it is now.
        while let Err(errno) = setns(&self.0, CloneFlags::CLONE_NEWNET) {
            tracing::error!(%errno, "a thread can't go back to its namespace; trying again");
            thread::sleep(AGAIN);
        }
    }
}

/// Mounts a namespace on a file.
fn pin(netns: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let _guard = PINS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(folder) = path.parent() {
        share_folder(folder)?;
    }
    OpenOptions::new().create(true).append(true).open(path)?;
    let source = format!("/proc/self/fd/{}", netns.as_raw_fd());
    mount(
        Some(source.as_str()),
        path,
        None::<&str>,
        MsFlags::MS_BIND,
        None::<&str>,
    )
    .map_err(|errno| {
        // An empty file that pins nothing would be taken for somebody's by people, if not by us.
        let _ = fs::remove_file(path);
        errno.into()
    })
}

/// Makes the folder of pins a shared mount of its own, so that unpinning reaches the mount namespaces that copied it;
/// otherwise every copy would keep the namespace alive.
fn share_folder(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let share = || {
        let flags = MsFlags::MS_SHARED | MsFlags::MS_REC;
        mount(None::<&str>, folder, None::<&str>, flags, None::<&str>)
    };
    match share() {
        // Not a mount point yet.
        Err(Errno::EINVAL) => {
            mount(Some(folder), folder, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
            Ok(share()?)
        }
        answer => Ok(answer?),
    }
}

/// Takes the folder's own mount away with its last pin.
fn leave_folder(folder: &Path) -> io::Result<()> {
    let empty = match fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(error),
    };
    if !empty || !mounted_on_itself(folder)? {
        return Ok(());
    }
    match umount2(folder, MntFlags::UMOUNT_NOFOLLOW) {
        Ok(()) | Err(Errno::EINVAL | Errno::ENOENT | Errno::EBUSY) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// A mount point whose file system is its parent's: not a file system that somebody else mounted there.
fn mounted_on_itself(folder: &Path) -> io::Result<bool> {
    let Some(parent) = folder.parent() else {
        return Ok(false);
    };
    Ok(fs::metadata(folder)?.dev() == fs::metadata(parent)?.dev())
}

fn absent(path: &Path) -> Error {
    Error::NoSuch {
        object: Key::Namespace(path.to_owned()).into(),
        missing: "namespace at that path".to_owned(),
    }
}

pub(super) fn failure(path: &Path, action: &'static str, source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::NotFound => absent(path),
        io::ErrorKind::PermissionDenied => Error::NotPermitted(Key::Namespace(path.to_owned()).into()),
        _ => Error::System {
            object: Key::Namespace(path.to_owned()).to_string(),
            action,
            source,
        },
    }
}

#[cfg(test)]
mod tests;
