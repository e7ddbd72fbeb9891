//! The driver of network `none`: a sandbox with nothing but its loopback.

use async_trait::async_trait;
use model::{Endpoint, Network, Scope};

use crate::{Attachment, Capabilities, Draft, Driver, Needs, NetworkView, Result, Target};

/// Makes nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Null;

/// What the drivers that make nothing can do.
pub(crate) const NOTHING: Capabilities = Capabilities {
    scope: Scope::Local,
    addresses: false,
    single: true,
    gateway_bridge: false,
    several_pools: false,
};

#[async_trait]
impl Driver for Null {
    fn capabilities(&self) -> Capabilities {
        NOTHING
    }
    async fn check(&self, _draft: &Draft<'_>) -> Result<Needs> {
        Ok(Needs::default())
    }
    async fn create_network(&self, _network: &Network) -> Result<()> {
        Ok(())
    }
    async fn delete_network(&self, _network: &Network) -> Result<()> {
        Ok(())
    }
    async fn join(&self, _: &Network, _: &Endpoint, _: &Target) -> Result<Attachment> {
        Ok(Attachment::default())
    }
    async fn leave(&self, _: &Network, _: &Endpoint, _: &Target) -> Result<()> {
        Ok(())
    }
    async fn repair(&self, _view: &NetworkView) -> Result<()> {
        Ok(())
    }
}
