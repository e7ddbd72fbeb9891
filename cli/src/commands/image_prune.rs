//! `cnm image prune`

use std::process::ExitCode;

use api_types::ImagesPruned;
use clap::Args;

use super::{Context, confirm, say};
use crate::client::Query;
use crate::error::Outcome;
use crate::options::{filter, filters};
use crate::units::human_size;

/// Remove images without a name that no container uses
#[derive(Debug, Args)]
pub(crate) struct ImagePrune {
    /// Those that have a name, too
    #[arg(short, long)]
    all: bool,
    /// Only some, as until=24h, label=KEY, label!=KEY
    #[arg(long, value_name = "NAME=VALUE", value_parser = filter)]
    filter: Vec<(String, String)>,
    /// Don't ask
    #[arg(short, long)]
    force: bool,
}

impl ImagePrune {
    /// Asks, prunes, and names what went.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.client()?;
        if !self.force {
            say(if self.all {
                "WARNING! This will remove all images without at least one container associated to them."
            } else {
                "WARNING! This will remove all dangling images."
            })?;
            if !confirm("Are you sure you want to continue?")? {
                return Ok(ExitCode::SUCCESS);
            }
        }
        let mut filters = filters(&self.filter);
        filters.add("dangling", (!self.all).to_string());
        let query = Query::new().with_filters(&filters);
        let pruned: ImagesPruned = client.order_for("/images/prune", query).await?;
        let gone = pruned.images_deleted.unwrap_or_default();
        if !gone.is_empty() {
            say("Deleted Images:")?;
            for image in gone {
                let line = match image.deleted.is_empty() {
                    false => format!("deleted: {}", image.deleted),
                    true => format!("untagged: {}", image.untagged),
                };
                say(&line)?;
            }
            say("")?;
        }
        let freed = i64::try_from(pruned.space_reclaimed).unwrap_or(i64::MAX);
        say(&format!("Total reclaimed space: {}", human_size(freed, 4)))?;
        Ok(ExitCode::SUCCESS)
    }
}
