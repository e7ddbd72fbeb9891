//! `cnm network disconnect`

use std::process::ExitCode;

use api_types::Disconnect;
use clap::Args;

use super::{Context, path};
use crate::error::Outcome;
use crate::grammar::names;

/// Disconnect a container from a network
#[derive(Debug, Args)]
pub(crate) struct NetworkDisconnect {
    /// Disconnect it even if the container is lost
    #[arg(short, long)]
    force: bool,
    /// Network to leave
    #[arg(value_name = "NETWORK", add = names::networks())]
    network: String,
    /// Container that leaves
    #[arg(value_name = "CONTAINER", add = names::containers())]
    container: String,
}

impl NetworkDisconnect {
    /// Disconnects.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let path = path("networks", &self.network, "/disconnect");
        let request = Disconnect {
            container: self.container,
            force: self.force,
        };
        context.client()?.post_only(&path, &request).await?;
        Ok(ExitCode::SUCCESS)
    }
}
