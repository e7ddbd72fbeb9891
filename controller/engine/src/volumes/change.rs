//! Volumes come and go: one by one, with a container, and all that nobody has.

use std::collections::BTreeSet;

use model::{Labels, Timestamp, VolumeName};
use tokio::sync::OwnedMutexGuard;

use super::{
    CreateVolume, VolumeView, decide,
    decide::Wanted,
    drivers,
    find::{self, VolumePrune, users},
    foreign,
    record::{ANONYMOUS, LOCAL, VolumeRecord},
};
use crate::{
    containers::Core,
    error::{Error, Result},
    event::{Event, Subject},
    record::Record,
};

/// What a prune removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PrunedVolumes {
    /// Their names.
    pub names: Vec<String>,
    /// The room they took.
    pub bytes: u64,
}

/// Makes a volume, or finds it.
pub(super) async fn create(core: &Core, request: CreateVolume) -> Result<VolumeView> {
    let anonymous = request.name.is_none();
    let name = decide::checked_name(request.name)?;
    let mut labels = request.labels;
    if anonymous {
        labels.insert(ANONYMOUS.to_owned(), String::new());
    }
    let _lock = core.volumes.lock(&name).await;
    if let Some(known) = core.volumes.get(&name) {
        same_driver(&known, request.driver.as_deref())?;
        return Ok(find::view(core, known));
    }
    let mut record = VolumeRecord {
        driver: request.driver.unwrap_or_else(|| LOCAL.to_owned()),
        options: request.options,
        created: Timestamp::now(),
        global: false,
        removing: false,
        name: name.clone(),
        labels,
    };
    finish_removal(core, &name).await?;
    drivers::prepare(core, &mut record).await?;
    core.volumes.put(record.clone()).await?;
    if let Err(error) = drivers::make(core, &record).await {
        if let Err(undo) = core.volumes.remove(&name).await {
            tracing::warn!(volume = %name, error = %undo, "undoing the making of a volume");
        }
        return Err(error);
    }
    tell(core, &record, "create", &[]);
    Ok(find::view(core, record.into()))
}

/// A removal that failed half way must end before the name is used again.
async fn finish_removal(core: &Core, name: &VolumeName) -> Result<()> {
    match core.volumes.any(name) {
        Some(left) => drivers::remove(core, &left).await,
        None => Ok(()),
    }
}

fn same_driver(known: &VolumeRecord, asked: Option<&str>) -> Result<()> {
    match asked {
        Some(asked) if asked != known.driver => Err(Error::conflict(format!(
            "create {name}: driver {:?} already has volume {name:?}: volume name must be unique",
            known.driver,
            name = known.name.as_str()
        ))),
        _ => Ok(()),
    }
}

/// Volumes of a container that is being made. While this lives none of them is removed.
#[derive(Debug)]
pub(crate) struct Reserved {
    _locks: Vec<OwnedMutexGuard<()>>,
    new: Vec<VolumeRecord>,
}

/// Sees that every volume of a new container is there or can be made with it.
///
/// # Errors
/// `Conflict` for a name that another driver has; `Invalid` for options that can't be.
pub(crate) async fn reserve(core: &Core, wanted: Vec<Wanted>) -> Result<Reserved> {
    let names: BTreeSet<_> = wanted.iter().map(|wanted| wanted.mount.volume.clone()).collect();
    let mut reserved = Reserved {
        _locks: Vec::new(),
        new: Vec::new(),
    };
    for name in &names {
        reserved._locks.push(core.volumes.lock(name).await);
    }
    for wanted in wanted {
        let name = &wanted.mount.volume;
        if let Some(known) = core.volumes.get(name) {
            same_driver(&known, wanted.driver.as_deref())?;
            continue;
        }
        if reserved.new.iter().any(|new| new.name == *name) {
            continue;
        }
        let Some(mut record) = wanted.new else {
            return Err(Error::invalid(format!("get {name}: no such volume"))
                .with_hint("the container whose volumes were asked for has just lost it"));
        };
        finish_removal(core, name).await?;
        if let Err(error) = drivers::prepare(core, &mut record).await {
            reserved.give_back(core).await;
            return Err(crate::containers::as_invalid(error));
        }
        reserved.new.push(record);
    }
    Ok(reserved)
}

impl Reserved {
    /// What records the new ones, for the commit that records their container.
    pub(crate) fn recording(&self, core: &Core) -> store::Txn {
        core.volumes.recording(&self.new)
    }

    /// Makes the new ones, which are recorded now.
    ///
    /// # Errors
    /// Those of their drivers.
    pub(crate) async fn make(&self, core: &Core) -> Result<()> {
        for record in &self.new {
            core.volumes.show(record.clone());
        }
        for record in &self.new {
            drivers::make(core, record).await?;
            tell(core, record, "create", &[]);
        }
        Ok(())
    }

