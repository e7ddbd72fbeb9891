//! `cnm diff`

use std::process::ExitCode;

use api_types::ContainerChange;
use clap::Args;

use super::{Context, path, say};
use crate::client::Query;
use crate::error::Outcome;
use crate::grammar::names;

/// Show what a container changed of its image: C changed, A added, D deleted
#[derive(Debug, Args)]
pub(crate) struct ContainerDiff {
    /// The container
    #[arg(value_name = "CONTAINER", add = names::containers())]
    container: String,
}

impl ContainerDiff {
    /// A line for each path.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let changes: Option<Vec<ContainerChange>> = context
            .client()?
            .get(&path("containers", &self.container, "/changes"), Query::new())
            .await?;
        for change in changes.unwrap_or_default() {
            let kind = match change.kind {
                1 => "A",
                2 => "D",
                _ => "C",
            };
            say(&format!("{kind} {}", change.path))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
