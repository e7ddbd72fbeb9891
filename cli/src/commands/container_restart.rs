//! `cnm restart`

use clap::Args;

use super::{Context, for_each, path};
use crate::client::Query;
use crate::error::Outcome;
use crate::grammar::names;

/// Stop containers and start them again
#[derive(Debug, Args)]
pub(crate) struct ContainerRestart {
    /// Signal that asks (default: the container's own)
    #[arg(short, long, value_name = "SIGNAL")]
    signal: Option<String>,
    /// Seconds until it is killed (default: the container's own)
    #[arg(short, long, visible_alias = "time", value_name = "SECONDS")]
    timeout: Option<i64>,
    /// Containers to restart
    #[arg(value_name = "CONTAINER", required = true, add = names::containers())]
    containers: Vec<String>,
}

impl ContainerRestart {
    /// Restarts them and prints each one's name.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.client()?;
        for_each(&self.containers, async |name| {
            let query = Query::new()
                .with_some("signal", self.signal.as_deref())
                .with_some("t", self.timeout.map(|seconds| seconds.to_string()));
            client.order(&path("containers", name, "/restart"), query).await?;
            Ok(Some(name.to_owned()))
        })
        .await
    }
}
