//! `cnm system df`

use std::process::ExitCode;

use api_types::{ContainerSummary, DiskUsage};
use clap::Args;

use super::volume_ls::VolumeRow;
use super::{Context, show};
use crate::client::Query;
use crate::error::Outcome;
use crate::format::{Format, Row, short_id};
use crate::units::human_size;

/// Show how much room everything takes
#[derive(Debug, Args)]
pub(crate) struct SystemDf {
    /// table, table TEMPLATE, json or a Go template
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// One by one
    #[arg(short, long)]
    verbose: bool,
}

const TABLE: &str = "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}";
const IMAGES: &str = "{{.Repository}}\t{{.ID}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}";
const CONTAINERS: &str = "{{.ID}}\t{{.Image}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.Status}}\t{{.Names}}";
const VOLUMES: &str = "{{.Name}}\t{{.Links}}\t{{.Size}}";

impl SystemDf {
    /// Shows it.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let usage: DiskUsage = context.client()?.get("/system/df", Query::new()).await?;
        if self.verbose {
            show(&verbose(usage)?)?;
            return Ok(ExitCode::SUCCESS);
        }
        let format = Format::new(self.format.as_deref(), TABLE)?;
        show(&format.render(rows(&usage))?)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn verbose(usage: DiskUsage) -> Result<String, crate::template::TemplateError> {
    let images = usage
        .images
        .unwrap_or_default()
        .into_iter()
        .map(ImageRow)
        .collect();
    let containers = usage
        .containers
        .unwrap_or_default()
        .into_iter()
        .map(ContainerRow)
        .collect();
    let volumes = usage
        .volumes
        .unwrap_or_default()
        .into_iter()
        .map(VolumeRow)
        .collect();
    let sections = [
        ("Images space usage:", Format::new(None, IMAGES)?.render(images)?),
        (
            "Containers space usage:",
            Format::new(None, CONTAINERS)?.render(containers)?,
        ),
        (
            "Local Volumes space usage:",
            Format::new(None, VOLUMES)?.render(volumes)?,
        ),
    ];
    let sections = sections.iter().map(|(head, table)| format!("{head}\n\n{table}"));
    Ok(sections.collect::<Vec<_>>().join("\n") + "\nBuild cache usage: 0B\n")
}

/// A kind of things together.
#[derive(Debug)]
struct KindRow {
    kind: &'static str,
    total: usize,
    active: usize,
    size: i64,
    reclaimable: i64,
}

fn rows(usage: &DiskUsage) -> Vec<KindRow> {
    let images = usage.images.as_deref().unwrap_or_default();
    let containers = usage.containers.as_deref().unwrap_or_default();
    let volumes = usage.volumes.as_deref().unwrap_or_default();
    let used: i64 = images
        .iter()
        .filter(|image| image.containers > 0)
        .map(|image| image.size - image.shared_size.max(0))
        .sum();
    let runs = |one: &&ContainerSummary| ["running", "paused", "restarting"].contains(&one.state.as_str());
    let written = |all: &mut dyn Iterator<Item = &ContainerSummary>| all.map(|one| one.size_rw).sum::<i64>();
    let held: Vec<_> = volumes
        .iter()
        .filter_map(|volume| volume.usage_data.as_ref())
        .collect();
    let size = |all: &mut dyn Iterator<Item = &&api_types::VolumeUsageData>| {
        all.map(|one| one.size.max(0)).sum::<i64>()
    };
    vec![
        KindRow {
            kind: "Images",
            total: images.len(),
            active: images.iter().filter(|image| image.containers > 0).count(),
            size: usage.layers_size,
            reclaimable: (usage.layers_size - used).max(0),
        },
        KindRow {
            kind: "Containers",
            total: containers.len(),
            active: containers.iter().filter(runs).count(),
            size: written(&mut containers.iter()),
            reclaimable: written(&mut containers.iter().filter(|one| !runs(one))),
        },
        KindRow {
            kind: "Local Volumes",
            total: volumes.len(),
            active: held.iter().filter(|one| one.ref_count > 0).count(),
            size: size(&mut held.iter()),
            reclaimable: size(&mut held.iter().filter(|one| one.ref_count == 0)),
        },
        KindRow {
            kind: "Build Cache",
            total: 0,
            active: 0,
            size: 0,
            reclaimable: 0,
        },
    ]
}

impl Row for KindRow {
    const KIND: &'static str = "disk usage";
    const COLUMNS: &'static [(&'static str, &'static str)] = &[
        ("Type", "TYPE"),
        ("TotalCount", "TOTAL"),
        ("Active", "ACTIVE"),
        ("Size", "SIZE"),
        ("Reclaimable", "RECLAIMABLE"),
    ];

