//! Files of a container: copied out and in, exported as a whole, and what it changed of its image.
//!
//! Of a container that runs, its first process's root is looked into, with everything mounted there. One that doesn't
//! run has its root mounted for the moment, where nobody sees it, and can't start meanwhile.

use std::{
    ffi::OsString,
    io::{self, Read, Write},
    os::{fd::AsFd as _, fd::AsRawFd as _, unix::ffi::OsStrExt as _},
    path::{Path, PathBuf},
    pin::Pin,
    time::Duration,
};

use bytes::Bytes;
use futures::Stream;
use images::Copy;
use runtime::{
    files::{self, Facts, Root},
    spec::Mount,
};
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
};

use super::{Containers, Core, blocking, container::Container};
use crate::error::{Error, Result};

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
        let place = Place::of(&container, path);
        let _operation = place.lock(&container).await;
        let (core, container) = (self.core.clone(), container.clone());
        blocking(move || Ok(place.find(&core, &container)?.facts)).await
    }

    /// What is at a path, and its archive.
    ///
    /// # Errors
    /// `NotFound` when nothing is there.
    pub async fn copy_out(&self, container: &str, path: &str) -> Result<(Facts, ArchiveStream)> {
        let container = self.find(container)?;
        let place = Place::of(&container, path);
        let (told, facts) = oneshot::channel();
        let (sender, stream) = channel();
        let core = self.core.clone();
        container.tell(&core, "archive-path", path);
        tokio::spawn(async move {
            let _operation = place.lock(&container).await;
            let packing = tokio::task::spawn_blocking({
                let container = container.clone();
                move || match place.find(&core, &container) {
                    Ok(found) => {
                        // Who asked may have gone; then nothing is sent either.
                        let _ = told.send(Ok(found.facts));
                        let output = Pieces::new(sender);
                        output.pack(|output| {
                            images::pack(found.parent.as_fd(), &found.name, &place.called(), output)
                        });
                    }
                    Err(error) => drop(told.send(Err(error))),
                }
            });
            let _ = packing.await;
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
        let place = Place::of(&container, &to.path);
        let read_only = container.record().settings.run.readonly_rootfs;
        if read_only && place.mount.is_none() {
            return Err(Error::forbidden("container rootfs is marked read-only"));
        }
        if place.is_read_only() {
            return Err(Error::forbidden(format!("mount {} is marked read-only", to.path)));
        }
        let _operation = place.lock(&container).await;
        let core = self.core.clone();
        container.tell(&core, "extract-to-dir", &to.path);
        let container = container.clone();
        blocking(move || {
            let owner = match to.own {
                true => owner(&container, &place.root(&core, &container)?)?,
                false => None,
            };
            let (root, path) = place.opened(&core, &container)?;
            let opened = root.open_folder(&path.to_string_lossy());
            opened.map_err(|error| no_folder(error, &to.path, &container))?;
            let folder = path.strip_prefix("/").unwrap_or(&path);
            let copy = Copy {
                root: root.into_fd(),
                folder: folder.as_os_str().as_bytes().to_vec(),
                owner,
                keep_kinds: to.keep_kinds,
            };
            Ok(images::copy_in(input, copy)?)
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
                        Pieces::new(sender).pack(|output| images::pack(root.as_fd(), &name, &name, output));
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

impl Container {
    fn tell(&self, core: &Core, action: &str, path: &str) {
        core.events.send(self.event(action, &[("path", path.to_owned())]));
    }
}

/// A path in a container, and where its files are.
#[derive(Debug, Clone)]
struct Place {
    /// As it was asked for.
    asked: String,
    /// What is mounted there in a container that does not run.
    mount: Option<Mount>,
    /// From the root, or from what is mounted; a `/.` at its end stays.
    path: PathBuf,
    pid: Option<i32>,
}

impl Place {
    fn of(container: &Container, asked: &str) -> Self {
        let record = container.record();
        let clean = files::clean(asked);
        let mounts = record.settings.run.mounts.iter().filter_map(|mount| match mount {
            Mount::Bind { destination, .. } => Some((destination, mount)),
            _ => None,
        });
        let mount = mounts
            .filter(|(destination, _)| clean.starts_with(destination))
            .max_by_key(|(destination, _)| destination.as_os_str().len())
            .map(|(_, mount)| mount.clone());
        Self {
            asked: asked.to_owned(),
            path: clean,
            pid: record.state.pid.filter(|_| record.state.phase.has_process()),
            mount,
        }
    }

    /// A container that runs needs no lock: its root is there.
    async fn lock<'a>(&self, container: &'a Container) -> Option<tokio::sync::MutexGuard<'a, ()>> {
        match self.pid {
            Some(_) => None,
            None => Some(container.operation.lock().await),
        }
    }

    fn is_read_only(&self) -> bool {
        matches!(&self.mount, Some(Mount::Bind { readonly: true, .. }))
    }

    fn root(&self, core: &Core, container: &Container) -> Result<Root> {
        match self.pid {
            Some(pid) => Ok(Root::of_process(pid)?),
            None => open_root(core, container),
        }
    }

    /// The root to look in, and the path there.
    fn opened(&self, core: &Core, container: &Container) -> Result<(Root, PathBuf)> {
        let (
            Some(Mount::Bind {
                source, destination, ..
            }),
            None,
        ) = (&self.mount, self.pid)
        else {
            return Ok((self.root(core, container)?, self.path.clone()));
        };
        let below = self.path.strip_prefix(destination).unwrap_or(&self.path);
        if source.is_dir() {
            return Ok((Root::at(source)?, Path::new("/").join(below)));
        }
        let folder = source.parent().unwrap_or(Path::new("/"));
        Ok((
            Root::at(folder)?,
            Path::new("/").join(source.file_name().unwrap_or_default()),
        ))
    }

    fn find(&self, core: &Core, container: &Container) -> Result<files::Found> {
        let (root, path) = self.opened(core, container)?;
        let mut path = path.to_string_lossy().into_owned();
        if files::ends_in_dot(&self.asked) {
            path.push_str("/.");
        }
        let found = root
            .find(&path)
            .map_err(|error| not_there(error, &self.asked, container))?;
        let name = self.called().to_string_lossy().into_owned();
        let facts = Facts { name, ..found.facts };
        Ok(files::Found { facts, ..found })
    }

    /// What the archive calls it.
    fn called(&self) -> OsString {
        if files::ends_in_dot(&self.asked) {
            return ".".into();
        }
        self.path
            .file_name()
            .map_or_else(|| "/".into(), ToOwned::to_owned)
    }
}

fn open_root(core: &Core, container: &Container) -> Result<Root> {
    let image = core.images.get_by_id(container.record().image.id)?;
    let home = core.paths(&container.id()).home;
    Ok(Root::new(runtime::rootfs::open(&image.layers, &home)?))
}

/// Bytes in its writable layer; none before its first start.
fn written(core: &Core, container: &Container) -> u64 {
    runtime::usage::bytes(&core.paths(&container.id()).root.upper).unwrap_or_default()
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

fn not_there(error: runtime::Error, path: &str, container: &Container) -> Error {
    match reason(&error) {
        Some(io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Error::not_found(format!(
            "Could not find the file {path} in container {}",
            container.record().name
        )),
        _ => error.into(),
    }
}

fn no_folder(error: runtime::Error, path: &str, container: &Container) -> Error {
    match reason(&error) {
        Some(io::ErrorKind::NotADirectory) => Error::invalid("extraction point is not a directory"),
        _ => not_there(error, path, container),
    }
}

fn reason(error: &runtime::Error) -> Option<io::ErrorKind> {
    match error {
        runtime::Error::File { source, .. } => Some(source.kind()),
        _ => None,
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
