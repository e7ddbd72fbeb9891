//! Launches shims, finds them again after a restart, and speaks with them.
//!
//! Every request has a connection of its own, so a handle holds nothing open and may be cloned and kept; when the
//! shim is gone, its exit record answers in its place.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use futures::future::BoxFuture;
use model::{ContainerId, Timestamp};
use oci_spec::runtime::Spec;
use shim_protocol::{Reply, Request, exit, launch::Paths};
use tokio::net::UnixStream;

use crate::{Error, Result, Streams};

mod conversation;
mod exec;
mod launch;
mod lost;
#[cfg(test)]
mod tests;

pub use exec::{Exec, ExecSpec};
pub use shim_protocol::{Forward, ForwardTo, Status, SyslogTls};

/// A socket's address holds no longer path.
const LONGEST_ADDRESS: usize = 107;

/// Where shims live and how they are run.
#[derive(Debug, Clone)]
pub struct RuntimeConfig {
    /// The daemon's exec-root: sockets go to `shim/` below it.
    pub exec_root: PathBuf,
    /// The `cnm-shim` program.
    pub shim: PathBuf,
    /// The cgroup all containers' cgroups are below, such as `/cnm`; each daemon has its own.
    pub cgroup_parent: String,
}

/// The way to containers' shims.
#[derive(Debug, Clone)]
pub struct Runtime {
    config: Arc<RuntimeConfig>,
    /// The cgroups of containers that have a parent of their own.
    elsewhere: Arc<Mutex<HashMap<ContainerId, String>>>,
}

/// What a container is made from.
#[derive(Debug)]
pub struct Bundle {
    /// The container's id.
    pub id: ContainerId,
    /// The container's own directory, in the data-root: `config.json` and the exit record go there.
    pub dir: PathBuf,
    /// What to run, from [`crate::spec::prepare`]; its root is mounted already.
    pub spec: Spec,
    /// One terminal instead of three streams.
    pub tty: bool,
    /// Whether input stays open for clients; without it reads meet the end at once.
    pub open_stdin: bool,
    /// Whether the end of an attached client's input is the container's.
    pub stdin_once: bool,
    /// Where output is kept.
    pub log: LogConfig,
    /// A first process of ours looks after the command.
    pub init: bool,
}

/// Where and how long output is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// The json-file log; nothing is kept without.
    pub path: Option<PathBuf>,
    /// A file is rotated when it would grow beyond so many bytes.
    pub max_size: Option<u64>,
    /// How many files are kept, the current one included.
    pub max_files: u32,
    /// Whether turned files are packed.
    pub compress: bool,
    /// Where each line goes besides.
    pub forward: Option<Forward>,
    /// What stands with each line in the file.
    pub attrs: BTreeMap<String, String>,
}

impl LogConfig {
    /// One file without a limit, as Docker's default.
    pub fn file(path: PathBuf) -> Self {
        Self {
            path: Some(path),
            max_size: None,
            max_files: 1,
            compress: false,
            forward: None,
            attrs: BTreeMap::new(),
        }
    }
}

/// What an attached client wants to hear and say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attach {
    /// Bytes written to [`Streams::input`] go to the process.
    pub stdin: bool,
    /// Standard output is in [`Streams::output`]; with a terminal, everything.
    pub stdout: bool,
    /// Standard error is in [`Streams::output`].
    pub stderr: bool,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// Its exit status; 128 and the signal's number if a signal ended it; 255 if nobody was left to see it.
    pub code: i32,
    /// Whether the kernel killed a process of the container for want of memory.
    pub oom_killed: bool,
    /// When.
    pub at: Timestamp,
}

/// How a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// Where in its life.
    pub status: Status,
    /// Its pid, as the host sees it, while it runs.
    pub pid: Option<u32>,
    /// How it ended, once it has.
    pub exit: Option<Exit>,
}

/// A container's shim. Cheap to clone; nothing happens when it is dropped.
#[derive(Debug, Clone)]
pub struct Shim {
    inner: Arc<Handle>,
}

#[derive(Debug)]
struct Handle {
    id: ContainerId,
    dir: PathBuf,
    paths: Paths,
}

impl Runtime {
    /// A runtime; makes its directory.
    ///
    /// # Errors
    /// When the directory can't be made.
    pub fn new(config: RuntimeConfig) -> Result<Self> {
        launch::make_directory(&config.exec_root.join("shim"))?;
        Ok(Self {
            config: Arc::new(config),
            elsewhere: Arc::default(),
        })
    }

