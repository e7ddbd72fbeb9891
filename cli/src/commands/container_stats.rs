//! `cnm stats`

use std::process::ExitCode;

use api_types::{ContainerSummary, Stats};
use clap::Args;

use super::{Context, path, say, show};
use crate::client::{Client, JsonLines, Query, empty};
use crate::error::{CommandError, Outcome};
use crate::format::{Format, Row, short_id};
use crate::grammar::names;
use crate::units::{binary_size, human_size};

const TABLE: &str =
    "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}";

/// Show what containers use, again and again
#[derive(Debug, Args)]
pub(crate) struct ContainerStats {
    /// Those that don't run too
    #[arg(short, long)]
    all: bool,
    /// A Go template, table TEMPLATE or json
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// Once
    #[arg(long)]
    no_stream: bool,
    /// Whole ids
    #[arg(long)]
    no_trunc: bool,
    /// Containers (default: all that run)
    #[arg(value_name = "CONTAINER", add = names::running_containers())]
    containers: Vec<String>,
}

impl ContainerStats {
    /// Shows them, each second anew until it is stopped.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.client()?;
        let format = Format::new(self.format.as_deref(), TABLE)?;
        if self.no_stream {
            show(&format.render(self.once(client).await?)?)?;
            return Ok(ExitCode::SUCCESS);
        }
        loop {
            let rows = self.once(client).await?;
            // From the upper left corner, over what was there.
            say("\x1b[H\x1b[2J")?;
            show(&format.render(rows)?)?;
        }
    }

    async fn once(&self, client: &Client) -> Result<Vec<StatsRow>, CommandError> {
        let names = if self.containers.is_empty() {
            let query = Query::new().with_flag("all", self.all);
            let all: Vec<ContainerSummary> = client.get("/containers/json", query).await?;
            all.into_iter().map(|one| one.id).collect()
        } else {
            self.containers.clone()
        };
        // Each answer takes two samples: all at the same time.
        let asked = names.iter().map(|name| one(client, name));
        let found = futures::future::join_all(asked).await;
        let mut rows = Vec::new();
        for stats in found {
            match stats {
                Ok(stats) => rows.push(StatsRow {
                    stats,
                    whole: self.no_trunc,
                }),
                // One that went meanwhile is nobody's fault, unless it was asked for.
                Err(error) if !self.containers.is_empty() => return Err(error),
                Err(_) => {}
            }
        }
        Ok(rows)
    }
}

async fn one(client: &Client, container: &str) -> Result<Stats, CommandError> {
    let query = Query::new().with("stream", "0");
    let from = path("containers", container, "/stats");
    let answer = client
        .stream(http::Method::GET, &from, query, empty(), None)
        .await?;
    let stats = JsonLines::new(answer).next().await?;
    stats.ok_or_else(|| CommandError::new(format!("the daemon told nothing of {container}")))
}

#[derive(Debug)]
struct StatsRow {
    stats: Stats,
    whole: bool,
}

impl StatsRow {
    fn runs(&self) -> bool {
        self.stats.cpu_stats.online_cpus > 0
    }

    #[expect(clippy::cast_precision_loss, reason = "percentages for people")]
    fn processors(&self) -> f64 {
        let (now, before) = (&self.stats.cpu_stats, &self.stats.precpu_stats);
        let used = now
            .cpu_usage
            .total_usage
            .saturating_sub(before.cpu_usage.total_usage);
        let passed = now.system_cpu_usage.saturating_sub(before.system_cpu_usage);
        if passed == 0 {
            return 0.0;
        }
        used as f64 / passed as f64 * f64::from(now.online_cpus) * 100.0
    }

    /// Without the page cache that is given back first.
    fn memory(&self) -> u64 {
        let memory = &self.stats.memory_stats;
        let cache = ["total_inactive_file", "inactive_file"]
            .iter()
            .find_map(|name| memory.stats.get(*name));
        memory.usage.saturating_sub(cache.copied().unwrap_or_default())
    }

