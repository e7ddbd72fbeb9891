//! `cnm rm`

use clap::Args;

use super::{Context, for_each, path};
use crate::client::Query;
use crate::error::Outcome;
use crate::grammar::names;

/// Remove containers
#[derive(Debug, Args)]
pub(crate) struct ContainerRm {
    /// Kill it if it runs; it is no error if it does not exist
    #[arg(short, long)]
    force: bool,
    /// Remove a link, not a container
    #[arg(short, long)]
    link: bool,
    /// Remove its anonymous volumes, too
    #[arg(short, long)]
    volumes: bool,
    /// Containers to remove
    #[arg(value_name = "CONTAINER", required = true, add = names::containers())]
    containers: Vec<String>,
}

impl ContainerRm {
    /// Removes them and prints each one's name.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.client()?;
        for_each(&self.containers, async |name| {
            let query = Query::new()
                .with_flag("force", self.force)
                .with_flag("link", self.link)
                .with_flag("v", self.volumes);
            let name = name.trim_matches('/');
            match client.delete(&path("containers", name, ""), query).await {
                Ok(_) => Ok(Some(name.to_owned())),
                Err(error) if self.force && error.is_not_found() => {
                    super::warn(&error.to_string());
                    Ok(None)
                }
                Err(error) => Err(error.into()),
            }
        })
        .await
    }
}
