//! What is recorded of a container: what was asked, merged with its image, and how it is.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
};

use images::ImageId;
use model::{ContainerId, ContainerName, DnsConfig, Labels, MacAddress, NetworkId, PortBinding, Timestamp};
use serde::{Deserialize, Serialize};

use crate::containers::Health;

/// A container as recorded.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// Its identity.
    pub id: ContainerId,
    /// Its name, unique on this host.
    pub name: ContainerName,
    /// When it was made.
    pub created: Timestamp,
    /// The image it is made from.
    pub image: ImageUse,
    /// What was asked, with the image's part filled in.
    pub settings: Settings,
    /// The networks it is on, or will be when it starts.
    pub networks: BTreeMap<NetworkId, Wishes>,
    /// How it is.
    pub state: State,
}

/// The image of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageUse {
    /// Its id.
    pub id: ImageId,
    /// As it was asked for.
    pub asked: String,
}

/// What was asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Settings {
    /// Host name without domain.
    pub hostname: String,
    /// Domain, perhaps empty.
    pub domainname: String,
    /// The user's and the image's labels.
    pub labels: Labels,
    /// `80/tcp` and so on.
    pub exposed_ports: BTreeSet<String>,
    /// What is published on the host when it starts.
    #[serde(default)]
    pub ports: Vec<PortBinding>,
    /// So is every exposed port that is not among them, each on a free one.
    #[serde(default)]
    pub publish_all: bool,
    /// Of those, which were given back while it ran: later starts leave them out too.
    #[serde(default)]
    pub unpublished: Vec<model::ExposedPorts>,
    /// Containers that it knows by further names on the default bridge.
    #[serde(default)]
    pub links: Vec<Link>,
    /// One terminal instead of three streams.
    pub tty: bool,
    /// Height and width of the terminal from its first moment.
    #[serde(default)]
    pub console_size: Option<(u16, u16)>,
    /// Input stays open though nobody is attached.
    pub open_stdin: bool,
    /// Input closes with the first attached client's.
    pub stdin_once: bool,
    /// The signal that asks it to stop.
    pub stop_signal: String,
    /// Seconds from that signal to `SIGKILL`; none for the default, negative for ever.
    pub stop_timeout: Option<i64>,
    /// Where its network is.
    pub network_mode: NetworkMode,
    /// Name service settings.
    pub dns: DnsConfig,
    /// Extra lines of its hosts file.
    pub extra_hosts: Vec<ExtraHost>,
    /// What happens when it exits.
    pub restart: RestartPolicy,
    /// Removed when it exits.
    pub auto_remove: bool,
    /// Where its output goes.
    pub log: LogSettings,
    /// Its volumes.
    #[serde(default)]
    pub volumes: Vec<crate::volumes::VolumeMount>,
    /// How its health is asked.
    #[serde(default)]
    pub health: Option<images::Healthcheck>,
    /// What runs the shell form of the health check: the image's; empty for the usual one.
    #[serde(default)]
    pub shell: Vec<String>,
    /// A first process of ours looks after the command: it passes signals on and buries the dead.
    #[serde(default)]
    pub init: bool,
    /// Containers whose namespaces it shares, beside their network.
    #[serde(default)]
    pub shares: Shares,
    /// What it runs and within which limits, for the runtime.
    pub run: runtime::spec::ContainerConfig,
    /// The request as its client wrote it. The engine never reads it; `inspect` echoes it.
    pub echo: serde_json::Value,
}

/// Containers whose namespaces another shares.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Shares {
    /// Whose processes it sees.
    pub pid: Option<ContainerId>,
    /// Whose shared memory it has.
    pub ipc: Option<ContainerId>,
    /// Others may have its own.
    pub shareable: bool,
}

/// Where a container's network is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkMode {
    /// On the default bridge.
    Bridge,
    /// Loopback only.
    None,
    /// The host's namespace.
    Host,
    /// Another container's.
    Container(ContainerId),
    /// On this network, as it was named.
    Network(String),
}

impl fmt::Display for NetworkMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bridge => f.write_str("bridge"),
            Self::None => f.write_str("none"),
            Self::Host => f.write_str("host"),
            Self::Container(id) => write!(f, "container:{id}"),
            Self::Network(name) => f.write_str(name),
        }
    }
}

/// What was asked of one endpoint; a later start asks for it again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wishes {
    /// The network's name when it was last seen, for messages when it is gone.
    pub network: String,
    /// Further names.
    pub aliases: Vec<String>,
    /// `container:alias` pairs as typed.
    pub links: Vec<String>,
    /// `--ip`.
    pub ipv4: Option<Ipv4Addr>,
    /// `--ip6`.
    pub ipv6: Option<Ipv6Addr>,
    /// `--link-local-ip`.
    pub link_local: Vec<IpAddr>,
    /// `--mac-address`.
    pub mac: Option<MacAddress>,
    /// Precedence in the choice of the default gateway.
    pub gateway_priority: i32,
    /// The driver's options for the endpoint.
    pub options: Labels,
}

impl Wishes {
    /// Whether anything was asked that only user networks give.
    pub fn needs_user_network(&self) -> bool {
        !self.aliases.is_empty() || self.has_address()
    }

