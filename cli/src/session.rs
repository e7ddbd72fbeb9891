//! A user's time inside a container: input, output, window size and signals until one side ends it.

mod demultiplex;
mod signals;
mod stdin;

use std::io::Write;

use tokio::signal::unix::{SignalKind, signal};

use crate::client::{Client, ClientError, Hijacked, Query};
use crate::error::CommandError;
use crate::terminal::{self, RawMode};
use api_types::detach_keys::{Typed, Watcher};
pub(crate) use demultiplex::{Demultiplexer, Stream, show as show_stream};
pub(crate) use signals::forward as forward_signals;

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The container closed its output.
    Output,
    /// The user pressed the detach keys.
    Detached,
}

/// What is attached, and how.
#[derive(Debug)]
pub(crate) struct Session {
    /// The container has a terminal: raw bytes both ways, and its size follows ours.
    pub(crate) tty: bool,
    /// Our stdin goes in.
    pub(crate) stdin: bool,
    /// Its output is shown.
    pub(crate) stdout: bool,
    /// Its error output is shown.
    pub(crate) stderr: bool,
    /// Keys that detach.
    pub(crate) detach_keys: Vec<u8>,
    /// Where the size of the terminal is set: `/containers/ID/resize` or `/exec/ID/resize`.
    pub(crate) resize_path: String,
}

impl Session {
    /// Enters raw mode if this session is a terminal's; hold the guard until the session has ended.
    pub(crate) fn raw_mode(&self) -> Result<Option<RawMode>, CommandError> {
        if self.tty && self.stdin && terminal::stdin_is_terminal() {
            return Ok(Some(RawMode::enter()?));
        }
        Ok(None)
    }

    /// Moves bytes until the output ends or the user detaches.
    pub(crate) async fn run(&self, client: &Client, stream: Hijacked) -> Result<Ended, CommandError> {
        let (mut output, mut input) = stream.split();
        let mut typed = self.stdin.then(stdin::spawn);
        let mut watcher = Watcher::new(if self.tty {
            self.detach_keys.clone()
        } else {
            Vec::new()
        });
        let mut demultiplexer = Demultiplexer::default();
        let mut resized = signal(SignalKind::window_change())?;
        // Without a terminal these go to the container; with one, they are for us, and its modes must be restored.
        let mut terminated = signal(SignalKind::terminate())?;
        let mut hung_up = signal(SignalKind::hangup())?;
        loop {
            tokio::select! {
                piece = output.next() => match piece? {
                    Some(bytes) if self.tty => self.show_raw(&bytes)?,
                    Some(bytes) => demultiplexer.feed(&bytes, |kind, bytes| self.show(kind, bytes))?,
                    None => return Ok(Ended::Output),
                },
                bytes = next_typed(&mut typed) => match bytes {
                    None => {
                        typed = None;
                        // The other side may be gone already; its output tells.
                        let _ = input.close().await;
                    }
                    Some(bytes) => match watcher.feed(&bytes) {
                        Typed::Send(bytes) => send(&mut input, &bytes).await,
                        Typed::Detach(bytes) => {
                            send(&mut input, &bytes).await;
                            return Ok(Ended::Detached);
                        }
                    },
                },
                _ = resized.recv(), if self.tty => self.resize(client).await,
                _ = terminated.recv(), if self.tty => return Err(CommandError::said(143)),
                _ = hung_up.recv(), if self.tty => return Err(CommandError::said(129)),
            }
        }
    }

    /// Gives the container's terminal the size of ours. A container that is gone has none: no error.
    pub(crate) async fn resize(&self, client: &Client) {
        if let Some(size) = terminal::size().filter(|_| self.tty) {
            self.resize_to(client, size).await;
        }
    }

    /// Asks programs to draw their screens anew, by a change of size and back.
    pub(crate) async fn redraw(&self, client: &Client) {
        if let Some(size) = terminal::size().filter(|_| self.tty) {
            self.resize_to(
                client,
                terminal::Size {
                    height: size.height + 1,
                    width: size.width + 1,
                },
            )
            .await;
            self.resize_to(client, size).await;
        }
    }

    async fn resize_to(&self, client: &Client, size: terminal::Size) {
        let query = Query::new()
            .with("h", size.height.to_string())
            .with("w", size.width.to_string());
        let _ = client.order(&self.resize_path, query).await;
    }

    fn show_raw(&self, bytes: &[u8]) -> std::io::Result<()> {
        if !self.stdout && !self.stderr {
            return Ok(());
        }
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(bytes)?;
        stdout.flush()
    }

    fn show(&self, kind: Stream, bytes: &[u8]) -> std::io::Result<()> {
        match kind {
            Stream::Stdout if self.stdout => demultiplex::show(kind, bytes),
            Stream::Stderr if self.stderr => demultiplex::show(kind, bytes),
            _ => Ok(()),
        }
    }
}

/// Bytes for a process that ended are lost, as in a pipe; its output says the rest.
async fn send(input: &mut crate::client::Input, bytes: &[u8]) {
    if !bytes.is_empty() {
        let _: Result<(), ClientError> = input.send(bytes).await;
    }
}

async fn next_typed(typed: &mut Option<stdin::Typing>) -> Option<Vec<u8>> {
    match typed {
        Some(typing) => typing.next().await,
        None => std::future::pending().await,
    }
}
