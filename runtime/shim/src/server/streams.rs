//! Bytes between processes and clients.
//!
//! Output goes to the log and to every client attached. A client that does not keep up holds the output back for a
//! moment, as a slow terminal would, and is cut when it takes nothing at all; so nothing is lost to those who read.

use std::{
    io::{self, Write as _},
    time::{Duration, Instant, SystemTime},
};

use rustix::io::Errno;
use shim_protocol::stream::StreamKind;

use super::Server;
use crate::{
    client::{Client, Phase},
    poll::{Interest, Token},
    process::{Ended, Key, LAST_WORDS, Process},
    ring::Flushed,
};

/// So many bytes are read at a time.
const CHUNK: usize = 16 << 10;

/// How a read went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Got {
    Bytes,
    Nothing,
    End,
}

impl Server {
    pub(super) fn output_ready(&mut self, key: &Key, kind: StreamKind) -> io::Result<()> {
        if self.read_output(key, kind)? == Got::End {
            self.close_output(key, kind)?;
        }
        self.regulate(key)
    }

    fn read_output(&mut self, key: &Key, kind: StreamKind) -> io::Result<Got> {
        let Some(process) = self.processes.get(key) else {
            return Ok(Got::End);
        };
        let Some(output) = process.outputs.iter().find(|output| output.kind == kind) else {
            return Ok(Got::End);
        };
        let mut bytes = [0; CHUNK];
        let count = match rustix::io::read(&output.fd.fd, &mut bytes) {
            // A terminal nobody has open any more says so with an error.
            Ok(0) | Err(Errno::IO) => return Ok(Got::End),
            Ok(count) => count,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(Got::Nothing),
            Err(errno) => return Err(errno.into()),
        };
        self.distribute(key, kind, &bytes[..count])?;
        Ok(Got::Bytes)
    }

    fn distribute(&mut self, key: &Key, kind: StreamKind, bytes: &[u8]) -> io::Result<()> {
        if key.is_none() {
            let kept = self.log.as_mut().map_or(Ok(()), |log| log.write(kind, bytes));
            let forwarded = self.forward.as_mut().map_or(Ok(()), |log| log.write(kind, bytes));
            if let Err(error) = kept.and(forwarded)
                && !std::mem::replace(&mut self.log_failed, true)
            {
                complain("writing the log", &error);
            }
        }
        let attached: Vec<Token> = self
            .clients
            .iter()
            .filter(|(_, client)| client.attached_to(key))
            .map(|(token, _)| *token)
            .collect();
        for token in attached {
            if let Some(client) = self.clients.get_mut(&token) {
                client.output(key, kind, bytes);
            }
            self.flush_client(token)?;
        }
        Ok(())
    }

    fn is_held_back(&self, key: &Key) -> bool {
        self.clients
            .values()
            .any(|client| client.attached_to(key) && client.is_full())
    }

    /// Reads a process's output, or does not, by whether every client keeps up.
    fn regulate(&mut self, key: &Key) -> io::Result<()> {
        let interest = if self.is_held_back(key) {
            Interest::NONE
        } else {
            Interest::READ
        };
        let Some(process) = self.processes.get_mut(key) else {
            return Ok(());
        };
        process
            .outputs
            .iter_mut()
            .try_for_each(|output| self.poll.change(&mut output.fd, interest))
    }

    /// Reads the rest of an ended process's output, as far as clients take it; then the process is done with.
    pub(super) fn drain(&mut self, key: &Key, now: Instant) -> io::Result<()> {
        for kind in [StreamKind::Stdout, StreamKind::Stderr] {
            let mut got = Got::Bytes;
            while got == Got::Bytes && !self.is_held_back(key) {
                got = self.read_output(key, kind)?;
            }
            let Some(process) = self.processes.get(key) else {
                return Ok(());
            };
            // A pipe has had all that the process wrote; what others still have open is not its output any more.
            let over = !process.tty || process.ended.is_some_and(|ended| ended.last_words <= now);
            if got == Got::End || (got == Got::Nothing && over) {
                self.close_output(key, kind)?;
            }
        }
        match self.processes.get(key) {
            Some(process) if process.outputs.is_empty() => self.finish(key),
            _ => Ok(()),
        }
    }

    fn close_output(&mut self, key: &Key, kind: StreamKind) -> io::Result<()> {
        let Some(process) = self.processes.get_mut(key) else {
            return Ok(());
        };
        while let Some(place) = process.outputs.iter().position(|output| output.kind == kind) {
            let mut output = process.outputs.swap_remove(place);
            self.poll.change(&mut output.fd, Interest::NONE)?;
            self.sources.remove(&output.fd.token);
        }
        Ok(())
    }

    /// Closes all streams of a process; its clients get what they have not taken yet, and then the end.
    pub(super) fn close_streams(&mut self, key: &Key) -> io::Result<()> {
        self.close_output(key, StreamKind::Stdout)?;
        self.close_output(key, StreamKind::Stderr)?;
        self.close_input(key)?;
        if let Some(process) = self.processes.get_mut(key) {
            process.terminal = None;
            process.stdio = None;
        }
        let attached: Vec<Token> = self
            .clients
            .iter()
            .filter(|(_, client)| client.attached_to(key))
            .map(|(token, _)| *token)
            .collect();
        for token in attached {
            if let Some(client) = self.clients.get_mut(&token) {
                client.phase = Phase::Leaving;
            }
            self.flush_client(token)?;
        }
        Ok(())
    }

