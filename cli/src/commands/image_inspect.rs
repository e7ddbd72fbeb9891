//! `cnm image inspect`

use clap::Args;

use super::Context;
use super::inspect::{Kind, inspect};
use crate::error::Outcome;
use crate::grammar::names;

/// Show all about images
#[derive(Debug, Args)]
pub(crate) struct ImageInspect {
    /// A Go template, or json for one line
    #[arg(short, long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// Images to show
    #[arg(value_name = "IMAGE", required = true, add = names::images())]
    images: Vec<String>,
}

impl ImageInspect {
    /// Shows them.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        inspect(context, &self.images, &[Kind::Image], self.format.as_deref()).await
    }
}
