//! From the flags of `run` and `create` to what is asked of the daemon. Pure but for the files it is told to read.

mod mounts;
mod networks;

use api_types::{
    Config, Create, Healthcheck, HostConfig, LogConfig, NetworkingConfig, StringOrList, UnitMap,
};

use super::container_options::ContainerOptions;
use crate::options::{environment, pairs, security, some_list};

/// Which of the creating client's streams are attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attached {
    pub(crate) stdin: bool,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
}

impl Attached {
    /// Nobody listens.
    pub(crate) const NONE: Self = Self {
        stdin: false,
        stdout: false,
        stderr: false,
    };

    /// As asked for by `-a`, or else the outputs, and stdin with `-i`.
    pub(crate) fn of(options: &ContainerOptions) -> Self {
        if options.attach.is_empty() {
            return Self {
                stdin: options.interactive,
                stdout: true,
                stderr: true,
            };
        }
        let has = |name: &str| {
            options
                .attach
                .iter()
                .any(|given| given.eq_ignore_ascii_case(name))
        };
        Self {
            stdin: has("stdin"),
            stdout: has("stdout"),
            stderr: has("stderr"),
        }
    }

    /// Whether anything is.
    pub(crate) fn any(self) -> bool {
        self.stdin || self.stdout || self.stderr
    }
}

/// What the request depends on beside the flags.
pub(crate) struct Surroundings<'s> {
    /// A variable of our environment.
    pub(crate) variable: &'s dyn Fn(&str) -> Option<String>,
    /// A file of ours.
    pub(crate) read: &'s dyn Fn(&str) -> std::io::Result<String>,
    /// The folder we are in.
    pub(crate) directory: std::path::PathBuf,
}

impl Surroundings<'static> {
    /// Those of this process.
    pub(crate) fn ours() -> Self {
        Self {
            variable: &|name| std::env::var(name).ok(),
            read: &|path| std::fs::read_to_string(path),
            directory: std::env::current_dir().unwrap_or_else(|_| "/".into()),
        }
    }
}

/// Builds the request.
pub(crate) fn request(
    options: &ContainerOptions,
    attached: Attached,
    surroundings: &Surroundings<'_>,
) -> Result<Create, String> {
    if options.rm && !matches!(options.restart.name.as_str(), "no") {
        return Err("conflicting options: cannot specify both --restart and --rm".into());
    }
    let (mode, endpoints) = networks::networks(options)?;
    let mounts = mounts::mounts(&options.volume, &surroundings.directory)?;
    let mut host_config = host_config(options, surroundings)?;
    host_config.network_mode = mode;
    host_config.binds = some_list(&mounts.binds);
    let mut config = config(options, attached, surroundings)?;
    config.volumes = (!mounts.anonymous.is_empty()).then(|| unit_map(&mounts.anonymous));
    Ok(Create {
        config,
        host_config,
        networking_config: NetworkingConfig {
            endpoints_config: endpoints,
        },
    })
}

fn config(options: &ContainerOptions, attached: Attached, ours: &Surroundings<'_>) -> Result<Config, String> {
    let (image, command) = options
        .image_and_command
        .split_first()
        .ok_or("no image was given")?;
    let labels = environment::labels(&options.label, &options.label_file)?;
    let mut exposed: Vec<String> = options.expose.iter().flatten().cloned().collect();
    exposed.extend(options.publish.iter().flatten().map(|(port, _)| port.clone()));
    Ok(Config {
        hostname: text(options.hostname.as_ref()),
        domainname: text(options.domainname.as_ref()),
        user: text(options.user.as_ref()),
        attach_stdin: attached.stdin,
        attach_stdout: attached.stdout,
        attach_stderr: attached.stderr,
        exposed_ports: (!exposed.is_empty()).then(|| unit_map(&exposed)),
        tty: options.tty,
        open_stdin: options.interactive,
        stdin_once: options.interactive && attached.stdin,
        env: environment::variables(&options.env, &options.env_file, ours.variable)?,
        cmd: (!command.is_empty()).then(|| StringOrList(command.to_vec())),
        image: image.clone(),
        working_dir: text(options.workdir.as_ref()),
        // An empty entrypoint means none, which is said by a list of one empty word.
        entrypoint: options
            .entrypoint
            .as_ref()
            .map(|entrypoint| StringOrList(vec![entrypoint.clone()])),
        labels: pairs(&labels),
        stop_signal: text(options.stop_signal.as_ref()),
        stop_timeout: options.stop_timeout,
        healthcheck: healthcheck(options)?,
        ..Config::default()
    })
}

fn healthcheck(options: &ContainerOptions) -> Result<Option<Healthcheck>, String> {
    let numbers = [
        options.health_interval,
        options.health_retries,
        options.health_start_interval,
        options.health_start_period,
        options.health_timeout,
    ];
    let any = options.health_cmd.is_some() || numbers.iter().any(Option::is_some);
    if options.no_healthcheck {
        return if any {
            Err("--no-healthcheck conflicts with --health-* options".into())
        } else {
            Ok(Some(Healthcheck {
                test: Some(vec!["NONE".to_owned()]),
                ..Healthcheck::default()
            }))
        };
    }
    let test = |command: &String| vec!["CMD-SHELL".to_owned(), command.clone()];
    Ok(any.then(|| Healthcheck {
        test: options.health_cmd.as_ref().map(test),
        interval: options.health_interval.unwrap_or_default(),
        timeout: options.health_timeout.unwrap_or_default(),
        start_period: options.health_start_period.unwrap_or_default(),
        start_interval: options.health_start_interval.unwrap_or_default(),
        retries: options.health_retries.unwrap_or_default(),
    }))
}