    /// The cgroup of a container, below each hierarchy.
    pub fn cgroup(&self, id: &ContainerId) -> String {
        let elsewhere = self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner);
        elsewhere
            .get(id)
            .cloned()
            .unwrap_or_else(|| self.cgroup_below("", id))
    }

    /// The cgroup that a container gets below this parent; below the daemon's own, if none is named.
    pub fn cgroup_below(&self, parent: &str, id: &ContainerId) -> String {
        let parent = if parent.is_empty() {
            &self.config.cgroup_parent
        } else {
            parent
        };
        format!("{}/{id}", parent.trim_end_matches('/'))
    }

    /// Remembers where a container's cgroup is, unless it is where most are.
    fn remember_cgroup(&self, id: ContainerId, cgroup: &str) {
        let mut elsewhere = self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner);
        if cgroup == self.cgroup_below("", &id) {
            elsewhere.remove(&id);
        } else {
            elsewhere.insert(id, cgroup.to_owned());
        }
    }

    /// Launches the shim of a container. Its streams can be attached to from now on; nothing runs before
    /// [`Shim::start`].
    ///
    /// What an earlier run of the same container left (a shim whose container has ended, an exit record) is
    /// taken away first.
    ///
    /// # Errors
    /// [`Error::Running`] if the container runs; else what kept the shim from starting.
    pub fn open(&self, bundle: Bundle) -> BoxFuture<'_, Result<Shim>> {
        // Boxed because a spec is large, and would be in the future of every caller.
        Box::pin(async move {
            let shim = self.handle(bundle.id, bundle.dir.clone());
            shim.make_room().await?;
            let cgroup = launch::write_files(&shim.inner.paths, &bundle)?;
            self.remember_cgroup(bundle.id, &cgroup);
            launch::spawn(&self.config.shim, &shim.inner.paths, &bundle.dir).await?;
            Ok(shim)
        })
    }

    /// Finds a container again: its shim, or the record of how it ended, in its directory `dir`. Nothing if the
    /// container was never started, or everything of it was deleted.
    ///
    /// If the shim itself was killed, what is left of the container is ended, and the record says 255.
    ///
    /// # Errors
    /// When a file can't be read.
    pub async fn adopt(&self, id: ContainerId, dir: &Path) -> Result<Option<Shim>> {
        let shim = self.handle(id, dir.to_owned());
        if let Some(cgroup) = launch::cgroup(&shim.inner.paths) {
            self.remember_cgroup(id, &cgroup);
        }
        if !shim.is_gone().await? || shim.recorded()?.is_some() {
            return Ok(Some(shim));
        }
        if !shim.inner.paths.launch.exists() {
            return Ok(None);
        }
        shim.lost().await?;
        Ok(Some(shim))
    }

    /// Removes the cgroup parent from every hierarchy, if no container is left in it.
    pub fn remove_cgroup_parent(&self) {
        if let Ok(parent) = shim_protocol::cgroup::Cgroup::locate(&self.config.cgroup_parent) {
            parent.directories().for_each(|directory| {
                // A busy one has containers of ours: it stays.
                let _ = std::fs::remove_dir(directory);
            });
        }
    }

    fn handle(&self, id: ContainerId, dir: PathBuf) -> Shim {
        let paths = Paths::new(&self.config.exec_root, &id.to_string());
        Shim {
            inner: Arc::new(Handle { id, dir, paths }),
        }
    }
}

impl Shim {
    /// The container's id.
    pub fn id(&self) -> ContainerId {
        self.inner.id
    }

    /// Runs the container's command; returns its pid when it runs.
    ///
    /// # Errors
    /// [`Error::Refused`] with the reason; [`Error::exit_code`] has what a shell would say. The shim must then be
    /// deleted (another [`Runtime::open`] does so too).
    pub async fn start(&self) -> Result<u32> {
        self.start_process(None).await
    }

    /// How the container is.
    ///
    /// # Errors
    /// When the shim is there and can't be spoken with.
    pub async fn state(&self) -> Result<State> {
        match self.ask(&Request::State { exec: None }).await {
            Ok(Reply::State(state)) => Ok(state.into()),
            Ok(other) => Err(conversation::unexpected(&other)),
            Err(error) => Ok(State {
                status: Status::Exited,
                pid: None,
                exit: Some(self.exit_without_shim(error).await?),
            }),
        }
    }

