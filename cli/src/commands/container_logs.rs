//! `cnm logs`

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use api_types::ContainerInspect as Inspected;
use clap::Args;
use http::Method;

use super::{Context, path};
use crate::client::{Chunks, Query, empty};
use crate::error::Outcome;
use crate::grammar::names;
use crate::options::timestamp;
use crate::session::{Demultiplexer, Stream, show_stream};

/// Show what a container has said
#[derive(Debug, Args)]
pub(crate) struct ContainerLogs {
    /// Show extra details given to the log
    #[arg(long)]
    details: bool,
    /// Go on with what it says next
    #[arg(short, long)]
    follow: bool,
    /// From then on, as 2013-01-02T13:23:37Z or 42m
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// So many lines of the end
    #[arg(short = 'n', long, value_name = "LINES", default_value = "all")]
    tail: String,
    /// With the time of each line
    #[arg(short, long)]
    timestamps: bool,
    /// Up to then, as 2013-01-02T13:23:37Z or 42m
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// The container
    #[arg(value_name = "CONTAINER", add = names::containers())]
    container: String,
}

impl ContainerLogs {
    /// Shows them, each line on the stream it was said on.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.client()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let resolve = |given: &Option<String>| {
            given
                .as_deref()
                .map(|text| timestamp::parse(text, now))
                .transpose()
        };
        let query = Query::new()
            .with("stdout", "1")
            .with("stderr", "1")
            .with_flag("follow", self.follow)
            .with_flag("timestamps", self.timestamps)
            .with_flag("details", self.details)
            .with_some("since", resolve(&self.since)?)
            .with_some("until", resolve(&self.until)?)
            .with("tail", self.tail);
        let inspected: Inspected = client
            .get(&path("containers", &self.container, "/json"), Query::new())
            .await?;
        let path = path("containers", &inspected.id, "/logs");
        let mut chunks = Chunks::new(client.stream(Method::GET, &path, query, empty(), None).await?);
        let mut demultiplexer = Demultiplexer::default();
        while let Some(bytes) = chunks.next().await? {
            if inspected.config.tty {
                show_stream(Stream::Stdout, &bytes)?;
            } else {
                demultiplexer.feed(&bytes, show_stream)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
