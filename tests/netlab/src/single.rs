//! One host with one daemon and an image: what most suites stand on.

use std::time::Duration;

use anyhow::Context as _;

use crate::{
    daemon::{Daemon, DaemonOptions},
    host::Host,
    image::busybox_archive,
    lab::Lab,
    process::Finished,
    programs::Programs,
    wait::wait_for,
};

/// A daemon without a cluster store, and the image `busybox`. Fields are dropped in order: the daemon before the lab.
#[derive(Debug)]
pub struct Single {
    /// The daemon.
    pub daemon: Daemon,
    /// The lab.
    pub lab: Lab,
}

impl Single {
    /// Starts it.
    ///
    /// # Errors
    /// When the daemon does not start or the image can't be imported.
    pub fn start(flags: &[&str]) -> anyhow::Result<Self> {
        let mut lab = Lab::new()?;
        let host = lab.host("a")?;
        Self::on(lab, &host, flags)
    }

    /// The same on a host whose `/etc` is its own, to be changed by a test.
    ///
    /// # Errors
    /// As [`Single::start`].
    pub fn start_with_own_files(flags: &[&str]) -> anyhow::Result<Self> {
        let mut lab = Lab::new()?;
        let host = lab.host("a")?.with_packages(&[])?;
        Self::on(lab, &host, flags)
    }

    /// The same, after a shell line that changes these files.
    ///
    /// # Errors
    /// As [`Single::start`], and when the line fails.
    pub fn start_prepared(flags: &[&str], line: &str) -> anyhow::Result<Self> {
        let mut lab = Lab::new()?;
        let host = lab.host("a")?.with_packages(&[])?;
        host.run("sh", &["-c", line])?.ok()?;
        Self::on(lab, &host, flags)
    }

    fn on(lab: Lab, host: &Host, flags: &[&str]) -> anyhow::Result<Self> {
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let daemon = Daemon::start(
            host,
            &Programs::find()?,
            DaemonOptions {
                cluster_store: None,
                flags,
            },
        )?;
        daemon.import_busybox()?;
        Ok(Self { daemon, lab })
    }
}

impl Daemon {
    /// Imports Debian's static busybox as `busybox:latest`.
    ///
    /// # Errors
    /// When it can't be made or is refused.
    pub fn import_busybox(&self) -> anyhow::Result<()> {
        let archive = busybox_archive(self.host().folder())?;
        let path = "/images/create?fromSrc=-&repo=busybox&tag=latest";
        let answer = self
            .api()
            .send(http::Method::POST, path, "application/x-tar", archive.into())?;
        answer.ok_or_message().context("importing busybox")
    }

    /// `docker` with one line of arguments (split at spaces), which must succeed: what it printed.
    ///
    /// # Errors
    /// When it fails.
    pub fn ok(&self, line: &str) -> anyhow::Result<String> {
        self.line(line)?.ok()
    }

    /// `docker` with one line of arguments, which must fail: what it complained of.
    ///
    /// # Errors
    /// When it succeeds.
    pub fn refused(&self, line: &str) -> anyhow::Result<String> {
        self.line(line)?.failed()
    }

    /// `docker` with one line of arguments, however it ends.
    ///
    /// # Errors
    /// When it does not end.
    pub fn line(&self, line: &str) -> anyhow::Result<Finished> {
        self.docker(&line.split(' ').collect::<Vec<_>>())
    }

    /// Repeats a `docker` line until it succeeds.
    ///
    /// # Errors
    /// When it still fails after ten seconds.
    pub fn eventually(&self, line: &str) -> anyhow::Result<String> {
        wait_for(line, Duration::from_secs(10), || self.ok(line))
    }
}
