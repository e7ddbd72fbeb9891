//! Files of a container: copied out and in, exported as a whole, and what it changed of its image.
//!
//! Of a container that runs, its first process's root is looked into, with everything mounted there. One that doesn't
//! run has its root mounted for the moment, where nobody sees it, and can't start meanwhile.

mod place;

use std::{
    ffi::OsString,
    io::{self, Read, Write},
    os::{fd::AsFd as _, fd::AsRawFd as _, unix::ffi::OsStrExt as _},
    path::Path,
    pin::Pin,
    time::Duration,
};

use bytes::Bytes;
use futures::Stream;
use images::Copy;
use runtime::files::{Facts, Root};
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
};

use super::{Containers, Core, blocking, container::Container};
use crate::error::{Error, Result};
use place::{Place, not_there, open_root, reason};

pub use runtime::{
    changes::{Change, Kind as ChangeKind},
    files::Facts as FileFacts,
};

/// An archive as it is made.
pub type ArchiveStream = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// So much is sent at a time.
const PIECE: usize = 64 << 10;
/// A client that takes nothing for so long is given up: the container may be waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where and how files are copied into a container.
#[derive(Debug, Clone)]
pub struct CopyIn {
    /// A directory in it, which must be there.
    pub path: String,
    /// Nothing but a directory may take the place of one, and the other way round.
    pub keep_kinds: bool,
    /// The container's user owns what is written, not who the archive says.
    pub own: bool,
}

impl Containers {
    /// What is at a path in a container. A link is told with where it leads.
    ///
    /// # Errors
    /// `NotFound` when nothing is there.
    pub async fn stat_path(&self, container: &str, path: &str) -> Result<Facts> {
        let container = self.find(container)?;
        let (core, path) = (self.core.clone(), path.to_owned());
        to_the_end(async move {
            let (place, held) = Place::settle(&core, &container, &path).await?;
            let facts = blocking({
                let (core, container) = (core.clone(), container.clone());
                move || Ok(place.find(&core, &container)?.facts)
            });
            let facts = facts.await;
            held.let_go(&core, &container).await;
            facts
        })
        .await
    }

    /// What is at a path, and its archive.
    ///
    /// # Errors
    /// `NotFound` when nothing is there.
    pub async fn copy_out(&self, container: &str, path: &str) -> Result<(Facts, ArchiveStream)> {
        let container = self.find(container)?;
        let (told, facts) = oneshot::channel();
        let (sender, stream) = channel();
        let (core, path) = (self.core.clone(), path.to_owned());
        core.events.send(container.event("archive-path", &[]));
        tokio::spawn(async move {
            let (place, held) = match Place::settle(&core, &container, &path).await {
                Ok(settled) => settled,
                Err(error) => return drop(told.send(Err(error))),
            };
            let packing = tokio::task::spawn_blocking({
                let (core, container) = (core.clone(), container.clone());
                move || match place.find(&core, &container) {
                    Ok(found) => {
                        // Who asked may have gone; then nothing is sent either.
                        let _ = told.send(Ok(found.facts));
                        let output = Pieces::new(sender);
                        let users = container.record().users(&core).filter(|_| place.is_shifted());
                        output.pack(|output| {
                            let owners = inside(users.as_deref());
                            images::pack_as(
                                found.parent.as_fd(),
                                &found.name,
                                &place.called(),
                                output,
                                &owners,
                            )
                        });
                    }
                    Err(error) => drop(told.send(Err(error))),
                }
            });
            let _ = packing.await;
            held.let_go(&core, &container).await;
        });
        let facts = facts
            .await
            .map_err(Error::internal("looking into the container"))?;
        Ok((facts?, stream))
    }

    /// Writes the files of an archive into a container. `input` is read on a blocking thread.
    ///
    /// # Errors
    /// `NotFound` when the directory is not there; `Invalid` when it is none, and for an archive that is refused;
    /// `Forbidden` for a root that is read-only.
    pub async fn copy_in(
        &self,
        container: &str,
        to: CopyIn,
        input: impl Read + Send + 'static,
    ) -> Result<()> {
        let container = self.find(container)?;
        place::refuse_read_only(&container, &to.path)?;
        let core = self.core.clone();
        to_the_end(async move {
            let (place, held) = Place::settle(&core, &container, &to.path).await?;
            core.events.send(container.event("extract-to-dir", &[]));
            let written = blocking({
                let (core, container) = (core.clone(), container.clone());
                move || write(&core, &container, &place, &to, input)
            });
            let written = written.await;
            held.let_go(&core, &container).await;
            written
        })
        .await
    }

    /// The whole root file system as an archive, without what is mounted in it.
    ///
    /// # Errors
    /// `NotFound`; those of mounting it.
    pub async fn export(&self, container: &str) -> Result<ArchiveStream> {
        let container = self.find(container)?;
        let (told, opened) = oneshot::channel();
        let (sender, stream) = channel();
        let core = self.core.clone();
        tokio::spawn(async move {
            let running = container.record().state.phase.has_process();
            let _operation = if running {
                None
            } else {
                Some(container.operation.lock().await)
            };
            let packing = tokio::task::spawn_blocking({
                let (core, container) = (core.clone(), container.clone());
                move || match open_root(&core, &container).and_then(|root| Ok(root.open_folder("/")?)) {
                    Ok(root) => {
                        let _ = told.send(Ok(()));
                        let name = OsString::new();
                        let users = place::shifted_root(&core, &container);
                        let owners = inside(users.as_deref());
                        let output = Pieces::new(sender);
                        output.pack(|output| images::pack_as(root.as_fd(), &name, &name, output, &owners));
                    }
                    Err(error) => drop(told.send(Err(error))),
                }
            });
            let _ = packing.await;
            core.events.send(container.event("export", &[]));
        });
        opened
            .await
            .map_err(Error::internal("opening the container's root"))??;
        Ok(stream)
    }

