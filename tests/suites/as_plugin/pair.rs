//! Hosts with a stock dockerd and our daemon as its plugin; two of them share a store.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use netlab::{Daemon, DaemonOptions, Dockerd, Host, Lab, Process, Programs, Store, wait_for};

pub(crate) type Test = anyhow::Result<()>;

/// What is learnt, entered and seen on another host, is so within it.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// A dockerd with its plugin. Fields are dropped in order: dockerd gives its endpoints back first.
pub(crate) struct Site {
    pub(crate) docker: Dockerd,
    pub(crate) cnm: Daemon,
    pub(crate) host: Host,
}

/// The newest dockerd that is there. What Debian's unstable release has changes every day, so it joins in where somebody
/// has brought it.
pub(crate) fn newest() -> &'static str {
    match Programs::is_brought("dockerd-28") {
        true => "dockerd-28",
        false => "dockerd-26",
    }
}

/// Debian's of three releases, as far as they are there: 20.10, 26 and the newest.
pub(crate) fn every() -> Vec<&'static str> {
    let mut all = vec!["dockerd", "dockerd-26", "dockerd-28"];
    all.retain(|package| *package != "dockerd-28" || Programs::is_brought(package));
    all
}

impl Site {
    fn start(host: &Host, package: &str, store: Option<String>, flags: &[&str]) -> anyhow::Result<Self> {
        let host = host.clone().with_packages(match package {
            "dockerd" => &["dockerd"],
            "dockerd-26" => &["dockerd-26", "dockerd"],
            _ => &["dockerd-28", "dockerd"],
        })?;
        let socket = host.folder().join("docker.sock");
        let options = DaemonOptions {
            cluster_store: store,
            flags: [
                "--docker-plugin",
                "--docker-socket",
                &socket.to_string_lossy(),
                "--bridge",
                "none",
            ]
            .map(str::to_owned)
            .to_vec(),
        };
        // As the units have it: the plugin first.
        let cnm = Daemon::start(&host, &Programs::find()?, options)?;
        let docker = Dockerd::start(&host, flags)?;
        Ok(Self { docker, cnm, host })
    }

    /// One host without a store.
    pub(crate) fn alone(package: &str, flags: &[&str]) -> anyhow::Result<(Self, Lab)> {
        let mut lab = Lab::new()?;
        let host = lab.host("a")?;
        Ok((Self::start(&host, package, None, flags)?, lab))
    }

    /// `docker` with one line, which must succeed: what it printed, and the daemons' logs where it doesn't.
    pub(crate) fn ok(&self, line: &str) -> anyhow::Result<String> {
        self.docker
            .ok(line)
            .with_context(|| format!("docker {line} on {}", self.host.name()))
    }

    /// The same, which must fail: what it complained of.
    pub(crate) fn refused(&self, line: &str) -> anyhow::Result<String> {
        self.docker.docker(&line.split(' ').collect::<Vec<_>>())?.failed()
    }

    /// The same, repeated until it succeeds.
    pub(crate) fn soon(&self, line: &str) -> anyhow::Result<String> {
        wait_for(line, SOON, || self.ok(line))
    }

    /// `cnm` with one line, which must succeed.
    pub(crate) fn cnm(&self, line: &str) -> anyhow::Result<String> {
        self.cnm.cnm(&line.split(' ').collect::<Vec<_>>())?.ok()
    }

    /// Runs a line on the host, which must succeed.
    pub(crate) fn run(&self, line: &str) -> anyhow::Result<String> {
        let words: Vec<_> = line.split(' ').collect();
        self.host.run(words[0], &words[1..])?.ok()
    }

    /// Makes a Docker network of the network `name` with everything else in `flags`.
    pub(crate) fn network(&self, name: &str, flags: &str) -> anyhow::Result<String> {
        self.ok(&create(name, flags))
    }

    /// A container that sleeps, and listens to the signal that ends it.
    pub(crate) fn sleeper(&self, name: &str, flags: &str) -> Test {
        self.ok(&format!(
            "run -d --name {name} --restart always --stop-signal KILL {flags} busybox sleep 3600"
        ))
        .map(drop)
    }

    /// A container reaches another one by its name.
    pub(crate) fn reaches(&self, from: &str, to: &str) -> Test {
        self.soon(&format!("exec {from} ping -c1 -W2 {to}")).map(drop)
    }

    /// Whether an interface, a bridge or a namespace of ours is left on the host.
    pub(crate) fn nothing_is_left(&self) -> Test {
        wait_for("nothing to be left", SOON, || {
            let links = self.run("ip -o link")?;
            let ours = ["cnm0", "cnmx", "veth", "br-", "mv-"];
            let left: Vec<_> = links
                .lines()
                .filter(|line| {
                    let name = line.split(": ").nth(1).unwrap_or_default();
                    ours.iter().any(|ours| name.starts_with(ours))
                        || name.starts_with("cnm") && name.len() >= 14
                })
                .collect();
            ensure!(left.is_empty(), "{left:?}");
            Ok(())
        })
    }
}

/// The line that makes a Docker network of the network `name`.
pub(crate) fn create(name: &str, flags: &str) -> String {
    format!(
        "network create -d cnm -o cnm.network={name} --ipam-driver cnm --ipam-opt cnm.network={name} {flags} {name}"
    )
}

/// Two hosts, the first with Debian's dockerd and the second with the newest, and a store. Fields are dropped in order.
pub(crate) struct Pair {
    pub(crate) a: Site,
    pub(crate) b: Site,
    _store: Option<Process>,
    _lab: Lab,
}

impl Pair {
    pub(crate) fn start() -> anyhow::Result<Self> {
        Self::on(Store::Etcd)
    }

    pub(crate) fn on(kind: Store) -> anyhow::Result<Self> {
        let mut lab = Lab::new()?;
        let store_host = lab.host("store")?;
        let store = kind.start(&store_host)?;
        let url = kind.url(&store_host);
        let (a, b) = (lab.host("a")?, lab.host("b")?);
        Ok(Self {
            a: Site::start(&a, "dockerd", url.clone(), &[])?,
            b: Site::start(&b, newest(), url, &[])?,
            _store: store,
            _lab: lab,
        })
    }
}
