//! `cnm network inspect`

use clap::Args;

use super::Context;
use super::inspect::{Kind, inspect};
use crate::error::Outcome;
use crate::grammar::names;

/// Show all about networks, their containers included
#[derive(Debug, Args)]
pub(crate) struct NetworkInspect {
    /// A Go template, or json for one line
    #[arg(short, long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// More, for diagnosis
    #[arg(short, long)]
    verbose: bool,
    /// Networks to show
    #[arg(value_name = "NETWORK", required = true, add = names::networks())]
    networks: Vec<String>,
}

impl NetworkInspect {
    /// Shows them.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let kind = Kind::Network {
            verbose: self.verbose,
        };
        inspect(context, &self.networks, &[kind], self.format.as_deref()).await
    }
}
