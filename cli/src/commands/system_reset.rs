//! `cnm system reset`

use std::process::ExitCode;

use api_types::{ContainerSummary, ImageSummary, Network, VolumesListed};
use clap::Args;

use super::{Context, confirm, for_each, path, say};
use crate::client::{Client, ClientError, Query};
use crate::error::{CommandError, Outcome};

/// Remove everything that the daemon has: containers, networks, volumes and images
#[derive(Debug, Args)]
pub(crate) struct SystemReset {
    /// Don't ask
    #[arg(short, long)]
    force: bool,
}

impl SystemReset {
    /// Asks, and removes one kind after the other: what uses goes before what is used.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        if !self.force {
            say(
                "WARNING! This will stop and remove all containers, and remove all networks, volumes and images.",
            )?;
            if !confirm("Are you sure you want to continue?")? {
                return Ok(ExitCode::SUCCESS);
            }
        }
        let client = context.client()?;
        let force = || Query::new().with_flag("force", true);
        let whole = || force().with_flag("v", true);
        let mut failed = remove(client, "containers", containers(client).await?, &whole).await?;
        failed |= remove(client, "networks", networks(client).await?, &Query::new).await?;
        failed |= remove(client, "volumes", volumes(client).await?, &force).await?;
        failed |= remove(client, "images", images(client).await?, &force).await?;
        Ok(if failed {
            ExitCode::from(1)
        } else {
            ExitCode::SUCCESS
        })
    }
}

/// Removes them; whether one stayed.
async fn remove(
    client: &Client,
    kind: &str,
    names: Vec<String>,
    query: &dyn Fn() -> Query,
) -> Result<bool, CommandError> {
    let outcome = for_each(&names, async |name| {
        match client.delete(&path(kind, name, ""), query()).await {
            // It went with what was removed before.
            Ok(_) => Ok(None),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    });
    let failed = outcome.await? != ExitCode::SUCCESS;
    say(&format!(
        "{kind}: {} {}",
        names.len(),
        if failed { "asked to go" } else { "removed" }
    ))?;
    Ok(failed)
}

async fn containers(client: &Client) -> Result<Vec<String>, ClientError> {
    let all: Vec<ContainerSummary> = client
        .get("/containers/json", Query::new().with("all", "1"))
        .await?;
    Ok(all.into_iter().map(|container| container.id).collect())
}

/// Those that are always there are the daemon itself.
async fn networks(client: &Client) -> Result<Vec<String>, ClientError> {
    let mut filters = api_types::Filters::default();
    filters.add("type", "custom");
    let all: Vec<Network> = client
        .get("/networks", Query::new().with_filters(&filters))
        .await?;
    Ok(all.into_iter().map(|network| network.id).collect())
}

async fn volumes(client: &Client) -> Result<Vec<String>, ClientError> {
    let all: VolumesListed = client.get("/volumes", Query::new()).await?;
    Ok(all.volumes.into_iter().map(|volume| volume.name).collect())
}

async fn images(client: &Client) -> Result<Vec<String>, ClientError> {
    let all: Vec<ImageSummary> = client.get("/images/json", Query::new().with("all", "1")).await?;
    Ok(all.into_iter().map(|image| image.id).collect())
}
