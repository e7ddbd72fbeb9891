//! What can go wrong with a container's processes, by what a caller does about it.

use std::{io, path::PathBuf};

use shim_protocol::{Failure, FailureKind};

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The shim says no: the kind tells why.
    #[error(transparent)]
    Refused(#[from] Failure),
    /// The container's shim is running already.
    #[error("the container has a running process already")]
    Running,
    /// What was asked for can't be.
    #[error(transparent)]
    Spec(#[from] crate::spec::SpecError),
    /// The shim's program can't be run.
    #[error("running the shim {program:?}")]
    Launch {
        /// Its path.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The shim started and gave up.
    #[error("the container's shim did not start: {0}")]
    NotReady(String),
    /// The shim can't be reached, or stopped answering.
    #[error("speaking with the container's shim")]
    Conversation(#[source] io::Error),
    /// There is no shim, or it went before it answered: the container has ended.
    #[error("the container's shim has gone")]
    Gone(#[source] io::Error),
    /// The file system that a volume's options name can't be mounted.
    #[error("failed to mount local volume: mount {what}")]
    VolumeMount {
        /// Device, place, flags and options.
        what: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file or directory of the container.
    #[error("{doing} {path:?}")]
    File {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The exit code a shell gives when a command can't be run for this reason: 127 not found, 126 not executable.
    pub fn exit_code(&self) -> Option<i32> {
        match self {
            Self::Refused(failure) => Some(failure.kind.exit_code()),
            _ => None,
        }
    }

    /// Whether the process meant is not running (or no such exec is known), or is going in this moment.
    pub fn is_not_running(&self) -> bool {
        match self {
            Self::Refused(failure) => matches!(failure.kind, FailureKind::NotRunning | FailureKind::NotFound),
            Self::Gone(_) => true,
            _ => false,
        }
    }

    pub(crate) fn file(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { doing, path, source }
    }
}
