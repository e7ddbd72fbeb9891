//! `cnm rename`

use std::process::ExitCode;

use clap::Args;

use super::{Context, path};
use crate::client::Query;
use crate::error::Outcome;
use crate::grammar::names;

/// Give a container another name
#[derive(Debug, Args)]
pub(crate) struct ContainerRename {
    /// Container to rename
    #[arg(value_name = "CONTAINER", add = names::containers())]
    container: String,
    /// Its new name
    #[arg(value_name = "NEW_NAME")]
    name: String,
}

impl ContainerRename {
    /// Renames it.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let query = Query::new().with("name", self.name);
        context
            .client()?
            .order(&path("containers", &self.container, "/rename"), query)
            .await?;
        Ok(ExitCode::SUCCESS)
    }
}
