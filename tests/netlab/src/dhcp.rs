//! A segment's own DHCP server.

use std::{process::Command, time::Duration};

use anyhow::Context as _;

use crate::{host::Host, process::Process, programs::Programs, wait::wait_for};

/// Debian's dnsmasq on a host of the lab.
#[derive(Debug)]
pub struct DhcpServer {
    process: Process,
}

impl DhcpServer {
    /// Serves the segment of the host's `eth0` until it is dropped, with dnsmasq's flags. It serves names only if these say
    /// so with a `--port`. What it remembers is in `NAME.leases` in the host's folder.
    ///
    /// # Errors
    /// When the program is missing, or ends at once.
    pub fn start(host: &Host, name: &str, flags: &[&str]) -> anyhow::Result<Self> {
        let root = Programs::package("dnsmasq")?;
        let mut command = Command::new(root.join("usr/sbin/dnsmasq"));
        command.env("LD_LIBRARY_PATH", root.join("usr/lib/x86_64-linux-gnu"));
        command.args([
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
        ]);
        command.args(["--user=root", "--pid-file=", "--log-dhcp", "--log-facility=-"]);
        command.args(["--interface=eth0", "--bind-interfaces", "--dhcp-authoritative"]);
        // Whether an address is taken is for the client to find out, which takes a second less.
        command.arg("--no-ping");
        let leases = host.folder().join(format!("{name}.leases"));
        command.arg(format!("--dhcp-leasefile={}", leases.display()));
        if !flags.iter().any(|flag| flag.starts_with("--port")) {
            command.arg("--port=0");
        }
        command.args(flags);
        let mut server = Self {
            process: host.start(name, command)?,
        };
        let started = wait_for("the DHCP server to start", Duration::from_secs(20), || {
            let log = server.log();
            let runs = server.process.running();
            anyhow::ensure!(!runs || log.contains("started, version"), "not yet");
            Ok(runs)
        });
        match started {
            Ok(true) => Ok(server),
            _ => anyhow::bail!("dnsmasq said: {}", server.log()),
        }
    }

    /// What it logged.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// How often its log has a line with both texts.
    pub fn count(&self, what: &str, which: &str) -> usize {
        let log = self.log();
        log.lines()
            .filter(|line| line.contains(what) && line.contains(which))
            .count()
    }

    /// Ends it.
    ///
    /// # Errors
    /// When it has ended already.
    pub fn stop(mut self) -> anyhow::Result<()> {
        self.process.kill().context("stopping the DHCP server")
    }
}
