//! `create`: the image is found, what was asked is checked and merged with it, a name is claimed. Nothing runs yet.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use model::{ContainerId, ContainerName, NetworkId, Timestamp};
use runtime::spec::{HostFacts, Namespace};

use super::{
    AskedShares, Core, container::Container, links, merge, naming, networks, ports, reserved, shares, signal,
};
use crate::{
    error::{Error, Result},
    record::{ImageUse, NetworkMode, Record, Settings, State, Wishes},
    volumes::{self, AskedVolumes},
};

/// A container wanted.
#[derive(Debug)]
pub struct CreateContainer {
    /// Its name; none for one made up here.
    pub name: Option<String>,
    /// The image, by reference, id or unique id prefix.
    pub image: String,
    /// Where its network is.
    pub mode: AskedMode,
    /// What is asked of its endpoints, by the network as it was named.
    pub networks: Vec<(String, Wishes)>,
    /// Containers by name or id with what they are to be called here, on the default bridge.
    pub links: Vec<(String, String)>,
    /// Containers whose namespaces it shares, beside their network.
    pub shares: AskedShares,
    /// Volumes it gets.
    pub volumes: AskedVolumes,
    /// Host paths it mounts, and what to do about those that are not there.
    pub sources: Vec<(PathBuf, Missing)>,
    /// The rest. `network_mode` is decided here from `mode`, and an empty hostname is filled in.
    pub settings: Settings,
}

/// What to do about a host path that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Make a folder, as `-v` does.
    Make,
    /// Refuse, as `--mount` does.
    Refuse,
}

/// Where a container's network is, as it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AskedMode {
    /// On the default bridge.
    Bridge,
    /// Loopback only.
    None,
    /// The host's namespace.
    Host,
    /// Another container's, by name or id.
    Container(String),
    /// On this network, by name or id.
    Network(String),
}

/// Makes a container.
pub(super) async fn create(core: &Core, request: CreateContainer) -> Result<Arc<Container>> {
    let name = request.name.as_deref().map(checked_name).transpose()?;
    let (images, asked) = (core.images.clone(), request.image.clone());
    let image = super::blocking(move || Ok(images.get(&asked)?)).await?;
    let mut settings = request.settings;
    merge::merge(&mut settings, &image.document.config)?;
    let id = ContainerId::random();
    let networks = decide_networks(core, &request.mode, request.networks)?;
    settings.network_mode = decide_mode(core, &request.mode)?;
    settings.shares = shares::decide(core, &request.shares)?;
    settings.links = links::decide(core, &request.links)?;
    settings.ports = ports::coalesce(settings.ports);
    decide_hostname(core, &mut settings, &id);
    let places = image.document.config.volumes.keys();
    let places = places.map(|place| Path::new(place).components().collect());
    let wanted = volumes::decide(core, request.volumes, &mut settings, places)?;
    if !settings.stop_signal.is_empty() {
        signal::parse(&settings.stop_signal)?;
    }
    check_users(core, &settings)?;
    check_run(&settings).await?;
    let used = ImageUse {
        id: image.id,
        asked: request.image,
    };
    check_sources(&request.sources)?;
    let reserved = volumes::reserve(core, wanted).await?;
    let filling = volumes::needs_fill(core, &settings.volumes, &reserved).await?;
    let record = |name: ContainerName| Record {
        id,
        name,
        created: Timestamp::now(),
        image: used.clone(),
        settings: settings.clone(),
        networks: networks.clone(),
        state: State {
            filling,
            ..State::created()
        },
    };
    make_home(core, &id)?;
    let volumes = reserved.recording(core);
    let created = match name {
        Some(name) => core.registry.create(record(name), volumes).await,
        None => create_with_any_name(core, record, volumes).await,
    };
    match created {
        Ok(container) => {
            make_volumes(core, &container, &image, &reserved).await?;
            reserved::reserve(core, &container, None).await;
            core.events.send(container.event("create", &[]));
            Ok(container)
        }
        Err(error) => {
            reserved.give_back(core).await;
            let home = core.paths(&id).home;
            if let Err(undo) = fs::remove_dir_all(&home) {
                tracing::warn!(path = %home.display(), error = %undo, "undoing a creation");
            }
            Err(error)
        }
    }
}

