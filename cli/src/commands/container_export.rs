//! `cnm export`

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::Args;
use http::Method;

use super::{Context, path};
use crate::client::{Chunks, Query, empty};
use crate::error::{CommandError, Outcome};
use crate::grammar::names;

/// Write a container's file system into a tar archive
#[derive(Debug, Args)]
pub(crate) struct ContainerExport {
    /// File to write, instead of stdout
    #[arg(short, long, value_name = "FILE")]
    output: Option<String>,
    /// The container
    #[arg(value_name = "CONTAINER", add = names::containers())]
    container: String,
}

impl ContainerExport {
    /// Writes it. A file appears when it is whole.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        if self.output.is_none() && std::io::stdout().is_terminal() {
            return Err(CommandError::new("refusing to write an archive to a terminal")
                .hint("use -o FILE, or redirect stdout"));
        }
        let client = context.client()?;
        let from = path("containers", &self.container, "/export");
        let answer = client
            .stream(Method::GET, &from, Query::new(), empty(), None)
            .await?;
        let mut chunks = Chunks::new(answer);
        let Some(name) = self.output else {
            let mut out = std::io::stdout().lock();
            while let Some(chunk) = chunks.next().await? {
                out.write_all(&chunk)
                    .map_err(|error| CommandError::new(format!("writing: {error}")))?;
            }
            return Ok(ExitCode::SUCCESS);
        };
        let failed = |error: std::io::Error| CommandError::new(format!("writing {name:?}: {error}"));
        let begun = format!("{name}.begun");
        let mut file = std::fs::File::create(&begun).map_err(failed)?;
        let result: Result<(), CommandError> = async {
            while let Some(chunk) = chunks.next().await? {
                file.write_all(&chunk).map_err(failed)?;
            }
            std::fs::rename(&begun, &name).map_err(failed)
        }
        .await;
        if result.is_err() {
            // What is not whole is nothing; why it is not has been said.
            let _ = std::fs::remove_file(&begun);
        }
        result.map(|()| ExitCode::SUCCESS)
    }
}
