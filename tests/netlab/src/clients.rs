//! The `docker` commands that suites are played with: a new one and an old one.

use std::path::PathBuf;

use anyhow::Context as _;

use crate::{programs::Programs, single::Single};

/// One of Docker's own command lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DockerClient {
    /// 28, the newest that Debian has. It speaks the newest version of the API that we do.
    New,
    /// 20.10, as Debian 12 has it: it asks for version 1.41.
    Old,
}

impl DockerClient {
    /// Both.
    pub const ALL: [Self; 2] = [Self::New, Self::Old];

    /// Its program.
    ///
    /// # Errors
    /// When it is missing: the message says how to bring it.
    pub fn program(self) -> anyhow::Result<PathBuf> {
        let package = match self {
            Self::New => "docker-28",
            Self::Old => "dockerd",
        };
        Ok(Programs::package(package)?.join("usr/bin/docker"))
    }
}

/// Plays a test on a host of its own with each client; an error says with which.
///
/// # Errors
/// The test's own, or those of starting a host.
pub fn on_each_client(
    flags: &[&str],
    test: impl Fn(&mut Single, DockerClient) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    for client in DockerClient::ALL {
        let context = || format!("with the client {client:?}");
        let mut host = Single::start(flags).with_context(context)?;
        host.daemon.use_docker(client.program()?);
        test(&mut host, client).with_context(context)?;
    }
    Ok(())
}

/// Of what a client printed or a daemon refused, a part must be as expected.
///
/// # Panics
/// When it isn't in there: with both.
#[track_caller]
pub fn contains(text: &str, expected: &str) {
    assert!(text.contains(expected), "{text:?} lacks {expected:?}");
}
