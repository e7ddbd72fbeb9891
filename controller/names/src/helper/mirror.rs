//! The mirror of what the daemon said, from which a new helper starts when this one dies.
//!
//! Changes are appended to a journal, so that their cost does not grow with what is known; now and then everything is
//! written anew and the journal begins again. The snapshot names its journal, so replacing it by a rename replaces
//! both. The exec-root does not outlive the machine's run, so nothing is synced; a line cut short by a crash was not
//! acknowledged, and the daemon sends everything again when it finds a new helper.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
};

use dns::{Change, Names};
use serde::{Deserialize, Serialize};

const SNAPSHOT: &str = "state";
/// A journal shorter than this is not worth writing anew.
const SMALL: u64 = 256 << 10;

/// The first line of a snapshot.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    schema: u32,
    journal: u64,
}

/// The files of the mirror.
#[derive(Debug)]
pub(super) struct Mirror {
    folder: PathBuf,
    number: u64,
    journal: File,
    journal_bytes: u64,
    snapshot_bytes: u64,
}

impl Mirror {
    /// Reads what the helper before knew.
    pub(super) fn open(folder: &Path) -> io::Result<(Self, Names)> {
        let mut names = Names::default();
        let mut snapshot = read_lines(&folder.join(SNAPSHOT))?.into_iter();
        let head = snapshot
            .next()
            .and_then(|line| serde_json::from_str::<Head>(&line).ok());
        let number = head.map_or(0, |head| head.journal);
        snapshot
            .filter_map(|line| parse(&line))
            .for_each(|change| names.apply(change));
        let journal = read_lines(&folder.join(journal_name(number)))?;
        journal
            .into_iter()
            .map_while(|line| parse(&line))
            .for_each(|change| names.apply(change));
        // A fresh start leaves out whatever the last line of the old journal is.
        Ok((Self::write(folder.to_owned(), number + 1, &names)?, names))
    }

    /// Adds changes.
    pub(super) fn record(&mut self, changes: &[Change]) -> io::Result<()> {
        let mut text = Vec::new();
        write_lines(&mut text, changes.iter())?;
        if let Err(error) = self.journal.write_all(&text) {
            // A line cut short would hide all that is recorded behind it.
            self.journal.set_len(self.journal_bytes)?;
            return Err(error);
        }
        self.journal_bytes += text.len() as u64;
        Ok(())
    }

    /// Writes everything anew when the journal has outgrown it.
    pub(super) fn compact_if_large(&mut self, names: &Names) -> io::Result<()> {
        if self.journal_bytes > SMALL.max(2 * self.snapshot_bytes) {
            *self = Self::write(self.folder.clone(), self.number + 1, names)?;
        }
        Ok(())
    }

    fn write(folder: PathBuf, number: u64, names: &Names) -> io::Result<Self> {
        let mut text = serde_json::to_vec(&Head {
            schema: 1,
            journal: number,
        })?;
        text.push(b'\n');
        for change in names.changes() {
            write_lines(&mut text, [&change].into_iter())?;
        }
        let journal = folder.join(journal_name(number));
        fs::remove_file(&journal).unwrap_or_default();
        let journal = OpenOptions::new().create(true).append(true).open(journal)?;
        let temporary = folder.join("state.new");
        fs::write(&temporary, &text)?;
        fs::rename(temporary, folder.join(SNAPSHOT))?;
        // From here on the new journal counts: nothing below may fail.
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if name.to_string_lossy().starts_with("journal.") && *name != *journal_name(number) {
                fs::remove_file(entry.path()).unwrap_or_default();
            }
        }
        Ok(Self {
            folder,
            number,
            journal,
            journal_bytes: 0,
            snapshot_bytes: text.len() as u64,
        })
    }
}

fn journal_name(number: u64) -> String {
    format!("journal.{number}")
}

fn write_lines<'a>(text: &mut Vec<u8>, changes: impl Iterator<Item = &'a Change>) -> io::Result<()> {
    for change in changes {
        serde_json::to_writer(&mut *text, change)?;
        text.push(b'\n');
    }
    Ok(())
}

fn parse(line: &str) -> Option<Change> {
    serde_json::from_str(line).ok()
}

