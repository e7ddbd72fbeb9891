//! What `inspect` and `ps` show of a container.

use api_types as docker;
use api_types::Map;
use engine::{
    HealthStatus, View,
    record::{Phase, RestartPolicy},
    run::{Mount, Namespace, Resources},
};
use model::Timestamp;

use super::{create::Echo, duration, endpoint, mounts, ports};

/// Docker's default size of `/dev/shm`.
const SHM_SIZE: i64 = 64 << 20;

/// Everything about one container.
pub(crate) fn inspect(view: &View) -> docker::ContainerInspect {
    let record = &view.record;
    let words = command(view);
    let echo: Echo = serde_json::from_value(record.settings.echo.clone()).unwrap_or_default();
    let files = view.files();
    // Docker's are made by the first start.
    let started = record.state.started != Timestamp::ZERO;
    let shown = |path: &std::path::Path| match started {
        true => path.display().to_string(),
        false => String::new(),
    };
    let file = |name: &str| shown(&files.join(name));
    let mounts = mounts(view, &echo.host_config);
    docker::ContainerInspect {
        id: record.id.to_string(),
        created: record.created.to_string(),
        path: words.first().cloned().unwrap_or_default(),
        args: words.into_iter().skip(1).collect(),
        state: state(view),
        image: record.image.id.to_string(),
        resolv_conf_path: file("resolv.conf"),
        hostname_path: file("hostname"),
        hosts_path: file("hosts"),
        log_path: if record.settings.log.keep {
            shown(&view.paths.log)
        } else {
            String::new()
        },
        name: format!("/{}", record.name),
        restart_count: record.state.restarts.into(),
        driver: "overlay2".to_owned(),
        platform: "linux".to_owned(),
        exec_ids: Some(view.execs.clone()).filter(|execs| !execs.is_empty()),
        host_config: host_config(view, echo.host_config),
        graph_driver: graph_driver(view),
        mounts,
        config: config(view, echo.config),
        network_settings: network_settings(view),
        ..docker::ContainerInspect::default()
    }
}

/// Entry point and command in one line of words.
fn command(view: &View) -> Vec<String> {
    let run = &view.record.settings.run;
    run.entrypoint
        .iter()
        .flatten()
        .chain(run.cmd.iter().flatten())
        .cloned()
        .collect()
}

fn state(view: &View) -> docker::ContainerState {
    let state = &view.record.state;
    docker::ContainerState {
        status: state.phase.as_str().to_owned(),
        running: state.phase.is_up(),
        paused: state.phase == Phase::Paused,
        restarting: state.phase == Phase::Restarting,
        oom_killed: state.oom_killed,
        dead: state.phase == Phase::Dead,
        pid: state.pid.map_or(0, i64::from),
        exit_code: state.exit_code,
        error: state.error.clone(),
        started_at: state.started.to_string(),
        finished_at: state.finished.to_string(),
        health: view.health.as_ref().map(health),
    }
}

fn health(health: &engine::Health) -> docker::Health {
    let probe = |probe: &engine::Probe| docker::HealthProbe {
        start: probe.start.to_string(),
        end: probe.end.to_string(),
        exit_code: probe.exit_code,
        output: probe.output.clone(),
    };
    docker::Health {
        status: health.status.as_str().to_owned(),
        failing_streak: health.failing_streak.into(),
        log: health.log.iter().map(probe).collect(),
    }
}

/// What was asked, with the image's part filled in.
fn config(view: &View, asked: docker::Config) -> docker::Config {
    let settings = &view.record.settings;
    let exposed: docker::UnitMap = settings
        .exposed_ports
        .iter()
        .flat_map(|text| ports::one_by_one(text))
        .map(|port| (port, serde_json::json!({})))
        .collect();
    docker::Config {
        hostname: settings.hostname.clone(),
        user: settings.run.user.clone(),
        env: Some(settings.run.env.clone()).filter(|env| !env.is_empty() || asked.env.is_some()),
        cmd: settings.run.cmd.clone().map(Into::into),
        entrypoint: settings.run.entrypoint.clone().map(Into::into),
        working_dir: settings.run.working_dir.clone(),
        labels: settings.labels.clone(),
        stop_signal: settings.stop_signal.clone(),
        healthcheck: settings.health.as_ref().map(healthcheck),
        exposed_ports: Some(exposed).filter(|ports| !ports.is_empty()),
        volumes: places(view, asked.volumes),
        image: view.record.image.asked.clone(),
        ..asked
    }
}

