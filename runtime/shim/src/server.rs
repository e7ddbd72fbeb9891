//! The loop: what is ready is handled, then what is due.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    os::unix::net::UnixListener,
    time::{Duration, Instant},
};

use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::{io::Errno, process::WaitOptions};
use shim_protocol::{Launch, Status, cgroup::Cgroup, stream::StreamKind};

use crate::{
    client::{Client, Phase},
    fork,
    forward::Forwarding,
    log::Log,
    poll::{Interest, Poll, Ready, Token, Watched},
    process::{Key, Process},
};

mod end;
mod requests;
mod start;
mod streams;

/// How long an ended container's shim waits for somebody to ask, before it leaves the answer to the record.
const LINGER: Duration = Duration::from_secs(10);
/// How many ended execs are remembered.
const REMEMBERED: usize = 64;

/// What a watched descriptor is.
#[derive(Debug, Clone)]
enum Source {
    Listener,
    Signals,
    Client,
    Output(Key, StreamKind),
    Input(Key),
    Starting(Key),
}

/// Where the end of the container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cleaning {
    /// It has not ended.
    No,
    /// Its cgroup is being removed.
    Until(Instant),
    /// Everything is gone; since when.
    Done(Instant),
}

#[derive(Debug)]
pub(crate) struct Server {
    launch: Launch,
    poll: Poll,
    listener: Watched<UnixListener>,
    signals: Watched<SignalFd>,
    sources: BTreeMap<Token, Source>,
    clients: BTreeMap<Token, Client>,
    processes: BTreeMap<Key, Process>,
    log: Option<Log>,
    forward: Option<Forwarding>,
    /// Said once, or a full disk would be filled with it.
    log_failed: bool,
    cgroup: Cgroup,
    /// Exit codes of processes that ended before it was known whose they are.
    strays: BTreeMap<i32, i32>,
    /// Ended execs, oldest first.
    finished: VecDeque<String>,
    cleaning: Cleaning,
    deleting: bool,
}

impl Server {
    pub(crate) fn new(launch: Launch, listener: UnixListener) -> io::Result<Self> {
        let mut poll = Poll::new()?;
        let listener = poll.watch(listener, Interest::READ)?;
        let signals = SignalFd::with_flags(
            &fork::shim_signals(),
            SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC,
        )?;
        let signals = poll.watch(signals, Interest::READ)?;
        let sources = [
            (listener.token, Source::Listener),
            (signals.token, Source::Signals),
        ]
        .into();
        let log = launch.log.clone().map(Log::open).transpose()?;
        let forward = launch
            .forward
            .clone()
            .map(Forwarding::open)
            .transpose()
            .map_err(|error| {
                io::Error::new(
                    error.kind(),
                    format!("failed to initialize logging driver: {error}"),
                )
            })?;
        let cgroup = Cgroup::locate(&launch.cgroup)?;
        let mut server = Self {
            poll,
            listener,
            signals,
            sources,
            log,
            forward,
            log_failed: false,
            cgroup,
            clients: BTreeMap::new(),
            processes: BTreeMap::new(),
            strays: BTreeMap::new(),
            finished: VecDeque::new(),
            cleaning: Cleaning::No,
            deleting: false,
            launch,
        };
        let (tty, stdin, once) = (
            server.launch.tty,
            server.launch.open_stdin,
            server.launch.stdin_once,
        );
        server.add_process(None, Process::new(None, tty, once), stdin)?;
        Ok(server)
    }

    /// Runs until the container has ended and nobody needs the shim any more.
    pub(crate) fn serve(&mut self) -> io::Result<()> {
        loop {
            for ready in self.poll.wait(self.timeout())? {
                self.handle(ready)?;
            }
            self.tick(Instant::now())?;
            if self.may_leave(Instant::now()) {
                return Ok(());
            }
        }
    }

