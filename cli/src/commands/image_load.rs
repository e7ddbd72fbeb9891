//! `cnm load`

use std::process::ExitCode;

use api_types::Progress;
use clap::Args;
use http::Method;

use super::{Context, show};
use crate::client::{ClientError, JsonLines, Query, upload};
use crate::error::{CommandError, Outcome};
use crate::terminal;

/// Load images from an archive of save, or of an OCI layout
#[derive(Debug, Args)]
pub(crate) struct ImageLoad {
    /// The archive (default: stdin)
    #[arg(short, long, value_name = "FILE")]
    input: Option<String>,
    /// Only the image of this platform, as linux/amd64
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
    /// Say nothing while it is loaded
    #[arg(short, long)]
    quiet: bool,
}

impl ImageLoad {
    /// Sends the archive and says what was loaded.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let body = match &self.input {
            Some(path) => upload::file(path).await?,
            None if terminal::stdin_is_terminal() => {
                return Err(CommandError::new("requested load from stdin, but stdin is empty")
                    .hint("cnm load -i archive.tar, or cnm load < archive.tar"));
            }
            None => upload::stdin(),
        };
        // Progress is for people to look at; the result comes either way.
        let query = Query::new()
            .with("quiet", "1")
            .with_some("platform", self.platform.as_deref());
        let client = context.client()?;
        let response = client
            .stream(Method::POST, "/images/load", query, body, Some(upload::TAR))
            .await?;
        let mut messages = JsonLines::new(response);
        while let Some(progress) = messages.next::<Progress>().await? {
            if !progress.error.is_empty() {
                return Err(ClientError::Task(progress.error).into());
            }
            show(&progress.stream)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
