//! `exec`: further processes in a running container. They are known to this daemon only, as in Docker: after a
//! restart of it they run on, and nobody asks for them.

use std::{sync::Arc, time::Duration};

use model::{ContainerId, Timestamp};
use oci_spec::runtime::Spec;
use runtime::{
    Attach, Exec, ExecSpec, Exit, Streams,
    spec::{HostFacts, exec::ExecConfig},
};
use tokio::sync::watch;

use super::{Core, container::Container, stop};
use crate::{
    error::{Error, Result},
    record::Phase,
};

/// What Docker says before the reason, and users' scripts look for.
const NO_EXEC: &str = "OCI runtime exec failed: exec failed: unable to start container process: ";
/// How long an ended exec can still be asked about.
const REMEMBERED: Duration = Duration::from_secs(300);
/// A size may be told before it runs: so long it is waited for, as Docker does.
const UNTIL_STARTED: Duration = Duration::from_secs(10);

/// An exec wanted.
#[derive(Debug, Clone)]
pub struct CreateExec {
    /// What to run, and as whom.
    pub config: ExecConfig,
    /// The client gives its input.
    pub stdin: bool,
    /// The client sees its output.
    pub stdout: bool,
    /// The client sees its error output.
    pub stderr: bool,
    /// Keys by which the client leaves it running; empty for the usual ones.
    pub detach_keys: String,
}

/// How an exec is.
#[derive(Debug, Clone)]
pub struct ExecView {
    /// Its id.
    pub id: String,
    /// The container it is in.
    pub container: ContainerId,
    /// What was asked.
    pub asked: CreateExec,
    /// Its process while it runs.
    pub pid: Option<u32>,
    /// Whether it runs.
    pub running: bool,
    /// Its exit status, once it has one.
    pub exit_code: Option<i64>,
}

/// An exec.
#[derive(Debug)]
pub(crate) struct ExecEntry {
    id: String,
    container: Arc<Container>,
    asked: CreateExec,
    progress: watch::Sender<Progress>,
}

#[derive(Debug, Clone)]
enum Progress {
    Created,
    Starting,
    Running { exec: Exec, pid: u32 },
    Ended { code: i64, at: Timestamp },
}

impl ExecEntry {
    fn progress(&self) -> Progress {
        self.progress.borrow().clone()
    }

    fn set(&self, progress: Progress) {
        self.progress.send_replace(progress);
    }

    fn is_running(&self) -> bool {
        matches!(self.progress(), Progress::Starting | Progress::Running { .. })
    }

    fn command(&self) -> String {
        // Docker writes the program, a blank, and its arguments, though there be none.
        match &self.asked.config.cmd[..] {
            [alone] => format!("{alone} "),
            words => words.join(" "),
        }
    }
}

impl Container {
    pub(super) fn running_execs(&self) -> Vec<String> {
        let execs = self.execs();
        execs
            .values()
            .filter(|exec| exec.is_running())
            .map(|exec| exec.id.clone())
            .collect()
    }
}

/// Registers an exec; nothing runs yet.
pub(super) fn create(core: &Core, container: &Arc<Container>, asked: CreateExec) -> Result<String> {
    match container.record().state.phase {
        Phase::Running => {}
        Phase::Paused => {
            return Err(Error::conflict(format!(
                "Container {} is paused, unpause the container before exec",
                container.record().name
            )));
        }
        _ => {
            return Err(Error::conflict(format!(
                "container {} is not running",
                container.id()
            )));
        }
    }
    if asked.config.cmd.is_empty() {
        return Err(Error::invalid("No exec command specified"));
    }
    forget_old(core, container);
    // 64 digits, as every id.
    let id = ContainerId::random().to_string();
    let entry = Arc::new(ExecEntry {
        id: id.clone(),
        container: container.clone(),
        asked,
        progress: watch::Sender::new(Progress::Created),
    });
    let event = container.event(
        format!("exec_create: {}", entry.command()),
        &[("execID", id.clone())],
    );
    container.execs().insert(id.clone(), entry.clone());
    core.execs().insert(id.clone(), entry);
    core.events.send(event);
    Ok(id)
}

fn forget_old(core: &Core, container: &Container) {
    let now = Timestamp::now();
    container.execs().retain(|id, exec| {
        let old = matches!(exec.progress(), Progress::Ended { at, .. } if now.since(at) > REMEMBERED);
        if old {
            core.forget_exec(id);
        }
        !old
    });
}

/// Runs it. With `attached`, its streams are there before it starts.
pub(super) async fn start(
    core: &Arc<Core>,
    id: &str,
    attached: bool,
    size: Option<(u16, u16)>,
) -> Result<Option<Streams>> {
    let entry = find(core, id)?;
    claim(&entry)?;
    let started = run(core, &entry, attached, size).await;
    // Of one that was ended and taken away meanwhile, anything may be missing.
    let started = started.map_err(|error| match &error {
        Error::Internal { .. } if !entry.container.record().state.phase.has_process() => {
            stop::not_running(&entry.container)
        }
        _ => error,
    });
    if let Err(error) = &started {
        let code = match error {
            Error::Command { exit_code, .. } => i64::from(*exit_code),
            _ => 126,
        };
        entry.set(Progress::Ended {
            code,
            at: Timestamp::now(),
        });
    }
    started
}

/// From created to starting, once.
fn claim(entry: &ExecEntry) -> Result<()> {
    let mut claimed = Ok(());
    entry.progress.send_if_modified(|progress| {
        claimed = match progress {
            Progress::Created => Ok(()),
            Progress::Starting | Progress::Running { .. } => Err("is already running"),
            Progress::Ended { .. } => Err("has already run"),
        };
        if claimed.is_ok() {
            *progress = Progress::Starting;
        }
        claimed.is_ok()
    });
    claimed.map_err(|why| Error::conflict(format!("exec command {} {why}", entry.id)))
}

