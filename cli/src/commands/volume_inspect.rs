//! `cnm volume inspect`

use clap::Args;

use super::Context;
use super::inspect::{Kind, inspect};
use crate::error::Outcome;
use crate::grammar::names;

/// Show all about volumes
#[derive(Debug, Args)]
pub(crate) struct VolumeInspect {
    /// A Go template, or json for one line
    #[arg(short, long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// Volumes to show
    #[arg(value_name = "VOLUME", required = true, add = names::volumes())]
    volumes: Vec<String>,
}

impl VolumeInspect {
    /// Shows them.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        inspect(context, &self.volumes, &[Kind::Volume], self.format.as_deref()).await
    }
}
