//! From record to a shim that can be attached to: a sandbox, a mounted root, an OCI spec.
//!
//! Done by the first attach or start, whichever comes first, so that an attached client misses no byte. Everything
//! made here is found again by the container's id and taken away by [`super::release`].

use std::{path::PathBuf, sync::Arc};

use controller::{CreateSandbox, Namespace as NetworkNamespace};
use model::{DnsConfig, HostEntry, Sandbox, SandboxId};
use runtime::{
    Bundle, LogConfig, Shim, Users,
    spec::{ContainerConfig, ImageDefaults, Mount, Namespace, Place},
};

use super::{
    Core,
    container::{Container, Prepared},
    links, logs, networks, ports, shares,
};
use crate::{
    error::{Error, Result},
    record::{NetworkMode, Paths, Record},
    volumes,
};

/// Makes what is missing. The caller holds the container's operation lock and releases on failure.
pub(super) async fn prepare(core: &Core, container: &Container) -> Result<Prepared> {
    if let Some(prepared) = container.prepared() {
        return Ok(prepared);
    }
    let network = join_network(core, &container.record()).await?;
    open_shim(core, container, network).await
}

/// A network namespace with the folder of the files that go with it.
#[derive(Debug)]
pub(super) struct NetworkSide {
    namespace: Namespace,
    files: PathBuf,
    /// What links add to the container's environment.
    environment: Vec<String>,
    /// None in another container's.
    pub(super) sandbox: Option<SandboxId>,
}

/// Mounts the root and launches the shim.
pub(super) async fn open_shim(core: &Core, container: &Container, network: NetworkSide) -> Result<Prepared> {
    let record = container.record();
    let paths = core.paths(&record.id);
    let sandbox = network.sandbox;
    mount_root(core, &record, &paths).await?;
    let volumes = volumes::attach(core, &record).await?;
    let shim = open(core, &record, &paths, network, volumes).await?;
    let prepared = Prepared { shim, sandbox };
    container.set_prepared(Some(prepared.clone()));
    Ok(prepared)
}

/// Makes the container's sandbox, or finds the one it shares.
pub(super) async fn join_network(core: &Core, record: &Record) -> Result<NetworkSide> {
    if let NetworkMode::Container(other) = record.settings.network_mode {
        let sandbox = sandbox_of_running(core, other)?;
        return Ok(NetworkSide {
            sandbox: None,
            ..side_of(&sandbox)
        });
    }
    let kind = match (&record.settings.network_mode, record.users(core)) {
        (NetworkMode::Host, _) => NetworkNamespace::Host,
        (_, Some(users)) => NetworkNamespace::Within(users.namespace.clone()),
        (_, None) => NetworkNamespace::New,
    };
    let linked = links::resolve(core, record)?;
    let request = CreateSandbox {
        container: Some(record.id),
        kind,
        hostname: record.settings.hostname.clone(),
        domainname: record.settings.domainname.clone(),
        dns: or_default(&record.settings.dns, &core.dns),
        extra_hosts: extra_hosts(core, record)?,
        links: linked.links.clone(),
        files: core.paths(&record.id).files,
        name: record.name.to_string(),
        ports: ports::wanted(&record.settings),
        ports_network: networks::in_order(record).first().map(|(network, _)| **network),
        exposed: ports::exposed(&record.settings),
    };
    let sandbox = core.controller.sandboxes.create(request).await;
    let sandbox = sandbox.map_err(|error| ports::not_published(record, "making the sandbox", error))?;
    Ok(NetworkSide {
        environment: linked.environment,
        ..side_of(&sandbox)
    })
}

/// Servers, search domains and options are each the container's own, or the daemon's.
pub(crate) fn or_default(own: &DnsConfig, default: &DnsConfig) -> DnsConfig {
    fn first<T: Clone>(own: &[T], default: &[T]) -> Vec<T> {
        if own.is_empty() {
            default.to_vec()
        } else {
            own.to_vec()
        }
    }
    DnsConfig {
        servers: first(&own.servers, &default.servers),
        search: first(&own.search, &default.search),
        options: first(&own.options, &default.options),
    }
}

fn sandbox_of_running(core: &Core, other: model::ContainerId) -> Result<Arc<Sandbox>> {
    let container = core.registry.get(&other).ok_or_else(|| {
        Error::not_found(format!("No such container: {other}"))
            .with_hint("the container whose network this one shares is gone: make this one anew")
    })?;
    let sandbox = container.prepared().and_then(|prepared| prepared.sandbox);
    match sandbox {
        Some(id) if container.record().state.phase.has_process() => core
            .controller
            .sandboxes
            .get(id)
            .map_err(Error::network("joining the other container's network")),
        _ => Err(Error::conflict(format!(
            "cannot join network of a non running container: {other}"
        ))),
    }
}

