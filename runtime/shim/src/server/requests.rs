//! What clients ask, and what they are answered.

use std::io;

use rustix::{io::Errno, termios::Winsize, termios::tcsetwinsize};
use shim_protocol::{Attach, Envelope, Exec, Failure, FailureKind, Reply, Request, Status, VERSION, frame};

use super::{Cleaning, Server};
use crate::{
    client::{Attachment, For, Phase},
    fork,
    poll::{Ready, Token},
    process::{Key, Process},
};

impl Server {
    pub(super) fn client_ready(&mut self, ready: Ready) -> io::Result<()> {
        let token = ready.token;
        if ready.write && !self.flush_client(token)? {
            return Ok(());
        }
        let Some(client) = self.clients.get(&token) else {
            return Ok(());
        };
        match &client.phase {
            Phase::Asking if ready.read => self.read_request(token),
            Phase::Attached(attachment) if attachment.input && ready.read => self.read_input(token),
            // Nothing more is expected of it: what comes is its end.
            Phase::Waiting(_) if ready.read => self.drop_client(token),
            _ if ready.hangup => self.drop_client(token),
            _ => Ok(()),
        }
    }

    fn read_request(&mut self, token: Token) -> io::Result<()> {
        let Some(client) = self.clients.get_mut(&token) else {
            return Ok(());
        };
        let mut bytes = [0; 4096];
        match rustix::io::read(&client.stream.fd, &mut bytes) {
            Ok(0) => return self.drop_client(token),
            Ok(count) => client.received.extend_from_slice(&bytes[..count]),
            Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
            Err(_) => return self.drop_client(token),
        }
        match frame::decode::<Envelope<Request>>(&client.received) {
            Ok(None) => Ok(()),
            Ok(Some((envelope, length))) => {
                client.received.drain(..length);
                self.answer(token, envelope)
            }
            Err(error) => self.fail(
                token,
                FailureKind::Unsupported,
                format!("the shim does not understand: {error}"),
            ),
        }
    }

    fn answer(&mut self, token: Token, envelope: Envelope<Request>) -> io::Result<()> {
        if envelope.version > VERSION {
            let text = format!(
                "this container's shim speaks version {VERSION}, not {}",
                envelope.version
            );
            return self.fail(token, FailureKind::Unsupported, text);
        }
        match envelope.message {
            Request::State { exec } => match self.processes.get(&exec) {
                Some(process) => {
                    let state = process.state();
                    self.reply(token, &Reply::State(state))
                }
                None => self.unknown(token, &exec),
            },
            Request::Start { exec } => self.start(token, &exec),
            Request::Kill { signal } => self.kill(token, signal),
            Request::Resize { exec, height, width } => self.resize(token, &exec, height, width),
            Request::Attach(attach) => self.attach(token, attach),
            Request::Exec(exec) => self.register(token, exec),
            Request::Wait { exec } => self.wait(token, exec),
            Request::Pause => self.freeze(token, true),
            Request::Resume => self.freeze(token, false),
            Request::Delete => self.delete(token),
        }
    }

    pub(super) fn reply(&mut self, token: Token, reply: &Reply) -> io::Result<()> {
        if let Some(client) = self.clients.get_mut(&token) {
            client.reply(reply);
        }
        self.flush_client(token).map(drop)
    }

    pub(super) fn fail(
        &mut self,
        token: Token,
        kind: FailureKind,
        message: impl Into<String>,
    ) -> io::Result<()> {
        self.reply(token, &Reply::Failed(Failure::new(kind, message)))
    }

    pub(super) fn unknown(&mut self, token: Token, key: &Key) -> io::Result<()> {
        let id = key.as_deref().unwrap_or_default();
        self.fail(token, FailureKind::NotFound, format!("no such exec: {id}"))
    }

    /// Answers everybody who waits for the same.
    pub(super) fn reply_all(&mut self, waiting: &For, reply: &Reply) -> io::Result<()> {
        let waits = Phase::Waiting(waiting.clone());
        let tokens: Vec<Token> = self
            .clients
            .iter()
            .filter(|(_, client)| client.phase == waits)
            .map(|(token, _)| *token)
            .collect();
        tokens.into_iter().try_for_each(|token| self.reply(token, reply))
    }

    pub(super) fn wait_for(&mut self, token: Token, what: For) {
        if let Some(client) = self.clients.get_mut(&token) {
            client.phase = Phase::Waiting(what);
        }
    }

