//! What a plugin of volumes does.

use async_trait::async_trait;

use super::{Answer, unknown};
use crate::{call::Nothing, volume_driver as volume};

/// A driver of volumes. What it does not do needs not be written.
#[async_trait]
pub trait VolumeDriver: Send + Sync + 'static {
    /// What it can do.
    async fn capabilities(&self) -> Answer<volume::Capable> {
        Ok(volume::Capable {
            capabilities: volume::Capabilities {
                scope: volume::LOCAL.to_owned(),
            },
        })
    }
    /// Makes a volume, or makes sure of it.
    async fn create(&self, request: volume::Create) -> Answer<Nothing>;
    /// Removes it.
    async fn remove(&self, request: volume::Remove) -> Answer<Nothing>;
    /// Somebody begins to use it: it must be mounted from now on.
    async fn mount(&self, request: volume::Mount) -> Answer<volume::Mounted>;
    /// Somebody uses it no more.
    async fn unmount(&self, request: volume::Unmount) -> Answer<Nothing>;
    /// Where it is mounted, if it is.
    async fn path(&self, _: volume::Path) -> Answer<volume::Mounted> {
        unknown()
    }
    /// The volume.
    async fn get(&self, request: volume::Get) -> Answer<volume::Found>;
    /// All volumes.
    async fn list(&self) -> Answer<volume::Listed>;
}
