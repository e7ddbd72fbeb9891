//! The store: its folders, and what every verb on it shares.
//!
//! ```text
//! ROOT/lock            held while the store is open
//! ROOT/index.json      which images exist, and their names
//! ROOT/images/HEX.json configurations, byte for byte
//! ROOT/layers/HEX/     layers by the digest of their uncompressed archive: diff/ (the tree), size
//! ROOT/tmp/            what is being written or removed; swept when the store is opened
//! ```

mod find;
mod import;
mod load;
mod open;
mod remove;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    Digest, Document, Error, ImageId, Limits, Reference, Result,
    archive::Budget,
    index::{self, Index},
    layer::{self, Unpacked},
};

pub use import::Import;
pub use load::Loaded;
pub use remove::{Removed, User};

/// The images of one data-root.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    limits: Limits,
    state: Mutex<State>,
    next_temporary: AtomicU64,
    /// Its lock ends with the process.
    _lock: File,
}

#[derive(Debug, Default)]
struct State {
    index: Index,
    images: BTreeMap<ImageId, Arc<Record>>,
    layers: BTreeMap<Digest, u64>,
    /// Imports and loads under way. Layers are not removed meanwhile: one may be about to use them.
    writers: u32,
}

#[derive(Debug)]
struct Record {
    document: Document,
    raw: Vec<u8>,
}

/// An image as it is found.
#[derive(Debug, Clone)]
pub struct Image {
    /// The digest of its configuration.
    pub id: ImageId,
    /// Its configuration.
    pub document: Document,
    /// Its configuration byte for byte, as `save` and `push` need it.
    pub raw: Vec<u8>,
    /// References that name it by tag, in order.
    pub tags: Vec<Reference>,
    /// References that name it by a registry's digest, in order.
    pub digests: Vec<Reference>,
    /// Its layers as directories for overlayfs, **topmost first**, as `lowerdir` wants them.
    pub layers: Vec<PathBuf>,
    /// Bytes of the files in its layers.
    pub size: u64,
}

/// A layer unpacked under `tmp`, not yet part of the store.
struct Staged {
    folder: PathBuf,
    diff_id: Digest,
    size: u64,
}

/// An image whose parts are all checked, ready to become visible.
struct Ready {
    raw: Vec<u8>,
    document: Document,
    names: Vec<Reference>,
}

impl Store {
    fn state(&self) -> MutexGuard<'_, State> {
        // Every change replaces whole values, so a panic elsewhere leaves nothing half done in it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn layer_folder(&self, diff_id: Digest) -> PathBuf {
        self.root.join("layers").join(diff_id.hex())
    }

    fn temporary(&self) -> PathBuf {
        let number = self.next_temporary.fetch_add(1, Ordering::Relaxed);
        self.root.join("tmp").join(number.to_string())
    }

    /// Unpacks one layer archive under `workspace`.
    fn stage(
        &self,
        input: impl io::Read,
        workspace: &Workspace<'_>,
        budget: &Budget,
    ) -> Result<(Staged, Unpacked)> {
        let folder = workspace.subfolder()?;
        let diff = folder.join("diff");
        make_folder(&diff)?;
        let unpacked = layer::unpack(input, &diff, budget)?;
        let size = unpacked.size;
        let writing = Error::io(format!("writing {}", folder.display()));
        fs::write(folder.join("size"), size.to_string()).map_err(writing)?;
        Ok((
            Staged {
                folder,
                diff_id: unpacked.stream.digest,
                size,
            },
            unpacked,
        ))
    }

    /// Makes images visible, all or none. Files are synced before the index names them.
    fn publish(&self, staged: Vec<Staged>, ready: Vec<Ready>) -> Result<Vec<ImageId>> {
        let syncing = || Error::io(format!("syncing {}", self.root.display()));
        let root = File::open(&self.root).map_err(syncing())?;
        rustix::fs::syncfs(root).map_err(|errno| syncing()(errno.into()))?;
        let mut state = self.state();
        let mut layers = state.layers.clone();
        for layer in staged {
            if layers.contains_key(&layer.diff_id) {
                continue; // its twin is there already; the workspace takes this one away
            }
            let target = self.layer_folder(layer.diff_id);
            if target.exists() {
                // Left of a removal that failed: the workspace takes it away.
                let left = layer.folder.with_extension("left");
                fs::rename(&target, left).map_err(Error::io(format!("renaming {}", target.display())))?;
            }
            let renaming = Error::io(format!("renaming {}", layer.folder.display()));
            fs::rename(&layer.folder, &target).map_err(renaming)?;
            layers.insert(layer.diff_id, layer.size);
        }
        index::sync_folder(&self.root.join("layers")).map_err(syncing())?;
        state.layers = layers;
        let (mut next, mut records, mut ids) = (state.index.clone(), Vec::new(), Vec::new());
        for image in ready {
            let id = Digest::of(&image.raw);
            if !state.images.contains_key(&id) {
                let path = self.root.join("images").join(format!("{}.json", id.hex()));
                index::replace(&path, &self.temporary(), &image.raw)?;
                records.push((
                    id,
                    Arc::new(Record {
                        document: image.document,
                        raw: image.raw,
                    }),
                ));
            }
            next.images.insert(id);
            next.names.extend(image.names.into_iter().map(|name| (name, id)));
            ids.push(id);
        }
        next.write(&self.root)?;
        state.index = next;
        state.images.extend(records);
        Ok(ids)
    }
}

/// A folder under `tmp` for one import or load, gone when it ends, however it ends. While it lives no layer is removed.
struct Workspace<'a> {
    store: &'a Store,
    folder: PathBuf,
    next: AtomicU64,
}

impl<'a> Workspace<'a> {
    fn new(store: &'a Store) -> Result<Self> {
        let folder = store.temporary();
        make_folder(&folder)?;
        store.state().writers += 1;
        Ok(Self {
            store,
            folder,
            next: AtomicU64::new(0),
        })
    }

    fn subfolder(&self) -> Result<PathBuf> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let folder = self.folder.join(format!("layer{number}"));
        make_folder(&folder)?;
        Ok(folder)
    }
}

impl Drop for Workspace<'_> {
    fn drop(&mut self) {
        discard(&self.folder);
        let mut state = self.store.state();
        state.writers -= 1;
        let unused = self.store.collect(&mut state);
        drop(state);
        unused.discard();
    }
}

/// What can't be removed now is swept at the next start.
fn discard(folder: &Path) {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(folder = %folder.display(), %error, "left behind until the next start");
        }
        _ => {}
    }
}

fn make_folder(path: &Path) -> Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
    let making = || Error::io(format!("making {}", path.display()));
    fs::DirBuilder::new().mode(0o755).create(path).map_err(making())?;
    // The tree's root is what a container sees as "/": never less than this because of our umask.
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(making())
}

#[cfg(test)]
mod tests;
