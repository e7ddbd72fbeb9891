//! A file or a tree of a container as an archive, for `export` and for files copied out.
//!
//! Nothing is followed and nothing is named by a whole path: each directory is opened relative to the one above, so a
//! link that appears meanwhile leads nowhere.

use std::{
    collections::HashMap,
    ffi::{CStr, OsStr},
    fs::File,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
};

use rustix::{
    fs::{
        AtFlags, Dir, FileType, Mode, OFlags, Stat, fgetxattr, flistxattr, fstat, major, minor, openat,
        readlinkat, statat,
    },
    io::Errno,
};
use tar::{Builder, EntryType, Header};

use crate::{Error, Result};

/// Attributes worth keeping: capabilities of programs, and what users set.
const KEPT: [&str; 2] = ["security.capability", "user."];

/// Writes what is at `name` in the directory `parent` as the member `called`, with all that is below. An empty `name` is
/// the directory itself; an empty `called` leaves its own member out.
///
/// # Errors
/// Those of reading the files, and of `output`.
pub fn pack(parent: BorrowedFd<'_>, name: &OsStr, called: &OsStr, output: impl Write) -> Result<()> {
    pack_as(parent, name, called, output, &|uid, gid| (uid, gid))
}

/// Who a file's user and group are, by their numbers where the file is.
pub type Owners<'a> = &'a dyn Fn(u32, u32) -> (u32, u32);

/// The same, with other owners.
///
/// # Errors
/// As [`pack`].
pub fn pack_as(
    parent: BorrowedFd<'_>,
    name: &OsStr,
    called: &OsStr,
    output: impl Write,
    owners: Owners<'_>,
) -> Result<()> {
    let mut packing = Packing {
        builder: Builder::new(output),
        owners,
        linked: HashMap::new(),
    };
    let packed = if name.is_empty() {
        packing.folder(parent, called.as_bytes())
    } else {
        packing.member(parent, name, called.as_bytes())
    };
    packed
        .and_then(|()| packing.builder.into_inner())
        .map(drop)
        .map_err(Error::io("packing files"))
}

struct Packing<'a, W: Write> {
    owners: Owners<'a>,
    builder: Builder<W>,
    /// The first name of files that have several, by device and number.
    linked: HashMap<(u64, u64), Vec<u8>>,
}

impl<W: Write> Packing<'_, W> {
    /// A directory, opened already, and what is in it.
    fn folder(&mut self, folder: BorrowedFd<'_>, path: &[u8]) -> io::Result<()> {
        if !path.is_empty() {
            let stat = fstat(folder)?;
            self.extended(folder)?;
            let mut header = self.header(&stat, EntryType::Directory);
            self.append(&mut header, &[path, b"/"].concat(), io::empty())?;
        }
        let mut names = Vec::new();
        for entry in Dir::read_from(folder)? {
            let entry = entry?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                names.push(entry.file_name().to_owned());
            }
        }
        names.sort();
        for name in &names {
            let path = if path.is_empty() {
                name.as_bytes().to_vec()
            } else {
                [path, b"/", name.as_bytes()].concat()
            };
            match self.member(folder, OsStr::from_bytes(name.as_bytes()), &path) {
                // It went between the look and the visit.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
        Ok(())
    }

    fn member(&mut self, parent: BorrowedFd<'_>, name: &OsStr, path: &[u8]) -> io::Result<()> {
        let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind != FileType::Directory && stat.st_nlink > 1 {
            let key = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.linked.get(&key).cloned() {
                let mut header = self.header(&stat, EntryType::Link);
                return self.link(&mut header, path, &first);
            }
            self.linked.insert(key, path.to_vec());
        }
        match kind {
            FileType::Directory => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let folder = openat(parent, name, flags, Mode::empty())?;
                self.folder(folder.as_fd(), path)
            }
            FileType::RegularFile => self.file(parent, name, path),
            FileType::Symlink => {
                let target = readlinkat(parent, name, Vec::new())?;
                let mut header = self.header(&stat, EntryType::Symlink);
                self.link(&mut header, path, target.as_bytes())
            }
            FileType::Fifo => {
                let mut header = self.header(&stat, EntryType::Fifo);
                self.append(&mut header, path, io::empty())
            }
            FileType::CharacterDevice | FileType::BlockDevice => {
                let which = if kind == FileType::BlockDevice {
                    EntryType::Block
                } else {
                    EntryType::Char
                };
                let mut header = self.header(&stat, which);
                header.set_device_major(major(stat.st_rdev))?;
                header.set_device_minor(minor(stat.st_rdev))?;
                self.append(&mut header, path, io::empty())
            }
            // A socket is nothing without who listens.
            _ => Ok(()),
        }
    }

    /// Exactly as many bytes as were announced, whatever becomes of the file meanwhile.
    fn file(&mut self, parent: BorrowedFd<'_>, name: &OsStr, path: &[u8]) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file: OwnedFd = openat(parent, name, flags, Mode::empty())?;
        let stat = fstat(&file)?;
        self.extended(file.as_fd())?;
        let mut header = self.header(&stat, EntryType::Regular);
        let size = u64::try_from(stat.st_size).unwrap_or_default();
        header.set_size(size);
        let content = File::from(file).chain(io::repeat(0)).take(size);
        self.append(&mut header, path, content)
    }

    fn append(&mut self, header: &mut Header, path: &[u8], content: impl Read) -> io::Result<()> {
        self.put_name(header, path)?;
        header.set_cksum();
        self.builder.append(header, content)
    }

    fn link(&mut self, header: &mut Header, path: &[u8], target: &[u8]) -> io::Result<()> {
        let field = &mut header.as_old_mut().linkname;
        if target.len() <= field.len() {
            field[..target.len()].copy_from_slice(target);
        } else {
            self.put_long(EntryType::GNULongLink, target)?;
        }
        self.append(header, path, io::empty())
    }

    /// The name as it is: docker's clients replace a `./` at its beginning, which the library would take away.
    fn put_name(&mut self, header: &mut Header, path: &[u8]) -> io::Result<()> {
        let field = &mut header.as_old_mut().name;
        if path.len() <= field.len() {
            field[..path.len()].copy_from_slice(path);
            return Ok(());
        }
        self.put_long(EntryType::GNULongName, path)
    }

    /// A name that is too long for a header stands before it, as GNU tar has it.
    fn put_long(&mut self, kind: EntryType, name: &[u8]) -> io::Result<()> {
        const CALLED: &[u8] = b"././@LongLink";
        let mut header = Header::new_gnu();
        header.as_old_mut().name[..CALLED.len()].copy_from_slice(CALLED);
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(name.len() as u64 + 1);
        header.set_cksum();
        self.builder.append(&header, name.chain(&[0][..]))
    }

    fn header(&self, stat: &Stat, kind: EntryType) -> Header {
        let mut header = header(stat, kind);
        let (uid, gid) = (self.owners)(stat.st_uid, stat.st_gid);
        header.set_uid(uid.into());
        header.set_gid(gid.into());
        header
    }

    fn extended(&mut self, file: BorrowedFd<'_>) -> io::Result<()> {
        let attributes = attributes(file)?;
        if attributes.is_empty() {
            return Ok(());
        }
        let named = attributes
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()));
        self.builder.append_pax_extensions(named)
    }
}