fn side_of(sandbox: &Sandbox) -> NetworkSide {
    let namespace = sandbox
        .netns()
        .map_or(Namespace::Host, |path| Namespace::Path(path.clone()));
    NetworkSide {
        namespace,
        files: sandbox.files.clone(),
        environment: Vec::new(),
        sandbox: Some(sandbox.id),
    }
}

/// `host-gateway` is what the daemon was told, or the default bridge's own addresses: a line for each family.
fn extra_hosts(core: &Core, record: &Record) -> Result<Vec<HostEntry>> {
    let bridge = || {
        let bridge = core.controller.networks.find("bridge").ok();
        let pools = bridge.iter().flat_map(|bridge| &bridge.pools);
        let gateways = pools.filter_map(|pool| pool.gateway);
        gateways.collect::<Vec<_>>()
    };
    let mut entries = Vec::new();
    for host in &record.settings.extra_hosts {
        let addresses = match (host.address, &core.host_gateway[..]) {
            (Some(address), _) => vec![address],
            (None, []) => bridge(),
            (None, told) => told.to_vec(),
        };
        if addresses.is_empty() {
            return Err(Error::invalid(format!(
                "unable to derive the IP value for host-gateway (extra host {:?})",
                host.name
            ))
            .with_hint("the daemon has no default bridge: start it with --host-gateway-ip"));
        }
        entries.extend(addresses.into_iter().map(|address| HostEntry {
            name: host.name.clone(),
            address,
        }));
    }
    Ok(entries)
}

impl Record {
    /// The users' namespace that it is in, if it is not the host's.
    pub(crate) fn users(&self, core: &Core) -> Option<Arc<Users>> {
        core.users.clone().filter(|_| !self.settings.run.host_users)
    }
}

async fn mount_root(core: &Core, record: &Record, paths: &Paths) -> Result<()> {
    let (images, id, home) = (core.images.clone(), record.image.id, paths.home.clone());
    let users = record.users(core);
    super::blocking(move || {
        let image = images.get_by_id(id)?;
        runtime::rootfs::mount_for(&image.layers, &home, users.as_deref())?;
        Ok(())
    })
    .await
}

async fn open(
    core: &Core,
    record: &Record,
    paths: &Paths,
    network: NetworkSide,
    volumes: Vec<Mount>,
) -> Result<Shim> {
    let mut config = with_files(record, network, volumes);
    shares::apply(core, record, &mut config)?;
    let place = Place {
        rootfs: paths.root.root.clone(),
        cgroup: core
            .runtime
            .cgroup_below(&record.settings.run.cgroup_parent, &record.id),
        users: record.users(core),
    };
    let spec = super::blocking(move || {
        let host = runtime::spec::HostFacts::read();
        Ok(runtime::spec::prepare(
            &config,
            &ImageDefaults::default(),
            &place,
            &host,
        )?)
    })
    .await?;
    let log = &record.settings.log;
    let bundle = Bundle {
        id: record.id,
        dir: paths.bundle.clone(),
        spec,
        tty: record.settings.tty,
        open_stdin: record.settings.open_stdin,
        stdin_once: record.settings.stdin_once,
        log: LogConfig {
            path: log.keep.then(|| paths.log.clone()),
            max_size: log.max_size,
            max_files: log.max_files,
            compress: log.compress,
            forward: logs::forward(record),
            attrs: logs::attributes(record),
        },
        init: record.settings.init,
    };
    let shim = core.runtime.open(bundle).await?;
    if let Some((height, width)) = record.settings.console_size.filter(|_| record.settings.tty) {
        shim.resize(height, width).await?;
    }
    Ok(shim)
}

/// What the user asked to run, with its volumes, the network namespace and its files put in.
fn with_files(record: &Record, network: NetworkSide, volumes: Vec<Mount>) -> ContainerConfig {
    let mut config = record.settings.run.clone();
    config.mounts.extend(volumes);
    config.network = network.namespace;
    // The user's own variables come last, so that they are the ones that count.
    let own = std::mem::replace(&mut config.env, network.environment);
    config.env.extend(own);
    config.hostname.clone_from(&record.settings.hostname);
    config.domainname.clone_from(&record.settings.domainname);
    let user_mounts: Vec<PathBuf> = config
        .mounts
        .iter()
        .map(|mount| destination(mount).clone())
        .collect();
    for name in ["hosts", "resolv.conf", "hostname"] {
        let target = PathBuf::from("/etc").join(name);
        if !user_mounts.contains(&target) {
            config.mounts.push(Mount::ours(network.files.join(name), target));
        }
    }
    config
}

fn destination(mount: &Mount) -> &PathBuf {
    match mount {
        Mount::Bind { destination, .. } | Mount::Tmpfs { destination, .. } => destination,
    }
}