async fn run(
    core: &Arc<Core>,
    entry: &Arc<ExecEntry>,
    attached: bool,
    size: Option<(u16, u16)>,
) -> Result<Option<Streams>> {
    let container = &entry.container;
    let shim = stop::shim(container)?;
    let asked = &entry.asked;
    let process = process(core, container, asked.config.clone()).await?;
    let spec = ExecSpec {
        id: entry.id.clone(),
        process,
        tty: asked.config.tty,
        stdin: attached && asked.stdin,
        privileged: asked.config.privileged,
    };
    let exec = stop::still(container, shim.exec(spec).await)?;
    if let Some((height, width)) = size.filter(|_| asked.config.tty) {
        stop::still(container, exec.resize(height, width).await)?;
    }
    let streams = if attached {
        let wanted = Attach {
            stdin: asked.stdin,
            stdout: asked.stdout,
            stderr: asked.stderr,
        };
        Some(stop::still(container, exec.attach(wanted).await)?)
    } else {
        None
    };
    let pid = stop::still(container, exec.start().await).map_err(|error| error.behind(NO_EXEC))?;
    entry.set(Progress::Running {
        exec: exec.clone(),
        pid,
    });
    let attributes = [("execID", entry.id.clone())];
    core.events
        .send(container.event(format!("exec_start: {}", entry.command()), &attributes));
    watch(core, entry, exec);
    Ok(streams)
}

async fn process(
    core: &Core,
    container: &Container,
    config: ExecConfig,
) -> Result<oci_spec::runtime::Process> {
    let pid = container
        .record()
        .state
        .pid
        .and_then(|pid| u32::try_from(pid).ok())
        .unwrap_or_default();
    let path = core.paths(&container.id()).bundle.join("config.json");
    super::blocking(move || {
        let spec = Spec::load(&path).map_err(Error::internal(format!("reading {}", path.display())))?;
        Ok(runtime::spec::exec::process(
            &spec,
            pid,
            &config,
            &HostFacts::read(),
        )?)
    })
    .await
}

fn watch(core: &Arc<Core>, entry: &Arc<ExecEntry>, exec: Exec) {
    let (core, entry) = (core.clone(), entry.clone());
    tokio::spawn(async move {
        // When its container ends first, nobody is left to tell how the exec ended: it was killed.
        let code = exec.wait().await.map_or(137, |Exit { code, .. }| i64::from(code));
        entry.set(Progress::Ended {
            code,
            at: Timestamp::now(),
        });
        let attributes = [("execID", entry.id.clone()), ("exitCode", code.to_string())];
        core.events.send(entry.container.event("exec_die", &attributes));
    });
}

/// Sets the size of its terminal.
pub(super) async fn resize(core: &Core, id: &str, height: u16, width: u16) -> Result<()> {
    let mut progress = find(core, id)?.progress.subscribe();
    let started = progress.wait_for(|now| !matches!(now, Progress::Created | Progress::Starting));
    let started = match tokio::time::timeout(UNTIL_STARTED, started).await {
        Ok(Ok(started)) => started.clone(),
        _ => {
            return Err(Error::Internal {
                doing: format!("setting the size of exec {id}"),
                source: "timeout waiting for exec session ready".into(),
            });
        }
    };
    match started {
        Progress::Running { exec, .. } => match exec.resize(height, width).await {
            Err(error) if error.is_not_running() => {
                Err(Error::conflict(format!("exec command {id} is not running")))
            }
            resized => Ok(resized?),
        },
        _ => Err(Error::conflict(format!("exec command {id} is not running"))),
    }
}

/// How it is.
pub(super) async fn inspect(core: &Core, id: &str) -> Result<ExecView> {
    let entry = find(core, id)?;
    let mut view = ExecView {
        id: entry.id.clone(),
        container: entry.container.id(),
        asked: entry.asked.clone(),
        pid: None,
        running: false,
        exit_code: None,
    };
    match entry.progress() {
        Progress::Created | Progress::Starting => {}
        Progress::Ended { code, .. } => view.exit_code = Some(code),
        Progress::Running { exec, pid } => match exec.inspect().await {
            Ok(state) => match state.exit {
                Some(exit) => view.exit_code = Some(i64::from(exit.code)),
                None => (view.running, view.pid) = (true, Some(pid)),
            },
            Err(_) => view.exit_code = Some(137),
        },
    }
    Ok(view)
}

/// Waits for its end: its exit status.
pub(super) async fn exit_code(core: &Core, id: &str) -> Result<i64> {
    match find(core, id)?.progress() {
        Progress::Running { exec, .. } => Ok(exec.wait().await?.code.into()),
        Progress::Ended { code, .. } => Ok(code),
        Progress::Created | Progress::Starting => {
            Err(Error::conflict(format!("exec command {id} is not running")))
        }
    }
}

/// Kills its process, if it runs.
pub(super) async fn kill(core: &Core, id: &str) {
    let Ok(entry) = find(core, id) else { return };
    if let Progress::Running { exec, pid } = entry.progress()
        && let Err(error) = exec.kill(pid).await
    {
        tracing::debug!(exec = id, error = %error, "killing a process");
    }
}

/// Forgets one that nobody will ask about.
pub(super) fn forget(core: &Core, container: &Container, id: &str) {
    container.execs().remove(id);
    core.forget_exec(id);
}

fn find(core: &Core, id: &str) -> Result<Arc<ExecEntry>> {
    core.execs()
        .get(id)
        .cloned()
        .ok_or_else(|| Error::not_found(format!("No such exec instance: {id}")))
}
