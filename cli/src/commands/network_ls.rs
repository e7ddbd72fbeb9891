//! `cnm network ls`

use std::process::ExitCode;

use api_types::Network;
use clap::Args;

use super::{Context, show};
use crate::client::Query;
use crate::error::Outcome;
use crate::format::{Format, Row, labels_text, short_id};
use crate::options::{filter, filters};

/// List networks
#[derive(Debug, Args)]
pub(crate) struct NetworkLs {
    /// Only some, as driver=bridge, scope=global, type=custom, label=KEY, name=TEXT, id=TEXT, dangling=true
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = filter)]
    filter: Vec<(String, String)>,
    /// table, table TEMPLATE, json or a Go template
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// Whole ids
    #[arg(long)]
    no_trunc: bool,
    /// Only ids
    #[arg(short, long)]
    quiet: bool,
}

const TABLE: &str = "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}";

impl NetworkLs {
    /// Lists them by name.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let given = if self.quiet {
            Some("{{.ID}}")
        } else {
            self.format.as_deref()
        };
        let format = Format::new(given, TABLE)?;
        let query = Query::new().with_filters(&filters(&self.filter));
        let mut networks: Vec<Network> = context.client()?.get("/networks", query).await?;
        networks.sort_by_key(|network| natural(&network.name));
        let whole_ids = self.no_trunc;
        let rows = networks
            .into_iter()
            .map(|network| NetworkRow { network, whole_ids })
            .collect();
        show(&format.render(rows)?)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Numbers in names sort by their value: `net2` comes before `net10`.
fn natural(name: &str) -> Vec<(String, u64)> {
    let mut parts = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (text, after) = rest.split_at(digits);
        let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        let (number, after) = after.split_at(end);
        parts.push((text.to_owned(), number.parse().unwrap_or(0)));
        rest = after;
    }
    parts
}

#[derive(Debug)]
struct NetworkRow {
    network: Network,
    whole_ids: bool,
}

impl Row for NetworkRow {
    const KIND: &'static str = "network";
    const COLUMNS: &'static [(&'static str, &'static str)] = &[
        ("ID", "NETWORK ID"),
        ("Name", "NAME"),
        ("Driver", "DRIVER"),
        ("Scope", "SCOPE"),
        ("IPv4", "IPV4"),
        ("IPv6", "IPV6"),
        ("Internal", "INTERNAL"),
        ("Labels", "LABELS"),
        ("CreatedAt", "CREATED AT"),
    ];

    fn cell(&self, field: &str) -> String {
        let network = &self.network;
        match field {
            "ID" if self.whole_ids => network.id.clone(),
            "ID" => short_id(&network.id),
            "Name" => network.name.clone(),
            "Driver" => network.driver.clone(),
            "Scope" => network.scope.clone(),
            "IPv4" => network.enable_ipv4.to_string(),
            "IPv6" => network.enable_ipv6.to_string(),
            "Internal" => network.internal.to_string(),
            "Labels" => labels_text(&network.labels),
            // As Go prints a time in UTC.
            _ => network.created.trim_end_matches('Z').replacen('T', " ", 1) + " +0000 UTC",
        }
    }

    fn label(&self, key: &str) -> Option<String> {
        self.network.labels.get(key).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::natural;

    #[test]
    fn names_sort_by_the_numbers_in_them() {
        let mut names = ["net10", "net2", "bridge", "net2b", "10", "9", ""];
        names.sort_by_key(|name| natural(name));
        assert_eq!(names, ["", "9", "10", "bridge", "net2", "net2b", "net10"]);
    }
}
