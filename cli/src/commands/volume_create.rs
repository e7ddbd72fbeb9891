//! `cnm volume create`

use std::process::ExitCode;

use api_types::{Volume, VolumeCreate as Request};
use clap::Args;

use super::{Context, say};
use crate::client::Query;
use crate::error::Outcome;
use crate::options::{full_pair, pairs};

/// Create a volume
#[derive(Debug, Args)]
pub(crate) struct VolumeCreate {
    /// Driver that makes the volume
    #[arg(short, long, default_value = "local")]
    driver: String,
    /// Label on the volume
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    /// Name of the volume
    #[arg(long = "name", value_name = "NAME", hide = true, conflicts_with = "volume")]
    name: Option<String>,
    /// Option of the driver, as type=tmpfs, device=tmpfs, o=size=100m
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = full_pair)]
    opt: Vec<String>,
    /// Name of the volume; without one it gets a random name
    #[arg(value_name = "VOLUME")]
    volume: Option<String>,
}

impl VolumeCreate {
    /// Creates it and prints its name.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let request = Request {
            name: self.volume.or(self.name).unwrap_or_default(),
            driver: self.driver,
            driver_opts: pairs(&self.opt),
            labels: pairs(&self.label),
            ..Request::default()
        };
        let client = context.client()?;
        let made: Volume = client.post("/volumes/create", Query::new(), &request).await?;
        say(&made.name)?;
        Ok(ExitCode::SUCCESS)
    }
}
