//! Finds what is there: the current file and the turned ones before it, some of them packed.
//!
//! The shim turns files while they are looked at, and asks nobody: so it is looked twice, until both looks saw the same.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use shim_protocol::packed;

use super::{LogQuery, place::Place};

/// So many bytes of a log are in memory for one reader, who may be slow.
pub(super) const BATCH: usize = 256 << 10;
/// Files are turned more often than this only where a file is smaller than what is written at once.
const LOOKS: usize = 100;

/// Lines in a row.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) items: Vec<Bytes>,
    /// What follows is later than asked for.
    pub(super) past: bool,
    /// There is more to read.
    pub(super) full: bool,
}

/// A file that is there.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    path: PathBuf,
    packed: bool,
    inode: u64,
}

/// The files there are, the oldest first and the current one last, each at its beginning.
pub(super) fn open(path: &Path) -> io::Result<Vec<Place>> {
    let mut before = look(path)?;
    for _ in 0..LOOKS {
        let places = open_all(&before)?;
        let after = look(path)?;
        let same = places.len() == before.len()
            && places
                .iter()
                .zip(&before)
                .all(|(place, found)| place.inode() == found.inode);
        if same && before == after {
            return Ok(places);
        }
        before = after;
    }
    // Turned faster than looked at: each file that was met is read once.
    let places = open_all(&before)?.into_iter();
    Ok(places.fold(Vec::new(), |mut kept: Vec<Place>, place| {
        if !kept.iter().any(|other| other.is_the_same(&place)) {
            kept.push(place);
        }
        kept
    }))
}

/// The current one is opened first, or a file that is turned meanwhile would be met nowhere.
fn open_all(found: &[Found]) -> io::Result<Vec<Place>> {
    let mut places = Vec::with_capacity(found.len());
    for file in found.iter().rev() {
        match Place::open(&file.path, file.packed) {
            Ok(place) => places.push(place),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    places.reverse();
    Ok(places)
}

/// What the folder shows, the oldest first. Of a file that is packed and plain, the plain one is whole.
fn look(path: &Path) -> io::Result<Vec<Found>> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(Vec::new());
    };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut ages: BTreeMap<u32, bool> = BTreeMap::new();
    for entry in entries {
        let entry = entry?.file_name();
        let rest = entry.as_encoded_bytes().strip_prefix(name.as_encoded_bytes());
        if let Some((age, packed)) = rest.and_then(packed::age) {
            ages.entry(age).and_modify(|is| *is &= packed).or_insert(packed);
        }
    }
    let files = ages.into_iter().rev().filter_map(|(age, packed)| {
        let path = packed::file(path, age, packed);
        let inode = fs::metadata(&path).ok()?.ino();
        Some(Found { path, packed, inode })
    });
    Ok(files.collect())
}

/// The files that were begun after this one, the oldest first. When it is there no more, all are newer.
pub(super) fn after(path: &Path, place: &Place) -> io::Result<Vec<Place>> {
    let mut places = open(path)?;
    if let Some(at) = places.iter().position(|other| other.is_the_same(place)) {
        places.drain(..=at);
    }
    Ok(places)
}

/// The files that the last `wanted` lines asked for are in, the oldest first, each at the first of them; at least the
/// newest file that is there.
pub(super) fn tail(path: &Path, query: &LogQuery, wanted: usize) -> io::Result<Vec<Place>> {
    let (mut kept, mut left) = (Vec::new(), wanted);
    for mut place in open(path)?.into_iter().rev() {
        if left == 0 && !kept.is_empty() {
            break;
        }
        left -= place.go_to_last(query, left)?;
        kept.push(place);
    }
    kept.reverse();
    Ok(kept)
}
