//! Finding images: by name, by id, by the first digits of an id; listing and naming them.

use std::collections::{BTreeMap, BTreeSet};

use super::{Image, Record, State, Store};
use crate::{Digest, Error, ImageId, Reference, Result, index::Index};

impl Store {
    /// The image of a full id, a name (`busybox` means `busybox:latest`) or an id prefix, in this order.
    pub fn get(&self, name: &str) -> Result<Image> {
        let state = self.state();
        let id = find(&state, name)?;
        self.named(&state, id).ok_or_else(|| missing(name))
    }

    /// The image of exactly this id, as a container's record has it.
    pub fn get_by_id(&self, id: ImageId) -> Result<Image> {
        self.named(&self.state(), id)
            .ok_or_else(|| missing(&id.to_string()))
    }

    /// Bytes of every layer, by the digest of its archive.
    pub fn layer_sizes(&self) -> BTreeMap<Digest, u64> {
        self.state().layers.clone()
    }

    /// All images, newest first.
    pub fn list(&self) -> Vec<Image> {
        let state = self.state();
        let mut names: BTreeMap<ImageId, Vec<&Reference>> = BTreeMap::new();
        for (name, id) in &state.index.names {
            names.entry(*id).or_default().push(name);
        }
        let mut images: Vec<_> = state
            .images
            .iter()
            .map(|(id, record)| self.image(&state, *id, record, names.remove(id).unwrap_or_default()))
            .collect();
        images.sort_by_key(|image| (std::cmp::Reverse(image.document.created), image.id));
        images
    }

    /// Gives an image one more name, taking it from the image that had it. Gives the id back.
    pub fn tag(&self, name: &str, new: &str) -> Result<ImageId> {
        let new: Reference = new.parse()?;
        if new.digest().is_some() {
            let rule = "has a digest, which can't be given to an image";
            return Err(Error::InvalidReference {
                text: new.familiar(),
                rule,
            });
        }
        let mut state = self.state();
        let id = find(&state, name)?;
        let mut next = state.index.clone();
        next.names.insert(new, id);
        self.replace_index(&mut state, next)?;
        Ok(id)
    }

    pub(super) fn replace_index(&self, state: &mut State, next: Index) -> Result<()> {
        next.write(&self.root)?;
        state.index = next;
        Ok(())
    }

    fn named(&self, state: &State, id: ImageId) -> Option<Image> {
        let record = state.images.get(&id)?;
        Some(self.image(state, id, record, state.index.names_of(id)))
    }

    fn image<'a>(
        &self,
        state: &State,
        id: ImageId,
        record: &Record,
        names: impl IntoIterator<Item = &'a Reference>,
    ) -> Image {
        let layers = &record.document.rootfs.diff_ids;
        let (digests, tags) = names
            .into_iter()
            .cloned()
            .partition(|name: &Reference| name.digest().is_some());
        // overlayfs refuses a directory that it has already; the upper one of two equal layers hides the lower one.
        let mut seen = BTreeSet::new();
        Image {
            id,
            document: record.document.clone(),
            raw: record.raw.clone(),
            tags,
            digests,
            layers: layers
                .iter()
                .rev()
                .filter(|layer| seen.insert(**layer))
                .map(|layer| self.layer_folder(*layer).join("diff"))
                .collect(),
            size: layers.iter().filter_map(|layer| state.layers.get(layer)).sum(),
        }
    }
}

pub(super) fn find(state: &State, name: &str) -> Result<ImageId> {
    let hex = name.strip_prefix("sha256:").unwrap_or(name);
    if let Some(id) = Digest::from_hex(hex) {
        return state
            .images
            .contains_key(&id)
            .then_some(id)
            .ok_or_else(|| missing(name));
    }
    let reference = name.parse::<Reference>();
    if let Ok(reference) = &reference
        && let Some(id) = state.index.names.get(reference)
    {
        return Ok(*id);
    }
    if is_prefix(hex) {
        let mut matching = state.images.keys().filter(|id| id.hex().starts_with(hex));
        match (matching.next(), matching.next()) {
            (Some(id), None) => return Ok(*id),
            (Some(_), Some(_)) => return Err(Error::Ambiguous(name.to_owned())),
            _ => {}
        }
    }
    reference.map_or_else(
        |error| {
            if is_prefix(hex) {
                Err(missing(name))
            } else {
                Err(error)
            }
        },
        |reference| Err(Error::NotFound(reference.familiar())),
    )
}

/// Whether the text names images by their id, not by a name.
pub(super) fn is_prefix(hex: &str) -> bool {
    (1..=64).contains(&hex.len())
        && hex
            .bytes()
            .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

fn missing(name: &str) -> Error {
    Error::NotFound(name.to_owned())
}
