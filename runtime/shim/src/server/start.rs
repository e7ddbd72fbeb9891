//! From registered to running.

use std::io;

use rustix::io::Errno;
use shim_protocol::{Failure, FailureKind, Reply, Status, stream::StreamKind};

use super::{Server, Source};
use crate::{
    client::For,
    create, exec, fork,
    poll::{Interest, Token},
    process::{Key, Output, Process, Starting},
    report::{Heard, Report, Ways, hear},
    stdio::{Stdio, pipes},
};

impl Server {
    /// Takes a process in, with its streams made: from here on it can be attached to.
    pub(super) fn add_process(&mut self, key: Key, mut process: Process, stdin: bool) -> io::Result<()> {
        process.input.closed = !stdin;
        if !process.tty {
            let (theirs, ours) = pipes(stdin)?;
            process.stdio = Some(theirs);
            if let Some(input) = ours.input {
                let input = self.poll.watch(input, Interest::NONE)?;
                self.sources.insert(input.token, Source::Input(key.clone()));
                process.input.fd = Some(input);
            }
            for (kind, fd) in [
                (StreamKind::Stdout, ours.output),
                (StreamKind::Stderr, ours.errors),
            ] {
                let fd = self.poll.watch(fd, Interest::READ)?;
                self.sources.insert(fd.token, Source::Output(key.clone(), kind));
                process.outputs.push(Output { kind, fd });
            }
        }
        self.processes.insert(key, process);
        Ok(())
    }

    pub(super) fn start(&mut self, token: Token, key: &Key) -> io::Result<()> {
        let Some(process) = self.processes.get(key) else {
            return self.unknown(token, key);
        };
        if process.status != Status::Created {
            return self.fail(token, FailureKind::Conflict, "it was started already");
        }
        if key.is_some() && self.container_status() != Status::Running {
            return self.fail(token, FailureKind::NotRunning, "the container is not running");
        }
        self.wait_for(token, For::Start(key.clone()));
        if let Err(error) = self.make(key) {
            return self.failed(
                key,
                Failure::new(FailureKind::Internal, format!("making a process: {error}")),
            );
        }
        Ok(())
    }

    fn make(&mut self, key: &Key) -> io::Result<()> {
        let Ways {
            reports,
            status,
            child,
        } = Ways::new()?;
        let container = self.container().pid;
        let Some(process) = self.processes.get_mut(key) else {
            return Ok(());
        };
        let (stdio, size) = (process.stdio.take(), process.size);
        let keep = [&child.reports, &child.status];
        let keep: Vec<_> = keep
            .into_iter()
            .chain(stdio.iter().flat_map(Stdio::all))
            .collect();
        // What the child uses is moved into it by the fork, and dropped here when this returns.
        let (launch, exec) = (&self.launch, process.exec.as_ref());
        let work = || match (exec, container) {
            (Some(exec), Some(pid)) => exec::process(launch, exec, pid, stdio.as_ref(), size, &child),
            _ => create::container(launch, stdio.as_ref(), size, &child),
        };
        fork::child(&keep, work)?;
        process.status = Status::Starting;
        let reports = self.poll.watch(reports, Interest::READ)?;
        let status = self.poll.watch(status, Interest::READ)?;
        self.sources.insert(reports.token, Source::Starting(key.clone()));
        self.sources.insert(status.token, Source::Starting(key.clone()));
        process.starting = Some(Starting {
            reports,
            status,
            said: Vec::new(),
            failure: None,
        });
        Ok(())
    }

    /// Hears what is told of a process that is being made. The end of the status pipe is the last that is told.
    pub(super) fn hear(&mut self, key: &Key) -> io::Result<()> {
        let ended = self.read_status(key)?;
        self.read_reports(key)?;
        if ended { self.conclude(key) } else { Ok(()) }
    }

