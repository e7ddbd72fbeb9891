//! Writes the json-file log: Docker's format, one object a line.
//!
//! A line of the container is an entry; one that is very long is several, all but the last without a line end: so a line
//! that never ends costs no more memory than an entry.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use shim_protocol::{LogFile, packed, stream::StreamKind};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::pack::{self, Packing};

/// A longer line is cut into entries of this size, as Docker cuts them.
const LONGEST: usize = 16 << 10;

#[derive(Debug)]
pub(crate) struct Log {
    config: LogFile,
    file: File,
    size: u64,
    /// Begun lines of standard output and standard error.
    begun: [Vec<u8>; 2],
    /// What stands in each entry behind the stream.
    attrs: String,
    /// The file that was turned last, as long as nobody knows that it is packed.
    packing: Option<Packing>,
}

impl Log {
    /// Continues the log that is there.
    pub(crate) fn open(config: LogFile) -> io::Result<Self> {
        let file = append(&config.path)?;
        pack::forget(&config.path);
        let size = file.metadata()?.len();
        Ok(Self {
            attrs: attrs(&config),
            config,
            file,
            size,
            begun: [Vec::new(), Vec::new()],
            packing: None,
        })
    }

    /// Writes what the container wrote. When the disk takes no more, the container goes on: what can't be kept is
    /// lost from the log and from nowhere else.
    pub(crate) fn write(&mut self, kind: StreamKind, bytes: &[u8]) -> io::Result<()> {
        let time = now();
        let mut entries = Vec::with_capacity(bytes.len() + bytes.len() / 8 + 96);
        let (begun, attrs) = (&mut self.begun[place(kind)], &self.attrs);
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let mut piece = piece;
            while begun.len() + piece.len() > LONGEST {
                let (now, later) = piece.split_at(LONGEST - begun.len());
                begun.extend_from_slice(now);
                entry(&mut entries, kind, begun, attrs, &time);
                begun.clear();
                piece = later;
            }
            begun.extend_from_slice(piece);
            if begun.last() == Some(&b'\n') {
                entry(&mut entries, kind, begun, attrs, &time);
                begun.clear();
            }
        }
        self.append(&entries)
    }

    /// Writes the lines that were begun and will not be ended.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        let (time, mut entries) = (now(), Vec::new());
        for kind in [StreamKind::Stdout, StreamKind::Stderr] {
            let begun = std::mem::take(&mut self.begun[place(kind)]);
            if !begun.is_empty() {
                entry(&mut entries, kind, &begun, &self.attrs, &time);
            }
        }
        let written = self.append(&entries);
        // Whoever removes the log finds nobody at it.
        if let Some(packing) = self.packing.take() {
            packing.wait();
        }
        written
    }

    /// Writes whole entries; a file that would grow too large is turned before the entry that would make it so.
    fn append(&mut self, mut entries: &[u8]) -> io::Result<()> {
        while !entries.is_empty() {
            let fitting = match self.config.max_size {
                None => entries.len(),
                Some(most) => fitting(entries, most.saturating_sub(self.size)),
            };
            if fitting == 0 && self.size > 0 {
                self.rotate()?;
                continue;
            }
            // An entry that is larger than a file is a file.
            let first = || {
                entries
                    .iter()
                    .position(|byte| *byte == b'\n')
                    .map_or(entries.len(), |at| at + 1)
            };
            let length = if fitting == 0 { first() } else { fitting };
            let (now, later) = entries.split_at(length);
            self.file.write_all(now)?;
            self.size += now.len() as u64;
            entries = later;
        }
        Ok(())
    }

    /// Every file gets a turn older, the oldest goes, and a new one is begun. A file that is still being packed is
    /// waited for, or it would be packed under a name that is another's.
    fn rotate(&mut self) -> io::Result<()> {
        if let Some(packing) = self.packing.take() {
            packing.wait();
        }
        let path = &self.config.path;
        let oldest = self.config.max_files.saturating_sub(1);
        let forms: &[bool] = if self.config.compress {
            &[false, true]
        } else {
            &[false]
        };
        for packed in forms {
            gone_is_fine(fs::remove_file(packed::file(path, oldest, *packed)))?;
            for age in (1..oldest).rev() {
                let from = packed::file(path, age, *packed);
                gone_is_fine(fs::rename(from, packed::file(path, age + 1, *packed)))?;
            }
        }
        if oldest > 0 {
            gone_is_fine(fs::rename(path, packed::file(path, 1, false)))?;
        }
        self.file = append(path)?;
        self.size = 0;
        if self.config.compress && oldest > 0 {
            self.packing = Packing::begin(path).ok();
        }
        Ok(())
    }
}

/// Bytes of those whole entries at the beginning that are not more than `room`.
fn fitting(entries: &[u8], room: u64) -> usize {
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    if entries.len() <= room {
        return entries.len();
    }
    entries[..room]
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1)
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)
}

fn gone_is_fine(done: io::Result<()>) -> io::Result<()> {
    done.or_else(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            Ok(())
        } else {
            Err(error)
        }
    })
}

fn place(kind: StreamKind) -> usize {
    usize::from(kind == StreamKind::Stderr)
}

fn now() -> String {
    OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default()
}

/// Labels and the like as they stand in an entry; nothing where there are none.
fn attrs(config: &LogFile) -> String {
    match serde_json::to_string(&config.attrs) {
        Ok(text) if !config.attrs.is_empty() => format!(",\"attrs\":{text}"),
        _ => String::new(),
    }
}

