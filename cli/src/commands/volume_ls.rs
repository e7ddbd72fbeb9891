//! `cnm volume ls`

use std::process::ExitCode;

use api_types::{Volume, VolumesListed};
use clap::Args;

use super::{Context, show, warn};
use crate::client::Query;
use crate::error::Outcome;
use crate::format::{Format, Row, labels_text};
use crate::options::{filter, filters};
use crate::units::human_size;

/// List volumes
#[derive(Debug, Args)]
pub(crate) struct VolumeLs {
    /// Only some, as dangling=true, driver=local, label=KEY, name=TEXT
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = filter)]
    filter: Vec<(String, String)>,
    /// table, table TEMPLATE, json or a Go template
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// Only names
    #[arg(short, long)]
    quiet: bool,
}

const TABLE: &str = "{{.Driver}}\t{{.Name}}";

impl VolumeLs {
    /// Lists them by name.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let given = if self.quiet {
            Some("{{.Name}}")
        } else {
            self.format.as_deref()
        };
        let format = Format::new(given, TABLE)?;
        let query = Query::new().with_filters(&filters(&self.filter));
        let listed: VolumesListed = context.client()?.get("/volumes", query).await?;
        for warning in listed.warnings.iter().flatten() {
            warn(&format!("WARNING: {warning}"));
        }
        let mut volumes = listed.volumes;
        volumes.sort_by(|one, other| one.name.cmp(&other.name));
        show(&format.render(volumes.into_iter().map(VolumeRow).collect())?)?;
        Ok(ExitCode::SUCCESS)
    }
}

#[derive(Debug)]
pub(super) struct VolumeRow(pub(super) Volume);

impl Row for VolumeRow {
    const KIND: &'static str = "volume";
    const COLUMNS: &'static [(&'static str, &'static str)] = &[
        ("Driver", "DRIVER"),
        ("Name", "VOLUME NAME"),
        ("Scope", "SCOPE"),
        ("Mountpoint", "MOUNTPOINT"),
        ("Labels", "LABELS"),
        ("Links", "LINKS"),
        ("Size", "SIZE"),
    ];

    fn cell(&self, field: &str) -> String {
        let volume = &self.0;
        let usage = volume.usage_data.as_ref();
        match field {
            "Driver" => volume.driver.clone(),
            "Name" => volume.name.clone(),
            "Scope" => volume.scope.clone(),
            "Mountpoint" => volume.mountpoint.clone(),
            "Labels" => labels_text(volume.labels.as_ref().unwrap_or(&api_types::Map::new())),
            "Links" => usage.map_or_else(|| "N/A".to_owned(), |usage| usage.ref_count.to_string()),
            _ => usage
                .filter(|usage| usage.size >= 0)
                .map_or_else(|| "N/A".to_owned(), |usage| human_size(usage.size, 4)),
        }
    }

    fn label(&self, key: &str) -> Option<String> {
        self.0.labels.as_ref()?.get(key).cloned()
    }
}
