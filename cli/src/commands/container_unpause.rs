//! `cnm unpause`

use clap::Args;

use super::{Context, for_each, path};
use crate::client::Query;
use crate::error::Outcome;
use crate::grammar::names;

/// Let paused containers go on
#[derive(Debug, Args)]
pub(crate) struct ContainerUnpause {
    /// Containers to unpause
    #[arg(value_name = "CONTAINER", required = true, add = names::containers())]
    containers: Vec<String>,
}

impl ContainerUnpause {
    /// Does so and prints each one's name.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.client()?;
        for_each(&self.containers, async |name| {
            client
                .order(&path("containers", name, "/unpause"), Query::new())
                .await?;
            Ok(Some(name.to_owned()))
        })
        .await
    }
}
