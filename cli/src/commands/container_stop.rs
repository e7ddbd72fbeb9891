//! `cnm stop`

use clap::Args;

use super::{Context, for_each, path};
use crate::client::Query;
use crate::error::Outcome;
use crate::grammar::names;

/// Stop running containers: ask by a signal, kill after a while
#[derive(Debug, Args)]
pub(crate) struct ContainerStop {
    /// Signal that asks (default: the container's own)
    #[arg(short, long, value_name = "SIGNAL")]
    signal: Option<String>,
    /// Seconds until it is killed (default: the container's own); -1 for never
    #[arg(short, long, visible_alias = "time", value_name = "SECONDS")]
    timeout: Option<i64>,
    /// Containers to stop
    #[arg(value_name = "CONTAINER", required = true, add = names::running_containers())]
    containers: Vec<String>,
}

impl ContainerStop {
    /// Stops them and prints each one's name.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.client()?;
        for_each(&self.containers, async |name| {
            let query = Query::new()
                .with_some("signal", self.signal.as_deref())
                .with_some("t", self.timeout.map(|seconds| seconds.to_string()));
            client.order(&path("containers", name, "/stop"), query).await?;
            Ok(Some(name.to_owned()))
        })
        .await
    }
}
