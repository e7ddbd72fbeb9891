//! `cnm update`

use api_types::{HostConfig, RestartPolicy, UpdateResponse};
use clap::Args;

use super::{Context, for_each, path, warn};
use crate::error::Outcome;
use crate::grammar::names;
use crate::options::limits;
use crate::units;

/// Change limits and restart policy of containers
#[derive(Debug, Args)]
pub(crate) struct ContainerUpdate {
    /// Weight of block input and output, 10 to 1000
    #[arg(long, value_name = "WEIGHT", default_value_t = 0)]
    blkio_weight: u16,
    /// Microseconds of a CPU period
    #[arg(long, value_name = "MICROSECONDS", default_value_t = 0)]
    cpu_period: i64,
    /// Microseconds it may run in a period
    #[arg(long, value_name = "MICROSECONDS", default_value_t = 0)]
    cpu_quota: i64,
    /// Relative weight, 1024 being everybody's
    #[arg(short = 'c', long, value_name = "WEIGHT", default_value_t = 0)]
    cpu_shares: i64,
    /// Number of processors, as 1.5
    #[arg(long, value_name = "NUMBER", value_parser = limits::processors)]
    cpus: Option<i64>,
    /// Processors it may run on, as 0-3 or 0,1
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Memory nodes it may use, as 0-3 or 0,1
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// Memory, as 500m
    #[arg(short, long, value_name = "BYTES", value_parser = units::parse_size)]
    memory: Option<i64>,
    /// Memory kept for it when the host is short
    #[arg(long, value_name = "BYTES", value_parser = units::parse_size)]
    memory_reservation: Option<i64>,
    /// Memory and swap together, -1 for unlimited swap
    #[arg(long, value_name = "BYTES", value_parser = limits::size_or_unlimited)]
    memory_swap: Option<i64>,
    /// Number of processes, -1 for no limit
    #[arg(long, value_name = "NUMBER")]
    pids_limit: Option<i64>,
    /// What happens when it exits: no, always, unless-stopped, on-failure[:N]
    #[arg(long, value_name = "POLICY", value_parser = limits::restart_policy)]
    restart: Option<RestartPolicy>,
    /// Containers to change
    #[arg(value_name = "CONTAINER", required = true, add = names::containers())]
    containers: Vec<String>,
}

impl ContainerUpdate {
    /// Changes them and prints their names.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.client()?;
        let request = self.request();
        for_each(&self.containers, async |container| {
            let to = path("containers", container, "/update");
            let answer: UpdateResponse = client.post(&to, crate::client::Query::new(), &request).await?;
            answer
                .warnings
                .iter()
                .flatten()
                .for_each(|text| warn(&format!("warning: {text}")));
            Ok(Some(container.to_owned()))
        })
        .await
    }

    fn request(&self) -> HostConfig {
        HostConfig {
            blkio_weight: self.blkio_weight,
            cpu_period: self.cpu_period,
            cpu_quota: self.cpu_quota,
            cpu_shares: self.cpu_shares,
            nano_cpus: self.cpus.unwrap_or_default(),
            cpuset_cpus: self.cpuset_cpus.clone().unwrap_or_default(),
            cpuset_mems: self.cpuset_mems.clone().unwrap_or_default(),
            memory: self.memory.unwrap_or_default(),
            memory_reservation: self.memory_reservation.unwrap_or_default(),
            memory_swap: self.memory_swap.unwrap_or_default(),
            pids_limit: self.pids_limit,
            restart_policy: self.restart.clone().unwrap_or_default(),
            ..HostConfig::default()
        }
    }
}
