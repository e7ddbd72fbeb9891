//! `cnm system stop`

use std::process::ExitCode;

use clap::Args;

use super::Context;
use crate::client::Query;
use crate::error::Outcome;

/// Stop all containers, as before a shutdown: those that start with the daemon still do
#[derive(Debug, Args)]
pub(crate) struct SystemStop {}

impl SystemStop {
    /// Stops them, each as its own settings say.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        context.client()?.order("/system/stop", Query::new()).await?;
        Ok(ExitCode::SUCCESS)
    }
}
