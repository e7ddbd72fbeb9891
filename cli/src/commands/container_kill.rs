//! `cnm kill`

use clap::Args;

use super::{Context, for_each, path};
use crate::client::Query;
use crate::error::Outcome;
use crate::grammar::names;

/// Send a signal to running containers
#[derive(Debug, Args)]
pub(crate) struct ContainerKill {
    /// Signal to send (default: KILL)
    #[arg(short, long, value_name = "SIGNAL")]
    signal: Option<String>,
    /// Containers to signal
    #[arg(value_name = "CONTAINER", required = true, add = names::running_containers())]
    containers: Vec<String>,
}

impl ContainerKill {
    /// Signals them and prints each one's name.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.client()?;
        for_each(&self.containers, async |name| {
            let query = Query::new().with_some("signal", self.signal.as_deref());
            client.order(&path("containers", name, "/kill"), query).await?;
            Ok(Some(name.to_owned()))
        })
        .await
    }
}
