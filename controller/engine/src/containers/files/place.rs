//! Where the files of a container are that a path means: in its root, or in what is mounted over it.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use runtime::{
    files::{self, Facts, Root},
    spec::Mount,
};
use tokio::sync::MutexGuard;

use crate::{
    containers::{Core, container::Container, stop},
    error::{Error, Result},
    record::Record,
    volumes,
};

/// What has exited without our knowing it yet is known soon.
const UNTIL_KNOWN: Duration = Duration::from_secs(10);

/// A path in a container, and where its files are.
#[derive(Debug)]
pub(super) struct Place {
    /// As it was asked for.
    asked: String,
    /// From the root, or from what is mounted; a `/.` at its end stays.
    path: PathBuf,
    /// The root that the container's processes see, while there are any.
    inside: Option<Root>,
    /// What is mounted there in a container that does not run: where it appears, and what it is on the host.
    mount: Option<(PathBuf, PathBuf)>,
}

/// What must stay as it is while files are read and written.
#[derive(Debug)]
pub(super) struct Held<'a> {
    /// A container that runs needs none: its root is there.
    operation: Option<MutexGuard<'a, ()>>,
    /// Its volumes were mounted for this.
    volumes: bool,
}

impl Held<'_> {
    /// Gives back what was taken.
    pub(super) async fn let_go(self, core: &Core, container: &Container) {
        if self.volumes
            && let Err(error) = volumes::detach(core, &container.record()).await
        {
            tracing::warn!(container = %container.record().name, error = %error, "letting go of volumes");
        }
        drop(self.operation);
    }
}

impl Place {
    /// Where it is now. A container whose process ends in this moment is one that doesn't run.
    ///
    /// # Errors
    /// Those of mounting its volumes.
    pub(super) async fn settle<'a>(
        core: &Core,
        container: &'a Container,
        asked: &str,
    ) -> Result<(Self, Held<'a>)> {
        let mut place = Self {
            asked: asked.to_owned(),
            path: files::clean(asked),
            inside: None,
            mount: None,
        };
        let record = container.record();
        if let Some(pid) = record.state.pid.filter(|_| record.state.phase.has_process()) {
            place.inside = Root::of_process(pid).ok();
            if place.inside.is_some() {
                let held = Held {
                    operation: None,
                    volumes: false,
                };
                return Ok((place, held));
            }
            stop::exits_within(container, Some(UNTIL_KNOWN)).await;
        }
        let operation = Some(container.operation.lock().await);
        let record = container.record();
        let mut held = Held {
            operation,
            volumes: false,
        };
        let mut mounts = record.settings.run.mounts.clone();
        if covering(&volumes_of(&record), &place.path).is_some() {
            // One that was attached to has them already, and keeps them.
            held.volumes = container.prepared().is_none();
            match volumes::attach(core, &record).await {
                Ok(attached) => mounts.extend(attached),
                Err(error) => {
                    held.let_go(core, container).await;
                    return Err(error);
                }
            }
        }
        let binds: Vec<_> = mounts.iter().filter_map(bind).collect();
        place.mount = covering(&binds, &place.path).map(|(at, from, _)| (at.clone(), from.clone()));
        Ok((place, held))
    }

    /// Its owners are seen as they are on the host, if the container has users of its own.
    pub(super) const fn is_shifted(&self) -> bool {
        self.inside.is_some()
    }

    pub(super) fn root(&self, core: &Core, container: &Container) -> Result<Root> {
        match &self.inside {
            Some(root) => Ok(root.again()?),
            None => open_root(core, container),
        }
    }

    /// The root to look in, and the path there.
    pub(super) fn opened(&self, core: &Core, container: &Container) -> Result<(Root, PathBuf)> {
        let Some((destination, source)) = &self.mount else {
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

    pub(super) fn find(&self, core: &Core, container: &Container) -> Result<files::Found> {
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
    pub(super) fn called(&self) -> OsString {
        if files::ends_in_dot(&self.asked) {
            return ".".into();
        }
        self.path
            .file_name()
            .map_or_else(|| "/".into(), ToOwned::to_owned)
    }
}

/// Where something appears, what it is, and whether it can't be written to.
type Bound = (PathBuf, PathBuf, bool);

fn bind(mount: &Mount) -> Option<Bound> {
    match mount {
        Mount::Bind {
            source,
            destination,
            readonly,
            ..
        } => Some((destination.clone(), source.clone(), *readonly)),
        Mount::Tmpfs { .. } => None,
    }
}

/// Its volumes; what each is on the host is known when they are attached.
fn volumes_of(record: &Record) -> Vec<Bound> {
    let volumes = record.settings.volumes.iter();
    volumes
        .map(|mount| (mount.destination.clone(), PathBuf::new(), mount.readonly))
        .collect()
}

/// What a path is in: the innermost.
fn covering<'a>(mounts: &'a [Bound], path: &Path) -> Option<&'a Bound> {
    mounts
        .iter()
        .filter(|(destination, ..)| path.starts_with(destination))
        .max_by_key(|(destination, ..)| destination.as_os_str().len())
}

/// Nothing is written where the container itself could write nothing.
pub(super) fn refuse_read_only(container: &Container, path: &str) -> Result<()> {
    let record = container.record();
    let mut mounts = volumes_of(&record);
    mounts.extend(record.settings.run.mounts.iter().filter_map(bind));
    match covering(&mounts, &files::clean(path)) {
        Some((.., true)) => Err(Error::forbidden(format!("mount {path} is marked read-only"))),
        None if record.settings.run.readonly_rootfs => {
            Err(Error::forbidden("container rootfs is marked read-only"))
        }
        _ => Ok(()),
    }
}

pub(super) fn open_root(core: &Core, container: &Container) -> Result<Root> {
    let image = core.images.get_by_id(container.record().image.id)?;
    let home = core.paths(&container.id()).home;
    Ok(Root::new(runtime::rootfs::open(&image.layers, &home)?))
}

/// The users' namespace of a container whose root is mounted for them now.
pub(super) fn shifted_root(core: &Core, container: &Container) -> Option<std::sync::Arc<runtime::Users>> {
    let root = core.paths(&container.id()).root.root;
    let mounted = runtime::rootfs::is_mounted(&root).unwrap_or_default();
    container.record().users(core).filter(|_| mounted)
}

pub(super) fn not_there(error: runtime::Error, path: &str, container: &Container) -> Error {
    match reason(&error) {
        Some(io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Error::not_found(format!(
            "Could not find the file {path} in container {}",
            container.record().name
        )),
        _ => error.into(),
    }
}

pub(super) fn reason(error: &runtime::Error) -> Option<io::ErrorKind> {
    match error {
        runtime::Error::File { source, .. } => Some(source.kind()),
        _ => None,
    }
}
