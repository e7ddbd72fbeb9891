//! How a process, the container, and the shim end.

use std::{
    fs, io,
    time::{Duration, Instant},
};

use shim_protocol::{Exit, Reply, Status, exit};

use super::{Cleaning, REMEMBERED, Server, streams::complain};
use crate::{client::For, fork, process::Key};

/// How long killed processes may take to leave the cgroup.
const PATIENCE: Duration = Duration::from_secs(10);

impl Server {
    /// All output of an ended process is read: the end is recorded, then told.
    pub(super) fn finish(&mut self, key: &Key) -> io::Result<()> {
        let Some(ended) = self.processes.get(key).and_then(|process| process.ended) else {
            return Ok(());
        };
        let oom_killed = key.is_none() && self.cgroup.oom_kills() > 0;
        let exit = Exit {
            code: ended.code,
            oom_killed,
            at: ended.at,
        };
        if key.is_none() {
            self.record(&exit);
        }
        if let Some(process) = self.processes.get_mut(key) {
            process.status = Status::Exited;
            process.exit = Some(exit);
        }
        self.close_streams(key)?;
        self.reply_all(&For::Exit(key.clone()), &Reply::Exited(exit))?;
        match key {
            None => self.begin_cleaning(),
            Some(id) => self.remember(id.clone()),
        }
        Ok(())
    }

    fn record(&mut self, exit: &Exit) {
        if let Some(Err(error)) = self.log.as_mut().map(crate::log::Log::finish) {
            complain("writing the log", &error);
        }
        if let Some(Err(error)) = self.forward.as_mut().map(crate::forward::Forwarding::finish) {
            complain("forwarding the log", &error);
        }
        if let Err(error) = exit::write(&self.launch.bundle, exit) {
            // The shim itself still tells whoever asks while it lingers.
            complain("writing the exit record", &error);
        }
    }

    /// Keeps an ended exec for who asks later, and forgets the oldest.
    pub(super) fn remember(&mut self, id: String) {
        self.finished.push_back(id);
        if self.finished.len() > REMEMBERED
            && let Some(oldest) = self.finished.pop_front()
        {
            self.processes.remove(&Some(oldest));
        }
    }

    /// Kills the container's processes, frozen ones too.
    pub(super) fn kill_all(&mut self) {
        // There may be no freezer, and nothing frozen.
        let _ = self.cgroup.freeze(false);
        if let Some(pid) = self.container().pid.filter(|_| self.container_runs()) {
            let _ = fork::kill(pid, nix::libc::SIGKILL);
        }
        self.cgroup.kill();
    }

    pub(super) fn begin_cleaning(&mut self) {
        if self.cleaning == Cleaning::No {
            self.cleaning = Cleaning::Until(Instant::now() + PATIENCE);
        }
    }

    /// Removes the container's cgroup, as soon as the kernel lets go of it; true when it has just gone.
    pub(super) fn clean(&mut self, now: Instant) -> bool {
        let Cleaning::Until(deadline) = self.cleaning else {
            return false;
        };
        self.cgroup.kill();
        let gone = self.cgroup.remove();
        if !gone && deadline <= now {
            complain(
                "removing the cgroup",
                &io::Error::from(io::ErrorKind::ResourceBusy),
            );
        }
        if gone || deadline <= now {
            self.cleaning = Cleaning::Done(now);
        }
        gone
    }

    /// Answers who waits for everything to be gone.
    pub(super) fn answer_delete(&mut self) -> io::Result<()> {
        if !self.deleting || !matches!(self.cleaning, Cleaning::Done(_)) {
            return Ok(());
        }
        // Nothing runs that could say more, whoever still holds its terminal.
        self.drain_ended(Instant::now() + PATIENCE)?;
        self.remove_files();
        self.reply_all(&For::Delete, &Reply::Done)
    }

    /// Removes the shim's own files. Before the socket is closed: whoever sees it closed may make it anew.
    pub(super) fn remove_files(&self) {
        let launch = self.launch.socket.with_extension("json");
        for path in [&self.launch.socket, &launch] {
            let _ = fs::remove_file(path);
        }
        let _ = fs::remove_dir_all(&self.launch.state);
    }
}
