//! Processes inside a namespace: run to the end, or kept until dropped.

use std::{
    fs::File,
    io::Write as _,
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use nix::{
    sched::{CloneFlags, setns, unshare},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::wait::{Interrupted, interrupted, patience};

/// Where a process starts.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// Its network namespace.
    pub(crate) netns: PathBuf,
    /// Its mount namespace, if not the machine's.
    pub(crate) mounts: Option<PathBuf>,
}

/// A namespace belongs to a thread, and a child starts in the namespace of the thread that starts it: so a thread of its
/// own enters, starts the child, and ends.
pub(crate) fn spawn_in(place: &Place, mut command: Command) -> anyhow::Result<Child> {
    let shown = format!("{command:?}");
    let open =
        |path: &Path| File::open(path).with_context(|| format!("opening the namespace {}", path.display()));
    let netns = open(&place.netns)?;
    let mounts = place.mounts.as_deref().map(open).transpose()?;
    let start = move || -> anyhow::Result<Child> {
        setns(netns, CloneFlags::CLONE_NEWNET).context("entering the namespace")?;
        if let Some(mounts) = mounts {
            // Threads share root and working directory, which is for nobody to enter another's mounts with.
            unshare(CloneFlags::CLONE_FS)?;
            setns(mounts, CloneFlags::CLONE_NEWNS).context("entering the host's mounts")?;
        }
        Ok(command.spawn()?)
    };
    let joined = thread::scope(|scope| scope.spawn(start).join());
    joined
        .map_err(|_| anyhow::anyhow!("the starting thread panicked"))?
        .with_context(|| format!("starting {shown}"))
}

/// A command that ran to its end.
#[derive(Debug, Clone)]
pub struct Finished {
    /// How it was called, for messages.
    pub command: String,
    /// How it ended; a signal counts as 128 + its number, as shells have it.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

impl Finished {
    /// Its standard output without the last line end, if it succeeded.
    ///
    /// # Errors
    /// When it failed: with all that it said.
    pub fn ok(self) -> anyhow::Result<String> {
        if self.code == 0 {
            Ok(self.stdout.trim_end_matches('\n').to_owned())
        } else {
            bail!(
                "{} ended with {}: {}{}",
                self.command,
                self.code,
                self.stdout,
                self.stderr
            )
        }
    }

    /// What it complained of, if it failed.
    ///
    /// # Errors
    /// When it succeeded.
    pub fn failed(self) -> anyhow::Result<String> {
        if self.code == 0 {
            bail!("{} succeeded: {}", self.command, self.stdout)
        } else {
            Ok(self.stderr)
        }
    }
}

fn code(status: ExitStatus) -> i32 {
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// Runs a command to its end inside a namespace, killing it at the deadline.
pub(crate) fn run_in(
    place: &Place,
    mut command: Command,
    input: &[u8],
    limit: Duration,
) -> anyhow::Result<Finished> {
    let shown = shown(&command);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = spawn_in(place, command)?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    thread::scope(|scope| {
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(input)));
        let out = scope.spawn(move || read(stdout));
        let err = scope.spawn(move || read(stderr));
        let status = wait(&mut child, limit).with_context(|| format!("running {shown}"));
        if status.is_err() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let (stdout, stderr) = (out.join().unwrap_or_default(), err.join().unwrap_or_default());
        let code = code(status.with_context(|| format!("it had said: {stdout}{stderr}"))?);
        Ok(Finished {
            command: shown,
            code,
            stdout,
            stderr,
        })
    })
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

fn read(stream: Option<impl std::io::Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        let _ = stream.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn wait(child: &mut Child, limit: Duration) -> anyhow::Result<ExitStatus> {
    let deadline = Instant::now() + limit;
    let mut pause = Duration::from_micros(200);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if interrupted() {
            bail!(Interrupted);
        }
        if Instant::now() >= deadline {
            bail!("not done after {limit:?}");
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

/// What is asked to end has so long for it.
const STOPPED: Duration = Duration::from_secs(30);

/// A process that runs until it is stopped or dropped. Its output goes to a file.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    pub(crate) fn start(
        place: &Place,
        name: &str,
        mut command: Command,
        log: PathBuf,
    ) -> anyhow::Result<Self> {
        let file = File::options().create(true).append(true).open(&log)?;
        // A group of its own: a Ctrl-C at the terminal is the lab's to handle.
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .process_group(0);
        Ok(Self {
            name: name.to_owned(),
            child: spawn_in(place, command)?,
            log,
        })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Whether it has not ended.
    pub fn running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When it has ended.
    pub fn signal(&mut self, signal: Signal) -> anyhow::Result<()> {
        if !self.running() {
            bail!("{} has ended: {}", self.name, self.log());
        }
        let pid = i32::try_from(self.child.id()).context("a process id")?;
        kill(Pid::from_raw(pid), signal).with_context(|| format!("sending {signal} to {}", self.name))
    }

    /// `kill -9`, and waits for the end.
    ///
    /// # Errors
    /// When it can't be killed.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM, and waits for the end; SIGKILL after half a minute, which is an error.
    ///
    /// # Errors
    /// When it does not end by itself.
    pub fn stop(&mut self) -> anyhow::Result<i32> {
        if self.running() {
            self.signal(Signal::SIGTERM)?;
        }
        // Not `wait`: an interrupt must not keep a process from ending in order.
        let deadline = Instant::now() + STOPPED * patience();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(code(status));
            }
            if Instant::now() >= deadline {
                self.kill()?;
                bail!(
                    "{} did not end on SIGTERM within {STOPPED:?}: {}",
                    self.name,
                    self.log()
                );
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}
