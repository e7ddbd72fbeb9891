//! `cnm system prune`

use std::process::ExitCode;

use api_types::{ContainersPruned, Filters, ImagesPruned, NetworksPruned, VolumesPruned};
use clap::Args;

use super::{Context, confirm, say};
use crate::client::Query;
use crate::error::{CommandError, Outcome};
use crate::options::{filter, filters};
use crate::units::human_size;

/// Remove containers that don't run, networks and images that nobody uses
#[derive(Debug, Args)]
pub(crate) struct SystemPrune {
    /// Images that have a name, too
    #[arg(short, long)]
    all: bool,
    /// Only some, as until=24h, label=KEY, label!=KEY
    #[arg(long, value_name = "NAME=VALUE", value_parser = filter)]
    filter: Vec<(String, String)>,
    /// Don't ask
    #[arg(short, long)]
    force: bool,
    /// Anonymous volumes, too
    #[arg(long)]
    volumes: bool,
}

impl SystemPrune {
    /// Asks, prunes, and names what went.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let filters = filters(&self.filter);
        if self.volumes && filters.has("until") {
            return Err(CommandError::new(
                "ERROR: The \"until\" filter is not supported with \"--volumes\"",
            ));
        }
        if !self.force {
            say(&self.warning())?;
            if !confirm("Are you sure you want to continue?")? {
                return Ok(ExitCode::SUCCESS);
            }
        }
        let freed = self.prune(context, &filters).await?;
        let freed = i64::try_from(freed).unwrap_or(i64::MAX);
        say(&format!("Total reclaimed space: {}", human_size(freed, 4)))?;
        Ok(ExitCode::SUCCESS)
    }

    fn warning(&self) -> String {
        let images = if self.all {
            "all images without at least one container associated to them"
        } else {
            "all dangling images"
        };
        let mut lines = vec![
            "all stopped containers",
            "all networks not used by at least one container",
        ];
        if self.volumes {
            lines.push("all anonymous volumes not used by at least one container");
        }
        lines.push(images);
        format!("WARNING! This will remove:\n  - {}\n", lines.join("\n  - "))
    }

    async fn prune(&self, context: &Context, filters: &Filters) -> Result<u64, CommandError> {
        let client = context.client()?;
        let query = || Query::new().with_filters(filters);
        let containers: ContainersPruned = client.order_for("/containers/prune", query()).await?;
        tell("Containers", containers.containers_deleted)?;
        let networks: NetworksPruned = client.order_for("/networks/prune", query()).await?;
        tell("Networks", networks.networks_deleted)?;
        let mut freed = containers.space_reclaimed;
        if self.volumes {
            let volumes: VolumesPruned = client.order_for("/volumes/prune", query()).await?;
            tell("Volumes", volumes.volumes_deleted)?;
            freed += volumes.space_reclaimed;
        }
        let mut filters = filters.clone();
        filters.add("dangling", (!self.all).to_string());
        let query = Query::new().with_filters(&filters);
        let images: ImagesPruned = client.order_for("/images/prune", query).await?;
        let lines = images
            .images_deleted
            .unwrap_or_default()
            .into_iter()
            .map(|image| match image.deleted.is_empty() {
                false => format!("deleted: {}", image.deleted),
                true => format!("untagged: {}", image.untagged),
            });
        tell("Images", Some(lines.collect()))?;
        Ok(freed + images.space_reclaimed)
    }
}

fn tell(kind: &str, gone: Option<Vec<String>>) -> Result<(), CommandError> {
    match gone.unwrap_or_default() {
        gone if gone.is_empty() => Ok(()),
        gone => say(&format!("Deleted {kind}:\n{}\n", gone.join("\n"))),
    }
}
