//! `cnm network connect`

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::ExitCode;

use api_types::Connect;
use clap::Args;

use super::{Context, path};
use crate::error::Outcome;
use crate::grammar::names;
use crate::options::network::{self, NetworkChoice};
use crate::options::{full_pair, pairs};

/// Connect a container to a network
#[derive(Debug, Args)]
pub(crate) struct NetworkConnect {
    /// Further name of the container on this network
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    alias: Vec<String>,
    /// Option of the driver for this endpoint
    #[arg(long, value_delimiter = ',', value_name = "KEY=VALUE", value_parser = full_pair)]
    driver_opt: Vec<String>,
    /// The network with the highest priority gives the default gateway
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    gw_priority: i64,
    /// IPv4 address
    #[arg(long, value_name = "ADDRESS", value_parser = network::ipv4)]
    ip: Option<Ipv4Addr>,
    /// IPv6 address
    #[arg(long, value_name = "ADDRESS", value_parser = network::ipv6)]
    ip6: Option<Ipv6Addr>,
    /// Another container under a name of this one's own
    #[arg(long, value_name = "CONTAINER[:ALIAS]", value_parser = network::link, add = names::containers())]
    link: Vec<String>,
    /// Link-local address
    #[arg(long, value_delimiter = ',', value_name = "ADDRESS", value_parser = network::address)]
    link_local_ip: Vec<IpAddr>,
    /// Network to connect to
    #[arg(value_name = "NETWORK", add = names::networks())]
    network: String,
    /// Container to connect
    #[arg(value_name = "CONTAINER", add = names::containers())]
    container: String,
}

impl NetworkConnect {
    /// Connects.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let path = path("networks", &self.network, "/connect");
        context.client()?.post_only(&path, &self.request()).await?;
        Ok(ExitCode::SUCCESS)
    }

    /// What is asked of the daemon.
    pub(crate) fn request(self) -> Connect {
        let choice = NetworkChoice {
            target: self.network,
            aliases: self.alias,
            links: self.link,
            ipv4: self.ip,
            ipv6: self.ip6,
            link_local: self.link_local_ip,
            mac_address: None,
            driver_options: pairs(&self.driver_opt),
            gateway_priority: self.gw_priority,
        };
        Connect {
            container: self.container,
            endpoint_config: Some(choice.endpoint()),
        }
    }
}