    /// Writes what a client takes; false when it is gone.
    pub(super) fn flush_client(&mut self, token: Token) -> io::Result<bool> {
        let Some(client) = self.clients.get_mut(&token) else {
            return Ok(false);
        };
        let was_full = client.is_full();
        if !client.flush() {
            self.drop_client(token)?;
            return Ok(false);
        }
        let eased = was_full && !client.is_full();
        let key = attached_key(client);
        self.watch_client(token)?;
        match key {
            Some(key) if eased => self.regulate(&key)?,
            _ => {}
        }
        Ok(true)
    }

    fn watch_client(&mut self, token: Token) -> io::Result<()> {
        let Some(client) = self.clients.get_mut(&token) else {
            return Ok(());
        };
        let process = attached_key(client).and_then(|key| self.processes.get(&key));
        let room = process.is_none_or(|process| process.input.closed || process.input.room() > 0);
        let interest = client.interest(room);
        self.poll.change(&mut client.stream, interest)
    }

    /// Lets a client go; if its input was the process's, that ends too.
    pub(super) fn drop_client(&mut self, token: Token) -> io::Result<()> {
        let Some(mut client) = self.clients.remove(&token) else {
            return Ok(());
        };
        self.sources.remove(&token);
        self.poll.change(&mut client.stream, Interest::NONE)?;
        if let Phase::Attached(attachment) = &client.phase {
            if attachment.input {
                self.input_ended(&attachment.key)?;
            }
            self.regulate(&attachment.key)?;
        }
        Ok(())
    }

    /// Reads a client's input, as much as the process has room for.
    pub(super) fn read_input(&mut self, token: Token) -> io::Result<()> {
        let Some(client) = self.clients.get_mut(&token) else {
            return Ok(());
        };
        let Phase::Attached(attachment) = &mut client.phase else {
            return Ok(());
        };
        let key = attachment.key.clone();
        let Some(process) = self.processes.get_mut(&key) else {
            return Ok(());
        };
        let mut bytes = [0; CHUNK];
        let room = if process.input.closed {
            CHUNK
        } else {
            process.input.room().min(CHUNK)
        };
        let early = std::mem::take(&mut client.received);
        process.input.queue.push(&early);
        match rustix::io::read(&client.stream.fd, &mut bytes[..room]) {
            Ok(0) if room == 0 => {}
            Ok(0) => {
                attachment.input = false;
                self.input_ended(&key)?;
            }
            Ok(count) => process.input.queue.push(&bytes[..count]),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => return self.drop_client(token),
        }
        self.flush_input(&key)?;
        self.watch_client(token)
    }

    fn input_ended(&mut self, key: &Key) -> io::Result<()> {
        let Some(process) = self.processes.get_mut(key) else {
            return Ok(());
        };
        // A terminal has no end of input: the client has gone, others may come.
        if process.input_ends_with_client && !process.tty {
            process.input.ending = true;
            self.flush_input(key)?;
        }
        Ok(())
    }

    /// Writes what the process takes of its input.
    pub(super) fn flush_input(&mut self, key: &Key) -> io::Result<()> {
        let Some(process) = self.processes.get_mut(key) else {
            return Ok(());
        };
        let input = &mut process.input;
        if input.closed {
            input.queue.clear();
            return Ok(());
        }
        let Some(fd) = &mut input.fd else { return Ok(()) };
        let broken = input.queue.flush(&fd.fd) == Flushed::Broken;
        if broken || (input.ending && input.queue.is_empty()) {
            self.close_input(key)?;
        } else {
            let interest = if input.queue.is_empty() {
                Interest::NONE
            } else {
                Interest::WRITE
            };
            self.poll.change(fd, interest)?;
        }
        let waiting: Vec<Token> = self
            .clients
            .iter()
            .filter(|(_, client)| client.attached_to(key))
            .map(|(token, _)| *token)
            .collect();
        waiting.into_iter().try_for_each(|token| self.watch_client(token))
    }

    fn close_input(&mut self, key: &Key) -> io::Result<()> {
        let Some(process) = self.processes.get_mut(key) else {
            return Ok(());
        };
        process.input.closed = true;
        process.input.queue.clear();
        if let Some(mut fd) = process.input.fd.take() {
            self.poll.change(&mut fd, Interest::NONE)?;
            self.sources.remove(&fd.token);
        }
        Ok(())
    }
}

impl Process {
    pub(super) fn ended(&mut self, code: i32) {
        let at = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        let at = i64::try_from(at.as_nanos()).unwrap_or(i64::MAX);
        self.ended = Some(Ended {
            code,
            at,
            last_words: Instant::now() + LAST_WORDS,
        });
    }
}

fn attached_key(client: &Client) -> Option<Key> {
    match &client.phase {
        Phase::Attached(attachment) => Some(attachment.key.clone()),
        _ => None,
    }
}

/// What can only be told to who looks into the shim's error file, which standard error is.
pub(super) fn complain(doing: &str, error: &dyn std::error::Error) {
    // It goes to a file: on a full disk that fails too, and is no reason to end.
    let _ = writeln!(io::stderr(), "{doing}: {error}");
}
