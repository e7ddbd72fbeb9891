//! Where the programs under test and their peers are, and how the peers are started.

use std::{
    env,
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    str::FromStr,
    time::Duration,
};

use anyhow::{Context as _, bail};

use crate::{host::Host, process::Process, wait::wait_for};

/// The folder of our programs.
#[derive(Debug, Clone)]
pub struct Programs {
    folder: PathBuf,
}

/// The store that hosts share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// etcd, version 3 API.
    Etcd,
    /// Consul.
    Consul,
    /// None: each host has its own file.
    Embedded,
}

impl FromStr for Store {
    type Err = anyhow::Error;
    fn from_str(text: &str) -> anyhow::Result<Self> {
        match text {
            "etcd" => Ok(Self::Etcd),
            "consul" => Ok(Self::Consul),
            "embedded" => Ok(Self::Embedded),
            other => bail!("unknown store {other:?}: etcd, consul and embedded are known"),
        }
    }
}

/// All of them.
const OURS: [&str; 4] = ["cnmd", "cnm", "cnm-shim", "cnm-names"];

impl Programs {
    /// Beside the running program; for a test, the folder that its build put the programs in.
    ///
    /// # Errors
    /// When they aren't there.
    pub fn find() -> anyhow::Result<Self> {
        let exe = env::current_exe().context("finding the running program")?;
        let beside = exe.parent().unwrap_or(Path::new("/"));
        let folder = if beside.ends_with("deps") {
            beside.parent().unwrap_or(beside)
        } else {
            beside
        };
        let programs = Self {
            folder: folder.to_owned(),
        };
        for name in OURS {
            let path = programs.ours(name);
            if !path.is_file() {
                bail!(
                    "{} is missing: build all programs first, with \"cargo build --workspace --bins\"",
                    path.display()
                );
            }
        }
        Ok(programs)
    }

    /// Copies of our programs in another folder, which is made.
    ///
    /// # Errors
    /// When they can't be copied.
    pub fn copied_to(&self, folder: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        for name in OURS {
            let (from, to) = (self.ours(name), folder.join(name));
            std::fs::copy(&from, &to).with_context(|| format!("copying {}", from.display()))?;
        }
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    /// One of our programs.
    pub fn ours(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Whether packages of this name were unpacked into the folder of what Debian 12 lacks.
    pub fn is_brought(name: &str) -> bool {
        cache().join(name).is_dir()
    }

    /// Where packages of this name were unpacked.
    ///
    /// # Errors
    /// When they weren't: the message says how to bring them.
    pub fn package(name: &str) -> anyhow::Result<PathBuf> {
        let root = cache().join(name);
        anyhow::ensure!(
            root.is_dir(),
            "{name} is missing: \"tests/packages.sh {name}\" brings it"
        );
        Ok(root)
    }

    /// A peer from the folder of programs that Debian 12 lacks, else from PATH.
    ///
    /// # Errors
    /// When it is in neither: the message says how to bring it.
    pub fn peer(name: &str) -> anyhow::Result<PathBuf> {
        let cached = cache().join(name).join("usr/bin").join(name);
        let path = env::var_os("PATH").unwrap_or_default();
        let found = std::iter::once(cached).chain(env::split_paths(&path).map(|folder| folder.join(name)));
        found
            .into_iter()
            .find(|path| path.is_file())
            .with_context(|| format!("{name} is missing: \"tests/packages.sh {name}\" brings it"))
    }
}

fn cache() -> PathBuf {
    env::var_os("CNM_TEST_CACHE").map_or_else(|| PathBuf::from("/var/cache/cnm-tests"), PathBuf::from)
}

impl Programs {
    /// The `docker compose` plugin, which also runs by itself.
    ///
    /// # Errors
    /// When it is missing: the message says how to bring it.
    pub fn compose() -> anyhow::Result<PathBuf> {
        let cache = env::var_os("CNM_TEST_CACHE")
            .map_or_else(|| PathBuf::from("/var/cache/cnm-tests"), PathBuf::from);
        let path = cache.join("compose/usr/libexec/docker/cli-plugins/docker-compose");
        anyhow::ensure!(
            path.is_file(),
            "docker-compose is missing: \"tests/packages.sh compose\" brings it"
        );
        Ok(path)
    }
}

impl Store {
    /// Starts a server of this kind on a host and waits until it answers; none for [`Store::Embedded`].
    ///
    /// # Errors
    /// When the program is missing or does not answer within 30 s.
    pub fn start(self, host: &Host) -> anyhow::Result<Option<Process>> {
        let (name, port) = match self {
            Self::Embedded => return Ok(None),
            Self::Etcd => ("etcd", 2379),
            Self::Consul => ("consul", 8500),
        };
        let (program, address, data) = (Programs::peer(name)?, host.address(), host.folder().join(name));
        let mut command = Command::new(program);
        match self {
            Self::Etcd => {
                let client = format!("http://{address}:{port}");
                command.args([
                    "--listen-client-urls",
                    &client,
                    "--advertise-client-urls",
                    &client,
                ]);
                command
                    .args(["--listen-peer-urls", "http://127.0.0.1:2380", "--data-dir"])
                    .arg(data);
            }
            _ => {
                command.args([
                    "agent",
                    "-server",
                    "-bootstrap-expect=1",
                    "-bind",
                    &address.to_string(),
                ]);
                command
                    .args(["-client", &address.to_string(), "-node", host.name(), "-data-dir"])
                    .arg(data);
                command.args(["-disable-host-node-id", "-log-level", "warn"]);
                // It elects itself within two seconds instead of ten.
                command.args([
                    "-hcl",
                    "performance { raft_multiplier = 1 } disable_update_check = true",
                ]);
            }
        }
        let process = host.start(name, command)?;
        self.wait_ready(host, port)
            .with_context(|| format!("{name} said: {}", process.log()))?;
        Ok(Some(process))
    }

    /// What `--cluster-store` is given for a server on this host.
    pub fn url(self, host: &Host) -> Option<String> {
        match self {
            Self::Etcd => Some(format!("etcd://{}:2379", host.address())),
            Self::Consul => Some(format!("consul://{}:8500", host.address())),
            Self::Embedded => None,
        }
    }

    fn wait_ready(self, host: &Host, port: u16) -> anyhow::Result<()> {
        wait_for("the store to answer", Duration::from_secs(30), || {
            let answer = probe(host, self, port)?;
            match self {
                // A cluster of one elects itself first.
                Self::Consul if !answer.contains(':') => bail!("no leader yet"),
                _ => Ok(()),
            }
        })
    }
}

/// One plain HTTP request from inside the host.
fn probe(host: &Host, store: Store, port: u16) -> anyhow::Result<String> {
    use std::io::{Read as _, Write as _};
    let path = if store == Store::Consul {
        "/v1/status/leader"
    } else {
        "/health"
    };
    let (netns, address) = (host.netns().to_owned(), host.address());
    let ask = move || -> anyhow::Result<String> {
        nix::sched::setns(std::fs::File::open(netns)?, nix::sched::CloneFlags::CLONE_NEWNET)?;
        let mut stream = TcpStream::connect((address, port))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let (head, body) = text.split_once("\r\n\r\n").context("half an answer")?;
        if head.split(' ').nth(1) == Some("200") {
            Ok(body.to_owned())
        } else {
            bail!("{head}")
        }
    };
    std::thread::spawn(ask)
        .join()
        .map_err(|_| anyhow::anyhow!("the probe panicked"))?
}