    fn handle(&mut self, ready: Ready) -> io::Result<()> {
        // Gone meanwhile, by what was handled just before.
        let Some(source) = self.sources.get(&ready.token).cloned() else {
            return Ok(());
        };
        match source {
            Source::Listener => self.accept(),
            Source::Signals => self.reap(),
            Source::Client => self.client_ready(ready),
            Source::Output(key, kind) => self.output_ready(&key, kind),
            Source::Input(key) => self.flush_input(&key),
            Source::Starting(key) => self.hear(&key),
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            match self.listener.fd.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(true)?;
                    let stream = self.poll.watch(stream, Interest::READ)?;
                    self.sources.insert(stream.token, Source::Client);
                    self.clients.insert(stream.token, Client::new(stream));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // The client went away, or there are too many for now: the next may do better.
                Err(_) => return Ok(()),
            }
        }
    }

    /// Takes the exit codes of all children that have ended. Other signals are for the daemon, not for us.
    fn reap(&mut self) -> io::Result<()> {
        while self.signals.fd.read_signal()?.is_some() {}
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    let signal = status.terminating_signal().map(|signal| 128 + signal);
                    let code = status.exit_status().or(signal).unwrap_or(255);
                    self.child_ended(pid.as_raw_nonzero().get(), code);
                }
                Ok(None) | Err(Errno::CHILD) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn child_ended(&mut self, pid: i32, code: i32) {
        if let Some(process) = self
            .processes
            .values_mut()
            .find(|process| process.pid == Some(pid))
        {
            process.ended(code);
        } else if self.processes.values().any(|process| process.starting.is_some()) {
            self.strays.insert(pid, code);
        }
    }

    fn tick(&mut self, now: Instant) -> io::Result<()> {
        let late = |client: &Client| client.deadline().is_some_and(|deadline| deadline <= now);
        let cut: Vec<Token> = self
            .clients
            .iter()
            .filter(|(_, client)| late(client))
            .map(|(token, _)| *token)
            .collect();
        for token in cut {
            self.drop_client(token)?;
        }
        if self.clean(now) {
            // Whatever was in the cgroup has ended with it, and is told before the end of the container's shim.
            self.reap()?;
        }
        self.drain_ended(now)?;
        self.answer_delete()
    }

    fn drain_ended(&mut self, now: Instant) -> io::Result<()> {
        let ended = self
            .processes
            .iter()
            .filter(|(_, process)| process.is_to_be_drained());
        let ended: Vec<Key> = ended.map(|(key, _)| key.clone()).collect();
        ended.into_iter().try_for_each(|key| self.drain(&key, now))
    }

    fn timeout(&self) -> Option<Duration> {
        let now = Instant::now();
        let clients = self.clients.values().filter_map(Client::deadline);
        let last_words = self.processes.values().filter(|process| process.exit.is_none());
        let last_words = last_words
            .filter_map(|process| Some(process.ended?.last_words))
            .filter(|time| *time > now);
        let cleaning = match self.cleaning {
            Cleaning::No => None,
            Cleaning::Until(_) => Some(now + Duration::from_millis(5)),
            Cleaning::Done(since) => Some(since + LINGER),
        };
        let next = clients.chain(last_words).chain(cleaning).min()?;
        Some(next.saturating_duration_since(now))
    }

    /// Everything is gone, and nobody is there who has not taken all of their answer.
    fn may_leave(&self, now: Instant) -> bool {
        let Cleaning::Done(since) = self.cleaning else {
            return false;
        };
        let over = self.deleting || (since + LINGER <= now && self.clients.is_empty());
        let answered = self.clients.values().all(|client| client.phase != Phase::Leaving);
        let leave = over && (answered || since + LINGER <= now);
        if leave {
            self.remove_files();
        }
        leave
    }

    fn container(&self) -> &Process {
        &self.processes[&None]
    }

    fn container_runs(&self) -> bool {
        self.container().runs()
    }

    fn container_status(&self) -> Status {
        self.container().status
    }
}
