//! Volumes that plugins have and nobody made here: they are asked for them, each at the same time, and not for long.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use model::{Labels, Timestamp, VolumeName};
use plugin_proto::{Plugin, activation::VOLUME_DRIVER, volume_driver as calls};
use tokio::time::timeout;

use super::{
    VolumeQuery, VolumeView,
    record::{LOCAL, VolumeRecord},
};
use crate::containers::Core;

/// A list waits so long for the slowest plugin.
const PATIENCE: Duration = Duration::from_secs(5);

/// Every plugin on this host that has volumes. One that doesn't answer has none.
pub(super) async fn drivers(core: &Core) -> Vec<Arc<Plugin>> {
    let asked = core.plugins.all().into_iter().map(|plugin| async move {
        let shaken = timeout(PATIENCE, plugin.require(VOLUME_DRIVER, Duration::ZERO)).await;
        matches!(shaken, Ok(Ok(()))).then_some(plugin)
    });
    join_all(asked).await.into_iter().flatten().collect()
}

/// What plugins have that is asked for and not recorded here, and what went wrong, in Docker's words.
pub(super) async fn list(core: &Core, query: &VolumeQuery) -> (Vec<VolumeView>, Vec<String>) {
    // What was made elsewhere has no labels and no container here.
    if !query.labels.is_empty() || query.dangling == Some(false) {
        return (Vec::new(), Vec::new());
    }
    let wanted = |plugin: &Arc<Plugin>| {
        query.drivers.is_empty() || query.drivers.iter().any(|driver| driver == plugin.name())
    };
    let asked = drivers(core)
        .await
        .into_iter()
        .filter(wanted)
        .map(|plugin| async {
            let listed = timeout(PATIENCE, plugin.call(&calls::List {})).await;
            let listed = match listed {
                Ok(Ok(listed)) => Ok(listed.volumes),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err(format!("no answer within {} seconds", PATIENCE.as_secs())),
            };
            (plugin, listed)
        });
    let (mut found, mut warnings) = (Vec::new(), Vec::new());
    for (plugin, listed) in join_all(asked).await {
        match listed {
            Ok(volumes) => found.extend(
                volumes
                    .into_iter()
                    .filter_map(|volume| view(core, plugin.name(), volume)),
            ),
            Err(reason) => {
                tracing::warn!(driver = plugin.name(), reason, "its volumes can't be listed");
                warnings.push(format!("list {}: {reason}", plugin.name()));
            }
        }
    }
    found.retain(|view: &VolumeView| {
        let named = |text: &String| view.record.name.contains(text.as_str());
        query.names.is_empty() || query.names.iter().any(named)
    });
    (found, warnings)
}

/// The volume of a name that some plugin has.
pub(super) async fn find(core: &Core, name: &str) -> Option<VolumeView> {
    let asked = drivers(core).await.into_iter().map(|plugin| async move {
        let call = calls::Get {
            name: name.to_owned(),
        };
        let found = timeout(PATIENCE, plugin.call(&call)).await.ok()?.ok()?;
        view(core, plugin.name(), found.volume?)
    });
    join_all(asked).await.into_iter().flatten().next()
}

/// As a record would say it. Nothing for a name that none of ours could have, and for what is recorded.
fn view(core: &Core, driver: &str, volume: calls::Volume) -> Option<VolumeView> {
    let name = VolumeName::new(&volume.name).ok()?;
    if driver == LOCAL || core.volumes.any(&name).is_some() {
        return None;
    }
    let record = VolumeRecord {
        name,
        driver: driver.to_owned(),
        options: Labels::new(),
        labels: Labels::new(),
        created: volume.created_at.parse().unwrap_or(Timestamp::from_unix_nanos(0)),
        global: false,
        removing: false,
    };
    let status = Some(volume.status).filter(|status| !status.is_empty());
    Some(VolumeView {
        record: Arc::new(record),
        mountpoint: volume.mountpoint,
        status: status.map(serde_json::Value::Object),
    })
}
