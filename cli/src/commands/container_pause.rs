//! `cnm pause`

use clap::Args;

use super::{Context, for_each, path};
use crate::client::Query;
use crate::error::Outcome;
use crate::grammar::names;

/// Freeze all processes of containers
#[derive(Debug, Args)]
pub(crate) struct ContainerPause {
    /// Containers to pause
    #[arg(value_name = "CONTAINER", required = true, add = names::containers())]
    containers: Vec<String>,
}

impl ContainerPause {
    /// Does so and prints each one's name.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.client()?;
        for_each(&self.containers, async |name| {
            client
                .order(&path("containers", name, "/pause"), Query::new())
                .await?;
            Ok(Some(name.to_owned()))
        })
        .await
    }
}