    fn kill(&mut self, token: Token, signal: i32) -> io::Result<()> {
        let Some(pid) = self.container().pid.filter(|_| self.container_runs()) else {
            return self.fail(token, FailureKind::NotRunning, "the container is not running");
        };
        match fork::kill(pid, signal) {
            Ok(()) => {}
            Err(error) if Errno::from_io_error(&error) == Some(Errno::SRCH) => {
                return self.fail(token, FailureKind::NotRunning, "the container is not running");
            }
            Err(error) => {
                return self.fail(
                    token,
                    FailureKind::Internal,
                    format!("sending signal {signal}: {error}"),
                );
            }
        }
        // A frozen process does not even die (cgroup version 1).
        if signal == nix::libc::SIGKILL && self.container_status() == Status::Paused {
            return self.freeze(token, false);
        }
        self.reply(token, &Reply::Done)
    }

    fn resize(&mut self, token: Token, key: &Key, height: u16, width: u16) -> io::Result<()> {
        let Some(process) = self.processes.get_mut(key) else {
            return self.unknown(token, key);
        };
        let size = Winsize {
            ws_row: height,
            ws_col: width,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        process.size = Some(size);
        if let Some(terminal) = &process.terminal {
            // A terminal whose process has just ended has no size to set.
            let _ = tcsetwinsize(terminal, size);
        }
        self.reply(token, &Reply::Done)
    }

    fn attach(&mut self, token: Token, attach: Attach) -> io::Result<()> {
        let Attach {
            exec: key,
            stdin,
            stdout,
            stderr,
        } = attach;
        let Some(process) = self.processes.get(&key) else {
            return self.unknown(token, &key);
        };
        if process.status == Status::Exited {
            return self.fail(token, FailureKind::NotRunning, "the process has ended");
        }
        let attachment = Attachment {
            framed: !process.tty,
            key,
            input: stdin,
            stdout,
            stderr,
        };
        if let Some(client) = self.clients.get_mut(&token) {
            client.attach(attachment);
        }
        self.flush_client(token).map(drop)
    }

    fn register(&mut self, token: Token, exec: Exec) -> io::Result<()> {
        match self.container_status() {
            Status::Running => {}
            Status::Paused => return self.fail(token, FailureKind::NotRunning, "the container is paused"),
            _ => return self.fail(token, FailureKind::NotRunning, "the container is not running"),
        }
        let key = Some(exec.id.clone());
        if self.processes.contains_key(&key) {
            return self.fail(
                token,
                FailureKind::Conflict,
                format!("there is an exec {} already", exec.id),
            );
        }
        let (tty, stdin) = (exec.tty, exec.stdin);
        self.add_process(key, Process::new(Some(exec), tty, true), stdin)?;
        self.reply(token, &Reply::Done)
    }

    fn wait(&mut self, token: Token, key: Key) -> io::Result<()> {
        let Some(process) = self.processes.get(&key) else {
            return self.unknown(token, &key);
        };
        match (process.exit, process.failure.clone()) {
            (Some(exit), _) => self.reply(token, &Reply::Exited(exit)),
            (None, Some(failure)) => self.reply(token, &Reply::Failed(failure)),
            (None, None) => {
                self.wait_for(token, For::Exit(key));
                Ok(())
            }
        }
    }

    fn freeze(&mut self, token: Token, frozen: bool) -> io::Result<()> {
        let (wanted, now) = if frozen {
            (Status::Running, Status::Paused)
        } else {
            (Status::Paused, Status::Running)
        };
        if self.container_status() != wanted {
            let text = if frozen {
                "the container is not running"
            } else {
                "the container is not paused"
            };
            return self.fail(token, FailureKind::NotRunning, text);
        }
        if let Err(error) = self.cgroup.freeze(frozen) {
            return self.fail(
                token,
                FailureKind::Internal,
                format!("freezing or thawing the container: {error}"),
            );
        }
        if let Some(container) = self.processes.get_mut(&None) {
            container.status = now;
        }
        self.reply(token, &Reply::Done)
    }

    fn delete(&mut self, token: Token) -> io::Result<()> {
        self.wait_for(token, For::Delete);
        self.deleting = true;
        match (self.cleaning, self.container_status()) {
            (Cleaning::No, Status::Created) => self.begin_cleaning(),
            (Cleaning::No, _) => self.kill_all(),
            _ => {}
        }
        Ok(())
    }
}
