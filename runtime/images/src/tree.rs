//! A directory tree that is written by paths relative to its root and can't be left.
//!
//! Every path is resolved by the kernel with `openat2(2)` and RESOLVE_BENEATH: a symbolic link that an archive planted
//! is followed only inside the tree. In a container's root, where links of the image may be meant from its `/`, it is
//! RESOLVE_IN_ROOT instead. Names are then acted on relative to the opened parent, never by a whole path.

use std::{
    ffi::OsStr,
    fs::File,
    io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::Path,
    rc::Rc,
};

use rustix::{
    fs::{
        AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags, chmodat,
        chownat, fchmod, fchown, fsetxattr, futimens, linkat, mkdirat, mknodat, open, openat, openat2,
        statat, symlinkat, unlinkat, utimensat,
    },
    io::Errno,
};

use crate::{
    Error, Refusal, Result,
    archive::{Attributes, lossy},
};

const OPAQUE: &str = "trusted.overlay.opaque";
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// A tree being written.
pub(crate) struct Tree {
    root: Rc<OwnedFd>,
    /// The folder below the root that paths are relative to, opened, and its path.
    top: Rc<OwnedFd>,
    base: Vec<u8>,
    resolve: ResolveFlags,
    /// The parent of the last member: neighbours in an archive are neighbours in the tree.
    last: Option<(Vec<u8>, Rc<OwnedFd>)>,
    /// Times of directories, set at the end because writing into them changes them.
    times: Vec<(Vec<u8>, (i64, u32))>,
}

/// A name in an opened directory of the tree.
pub(crate) struct Place {
    parent: Rc<OwnedFd>,
    name: Vec<u8>,
    path: Vec<u8>,
}

impl Tree {
    pub(crate) fn open(root: &Path) -> Result<Self> {
        let opening = Error::io(format!("opening {}", root.display()));
        let root = open(root, FOLDER | OFlags::NOFOLLOW, Mode::empty()).map_err(opening)?;
        let root = Rc::new(root);
        Ok(Self {
            top: Rc::clone(&root),
            root,
            base: Vec::new(),
            resolve: ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV,
            last: None,
            times: Vec::new(),
        })
    }

    /// A folder of a container's root, whose links and mounts are followed as a process inside would.
    pub(crate) fn inside(root: OwnedFd, folder: &[u8]) -> Result<Self> {
        let root = Rc::new(root);
        let mut tree = Self {
            top: Rc::clone(&root),
            root,
            base: folder.to_vec(),
            resolve: ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
            last: None,
            times: Vec::new(),
        };
        tree.top = Rc::new(
            tree.beneath(b"", FOLDER)
                .map_err(|errno| refused(errno, folder))?,
        );
        Ok(tree)
    }

    /// The place of a path; missing parents are made as plain directories. None for the root itself.
    pub(crate) fn place(&mut self, components: &[&[u8]]) -> Result<Option<Place>> {
        let Some((name, parents)) = components.split_last() else {
            return Ok(None);
        };
        let path = components.join(&b'/');
        let parent = self.folder(parents, &path)?;
        Ok(Some(Place {
            parent,
            name: name.to_vec(),
            path,
        }))
    }

    fn folder(&mut self, components: &[&[u8]], wanted_by: &[u8]) -> Result<Rc<OwnedFd>> {
        let path = components.join(&b'/');
        if let Some((last, fd)) = &self.last
            && *last == path
        {
            return Ok(Rc::clone(fd));
        }
        let fd = match self.beneath(&path, FOLDER) {
            Err(Errno::NOENT) => self.make_folders(components, wanted_by)?,
            other => Rc::new(other.map_err(|errno| refused(errno, wanted_by))?),
        };
        self.last = Some((path, Rc::clone(&fd)));
        Ok(fd)
    }

    fn make_folders(&self, components: &[&[u8]], wanted_by: &[u8]) -> Result<Rc<OwnedFd>> {
        let mut parent = Rc::clone(&self.top);
        for depth in 1..=components.len() {
            let path = components[..depth].join(&b'/');
            let fd = match self.beneath(&path, FOLDER) {
                Err(Errno::NOENT) => {
                    let name = OsStr::from_bytes(components[depth - 1]);
                    mkdirat(&parent, name, Mode::from(0o755)).map_err(|errno| refused(errno, wanted_by))?;
                    let fd = openat(&parent, name, FOLDER | OFlags::NOFOLLOW, Mode::empty());
                    let fd = fd.map_err(|errno| refused(errno, wanted_by))?;
                    fchmod(&fd, Mode::from(0o755)).map_err(writing(wanted_by))?; // whatever our umask is
                    fd
                }
                other => other.map_err(|errno| refused(errno, wanted_by))?,
            };
            parent = Rc::new(fd);
        }
        Ok(parent)
    }

    fn beneath(&self, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let whole = match (&self.base[..], path) {
            ([], []) => b".".to_vec(),
            ([], path) => path.to_vec(),
            (base, []) => base.to_vec(),
            (base, path) => [base, b"/", path].concat(),
        };
        loop {
            match openat2(
                &*self.root,
                OsStr::from_bytes(&whole),
                flags,
                Mode::empty(),
                self.resolve,
            ) {
                // A rename elsewhere raced with a ".." in a link: the kernel asks to try again.
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return other,
            }
        }
    }

