//! A process the shim looks after: the container's first one, or an exec.

use std::{
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use rustix::termios::Winsize;
use shim_protocol::{Exit, Failure, State, Status, stream::StreamKind};

use crate::{poll::Watched, ring::Ring, stdio::Stdio};

/// Nothing for the container's first process, an exec's id for others.
pub(crate) type Key = Option<String>;

/// So many bytes of input wait for a process; then its clients' input is not read.
pub(crate) const INPUT: usize = 64 << 10;
/// What a terminal still has when its process has ended may come a moment later.
pub(crate) const LAST_WORDS: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) exec: Option<shim_protocol::Exec>,
    pub(crate) tty: bool,
    pub(crate) status: Status,
    pub(crate) pid: Option<i32>,
    /// Its ends of the streams, until it is made.
    pub(crate) stdio: Option<Stdio>,
    pub(crate) input: Input,
    pub(crate) outputs: Vec<Output>,
    /// Whether a client's end of input is the process's.
    pub(crate) input_ends_with_client: bool,
    pub(crate) terminal: Option<OwnedFd>,
    pub(crate) size: Option<Winsize>,
    pub(crate) starting: Option<Starting>,
    pub(crate) ended: Option<Ended>,
    /// Set when all its output was read.
    pub(crate) exit: Option<Exit>,
    /// Why it never ran.
    pub(crate) failure: Option<Failure>,
}

/// Where input goes.
#[derive(Debug, Default)]
pub(crate) struct Input {
    pub(crate) fd: Option<Watched<OwnedFd>>,
    pub(crate) queue: Ring,
    /// Closed when the queue is empty.
    pub(crate) ending: bool,
    /// What comes is thrown away.
    pub(crate) closed: bool,
}

impl Input {
    pub(crate) fn room(&self) -> usize {
        INPUT.saturating_sub(self.queue.len())
    }
}

#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) kind: StreamKind,
    pub(crate) fd: Watched<OwnedFd>,
}

/// The ways on which a process that is being made reports.
#[derive(Debug)]
pub(crate) struct Starting {
    pub(crate) reports: Watched<OwnedFd>,
    pub(crate) status: Watched<OwnedFd>,
    /// What came on the status pipe.
    pub(crate) said: Vec<u8>,
    pub(crate) failure: Option<Failure>,
}

/// It has ended; its output may not be read yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    /// Nanoseconds since 1970-01-01 UTC.
    pub(crate) at: i64,
    pub(crate) last_words: Instant,
}

impl Process {
    pub(crate) fn new(exec: Option<shim_protocol::Exec>, tty: bool, input_ends_with_client: bool) -> Self {
        Self {
            exec,
            tty,
            status: Status::Created,
            pid: None,
            stdio: None,
            input: Input::default(),
            outputs: Vec::new(),
            input_ends_with_client,
            terminal: None,
            size: None,
            starting: None,
            ended: None,
            exit: None,
            failure: None,
        }
    }

    pub(crate) fn state(&self) -> State {
        State {
            status: self.status,
            pid: self.pid.filter(|_| self.ended.is_none()),
            exit: self.exit,
        }
    }

    /// It has ended, which is said only after its start was, and not all of its output was read.
    pub(crate) fn is_to_be_drained(&self) -> bool {
        self.ended.is_some() && self.exit.is_none() && self.starting.is_none()
    }

    pub(crate) fn runs(&self) -> bool {
        matches!(self.status, Status::Running | Status::Paused)
    }
}