    /// Whether this one is made now.
    pub(crate) fn is_new(&self, name: &VolumeName) -> bool {
        self.new.iter().any(|record| record.name == *name)
    }

    /// Has plugins remove what they made for a container that is not recorded.
    pub(crate) async fn give_back(&self, core: &Core) {
        for record in self.new.iter().filter(|record| record.driver != LOCAL) {
            if let Err(error) = drivers::remove(core, record).await {
                tracing::warn!(volume = %record.name, %error, "undoing the making of a volume");
            }
        }
    }

    /// Takes the new ones away again.
    pub(crate) async fn undo(&self, core: &Core) {
        for record in &self.new {
            if let Err(error) = take_away(core, record).await {
                tracing::warn!(volume = %record.name, %error, "undoing the making of a volume");
            }
        }
    }
}

/// Removes a volume that no container has.
pub(super) async fn remove(core: &Core, name: &str, force: bool) -> Result<()> {
    let missing = || Error::not_found(format!("get {name}: no such volume"));
    let Ok(checked) = VolumeName::new(name) else {
        return if force { Ok(()) } else { Err(missing()) };
    };
    let _lock = core.volumes.lock(&checked).await;
    let Some(record) = core.volumes.any(&checked) else {
        // What only its plugin knows is removed by the plugin.
        return match foreign::find(core, name).await {
            Some(view) => {
                drivers::remove(core, &view.record).await?;
                tell(core, &view.record, "destroy", &[]);
                Ok(())
            }
            None if force => Ok(()),
            None => Err(missing()),
        };
    };
    refuse_in_use(core, &record, None)?;
    take_away(core, &record).await
}

/// `except` is the container whose own removal asks.
fn refuse_in_use(core: &Core, record: &VolumeRecord, except: Option<&Record>) -> Result<()> {
    let users: Vec<String> = users(core, &record.name)
        .filter(|id| except.is_none_or(|except| except.id != *id))
        .map(|id| id.to_string())
        .collect();
    match users.is_empty() {
        true => Ok(()),
        false => Err(Error::conflict(format!(
            "remove {}: volume is in use - [{}]",
            record.name,
            users.join(", ")
        ))),
    }
}

/// Recorded first, so that a crash between the steps is finished by the next start.
async fn take_away(core: &Core, record: &VolumeRecord) -> Result<()> {
    if !record.removing {
        let removing = VolumeRecord {
            removing: true,
            ..record.clone()
        };
        core.volumes.put(removing).await?;
    }
    drivers::remove(core, record).await?;
    core.volumes.remove(&record.name).await?;
    tell(core, record, "destroy", &[]);
    Ok(())
}

/// Removes the volumes that a container which is being removed had for itself. One that another container has, stays.
pub(crate) async fn remove_anonymous(core: &Core, container: &Record) {
    for mount in container.settings.volumes.iter().filter(|mount| mount.anonymous) {
        let _lock = core.volumes.lock(&mount.volume).await;
        let Some(record) = core.volumes.any(&mount.volume) else {
            continue;
        };
        if refuse_in_use(core, &record, Some(container)).is_ok()
            && let Err(error) = take_away(core, &record).await
        {
            tracing::warn!(volume = %record.name, %error, "removing a container's volume");
        }
    }
}

/// Finishes what a crash interrupted.
pub(super) async fn finish(core: &Core, record: &VolumeRecord) -> Result<()> {
    let _lock = core.volumes.lock(&record.name).await;
    take_away(core, record).await
}

/// Removes those that no container has.
pub(super) async fn prune(core: &Core, filter: &VolumePrune) -> Result<PrunedVolumes> {
    let Ok(_pruning) = core.volumes.pruning.try_lock() else {
        return Err(Error::conflict("a prune operation is already running"));
    };
    let mut pruned = PrunedVolumes::default();
    for record in core.volumes.all() {
        if record.removing || !filter.takes(&record) {
            continue;
        }
        let _lock = core.volumes.lock(&record.name).await;
        if refuse_in_use(core, &record, None).is_err() || core.volumes.get(&record.name).is_none() {
            continue;
        }
        let bytes = find::bytes(core, &record).await.unwrap_or(0);
        match take_away(core, &record).await {
            Ok(()) => {
                pruned.names.push(record.name.to_string());
                pruned.bytes += bytes;
            }
            Err(error) => tracing::warn!(volume = %record.name, %error, "pruning a volume"),
        }
    }
    Ok(pruned)
}

/// Tells what happened to a volume.
pub(super) fn tell(core: &Core, record: &VolumeRecord, action: &str, more: &[(&str, String)]) {
    let mut attributes = Labels::from([("driver".to_owned(), record.driver.clone())]);
    attributes.extend(more.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
    let name = record.name.to_string();
    core.events
        .send(Event::now(Subject::Volume, name, action, attributes));
}
