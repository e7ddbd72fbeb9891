//! `cnm ps`

use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use api_types::ContainerSummary;
use clap::Args;

use super::{Context, show};
use crate::client::Query;
use crate::error::Outcome;
use crate::format::{Format, Row, ellipsis, labels_text, short_id};
use crate::options::{filter, filters, ports, timestamp};
use crate::template::quoted;
use crate::units::{human_duration, human_size};

/// List containers
#[derive(Debug, Args)]
pub(crate) struct ContainerLs {
    /// All, not only those that run
    #[arg(short, long)]
    all: bool,
    /// Only some, as name=TEXT, network=NAME, status=exited, label=KEY, ancestor=IMAGE
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = filter)]
    filter: Vec<(String, String)>,
    /// table, table TEMPLATE, json or a Go template
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// The last created ones, whatever they do
    #[arg(short = 'n', long, value_name = "NUMBER", default_value_t = -1)]
    last: i64,
    /// The last created one, whatever it does
    #[arg(short, long)]
    latest: bool,
    /// Whole ids, commands and names
    #[arg(long)]
    no_trunc: bool,
    /// Only ids
    #[arg(short, long)]
    quiet: bool,
    /// With sizes
    #[arg(short, long)]
    size: bool,
}

const TABLE: &str = "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}";

impl ContainerLs {
    /// Lists them, the newest first.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let given = if self.quiet {
            Some("{{.ID}}")
        } else {
            self.format.as_deref()
        };
        let default = if self.size {
            format!("{TABLE}\t{{{{.Size}}}}")
        } else {
            TABLE.to_owned()
        };
        let format = Format::new(given, &default)?;
        let last = if self.latest { 1 } else { self.last };
        let query = Query::new()
            .with_flag("all", self.all)
            .with_some("limit", (last > 0).then(|| last.to_string()))
            .with_flag("size", self.size || format.mentions("Size"))
            .with_filters(&filters(&self.filter));
        let containers: Vec<ContainerSummary> = context.client()?.get("/containers/json", query).await?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let whole = self.no_trunc;
        let rows = containers
            .into_iter()
            .map(|container| ContainerRow {
                container,
                whole,
                now,
            })
            .collect();
        show(&format.render(rows)?)?;
        Ok(ExitCode::SUCCESS)
    }
}

#[derive(Debug)]
struct ContainerRow {
    container: ContainerSummary,
    whole: bool,
    now: Duration,
}

impl ContainerRow {
    fn id(&self, id: &str) -> String {
        if self.whole { id.to_owned() } else { short_id(id) }
    }

    fn image(&self) -> String {
        match self.container.image.as_str() {
            "" => "<no image>".into(),
            // An image without a name is shown by its id.
            image if image.starts_with("sha256:") => self.id(image),
            image => image.to_owned(),
        }
    }

    fn names(&self) -> String {
        let names = self
            .container
            .names
            .iter()
            .map(|name| name.trim_start_matches('/'));
        // `a/b` is b as a link of a; it is a name of b only for those who want to see everything.
        names
            .filter(|name| self.whole || !name.contains('/'))
            .collect::<Vec<_>>()
            .join(",")
    }

    fn running_for(&self) -> String {
        let created = Duration::from_secs(u64::try_from(self.container.created).unwrap_or(0));
        format!("{} ago", human_duration(self.now.saturating_sub(created)))
    }

    fn mounts(&self) -> String {
        let name = |mount: &api_types::MountPoint| {
            let name = if mount.name.is_empty() {
                &mount.source
            } else {
                &mount.name
            };
            if self.whole {
                name.clone()
            } else {
                ellipsis(name, 15)
            }
        };
        self.container
            .mounts
            .iter()
            .map(name)
            .collect::<Vec<_>>()
            .join(",")
    }

    fn size(&self) -> String {
        let size = human_size(self.container.size_rw, 3);
        match self.container.size_root_fs {
            0 => size,
            whole => format!("{size} (virtual {})", human_size(whole, 3)),
        }
    }
}

