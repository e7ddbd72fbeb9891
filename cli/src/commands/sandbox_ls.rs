//! `cnm sandbox ls`

use std::process::ExitCode;

use api_types::Sandbox;
use clap::Args;

use super::{Context, show};
use crate::client::Query;
use crate::error::Outcome;
use crate::format::{Format, Row, short_id};

/// List sandboxes that other programs (a CNI runtime, for one) have on our networks
#[derive(Debug, Args)]
pub(crate) struct SandboxLs {
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

const TABLE: &str = "{{.ID}}\t{{.Manager}}\t{{.Key}}\t{{.Names}}\t{{.Networks}}\t{{.Addresses}}";

impl SandboxLs {
    /// Lists them, the oldest first.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let given = if self.quiet {
            Some("{{.ID}}")
        } else {
            self.format.as_deref()
        };
        let format = Format::new(given, TABLE)?;
        let sandboxes: Vec<Sandbox> = context.client()?.get("/sandboxes", Query::new()).await?;
        let whole_ids = self.no_trunc;
        let rows = sandboxes
            .into_iter()
            .map(|sandbox| SandboxRow { sandbox, whole_ids })
            .collect();
        show(&format.render(rows)?)?;
        Ok(ExitCode::SUCCESS)
    }
}

#[derive(Debug)]
struct SandboxRow {
    sandbox: Sandbox,
    whole_ids: bool,
}

impl SandboxRow {
    fn id(&self, id: &str) -> String {
        match self.whole_ids {
            true => id.to_owned(),
            false => short_id(id),
        }
    }

    fn each(&self, text: impl Fn(&api_types::SandboxEndpoint) -> String) -> String {
        self.sandbox
            .endpoints
            .iter()
            .map(text)
            .collect::<Vec<_>>()
            .join(",")
    }
}

impl Row for SandboxRow {
    const KIND: &'static str = "sandbox";
    const COLUMNS: &'static [(&'static str, &'static str)] = &[
        ("ID", "SANDBOX ID"),
        ("Manager", "MANAGER"),
        ("Key", "CONTAINER"),
        ("Names", "NAMES"),
        ("Networks", "NETWORKS"),
        ("Addresses", "ADDRESSES"),
        ("Interfaces", "INTERFACES"),
        ("NetNS", "NAMESPACE"),
        ("CreatedAt", "CREATED AT"),
    ];

    fn cell(&self, field: &str) -> String {
        let sandbox = &self.sandbox;
        match field {
            "ID" => self.id(&sandbox.id),
            "Manager" => sandbox.manager.clone(),
            // Most runtimes' ids are as long as ours.
            "Key" if sandbox.key.len() == 64 => self.id(&sandbox.key),
            "Key" => sandbox.key.clone(),
            "Names" => self.each(|endpoint| endpoint.name.clone()),
            "Networks" => self.each(|endpoint| endpoint.network.clone()),
            "Addresses" => self.each(|endpoint| endpoint.addresses.join(",")),
            "Interfaces" => self.each(|endpoint| endpoint.interface.clone()),
            "NetNS" => sandbox.netns.clone(),
            // As Go prints a time in UTC.
            _ => sandbox.created.trim_end_matches('Z').replacen('T', " ", 1) + " +0000 UTC",
        }
    }
}