    #[expect(clippy::cast_precision_loss, reason = "percentages for people")]
    fn memory_share(&self) -> f64 {
        match self.stats.memory_stats.limit {
            0 => 0.0,
            limit => self.memory() as f64 / limit as f64 * 100.0,
        }
    }

    fn network(&self) -> (u64, u64) {
        let all = self.stats.networks.values();
        all.fold((0, 0), |sum, one| (sum.0 + one.rx_bytes, sum.1 + one.tx_bytes))
    }

    fn blocks(&self) -> (u64, u64) {
        let all = self.stats.blkio_stats.io_service_bytes_recursive.iter().flatten();
        all.fold((0, 0), |sum, one| match one.op.to_ascii_lowercase().as_str() {
            "read" => (sum.0 + one.value, sum.1),
            "write" => (sum.0, sum.1 + one.value),
            _ => sum,
        })
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn pair((one, two): (u64, u64)) -> String {
    format!("{} / {}", human_size(signed(one), 3), human_size(signed(two), 3))
}

impl Row for StatsRow {
    const KIND: &'static str = "container";
    const COLUMNS: &'static [(&'static str, &'static str)] = &[
        ("BlockIO", "BLOCK I/O"),
        ("CPUPerc", "CPU %"),
        ("Container", "CONTAINER"),
        ("ID", "CONTAINER ID"),
        ("MemPerc", "MEM %"),
        ("MemUsage", "MEM USAGE / LIMIT"),
        ("Name", "NAME"),
        ("NetIO", "NET I/O"),
        ("PIDs", "PIDS"),
    ];

    fn cell(&self, field: &str) -> String {
        let id = || {
            if self.whole {
                self.stats.id.clone()
            } else {
                short_id(&self.stats.id)
            }
        };
        match field {
            "ID" | "Container" => id(),
            "Name" => self.stats.name.trim_start_matches('/').to_owned(),
            _ if !self.runs() => "--".to_owned(),
            "CPUPerc" => format!("{:.2}%", self.processors()),
            "MemPerc" => format!("{:.2}%", self.memory_share()),
            "MemUsage" => format!(
                "{} / {}",
                binary_size(signed(self.memory())),
                binary_size(signed(self.stats.memory_stats.limit))
            ),
            "NetIO" => pair(self.network()),
            "BlockIO" => pair(self.blocks()),
            "PIDs" => self.stats.pids_stats.current.to_string(),
            _ => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_counted_between_two_samples() {
        let stats: Stats = serde_json::from_value(serde_json::json!({
            "name": "/web", "id": "0123456789abcdef",
            "cpu_stats": {"cpu_usage": {"total_usage": 1500}, "system_cpu_usage": 12000, "online_cpus": 2},
            "precpu_stats": {"cpu_usage": {"total_usage": 500}, "system_cpu_usage": 8000},
            "memory_stats": {"usage": 3 << 20, "limit": 64 << 20, "stats": {"inactive_file": 1 << 20}},
            "networks": {"eth0": {"rx_bytes": 1000, "tx_bytes": 2}, "eth1": {"rx_bytes": 500}},
            "pids_stats": {"current": 4}
        }))
        .expect("stats");
        let row = StatsRow { stats, whole: false };
        for (field, wanted) in [
            ("ID", "0123456789ab"),
            ("Name", "web"),
            ("CPUPerc", "50.00%"),
            ("MemUsage", "2MiB / 64MiB"),
            ("MemPerc", "3.12%"),
            ("NetIO", "1.5kB / 2B"),
            ("BlockIO", "0B / 0B"),
            ("PIDs", "4"),
        ] {
            assert_eq!(row.cell(field), wanted, "{field}");
        }
        let still = StatsRow {
            stats: Stats::default(),
            whole: false,
        };
        assert_eq!(still.cell("CPUPerc"), "--");
    }
}
