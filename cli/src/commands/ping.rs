//! `cnm ping`

use std::process::ExitCode;
use std::time::Instant;

use clap::Args;

use super::{Context, say};
use crate::error::Outcome;

/// Ask whether the daemon answers
#[derive(Debug, Args)]
pub(crate) struct Ping {}

impl Ping {
    /// Asks, and says how long the answer took.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let begun = Instant::now();
        let ping = context.client()?.ping().await?;
        let milliseconds = begun.elapsed().as_secs_f64() * 1000.0;
        say(&format!(
            "OK: API version {}, answered in {milliseconds:.1} ms",
            ping.api_version
        ))?;
        Ok(ExitCode::SUCCESS)
    }
}
