//! `cnm container inspect`

use clap::Args;

use super::Context;
use super::inspect::{Kind, inspect};
use crate::error::Outcome;
use crate::grammar::names;

/// Show all about containers
#[derive(Debug, Args)]
pub(crate) struct ContainerInspect {
    /// A Go template, or json for one line
    #[arg(short, long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// With sizes
    #[arg(short, long)]
    size: bool,
    /// Containers to show
    #[arg(value_name = "CONTAINER", required = true, add = names::containers())]
    containers: Vec<String>,
}

impl ContainerInspect {
    /// Shows them.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let kind = Kind::Container { size: self.size };
        inspect(context, &self.containers, &[kind], self.format.as_deref()).await
    }
}
