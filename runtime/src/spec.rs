//! What a container is asked to be, turned into an OCI runtime spec with the defaults people know from Docker.
//!
//! [`build`] is pure: what depends on this host comes in as [`HostFacts`], what depends on the image's files as
//! [`User`]. [`prepare`] reads those from the mounted root and then builds.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use oci_spec::runtime::Spec;
use serde::{Deserialize, Serialize};

use crate::{Result, Users, rootfs};

mod build;
pub mod capabilities;
mod command;
mod devices;
pub mod exec;
mod host;
mod mounts;
mod resources;
pub mod seccomp;
mod sources;
pub mod user;

pub use build::{MASKED, READONLY, build};
pub use devices::Granted;
pub use host::HostFacts;
pub use user::User;

/// What the user asked for. `Default` is what `docker run IMAGE` asks for, with no network namespace of its own.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerConfig {
    /// The name the container gives itself; required with a UTS namespace of its own.
    pub hostname: String,
    /// Its NIS domain.
    pub domainname: String,
    /// `name`, `uid`, `name:group`, `uid:gid`; empty: the image's.
    pub user: String,
    /// `KEY=value`; `KEY` alone removes one of the image's.
    pub env: Vec<String>,
    /// Replaces the image's command.
    pub cmd: Option<Vec<String>>,
    /// Replaces the image's entry point, and with it the image's command. Empty strings mean none at all.
    pub entrypoint: Option<Vec<String>>,
    /// Empty: the image's, else `/`.
    pub working_dir: String,
    /// A terminal.
    pub tty: bool,
    /// Everything this host's root may do.
    pub privileged: bool,
    /// Capabilities beyond the default, `NET_ADMIN` or `CAP_NET_ADMIN`, or `ALL`.
    pub cap_add: Vec<String>,
    /// Capabilities of the default to go without, or `ALL`.
    pub cap_drop: Vec<String>,
    /// The root can't be written to.
    pub readonly_rootfs: bool,
    /// No program gains privileges by being executed.
    pub no_new_privileges: bool,
    /// Which system calls may be made.
    pub seccomp: Seccomp,
    /// Further groups, by name or number.
    pub group_add: Vec<String>,
    /// Binds, volumes and tmpfs, `hosts` and `resolv.conf` included; parents before children is seen to here.
    pub mounts: Vec<Mount>,
    /// Host devices.
    pub devices: Vec<Device>,
    /// Further devices that may be used if somebody makes their nodes: `c 1:3 rwm`, `b *:* r`.
    pub device_rules: Vec<String>,
    /// Limits of each process.
    pub ulimits: Vec<Ulimit>,
    /// Kernel parameters of the container's own namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// Limits of all processes together.
    pub resources: Resources,
    /// Size of `/dev/shm`; 64 MiB if not said.
    pub shm_size: Option<u64>,
    /// How readily the kernel kills it for want of memory: -1000 to 1000.
    pub oom_score_adj: i32,
    /// Below which cgroup its own is; empty for the daemon's.
    pub cgroup_parent: String,
    /// It is in the host's user namespace, whatever the daemon gives others.
    pub host_users: bool,
    /// Whose network.
    pub network: Namespace,
    /// Whose process ids.
    pub pid: Namespace,
    /// Whose System V objects and message queues.
    pub ipc: Namespace,
    /// Whose host name.
    pub uts: Namespace,
    /// Whose view of the cgroups.
    pub cgroup: Namespace,
    /// Instead of the default paths that can't be seen.
    pub masked_paths: Option<Vec<String>>,
    /// Instead of the default paths that can't be written to.
    pub readonly_paths: Option<Vec<String>>,
    /// Kept in the spec for other tools to read.
    pub annotations: BTreeMap<String, String>,
}

/// Whose namespace a container uses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Namespace {
    /// A new one of its own.
    #[default]
    Own,
    /// The host's.
    Host,
    /// The one at this path, such as a pinned network namespace or `/proc/PID/ns/pid`.
    Path(PathBuf),
}

/// Which system calls a container may make.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Seccomp {
    /// Docker's default filter; none when privileged.
    #[default]
    Default,
    /// All.
    Unconfined,
    /// A filter of the user's.
    Profile(Box<oci_spec::runtime::LinuxSeccomp>),
}

