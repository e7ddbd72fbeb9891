//! What a container has changed of its image: read from its writable layer, which has a copy of each changed file and
//! a mark for each that is gone.

use std::{
    fs::{self, Metadata},
    io,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use crate::{Error, Result};

/// What became of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Other content, mode or owner, or other things in a directory.
    Modified,
    /// The image has no such path.
    Added,
    /// The container has no such path any more.
    Deleted,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// From the container's root.
    pub path: PathBuf,
    /// What became of it.
    pub kind: Kind,
}

/// Mount points that a start makes where the image lacks them: nobody changed these.
const OURS: [&str; 10] = [
    "/dev",
    "/dev/console",
    "/dev/pts",
    "/dev/shm",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/mtab",
    "/etc/resolv.conf",
    "/proc",
    "/sys",
];

/// The changes in the writable layer `upper` over the image's layers, topmost first; in order of their paths.
///
/// # Errors
/// Those of reading the layers.
pub fn changes(upper: &Path, layers: &[PathBuf]) -> Result<Vec<Change>> {
    let mut all = Vec::new();
    match walk(upper, layers, Path::new(""), &mut all) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => other.map_err(Error::file("reading", upper))?,
    }
    Ok(all)
}

fn walk(upper: &Path, layers: &[PathBuf], folder: &Path, all: &mut Vec<Change>) -> io::Result<()> {
    let mut entries = fs::read_dir(upper.join(folder))?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = folder.join(entry.file_name());
        let facts = match entry.metadata() {
            Ok(facts) => facts,
            // It went while we looked.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        one(upper, layers, &path, &facts, all)?;
    }
    Ok(())
}

fn one(
    upper: &Path,
    layers: &[PathBuf],
    path: &Path,
    facts: &Metadata,
    all: &mut Vec<Change>,
) -> io::Result<()> {
    let absolute = Path::new("/").join(path);
    let ours = OURS.iter().any(|known| absolute == Path::new(known));
    let below = lower(layers, path);
    let kind = match &below {
        _ if is_whiteout(facts) => Kind::Deleted,
        Some(_) => Kind::Modified,
        None => Kind::Added,
    };
    let at = all.len();
    if facts.is_dir() {
        walk(upper, layers, path, all)?;
    }
    let changed_below = all.len() > at;
    // A directory is copied up for whatever is in it; alone it is a change where it differs itself.
    let itself = match (&kind, &below) {
        (Kind::Deleted, below) => below.is_some(),
        (Kind::Added, _) => !ours,
        (Kind::Modified, Some(below)) if facts.is_dir() && below.is_dir() => {
            let same = |facts: &Metadata| (facts.mode(), facts.uid(), facts.gid());
            changed_below || same(facts) != same(below)
        }
        (Kind::Modified, _) => !ours,
    };
    if itself || changed_below {
        all.insert(at, Change { path: absolute, kind });
    }
    Ok(())
}

/// What the image has at a path, unless a layer of it took it away.
fn lower(layers: &[PathBuf], path: &Path) -> Option<Metadata> {
    let found = layers
        .iter()
        .find_map(|layer| fs::symlink_metadata(layer.join(path)).ok())?;
    (!is_whiteout(&found)).then_some(found)
}

/// How overlayfs says that a name is gone.
fn is_whiteout(facts: &Metadata) -> bool {
    facts.file_type().is_char_device() && facts.rdev() == 0
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_writable_layer_tells_what_changed() {
        let dir = tempfile::tempdir().unwrap();
        let (image, upper) = (dir.path().join("image"), dir.path().join("upper"));
        for path in ["etc", "var/log", "bin"] {
            fs::create_dir_all(image.join(path)).unwrap();
        }
        fs::write(image.join("etc/passwd"), "root").unwrap();
        for path in ["etc", "var/log", "bin", "new/deep", "proc"] {
            fs::create_dir_all(upper.join(path)).unwrap();
        }
        fs::write(upper.join("etc/passwd"), "root user").unwrap();
        fs::write(upper.join("etc/hosts"), "").unwrap();
        fs::write(upper.join("new/deep/file"), "123").unwrap();
        fs::set_permissions(upper.join("bin"), fs::Permissions::from_mode(0o700)).unwrap();
        let rows: Vec<_> = changes(&upper, &[image])
            .unwrap()
            .into_iter()
            .map(|change| format!("{:?} {}", change.kind, change.path.display()))
            .collect();
        assert_eq!(
            rows,
            [
                "Modified /bin",
                "Modified /etc",
                "Modified /etc/passwd",
                "Added /new",
                "Added /new/deep",
                "Added /new/deep/file"
            ]
        );
        assert_eq!(changes(&dir.path().join("none"), &[]).unwrap(), []);
    }
}
