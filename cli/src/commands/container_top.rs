//! `cnm top`

use std::process::ExitCode;

use api_types::TopResponse;
use clap::Args;

use super::{Context, path, show};
use crate::client::Query;
use crate::error::Outcome;
use crate::grammar::names;
use crate::table;

/// Show the processes of a container
#[derive(Debug, Args)]
pub(crate) struct ContainerTop {
    /// The container, and options of ps
    #[arg(value_names = ["CONTAINER", "OPTIONS"], required = true, num_args = 1.., trailing_var_arg = true,
          allow_hyphen_values = true, add = names::running_containers())]
    container_and_options: Vec<String>,
}

impl ContainerTop {
    /// Shows them as a table.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let (container, options) = (&self.container_and_options[0], &self.container_and_options[1..]);
        let query = Query::new().with_some(
            "ps_args",
            (!options.is_empty()).then(|| options.join(" ")).as_deref(),
        );
        let found: TopResponse = context
            .client()?
            .get(&path("containers", container, "/top"), query)
            .await?;
        let rows = std::iter::once(&found.titles).chain(&found.processes);
        let lines: Vec<String> = rows.map(|row| row.join("\t")).collect();
        show(&table::align_with(&(lines.join("\n") + "\n"), 20, 1))?;
        Ok(ExitCode::SUCCESS)
    }
}
