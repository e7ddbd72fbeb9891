//! `cnm network rm`

use clap::Args;

use super::{Context, for_each, path};
use crate::client::Query;
use crate::error::Outcome;
use crate::grammar::names;

/// Remove networks that nobody is connected to
#[derive(Debug, Args)]
pub(crate) struct NetworkRm {
    /// It is no error if the network does not exist
    #[arg(short, long)]
    force: bool,
    /// Networks to remove
    #[arg(value_name = "NETWORK", required = true, add = names::networks())]
    networks: Vec<String>,
}

impl NetworkRm {
    /// Removes them and prints each one's name.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.client()?;
        for_each(&self.networks, async |name| {
            match client.delete(&path("networks", name, ""), Query::new()).await {
                Ok(_) => Ok(Some(name.to_owned())),
                Err(error) if self.force && error.is_not_found() => Ok(None),
                Err(error) => Err(error.into()),
            }
        })
        .await
    }
}
