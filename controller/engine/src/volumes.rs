//! Volumes: what outlives the containers that use it.
//!
//! A record says that a volume is; who uses it is never counted but read off the containers' records. New volumes are
//! recorded in the commit that records their container, so a crash leaves both or neither; a removal is recorded before
//! anything is removed, and finished at the next start.

mod attach;
mod change;
mod decide;
mod drivers;
mod fill;
mod find;
mod foreign;
mod record;
mod registry;
mod sweep;

use std::sync::Arc;

pub use change::PrunedVolumes;
pub use decide::{AskedVolume, AskedVolumes};
pub use find::{VolumePrune, VolumeQuery, VolumeUsage};
use record::LOCAL;
pub use record::{VolumeMount, VolumeRecord};

pub(crate) use attach::{attach, detach, mark_attached};
pub(crate) use change::{Reserved, remove_anonymous, reserve};
pub(crate) use decide::decide;
pub(crate) use fill::{fill, needs_fill};
pub(crate) use find::places;
pub(crate) use registry::Registry;
pub(crate) use sweep::sweep;

use crate::{containers::Core, error::Result};

/// The volumes of this host.
#[derive(Debug, Clone)]
pub struct Volumes {
    pub(crate) core: Arc<Core>,
}

/// A volume wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CreateVolume {
    /// Its name; none for one made up here.
    pub name: Option<String>,
    /// Its driver; none for the local one.
    pub driver: Option<String>,
    /// The driver's options.
    pub options: model::Labels,
    /// The user's labels.
    pub labels: model::Labels,
}

/// A volume as it is shown.
#[derive(Debug, Clone)]
pub struct VolumeView {
    /// Its record.
    pub record: Arc<VolumeRecord>,
    /// Where it is on the host; empty when its driver doesn't say.
    pub mountpoint: String,
    /// What its driver says of it.
    pub status: Option<serde_json::Value>,
}

impl Volumes {
    /// Makes a volume, or finds the one of that name.
    ///
    /// # Errors
    /// `Invalid` for a name or an option against the rules; `Conflict` for a name that another driver has.
    pub async fn create(&self, request: CreateVolume) -> Result<VolumeView> {
        change::create(&self.core, request).await
    }

    /// One volume.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn inspect(&self, name: &str) -> Result<VolumeView> {
        find::inspect(&self.core, name).await
    }

    /// Those that are asked for, by name: those of this host's records, and what plugins have besides. And what plugins
    /// didn't say.
    pub async fn list(&self, query: &VolumeQuery) -> (Vec<VolumeView>, Vec<String>) {
        let mut volumes = find::list(&self.core, query);
        let (foreign, warnings) = foreign::list(&self.core, query).await;
        volumes.extend(foreign);
        volumes.sort_by(|one, other| one.record.name.cmp(&other.record.name));
        (volumes, warnings)
    }

    /// Removes a volume. With `force` one that is not there is no error.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` while a container has it.
    pub async fn remove(&self, name: &str, force: bool) -> Result<()> {
        change::remove(&self.core, name, force).await
    }

    /// Removes those that no container has.
    ///
    /// # Errors
    /// `Conflict` while another prune runs.
    pub async fn prune(&self, filter: &VolumePrune) -> Result<PrunedVolumes> {
        change::prune(&self.core, filter).await
    }

    /// All of them with how much room they take and how many containers have them.
    ///
    /// # Errors
    /// `Internal`.
    pub async fn usage(&self) -> Result<Vec<VolumeUsage>> {
        find::usage(&self.core).await
    }

    /// Names of the drivers: the local one and every plugin that answers.
    pub async fn drivers(&self) -> Vec<String> {
        let plugins = foreign::drivers(&self.core).await;
        let names = plugins.iter().map(|plugin| plugin.name().to_owned());
        std::iter::once(LOCAL.to_owned()).chain(names).collect()
    }
}