    fn cell(&self, field: &str) -> String {
        match field {
            "Type" => self.kind.to_owned(),
            "TotalCount" => self.total.to_string(),
            "Active" => self.active.to_string(),
            "Size" => human_size(self.size, 4),
            _ => {
                let size = human_size(self.reclaimable, 4);
                match self.size {
                    0 => size,
                    whole => format!("{size} ({}%)", self.reclaimable.saturating_mul(100) / whole),
                }
            }
        }
    }
}

#[derive(Debug)]
struct ImageRow(api_types::ImageSummary);

impl Row for ImageRow {
    const KIND: &'static str = "image";
    const COLUMNS: &'static [(&'static str, &'static str)] = &[
        ("Repository", "REPOSITORY"),
        ("ID", "IMAGE ID"),
        ("Size", "SIZE"),
        ("SharedSize", "SHARED SIZE"),
        ("UniqueSize", "UNIQUE SIZE"),
        ("Containers", "CONTAINERS"),
    ];

    fn cell(&self, field: &str) -> String {
        let image = &self.0;
        match field {
            "Repository" => image
                .repo_tags
                .first()
                .cloned()
                .unwrap_or_else(|| "<none>".to_owned()),
            "ID" => short_id(image.id.trim_start_matches("sha256:")),
            "Size" => human_size(image.size, 4),
            "SharedSize" => human_size(image.shared_size.max(0), 4),
            "UniqueSize" => human_size(image.size - image.shared_size.max(0), 4),
            _ => image.containers.to_string(),
        }
    }
}

#[derive(Debug)]
struct ContainerRow(ContainerSummary);

impl Row for ContainerRow {
    const KIND: &'static str = "container";
    const COLUMNS: &'static [(&'static str, &'static str)] = &[
        ("ID", "CONTAINER ID"),
        ("Image", "IMAGE"),
        ("LocalVolumes", "LOCAL VOLUMES"),
        ("Size", "SIZE"),
        ("Status", "STATUS"),
        ("Names", "NAMES"),
    ];

    fn cell(&self, field: &str) -> String {
        let container = &self.0;
        match field {
            "ID" => short_id(&container.id),
            "Image" => container.image.clone(),
            "LocalVolumes" => {
                let volumes = container.mounts.iter().filter(|mount| mount.r#type == "volume");
                volumes.count().to_string()
            }
            "Size" => human_size(container.size_rw, 4),
            "Status" => container.status.clone(),
            _ => container.names.join(",").replace('/', ""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_uses_can_be_had_back() {
        let usage: DiskUsage = serde_json::from_value(serde_json::json!({
            "LayersSize": 1000,
            "Images": [{"Id": "a", "Size": 600, "SharedSize": 0, "Containers": 1},
                       {"Id": "b", "Size": 400, "SharedSize": 0, "Containers": 0}],
            "Containers": [{"State": "running", "SizeRw": 10}, {"State": "exited", "SizeRw": 30}],
            "Volumes": [{"Name": "x", "UsageData": {"RefCount": 0, "Size": 7}},
                        {"Name": "y", "UsageData": {"RefCount": 1, "Size": -1}}]
        }))
        .expect("usage");
        let cells = |row: &KindRow| {
            format!(
                "{} {} {} {}",
                row.kind,
                row.total,
                row.active,
                row.cell("Reclaimable")
            )
        };
        let all: Vec<_> = rows(&usage).iter().map(cells).collect();
        assert_eq!(
            all,
            [
                "Images 2 1 400B (40%)",
                "Containers 2 1 30B (75%)",
                "Local Volumes 2 1 7B (100%)",
                "Build Cache 0 0 0B"
            ]
        );
    }
}
