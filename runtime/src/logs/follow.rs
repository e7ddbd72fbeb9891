//! Waits for what is written next.

use std::{
    fs::{self, File},
    io::{self, Seek as _, SeekFrom},
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::fs::MetadataExt as _},
    path::Path,
};

use rustix::fs::inotify::{CreateFlags, Reader, WatchFlags, add_watch, init};
use tokio::{io::unix::AsyncFd, sync::watch};

use super::{LogQuery, Sender, files::batch};

/// How far a file was read.
#[derive(Debug)]
pub(super) struct Place {
    file: Option<File>,
    offset: u64,
}

impl Place {
    pub(super) fn none() -> Self {
        Self {
            file: None,
            offset: 0,
        }
    }

    pub(super) fn at_start(file: File) -> Self {
        Self {
            file: Some(file),
            offset: 0,
        }
    }

    /// The file, positioned.
    pub(super) fn file(&mut self) -> Option<&mut File> {
        let file = self.file.as_mut()?;
        file.seek(SeekFrom::Start(self.offset)).ok()?;
        Some(file)
    }

    pub(super) fn advance(&mut self, bytes: u64) {
        self.offset += bytes;
    }

    /// Whether the path leads to another file now, or the file was cut.
    fn left_behind(&self, path: &Path) -> bool {
        let (Ok(now), Some(file)) = (fs::metadata(path), &self.file) else {
            return self.file.is_none();
        };
        let same = file
            .metadata()
            .is_ok_and(|mine| (mine.dev(), mine.ino()) == (now.dev(), now.ino()));
        !same || now.len() < self.offset
    }
}

/// Tells when something in the log's directory changes.
#[derive(Debug)]
pub(super) struct Changes(AsyncFd<OwnedFd>);

impl Changes {
    pub(super) fn watch(path: &Path) -> io::Result<Self> {
        let inotify = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let directory = path.parent().unwrap_or(Path::new("/"));
        add_watch(
            &inotify,
            directory,
            WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO,
        )?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe for the sake of types that are no owned descriptor"
        )]
        let watched = AsyncFd::new(inotify)?;
        Ok(Self(watched))
    }

    async fn next(&self) -> io::Result<()> {
        let mut ready = self.0.readable().await?;
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = Reader::new(self.0.get_ref(), &mut buffer);
        while events.next().is_ok() {}
        ready.clear_ready();
        Ok(())
    }
}

/// Sends what is written from `place` on until the container has ended and all of it was read.
pub(super) async fn follow(
    path: &Path,
    mut place: Place,
    query: &LogQuery,
    changes: Changes,
    mut ended: watch::Receiver<bool>,
    to: &Sender,
) -> io::Result<()> {
    loop {
        // Asked before reading: what was written before the end is then read for certain.
        let last = *ended.borrow() || ended.has_changed().is_err();
        loop {
            let batch = batch(&mut place, query)?;
            for item in batch.items {
                if to.send(Ok(item)).await.is_err() {
                    return Ok(());
                }
            }
            if batch.past {
                return Ok(());
            }
            if batch.full {
                continue;
            }
            if !place.left_behind(path) {
                break;
            }
            let Ok(file) = File::open(path) else { break };
            place = Place::at_start(file);
        }
        if last {
            return Ok(());
        }
        tokio::select! {
            changed = changes.next() => changed?,
            _ = ended.changed() => {}
            () = to.closed() => return Ok(()),
        }
    }
}
