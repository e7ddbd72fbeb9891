//! Waits for what is written next, from one file to the one that it was turned for: no line is missed, and none is seen
//! twice, unless it fell out of the last file that is kept before its turn to be read came.

use std::{io, mem::MaybeUninit, os::fd::OwnedFd, path::Path};

use rustix::fs::inotify::{CreateFlags, Reader, WatchFlags, add_watch, init};
use tokio::{io::unix::AsyncFd, sync::watch};

use super::{LogQuery, Sender, files, place::Place, send};

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

/// Whether there is a reason to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Going {
    On,
    /// Nobody listens, or all that follows is later than what was asked for.
    NoFurther,
}

/// Sends what is written from `place` on until the container has ended and all of it was read.
pub(super) async fn follow(
    path: &Path,
    mut place: Option<Place>,
    query: &LogQuery,
    changes: Changes,
    mut ended: watch::Receiver<bool>,
    to: &Sender,
) -> io::Result<()> {
    loop {
        // Asked before reading: what was written before the end is then read for certain.
        let last = *ended.borrow() || ended.has_changed().is_err();
        if catch_up(path, &mut place, query, to).await? == Going::NoFurther || last {
            return Ok(());
        }
        tokio::select! {
            changed = changes.next() => changed?,
            _ = ended.changed() => {}
            () = to.closed() => return Ok(()),
        }
    }
}

/// Sends all that is there behind `place`, and moves it to the end of the newest file.
async fn catch_up(
    path: &Path,
    place: &mut Option<Place>,
    query: &LogQuery,
    to: &Sender,
) -> io::Result<Going> {
    loop {
        let newer = match place {
            None => files::open(path)?,
            Some(place) => {
                if send_rest(place, query, to).await? == Going::NoFurther {
                    return Ok(Going::NoFurther);
                }
                if place.was_cut() {
                    continue;
                }
                if !place.was_turned(path) {
                    return Ok(Going::On);
                }
                // Nothing is written to it any more, but something may have been since it was read.
                if send_rest(place, query, to).await? == Going::NoFurther {
                    return Ok(Going::NoFurther);
                }
                files::after(path, place)?
            }
        };
        // There is none in the middle of a turn: its end will be heard.
        if newer.is_empty() {
            return Ok(Going::On);
        }
        for mut next in newer {
            if send_rest(&mut next, query, to).await? == Going::NoFurther {
                return Ok(Going::NoFurther);
            }
            *place = Some(next);
        }
    }
}

async fn send_rest(place: &mut Place, query: &LogQuery, to: &Sender) -> io::Result<Going> {
    loop {
        let batch = place.batch(query)?;
        if !send(batch.items, to).await || batch.past {
            return Ok(Going::NoFurther);
        }
        if !batch.full {
            return Ok(Going::On);
        }
    }
}
