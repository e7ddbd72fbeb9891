//! The one thing that operations ask of the name service: how far it is.

use async_trait::async_trait;

/// Serves names from snapshots; implemented by the daemon's side of `cnm-names`.
#[async_trait]
pub trait NameService: Send + Sync + std::fmt::Debug {
    /// Waits until names are served as of this snapshot generation or a later one. Also after removals: sockets in a
    /// namespace are then closed, so that it can be unpinned. The caller sets a deadline and goes on without.
    async fn caught_up(
        &self,
        generation: u64,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync + 'static>>;
}

/// No name service: for embedders that resolve names in another way.
#[derive(Debug, Clone, Copy, Default)]
pub struct WithoutNames;

#[async_trait]
impl NameService for WithoutNames {
    async fn caught_up(&self, _: u64) -> Result<(), Box<dyn std::error::Error + Send + Sync + 'static>> {
        Ok(())
    }
}
