//! Looking into a container's root by the paths its users know, as `cp` needs it: links are followed as a process inside
//! would, and none leads out.

use std::{
    fs,
    os::{
        fd::{AsFd, AsRawFd as _, OwnedFd},
        unix::ffi::{OsStrExt as _, OsStringExt as _},
    },
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, Stat, openat2, readlinkat, statat},
    io::Errno,
};

use crate::{Error, Result, rootfs};

/// A root that paths are looked up in.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
}

/// What is at a path.
#[derive(Debug)]
pub struct Found {
    /// The directory it is in, or it itself where `name` is empty.
    pub parent: OwnedFd,
    /// Its name there.
    pub name: std::ffi::OsString,
    /// Size, mode and so on; of a link itself.
    pub facts: Facts,
}

/// What `stat` tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The last part of its path.
    pub name: String,
    /// Bytes.
    pub size: i64,
    /// Kind and permissions, as the kernel has them.
    pub mode: u32,
    /// Seconds and nanoseconds since 1970.
    pub modified: (i64, u32),
    /// Where a link leads, all links followed; empty for what is no link.
    pub link_target: String,
}

impl Facts {
    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        FileType::from_raw_mode(self.mode) == FileType::Directory
    }
}

impl Root {
    /// The root that a process sees, with everything mounted in it.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn of_process(pid: i32) -> Result<Self> {
        let fd = rootfs::open_root(Path::new(&format!("/proc/{pid}/root")))?;
        Ok(Self { fd })
    }

    /// A directory of the host, such as a volume.
    ///
    /// # Errors
    /// Those of opening it.
    pub fn at(path: &Path) -> Result<Self> {
        Ok(Self {
            fd: rootfs::open_root(path)?,
        })
    }

    /// The root of a container that does not run, from [`rootfs::open`].
    pub const fn new(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// The same root once more.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn again(&self) -> Result<Self> {
        let fd = self.fd.try_clone();
        Ok(Self {
            fd: fd.map_err(Error::file("opening again", "/"))?,
        })
    }

    /// The descriptor.
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }

    /// What is at a path; a link at its end is not followed, unless the path ends in `/.`.
    ///
    /// # Errors
    /// `NotFound` in the source when nothing is there.
    pub fn find(&self, path: &str) -> Result<Found> {
        let failed = |errno: Errno| Error::file("looking for", path)(errno.into());
        let clean = clean(path);
        let follow = ends_in_dot(path);
        let (folder, name) = match (clean.parent(), clean.file_name()) {
            (Some(folder), Some(name)) if !follow => (folder, name.to_owned()),
            _ => (clean.as_path(), std::ffi::OsString::new()),
        };
        let parent = self.folder(folder).map_err(failed)?;
        let stat = if name.is_empty() {
            statat(&parent, "", AtFlags::EMPTY_PATH)
        } else {
            statat(&parent, &name, AtFlags::SYMLINK_NOFOLLOW)
        };
        let stat = stat.map_err(failed)?;
        let link_target = if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
            self.target(&clean, &parent, &name).map_err(failed)?
        } else {
            String::new()
        };
        let shown = if follow {
            ".".to_owned()
        } else {
            shown_name(&clean)
        };
        Ok(Found {
            facts: facts(shown, &stat, link_target),
            parent,
            name,
        })
    }

    /// Opens the directory at a path, all links followed.
    ///
    /// # Errors
    /// `NotFound`, `NotADirectory` in the source.
    pub fn open_folder(&self, path: &str) -> Result<OwnedFd> {
        let opened = self.folder(&clean(path));
        opened.map_err(|errno| Error::file("looking for", path)(errno.into()))
    }

    fn folder(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let path = if path.as_os_str().is_empty() {
            Path::new("/")
        } else {
            path
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        loop {
            match openat2(&self.fd, path, flags, Mode::empty(), rootfs::inside()) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return other,
            }
        }
    }

    /// Where a link leads: by its end if there is one, else as it is written.
    fn target(&self, path: &Path, parent: &OwnedFd, name: &std::ffi::OsStr) -> Result<String, Errno> {
        match openat2(
            &self.fd,
            path,
            OFlags::PATH | OFlags::CLOEXEC,
            Mode::empty(),
            rootfs::inside(),
        ) {
            Ok(end) => {
                let (end, root) = (self::name(&end), self::name(&self.fd));
                let inside = end.strip_prefix(&root).unwrap_or(&end);
                Ok(Path::new("/").join(inside).display().to_string())
            }
            Err(_) => {
                let written = readlinkat(parent, name, Vec::new())?;
                let written = PathBuf::from(std::ffi::OsString::from_vec(written.into_bytes()));
                let whole = path.parent().unwrap_or(Path::new("/")).join(written);
                Ok(clean(&whole.to_string_lossy()).display().to_string())
            }
        }
    }
}

/// What the kernel calls an open file, from the root of its own mounts.
fn name(fd: &impl AsFd) -> PathBuf {
    let number = fd.as_fd().as_raw_fd();
    fs::read_link(format!("/proc/self/fd/{number}")).unwrap_or_default()
}

/// An absolute path without `.` and `..`, by its text alone.
pub fn clean(path: &str) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            _ => {}
        }
    }
    clean
}

/// Whether a path asks for what is in a directory.
pub fn ends_in_dot(path: &str) -> bool {
    path == "." || path.ends_with("/.")
}

fn shown_name(clean: &Path) -> String {
    clean.file_name().map_or_else(
        || "/".to_owned(),
        |name| String::from_utf8_lossy(name.as_bytes()).into_owned(),
    )
}

fn facts(name: String, stat: &Stat, link_target: String) -> Facts {
    Facts {
        name,
        size: stat.st_size,
        mode: stat.st_mode,
        modified: (
            stat.st_mtime,
            u32::try_from(stat.st_mtime_nsec).unwrap_or_default(),
        ),
        link_target,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn paths_are_cleaned_by_their_text() {
        for (path, wanted) in [
            ("", "/"),
            ("a//b/./c", "/a/b/c"),
            ("/../../a", "/a"),
            ("/a/../b/.", "/b"),
        ] {
            assert_eq!(clean(path), Path::new(wanted), "{path}");
        }
    }

    #[test]
    fn links_are_told_with_their_end_and_lead_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        fs::write(dir.path().join("a/b/file"), "12345").unwrap();
        symlink("/a/b", dir.path().join("link")).unwrap();
        symlink("b/gone", dir.path().join("a/dangling")).unwrap();
        symlink("../../../../etc", dir.path().join("out")).unwrap();
        let root = Root::at(dir.path()).unwrap();
        let facts = |path: &str| root.find(path).map(|found| found.facts);
        assert_eq!(facts("/link/file").unwrap().size, 5);
        let link = facts("/link").unwrap();
        assert_eq!((link.name.as_str(), link.link_target.as_str()), ("link", "/a/b"));
        assert_eq!(facts("/a/dangling").unwrap().link_target, "/a/b/gone");
        assert!(facts("/link/.").unwrap().is_dir());
        assert_eq!(facts("/").unwrap().name, "/");
        assert!(facts("/out/passwd").is_err(), "the host has one");
        assert!(facts("/nothing").is_err() && root.open_folder("/a/b/file").is_err());
        root.open_folder("/link").unwrap();
    }
}