fn healthcheck(check: &engine::Healthcheck) -> docker::Healthcheck {
    docker::Healthcheck {
        test: Some(check.test.clone()),
        interval: check.interval,
        timeout: check.timeout,
        start_period: check.start_period,
        start_interval: check.start_interval,
        retries: check.retries,
    }
}

/// What was asked, with the defaults that Docker shows where nothing was.
fn host_config(view: &View, asked: docker::HostConfig) -> docker::HostConfig {
    let settings = &view.record.settings;
    let or = |text: String, default: &str| if text.is_empty() { default.to_owned() } else { text };
    let mut host = docker::HostConfig {
        network_mode: settings.network_mode.to_string(),
        ipc_mode: or(asked.ipc_mode.clone(), "private"),
        cgroupns_mode: or(
            asked.cgroupns_mode.clone(),
            if settings.run.cgroup == Namespace::Host {
                "host"
            } else {
                "private"
            },
        ),
        shm_size: if asked.shm_size == 0 {
            SHM_SIZE
        } else {
            asked.shm_size
        },
        runtime: or(asked.runtime.clone(), "cnm-shim"),
        auto_remove: settings.auto_remove,
        port_bindings: Some(ports::asked(&settings.ports)),
        links: links(view),
        ..asked
    };
    limits(&mut host, &settings.run.resources);
    if !engine::stats::memory_is_unified() {
        host.oom_kill_disable.get_or_insert(false);
    }
    if !settings.run.privileged {
        let all = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
        host.masked_paths.get_or_insert_with(|| all(&engine::run::MASKED));
        host.readonly_paths
            .get_or_insert_with(|| all(&engine::run::READONLY));
    }
    host.log_config.r#type = or(host.log_config.r#type, "json-file");
    let (name, retries) = match settings.restart {
        RestartPolicy::No => ("no", 0),
        RestartPolicy::Always => ("always", 0),
        RestartPolicy::UnlessStopped => ("unless-stopped", 0),
        RestartPolicy::OnFailure(retries) => ("on-failure", retries),
    };
    host.restart_policy = docker::RestartPolicy {
        name: name.to_owned(),
        maximum_retry_count: retries.into(),
    };
    host
}

/// The limits as they are now: an update may have changed them.
fn limits(host: &mut docker::HostConfig, now: &Resources) {
    let number = |limit: Option<u64>| limit.map_or(0, |limit| i64::try_from(limit).unwrap_or(i64::MAX));
    host.memory = now.memory.unwrap_or_default();
    host.memory_swap = match (now.memory_swap, now.memory) {
        (Some(swap), _) => swap,
        // What Docker gives who says nothing of swap.
        (None, Some(memory)) => memory.saturating_mul(2),
        (None, None) => 0,
    };
    host.memory_reservation = now.memory_reservation.unwrap_or_default();
    host.nano_cpus = now.nano_cpus.unwrap_or_default();
    host.cpu_shares = number(now.cpu_shares);
    host.cpu_quota = now.cpu_quota.unwrap_or_default();
    host.cpu_period = number(now.cpu_period);
    host.cpuset_cpus = now.cpuset_cpus.clone().unwrap_or_default();
    host.cpuset_mems = now.cpuset_mems.clone().unwrap_or_default();
    host.pids_limit = now.pids_limit.or(host.pids_limit);
    host.blkio_weight = now.blkio_weight.unwrap_or_default();
}

