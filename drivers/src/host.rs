//! The driver of network `host`: a sandbox is the host's own namespace, and nothing of ours goes into it.

use async_trait::async_trait;
use model::{Endpoint, Network};

use crate::{
    Attachment, Capabilities, Draft, Driver, Error, Needs, NetworkView, Result, Target, null::NOTHING,
};

/// Makes nothing, in the host's own namespace.
#[derive(Debug, Clone, Copy, Default)]
pub struct Host;

#[async_trait]
impl Driver for Host {
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
    async fn join(&self, _: &Network, _: &Endpoint, target: &Target) -> Result<Attachment> {
        match target.netns {
            None => Ok(Attachment::default()),
            Some(_) => Err(Error::Forbidden {
                message: "a container with a network namespace of its own can't join the host's".to_owned(),
                hint: Some("choose the host's network when the container is created".to_owned()),
            }),
        }
    }
    async fn leave(&self, _: &Network, _: &Endpoint, _: &Target) -> Result<()> {
        Ok(())
    }
    async fn repair(&self, _view: &NetworkView) -> Result<()> {
        Ok(())
    }
}