    /// Whether an address was asked for.
    pub fn has_address(&self) -> bool {
        self.ipv4.is_some() || self.ipv6.is_some() || !self.link_local.is_empty()
    }
}

/// One `--add-host`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtraHost {
    /// The name.
    pub name: String,
    /// Its address; none for `host-gateway`, which a start looks up.
    pub address: Option<IpAddr>,
}

/// One `--link` of the default bridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The container that is linked to, whatever it is called by now.
    pub container: ContainerId,
    /// What it is called here.
    pub alias: String,
}

/// What happens when a container exits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// Nothing.
    #[default]
    No,
    /// It is started again, also when the daemon starts.
    Always,
    /// The same, unless it was stopped.
    UnlessStopped,
    /// It is started again after a failure, at most so often; 0 for no limit.
    OnFailure(u32),
}

/// Where output goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSettings {
    /// False for `none`: output is not kept.
    pub keep: bool,
    /// A file is rotated when it would grow beyond so many bytes.
    pub max_size: Option<u64>,
    /// How many files are kept.
    pub max_files: u32,
    /// Whether those that were turned are packed.
    #[serde(default)]
    pub compress: bool,
    /// Somebody else's log that each line goes to besides.
    #[serde(default)]
    pub forward: Option<runtime::ForwardTo>,
    /// What the lines are called there: `{{.Name}}` and so on; empty for the short id.
    #[serde(default)]
    pub tag: String,
    /// What of labels and variables stands with each line.
    #[serde(default)]
    pub attributes: LogAttributes,
}

/// What of a container's labels and variables stands with each line of its log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogAttributes {
    /// Labels by name.
    pub labels: Vec<String>,
    /// Labels whose names this expression finds; empty for none.
    pub labels_regex: String,
    /// Variables by name.
    pub env: Vec<String>,
    /// Variables whose names this expression finds; empty for none.
    pub env_regex: String,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            keep: true,
            max_size: None,
            max_files: 1,
            compress: false,
            forward: None,
            tag: String::new(),
            attributes: LogAttributes::default(),
        }
    }
}

/// Where in its life a container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Made, never started.
    Created,
    /// Its first process runs.
    Running,
    /// It runs, frozen.
    Paused,
    /// It exited and its policy is about to start it.
    Restarting,
    /// Being removed.
    Removing,
    /// It exited.
    Exited,
    /// Its removal failed half way.
    Dead,
}

impl Phase {
    /// Docker's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Removing => "removing",
            Self::Exited => "exited",
            Self::Dead => "dead",
        }
    }

    /// Every phase, for filters.
    pub const ALL: [Self; 7] = [
        Self::Created,
        Self::Running,
        Self::Paused,
        Self::Restarting,
        Self::Removing,
        Self::Exited,
        Self::Dead,
    ];

    /// It has a first process, or will have again without being asked.
    pub const fn is_up(self) -> bool {
        matches!(self, Self::Running | Self::Paused | Self::Restarting)
    }

    /// It has a first process.
    pub const fn has_process(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }
}

/// How a container is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Where in its life.
    pub phase: Phase,
    /// Its first process while it runs.
    pub pid: Option<i32>,
    /// The last exit status.
    pub exit_code: i64,
    /// Why the last start failed; empty when it did not.
    pub error: String,
    /// The kernel killed a process of it for memory.
    pub oom_killed: bool,
    /// When it last started.
    pub started: Timestamp,
    /// When it last exited.
    pub finished: Timestamp,
    /// How often its policy started it since a user did.
    pub restarts: u32,
    /// The user stopped it, so that policies leave it alone.
    pub stopped: bool,
    /// What its probes said when that last changed; none without a health check.
    #[serde(default)]
    pub health: Option<Health>,
    /// It is being made: its volumes are being filled.
    #[serde(default)]
    pub filling: bool,
    /// Its removal takes the volumes that it has for itself.
    #[serde(default)]
    pub with_volumes: bool,
}

impl State {
    /// Made, never started.
    pub const fn created() -> Self {
        Self {
            phase: Phase::Created,
            pid: None,
            exit_code: 0,
            error: String::new(),
            oom_killed: false,
            started: Timestamp::ZERO,
            finished: Timestamp::ZERO,
            restarts: 0,
            stopped: false,
            health: None,
            filling: false,
            with_volumes: false,
        }
    }
}

/// A container's files on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// Everything else is in here; goes with the container.
    pub home: PathBuf,
    /// The OCI bundle.
    pub bundle: PathBuf,
    /// `hosts`, `resolv.conf` and `hostname`.
    pub files: PathBuf,
    /// The root file system: where it is mounted, and what the container wrote.
    pub root: runtime::rootfs::Directories,
    /// The log.
    pub log: PathBuf,
}

impl Paths {
    /// Those of a container under a data-root.
    pub fn new(data_root: &std::path::Path, id: &ContainerId) -> Self {
        let home = data_root.join("containers").join(id.to_string());
        Self {
            bundle: home.join("bundle"),
            files: home.join("files"),
            root: runtime::rootfs::Directories::new(&home),
            log: home.join(format!("{id}-json.log")),
            home,
        }
    }
}
