//! `cnm sandbox rm`

use clap::Args;

use super::{Context, for_each, path};
use crate::client::Query;
use crate::error::Outcome;
use crate::grammar::names;

/// Take containers of other programs off our networks; they and their namespaces stay
#[derive(Debug, Args)]
pub(crate) struct SandboxRm {
    /// It is no error if the sandbox does not exist
    #[arg(short, long)]
    force: bool,
    /// Ids, containers, or the beginning of either
    #[arg(value_name = "SANDBOX", required = true, add = names::sandboxes())]
    sandboxes: Vec<String>,
}

impl SandboxRm {
    /// Removes them and prints each one's name.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.client()?;
        for_each(&self.sandboxes, async |name| {
            match client.delete(&path("sandboxes", name, ""), Query::new()).await {
                Ok(_) => Ok(Some(name.to_owned())),
                Err(error) if self.force && error.is_not_found() => Ok(None),
                Err(error) => Err(error.into()),
            }
        })
        .await
    }
}
