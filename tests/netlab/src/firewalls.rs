//! Real firewalls on a host of the lab: ufw, and firewalld with the message bus that it wants.

use std::{fs, process::Command, time::Duration};

use anyhow::Context as _;

use crate::{host::Host, process::Process, wait::wait_for};

/// A bus where root may do anything.
const BUS: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=/run/dbus/system_bus_socket</listen>
  <policy context="default">
    <allow user="*"/><allow own="*"/>
    <allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow send_type="signal"/>
  </policy>
</busconfig>
"#;

/// A running firewalld. The host must have its package ([`Host::with_packages`]). Fields are dropped in order.
#[derive(Debug)]
pub struct Firewalld {
    host: Host,
    process: Option<Process>,
    _bus: Process,
}

impl Firewalld {
    /// Starts a bus and it.
    ///
    /// # Errors
    /// When it does not answer within 30 s: with its log.
    pub fn start(host: &Host) -> anyhow::Result<Self> {
        let config = host.folder().join("bus.conf");
        fs::write(&config, BUS)?;
        host.run("mkdir", &["-p", "/run/dbus"])?.ok()?;
        let mut command = Command::new("dbus-daemon");
        command
            .args(["--nofork", "--nopidfile", "--config-file"])
            .arg(config);
        let bus = host.start("dbus", command)?;
        wait_for("the message bus", Duration::from_secs(10), || {
            host.run("test", &["-S", "/run/dbus/system_bus_socket"])?.ok()
        })
        .with_context(|| format!("the bus said: {}", bus.log()))?;
        let mut firewalld = Self {
            host: host.clone(),
            process: None,
            _bus: bus,
        };
        firewalld.start_again()?;
        Ok(firewalld)
    }

    /// Starts it (again).
    ///
    /// # Errors
    /// When it does not answer within 30 s: with its log.
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        let mut command = Command::new("firewalld");
        command.args(["--nofork", "--nopid"]);
        let process = self.host.start("firewalld", command)?;
        wait_for("firewalld", Duration::from_secs(30), || self.cmd("--state"))
            .with_context(|| format!("firewalld said: {}", process.log()))?;
        self.process = Some(process);
        Ok(())
    }

    /// SIGTERM, and waits for its end; its rules go with it.
    ///
    /// # Errors
    /// When it isn't running or does not end within half a minute.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        self.process
            .take()
            .context("firewalld isn't running")?
            .stop()
            .map(drop)
    }

    /// `firewall-cmd` with one line of arguments, which must succeed: what it printed.
    ///
    /// # Errors
    /// When it fails.
    pub fn cmd(&self, line: &str) -> anyhow::Result<String> {
        self.host
            .run("firewall-cmd", &line.split(' ').collect::<Vec<_>>())?
            .ok()
    }
}

/// Gives an unpacked ufw the rules that its installation copies. `ufw --force enable` starts it.
///
/// # Errors
/// When they can't be copied.
pub fn prepare_ufw(host: &Host) -> anyhow::Result<()> {
    let copy =
        "cd /usr/share/ufw && cp iptables/*.rules *.init ufw.conf /etc/ufw/ && chmod 640 /etc/ufw/*.rules";
    host.run("sh", &["-c", copy])?.ok().map(drop)
}
