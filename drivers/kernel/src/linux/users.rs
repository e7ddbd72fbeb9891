//! User namespaces: made and pinned to a path, network namespaces within them, and mounts whose owners they shift.
//!
//! Only a process of one thread may enter a user namespace, so each of these takes a process of its own. It is a copy of
//! a program with many threads, of which only the one that asked goes on: until it ends it makes system calls and
//! nothing else.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::{
        fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
        unix::fs::DirBuilderExt as _,
    },
    path::Path,
};

use nix::{
    libc,
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::wait::waitpid,
    unistd::{ForkResult, Pid, fork},
};

use super::netns;
use crate::Result;

/// Numbers of the host that stand for so many inside, from the next one on that has none yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The first of them on the host.
    pub first: u32,
    /// How many.
    pub count: u32,
}

/// Which numbers of the host users and groups inside have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mapping {
    /// Users.
    pub users: Vec<Range>,
    /// Groups.
    pub groups: Vec<Range>,
}

/// Makes a user namespace and pins it at `path`, in a folder that nobody else may pass. One that is pinned there stays.
///
/// # Errors
/// Those of the kernel.
pub fn create(path: &Path, mapping: &Mapping) -> io::Result<()> {
    if is_pinned(path) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    File::options().create(true).append(true).open(path)?;
    aside(None, libc::CLONE_NEWUSER, |pid| {
        fs::write(format!("/proc/{pid}/uid_map"), lines(&mapping.users))?;
        fs::write(format!("/proc/{pid}/gid_map"), lines(&mapping.groups))?;
        let made = format!("/proc/{pid}/ns/user");
        Ok(mount(
            Some(made.as_str()),
            path,
            None::<&str>,
            MsFlags::MS_BIND,
            None::<&str>,
        )?)
    })
}

/// Makes a network namespace that belongs to the user namespace pinned at `users`, and pins it at `path`.
///
/// # Errors
/// Those of the kernel.
pub fn create_netns(path: &Path, users: &Path) -> Result<()> {
    let fail = |error| netns::failure(path, "making a namespace in a user namespace", error);
    let users = File::open(users).map_err(fail)?;
    let made = aside(Some(users.as_fd()), libc::CLONE_NEWNET, |pid| {
        Ok(File::open(format!("/proc/{pid}/ns/net"))?.into())
    });
    netns::adopt(&made.map_err(fail)?, path)
}

/// Mounts `source` at `target` once more, with all owners shifted as in the user namespace pinned at `users`: what
/// belongs to root there belongs to the namespace's root here. What is mounted below stays away.
///
/// # Errors
/// `InvalidInput` where the file system can't; those of the kernel.
pub fn shift(source: &Path, target: &Path, users: &Path) -> io::Result<()> {
    unmount(target)?;
    fs::DirBuilder::new().recursive(true).mode(0o711).create(target)?;
    let users = File::open(users)?;
    let tree = open_tree(source)?;
    shift_owners(tree.as_fd(), users.as_fd())?;
    move_to(tree.as_fd(), target)?;
    // What is mounted on the host below it later is none of its business.
    let alone = MsFlags::MS_PRIVATE;
    Ok(mount(None::<&str>, target, None::<&str>, alone, None::<&str>)?)
}

