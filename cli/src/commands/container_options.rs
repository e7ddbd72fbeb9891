//! The flags that `run` and `create` share.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use api_types::{BlkioWeightDevice, DeviceMapping, RestartPolicy, ThrottleDevice, Ulimit};
use clap::{ArgAction, Args, ValueEnum};

use crate::grammar::names;
use crate::options::network::NetworkChoice;
use crate::options::{blocks, environment, full_pair, limits, network, ports, security};
use crate::units::parse_size;

/// When an image is asked of a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Pull {
    /// Every time
    Always,
    /// When it isn't there
    Missing,
    /// Not at all
    Never,
}

/// What a container is to be like.
#[derive(Debug, Args)]
pub(crate) struct ContainerOptions {
    /// A line of the hosts file, as HOST:ADDRESS
    #[arg(long, value_name = "HOST:ADDRESS", value_parser = network::extra_host)]
    pub(crate) add_host: Vec<String>,
    /// Annotation of the OCI specification
    #[arg(long, value_name = "KEY=VALUE", value_parser = full_pair)]
    pub(crate) annotation: Vec<String>,
    /// Attach to stdin, stdout or stderr
    #[arg(short, long, value_name = "STREAM", value_parser = ["stdin", "stdout", "stderr"], ignore_case = true)]
    pub(crate) attach: Vec<String>,
    /// Weight of block input and output, 10 to 1000
    #[arg(long, value_name = "WEIGHT", default_value_t = 0)]
    pub(crate) blkio_weight: u16,
    /// The same for a device, as /dev/sda:200
    #[arg(long, value_name = "DEVICE:WEIGHT", value_parser = blocks::weight)]
    pub(crate) blkio_weight_device: Vec<BlkioWeightDevice>,
    /// Add a capability
    #[arg(long, value_name = "CAPABILITY", value_parser = security::capability)]
    pub(crate) cap_add: Vec<String>,
    /// Drop a capability
    #[arg(long, value_name = "CAPABILITY", value_parser = security::capability)]
    pub(crate) cap_drop: Vec<String>,
    /// Parent of the container's cgroup
    #[arg(long, value_name = "CGROUP")]
    pub(crate) cgroup_parent: Option<String>,
    /// Cgroup namespace: host or private
    #[arg(long, value_name = "MODE", value_parser = ["host", "private"])]
    pub(crate) cgroupns: Option<String>,
    /// Write the container's id to a file
    #[arg(long, value_name = "FILE")]
    pub(crate) cidfile: Option<PathBuf>,
    /// Length of a processor scheduling period, in microseconds
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub(crate) cpu_period: i64,
    /// Processor time in a period, in microseconds
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub(crate) cpu_quota: i64,
    /// Processor weight relative to others
    #[arg(short, long, value_name = "NUMBER", default_value_t = 0)]
    pub(crate) cpu_shares: i64,
    /// Number of processors, as 1.5
    #[arg(long, value_name = "NUMBER", value_parser = limits::processors)]
    pub(crate) cpus: Option<i64>,
    /// Processors it may run on, as 0-3 or 0,1
    #[arg(long, value_name = "LIST")]
    pub(crate) cpuset_cpus: Option<String>,
    /// Memory nodes it may use, as 0-3 or 0,1
    #[arg(long, value_name = "LIST")]
    pub(crate) cpuset_mems: Option<String>,
    /// A device of the host
    #[arg(long, value_name = "DEVICE", value_parser = security::device)]
    pub(crate) device: Vec<DeviceMapping>,
    /// Most bytes a second read from a device, as /dev/sda:1mb
    #[arg(long, value_name = "DEVICE:BYTES", value_parser = blocks::bytes)]
    pub(crate) device_read_bps: Vec<ThrottleDevice>,
    /// Most reads a second from a device, as /dev/sda:100
    #[arg(long, value_name = "DEVICE:NUMBER", value_parser = blocks::operations)]
    pub(crate) device_read_iops: Vec<ThrottleDevice>,
    /// Most bytes a second written to a device
    #[arg(long, value_name = "DEVICE:BYTES", value_parser = blocks::bytes)]
    pub(crate) device_write_bps: Vec<ThrottleDevice>,
    /// Most writes a second to a device
    #[arg(long, value_name = "DEVICE:NUMBER", value_parser = blocks::operations)]
    pub(crate) device_write_iops: Vec<ThrottleDevice>,
    /// Name server
    #[arg(long, value_name = "ADDRESS", value_parser = network::address)]
    pub(crate) dns: Vec<IpAddr>,
    /// Resolver option
    #[arg(long, visible_alias = "dns-opt", value_name = "OPTION")]
    pub(crate) dns_option: Vec<String>,
    /// Search domain
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) dns_search: Vec<String>,
    /// Domain name
    #[arg(long, value_name = "NAME")]
    pub(crate) domainname: Option<String>,
    /// Run this instead of the image's entrypoint
    #[arg(long, value_name = "COMMAND")]
    pub(crate) entrypoint: Option<String>,
    /// Environment variable
    #[arg(short, long, value_name = "NAME[=VALUE]", value_parser = environment::variable)]
    pub(crate) env: Vec<String>,
    /// File of environment variables
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Vec<PathBuf>,
    /// A port, or a range of ports, it listens on
    #[arg(long, value_name = "PORT", value_parser = ports::exposed)]
    pub(crate) expose: Vec<Vec<String>>,
    /// A further group
    #[arg(long, value_name = "GROUP")]
    pub(crate) group_add: Vec<String>,
    /// Command that tells whether it is well
    #[arg(long, value_name = "COMMAND")]
    pub(crate) health_cmd: Option<String>,
    /// Time between two checks, as 30s
    #[arg(long, value_name = "TIME", value_parser = nanoseconds)]
    pub(crate) health_interval: Option<i64>,
    /// Failures in a row that make it unhealthy
    #[arg(long, value_name = "NUMBER")]
    pub(crate) health_retries: Option<i64>,
    /// Time between two checks while it starts
    #[arg(long, value_name = "TIME", value_parser = nanoseconds)]
    pub(crate) health_start_interval: Option<i64>,
    /// Time in which failures don't count
    #[arg(long, value_name = "TIME", value_parser = nanoseconds)]
    pub(crate) health_start_period: Option<i64>,
    /// Longest time a check may take
    #[arg(long, value_name = "TIME", value_parser = nanoseconds)]
    pub(crate) health_timeout: Option<i64>,
    /// No check, whatever the image says
    #[arg(long)]
    pub(crate) no_healthcheck: bool,
    /// Show this help
    #[arg(long, action = ArgAction::Help)]
    pub(crate) help: Option<bool>,
    /// Host name
    #[arg(short = 'h', long, value_name = "NAME")]
    pub(crate) hostname: Option<String>,
    /// Run an init that reaps processes and passes signals on
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL",
          value_parser = crate::grammar::flags::boolean)]
    pub(crate) init: Option<bool>,
    /// Keep stdin open
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// IPv4 address
    #[arg(long, value_name = "ADDRESS", value_parser = network::ipv4)]
    pub(crate) ip: Option<Ipv4Addr>,
    /// IPv6 address
    #[arg(long, value_name = "ADDRESS", value_parser = network::ipv6)]
    pub(crate) ip6: Option<Ipv6Addr>,
    /// IPC namespace: private, shareable, none, host or container:OTHER
    #[arg(long, value_name = "MODE")]
    pub(crate) ipc: Option<String>,
    /// Label
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub(crate) label: Vec<String>,
    /// File of labels
    #[arg(long, value_name = "FILE")]
    pub(crate) label_file: Vec<PathBuf>,
    /// Another container under a name of this one's own
    #[arg(long, value_name = "CONTAINER[:ALIAS]", value_parser = network::link, add = names::containers())]
    pub(crate) link: Vec<String>,
    /// Link-local address
    #[arg(long, value_name = "ADDRESS", value_parser = network::address)]
    pub(crate) link_local_ip: Vec<IpAddr>,
    /// Log driver
    #[arg(long, value_name = "DRIVER")]
    pub(crate) log_driver: Option<String>,
    /// Option of the log driver
    #[arg(long, value_name = "KEY=VALUE", value_parser = full_pair)]
    pub(crate) log_opt: Vec<String>,
    /// Ethernet address
    #[arg(long, value_name = "ADDRESS", value_parser = network::mac_address)]
    pub(crate) mac_address: Option<String>,
    /// Most memory, as 500m
    #[arg(short, long, value_name = "BYTES", value_parser = parse_size)]
    pub(crate) memory: Option<i64>,
    /// Memory kept for it when memory is short
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    pub(crate) memory_reservation: Option<i64>,
    /// Most memory and swap together; -1 for unlimited swap
    #[arg(long, value_name = "BYTES", value_parser = limits::size_or_unlimited)]
    pub(crate) memory_swap: Option<i64>,
    /// How readily memory is swapped, 0 to 100
    #[arg(long, value_name = "NUMBER")]
    pub(crate) memory_swappiness: Option<i64>,
    /// Mount something, as type=volume,source=NAME,target=/CONTAINER[,readonly]; also type=bind and type=tmpfs
    #[arg(long, value_name = "MOUNT", value_parser = crate::options::mount::mount)]
    pub(crate) mount: Vec<api_types::MountRequest>,
    /// Name of the container
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Network, as NAME, host, none, container:OTHER, or name=NAME,alias=…,ip=…
    #[arg(long, visible_alias = "net", value_name = "NETWORK", value_parser = network::choice, add = names::networks())]
    pub(crate) network: Vec<NetworkChoice>,
    /// Further name on the network
    #[arg(long, visible_alias = "net-alias", value_name = "NAME")]
    pub(crate) network_alias: Vec<String>,
    /// Keep the kernel's out-of-memory killer off
    #[arg(long)]
    pub(crate) oom_kill_disable: bool,
    /// How readily it is killed when memory is out, -1000 to 1000
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub(crate) oom_score_adj: i64,
    /// PID namespace: host or container:OTHER
    #[arg(long, value_name = "MODE")]
    pub(crate) pid: Option<String>,
    /// Most processes; -1 for no limit
    #[arg(long, value_name = "NUMBER")]
    pub(crate) pids_limit: Option<i64>,
    /// Every capability and device
    #[arg(long)]
    pub(crate) privileged: bool,
    /// Publish a port, as [ADDRESS:][HOST:]CONTAINER[/PROTOCOL][,firewall=host|open]
    #[arg(short, long, value_name = "PORT", value_parser = ports::published)]
    pub(crate) publish: Vec<Vec<(String, api_types::PortBinding)>>,
    /// Publish all exposed ports
    #[arg(short = 'P', long)]
    pub(crate) publish_all: bool,
    /// Whose rules published ports obey: open for ours alone, host for the host's own firewall too
    #[arg(long, value_name = "open|host", value_parser = ports::exposure)]
    pub(crate) publish_firewall: Option<String>,
    /// Whether to ask a registry for the image: always, missing or never
    #[arg(
        long,
        value_enum,
        default_value = "missing",
        hide_possible_values = true,
        value_name = "WHEN"
    )]
    pub(crate) pull: Pull,
    /// Say nothing while an image is pulled
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Nothing can be written to the root file system
    #[arg(long)]
    pub(crate) read_only: bool,
    /// What happens when it exits: no, always, unless-stopped, on-failure[:N]
    #[arg(long, value_name = "POLICY", default_value = "no", value_parser = limits::restart_policy)]
    pub(crate) restart: RestartPolicy,
    /// Remove it when it exits
    #[arg(long)]
    pub(crate) rm: bool,
    /// OCI runtime
    #[arg(long, value_name = "RUNTIME")]
    pub(crate) runtime: Option<String>,
    /// Security option, as seccomp=FILE or no-new-privileges
    #[arg(long, value_name = "OPTION")]
    pub(crate) security_opt: Vec<String>,
    /// Size of /dev/shm
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    pub(crate) shm_size: Option<i64>,
    /// Signal that asks it to stop
    #[arg(long, value_name = "SIGNAL")]
    pub(crate) stop_signal: Option<String>,
    /// Seconds until it is killed when it doesn't stop
    #[arg(long, value_name = "SECONDS")]
    pub(crate) stop_timeout: Option<i64>,
    /// Kernel parameter
    #[arg(long, value_name = "KEY=VALUE", value_parser = full_pair)]
    pub(crate) sysctl: Vec<String>,
    /// A tmpfs, as /PATH[:OPTIONS]
    #[arg(long, value_name = "PATH")]
    pub(crate) tmpfs: Vec<String>,
    /// Give it a terminal
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Resource limit, as nofile=1024:2048
    #[arg(long, value_name = "NAME=SOFT[:HARD]", value_parser = limits::ulimit)]
    pub(crate) ulimit: Vec<Ulimit>,
    /// User, as NAME or UID, with :GROUP or :GID
    #[arg(short, long, value_name = "USER")]
    pub(crate) user: Option<String>,
    /// User namespace: host
    #[arg(long, value_name = "MODE")]
    pub(crate) userns: Option<String>,
    /// UTS namespace: host
    #[arg(long, value_name = "MODE")]
    pub(crate) uts: Option<String>,
    /// Mount a volume or a folder or file of the host, as NAME:/CONTAINER or /HOST:/CONTAINER[:ro]
    #[arg(short, long, value_name = "MOUNT")]
    pub(crate) volume: Vec<String>,
    /// Driver of volumes that are made for it
    #[arg(long, value_name = "DRIVER")]
    pub(crate) volume_driver: Option<String>,
    /// Mount what another container has mounted
    #[arg(long, value_name = "CONTAINER", add = names::containers())]
    pub(crate) volumes_from: Vec<String>,
    /// Where the command starts
    #[arg(short, long, value_name = "PATH")]
    pub(crate) workdir: Option<String>,
    /// The image, and what to run instead of its own command
    // One positional, so that all words behind the image belong to the command, whatever they look like.
    #[arg(value_names = ["IMAGE", "COMMAND"], required = true, num_args = 1.., trailing_var_arg = true,
          add = names::images())]
    pub(crate) image_and_command: Vec<String>,
}

/// `1m30s`, in billionths of a second.
fn nanoseconds(text: &str) -> Result<i64, String> {
    let time =
        crate::units::parse_duration(text).ok_or_else(|| format!("{text:?} is no time such as 1m30s"))?;
    i64::try_from(time.as_nanos()).map_err(|_| format!("{text:?} is too long"))
}