fn host_config(options: &ContainerOptions, ours: &Surroundings<'_>) -> Result<HostConfig, String> {
    let security = security::security(&options.security_opt, ours.read)?;
    let no_paths = security.all_system_paths.then(Vec::new);
    Ok(HostConfig {
        container_id_file: options
            .cidfile
            .as_ref()
            .map(|path| path.display().to_string())
            .unwrap_or_default(),
        log_config: LogConfig {
            r#type: text(options.log_driver.as_ref()),
            config: pairs(&options.log_opt),
        },
        port_bindings: Some(bindings(options)),
        restart_policy: options.restart.clone(),
        auto_remove: options.rm,
        volumes_from: some_list(&options.volumes_from),
        volume_driver: text(options.volume_driver.as_ref()),
        mounts: unless_empty(&options.mount),
        annotations: pairs(&options.annotation),
        cap_add: some_list(&options.cap_add),
        cap_drop: some_list(&options.cap_drop),
        cgroupns_mode: text(options.cgroupns.as_ref()),
        dns: some_list(&options.dns.iter().map(ToString::to_string).collect::<Vec<_>>()),
        dns_options: some_list(&options.dns_option),
        dns_search: some_list(&options.dns_search),
        extra_hosts: some_list(&options.add_host),
        group_add: some_list(&options.group_add),
        ipc_mode: text(options.ipc.as_ref()),
        links: some_list(&options.link),
        oom_score_adj: options.oom_score_adj,
        pid_mode: text(options.pid.as_ref()),
        privileged: options.privileged,
        publish_all_ports: options.publish_all,
        readonly_rootfs: options.read_only,
        security_opt: some_list(&security.options),
        tmpfs: tmpfs(&options.tmpfs),
        uts_mode: text(options.uts.as_ref()),
        userns_mode: text(options.userns.as_ref()),
        shm_size: options.shm_size.unwrap_or(0),
        sysctls: pairs(&options.sysctl),
        runtime: text(options.runtime.as_ref()),
        cpu_shares: options.cpu_shares,
        memory: options.memory.unwrap_or(0),
        nano_cpus: options.cpus.unwrap_or(0),
        cgroup_parent: text(options.cgroup_parent.as_ref()),
        blkio_weight: options.blkio_weight,
        blkio_weight_device: unless_empty(&options.blkio_weight_device),
        blkio_device_read_bps: unless_empty(&options.device_read_bps),
        blkio_device_write_bps: unless_empty(&options.device_write_bps),
        blkio_device_read_iops: unless_empty(&options.device_read_iops),
        blkio_device_write_iops: unless_empty(&options.device_write_iops),
        cpu_period: options.cpu_period,
        cpu_quota: options.cpu_quota,
        cpuset_cpus: text(options.cpuset_cpus.as_ref()),
        cpuset_mems: text(options.cpuset_mems.as_ref()),
        devices: unless_empty(&options.device),
        memory_reservation: options.memory_reservation.unwrap_or(0),
        memory_swap: options.memory_swap.unwrap_or(0),
        memory_swappiness: options.memory_swappiness,
        oom_kill_disable: options.oom_kill_disable.then_some(true),
        pids_limit: options.pids_limit,
        ulimits: unless_empty(&options.ulimit),
        masked_paths: no_paths.clone(),
        readonly_paths: no_paths,
        init: options.init,
        ..HostConfig::default()
    })
}

fn unless_empty<T: Clone>(given: &[T]) -> Option<Vec<T>> {
    (!given.is_empty()).then(|| given.to_vec())
}

fn text(given: Option<&String>) -> String {
    given.cloned().unwrap_or_default()
}

fn unit_map(keys: &[String]) -> UnitMap {
    keys.iter()
        .map(|key| (key.clone(), serde_json::json!({})))
        .collect()
}

/// `--publish-firewall` is for those bindings that don't say it themselves.
fn bindings(options: &ContainerOptions) -> crate::options::ports::Bindings {
    let mut published: Vec<_> = options.publish.iter().flatten().cloned().collect();
    if let Some(exposure) = &options.publish_firewall {
        for (_, binding) in published
            .iter_mut()
            .filter(|(_, binding)| binding.exposure.is_empty())
        {
            binding.exposure.clone_from(exposure);
        }
    }
    crate::options::ports::by_port(&published)
}

fn tmpfs(given: &[String]) -> api_types::Map<String> {
    given
        .iter()
        .map(|text| {
            let (path, options) = text.split_once(':').unwrap_or((text, ""));
            (path.to_owned(), options.to_owned())
        })
        .collect()
}