/// Takes away what [`create`] or [`shift`] mounted. What is not there is no error.
///
/// # Errors
/// Those of the kernel.
pub fn unmount(path: &Path) -> io::Result<()> {
    use nix::errno::Errno;
    match umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
        Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

fn is_pinned(path: &Path) -> bool {
    let kind = nix::sys::statfs::statfs(path).map(|facts| facts.filesystem_type());
    kind.is_ok_and(|kind| kind == netns::NSFS)
}

/// As the kernel reads them: the first inside, the first outside, how many.
fn lines(ranges: &[Range]) -> String {
    let mut inside = 0u64;
    let each = ranges.iter().map(|range| {
        let line = format!("{inside} {} {}\n", range.first, range.count);
        inside += u64::from(range.count);
        line
    });
    each.collect()
}

/// Has a process enter `users`, if any, and make a namespace; `look` sees it there.
fn aside<T>(
    users: Option<BorrowedFd<'_>>,
    kind: libc::c_int,
    look: impl FnOnce(Pid) -> io::Result<T>,
) -> io::Result<T> {
    let (mut said, saying) = pipe()?;
    let (waiting, release) = pipe()?;
    // SAFETY: the child makes system calls and ends; it takes no lock and no memory.
    match unsafe { fork() }? {
        ForkResult::Child => stay(users, kind, saying.as_fd(), waiting.as_fd(), release.as_raw_fd()),
        ForkResult::Parent { child } => {
            drop((saying, waiting));
            let mut answer = [0; 4];
            let looked = match said.read_exact(&mut answer) {
                Ok(()) => match i32::from_ne_bytes(answer) {
                    0 => look(child),
                    errno => Err(io::Error::from_raw_os_error(errno)),
                },
                Err(error) => Err(error),
            };
            drop(release);
            let _ = waitpid(child, None);
            looked
        }
    }
}

/// The child: makes the namespace, says how that went, and is there until it is let go.
fn stay(
    users: Option<BorrowedFd<'_>>,
    kind: libc::c_int,
    saying: BorrowedFd<'_>,
    waiting: BorrowedFd<'_>,
    release: libc::c_int,
) -> ! {
    // SAFETY: system calls with values that live through them; the descriptors are this copy's own.
    unsafe {
        libc::close(release);
        let entered = users.map_or(0, |users| libc::setns(users.as_raw_fd(), libc::CLONE_NEWUSER));
        let errno: libc::c_int = if entered == 0 && libc::unshare(kind) == 0 {
            0
        } else {
            *libc::__errno_location()
        };
        let answer = errno.to_ne_bytes();
        libc::write(saying.as_raw_fd(), answer.as_ptr().cast(), answer.len());
        let mut end = [0u8];
        libc::read(waiting.as_raw_fd(), end.as_mut_ptr().cast(), 1);
        libc::_exit(0)
    }
}

fn pipe() -> io::Result<(File, File)> {
    let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
    Ok((read.into(), write.into()))
}

fn open_tree(source: &Path) -> io::Result<OwnedFd> {
    let source = c_path(source)?;
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC;
    // SAFETY: the path ends with a zero byte and lives through the call.
    let number = unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, source.as_ptr(), flags) };
    descriptor(number)
}

fn move_to(tree: BorrowedFd<'_>, target: &Path) -> io::Result<()> {
    /// The first path may be empty (`MOVE_MOUNT_F_EMPTY_PATH`).
    const EMPTY: libc::c_uint = 0x4;
    let target = c_path(target)?;
    // SAFETY: both paths end with a zero byte and live through the call.
    done(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_FDCWD,
            target.as_ptr(),
            EMPTY,
        )
    })
}

/// `struct mount_attr`.
#[repr(C)]
struct Attributes {
    set: u64,
    clear: u64,
    propagation: u64,
    users: u64,
}

fn shift_owners(tree: BorrowedFd<'_>, users: BorrowedFd<'_>) -> io::Result<()> {
    /// `MOUNT_ATTR_IDMAP`.
    const SHIFTED: u64 = 0x0010_0000;
    let attributes = Attributes {
        set: SHIFTED,
        clear: 0,
        propagation: 0,
        users: u64::from(users.as_raw_fd().unsigned_abs()),
    };
    // SAFETY: the path is empty and ends, and the kernel reads so many bytes of the attributes.
    done(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of::<Attributes>(),
        )
    })
}

fn c_path(path: &Path) -> io::Result<std::ffi::CString> {
    use std::os::unix::ffi::OsStrExt as _;
    std::ffi::CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}

fn done(answer: libc::c_long) -> io::Result<()> {
    match answer {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

fn descriptor(answer: libc::c_long) -> io::Result<OwnedFd> {
    done(answer)?;
    let number = i32::try_from(answer).map_err(io::Error::other)?;
    // SAFETY: the kernel has just given it to us.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn ranges_follow_one_another_inside() {
        let range = |first, count| Range { first, count };
        assert_eq!(lines(&[range(100_000, 10), range(5, 1)]), "0 100000 10\n10 5 1\n");
    }

    #[test]
    fn owners_are_shifted_in_a_mount_and_a_network_namespace_is_made_within() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let all = vec![Range {
            first: 100_000,
            count: 65_536,
        }];
        let mapping = Mapping {
            users: all.clone(),
            groups: all,
        };
        create(&at("users"), &mapping).expect("a user namespace");
        create(&at("users"), &mapping).expect("the same once more");
        fs::create_dir(at("data")).expect("a folder");
        fs::write(at("data").join("file"), "x").expect("a file");
        shift(&at("data"), &at("shifted"), &at("users")).expect("a mount");
        shift(&at("data"), &at("shifted"), &at("users")).expect("the same once more");
        let owner = |path: &Path| fs::metadata(path).expect("a file").uid();
        assert_eq!(owner(&at("data").join("file")), 0);
        assert_eq!(owner(&at("shifted").join("file")), 100_000);
        create_netns(&at("netns/one"), &at("users")).expect("a network namespace");
        netns::open(&at("netns/one")).expect("it is pinned");
        netns::remove(&at("netns/one")).expect("unpinned");
        for name in ["shifted", "users"] {
            unmount(&at(name)).expect("unmounted");
            unmount(&at(name)).expect("it is gone already");
        }
    }
}
