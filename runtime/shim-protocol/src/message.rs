//! Requests and replies.

use serde::{Deserialize, Serialize};

use crate::Exit;

/// The version this build speaks. A shim answers every request of its own version or an older one.
pub const VERSION: u32 = 1;

/// A message with the version of who sent it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope<Message> {
    /// The sender's [`VERSION`].
    pub version: u32,
    /// What is said.
    #[serde(flatten)]
    pub message: Message,
}

impl<Message> Envelope<Message> {
    /// Puts a message into an envelope of this build's version.
    pub const fn new(message: Message) -> Self {
        Self {
            version: VERSION,
            message,
        }
    }
}

/// What a client asks. `exec` names an exec by its id; without it the container's first process is meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// How is it?
    State {
        /// Which exec, if not the container.
        #[serde(default)]
        exec: Option<String>,
    },
    /// Creates the container and runs its command, or runs a registered exec. Answered when the command runs.
    Start {
        /// Which exec, if not the container.
        #[serde(default)]
        exec: Option<String>,
    },
    /// Sends a signal to the container's first process.
    Kill {
        /// The signal's number.
        signal: i32,
    },
    /// Sets the size of the terminal; before the start it is remembered.
    Resize {
        /// Which exec, if not the container.
        #[serde(default)]
        exec: Option<String>,
        /// Rows.
        height: u16,
        /// Columns.
        width: u16,
    },
    /// Turns this connection into the process's input and output.
    Attach(Attach),
    /// Registers another process to run in the container.
    Exec(Exec),
    /// Answered with [`Reply::Exited`] when the process has ended and its output is read.
    Wait {
        /// Which exec, if not the container.
        #[serde(default)]
        exec: Option<String>,
    },
    /// Freezes every process of the container.
    Pause,
    /// Lets them run again.
    Resume,
    /// Kills what runs, removes the cgroup, and ends the shim. Answered when that is done.
    Delete,
}

/// What an attached client wants to hear and say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attach {
    /// Which exec, if not the container.
    #[serde(default)]
    pub exec: Option<String>,
    /// Bytes from the client go to the process.
    pub stdin: bool,
    /// Standard output comes to the client (with a terminal: everything).
    pub stdout: bool,
    /// Standard error comes to the client.
    pub stderr: bool,
}

/// Another process for a running container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exec {
    /// The exec's id, the client's choice.
    pub id: String,
    /// An OCI runtime `process` as JSON text.
    pub process: String,
    /// Whether it gets a terminal of its own.
    pub tty: bool,
    /// Whether it gets an input; without it reads meet the end at once.
    pub stdin: bool,
    /// Whether the container's system call filter is left off.
    pub unconfined: bool,
}

/// What the shim answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// Done; for an attach: the bytes follow.
    Done,
    /// The command runs.
    Started {
        /// Its pid as the host sees it.
        pid: i32,
    },
    /// How it is.
    State(State),
    /// The process has ended.
    Exited(Exit),
    /// It can't be.
    Failed(Failure),
}

/// How a process is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Where in its life.
    pub status: Status,
    /// Its pid while it runs.
    #[serde(default)]
    pub pid: Option<i32>,
    /// How it ended, once it has.
    #[serde(default)]
    pub exit: Option<Exit>,
}

/// Where in its life a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Known, not started: streams can be attached.
    Created,
    /// Being started.
    Starting,
    /// Running.
    Running,
    /// Running, all processes frozen.
    Paused,
    /// Ended; for a container whose command could not be started too.
    Exited,
}

/// Why something can't be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What a caller can act on.
    pub kind: FailureKind,
    /// For people.
    pub message: String,
}

/// What a caller can act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// No such exec.
    NotFound,
    /// The process does not run (or no longer, or is paused).
    NotRunning,
    /// It was started already, or the exec's id is taken.
    Conflict,
    /// The command is not there: exit code 127.
    CommandNotFound,
    /// The command can't be run: exit code 126.
    CommandNotExecutable,
    /// The request can't be understood by this version.
    Unsupported,
    /// Anything else.
    #[serde(other)]
    Internal,
}

impl FailureKind {
    /// The exit code a shell would give a command that failed to start for this reason; 128 for other reasons.
    pub const fn exit_code(self) -> i32 {
        match self {
            Self::CommandNotFound => 127,
            Self::CommandNotExecutable => 126,
            _ => 128,
        }
    }
}

impl Failure {
    /// A failure of a kind, with its text.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_reads_back_as_it_was_written() {
        for request in [
            Request::Delete,
            Request::Kill { signal: 9 },
            Request::Start {
                exec: Some("a".into()),
            },
            Request::Attach(Attach {
                exec: None,
                stdin: true,
                stdout: true,
                stderr: false,
            }),
        ] {
            let text = serde_json::to_string(&Envelope::new(request.clone())).unwrap();
            let back: Envelope<Request> = serde_json::from_str(&text).unwrap();
            assert_eq!(back.message, request, "{text}");
        }
    }

    #[test]
    fn a_reason_of_a_newer_version_is_internal() {
        let text = r#"{"version":9,"reply":"failed","kind":"weather","message":"rain","new":1}"#;
        let back: Envelope<Reply> = serde_json::from_str(text).unwrap();
        assert_eq!(
            back.message,
            Reply::Failed(Failure::new(FailureKind::Internal, "rain"))
        );
    }
}
