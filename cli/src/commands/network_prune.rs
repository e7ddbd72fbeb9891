//! `cnm network prune`

use std::process::ExitCode;

use api_types::NetworksPruned;
use clap::Args;

use super::{Context, confirm, say};
use crate::client::Query;
use crate::error::Outcome;
use crate::options::{filter, filters};

/// Remove all networks that nobody uses
#[derive(Debug, Args)]
pub(crate) struct NetworkPrune {
    /// Only some, as until=24h, label=KEY, label!=KEY
    #[arg(long, value_name = "NAME=VALUE", value_parser = filter)]
    filter: Vec<(String, String)>,
    /// Don't ask
    #[arg(short, long)]
    force: bool,
}

impl NetworkPrune {
    /// Asks, prunes, and names what went.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.client()?;
        if !self.force {
            say("WARNING! This will remove all custom networks not used by at least one container.")?;
            if !confirm("Are you sure you want to continue?")? {
                return Ok(ExitCode::SUCCESS);
            }
        }
        let query = Query::new().with_filters(&filters(&self.filter));
        let pruned: NetworksPruned = client.order_for("/networks/prune", query).await?;
        let names = pruned.networks_deleted.unwrap_or_default();
        if !names.is_empty() {
            say(&format!("Deleted Networks:\n{}\n", names.join("\n")))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
