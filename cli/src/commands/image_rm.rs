//! `cnm rmi`

use api_types::ImageDeleted;
use clap::Args;

use super::{Context, for_each, path};
use crate::client::{ClientError, Query};
use crate::error::Outcome;
use crate::grammar::names;

/// Remove images
#[derive(Debug, Args)]
pub(crate) struct ImageRm {
    /// Remove it though containers use it; it is no error if it does not exist
    #[arg(short, long)]
    force: bool,
    /// Keep parents without a name
    #[arg(long)]
    no_prune: bool,
    /// Images to remove
    #[arg(value_name = "IMAGE", required = true, add = names::images())]
    images: Vec<String>,
}

impl ImageRm {
    /// Removes them and says what was untagged and what was deleted.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.client()?;
        for_each(&self.images, async |name| {
            let query = Query::new()
                .with_flag("force", self.force)
                .with_flag("noprune", self.no_prune);
            let answer = match client.delete(&path("images", name, ""), query).await {
                Err(error) if self.force && error.is_not_found() => {
                    super::warn(&error.to_string());
                    return Ok(None);
                }
                other => other?,
            };
            let steps: Vec<ImageDeleted> = serde_json::from_slice(&answer).map_err(ClientError::Answer)?;
            let lines: Vec<String> = steps
                .iter()
                .map(|step| match step.deleted.as_str() {
                    "" => format!("Untagged: {}", step.untagged),
                    deleted => format!("Deleted: {deleted}"),
                })
                .collect();
            Ok((!lines.is_empty()).then(|| lines.join("\n")))
        })
        .await
    }
}
