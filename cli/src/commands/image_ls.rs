//! `cnm images`

use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use api_types::ImageSummary;
use clap::Args;

use super::{Context, show};
use crate::client::Query;
use crate::error::Outcome;
use crate::format::{Format, Row, short_id};
use crate::grammar::names;
use crate::options::{filter, filters, reference, timestamp};
use crate::units::{human_duration, human_size};

/// List images
#[derive(Debug, Args)]
pub(crate) struct ImageLs {
    /// All, intermediate ones too
    #[arg(short, long)]
    all: bool,
    /// With digests
    #[arg(long)]
    digests: bool,
    /// Only some, as reference=NAME, dangling=true, label=KEY
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
    /// Only images of this name
    #[arg(value_name = "REPOSITORY[:TAG]", add = names::images())]
    reference: Option<String>,
}

const TABLE: &str = "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";
const DIGESTS: &str = "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";

impl ImageLs {
    /// Lists them, a row for each name.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let given = if self.quiet {
            Some("{{.ID}}")
        } else {
            self.format.as_deref()
        };
        let format = Format::new(given, if self.digests { DIGESTS } else { TABLE })?;
        let mut filters = filters(&self.filter);
        if let Some(reference) = &self.reference {
            filters.add("reference", reference);
        }
        let query = Query::new().with_flag("all", self.all).with_filters(&filters);
        let images: Vec<ImageSummary> = context.client()?.get("/images/json", query).await?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let digests = self.digests || format.mentions("Digest");
        let rows = images
            .iter()
            .flat_map(|image| rows(image, self.no_trunc, digests, now))
            .collect();
        show(&format.render(rows)?)?;
        Ok(ExitCode::SUCCESS)
    }
}

#[derive(Debug)]
struct ImageRow {
    image: ImageSummary,
    repository: String,
    tag: String,
    digest: String,
    whole: bool,
    now: Duration,
}

const NONE: &str = "<none>";

/// A row for each tag of an image; one without a name for an image that has none.
fn rows(image: &ImageSummary, whole: bool, digests: bool, now: Duration) -> Vec<ImageRow> {
    let row = |repository: &str, tag: &str| ImageRow {
        image: image.clone(),
        repository: repository.to_owned(),
        tag: tag.to_owned(),
        digest: digest(image, repository, digests),
        whole,
        now,
    };
    let named = image.repo_tags.iter().filter(|tag| !tag.starts_with(NONE));
    let rows: Vec<ImageRow> = named
        .map(|tag| {
            let (repository, tag) = reference::split(tag);
            row(repository, tag)
        })
        .collect();
    if rows.is_empty() {
        vec![row(NONE, NONE)]
    } else {
        rows
    }
}

fn digest(image: &ImageSummary, repository: &str, wanted: bool) -> String {
    let digests = image
        .repo_digests
        .iter()
        .filter_map(|digest| digest.split_once('@'));
    let mut of_repository = digests.filter(|(name, _)| *name == repository && wanted);
    of_repository.next().map_or(NONE, |(_, digest)| digest).to_owned()
}

impl Row for ImageRow {
    const KIND: &'static str = "image";
    const COLUMNS: &'static [(&'static str, &'static str)] = &[
        ("Repository", "REPOSITORY"),
        ("Tag", "TAG"),
        ("Digest", "DIGEST"),
        ("ID", "IMAGE ID"),
        ("CreatedSince", "CREATED"),
        ("CreatedAt", "CREATED AT"),
        ("Size", "SIZE"),
        ("VirtualSize", "SIZE"),
        ("SharedSize", "SHARED SIZE"),
        ("UniqueSize", "UNIQUE SIZE"),
        ("Containers", "CONTAINERS"),
    ];

    fn cell(&self, field: &str) -> String {
        let image = &self.image;
        let counted = |number: i64| {
            if number < 0 {
                "N/A".to_owned()
            } else {
                human_size(number, 3)
            }
        };
        match field {
            "Repository" => self.repository.clone(),
            "Tag" => self.tag.clone(),
            "Digest" => self.digest.clone(),
            "ID" if self.whole => image.id.clone(),
            "ID" => short_id(&image.id),
            "CreatedSince" if image.created <= 0 => "N/A".into(),
            "CreatedSince" => {
                let created = Duration::from_secs(u64::try_from(image.created).unwrap_or(0));
                format!("{} ago", human_duration(self.now.saturating_sub(created)))
            }
            "CreatedAt" => timestamp::plain(image.created),
            "Size" => human_size(image.size, 3),
            "VirtualSize" => human_size(image.size, 4),
            "SharedSize" => counted(image.shared_size),
            "UniqueSize" if image.shared_size < 0 => "N/A".into(),
            "UniqueSize" => human_size(image.size - image.shared_size, 3),
            _ if image.containers < 0 => "N/A".into(),
            _ => image.containers.to_string(),
        }
    }

    fn label(&self, key: &str) -> Option<String> {
        self.image
            .labels
            .as_ref()
            .and_then(|labels| labels.get(key).cloned())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_image_has_a_row_for_each_of_its_names() {
        let images: Vec<ImageSummary> = serde_json::from_value(json!([
            {
                "Id": format!("sha256:{}", "d".repeat(64)), "RepoTags": ["busybox:latest", "reg.x:5000/a/b:1.0"],
                "RepoDigests": [format!("busybox@sha256:{}", "9".repeat(64))], "Created": 1_696_543_700,
                "Size": 4_261_550, "SharedSize": -1, "Containers": -1,
            },
            {"Id": format!("sha256:{}", "f".repeat(64)), "Created": 1_600_000_000, "Size": 123_456_789},
        ]))
        .expect("images");
        let now = Duration::from_secs(1_700_003_700);
        let render = |whole, digests, template| {
            let rows = images
                .iter()
                .flat_map(|image| rows(image, whole, digests, now))
                .collect();
            Format::new(None, template)
                .expect("parses")
                .render(rows)
                .expect("renders")
        };
        let expected = "\
REPOSITORY       TAG       IMAGE ID       CREATED       SIZE
busybox          latest    dddddddddddd   5 weeks ago   4.26MB
reg.x:5000/a/b   1.0       dddddddddddd   5 weeks ago   4.26MB
<none>           <none>    ffffffffffff   3 years ago   123MB
";
        assert_eq!(render(false, false, TABLE), expected);
        let digests = render(false, true, "{{.Repository}} {{.Digest}}");
        assert!(digests.contains(&format!("busybox sha256:{}", "9".repeat(64))));
        assert!(digests.contains("reg.x:5000/a/b <none>"));
    }
}
