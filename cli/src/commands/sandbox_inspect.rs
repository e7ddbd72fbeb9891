//! `cnm sandbox inspect`

use clap::Args;

use super::Context;
use super::inspect::{Kind, inspect};
use crate::error::Outcome;
use crate::grammar::names;

/// Show all about sandboxes of other programs, and what of them is missing in the kernel
#[derive(Debug, Args)]
pub(crate) struct SandboxInspect {
    /// A Go template, or json for one line
    #[arg(short, long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// Ids, containers, or the beginning of either
    #[arg(value_name = "SANDBOX", required = true, add = names::sandboxes())]
    sandboxes: Vec<String>,
}

impl SandboxInspect {
    /// Shows them.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        inspect(context, &self.sandboxes, &[Kind::Sandbox], self.format.as_deref()).await
    }
}