/// Something mounted into the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mount {
    /// A file or directory of the host.
    Bind {
        /// On the host; must be there.
        source: PathBuf,
        /// In the container.
        destination: PathBuf,
        /// Not to be written to.
        readonly: bool,
        /// `rprivate` (the default), `rslave`, `rshared`, …; empty for the default.
        propagation: String,
        /// What becomes of the mounts below the source.
        #[serde(default)]
        below: Below,
        /// The files are ours, in the data-root: whoever is the container's root owns what root owns there.
        #[serde(default)]
        ours: bool,
    },
    /// Memory.
    Tmpfs {
        /// In the container.
        destination: PathBuf,
        /// As for `mount -o`: `size=64m`, `mode=1777`, `exec`, …
        options: Vec<String>,
    },
}

/// What becomes of the mounts below a bind's source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Below {
    /// They come along, and can be written to where the bind can.
    #[default]
    Alike,
    /// They come along, and can be written to though the bind can't.
    Writable,
    /// They come along, and it is an error if they can be written to.
    Readonly,
    /// They stay away.
    Absent,
}

impl Mount {
    /// A bind as most are: writable, private, with what is mounted below.
    pub fn bind(source: PathBuf, destination: PathBuf) -> Self {
        Self::Bind {
            source,
            destination,
            readonly: false,
            propagation: String::new(),
            below: Below::Alike,
            ours: false,
        }
    }

    /// A bind of files of ours.
    pub fn ours(source: PathBuf, destination: PathBuf) -> Self {
        Self::Bind {
            source,
            destination,
            readonly: false,
            propagation: String::new(),
            below: Below::Alike,
            ours: true,
        }
    }

    /// Where it is in the container.
    pub fn destination(&self) -> &Path {
        match self {
            Self::Bind { destination, .. } | Self::Tmpfs { destination, .. } => destination,
        }
    }
}

/// A device of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// On the host.
    pub host: PathBuf,
    /// In the container.
    pub container: PathBuf,
    /// `r`, `w`, `m` in any combination.
    pub permissions: String,
}

/// A limit of each process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// Docker's name: `nofile`, `nproc`, `core`, …
    pub name: String,
    /// What a process starts with; -1 for no limit.
    pub soft: i64,
    /// What it can raise that to; -1 for no limit.
    pub hard: i64,
}

/// Limits of all processes of a container together. Nothing is limited by default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Bytes.
    pub memory: Option<i64>,
    /// Bytes of memory and swap together; -1 for unlimited swap. Twice the memory if not said.
    pub memory_swap: Option<i64>,
    /// Bytes it is pushed back to when the host is short.
    pub memory_reservation: Option<i64>,
    /// 0 to 100.
    pub memory_swappiness: Option<u64>,
    /// Billionths of a processor.
    pub nano_cpus: Option<i64>,
    /// Relative weight, 1024 being everybody's.
    pub cpu_shares: Option<u64>,
    /// Microseconds per period.
    pub cpu_quota: Option<i64>,
    /// Microseconds.
    pub cpu_period: Option<u64>,
    /// `0-2,7`.
    pub cpuset_cpus: Option<String>,
    /// `0,1`.
    pub cpuset_mems: Option<String>,
    /// How many processes and threads; 0 or -1 for no limit.
    pub pids_limit: Option<i64>,
    /// Weight of block input and output, 10 to 1000.
    pub blkio_weight: Option<u16>,
    /// The same for single devices, by their paths.
    pub blkio_weight_devices: Vec<(PathBuf, u64)>,
    /// Bytes that are read of a device in a second.
    pub blkio_read_bytes: Vec<(PathBuf, u64)>,
    /// Bytes that are written to a device in a second.
    pub blkio_write_bytes: Vec<(PathBuf, u64)>,
    /// Reads of a device in a second.
    pub blkio_reads: Vec<(PathBuf, u64)>,
    /// Writes to a device in a second.
    pub blkio_writes: Vec<(PathBuf, u64)>,
    /// Who wants more memory than there is waits and is not killed; version 1 alone can that.
    pub oom_kill_disable: bool,
}

/// What the image says, for what the user did not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageDefaults {
    /// As whom.
    pub user: String,
    /// `KEY=value`.
    pub env: Vec<String>,
    /// Before the command.
    pub entrypoint: Option<Vec<String>>,
    /// What to run, or the entry point's arguments.
    pub cmd: Option<Vec<String>>,
    /// Where.
    pub working_dir: String,
}