/// Makes and fills the volumes that are recorded with it, or forgets it and them.
async fn make_volumes(
    core: &Core,
    container: &Container,
    image: &images::Image,
    reserved: &volumes::Reserved,
) -> Result<()> {
    let made = fill_volumes(core, container, image, reserved).await;
    if made.is_err() {
        container.publish_removed();
        if let Err(undo) = core.registry.remove(container).await {
            tracing::warn!(container = %container.record().name, error = %undo, "undoing a creation");
        }
        reserved.undo(core).await;
        let home = core.paths(&container.id()).home;
        if let Err(undo) = fs::remove_dir_all(&home) {
            tracing::warn!(path = %home.display(), error = %undo, "undoing a creation");
        }
    }
    made
}

async fn fill_volumes(
    core: &Core,
    container: &Container,
    image: &images::Image,
    reserved: &volumes::Reserved,
) -> Result<()> {
    reserved.make(core).await?;
    if container.record().state.filling {
        volumes::fill(core, &container.record(), image).await?;
        let filled = |record: &mut Record| record.state.filling = false;
        core.registry.update(container, filled).await?;
    }
    Ok(())
}

async fn create_with_any_name(
    core: &Core,
    record: impl Fn(ContainerName) -> Record,
    with: store::Txn,
) -> Result<Arc<Container>> {
    let mut retries = 0;
    loop {
        let draw = u64::from_le_bytes(std::array::from_fn(|at| ContainerId::random().as_bytes()[at]));
        match core
            .registry
            .create(record(naming::generate(draw, retries)), with.clone())
            .await
        {
            Err(Error::Conflict { .. }) if retries < 20 => retries += 1,
            other => return other,
        }
    }
}

/// A name as clients give it, perhaps with a leading slash.
pub(super) fn checked_name(text: &str) -> Result<ContainerName> {
    let bare = text.strip_prefix('/').unwrap_or(text);
    ContainerName::new(bare).map_err(|_| {
        Error::invalid(format!(
            "Invalid container name ({text}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
        ))
        .with_hint("a name has 2 to 255 characters and begins with a letter or digit")
    })
}

fn decide_mode(core: &Core, asked: &AskedMode) -> Result<NetworkMode> {
    Ok(match asked {
        AskedMode::Bridge => NetworkMode::Bridge,
        AskedMode::None => NetworkMode::None,
        AskedMode::Host => NetworkMode::Host,
        AskedMode::Network(name) => NetworkMode::Network(name.clone()),
        AskedMode::Container(text) => {
            let other = core.registry.find(text).map_err(as_invalid)?;
            if matches!(other.record().settings.network_mode, NetworkMode::Container(_)) {
                return Err(Error::conflict(format!(
                    "cannot join the network of container {text}: it shares another container's itself"
                ))
                .with_hint("name that other container"));
            }
            NetworkMode::Container(other.id())
        }
    })
}

/// Every network it is to be on. They must exist, and what is asked of them must be possible.
fn decide_networks(
    core: &Core,
    mode: &AskedMode,
    asked: Vec<(String, Wishes)>,
) -> Result<BTreeMap<NetworkId, Wishes>> {
    let main = match mode {
        AskedMode::Bridge => "bridge",
        AskedMode::None => "none",
        AskedMode::Host => "host",
        AskedMode::Network(name) => name,
        AskedMode::Container(_) if asked.is_empty() => return Ok(BTreeMap::new()),
        AskedMode::Container(_) => {
            return Err(Error::invalid(
                "conflicting options: a container that shares another's network can be on no network of its own",
            ));
        }
    };
    let mut networks = BTreeMap::new();
    for (name, wishes) in std::iter::once((main.to_owned(), Wishes::default())).chain(asked) {
        let found = core.controller.networks.find(&name);
        let network = found.map_err(|error| as_invalid(error.into()))?;
        let wishes = Wishes {
            network: network.name.to_string(),
            ..wishes
        };
        networks::check(&network, &wishes)?;
        networks.insert(network.id, wishes);
    }
    let alone = matches!(mode, AskedMode::None | AskedMode::Host);
    if networks.len() > 1
        && (alone
            || networks
                .values()
                .any(|wishes| ["none", "host"].contains(&&*wishes.network)))
    {
        return Err(Error::invalid(
            "conflicting options: cannot attach both user-defined and non-user-defined network-modes",
        )
        .with_hint("the networks \"host\" and \"none\" can't be combined with others"));
    }
    Ok(networks)
}