    /// What it changed of its image, in order of the paths.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn changes(&self, container: &str) -> Result<Vec<Change>> {
        let container = self.find(container)?;
        let core = self.core.clone();
        blocking(move || {
            let image = core.images.get_by_id(container.record().image.id)?;
            let upper = core.paths(&container.id()).root.upper;
            Ok(runtime::changes::changes(&upper, &image.layers)?)
        })
        .await
    }

    /// Bytes that it wrote, and bytes of its root file system in all.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn sizes(&self, container: &str) -> Result<(u64, u64)> {
        let container = self.find(container)?;
        let core = self.core.clone();
        blocking(move || {
            let written = written(&core, &container);
            // Its image can't go while it is there.
            let image = core.images.get_by_id(container.record().image.id)?;
            Ok((written, written + image.size))
        })
        .await
    }
}

/// Bytes in its writable layer; none before its first start.
fn written(core: &Core, container: &Container) -> u64 {
    runtime::usage::bytes(&core.paths(&container.id()).root.upper).unwrap_or_default()
}

/// Does all of it, and gives back what it took, though the client that asked for it may hang up.
async fn to_the_end<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    let done = tokio::spawn(work).await;
    done.map_err(Error::internal("working in a task of its own"))?
}

fn write(
    core: &Core,
    container: &Container,
    place: &Place,
    to: &CopyIn,
    input: impl Read + Send + 'static,
) -> Result<()> {
    let owner = match to.own {
        true => owner(container, &place.root(core, container)?)?,
        false => None,
    };
    let (root, path) = place.opened(core, container)?;
    let opened = root.open_folder(&path.to_string_lossy());
    opened.map_err(|error| no_folder(error, &to.path, container))?;
    let folder = path.strip_prefix("/").unwrap_or(&path);
    let copy = Copy {
        root: root.into_fd(),
        folder: folder.as_os_str().as_bytes().to_vec(),
        owner,
        keep_kinds: to.keep_kinds,
    };
    match container.record().users(core).filter(|_| place.is_shifted()) {
        None => Ok(images::copy_in(input, copy)?),
        Some(users) => {
            let written =
                users.as_root(|| images::copy_in_as(input, copy, &|uid, gid| users.outside(uid, gid)));
            Ok(written.map_err(Error::internal("writing as the container's root"))??)
        }
    }
}

/// Who owners on the host are in the container.
fn inside(users: Option<&runtime::Users>) -> impl Fn(u32, u32) -> (u32, u32) {
    move |uid, gid| users.map_or((uid, gid), |users| users.inside(uid, gid))
}

/// The container's user, as its image knows it; none for one without.
fn owner(container: &Container, root: &Root) -> Result<Option<(u32, u32)>> {
    let user = container.record().settings.run.user.clone();
    if user.is_empty() {
        return Ok(None);
    }
    let folder = root.open_folder("/")?;
    let path = format!("/proc/self/fd/{}", folder.as_raw_fd());
    let user = runtime::spec::user::resolve(Path::new(&path), &user, &[])?;
    Ok(Some((user.uid, user.gid)))
}

fn no_folder(error: runtime::Error, path: &str, container: &Container) -> Error {
    match reason(&error) {
        Some(io::ErrorKind::NotADirectory) => Error::invalid("extraction point is not a directory"),
        _ => not_there(error, path, container),
    }
}

fn channel() -> (mpsc::Sender<io::Result<Bytes>>, ArchiveStream) {
    let (sender, receiver) = mpsc::channel(4);
    let stream = futures::stream::unfold(receiver, async |mut receiver| {
        let piece = receiver.recv().await?;
        Some((piece, receiver))
    });
    (sender, Box::pin(stream))
}

/// What is written on a blocking thread goes to a stream, piece by piece.
struct Pieces {
    sender: mpsc::Sender<io::Result<Bytes>>,
    buffer: Vec<u8>,
}

impl Pieces {
    fn new(sender: mpsc::Sender<io::Result<Bytes>>) -> Self {
        Self {
            sender,
            buffer: Vec::with_capacity(PIECE),
        }
    }

    /// Runs what writes; a failure is the stream's last item, so that no client takes half an archive for a whole one.
    fn pack(mut self, write: impl FnOnce(&mut Self) -> images::Result<()>) {
        let packed = write(&mut self).map_err(|error| Error::from(error).to_string());
        let sent = packed.and_then(|()| self.flush().map_err(|error| error.to_string()));
        if let Err(text) = sent {
            tracing::debug!(error = text, "an archive was not sent whole");
            let _ = self.sender.try_send(Err(io::Error::other(text)));
        }
    }

    fn send(&self, piece: Vec<u8>) -> io::Result<()> {
        let sent = Handle::current().block_on(self.sender.send_timeout(Ok(piece.into()), PATIENCE));
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.buffer, Vec::with_capacity(PIECE));
        self.send(piece)
    }
}
