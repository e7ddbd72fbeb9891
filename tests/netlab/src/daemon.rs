//! A daemon on a host of the lab, with roots, socket and cgroup of its own.

use std::{path::PathBuf, process::Command, time::Duration};

use anyhow::Context as _;

use crate::{
    api::Api,
    host::Host,
    process::{Finished, Process},
    programs::Programs,
    wait::wait_for,
};

/// How a daemon is started.
#[derive(Debug, Clone, Default)]
pub struct DaemonOptions {
    /// `--cluster-store`, if any.
    pub cluster_store: Option<String>,
    /// More flags.
    pub flags: Vec<String>,
}

/// A running daemon. Dropping it stops it; its containers are removed with the lab.
#[derive(Debug)]
pub struct Daemon {
    host: Host,
    programs: Programs,
    options: DaemonOptions,
    process: Option<Process>,
    docker: Option<PathBuf>,
}

impl Daemon {
    /// Starts `cnmd` on a host and waits until it answers.
    ///
    /// # Errors
    /// When it does not answer within 30 s: with its log.
    pub fn start(host: &Host, programs: &Programs, options: DaemonOptions) -> anyhow::Result<Self> {
        let mut daemon = Self {
            host: host.clone(),
            programs: programs.clone(),
            options,
            process: None,
            docker: None,
        };
        daemon.start_again()?;
        Ok(daemon)
    }

    /// Starts it (again) on the same roots.
    ///
    /// # Errors
    /// When it does not answer within 30 s: with its log.
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        let mut command = Command::new(self.programs.ours("cnmd"));
        command.arg("--data-root").arg(self.data_root());
        command.arg("--exec-root").arg(self.exec_root());
        command.args(["--host", &self.url(), "--cgroup-parent", &self.cgroup_parent()]);
        // No file of the machine's own daemon is read.
        let config = self.host.folder().join("daemon.json");
        if !config.exists() {
            std::fs::write(&config, "{}")?;
        }
        command.arg("--config-file").arg(config);
        if let Some(store) = &self.options.cluster_store {
            command.args(["--cluster-store", store]);
            command.args(["--cluster-advertise", &format!("{}:2376", self.host.address())]);
        }
        command.args(&self.options.flags);
        let mut process = self.host.start("cnmd", command)?;
        let api = self.api();
        let ready = wait_for("the daemon to answer", Duration::from_secs(30), || {
            // Waiting for one that has ended is in vain.
            if process.running() {
                api.get("/_ping").map(|_| true)
            } else {
                Ok(false)
            }
        });
        let ready = ready.and_then(|answers| {
            anyhow::ensure!(answers, "it has ended");
            Ok(())
        });
        ready.with_context(|| format!("cnmd on {} said: {}", self.host.name(), process.log()))?;
        self.process = Some(process);
        Ok(())
    }

    /// The flags of its next start.
    pub fn flags_mut(&mut self) -> &mut Vec<String> {
        &mut self.options.flags
    }

    /// `kill -9`, and waits for its end.
    ///
    /// # Errors
    /// When it isn't running.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.process.take().context("the daemon isn't running")?.kill()
    }

    /// SIGTERM, and waits for its end.
    ///
    /// # Errors
    /// When it isn't running or does not end within half a minute.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        self.process
            .take()
            .context("the daemon isn't running")?
            .stop()
            .map(drop)
    }

    /// Puts copies of the programs at another place, ends the running daemon with SIGTERM and starts the new one: what an
    /// upgrade does. Helpers and shims of the old programs go on.
    ///
    /// # Errors
    /// When the programs can't be copied, or as [`Daemon::stop`] and [`Daemon::start_again`].
    pub fn upgrade(&mut self) -> anyhow::Result<()> {
        self.programs = self.programs.copied_to(&self.host.folder().join("upgrade"))?;
        self.stop()?;
        self.start_again()
    }

    /// Its process id.
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// What it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.host.folder().join("cnmd.log")).unwrap_or_default()
    }

    /// The host it runs on.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Folder of what survives.
    pub fn data_root(&self) -> PathBuf {
        self.host.folder().join("data")
    }

    /// Folder of what doesn't.
    pub fn exec_root(&self) -> PathBuf {
        self.host.folder().join("run")
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.host.folder().join("cnm.sock")
    }

    /// Its socket as `DOCKER_HOST` has it.
    pub fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Its containers' cgroup.
    pub fn cgroup_parent(&self) -> String {
        let lab = self
            .host
            .netns()
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or("cnmlab");
        format!("/{lab}")
    }

    /// A client of its API.
    pub fn api(&self) -> Api {
        Api::at(self.socket())
    }

    /// Runs `cnm ARGUMENTS` against it.
    ///
    /// # Errors
    /// When it can't be started or does not end; not when the command fails.
    pub fn cnm(&self, arguments: &[&str]) -> anyhow::Result<Finished> {
        self.client(self.programs.ours("cnm"), arguments, &[])
    }

    /// Runs `docker ARGUMENTS` against it.
    ///
    /// # Errors
    /// When it can't be started or does not end; not when the command fails.
    pub fn docker(&self, arguments: &[&str]) -> anyhow::Result<Finished> {
        self.client(self.docker_program()?, arguments, &[])
    }

    /// The `docker` command that is used.
    ///
    /// # Errors
    /// When there is none: the message says how to bring it.
    pub fn docker_program(&self) -> anyhow::Result<PathBuf> {
        match &self.docker {
            Some(program) => Ok(program.clone()),
            None => Programs::peer("docker"),
        }
    }

    /// Uses another `docker` command from now on.
    pub fn use_docker(&mut self, program: PathBuf) {
        self.docker = Some(program);
    }

    /// Runs a client against it with standard input.
    ///
    /// # Errors
    /// When it can't be started or does not end; not when the command fails.
    pub fn client(&self, program: PathBuf, arguments: &[&str], input: &[u8]) -> anyhow::Result<Finished> {
        let mut command = self.client_command(program);
        command.args(arguments);
        self.host.run_command(command, input)
    }

    /// A client's command with the environment that leads it here.
    pub fn client_command(&self, program: PathBuf) -> Command {
        let mut command = Command::new(program);
        command.env("DOCKER_HOST", self.url()).env("CNM_HOST", self.url());
        // A client's own configuration (contexts, credentials, plugins) must not matter.
        command
            .env("DOCKER_CONFIG", self.host.folder().join("docker-config"))
            .env("HOME", self.host.folder());
        command
    }
}