/// Bytes that are no text are shown as the replacement character: JSON has no other way.
fn entry(to: &mut Vec<u8>, kind: StreamKind, line: &[u8], attrs: &str, time: &str) {
    to.extend_from_slice(b"{\"log\":");
    // Writing to memory does not fail, and text is always JSON.
    let _ = serde_json::to_writer(&mut *to, &String::from_utf8_lossy(line));
    let _ = writeln!(to, ",\"stream\":\"{}\"{attrs},\"time\":\"{time}\"}}", kind.name());
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn lines(path: &Path) -> Vec<(String, String)> {
        let text = fs::read_to_string(path).unwrap();
        let entry = |line: &str| {
            let entry: serde_json::Value = serde_json::from_str(line).unwrap();
            OffsetDateTime::parse(entry["time"].as_str().unwrap(), &Rfc3339).unwrap();
            (
                entry["stream"].as_str().unwrap().to_owned(),
                entry["log"].as_str().unwrap().to_owned(),
            )
        };
        text.lines().map(entry).collect()
    }

    fn open(dir: &Path, max_size: Option<u64>, max_files: u32) -> Log {
        Log::open(LogFile {
            path: dir.join("log"),
            max_size,
            max_files,
            compress: false,
            attrs: Default::default(),
        })
        .unwrap()
    }

    #[test]
    fn lines_are_entries_however_they_arrive() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path(), None, 1);
        log.write(StreamKind::Stdout, b"one\ntw").unwrap();
        log.write(StreamKind::Stderr, b"bad \xff\"\n").unwrap();
        log.write(StreamKind::Stdout, b"o\nthree").unwrap();
        log.finish().unwrap();
        log.finish().unwrap();
        let of = |stream: &str, text: &str| (stream.to_owned(), text.to_owned());
        let expected = [
            of("stdout", "one\n"),
            of("stderr", "bad \u{fffd}\"\n"),
            of("stdout", "two\n"),
            of("stdout", "three"),
        ];
        assert_eq!(lines(&dir.path().join("log")), expected);
    }

    #[test]
    fn a_long_line_is_cut_and_nothing_of_it_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path(), None, 1);
        let long = "x".repeat(2 * LONGEST + 5) + "\n";
        for piece in long.as_bytes().chunks(1000) {
            log.write(StreamKind::Stdout, piece).unwrap();
        }
        let entries = lines(&dir.path().join("log"));
        let lengths: Vec<_> = entries.iter().map(|(_, text)| text.len()).collect();
        assert_eq!(lengths, [LONGEST, LONGEST, 6]);
    }

    #[test]
    fn much_at_once_is_turned_entry_by_entry() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path(), Some(1000), 3);
        let text: String = (0..200).map(|number| format!("line {number}\n")).collect();
        log.write(StreamKind::Stdout, text.as_bytes()).unwrap();
        let mut kept = Vec::new();
        for name in ["log.2", "log.1", "log"] {
            let path = dir.path().join(name);
            assert!(fs::metadata(&path).unwrap().len() <= 1000, "{name}");
            kept.extend(lines(&path).into_iter().map(|(_, text)| text));
        }
        assert_eq!(kept.last().map(String::as_str), Some("line 199\n"));
        let first: usize = kept[0].trim().trim_start_matches("line ").parse().unwrap();
        assert_eq!(first + kept.len(), 200, "none is missing in the middle");
    }

    #[test]
    fn a_line_without_an_end_is_never_in_memory_and_turns_files() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path(), Some(1 << 20), 2);
        let chunk = [0; LONGEST];
        for _ in 0..512 {
            log.write(StreamKind::Stdout, &chunk).unwrap();
            assert!(
                log.begun[0].capacity() <= 2 * LONGEST,
                "{}",
                log.begun[0].capacity()
            );
        }
        // A byte that is no letter takes six in JSON: 8 MiB of them were 48, of which two files of one are kept.
        let sizes = |name: &str| fs::metadata(dir.path().join(name)).unwrap().len();
        assert!(sizes("log") + sizes("log.1") <= 2 << 20);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        assert!(
            lines(&dir.path().join("log.1"))
                .iter()
                .all(|(_, text)| text.len() == LONGEST)
        );
    }

    #[test]
    fn turned_files_are_packed_and_grow_older_so() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path(), Some(100), 3);
        log.config.compress = true;
        for number in 0..6 {
            log.write(StreamKind::Stdout, format!("{number}\n").as_bytes())
                .unwrap();
        }
        log.finish().unwrap();
        let mut names: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["log", "log.1.gz", "log.2.gz"]);
        for (name, line) in [("log.1.gz", "4\\n"), ("log.2.gz", "3\\n")] {
            let mut text = String::new();
            let file = File::open(dir.path().join(name)).unwrap();
            flate2::read::GzDecoder::new(file)
                .read_to_string(&mut text)
                .unwrap();
            assert!(text.contains(line), "{name}: {text}");
        }
    }

    #[test]
    fn files_are_rotated_and_only_so_many_kept() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path(), Some(100), 3);
        for number in 0..6 {
            log.write(StreamKind::Stdout, format!("{number}\n").as_bytes())
                .unwrap();
        }
        let text = |name: &str| {
            lines(&dir.path().join(name))
                .into_iter()
                .map(|(_, text)| text)
                .collect::<String>()
        };
        assert_eq!(
            (text("log"), text("log.1"), text("log.2")),
            ("5\n".into(), "4\n".into(), "3\n".into())
        );
        assert!(!dir.path().join("log.3").exists());

        let alone = tempfile::tempdir().unwrap();
        let mut log = open(alone.path(), Some(100), 1);
        log.write(StreamKind::Stdout, b"a\n").unwrap();
        log.write(StreamKind::Stdout, b"b\n").unwrap();
        assert_eq!(lines(&alone.path().join("log")).len(), 1);
        assert_eq!(fs::read_dir(alone.path()).unwrap().count(), 1);
    }
}