    /// Gives the root itself its attributes.
    pub(crate) fn dress_root(&mut self, attributes: &Attributes) -> Result<()> {
        dress(&self.top, attributes, b".")?;
        self.times.push((b".".to_vec(), attributes.mtime));
        Ok(())
    }

    pub(crate) fn file(&mut self, place: &Place, attributes: &Attributes) -> Result<NewFile> {
        self.clear(place)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd =
            openat(&place.parent, place.name(), flags, Mode::from(0o600)).map_err(writing(&place.path))?;
        Ok(NewFile {
            file: File::from(fd),
            attributes: attributes.clone(),
            path: place.path.clone(),
        })
    }

    pub(crate) fn directory(&mut self, place: &Place, attributes: &Attributes) -> Result<()> {
        let before = self.kind_at(place)?;
        if before != Some(FileType::Directory) {
            if before.is_some() {
                self.clear(place)?;
            }
            mkdirat(&place.parent, place.name(), Mode::from(0o700)).map_err(writing(&place.path))?;
        }
        let fd = openat(
            &place.parent,
            place.name(),
            FOLDER | OFlags::NOFOLLOW,
            Mode::empty(),
        )
        .map_err(writing(&place.path))?;
        if before == Some(FileType::CharacterDevice) {
            mark_opaque(&fd, &place.path)?; // it was a whiteout: the directory below stays hidden
        }
        dress(&fd, attributes, &place.path)?;
        self.times.push((place.path.clone(), attributes.mtime));
        Ok(())
    }

    pub(crate) fn symlink(&mut self, place: &Place, target: &[u8], attributes: &Attributes) -> Result<()> {
        self.clear(place)?;
        symlinkat(OsStr::from_bytes(target), &place.parent, place.name()).map_err(writing(&place.path))?;
        self.dress_name(place, attributes)
    }

    pub(crate) fn fifo(&mut self, place: &Place, attributes: &Attributes) -> Result<()> {
        self.clear(place)?;
        let mode = Mode::from(attributes.mode);
        mknodat(&place.parent, place.name(), FileType::Fifo, mode, 0).map_err(writing(&place.path))?;
        chmodat(&place.parent, place.name(), mode, AtFlags::empty()).map_err(writing(&place.path))?;
        self.dress_name(place, attributes)
    }

    pub(crate) fn hard_link(&mut self, place: &Place, target: &[u8]) -> Result<()> {
        let missing = || Refusal::LinkMissing {
            path: lossy(&place.path),
            target: lossy(target),
        };
        let outside = |_| Refusal::LinkOutside {
            path: lossy(&place.path),
            target: lossy(target),
        };
        let components = crate::archive::components(target).map_err(outside)?;
        let (name, parents) = components.split_last().ok_or_else(missing)?;
        let parent = match self.beneath(&parents.join(&b'/'), FOLDER) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Err(missing().into()),
            Err(Errno::XDEV | Errno::LOOP) => return Err(outside(Refusal::Headers).into()),
            other => other.map_err(writing(&place.path))?,
        };
        let source = Place {
            parent: Rc::new(parent),
            name: name.to_vec(),
            path: components.join(&b'/'),
        };
        // A directory can't be linked, and a whiteout must not get a second name.
        if matches!(
            self.kind_at(&source)?,
            None | Some(FileType::Directory | FileType::CharacterDevice)
        ) {
            return Err(missing().into());
        }
        if source.path == place.path {
            return Ok(());
        }
        self.clear(place)?;
        linkat(
            &source.parent,
            source.name(),
            &place.parent,
            place.name(),
            AtFlags::empty(),
        )
        .map_err(writing(&place.path))
    }

    /// Hides what lower layers have at this place, unless this very layer put something there.
    pub(crate) fn whiteout(&mut self, place: &Place) -> Result<()> {
        if self.kind_at(place)?.is_some() {
            return Ok(());
        }
        mknodat(
            &place.parent,
            place.name(),
            FileType::CharacterDevice,
            Mode::empty(),
            0,
        )
        .map_err(writing(&place.path))
    }

    /// Hides what lower layers have in this directory.
    pub(crate) fn opaque(&mut self, folder: &[&[u8]]) -> Result<()> {
        let path = folder.join(&b'/');
        let fd = self.folder(folder, &path)?;
        mark_opaque(&fd, &path)
    }

    /// Sets the directories' times, deepest last made first.
    pub(crate) fn finish(self) -> Result<()> {
        for (path, time) in self.times.iter().rev() {
            match self.beneath(path, FOLDER | OFlags::NOFOLLOW) {
                Ok(fd) => futimens(&fd, &stamps(*time)).map_err(writing(path))?,
                // A later member took its place.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(errno) => return Err(refused(errno, path)),
            }
        }
        Ok(())
    }

    /// Refuses what would put a directory where something else is, or the other way round.
    pub(crate) fn keep_kind(&self, place: &Place, directory: bool) -> Result<()> {
        let what = match self.kind_at(place)? {
            Some(FileType::Directory) if !directory => "cannot overwrite directory with non-directory",
            Some(kind) if directory && kind != FileType::Directory => {
                "cannot overwrite non-directory with directory"
            }
            _ => return Ok(()),
        };
        let path = lossy(&place.path);
        Err(Refusal::Conflict { path, what }.into())
    }

    fn kind_at(&self, place: &Place) -> Result<Option<FileType>> {
        match statat(&place.parent, place.name(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(refused(errno, &place.path)),
        }
    }

    /// A later member of the same path replaces the earlier one.
    fn clear(&mut self, place: &Place) -> Result<()> {
        let flags = match self.kind_at(place)? {
            None => return Ok(()),
            Some(FileType::Directory) => AtFlags::REMOVEDIR,
            Some(_) => AtFlags::empty(),
        };
        self.last = None; // it may be what goes
        match unlinkat(&place.parent, place.name(), flags) {
            Err(Errno::NOTEMPTY | Errno::EXIST) => {
                let what = "a directory that is not empty is in its place";
                Err(Refusal::Conflict {
                    path: lossy(&place.path),
                    what,
                }
                .into())
            }
            other => other.map_err(writing(&place.path)),
        }
    }

    fn dress_name(&self, place: &Place, attributes: &Attributes) -> Result<()> {
        let (uid, gid) = (Uid::from_raw(attributes.uid), Gid::from_raw(attributes.gid));
        chownat(
            &place.parent,
            place.name(),
            Some(uid),
            Some(gid),
            AtFlags::SYMLINK_NOFOLLOW,
        )
        .map_err(writing(&place.path))?;
        utimensat(
            &place.parent,
            place.name(),
            &stamps(attributes.mtime),
            AtFlags::SYMLINK_NOFOLLOW,
        )
        .map_err(writing(&place.path))
    }
}