    /// Sends a signal to the container's first process.
    ///
    /// # Errors
    /// [`Error::is_not_running`] when there is none.
    pub async fn kill(&self, signal: i32) -> Result<()> {
        self.done(&Request::Kill { signal }).await
    }

    /// Sets the size of the terminal, or the size it will have.
    ///
    /// # Errors
    /// Those of the conversation.
    pub async fn resize(&self, height: u16, width: u16) -> Result<()> {
        self.done(&Request::Resize {
            exec: None,
            height,
            width,
        })
        .await
    }

    /// Freezes every process of the container.
    ///
    /// # Errors
    /// [`Error::is_not_running`]; without a freezer, the kernel's.
    pub async fn pause(&self) -> Result<()> {
        self.done(&Request::Pause).await
    }

    /// Lets a paused container run again.
    ///
    /// # Errors
    /// As [`Shim::pause`].
    pub async fn resume(&self) -> Result<()> {
        self.done(&Request::Resume).await
    }

    /// Attaches to the container's streams; before the start nothing is lost.
    ///
    /// # Errors
    /// Those of the conversation.
    pub async fn attach(&self, attach: Attach) -> Result<Streams> {
        self.attach_process(None, attach).await
    }

    /// Registers another process to run in the container; its streams can be attached to before it starts.
    ///
    /// # Errors
    /// [`Error::is_not_running`]; a conflict when the id is taken.
    pub async fn exec(&self, exec: ExecSpec) -> Result<Exec> {
        exec::register(self.clone(), exec).await
    }

    /// Waits for the container's end. Works before the start, and long after the end.
    ///
    /// # Errors
    /// [`Error::Refused`] when the start fails; when the exit record can't be read.
    pub async fn wait(&self) -> Result<Exit> {
        match self.wait_process(None).await {
            Err(error) => self.exit_without_shim(error).await,
            exit => exit,
        }
    }

    /// Kills what runs, removes the cgroup and ends the shim. The exit record stays. Repeating it is no error.
    ///
    /// # Errors
    /// Those of the conversation.
    pub async fn delete(&self) -> Result<()> {
        match self.say_delete().await {
            Ok(()) => {}
            // One that left of its own accord took everything with it, one that was killed nothing.
            Err(Error::Gone(_)) => lost::end_leftovers(&self.inner.paths).await?,
            Err(error) => return Err(error),
        }
        lost::remove_files(&self.inner.paths)
    }

    /// How the container ended, from the record on the disk.
    ///
    /// # Errors
    /// When there is a record that can't be read.
    pub fn recorded(&self) -> Result<Option<Exit>> {
        let dir = &self.inner.dir;
        Ok(exit::read(dir)
            .map_err(Error::file("reading the exit record in", dir))?
            .map(Exit::from))
    }

    async fn connect(&self) -> io::Result<UnixStream> {
        let socket = &self.inner.paths.socket;
        if socket.as_os_str().len() <= LONGEST_ADDRESS {
            return UnixStream::connect(socket).await;
        }
        // Longer than an address can be: its directory has a short name while it is open.
        let directory = std::fs::File::open(socket.parent().unwrap_or(Path::new("/")))?;
        let name = socket.file_name().unwrap_or_default();
        let short = Path::new("/proc/self/fd")
            .join(directory.as_raw_fd().to_string())
            .join(name);
        UnixStream::connect(short).await
    }

    /// Whether no shim serves the socket; only that, and no other failure, may count as its end.
    async fn is_gone(&self) -> Result<bool> {
        match self.connect().await {
            Ok(_) => Ok(false),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) =>
            {
                Ok(true)
            }
            Err(error) => Err(Error::Conversation(error)),
        }
    }
}

impl From<shim_protocol::Exit> for Exit {
    fn from(exit: shim_protocol::Exit) -> Self {
        Self {
            code: exit.code,
            oom_killed: exit.oom_killed,
            at: Timestamp::from_unix_nanos(exit.at),
        }
    }
}

impl From<shim_protocol::State> for State {
    fn from(state: shim_protocol::State) -> Self {
        Self {
            status: state.status,
            pid: state.pid.map(i32::unsigned_abs),
            exit: state.exit.map(Exit::from),
        }
    }
}