fn header(stat: &Stat, kind: EntryType) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(stat.st_mode & 0o7777);
    header.set_uid(stat.st_uid.into());
    header.set_gid(stat.st_gid.into());
    header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or_default());
    header.set_size(0);
    header
}

fn attributes(file: BorrowedFd<'_>) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut names = vec![0; 64 << 10];
    let length = match flistxattr(file, &mut names[..]) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        Err(errno) => return Err(errno.into()),
    };
    let mut found = Vec::new();
    for name in names[..length].split_inclusive(|byte| *byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else {
            continue;
        };
        let text = name.to_string_lossy();
        let kept = KEPT.iter().any(|kept| text.starts_with(kept)) && !text.starts_with("user.overlay.");
        let mut value = vec![0; 64 << 10];
        if kept && let Ok(length) = fgetxattr(file, name, &mut value[..]) {
            value.truncate(length);
            found.push((format!("SCHILY.xattr.{text}"), value));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink, path::Path};

    use super::*;

    fn packed(folder: &Path, name: &str, called: &str) -> Vec<String> {
        let root = File::open(folder).expect("the folder");
        let mut bytes = Vec::new();
        pack(root.as_fd(), OsStr::new(name), OsStr::new(called), &mut bytes).expect("an archive");
        let mut archive = tar::Archive::new(&bytes[..]);
        let row = |entry: tar::Entry<'_, &[u8]>| {
            let link = entry
                .link_name()
                .expect("a name")
                .map(|to| format!(" -> {}", to.display()));
            let path = entry.path().expect("a path").display().to_string();
            format!("{path}{}", link.unwrap_or_default())
        };
        archive
            .entries()
            .expect("entries")
            .map(|entry| row(entry.expect("an entry")))
            .collect()
    }

    #[test]
    fn a_tree_is_packed_with_its_links_and_long_names() {
        let root = tempfile::tempdir().expect("a folder");
        let long = "n".repeat(180);
        fs::create_dir_all(root.path().join("d").join(&long)).expect("folders");
        fs::write(root.path().join("d/file"), "x").expect("a file");
        fs::hard_link(root.path().join("d/file"), root.path().join("d/same")).expect("a link");
        symlink("/etc/passwd", root.path().join("d/link")).expect("a link");
        let below = [
            "d/file",
            "d/link -> /etc/passwd",
            &format!("d/{long}/"),
            "d/same -> d/file",
        ];
        let all: Vec<String> = std::iter::once("d/").chain(below).map(str::to_owned).collect();
        assert_eq!(packed(root.path(), "d", "d"), all);
        assert_eq!(packed(root.path(), "", ""), all);
        let dotted = packed(&root.path().join("d"), "", ".");
        assert_eq!(dotted[..2], ["./", "./file"], "docker's clients look for the dot");
        let renamed = packed(&root.path().join("d"), "file", "other");
        assert_eq!(renamed, ["other"]);
        assert_eq!(
            packed(&root.path().join("d"), "link", "link"),
            ["link -> /etc/passwd"]
        );
    }
}
