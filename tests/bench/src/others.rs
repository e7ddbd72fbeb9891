//! The incumbents: dockerd of Debian through its API, podman through its command line where it is on PATH.

use std::{path::PathBuf, process::Command};

use netlab::{Api, Dockerd, Host, Lab};
use serde_json::json;

use crate::{
    containers::live,
    report::{Row, Samples},
    setup::{IMAGE, create_network, import, sleeper},
};

/// Those that were found.
#[derive(Debug, Default)]
pub(crate) struct Others {
    found: Vec<Other>,
}

/// One incumbent on a host of its own.
#[derive(Debug)]
pub(crate) struct Other {
    name: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Dockerd { api: Api, daemon: Box<Dockerd> },
    Podman { host: Host, program: PathBuf },
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}

impl Others {
    /// Looks for them and starts what has to run.
    pub(crate) fn start(lab: &mut Lab) -> anyhow::Result<Self> {
        let mut found = Vec::new();
        match dockerd(lab) {
            Ok(dockerd) => found.push(dockerd),
            Err(error) => println!("without dockerd: {error:#}\n"),
        }
        if let Some(program) = on_path("podman") {
            let host = lab.host("podman")?;
            found.push(Other {
                name: "podman".to_owned(),
                kind: Kind::Podman { host, program },
            });
        }
        Ok(Self { found })
    }

    /// Brings the image to all.
    pub(crate) fn import(&self, archive: &[u8]) -> anyhow::Result<()> {
        for other in &self.found {
            match &other.kind {
                Kind::Dockerd { api, .. } => import(api, archive.to_owned())?,
                Kind::Podman { host, program } => {
                    let mut command = podman_command(host, program);
                    command.args(["import", "-", "bench:latest"]);
                    host.run_command(command, archive)?.ok()?;
                }
            }
        }
        Ok(())
    }

    /// Gives each row a place for each incumbent's samples.
    pub(crate) fn start_rows(&self, rows: &mut [&mut Row]) -> &[Other] {
        for row in rows {
            row.others = self
                .found
                .iter()
                .map(|other| (other.name.clone(), Samples::default()))
                .collect();
        }
        &self.found
    }
}

/// The package as `tests/packages.sh` brings it.
fn dockerd(lab: &mut Lab) -> anyhow::Result<Other> {
    let host = lab.host("dockerd")?.with_packages(&["dockerd"])?;
    let daemon = Dockerd::start(&host, &[])?;
    let api = daemon.api();
    let version = api.get("/version")?["Version"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    Ok(Other {
        name: format!("dockerd {version}"),
        kind: Kind::Dockerd {
            api,
            daemon: Box::new(daemon),
        },
    })
}

fn podman_command(host: &Host, program: &PathBuf) -> Command {
    let mut command = Command::new(program);
    for (flag, name) in [
        ("--root", "data"),
        ("--runroot", "run"),
        ("--network-config-dir", "net"),
    ] {
        command.arg(flag).arg(host.folder().join(name));
    }
    command
}

impl Other {
    fn podman(host: &Host, program: &PathBuf, arguments: &[&str]) -> anyhow::Result<()> {
        let mut command = podman_command(host, program);
        command.args(arguments);
        host.run_command(command, &[])?.ok().map(drop)
    }

    /// `network create`.
    pub(crate) fn create_network(&self, name: &str) -> anyhow::Result<()> {
        match &self.kind {
            Kind::Dockerd { api, .. } => create_network(api, name, "bridge").map(drop),
            Kind::Podman { host, program } => Self::podman(host, program, &["network", "create", name]),
        }
    }

    /// `network rm`.
    pub(crate) fn remove_network(&self, name: &str) -> anyhow::Result<()> {
        match &self.kind {
            Kind::Dockerd { api, .. } => api.delete(&format!("/networks/{name}")).map(drop),
            Kind::Podman { host, program } => Self::podman(host, program, &["network", "rm", name]),
        }
    }

    /// What `connect` needs: the networks and a running container on none of them.
    pub(crate) fn prepare_connect(&self, networks: &[String]) -> anyhow::Result<()> {
        for network in networks {
            self.create_network(network)?;
        }
        match &self.kind {
            Kind::Dockerd { api, .. } => sleeper(api, "bench-sleeper", "bridge").map(drop),
            Kind::Podman { host, program } => {
                let line = [
                    "run",
                    "-d",
                    "--name",
                    "bench-sleeper",
                    "--network",
                    "podman",
                    "bench",
                    "sleep",
                    "3600",
                ];
                Self::podman(host, program, &line)
            }
        }
    }

    /// `network connect` or `network disconnect`.
    pub(crate) fn attach(&self, verb: &str, network: &str) -> anyhow::Result<()> {
        match &self.kind {
            Kind::Dockerd { api, .. } => {
                let body = json!({"Container": "bench-sleeper"});
                api.post(&format!("/networks/{network}/{verb}"), &body).map(drop)
            }
            Kind::Podman { host, program } => {
                Self::podman(host, program, &["network", verb, network, "bench-sleeper"])
            }
        }
    }

    /// Undoes [`Other::prepare_connect`].
    pub(crate) fn end_connect(&self, networks: &[String]) -> anyhow::Result<()> {
        match &self.kind {
            Kind::Dockerd { api, .. } => drop(api.delete("/containers/bench-sleeper?force=1")?),
            Kind::Podman { host, program } => {
                Self::podman(host, program, &["rm", "-f", "-t", "0", "bench-sleeper"])?;
            }
        }
        networks
            .iter()
            .try_for_each(|network| self.remove_network(network))
    }

    /// A container's whole life, `true` inside.
    pub(crate) fn run_true(&self, network: &str) -> anyhow::Result<()> {
        match &self.kind {
            Kind::Dockerd { api, .. } => live(api, network),
            Kind::Podman { .. } => self.run_command(network),
        }
    }

    /// The same in one command.
    pub(crate) fn run_command(&self, network: &str) -> anyhow::Result<()> {
        match &self.kind {
            Kind::Dockerd { daemon, .. } => {
                let line = ["run", "--rm", "--network", network, IMAGE, "true"];
                daemon.docker(&line)?.ok().map(drop)
            }
            Kind::Podman { host, program } => {
                let network = if network == "bridge" { "podman" } else { network };
                let line = ["run", "--rm", "--network", network, "bench", "true"];
                Self::podman(host, program, &line)
            }
        }
    }
}