    fn read_status(&mut self, key: &Key) -> io::Result<bool> {
        let Some(starting) = self
            .processes
            .get_mut(key)
            .and_then(|process| process.starting.as_mut())
        else {
            return Ok(false);
        };
        let mut bytes = [0; 1024];
        loop {
            match rustix::io::read(&starting.status.fd, &mut bytes) {
                Ok(0) => return Ok(true),
                Ok(count) => starting.said.extend_from_slice(&bytes[..count]),
                Err(Errno::AGAIN) => return Ok(false),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn read_reports(&mut self, key: &Key) -> io::Result<()> {
        loop {
            let Some(process) = self.processes.get_mut(key) else {
                return Ok(());
            };
            let Some(starting) = process.starting.as_mut() else {
                return Ok(());
            };
            match hear(&starting.reports.fd)? {
                Heard::Nothing => return Ok(()),
                // Its end would be told over and over.
                Heard::End => return self.poll.change(&mut starting.reports, Interest::NONE),
                Heard::Report(Report::Pid(pid)) => process.pid = Some(pid),
                Heard::Report(Report::Failed(failure)) => {
                    starting.failure.get_or_insert(failure);
                    // Whatever was made already waits for a word that will not come.
                    if key.is_none() {
                        self.cgroup.kill();
                    }
                }
                Heard::Terminal(terminal) => self.take_terminal(key, terminal)?,
            }
        }
    }

    fn take_terminal(&mut self, key: &Key, terminal: std::os::fd::OwnedFd) -> io::Result<()> {
        let Some(process) = self.processes.get_mut(key) else {
            return Ok(());
        };
        rustix::io::ioctl_fionbio(&terminal, true)?;
        let output = self.poll.watch(terminal.try_clone()?, Interest::READ)?;
        self.sources
            .insert(output.token, Source::Output(key.clone(), StreamKind::Stdout));
        process.outputs.push(Output {
            kind: StreamKind::Stdout,
            fd: output,
        });
        if !process.input.closed {
            let input = self.poll.watch(terminal.try_clone()?, Interest::NONE)?;
            self.sources.insert(input.token, Source::Input(key.clone()));
            process.input.fd = Some(input);
        }
        if let Some(size) = process.size {
            // Set before it was made too; this is for a change meanwhile.
            let _ = rustix::termios::tcsetwinsize(&terminal, size);
        }
        process.terminal = Some(terminal);
        self.flush_input(key)
    }

    fn conclude(&mut self, key: &Key) -> io::Result<()> {
        let Some(process) = self.processes.get_mut(key) else {
            return Ok(());
        };
        let Some(starting) = process.starting.take() else {
            return Ok(());
        };
        let mut starting = starting;
        for watched in [&mut starting.reports, &mut starting.status] {
            self.poll.change(watched, Interest::NONE)?;
            self.sources.remove(&watched.token);
        }
        let said = (!starting.said.is_empty()).then(|| {
            serde_json::from_slice(&starting.said).unwrap_or_else(|_| {
                Failure::new(FailureKind::Internal, String::from_utf8_lossy(&starting.said))
            })
        });
        let silent = || {
            Failure::new(
                FailureKind::Internal,
                "what was to make the process ended without a word",
            )
        };
        match (said.or(starting.failure), process.pid) {
            (Some(failure), _) => self.failed(key, failure),
            (None, None) => self.failed(key, silent()),
            (None, Some(pid)) => self.started(key, pid),
        }
    }

    fn started(&mut self, key: &Key, pid: i32) -> io::Result<()> {
        let stray = self.strays.remove(&pid);
        if let Some(process) = self.processes.get_mut(key) {
            process.status = Status::Running;
            if let Some(code) = stray {
                process.ended(code);
            }
        }
        self.forget_strays();
        if self.deleting {
            self.kill_all();
        }
        self.reply_all(&For::Start(key.clone()), &Reply::Started { pid })
    }

    /// It never ran: everybody is told, and nothing of it stays.
    fn failed(&mut self, key: &Key, failure: Failure) -> io::Result<()> {
        if let Some(process) = self.processes.get_mut(key) {
            process.status = Status::Exited;
            process.pid = None;
            process.failure = Some(failure.clone());
        }
        self.forget_strays();
        self.close_streams(key)?;
        let reply = Reply::Failed(failure);
        self.reply_all(&For::Start(key.clone()), &reply)?;
        self.reply_all(&For::Exit(key.clone()), &reply)?;
        match key {
            None => self.begin_cleaning(),
            Some(id) => self.remember(id.clone()),
        }
        Ok(())
    }

    fn forget_strays(&mut self) {
        if self.processes.values().all(|process| process.starting.is_none()) {
            self.strays.clear();
        }
    }
}
