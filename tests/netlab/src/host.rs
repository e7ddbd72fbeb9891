//! A host: a namespace with an address on the underlay, and a folder.

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::process::{Finished, Process, run_in, spawn_in};

/// A host of the lab.
#[derive(Debug, Clone)]
pub struct Host {
    name: String,
    netns: PathBuf,
    address: Ipv4Addr,
    folder: PathBuf,
}

impl Host {
    pub(crate) fn new(name: &str, netns: PathBuf, address: Ipv4Addr, folder: PathBuf) -> Self {
        Self {
            name: name.to_owned(),
            netns,
            address,
            folder,
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
        run_in(&self.netns, command, input, Duration::from_secs(60))
    }

    /// Starts a process that goes on until it is stopped or dropped; it logs to `NAME.log` in the host's folder.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(&self, name: &str, command: Command) -> anyhow::Result<Process> {
        Process::start(
            &self.netns,
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
        spawn_in(&self.netns, command)
    }
}
