//! Opening: take the lock, read the index, sweep what it does not name.

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, atomic::AtomicU64},
};

use rustix::fs::FlockOperation;

use super::{Record, State, Store, discard};
use crate::{Digest, Error, Limits, Result, index::Index};

impl Store {
    /// Opens the store in `root`, making it if need be, with the default [`Limits`].
    pub fn open(root: impl Into<PathBuf>) -> Result<Self> {
        Self::open_with(root, Limits::default())
    }

    /// Opens the store with bounds on what an archive may unpack to.
    pub fn open_with(root: impl Into<PathBuf>, limits: Limits) -> Result<Self> {
        let root = root.into();
        for folder in ["images", "layers", "tmp"].map(|name| root.join(name)) {
            let making = Error::io(format!("making {}", folder.display()));
            // Layers hold set-user-id programs: nobody but root passes here.
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o710)
                .create(&folder)
                .map_err(making)?;
        }
        let lock = lock(&root)?;
        let index = Index::read(&root)?;
        let state = Self::read_state(&root, index)?;
        let store = Self {
            root,
            limits,
            state: Mutex::new(state),
            next_temporary: AtomicU64::new(0),
            _lock: lock,
        };
        store.sweep()?;
        Ok(store)
    }

    fn read_state(root: &Path, mut index: Index) -> Result<State> {
        let mut state = State::default();
        for diff_id in names(&root.join("layers"))?
            .iter()
            .filter_map(|name| Digest::from_hex(name))
        {
            let size = read_if_there(&root.join("layers").join(diff_id.hex()).join("size"))?;
            let size = size.and_then(|size| String::from_utf8(size).ok()?.parse().ok());
            if let Some(size) = size {
                state.layers.insert(diff_id, size);
            }
        }
        for id in index.images.clone() {
            let raw = read_if_there(&root.join("images").join(format!("{}.json", id.hex())))?;
            match record(raw, id, &state) {
                Ok(record) => {
                    state.images.insert(id, Arc::new(record));
                }
                Err(reason) => {
                    tracing::warn!(image = %id, reason, "the image is damaged and left out");
                    index.images.remove(&id);
                    index.names.retain(|_, named| *named != id);
                }
            }
        }
        state.index = index;
        Ok(state)
    }

    fn sweep(&self) -> Result<()> {
        for name in names(&self.root.join("tmp"))? {
            let path = self.root.join("tmp").join(name);
            if path.is_dir() {
                discard(&path);
            } else {
                fs::remove_file(&path).unwrap_or_default();
            }
        }
        let mut state = self.state();
        for name in names(&self.root.join("images"))? {
            let known = name.strip_suffix(".json").and_then(Digest::from_hex);
            if !known.is_some_and(|id| state.images.contains_key(&id)) {
                fs::remove_file(self.root.join("images").join(name)).unwrap_or_default();
            }
        }
        for name in names(&self.root.join("layers"))? {
            if !Digest::from_hex(&name).is_some_and(|id| state.layers.contains_key(&id)) {
                discard(&self.root.join("layers").join(name));
            }
        }
        self.collect(&mut state).discard();
        Ok(())
    }

    /// Forgets the layers that no image has, unless somebody may be about to use one. Their files are only put aside:
    /// to remove them takes long, and the caller lets go of the state first.
    pub(super) fn collect(&self, state: &mut State) -> Unused {
        if state.writers > 0 {
            return Unused::default();
        }
        let used: BTreeSet<_> = state
            .images
            .values()
            .flat_map(|image| &image.document.rootfs.diff_ids)
            .copied()
            .collect();
        let layers: Vec<_> = state
            .layers
            .keys()
            .filter(|layer| !used.contains(layer))
            .copied()
            .collect();
        let aside = |layer: &Digest| {
            state.layers.remove(layer);
            let (from, to) = (self.layer_folder(*layer), self.temporary());
            // A crash in the middle must not leave a layer with half its files.
            if fs::rename(&from, &to).is_ok() { to } else { from }
        };
        let folders = layers.iter().map(aside).collect();
        Unused { layers, folders }
    }
}

/// Layers that are no longer part of the store, and where their files wait to be removed.
#[derive(Debug, Default)]
#[must_use]
pub(super) struct Unused {
    pub(super) layers: Vec<Digest>,
    folders: Vec<PathBuf>,
}

impl Unused {
    pub(super) fn discard(&self) {
        self.folders.iter().for_each(|folder| discard(folder));
    }
}

fn lock(root: &Path) -> Result<File> {
    let path = root.join("lock");
    let opening = || Error::io(format!("opening {}", path.display()));
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(opening())?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::Locked(root.to_owned())),
        Err(errno) => Err(opening()(errno.into())),
    }
}

/// What can't be read now is no reason to sweep it away: only what is not there is missing.
fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(format!("reading {}", path.display()))(error)),
    }
}

fn record(raw: Option<Vec<u8>>, id: Digest, state: &State) -> Result<Record, String> {
    let raw = raw.ok_or("its configuration is missing")?;
    if Digest::of(&raw) != id {
        return Err("its configuration has another digest".to_owned());
    }
    let document: crate::Document = serde_json::from_slice(&raw).map_err(|error| error.to_string())?;
    match document
        .rootfs
        .diff_ids
        .iter()
        .find(|layer| !state.layers.contains_key(layer))
    {
        Some(layer) => Err(format!("layer {layer} is missing")),
        None => Ok(Record { document, raw }),
    }
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let read = || -> io::Result<Vec<String>> {
        fs::read_dir(folder)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    };
    read().map_err(Error::io(format!("reading {}", folder.display())))
}
