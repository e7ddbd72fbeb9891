//! Another process in a running container.

use model::Timestamp;
use oci_spec::runtime::Process;
use rustix::{
    io::Errno,
    process::{Pid, Signal, kill_process},
};
use shim_protocol::{Reply, Request};

use super::{Attach, Exit, Shim, State, conversation};
use crate::{Error, Result, Streams};

/// 128 and the number of SIGKILL.
const KILLED: i32 = 137;

/// What an exec runs.
#[derive(Debug, Clone)]
pub struct ExecSpec {
    /// The exec's id: any text, once per container.
    pub id: String,
    /// What to run and as whom, from [`crate::spec::exec::process`].
    pub process: Process,
    /// Whether it gets a terminal of its own.
    pub tty: bool,
    /// Whether it gets an input; without it reads meet the end at once.
    pub stdin: bool,
    /// Whether it runs with all the container may have at most and without the system call filter.
    pub privileged: bool,
}

/// A registered exec: attach, then start.
#[derive(Debug, Clone)]
pub struct Exec {
    shim: Shim,
    id: String,
}

pub(super) async fn register(shim: Shim, exec: ExecSpec) -> Result<Exec> {
    let process = serde_json::to_string(&exec.process).map_err(|error| Error::Conversation(error.into()))?;
    let id = exec.id.clone();
    let request = shim_protocol::Exec {
        id: exec.id,
        process,
        tty: exec.tty,
        stdin: exec.stdin,
        unconfined: exec.privileged,
    };
    shim.done(&Request::Exec(request)).await?;
    Ok(Exec { shim, id })
}

impl Shim {
    /// A handle on an exec registered earlier, perhaps before the daemon was restarted.
    pub fn registered(&self, id: &str) -> Exec {
        Exec {
            shim: self.clone(),
            id: id.to_owned(),
        }
    }
}

impl Exec {
    /// Attaches to its streams; before the start nothing is lost.
    ///
    /// # Errors
    /// Those of the conversation.
    pub async fn attach(&self, attach: Attach) -> Result<Streams> {
        self.shim.attach_process(Some(self.id.clone()), attach).await
    }

    /// Runs it; returns its pid, as the host sees it, when it runs.
    ///
    /// # Errors
    /// [`Error::exit_code`] has 127 for a command that is not there, 126 for one that can't be run.
    pub async fn start(&self) -> Result<u32> {
        self.shim.start_process(Some(self.id.clone())).await
    }

    /// Sets the size of its terminal, or the size it will have.
    ///
    /// # Errors
    /// Those of the conversation.
    pub async fn resize(&self, height: u16, width: u16) -> Result<()> {
        self.shim
            .done(&Request::Resize {
                exec: Some(self.id.clone()),
                height,
                width,
            })
            .await
    }

    /// Waits for its end. The shim remembers it as long as the container runs; one that went with its container,
    /// unseen, was killed.
    ///
    /// # Errors
    /// When it never ran; those of the conversation.
    pub async fn wait(&self) -> Result<Exit> {
        match self.shim.wait_process(Some(self.id.clone())).await {
            Err(Error::Gone(_)) => Ok(Exit {
                code: KILLED,
                oom_killed: false,
                at: Timestamp::now(),
            }),
            exit => exit,
        }
    }

    /// Kills it; `pid` is what its start told.
    ///
    /// # Errors
    /// Those of the conversation and the kernel. One that has ended is none.
    pub async fn kill(&self, pid: u32) -> Result<()> {
        // The shim has not reaped it while it says that it runs, so nobody else has its pid.
        let running = self.inspect().await?.pid == Some(pid);
        let pid = i32::try_from(pid)
            .ok()
            .and_then(Pid::from_raw)
            .filter(|_| running);
        match pid.map(|pid| kill_process(pid, Signal::KILL)) {
            None | Some(Ok(()) | Err(Errno::SRCH)) => Ok(()),
            Some(Err(errno)) => Err(Error::Conversation(errno.into())),
        }
    }

    /// How it is.
    ///
    /// # Errors
    /// [`Error::is_not_running`] when the shim doesn't know it.
    pub async fn inspect(&self) -> Result<State> {
        match self
            .shim
            .ask(&Request::State {
                exec: Some(self.id.clone()),
            })
            .await?
        {
            Reply::State(state) => Ok(state.into()),
            other => Err(conversation::unexpected(&other)),
        }
    }
}
