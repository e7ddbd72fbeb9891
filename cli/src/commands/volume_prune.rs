//! `cnm volume prune`

use std::process::ExitCode;

use api_types::VolumesPruned;
use clap::Args;

use super::{Context, confirm, say};
use crate::client::Query;
use crate::error::Outcome;
use crate::options::{filter, filters};
use crate::units::human_size;

/// Remove volumes that no container has
#[derive(Debug, Args)]
pub(crate) struct VolumePrune {
    /// Those that have a name, too
    #[arg(short, long)]
    all: bool,
    /// Only some, as label=KEY, label!=KEY
    #[arg(long, value_name = "NAME=VALUE", value_parser = filter)]
    filter: Vec<(String, String)>,
    /// Don't ask
    #[arg(short, long)]
    force: bool,
}

impl VolumePrune {
    /// Asks, prunes, and names what went.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.client()?;
        if !self.force {
            let which = if self.all { "all" } else { "anonymous" };
            say(&format!(
                "WARNING! This will remove {which} local volumes not used by at least one container."
            ))?;
            if !confirm("Are you sure you want to continue?")? {
                return Ok(ExitCode::SUCCESS);
            }
        }
        let mut filters = filters(&self.filter);
        if self.all {
            filters.add("all", "true");
        }
        let query = Query::new().with_filters(&filters);
        let pruned: VolumesPruned = client.order_for("/volumes/prune", query).await?;
        let names = pruned.volumes_deleted.unwrap_or_default();
        if !names.is_empty() {
            say(&format!("Deleted Volumes:\n{}\n", names.join("\n")))?;
        }
        let freed = i64::try_from(pruned.space_reclaimed).unwrap_or(i64::MAX);
        say(&format!("Total reclaimed space: {}", human_size(freed, 4)))?;
        Ok(ExitCode::SUCCESS)
    }
}
