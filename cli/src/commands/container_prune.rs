//! `cnm container prune`

use std::process::ExitCode;

use api_types::ContainersPruned;
use clap::Args;

use super::{Context, confirm, say};
use crate::client::Query;
use crate::error::Outcome;
use crate::options::{filter, filters};
use crate::units::human_size;

/// Remove all stopped containers
#[derive(Debug, Args)]
pub(crate) struct ContainerPrune {
    /// Only some, as until=24h, label=KEY, label!=KEY
    #[arg(long, value_name = "NAME=VALUE", value_parser = filter)]
    filter: Vec<(String, String)>,
    /// Don't ask
    #[arg(short, long)]
    force: bool,
}

impl ContainerPrune {
    /// Asks, prunes, and names what went.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.client()?;
        if !self.force {
            say("WARNING! This will remove all stopped containers.")?;
            if !confirm("Are you sure you want to continue?")? {
                return Ok(ExitCode::SUCCESS);
            }
        }
        let query = Query::new().with_filters(&filters(&self.filter));
        let pruned: ContainersPruned = client.order_for("/containers/prune", query).await?;
        let ids = pruned.containers_deleted.unwrap_or_default();
        if !ids.is_empty() {
            say(&format!("Deleted Containers:\n{}\n", ids.join("\n")))?;
        }
        let freed = i64::try_from(pruned.space_reclaimed).unwrap_or(i64::MAX);
        say(&format!("Total reclaimed space: {}", human_size(freed, 4)))?;
        Ok(ExitCode::SUCCESS)
    }
}