/// The links of the default bridge by the full names on both sides.
fn links(view: &View) -> Option<Vec<String>> {
    let owner = &view.record.name;
    let link = |(name, alias): &(model::ContainerName, String)| format!("/{name}:/{owner}/{alias}");
    Some(view.links.iter().map(link).collect::<Vec<_>>()).filter(|links| !links.is_empty())
}

fn graph_driver(view: &View) -> docker::GraphDriver {
    let root = &view.paths.root;
    let data = [
        ("MergedDir", &root.root),
        ("UpperDir", &root.upper),
        ("WorkDir", &root.work),
    ];
    docker::GraphDriver {
        data: Some(
            data.into_iter()
                .map(|(role, path)| (role.to_owned(), path.display().to_string()))
                .collect(),
        ),
        name: "overlay2".to_owned(),
    }
}

/// Places of volumes that nobody named, the image's too.
fn places(view: &View, asked: Option<docker::UnitMap>) -> Option<docker::UnitMap> {
    let unnamed = view
        .record
        .settings
        .volumes
        .iter()
        .filter(|mount| mount.anonymous);
    let mut places = asked.unwrap_or_default();
    for mount in unnamed {
        places
            .entry(mount.destination.display().to_string())
            .or_insert_with(|| serde_json::json!({}));
    }
    Some(places).filter(|places| !places.is_empty())
}