impl Place {
    fn name(&self) -> &OsStr {
        OsStr::from_bytes(&self.name)
    }
}

/// A file being filled; its attributes come last, because writing would clear some of them.
pub(crate) struct NewFile {
    file: File,
    attributes: Attributes,
    path: Vec<u8>,
}

impl NewFile {
    pub(crate) fn write(&mut self, piece: &[u8]) -> Result<()> {
        io::Write::write_all(&mut self.file, piece)
            .map_err(Error::io(format!("writing {:?}", lossy(&self.path))))
    }

    pub(crate) fn finish(self) -> Result<()> {
        let fd = OwnedFd::from(self.file);
        dress(&fd, &self.attributes, &self.path)?;
        futimens(&fd, &stamps(self.attributes.mtime)).map_err(writing(&self.path))
    }
}

/// Owner, then mode, then extended attributes: a change of owner clears set-user-id bits and file capabilities.
fn dress(fd: &OwnedFd, attributes: &Attributes, path: &[u8]) -> Result<()> {
    let (uid, gid) = (Uid::from_raw(attributes.uid), Gid::from_raw(attributes.gid));
    fchown(fd, Some(uid), Some(gid)).map_err(writing(path))?;
    fchmod(fd, Mode::from(attributes.mode)).map_err(writing(path))?;
    for (name, value) in attributes.xattrs.iter().filter(|(name, _)| is_kept(name)) {
        match fsetxattr(fd, name.as_str(), value, XattrFlags::empty()) {
            Err(Errno::OPNOTSUPP) => {
                tracing::debug!(path = lossy(path), name, "attribute not supported here");
            }
            other => other.map_err(writing(path))?,
        }
    }
    Ok(())
}

/// Never `trusted.*`: those would steer overlayfs. Labels of the machine that made the archive mean nothing here.
fn is_kept(name: &str) -> bool {
    name == "security.capability"
        || (name.starts_with("user.") && !name.starts_with("user.overlay."))
        || name.starts_with("system.posix_acl_")
}

fn mark_opaque(fd: &OwnedFd, path: &[u8]) -> Result<()> {
    fsetxattr(fd, OPAQUE, b"y", XattrFlags::empty()).map_err(writing(path))
}

fn stamps((seconds, nanos): (i64, u32)) -> Timestamps {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: nanos.into(),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

fn writing(path: &[u8]) -> impl FnOnce(Errno) -> Error {
    Error::io(format!("writing {:?}", lossy(path)))
}

/// What the kernel says of a path that an archive chose.
fn refused(errno: Errno, path: &[u8]) -> Error {
    let path_text = || lossy(path);
    match errno {
        Errno::XDEV | Errno::LOOP | Errno::EXIST => Refusal::Escape { path: path_text() }.into(),
        Errno::NOTDIR => Refusal::Conflict {
            path: path_text(),
            what: "a part of its path is no directory",
        }
        .into(),
        Errno::NAMETOOLONG => Refusal::Unsupported {
            path: path_text(),
            what: "has a name that is too long",
        }
        .into(),
        errno => writing(path)(errno),
    }
}