impl From<&oci_spec::image::Config> for ImageDefaults {
    fn from(config: &oci_spec::image::Config) -> Self {
        Self {
            user: config.user().clone().unwrap_or_default(),
            env: config.env().clone().unwrap_or_default(),
            entrypoint: config.entrypoint().clone(),
            cmd: config.cmd().clone(),
            working_dir: config.working_dir().clone().unwrap_or_default(),
        }
    }
}

/// Where a container is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its mounted root, as the host sees it.
    pub rootfs: PathBuf,
    /// Its cgroup, from [`crate::Runtime::cgroup`].
    pub cgroup: String,
    /// The user namespace that it is in, if not the host's.
    pub users: Option<Arc<Users>>,
}

/// What of the wishes can't be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// Neither the user nor the image says what to run.
    #[error("no command specified")]
    NoCommand,
    /// Not in the image's passwd.
    #[error("unable to find user {0}: no matching entries in passwd file")]
    NoUser(String),
    /// Not in the image's group.
    #[error("unable to find group {0}: no matching entries in group file")]
    NoGroup(String),
    /// A user or group id too large or negative.
    #[error("uids and gids must be in range 0-2147483647")]
    IdRange,
    /// Not a capability.
    #[error("invalid {list}: unknown capability: {name:?}")]
    Capability {
        /// `CapAdd` or `CapDrop`.
        list: &'static str,
        /// With its prefix.
        name: String,
    },
    /// Not a limit.
    #[error("invalid ulimit type: {0}")]
    Ulimit(String),
    /// A soft limit above the hard one.
    #[error("ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}")]
    UlimitOrder {
        /// The soft one.
        soft: i64,
        /// The hard one.
        hard: i64,
    },
    /// A kernel parameter that is not of a namespace the container has of its own.
    #[error("sysctl {0:?} is not in a namespace of the container's own")]
    Sysctl(String),
    /// Something else that is out of its range.
    #[error("{0}")]
    Invalid(String),
    /// A device that is not there or is none.
    #[error("error gathering device information while adding custom device {path:?}: {reason}")]
    Device {
        /// On the host.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A host path whose mount doesn't let others see what is mounted below.
    #[error("path {} is mounted on {} but it is not a {wanted} mount", path.display(), mount.display())]
    Propagation {
        /// On the host.
        path: PathBuf,
        /// Where what it is on is mounted.
        mount: PathBuf,
        /// `shared`, or `shared or slave`.
        wanted: &'static str,
    },
    /// A working directory that is not absolute.
    #[error("the working directory '{0}' is invalid, it needs to be an absolute path")]
    WorkingDir(String),
}

/// What of the wishes this host can't give and a container is made without.
pub fn discarded(config: &ContainerConfig, host: &HostFacts) -> Vec<String> {
    resources::discarded(&config.resources, host)
}

/// Whether wishes can be met, as far as that can be said before there is a root.
///
/// # Errors
/// For wishes that can't be met.
pub fn check(config: &ContainerConfig, host: &HostFacts) -> std::result::Result<(), SpecError> {
    let nowhere = Place {
        rootfs: PathBuf::from("/"),
        cgroup: "/".to_owned(),
        users: None,
    };
    build(
        config,
        &ImageDefaults::default(),
        &nowhere,
        &User::root(),
        &[],
        host,
    )
    .map(drop)
}

/// Reads what is needed from the mounted root, makes the working directory if it is missing, and builds the spec.
///
/// # Errors
/// [`crate::Error::Spec`] for wishes that can't be met; those of reading the root.
pub fn prepare(
    config: &ContainerConfig,
    image: &ImageDefaults,
    place: &Place,
    host: &HostFacts,
) -> Result<Spec> {
    let name = if config.user.is_empty() {
        &image.user
    } else {
        &config.user
    };
    let user = user::resolve(&place.rootfs, name, &config.group_add)?;
    let devices = devices::gather(config)?;
    sources::check(&config.mounts)?;
    let spec = build(config, image, place, &user, &devices, host)?;
    let directory = command::working_dir(&config.working_dir, &image.working_dir)?;
    rootfs::make_dir_for(&place.rootfs, Path::new(&directory), place.users.as_deref())?;
    Ok(spec)
}
