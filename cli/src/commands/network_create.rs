//! `cnm network create`

use std::process::ExitCode;

use api_types::{ConfigReference, Ipam, NetworkCreate as Request, NetworkCreated};
use clap::Args;

use super::{Context, say, warn};
use crate::client::Query;
use crate::error::Outcome;
use crate::grammar::names;
use crate::options::{full_pair, pairs, pools};

/// Create a network
#[derive(Debug, Args)]
pub(crate) struct NetworkCreate {
    /// Enable manual container attachment
    #[arg(long)]
    attachable: bool,
    /// Address set aside for something else, as NAME=ADDRESS
    #[arg(long, value_name = "NAME=ADDRESS")]
    aux_address: Vec<String>,
    /// The network from which to copy the configuration
    #[arg(long, value_name = "NETWORK", add = names::networks())]
    config_from: Option<String>,
    /// Create a configuration only network
    #[arg(long)]
    config_only: bool,
    /// Driver that makes the network
    #[arg(short, long, default_value = "bridge", add = names::drivers())]
    driver: String,
    /// Gateway of a subnet
    #[arg(long, value_delimiter = ',', value_name = "ADDRESS")]
    gateway: Vec<String>,
    /// Create the routing-mesh network
    #[arg(long)]
    ingress: bool,
    /// No way out of the network
    #[arg(long)]
    internal: bool,
    /// Take containers' addresses from this part of a subnet
    #[arg(long, value_delimiter = ',', value_name = "CIDR")]
    ip_range: Vec<String>,
    /// Address management driver
    #[arg(long, default_value = "default", value_name = "DRIVER")]
    ipam_driver: String,
    /// Option of the address management driver
    #[arg(long, value_name = "KEY=VALUE", value_parser = full_pair)]
    ipam_opt: Vec<String>,
    /// Whether containers get IPv4 addresses (default: yes)
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL",
          value_parser = crate::grammar::flags::boolean)]
    ipv4: Option<bool>,
    /// Whether containers get IPv6 addresses (default: no)
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL",
          value_parser = crate::grammar::flags::boolean)]
    ipv6: Option<bool>,
    /// Label on the network
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    /// Option of the driver
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = full_pair)]
    opt: Vec<String>,
    /// Where the network is known: local or global
    #[arg(long, value_name = "SCOPE")]
    scope: Option<String>,
    /// Subnet of the network
    #[arg(long, value_delimiter = ',', value_name = "CIDR")]
    subnet: Vec<String>,
    /// Name of the network
    #[arg(value_name = "NETWORK")]
    network: String,
}

impl NetworkCreate {
    /// Creates it and prints its id.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let request = self.request()?;
        let created: NetworkCreated = context
            .client()?
            .post("/networks/create", Query::new(), &request)
            .await?;
        if !created.warning.is_empty() {
            warn(&format!("WARNING: {}", created.warning));
        }
        say(&created.id)?;
        Ok(ExitCode::SUCCESS)
    }

    /// What is asked of the daemon.
    pub(crate) fn request(self) -> Result<Request, String> {
        let config = pools::pools(&self.subnet, &self.ip_range, &self.gateway, &self.aux_address)?;
        Ok(Request {
            name: self.network,
            driver: self.driver,
            scope: self.scope.unwrap_or_default(),
            enable_ipv4: self.ipv4,
            enable_ipv6: self.ipv6,
            ipam: Some(Ipam {
                driver: self.ipam_driver,
                options: Some(pairs(&self.ipam_opt)),
                config: Some(config),
            }),
            internal: self.internal,
            attachable: self.attachable,
            ingress: self.ingress,
            config_only: self.config_only,
            config_from: self.config_from.map(|network| ConfigReference { network }),
            options: pairs(&self.opt),
            labels: pairs(&self.label),
        })
    }
}
