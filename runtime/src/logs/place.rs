//! How far a file of a log was read: one that is written to, or one that was turned and packed.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Read, Seek as _, SeekFrom},
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::Path,
};

use flate2::bufread::MultiGzDecoder;

use super::{
    LogQuery, back,
    entry::{Shown, show},
    files::{BATCH, Batch},
};

/// So many bytes are read at a time.
const CHUNK: usize = 64 << 10;

/// A file and how far it was read.
#[derive(Debug)]
pub(super) struct Place {
    source: Source,
    /// The number of the file that the lines were written to: turning and packing leave it as it is.
    written: u64,
    /// The number of the file that is read.
    inode: u64,
}

#[derive(Debug)]
enum Source {
    Plain { file: File, offset: u64 },
    Packed(Box<Packed>),
}

#[derive(Debug)]
struct Packed {
    reader: BufReader<MultiGzDecoder<BufReader<File>>>,
    /// A line that was read and not taken.
    held: Vec<u8>,
}

impl Packed {
    /// How many of all lines count.
    fn count(&self, counts: impl Fn(&[u8]) -> bool) -> io::Result<usize> {
        let file = self.reader.get_ref().get_ref().get_ref();
        let packed = BufReader::new(Apart { file, at: 0 });
        let mut reader = BufReader::with_capacity(CHUNK, MultiGzDecoder::new(packed));
        let mut count = 0;
        whole_lines(&mut reader, &mut Vec::new(), |line| {
            count += usize::from(counts(line));
            true
        })?;
        Ok(count)
    }
}

impl Place {
    /// The beginning of a file.
    pub(super) fn open(path: &Path, packed: bool) -> io::Result<Self> {
        let file = File::open(path)?;
        let inode = file.metadata()?.ino();
        if !packed {
            return Ok(Self {
                source: Source::Plain { file, offset: 0 },
                written: inode,
                inode,
            });
        }
        let mut reader = BufReader::with_capacity(CHUNK, MultiGzDecoder::new(BufReader::new(file)));
        // The head is read with the first bytes.
        reader.fill_buf()?;
        let comment = reader.get_ref().header().and_then(|header| header.comment());
        let written = comment.and_then(shim_protocol::packed::inode);
        let packed = Packed {
            reader,
            held: Vec::new(),
        };
        Ok(Self {
            source: Source::Packed(Box::new(packed)),
            written: written.unwrap_or(inode),
            inode,
        })
    }

    /// Which file it is that is read.
    pub(super) fn inode(&self) -> u64 {
        self.inode
    }

    /// Whether both are the same lines, though one of them may have been packed since.
    pub(super) fn is_the_same(&self, other: &Self) -> bool {
        self.written == other.written
    }

    /// Whether the path leads to another file now, or to none: whoever turned it may have died in the middle.
    pub(super) fn was_turned(&self, path: &Path) -> bool {
        !fs::metadata(path).is_ok_and(|now| now.ino() == self.inode)
    }

    /// Whether somebody cut the file: then it is read from its beginning.
    pub(super) fn was_cut(&mut self) -> bool {
        let Source::Plain { file, offset } = &mut self.source else {
            return false;
        };
        let cut = file.metadata().is_ok_and(|now| now.len() < *offset);
        if cut {
            *offset = 0;
        }
        cut
    }

    /// The next lines asked for, as many as may be in memory.
    pub(super) fn batch(&mut self, query: &LogQuery) -> io::Result<Batch> {
        let (mut batch, mut size) = (Batch::default(), 0);
        self.lines(|line| {
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

    /// Goes from the beginning to the first of the last `wanted` lines asked for, and answers how many there are.
    pub(super) fn go_to_last(&mut self, query: &LogQuery, wanted: usize) -> io::Result<usize> {
        let is_shown = |line: &[u8]| matches!(show(line, query), Shown::Item(_));
        match &mut self.source {
            Source::Plain { file, offset } => {
                let read_at = |buffer: &mut [u8], at| file.read_exact_at(buffer, at);
                let found = loop {
                    match back::find(file.metadata()?.len(), wanted, is_shown, read_at) {
                        // Somebody cut it meanwhile.
                        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
                        found => break found?,
                    }
                };
                *offset = found.begin;
                Ok(found.lines)
            }
            // What is packed can't be read from its end: it is counted, and read again.
            Source::Packed(packed) => {
                let shown = packed.count(is_shown)?;
                let mut before = shown.saturating_sub(wanted);
                self.lines(|line| {
                    let passed = before > 0;
                    before -= usize::from(passed && is_shown(line));
                    passed
                })?;
                Ok(shown.min(wanted))
            }
        }
    }

    /// Calls `each` with every whole line from here on, as long as it says true; stays behind the last of them.
    pub(super) fn lines(&mut self, each: impl FnMut(&[u8]) -> bool) -> io::Result<()> {
        match &mut self.source {
            Source::Plain { file, offset } => {
                file.seek(SeekFrom::Start(*offset))?;
                let mut reader = BufReader::with_capacity(CHUNK, file);
                *offset += whole_lines(&mut reader, &mut Vec::new(), each)?;
                Ok(())
            }
            Source::Packed(packed) => whole_lines(&mut packed.reader, &mut packed.held, each).map(drop),
        }
    }
}

/// Reads a file that others read too, each from a byte of its own.
#[derive(Debug)]
struct Apart<'a> {
    file: &'a File,
    at: u64,
}

impl Read for Apart<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// So many bytes were taken; what was read and not taken is in `line`, where it is looked for next time.
fn whole_lines(
    reader: &mut impl BufRead,
    line: &mut Vec<u8>,
    mut each: impl FnMut(&[u8]) -> bool,
) -> io::Result<u64> {
    let mut passed = 0;
    loop {
        if line.last() != Some(&b'\n') {
            reader.read_until(b'\n', line)?;
        }
        if line.last() != Some(&b'\n') || !each(line) {
            return Ok(passed);
        }
        passed += line.len() as u64;
        line.clear();
    }
}
