//! Reads what is there: the current file and the rotated ones before it.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
};

use bytes::Bytes;

use super::{
    LogQuery,
    entry::{Shown, show},
    follow::Place,
};

/// The rotated file so many rotations old.
pub(super) fn rotated(path: &Path, age: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{age}"));
    name.into()
}

/// So many bytes of a log are in memory for one reader, who may be slow.
const BATCH: usize = 256 << 10;

/// Lines in a row.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) items: Vec<Bytes>,
    /// What follows is later than asked for.
    pub(super) past: bool,
    /// There is more to read.
    pub(super) full: bool,
}

/// The files there are, the oldest first and the current one last.
pub(super) fn open(path: &Path) -> io::Result<Vec<Place>> {
    // Opened first: if it is rotated meanwhile, its lines are read from it and not missed.
    let current = match File::open(path) {
        Ok(file) => Place::at_start(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Place::none(),
        Err(error) => return Err(error),
    };
    let mut places: Vec<Place> = (1..)
        .map(|age| rotated(path, age))
        .map_while(|path| File::open(path).ok())
        .map(Place::at_start)
        .collect();
    places.reverse();
    places.push(current);
    Ok(places)
}

/// The next lines asked for, as many as may be in memory.
pub(super) fn batch(place: &mut Place, query: &LogQuery) -> io::Result<Batch> {
    let (mut batch, mut size) = (Batch::default(), 0);
    place.lines(|line| {
        if size >= BATCH {
            batch.full = true;
            return false;
        }
        size += line.len();
        match show(line, query) {
            Shown::Item(item) => batch.items.push(item),
            Shown::Skipped => {}
            Shown::Past => batch.past = true,
        }
        !batch.past
    })?;
    Ok(batch)
}

/// The last lines asked for, and where the current file ended.
pub(super) fn tail(path: &Path, query: &LogQuery) -> io::Result<(Vec<Bytes>, Place)> {
    let mut kept = VecDeque::new();
    let mut last = Place::none();
    for mut place in open(path)? {
        take(&mut place, query, &mut kept)?;
        last = place;
    }
    Ok((kept.into(), last))
}

fn take(place: &mut Place, query: &LogQuery, kept: &mut VecDeque<Bytes>) -> io::Result<()> {
    place.lines(|line| {
        match show(line, query) {
            Shown::Item(item) => {
                kept.push_back(item);
                if query.tail.is_some_and(|tail| kept.len() > tail) {
                    kept.pop_front();
                }
            }
            Shown::Skipped => {}
            Shown::Past => return false,
        }
        true
    })
}

impl Place {
    /// Calls `each` with every whole line from here on, as long as it says true; stays behind the last of them.
    pub(super) fn lines(&mut self, mut each: impl FnMut(&[u8]) -> bool) -> io::Result<()> {
        let Some(file) = self.file() else { return Ok(()) };
        let mut reader = BufReader::with_capacity(64 << 10, file);
        let mut line = Vec::new();
        let mut passed = 0;
        loop {
            line.clear();
            reader.read_until(b'\n', &mut line)?;
            if line.last() != Some(&b'\n') || !each(&line) {
                break;
            }
            passed += line.len() as u64;
        }
        drop(reader);
        self.advance(passed);
        Ok(())
    }
}
