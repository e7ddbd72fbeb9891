//! `cnm import`

use std::process::ExitCode;

use api_types::Progress;
use clap::Args;
use http::Method;

use super::{Context, say};
use crate::client::{ClientError, JsonLines, Query, upload};
use crate::error::{CommandError, Outcome};
use crate::options::reference;

/// Make an image of a root file system in a tar archive
#[derive(Debug, Args)]
pub(crate) struct ImageImport {
    /// Instruction for the image, as CMD ["sh"] or ENV A=1
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// A message kept with the image
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// Platform of the image, as linux/amd64
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
    /// The archive, or - for stdin
    #[arg(value_name = "FILE|-")]
    source: String,
    /// Name of the image
    #[arg(value_name = "REPOSITORY[:TAG]")]
    name: Option<String>,
}

impl ImageImport {
    /// Sends the archive and prints the image's id.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        if self.source.contains("://") {
            return Err(CommandError::new(format!(
                "can't import {:?}: the daemon fetches nothing yet",
                self.source
            ))
            .hint(format!("curl -L {} | cnm import - NAME", self.source)));
        }
        let body = if self.source == "-" {
            upload::stdin()
        } else {
            upload::file(&self.source).await?
        };
        let (repository, tag) = self.name.as_deref().map_or(("", ""), reference::split);
        let mut query = Query::new()
            .with("fromSrc", "-")
            .with("repo", repository)
            .with_some("tag", (!tag.is_empty()).then_some(tag))
            .with_some("message", self.message.as_deref())
            .with_some("platform", self.platform.as_deref());
        for change in &self.change {
            query = query.with("changes", change);
        }
        let client = context.client()?;
        let response = client
            .stream(Method::POST, "/images/create", query, body, Some(upload::TAR))
            .await?;
        let mut messages = JsonLines::new(response);
        while let Some(progress) = messages.next::<Progress>().await? {
            if !progress.error.is_empty() {
                return Err(ClientError::Task(progress.error).into());
            }
            if !progress.status.is_empty() {
                say(&progress.status)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
