//! `cnm volume rm`

use clap::Args;

use super::{Context, for_each, path};
use crate::client::Query;
use crate::error::Outcome;
use crate::grammar::names;

/// Remove volumes that no container has
#[derive(Debug, Args)]
pub(crate) struct VolumeRm {
    /// It is no error if the volume does not exist
    #[arg(short, long)]
    force: bool,
    /// Volumes to remove
    #[arg(value_name = "VOLUME", required = true, add = names::volumes())]
    volumes: Vec<String>,
}

impl VolumeRm {
    /// Removes them and prints each one's name.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.client()?;
        for_each(&self.volumes, async |name| {
            let query = Query::new().with_flag("force", self.force);
            client.delete(&path("volumes", name, ""), query).await?;
            Ok(Some(name.to_owned()))
        })
        .await
    }
}
