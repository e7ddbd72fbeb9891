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

/// Reads the lines asked for, and where the current file ended.
pub(super) fn read(path: &Path, query: &LogQuery) -> io::Result<(Vec<Bytes>, Place)> {
    // Opened first: if it is rotated meanwhile, its lines are read from it and not missed.
    let current = match File::open(path) {
        Ok(file) => Some(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let older = (1..)
        .map(|age| rotated(path, age))
        .map_while(|path| File::open(path).ok())
        .collect::<Vec<_>>();
    let mut kept = VecDeque::new();
    for file in older.into_iter().rev() {
        take(&mut Place::at_start(file), query, &mut kept)?;
    }
    let mut place = Place::none();
    if let Some(file) = current {
        place = Place::at_start(file);
        take(&mut place, query, &mut kept)?;
    }
    Ok((kept.into(), place))
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
