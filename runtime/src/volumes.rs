//! A volume of the local driver: a folder on this host, or whatever its options mount there.
//!
//! ```text
//! FOLDER/_data     what containers see
//! FOLDER/filling   there while an image's content is copied in: a crash then is seen by it
//! ```
//! Every step may be taken again: what is there already is no error.

mod fill;
mod local;
mod pin;

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use rustix::{io::Errno, mount::UnmountFlags};

pub use fill::{fill, offers};
pub use local::{LocalMount, OptionError};
pub use pin::{pin, unpin};

use crate::{Error, Result, rootfs};

/// The folder of one volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder(PathBuf);

impl Folder {
    /// The one at this path.
    pub const fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// What containers see.
    pub fn data(&self) -> PathBuf {
        self.0.join("_data")
    }

    fn mark(&self) -> PathBuf {
        self.0.join("filling")
    }

    /// Makes it.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn make(&self) -> Result<()> {
        let data = self.data();
        for (path, mode) in [(&self.0, 0o701), (&data, 0o755)] {
            let made = fs::DirBuilder::new().recursive(true).mode(mode).create(path);
            made.map_err(Error::file("making the volume's folder", path))?;
        }
        Ok(())
    }

    /// Makes it, and mounts what its options say unless that is mounted already.
    ///
    /// # Errors
    /// What the kernel says to the mount.
    pub fn mount(&self, what: Option<&LocalMount>) -> Result<()> {
        self.make()?;
        match what {
            Some(what) if !rootfs::is_mounted(&self.data())? => what.mount(&self.data()),
            _ => Ok(()),
        }
    }

    /// Takes every mount away from it. If there is none, nothing is done.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn unmount(&self) -> Result<()> {
        let data = self.data();
        loop {
            match rustix::mount::unmount(&data, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
                Ok(()) => {}
                Err(Errno::INVAL | Errno::NOENT) => return Ok(()),
                Err(errno) => return Err(Error::file("unmounting", data)(errno.into())),
            }
        }
    }

    /// Copies what `root` has at `path` into it if it is empty, with owners, modes and times, those of the folder itself
    /// included. Whether it did. A failure leaves it empty again.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn fill(&self, root: &Path, path: &Path) -> Result<bool> {
        if !self.is_empty()? {
            return Ok(false);
        }
        let mark = self.mark();
        fs::write(&mark, "").map_err(Error::file("writing", &mark))?;
        let filled = fill(root, path, &self.data());
        if filled.is_err() {
            clear(&self.data())?;
        }
        remove_file(&mark)?;
        filled
    }

    /// Empties it if a crash interrupted its being filled. Whether it did. With `keep`, as when somebody may have written
    /// to it since, what is there stays.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn undo_fill(&self, keep: bool) -> Result<bool> {
        if !self.mark().exists() {
            return Ok(false);
        }
        if !keep {
            clear(&self.data())?;
        }
        remove_file(&self.mark())?;
        Ok(!keep)
    }

    /// Whether containers would see nothing in it.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn is_empty(&self) -> Result<bool> {
        let data = self.data();
        let mut entries = fs::read_dir(&data).map_err(Error::file("reading", &data))?;
        Ok(entries.next().is_none())
    }

    /// Removes it with everything in it. What is mounted over it is unmounted first; while something is mounted inside it,
    /// nothing is removed.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn remove(&self) -> Result<()> {
        self.unmount()?;
        if let Some(place) = mounted_below(&self.0)? {
            let reason = io::Error::new(io::ErrorKind::ResourceBusy, format!("{place} is a mount point"));
            return Err(Error::file("removing the volume's folder", &self.0)(reason));
        }
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::file("removing the volume's folder", &self.0)(error))
            }
            _ => Ok(()),
        }
    }
}

fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::file("removing", path)(error)),
        _ => Ok(()),
    }
}

/// Removes what is in a folder, not the folder: it may be a mount point.
fn clear(folder: &Path) -> Result<()> {
    let failed = || Error::file("emptying", folder);
    for entry in fs::read_dir(folder).map_err(failed())? {
        let entry = entry.map_err(failed())?;
        let removed = match entry.file_type().map_err(failed())?.is_dir() {
            true => fs::remove_dir_all(entry.path()),
            false => fs::remove_file(entry.path()),
        };
        removed.map_err(Error::file("removing", entry.path()))?;
    }
    Ok(())
}

/// A mount point at or below a folder: removing the folder's content would reach into another file system.
fn mounted_below(folder: &Path) -> Result<Option<String>> {
    const TABLE: &str = "/proc/self/mountinfo";
    let table = fs::read_to_string(TABLE).map_err(Error::file("reading", TABLE))?;
    let folder = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    let places = table.lines().filter_map(|line| line.split(' ').nth(4));
    let unescaped = places.map(|place| place.replace("\\040", " ").replace("\\011", "\t"));
    Ok(unescaped
        .into_iter()
        .find(|place| Path::new(place).starts_with(&folder)))
}

#[cfg(test)]
mod tests;
