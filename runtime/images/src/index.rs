//! The one file that says which images exist and what names them.
//!
//! What it does not name does not exist: replacing it by a rename makes a whole import, load or removal visible at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
};

use serde::{Deserialize, Serialize};

use crate::{Error, ImageId, Reference, Result};

const SCHEMA: u32 = 1;
const NAME: &str = "index.json";

/// Images and their names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Index {
    schema: u32,
    pub(crate) images: BTreeSet<ImageId>,
    pub(crate) names: BTreeMap<Reference, ImageId>,
}

impl Index {
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let path = root.join(NAME);
        let damaged = |reason: String| Error::Damaged {
            path: path.clone(),
            reason,
        };
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(Error::io(format!("reading {}", path.display()))(error)),
        };
        let index: Self = serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
        if index.schema > SCHEMA {
            return Err(damaged(format!(
                "its schema {} is of a newer version",
                index.schema
            )));
        }
        Ok(index)
    }

    pub(crate) fn write(&self, root: &Path) -> Result<()> {
        let text = serde_json::to_vec(&Self {
            schema: SCHEMA,
            ..self.clone()
        });
        let text = text.expect("strings as keys always make JSON");
        replace(&root.join(NAME), &root.join("tmp/index.json"), &text)
    }

    /// The names of an image, in order.
    pub(crate) fn names_of(&self, id: ImageId) -> impl Iterator<Item = &Reference> {
        self.names
            .iter()
            .filter(move |(_, named)| **named == id)
            .map(|(name, _)| name)
    }
}

/// Writes a file whole: under a temporary name, synced, renamed, the rename synced.
pub(crate) fn replace(path: &Path, temporary: &Path, content: &[u8]) -> Result<()> {
    let write = || {
        let mut file = File::create(temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(temporary, path)?;
        path.parent().map_or(Ok(()), sync_folder)
    };
    write().map_err(Error::io(format!("writing {}", path.display())))
}

/// Makes renames in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
