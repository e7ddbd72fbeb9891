//! A connection: it asks one thing, and is answered, or becomes a process's input and output.

use std::{
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use shim_protocol::{Envelope, Reply, frame, stream::StreamKind, stream::header};

use crate::{
    poll::{Interest, Watched},
    process::Key,
    ring::{Flushed, Ring},
};

/// So many bytes wait for a client; then its process's output is not read until the client takes some.
pub(crate) const FULL: usize = 256 << 10;
/// A client that takes nothing for so long is cut, so that it can't hold up the container.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) stream: Watched<UnixStream>,
    pub(crate) phase: Phase,
    /// The beginning of a request.
    pub(crate) received: Vec<u8>,
    out: Ring,
    full_since: Option<Instant>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Has not asked yet.
    Asking,
    /// Is answered when something has happened.
    Waiting(For),
    /// Is a process's input and output.
    Attached(Attachment),
    /// Has all it gets, once it has taken it.
    Leaving,
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum For {
    Start(Key),
    Exit(Key),
    Delete,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attachment {
    pub(crate) key: Key,
    /// Bytes from the client are the process's, until the client says it is done.
    pub(crate) input: bool,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
    pub(crate) framed: bool,
}

impl Client {
    pub(crate) fn new(stream: Watched<UnixStream>) -> Self {
        Self {
            stream,
            phase: Phase::Asking,
            received: Vec::new(),
            out: Ring::default(),
            full_since: None,
        }
    }

    /// Answers; a reply to anything but an attach is the last word.
    pub(crate) fn reply(&mut self, reply: &Reply) {
        // Our own replies are small and always JSON.
        if let Ok(bytes) = frame::encode(&Envelope::new(reply)) {
            self.out.push(&bytes);
        }
        self.phase = Phase::Leaving;
    }

    /// Accepts an attach: from here on bytes.
    pub(crate) fn attach(&mut self, attachment: Attachment) {
        self.reply(&Reply::Done);
        self.phase = Phase::Attached(attachment);
    }

    /// Queues output, if the client wants that stream.
    pub(crate) fn output(&mut self, key: &Key, kind: StreamKind, bytes: &[u8]) {
        let Phase::Attached(attachment) = &self.phase else {
            return;
        };
        let wanted = match kind {
            StreamKind::Stdout => attachment.stdout,
            StreamKind::Stderr => attachment.stderr,
        };
        if attachment.key != *key || !wanted {
            return;
        }
        if attachment.framed {
            self.out
                .push(&header(kind, u32::try_from(bytes.len()).unwrap_or(u32::MAX)));
        }
        self.out.push(bytes);
    }

    /// Writes what the client takes; false when it is gone.
    pub(crate) fn flush(&mut self) -> bool {
        match self.out.flush(&self.stream.fd) {
            Flushed::Broken => return false,
            Flushed::Some(0) => {}
            Flushed::Some(_) => self.full_since = None,
        }
        if self.is_full() {
            self.full_since.get_or_insert_with(Instant::now);
        } else {
            self.full_since = None;
        }
        !(self.phase == Phase::Leaving && self.out.is_empty())
    }

    pub(crate) fn is_full(&self) -> bool {
        self.out.len() >= FULL
    }

    /// When it will be cut, if it takes nothing until then.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.full_since.map(|since| since + PATIENCE)
    }

    pub(crate) fn attached_to(&self, key: &Key) -> bool {
        matches!(&self.phase, Phase::Attached(attachment) if attachment.key == *key)
    }

    /// What to wait for; `room` is whether its process takes input now.
    pub(crate) fn interest(&self, room: bool) -> Interest {
        let write = !self.out.is_empty();
        let read = match &self.phase {
            Phase::Asking | Phase::Waiting(_) => true,
            Phase::Attached(attachment) => attachment.input && room,
            Phase::Leaving => false,
        };
        // Input that can't be taken now is not lost because the client has gone: its end is looked at later.
        let postponed = matches!(&self.phase, Phase::Attached(attachment) if attachment.input && !room);
        Interest {
            read,
            write,
            hangup: !postponed || write,
        }
    }
}
