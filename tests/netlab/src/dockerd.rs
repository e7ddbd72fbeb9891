//! A real dockerd on a host of the lab, as a neighbour of ours.

use std::{path::PathBuf, process::Command, time::Duration};

use anyhow::Context as _;

use crate::{
    api::Api,
    host::Host,
    image::busybox_archive,
    process::{Finished, Process},
    programs::Programs,
    wait::wait_for,
};

/// Where containerd listens.
const CONTAINERD: &str = "/run/containerd/containerd.sock";

/// A running dockerd with the image `busybox`. The host must have its package ([`Host::with_packages`]).
#[derive(Debug)]
pub struct Dockerd {
    host: Host,
    flags: Vec<String>,
    process: Option<Process>,
    /// A process of its own, as the packages have it: what runs outlives dockerd.
    _containerd: Process,
}

impl Dockerd {
    /// Starts it and waits until it answers.
    ///
    /// # Errors
    /// When it does not answer within 30 s (with its log), or refuses the image.
    pub fn start(host: &Host, flags: &[&str]) -> anyhow::Result<Self> {
        let mut docker = Self {
            host: host.clone(),
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            process: None,
            _containerd: containerd(host)?,
        };
        docker.start_again()?;
        let archive = busybox_archive(host.folder())?;
        let mut import = docker.client()?;
        import.args(["import", "-", "busybox"]);
        host.run_command(import, &archive)?
            .ok()
            .context("importing busybox")?;
        Ok(docker)
    }

    /// Starts it (again) on the same roots.
    ///
    /// # Errors
    /// When it does not answer within 30 s: with its log.
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        let config = self.host.folder().join("dockerd.json");
        std::fs::write(&config, "{}")?;
        let lab = self.host.netns().file_name().unwrap_or_default();
        let mut command = Command::new("dockerd");
        command.arg("--config-file").arg(config);
        command.arg("--data-root").arg(self.host.folder().join("docker"));
        command.args(["--exec-root", "/run/docker", "--pidfile", "/run/docker.pid"]);
        command.args(["--containerd", CONTAINERD]);
        command.args(["--exec-opt", "native.cgroupdriver=cgroupfs"]);
        command
            .arg("--cgroup-parent")
            .arg(format!("/{}-docker", lab.to_string_lossy()));
        command.args(["--host", &self.url(), "--log-level", "warn"]);
        command.args(&self.flags);
        let mut process = self.host.start("dockerd", command)?;
        let ready = wait_for("dockerd to answer", Duration::from_secs(30), || {
            if process.running() {
                self.ok("version").map(|_| true)
            } else {
                Ok(false)
            }
        });
        let ready = ready.and_then(|answers| {
            anyhow::ensure!(answers, "it has ended");
            Ok(())
        });
        ready.with_context(|| format!("dockerd said: {}", process.log()))?;
        self.process = Some(process);
        Ok(())
    }

    /// SIGTERM, and waits for its end.
    ///
    /// # Errors
    /// When it isn't running or does not end within half a minute.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        let mut process = self.process.take().context("dockerd isn't running")?;
        process.stop().map(drop)
    }

    /// `kill -9`, and waits for its end. Its containers go on.
    ///
    /// # Errors
    /// When it isn't running.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.process.take().context("dockerd isn't running")?.kill()?;
        // Who comes next takes a file with a living process's id in it for a running daemon.
        self.host.run("rm", &["-f", "/run/docker.pid"])?.ok().map(drop)
    }

    /// The host that it runs on.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// `docker` with one line of arguments (split at spaces), which must succeed: what it printed.
    ///
    /// # Errors
    /// When it fails.
    pub fn ok(&self, line: &str) -> anyhow::Result<String> {
        self.docker(&line.split(' ').collect::<Vec<_>>())?.ok()
    }

    /// `docker` with one line, repeated until it succeeds.
    ///
    /// # Errors
    /// When it still fails after ten seconds.
    pub fn eventually(&self, line: &str) -> anyhow::Result<String> {
        wait_for(line, Duration::from_secs(10), || self.ok(line))
    }

    /// Runs a container with a web server on port 80 that answers with its name; `flags` go before the image.
    ///
    /// # Errors
    /// When it can't be started or does not listen.
    pub fn web(&self, name: &str, flags: &str) -> anyhow::Result<()> {
        let serve = format!("echo {name} > /var/www/index.html; exec httpd -f -p 80 -h /var/www");
        // A web server that is a container's first process ignores SIGTERM.
        let mut line = vec![
            "run",
            "-d",
            "--restart",
            "always",
            "--stop-signal",
            "KILL",
            "--name",
            name,
        ];
        line.extend(flags.split(' ').filter(|word| !word.is_empty()));
        line.extend(["busybox", "sh", "-c", &serve]);
        self.docker(&line)?.ok()?;
        self.eventually(&format!("exec {name} wget -q -O - -T 2 http://127.0.0.1/"))?;
        Ok(())
    }

    /// `docker` with arguments, however it ends.
    ///
    /// # Errors
    /// When it does not end.
    pub fn docker(&self, arguments: &[&str]) -> anyhow::Result<Finished> {
        let mut command = self.client()?;
        command.args(arguments);
        self.host.run_command(command, &[])
    }

    fn client(&self) -> anyhow::Result<Command> {
        let mut command = Command::new(Programs::peer("docker")?);
        command.env("DOCKER_HOST", self.url());
        command
            .env("DOCKER_CONFIG", self.host.folder().join("docker-config"))
            .env("HOME", self.host.folder());
        Ok(command)
    }

    /// A client of its API.
    pub fn api(&self) -> Api {
        Api::at(self.socket())
    }

    fn socket(&self) -> PathBuf {
        self.host.folder().join("docker.sock")
    }

    fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }
}

/// Starts the containerd of a host.
fn containerd(host: &Host) -> anyhow::Result<Process> {
    let config = host.folder().join("containerd.toml");
    let off = r#"disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.devmapper"]"#;
    std::fs::write(&config, format!("version = 2\n{off}\n"))?;
    let mut command = Command::new("containerd");
    command.arg("--config").arg(config);
    command.arg("--root").arg(host.folder().join("containerd"));
    command.args([
        "--address",
        CONTAINERD,
        "--state",
        "/run/containerd",
        "--log-level",
        "warn",
    ]);
    let process = host.start("containerd", command)?;
    wait_for("containerd", Duration::from_secs(30), || {
        host.run("test", &["-S", CONTAINERD])?.ok()
    })
    .with_context(|| format!("containerd said: {}", process.log()))?;
    Ok(process)
}