fn read_lines(path: &Path) -> io::Result<Vec<String>> {
    match File::open(path) {
        Ok(file) => Ok(BufReader::new(file).lines().map_while(Result::ok).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use dns::NetworkFacts;
    use model::NetworkId;

    use super::*;

    fn network(number: u8, name: &str) -> Change {
        let id = NetworkId::from_bytes([number; 32]);
        Change::Network(NetworkFacts {
            id,
            name: name.into(),
            named: true,
            outside: true,
            gateways: 1,
            predefined: false,
            records: [].into(),
            forwards: [].into(),
            listeners: Vec::new(),
            publishes: Vec::new(),
        })
    }

    fn read_back(folder: &Path) -> Vec<String> {
        let (_, names) = Mirror::open(folder).expect("open");
        let mut lines: Vec<_> = names
            .changes()
            .map(|change| serde_json::to_string(&change).expect("JSON"))
            .collect();
        lines.sort();
        lines
    }

    #[test]
    fn what_was_recorded_is_read_back_however_often_it_was_written_anew() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let (mut mirror, mut names) = Mirror::open(folder.path()).expect("open");
        for round in 0..2000_u32 {
            let changes = [network(
                (round % 7) as u8,
                &format!("n{round}-{}", "x".repeat(100)),
            )];
            mirror.record(&changes).expect("recorded");
            changes.into_iter().for_each(|change| names.apply(change));
            mirror.compact_if_large(&names).expect("written anew");
        }
        assert!(mirror.number > 1, "it was written anew");
        assert!(mirror.journal_bytes < 2 * SMALL);
        let mut wanted: Vec<_> = names
            .changes()
            .map(|change| serde_json::to_string(&change).expect("JSON"))
            .collect();
        wanted.sort();
        assert_eq!(read_back(folder.path()), wanted);
        assert_eq!(read_back(folder.path()), wanted, "and again");
        let files = fs::read_dir(folder.path()).expect("the folder").count();
        assert_eq!(files, 2, "old journals go");
    }

    /// Runs `test` with a folder on a file system of this size, which ends with its thread. Needs root.
    fn on_a_small_disk(size: &str, test: impl FnOnce(&Path) + Send) {
        use nix::{
            mount::{MntFlags, MsFlags, mount, umount2},
            sched::{CloneFlags, unshare},
        };
        let folder = tempfile::TempDir::new().expect("a folder");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                unshare(CloneFlags::CLONE_NEWNS).expect("mounts of our own: this test needs root");
                let private = MsFlags::MS_PRIVATE | MsFlags::MS_REC;
                mount(None::<&str>, "/", None::<&str>, private, None::<&str>).expect("private mounts");
                let options = format!("size={size}");
                let flags = MsFlags::empty();
                mount(
                    Some("tmpfs"),
                    folder.path(),
                    Some("tmpfs"),
                    flags,
                    Some(options.as_str()),
                )
                .expect("a small disk");
                test(folder.path());
                umount2(folder.path(), MntFlags::MNT_DETACH).expect("unmounted");
            });
        });
    }

    #[test]
    fn what_is_recorded_after_the_disk_was_full_is_read_back() {
        on_a_small_disk("128k", |folder| {
            let (mut mirror, _) = Mirror::open(folder).expect("open");
            let filler = folder.join("filler");
            fs::write(&filler, vec![0; 64 << 10]).expect("written");
            mirror.record(&[network(1, "a")]).expect("recorded");
            let long = network(2, &"x".repeat(100 << 10));
            mirror.record(&[long]).expect_err("the disk is full");
            mirror.record(&[network(3, "c")]).expect("short enough");
            fs::remove_file(filler).expect("removed");
            let names = read_back(folder);
            assert_eq!(names.len(), 2, "{names:?}");
            assert!(names.iter().any(|name| name.contains("\"c\"")), "{names:?}");
        });
    }

    #[test]
    fn a_line_cut_short_is_left_out_and_so_is_what_follows() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let (mut mirror, _) = Mirror::open(folder.path()).expect("open");
        mirror.record(&[network(1, "a")]).expect("recorded");
        let path = folder.path().join(journal_name(mirror.number));
        let mut text = fs::read_to_string(&path).expect("the journal");
        write!(text, "{}", &text[..20].to_owned()).expect("a String");
        fs::write(&path, text).expect("written");
        assert_eq!(read_back(folder.path()).len(), 1);
    }
}