/// Binds, volumes and memory, by place. Those of the `Tmpfs` map are in the host configuration only, as Docker has it.
fn mounts(view: &View, asked: &docker::HostConfig) -> Vec<docker::MountPoint> {
    let settings = &view.record.settings;
    let binds = settings.run.mounts.iter().filter_map(|mount| bind(mount, asked));
    let volumes = view.volumes.iter().map(|(mount, source)| docker::MountPoint {
        r#type: "volume".to_owned(),
        name: mount.volume.to_string(),
        source: source.clone(),
        destination: mount.destination.display().to_string(),
        driver: mount.driver.clone(),
        mode: mount.mode.clone(),
        rw: !mount.readonly,
        ..docker::MountPoint::default()
    });
    let memory = asked
        .mounts
        .iter()
        .flatten()
        .filter(|mount| mount.r#type == "tmpfs");
    let memory = memory.map(|mount| docker::MountPoint {
        r#type: "tmpfs".to_owned(),
        destination: mount.target.clone(),
        rw: !mount.read_only,
        ..docker::MountPoint::default()
    });
    let mut all: Vec<_> = binds.chain(volumes).chain(memory).collect();
    all.sort_by(|one, other| one.destination.cmp(&other.destination));
    all
}

fn bind(mount: &Mount, asked: &docker::HostConfig) -> Option<docker::MountPoint> {
    let Mount::Bind {
        source,
        destination,
        readonly,
        propagation,
        ..
    } = mount
    else {
        return None;
    };
    let short = format!(":{}", destination.display());
    let typed = asked.binds.iter().flatten().find(|bind| {
        let rest = bind.strip_prefix(&*source.to_string_lossy());
        rest.is_some_and(|rest| rest.trim_end_matches('/') == short || rest.starts_with(&format!("{short}:")))
    });
    Some(docker::MountPoint {
        r#type: "bind".to_owned(),
        source: source.display().to_string(),
        destination: destination.display().to_string(),
        mode: typed
            .map(|bind| mounts::bind_mode(bind).to_owned())
            .unwrap_or_default(),
        rw: !readonly,
        propagation: if propagation.is_empty() {
            "rprivate".to_owned()
        } else {
            propagation.clone()
        },
        ..docker::MountPoint::default()
    })
}

fn network_settings(view: &View) -> docker::NetworkSettings {
    let networks = networks(view);
    let bridge = networks.get("bridge").cloned().unwrap_or_default();
    let sandbox = view.sandbox.as_ref();
    docker::NetworkSettings {
        sandbox_id: sandbox.map(|sandbox| sandbox.id.to_string()).unwrap_or_default(),
        sandbox_key: sandbox
            .and_then(|sandbox| sandbox.netns())
            .map(|path| path.display().to_string())
            .unwrap_or_default(),
        ports: ports::shown(view),
        endpoint_id: bridge.endpoint_id,
        gateway: bridge.gateway,
        global_ipv6_address: bridge.global_ipv6_address,
        global_ipv6_prefix_len: bridge.global_ipv6_prefix_len,
        ip_address: bridge.ip_address,
        ip_prefix_len: bridge.ip_prefix_len,
        ipv6_gateway: bridge.ipv6_gateway,
        mac_address: bridge.mac_address,
        networks,
        ..docker::NetworkSettings::default()
    }
}

fn networks(view: &View) -> Map<docker::EndpointSettings> {
    view.networks
        .iter()
        .map(|attached| (attached.name.clone(), endpoint::settings(attached)))
        .collect()
}

/// One row of `ps`.
pub(crate) fn summary(view: &View, now: Timestamp) -> docker::ContainerSummary {
    let record = &view.record;
    let echo: Echo = serde_json::from_value(record.settings.echo.clone()).unwrap_or_default();
    docker::ContainerSummary {
        id: record.id.to_string(),
        names: vec![format!("/{}", record.name)],
        image: record.image.asked.clone(),
        image_id: record.image.id.to_string(),
        command: one_line(&command(view)),
        created: record.created.unix_seconds(),
        ports: ports::listed(view),
        labels: record.settings.labels.clone(),
        state: record.state.phase.as_str().to_owned(),
        status: status(view, now),
        host_config: docker::SummaryHostConfig {
            network_mode: record.settings.network_mode.to_string(),
            ..docker::SummaryHostConfig::default()
        },
        network_settings: docker::SummaryNetworkSettings {
            networks: networks(view)
                .into_iter()
                .map(|(name, settings)| {
                    let names = None;
                    (
                        name,
                        docker::EndpointSettings {
                            dns_names: names,
                            ..settings
                        },
                    )
                })
                .collect(),
        },
        mounts: mounts(view, &echo.host_config),
        ..docker::ContainerSummary::default()
    }
}

/// Arguments with white space are quoted.
fn one_line(words: &[String]) -> String {
    let quoted = |(at, word): (usize, &String)| {
        if at > 0 && (word.contains(char::is_whitespace) || word.is_empty()) {
            format!("'{word}'")
        } else {
            word.clone()
        }
    };
    words.iter().enumerate().map(quoted).collect::<Vec<_>>().join(" ")
}

/// `Up 2 minutes`, `Exited (0) 3 seconds ago`.
fn status(view: &View, now: Timestamp) -> String {
    let state = &view.record.state;
    let since = |moment: Timestamp| duration::human(now.since(moment));
    match state.phase {
        Phase::Created => "Created".to_owned(),
        Phase::Running => format!("Up {}{}", since(state.started), shown_health(view)),
        Phase::Paused => format!("Up {} (Paused)", since(state.started)),
        Phase::Restarting => format!("Restarting ({}) {} ago", state.exit_code, since(state.finished)),
        Phase::Removing => "Removal In Progress".to_owned(),
        Phase::Exited if state.finished == Timestamp::ZERO => "Created".to_owned(),
        Phase::Exited => format!("Exited ({}) {} ago", state.exit_code, since(state.finished)),
        Phase::Dead => "Dead".to_owned(),
    }
}

fn shown_health(view: &View) -> &'static str {
    match view.health.as_ref().map(|health| health.status) {
        None => "",
        Some(HealthStatus::Starting) => " (health: starting)",
        Some(HealthStatus::Healthy) => " (healthy)",
        Some(HealthStatus::Unhealthy) => " (unhealthy)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_with_spaces_are_quoted() {
        let words = ["sh", "-c", "sleep 1", ""].map(str::to_owned);
        assert_eq!(one_line(&words), "sh -c 'sleep 1' ''");
    }
}
