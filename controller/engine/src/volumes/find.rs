//! Volumes found, listed and measured.

use std::sync::Arc;

use model::{ContainerId, Labels, VolumeName};

use super::{
    VolumeView, drivers, foreign,
    record::{LOCAL, VolumeMount, VolumeRecord},
};
use crate::{
    containers::{Core, blocking},
    error::{Error, Result},
    record::Record,
};

/// Which volumes to list: one of each kind given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VolumeQuery {
    /// Parts of names.
    pub names: Vec<String>,
    /// Drivers.
    pub drivers: Vec<String>,
    /// Labels that all must be there, with the value if one is given.
    pub labels: Vec<(String, Option<String>)>,
    /// Whether no container has it.
    pub dangling: Option<bool>,
}

/// Which volumes a prune takes, of those that no container has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VolumePrune {
    /// Those that users named, too.
    pub all: bool,
    /// Labels that all must be there.
    pub labels: Vec<(String, Option<String>)>,
    /// Labels of which none may be there.
    pub without_labels: Vec<(String, Option<String>)>,
}

impl VolumePrune {
    pub(super) fn takes(&self, record: &VolumeRecord) -> bool {
        (self.all || record.is_anonymous())
            && self.labels.iter().all(|label| has(&record.labels, label))
            && !self.without_labels.iter().any(|label| has(&record.labels, label))
    }
}

fn has(labels: &Labels, (key, value): &(String, Option<String>)) -> bool {
    labels
        .get(key)
        .is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
}

/// A volume with its size.
#[derive(Debug, Clone)]
pub struct VolumeUsage {
    /// The volume.
    pub view: VolumeView,
    /// Bytes; none where that can't be told, as for what is not on this host.
    pub bytes: Option<u64>,
    /// How many containers have it.
    pub containers: usize,
}

/// Where a container's volumes are on the host.
pub(crate) fn places(core: &Core, record: &Record) -> Vec<(VolumeMount, String)> {
    let mounts = record.settings.volumes.iter().map(|mount| {
        let place = core
            .volumes
            .any(&mount.volume)
            .map(|volume| drivers::mountpoint(core, &volume));
        (mount.clone(), place.unwrap_or_default())
    });
    mounts.collect()
}

pub(super) fn view(core: &Core, record: Arc<VolumeRecord>) -> VolumeView {
    VolumeView {
        mountpoint: drivers::mountpoint(core, &record),
        status: None,
        record,
    }
}

pub(super) async fn inspect(core: &Core, name: &str) -> Result<VolumeView> {
    let found = VolumeName::new(name)
        .ok()
        .and_then(|name| core.volumes.get(&name));
    match found {
        Some(record) => {
            let told = drivers::status(core, &record).await;
            let mut view = view(core, record);
            if let Some((mountpoint, status)) = told {
                view.mountpoint = mountpoint;
                view.status = status;
            }
            Ok(view)
        }
        None => match foreign::find(core, name).await {
            Some(view) => Ok(view),
            None => Err(Error::not_found(format!("get {name}: no such volume"))),
        },
    }
}

pub(super) fn list(core: &Core, query: &VolumeQuery) -> Vec<VolumeView> {
    let used: std::collections::BTreeSet<VolumeName> = match query.dangling {
        Some(_) => used(core).into_keys().collect(),
        None => Default::default(),
    };
    let any = |asked: &[String], holds: &dyn Fn(&String) -> bool| asked.is_empty() || asked.iter().any(holds);
    let records = core.volumes.all().into_iter().filter(|record| {
        !record.removing
            && any(&query.names, &|text| record.name.contains(text.as_str()))
            && any(&query.drivers, &|text| *text == record.driver)
            && query.labels.iter().all(|label| has(&record.labels, label))
            && query
                .dangling
                .is_none_or(|dangling| dangling != used.contains(&record.name))
    });
    records.map(|record| view(core, record)).collect()
}

/// Containers that have a volume.
pub(super) fn users(core: &Core, name: &VolumeName) -> impl Iterator<Item = ContainerId> {
    let name = name.clone();
    core.registry.all().into_iter().filter_map(move |container| {
        let record = container.record();
        let has = record.settings.volumes.iter().any(|mount| mount.volume == name);
        has.then_some(record.id)
    })
}

/// Volumes that containers have, with how many.
fn used(core: &Core) -> std::collections::BTreeMap<VolumeName, usize> {
    let mut counts = std::collections::BTreeMap::new();
    for container in core.registry.all() {
        let record = container.record();
        let names: std::collections::BTreeSet<_> = record
            .settings
            .volumes
            .iter()
            .map(|mount| &mount.volume)
            .collect();
        for name in names {
            *counts.entry(name.clone()).or_default() += 1;
        }
    }
    counts
}

pub(super) async fn usage(core: &Arc<Core>) -> Result<Vec<VolumeUsage>> {
    let used = used(core);
    let mut all = Vec::new();
    for view in list(core, &VolumeQuery::default()) {
        all.push(VolumeUsage {
            bytes: bytes(core, &view.record).await,
            containers: used.get(&view.record.name).copied().unwrap_or(0),
            view,
        });
    }
    Ok(all)
}

/// Room it takes on this host.
pub(super) async fn bytes(core: &Core, record: &VolumeRecord) -> Option<u64> {
    if record.driver != LOCAL || !record.options.is_empty() {
        return None;
    }
    let data = core.volume_folder(&record.name).data();
    let counted =
        blocking(move || runtime::room::bytes(&data).map_err(Error::internal("measuring a volume")));
    counted.await.ok()
}
