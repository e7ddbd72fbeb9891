//! A real containerd of Debian's with its `ctr run --cni`: it names the namespace by a process, `/proc/PID/ns/net`.

use std::{path::PathBuf, process::Command, time::Duration};

use anyhow::{Context as _, ensure};
use netlab::{Daemon, DaemonOptions, Lab, Programs, busybox_archive, wait_for};
use serde_json::json;

use crate::pods::{SOON, Test};

const SOCKET: &str = "/run/containerd/containerd.sock";

#[test]
fn containers_of_a_real_containerd_are_on_our_network() -> Test {
    let mut lab = Lab::new()?;
    // Its package comes with docker's, the folder of plugins with podman's.
    let host = lab.host("a")?.with_packages(&["dockerd", "podman"])?;
    let programs = Programs::find()?;
    let daemon = Daemon::start(&host, &programs, DaemonOptions::default())?;
    daemon.import_busybox()?;
    daemon.ok("network create --subnet 10.77.0.0/24 lan")?;
    daemon.ok("run -d --name ours --network lan busybox sleep 600")?;
    let write = |path: &str, text: &str| {
        let mut tee = Command::new("tee");
        tee.arg(path);
        host.run_command(tee, text.as_bytes())?.ok()
    };
    let list = json!({
        "cniVersion": "0.4.0", "name": "lan",
        "plugins": [{"type": "cnm-cni", "network": "lan", "socket": daemon.socket()}],
    });
    let plugin = programs.ours("cnm-cni");
    // `/opt` is the machine's own: a folder of the lab's lies over it.
    let script = format!(
        "mkdir {own} && mount --bind {own} /opt && mkdir -p /opt/cni/bin && cp {plugin} /opt/cni/bin/ && \
         rm -f /etc/cni/net.d/*",
        own = host.folder().join("opt").display(),
        plugin = plugin.display(),
    );
    host.run("sh", &["-c", &script])?.ok()?;
    write("/etc/cni/net.d/10-lan.conflist", &list.to_string())?;
    let containerd = containerd(&host)?;
    let rootfs = unpacked(&host)?;
    let ctr = |line: &str| {
        let mut command = Command::new("ctr");
        command.args(["--address", SOCKET]).args(line.split(' '));
        host.run_command(command, &[])?.ok()
    };
    let group = format!(
        "/{}-ctr",
        host.netns().file_name().unwrap_or_default().to_string_lossy()
    );
    let run = |name: &str| {
        ctr(&format!(
            "run -d --cni --cap-add CAP_NET_RAW --cgroup {group} --rootfs {} {name} /bin/sleep 600",
            rootfs.display()
        ))
    };
    run("theirs")?;
    let listed = daemon.cnm_ok("sandbox ls --format {{.Manager}}={{.Addresses}}")?;
    let address = listed
        .strip_prefix("cni=")
        .and_then(|address| address.strip_suffix("/24"))
        .with_context(|| listed.clone())?;
    daemon.ok(&format!("exec ours ping -c1 -W5 {address}"))?;
    let ours = daemon.address_of("ours", "lan")?;
    ctr(&format!("task exec --exec-id p1 theirs /bin/ping -c1 -W5 {ours}"))?;

    // Its process ends, and with it the path to the namespace: ctr removes the network of what it still knows.
    ctr("task kill --signal SIGKILL theirs")?;
    wait_for("the namespace's end to be seen", SOON, || {
        let left = daemon.cnm_ok("sandbox ls -q")?;
        ensure!(left.is_empty(), "{left}");
        Ok(())
    })?;
    let _ = ctr("task rm -f theirs");
    ctr("container rm theirs")?;
    daemon.ok("rm -f ours")?;
    daemon.ok("network rm lan")?;
    drop(containerd);
    Ok(())
}

fn containerd(host: &netlab::Host) -> anyhow::Result<netlab::Process> {
    let config = host.folder().join("containerd.toml");
    std::fs::write(
        &config,
        "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n",
    )?;
    let mut command = Command::new("containerd");
    command.arg("--config").arg(config);
    command.arg("--root").arg(host.folder().join("containerd"));
    command.args([
        "--state",
        "/run/containerd",
        "--address",
        SOCKET,
        "--log-level",
        "warn",
    ]);
    let process = host.start("containerd", command)?;
    wait_for("containerd to answer", Duration::from_secs(30), || {
        let answer = host.run("ctr", &["--address", SOCKET, "version"])?.ok();
        answer.with_context(|| process.log())
    })?;
    Ok(process)
}

/// busybox as a folder.
fn unpacked(host: &netlab::Host) -> anyhow::Result<PathBuf> {
    let folder = host.folder().join("rootfs");
    std::fs::create_dir_all(&folder)?;
    let archive = busybox_archive(host.folder())?;
    let mut tar = Command::new("tar");
    tar.arg("-x").arg("-C").arg(&folder);
    host.run_command(tar, &archive)?.ok()?;
    Ok(folder)
}