impl Row for ContainerRow {
    const KIND: &'static str = "container";
    const COLUMNS: &'static [(&'static str, &'static str)] = &[
        ("ID", "CONTAINER ID"),
        ("Names", "NAMES"),
        ("Image", "IMAGE"),
        ("Command", "COMMAND"),
        ("CreatedAt", "CREATED AT"),
        ("RunningFor", "CREATED"),
        ("Ports", "PORTS"),
        ("State", "STATE"),
        ("Status", "STATUS"),
        ("Size", "SIZE"),
        ("Labels", "LABELS"),
        ("Mounts", "MOUNTS"),
        ("LocalVolumes", "LOCAL VOLUMES"),
        ("Networks", "NETWORKS"),
    ];

    fn cell(&self, field: &str) -> String {
        let container = &self.container;
        match field {
            "ID" => self.id(&container.id),
            "Names" => self.names(),
            "Image" => self.image(),
            "Command" if self.whole => quoted(&container.command),
            "Command" => quoted(&ellipsis(&container.command, 20)),
            "CreatedAt" => timestamp::plain(container.created),
            "RunningFor" => self.running_for(),
            "Ports" => ports::column(&container.ports),
            "State" => container.state.clone(),
            "Status" => container.status.clone(),
            "Size" => self.size(),
            "Labels" => labels_text(&container.labels),
            "Mounts" => self.mounts(),
            "LocalVolumes" => container
                .mounts
                .iter()
                .filter(|mount| mount.driver == "local")
                .count()
                .to_string(),
            _ => container
                .network_settings
                .networks
                .keys()
                .cloned()
                .collect::<Vec<_>>()
                .join(","),
        }
    }

    fn label(&self, key: &str) -> Option<String> {
        self.container.labels.get(key).cloned()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn table(whole: bool, template: &str) -> String {
        let now = Duration::from_secs(1_700_003_700);
        let containers: Vec<ContainerSummary> = serde_json::from_value(json!([
            {
                "Id": "c".repeat(64), "Names": ["/test01"], "Image": "busybox:latest",
                "Command": "sh -c 'while true; do sleep 1; done'", "Created": 1_700_000_000,
                "Ports": [
                    {"PrivatePort": 80, "Type": "tcp"}, {"PrivatePort": 81, "Type": "tcp"},
                    {"IP": "0.0.0.0", "PrivatePort": 8080, "PublicPort": 8080, "Type": "tcp"},
                    {"IP": "0.0.0.0", "PrivatePort": 8081, "PublicPort": 8081, "Type": "tcp"},
                    {"PrivatePort": 53, "Type": "udp"},
                ],
                "Labels": {"k": "v", "a": "b"}, "State": "running", "Status": "Up About an hour",
                "NetworkSettings": {"Networks": {"ol1": {}, "bridge": {}}},
                "Mounts": [
                    {"Type": "bind", "Source": "/tmp/a"},
                    {"Type": "volume", "Name": "0123456789012345678901234567890", "Driver": "local"},
                ],
                "SizeRw": 1234, "SizeRootFs": 5_678_901,
            },
            {
                "Id": "e".repeat(64), "Names": ["/x/y", "/zz"], "Image": format!("sha256:{}", "d".repeat(64)),
                "Command": "/bin/true", "Created": 1_600_000_000, "State": "exited",
                "Status": "Exited (0) 3 weeks ago",
            },
        ]))
        .expect("containers");
        let rows = containers
            .into_iter()
            .map(|container| ContainerRow {
                container,
                whole,
                now,
            })
            .collect();
        Format::new(None, template)
            .expect("parses")
            .render(rows)
            .expect("renders")
    }

    #[test]
    fn the_table_is_the_one_people_know() {
        let expected = [
            [
                "CONTAINER ID   IMAGE            COMMAND                  CREATED             ",
                "STATUS                   ",
            ],
            [
                "PORTS                                                 ",
                "NAMES     SIZE\n",
            ],
            [
                "cccccccccccc   busybox:latest   \"sh -c 'while true; …\"   About an hour ago   ",
                "Up About an hour         ",
            ],
            [
                "53/udp, 80-81/tcp, 0.0.0.0:8080-8081->8080-8081/tcp   ",
                "test01    1.23kB (virtual 5.68MB)\n",
            ],
            [
                "eeeeeeeeeeee   dddddddddddd     \"/bin/true\"              3 years ago         ",
                "Exited (0) 3 weeks ago   ",
            ],
            [
                "                                                      ",
                "zz        0B\n",
            ],
        ]
        .concat()
        .concat();
        assert_eq!(table(false, &format!("{TABLE}\t{{{{.Size}}}}")), expected);
    }

    #[test]
    fn further_fields_may_be_asked_for() {
        let template = "{{.Names}}|{{.Mounts}}|{{.LocalVolumes}}|{{.Networks}}|{{.Labels}}|{{.Label \"k\"}}|{{.CreatedAt}}";
        let lines = table(true, template);
        let second = lines.lines().nth(1);
        let expected = "test01|/tmp/a,0123456789012345678901234567890|1|bridge,ol1|a=b,k=v|v|2023-11-14 22:13:20 +0000 UTC";
        assert_eq!(second, Some(expected));
        assert!(
            lines
                .lines()
                .nth(2)
                .is_some_and(|line| line.starts_with("x/y,zz|"))
        );
    }
}
