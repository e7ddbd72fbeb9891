//! `cnm wait`

use clap::Args;

use super::container_run::wait;
use super::{Context, for_each};
use crate::error::Outcome;
use crate::grammar::names;

/// Wait until containers have stopped and print their exit statuses
#[derive(Debug, Args)]
pub(crate) struct ContainerWait {
    /// Containers to wait for
    #[arg(value_name = "CONTAINER", required = true, add = names::running_containers())]
    containers: Vec<String>,
}

impl ContainerWait {
    /// Waits for them.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.client()?;
        for_each(&self.containers, async |name| {
            let mut end = wait(client, name, "not-running").await?;
            let status = end.status().await.map_err(|error| error.status(1))?;
            Ok(Some(status.to_string()))
        })
        .await
    }
}