/// Clients read "not found" in answer to a creation as "pull the image": everything else that is missing must be
/// said in another way.
pub(crate) fn as_invalid(error: Error) -> Error {
    let missing = match &error {
        Error::NotFound { .. } => true,
        Error::Network { source, .. } => matches!(source.reason(), controller::Error::NotFound { .. }),
        _ => false,
    };
    if missing {
        Error::Invalid {
            message: error.to_string(),
            hint: error.hint(),
        }
    } else {
        error
    }
}

fn decide_hostname(core: &Core, settings: &mut Settings, id: &ContainerId) {
    if !settings.hostname.is_empty() {
        return;
    }
    settings.hostname = match &settings.network_mode {
        NetworkMode::Host => core.hostname.clone(),
        NetworkMode::Container(other) => match core.registry.get(other) {
            Some(other) => other.record().settings.hostname.clone(),
            None => id.short(),
        },
        _ => id.short(),
    };
}

/// In a users' namespace of its own a container can't have what is the host's.
fn check_users(core: &Core, settings: &Settings) -> Result<()> {
    let run = &settings.run;
    if core.users.is_none() || run.host_users {
        return Ok(());
    }
    let table = [
        (
            run.privileged,
            "privileged mode is incompatible with user namespaces.  You must run the container in the host namespace \
             when running privileged mode",
        ),
        (
            settings.network_mode == NetworkMode::Host,
            "cannot share the host's network namespace when user namespaces are enabled",
        ),
        (
            run.pid == Namespace::Host,
            "cannot share the host PID namespace when user namespaces are enabled",
        ),
        (
            run.ipc == Namespace::Host,
            "cannot share the host IPC namespace when user namespaces are enabled",
        ),
    ];
    match table.iter().find(|(asked, _)| *asked) {
        Some((_, words)) => {
            Err(Error::invalid(*words).with_hint("--userns host leaves the container out of it"))
        }
        None => Ok(()),
    }
}

/// What can't be met is refused now, not at every start.
async fn check_run(settings: &Settings) -> Result<()> {
    let mut run = settings.run.clone();
    if settings.network_mode == NetworkMode::Host {
        run.network = Namespace::Host;
    }
    super::blocking(move || {
        runtime::spec::check(&run, &HostFacts::read()).map_err(|error| Error::invalid(error.to_string()))
    })
    .await
}

fn check_sources(sources: &[(PathBuf, Missing)]) -> Result<()> {
    for (source, missing) in sources {
        if source.exists() {
            continue;
        }
        match missing {
            Missing::Refuse => {
                return Err(Error::invalid(format!(
                    "invalid mount config for type \"bind\": bind source path does not exist: {}",
                    source.display()
                )));
            }
            Missing::Make => fs::create_dir_all(source).map_err(Error::internal(format!(
                "making the bind source {}",
                source.display()
            )))?,
        }
    }
    Ok(())
}

fn make_home(core: &Core, id: &ContainerId) -> Result<()> {
    let paths = core.paths(id);
    let make =
        |path: &Path| -> io::Result<()> { fs::DirBuilder::new().recursive(true).mode(0o710).create(path) };
    for path in [&paths.home, &paths.files, &paths.bundle] {
        make(path).map_err(Error::internal(format!("making {}", path.display())))?;
    }
    Ok(())
}
