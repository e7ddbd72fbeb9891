//! Reads a container's json-file log: one JSON object a line, `log`, `stream` and `time`, as Docker writes them.
//!
//! The shim writes, the daemon only reads: following means watching the directory, so that a rotation is seen too.

use std::{io, path::PathBuf};

use bytes::Bytes;
use futures::Stream;
use model::Timestamp;
use tokio::sync::{mpsc, watch};

use crate::LogConfig;

mod back;
mod entry;
mod files;
mod follow;
mod place;

/// What of a log is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogQuery {
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// Only the last so many lines of what is there.
    pub tail: Option<usize>,
    /// Nothing written before.
    pub since: Option<Timestamp>,
    /// Nothing written after.
    pub until: Option<Timestamp>,
    /// Each line begins with its time.
    pub timestamps: bool,
    /// What is written from now on too, until the container has ended.
    pub follow: bool,
    /// The labels and variables that stand with each line come before it.
    pub details: bool,
    /// Docker's frames; without (the container has a terminal) the bytes alone.
    pub framed: bool,
}

impl Default for LogQuery {
    fn default() -> Self {
        Self {
            stdout: true,
            stderr: true,
            tail: None,
            since: None,
            until: None,
            timestamps: false,
            follow: false,
            details: false,
            framed: true,
        }
    }
}

/// Reads a log; each item is a line, ready to be sent. Following ends when `ended` becomes true (or its sender is
/// gone) and everything written by then was read.
///
/// Must be called within a Tokio runtime. A log that is not there is an empty one.
pub fn read(
    log: &LogConfig,
    query: LogQuery,
    ended: watch::Receiver<bool>,
) -> impl Stream<Item = io::Result<Bytes>> + Send + Unpin + use<> {
    let (sender, receiver) = mpsc::channel(64);
    if let Some(path) = log.path.clone() {
        tokio::spawn(async move {
            if let Err(error) = send_all(path, &query, ended, &sender).await {
                // Nobody is listening any more otherwise.
                let _ = sender.send(Err(error)).await;
            }
        });
    }
    Box::pin(futures::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|item| (item, receiver))
    }))
}

use place::Place;

type Sender = mpsc::Sender<io::Result<Bytes>>;

async fn send_all(
    path: PathBuf,
    query: &LogQuery,
    ended: watch::Receiver<bool>,
    to: &Sender,
) -> io::Result<()> {
    // Watched before it is read, so that nothing falls in between.
    let changes = query.follow.then(|| follow::Changes::watch(&path)).transpose()?;
    match (send_files(path.clone(), query, to).await?, changes) {
        (Sent::All(place), Some(changes)) => follow::follow(&path, place, query, changes, ended, to).await,
        _ => Ok(()),
    }
}

/// What was there is sent.
#[derive(Debug)]
enum Sent {
    /// All of it, and the newest file was read so far; there may be none yet.
    All(Option<Place>),
    /// Nobody listens any more.
    ToNobody,
}

/// Piece by piece: a log may be larger than memory, and its reader slow.
async fn send_files(path: PathBuf, query: &LogQuery, to: &Sender) -> io::Result<Sent> {
    let mut last = None;
    let asked = query.clone();
    let places = blocking(move || match asked.tail {
        Some(wanted) => files::tail(&path, &asked, wanted),
        None => files::open(&path),
    });
    // What is written while they are sent is no part of the last lines, unless it is followed.
    let mut left = query.tail.filter(|_| !query.follow).unwrap_or(usize::MAX);
    for mut place in places.await? {
        loop {
            let query = query.clone();
            let read = blocking(move || place.batch(&query).map(|batch| (batch, place)));
            let mut batch;
            (batch, place) = read.await?;
            batch.items.truncate(left);
            left -= batch.items.len();
            if !send(batch.items, to).await {
                return Ok(Sent::ToNobody);
            }
            if !batch.full {
                break;
            }
        }
        last = Some(place);
    }
    Ok(Sent::All(last))
}

async fn send(items: Vec<Bytes>, to: &Sender) -> bool {
    for item in items {
        if to.send(Ok(item)).await.is_err() {
            return false;
        }
    }
    true
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}

#[cfg(test)]
mod tests;
