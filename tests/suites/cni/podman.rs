//! A real podman of Debian's, which finds its networks by CNI, on a host of ours.

use std::process::Command;

use anyhow::{Context as _, ensure};
use netlab::{Daemon, DaemonOptions, Host, Lab, Programs, busybox_archive, wait_for};
use serde_json::json;

use crate::pods::{SOON, Test};

/// A host with podman and our daemon. Fields are dropped in order.
struct Podman {
    daemon: Daemon,
    host: Host,
    _lab: Lab,
}

impl Podman {
    fn new() -> anyhow::Result<Self> {
        let mut lab = Lab::new()?;
        let host = lab.host("a")?.with_packages(&["podman"])?;
        let programs = Programs::find()?;
        let daemon = Daemon::start(&host, &programs, DaemonOptions::default())?;
        daemon.import_busybox()?;
        let podman = Self {
            daemon,
            host,
            _lab: lab,
        };
        podman.write(
            "/etc/containers/containers.conf",
            "[network]\nnetwork_backend = \"cni\"\n",
        )?;
        let list = json!({
            "cniVersion": "0.4.0", "name": "lan",
            "plugins": [{
                "type": "cnm-cni", "network": "lan", "socket": podman.daemon.socket(),
                "capabilities": {"ips": true, "mac": true, "portMappings": true, "aliases": true},
            }],
        });
        podman.write("/etc/cni/net.d/lan.conflist", &list.to_string())?;
        let plugin = programs.ours("cnm-cni");
        let plugin = plugin.to_str().context("a path of UTF-8")?;
        podman.host.run("cp", &[plugin, "/usr/lib/cni/"])?.ok()?;
        let archive = busybox_archive(podman.host.folder())?;
        let mut import = podman.command();
        import.args(["import", "-", "busybox"]);
        podman.host.run_command(import, &archive)?.ok()?;
        Ok(podman)
    }

    fn write(&self, path: &str, text: &str) -> Test {
        let mut tee = Command::new("tee");
        tee.arg(path);
        self.host.run_command(tee, text.as_bytes())?.ok().map(drop)
    }

    fn command(&self) -> Command {
        let mut command = Command::new("podman");
        let folder = self.host.folder();
        command.arg("--root").arg(folder.join("podman"));
        command.arg("--runroot").arg(folder.join("podman-run"));
        command.args([
            "--storage-driver",
            "vfs",
            "--cgroup-manager",
            "cgroupfs",
            "--runtime",
            "runc",
            "--events-backend",
            "none",
        ]);
        command.env("HOME", folder);
        command
    }

    /// `podman` with one line of arguments (split at spaces), which must succeed.
    fn ok(&self, line: &str) -> anyhow::Result<String> {
        let mut command = self.command();
        command.args(line.split(' '));
        self.host.run_command(command, &[])?.ok()
    }

    fn run(&self, name: &str, flags: &str) -> anyhow::Result<String> {
        let flags = flags.split(' ').filter(|flag| !flag.is_empty());
        let mut command = self.command();
        command.args(["run", "-d", "--name", name, "--network", "lan"]);
        let lab = self.host.netns().file_name().unwrap_or_default();
        command
            .arg("--cgroup-parent")
            .arg(format!("/{}-podman", lab.to_string_lossy()));
        // As many as anybody may have: podman would ask for more.
        command.args(["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]);
        command.args([
            "--security-opt",
            "seccomp=unconfined",
            "--stop-signal",
            "KILL",
            "--cap-add",
            "NET_RAW",
        ]);
        command.args(flags).args(["busybox", "sleep", "600"]);
        self.host.run_command(command, &[])?.ok()
    }
}

#[test]
fn containers_of_a_real_podman_are_on_our_network() -> Test {
    let mut podman = Podman::new()?;
    podman.daemon.ok("network create --subnet 10.77.0.0/24 lan")?;
    podman
        .daemon
        .ok("run -d --name ours --network lan busybox sleep 600")?;
    let ours = podman.daemon.address_of("ours", "lan")?;
    podman.run("theirs", "-p 8081:80 --network-alias other")?;
    podman.ok(&format!("exec theirs ping -c1 -W5 {ours}"))?;
    podman.ok("exec theirs ping -c1 -W5 ours")?;
    podman.daemon.ok("exec ours ping -c1 -W5 theirs")?;
    podman.daemon.ok("exec ours ping -c1 -W5 other")?;
    let shown = podman.ok("inspect -f {{.NetworkSettings.Networks.lan.IPAddress}} theirs")?;
    let listed = podman
        .daemon
        .cnm_ok("sandbox ls --format {{.Names}}={{.Addresses}}")?;
    assert_eq!(listed, format!("theirs={shown}/24"));

    podman.ok("stop theirs")?;
    podman.ok("start theirs")?;
    podman.daemon.ok("exec ours ping -c1 -W5 theirs")?;
    podman.run("fixed", "--ip 10.77.0.99 --mac-address 02:00:00:00:00:99")?;
    podman.daemon.ok("exec ours ping -c1 -W5 10.77.0.99")?;
    let link = podman.ok("exec fixed ip link show dev eth0")?;
    ensure!(link.contains("02:00:00:00:00:99"), "{link}");

    podman.daemon.kill()?;
    podman.ok("exec fixed ping -c1 -W5 theirs")?;
    // Nobody answers, and podman goes on without: the namespace ends.
    podman.ok("rm -f theirs")?;
    podman.daemon.start_again()?;
    wait_for("what podman could not take back to go", SOON, || {
        let left = podman.daemon.cnm_ok("sandbox ls --format {{.Names}}")?;
        ensure!(left == "fixed", "{left}");
        Ok(())
    })?;
    podman.ok("rm -f fixed")?;
    let left = podman.daemon.cnm_ok("sandbox ls -q")?;
    ensure!(left.is_empty(), "{left}");
    podman.daemon.ok("rm -f ours")?;
    podman.daemon.ok("network rm lan").map(drop)
}
