//! `cnm image tag`

use std::process::ExitCode;

use clap::Args;

use super::{Context, path};
use crate::client::Query;
use crate::error::Outcome;
use crate::grammar::names;
use crate::options::reference;

/// Give an image a further name
#[derive(Debug, Args)]
pub(crate) struct ImageTag {
    /// The image
    #[arg(value_name = "SOURCE_IMAGE[:TAG]", add = names::images())]
    source: String,
    /// The further name
    #[arg(value_name = "TARGET_IMAGE[:TAG]")]
    target: String,
}

impl ImageTag {
    /// Tags it.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let target = reference::with_tag(&self.target);
        let (repository, tag) = reference::split(&target);
        let query = Query::new().with("repo", repository).with("tag", tag);
        context
            .client()?
            .order(&path("images", &self.source, "/tag"), query)
            .await?;
        Ok(ExitCode::SUCCESS)
    }
}
