//! A host: a namespace with an address on the underlay, and a folder.

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use crate::{
    mounts::Mounts,
    process::{Finished, Place, Process, run_in, spawn_in},
    wait::patience,
};

/// A host of the lab.
#[derive(Debug, Clone)]
pub struct Host {
    name: String,
    netns: PathBuf,
    address: Ipv4Addr,
    folder: PathBuf,
    mounts: Option<Arc<Mounts>>,
}

impl Host {
    pub(crate) fn new(name: &str, netns: PathBuf, address: Ipv4Addr, folder: PathBuf) -> Self {
        Self {
            name: name.to_owned(),
            netns,
            address,
            folder,
            mounts: None,
        }
    }

    /// The same host with programs that the machine lacks: packages as `tests/packages.sh` brings them, those in front
    /// over those behind. `/run` is its own, and what is written to `/etc` and `/usr` goes with the lab.
    ///
    /// # Errors
    /// When a package wasn't brought, or the mounts can't be made.
    pub fn with_packages(mut self, packages: &[&str]) -> anyhow::Result<Self> {
        self.mounts = Some(Arc::new(Mounts::new(&self.netns, &self.folder, packages)?));
        Ok(self)
    }

    fn place(&self) -> Place {
        Place {
            netns: self.netns.clone(),
            mounts: self.mounts.as_ref().map(|mounts| mounts.path()),
        }
    }

    /// Its name in the lab.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address on the underlay.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Where its namespace is pinned.
    pub fn netns(&self) -> &Path {
        &self.netns
    }

    /// Its files.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Runs a command on it, for at most 60 s.
    ///
    /// # Errors
    /// When it can't be started or does not end. A command that ends with an error is no error here.
    pub fn run<S: AsRef<std::ffi::OsStr>>(&self, program: S, arguments: &[&str]) -> anyhow::Result<Finished> {
        let mut command = Command::new(program);
        command.args(arguments);
        self.run_command(command, &[])
    }

    /// The same with a prepared command and standard input.
    ///
    /// # Errors
    /// As [`Host::run`].
    pub fn run_command(&self, command: Command, input: &[u8]) -> anyhow::Result<Finished> {
        run_in(
            &self.place(),
            command,
            input,
            Duration::from_secs(60) * patience(),
        )
    }

    /// Starts a process that goes on until it is stopped or dropped; it logs to `NAME.log` in the host's folder.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(&self, name: &str, command: Command) -> anyhow::Result<Process> {
        Process::start(
            &self.place(),
            name,
            command,
            self.folder.join(format!("{name}.log")),
        )
    }

    /// Starts a child with its streams as the command says; for tests that talk to it.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn spawn(&self, command: Command) -> anyhow::Result<std::process::Child> {
        spawn_in(&self.place(), command)
    }
}
