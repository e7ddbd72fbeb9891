//! `cnm port`: what of a container can be reached through this host; and, while it runs, more or less of it.
//!
//! `cnm port add` and `cnm port rm` are Docker's missing half. A container that is called `add` or `rm` is still asked
//! about by its id, or as `cnm port -- add`.

use std::process::ExitCode;

use api_types::{ContainerInspect, PortBinding, PortsChange, PortsChanged};
use clap::{Args, Subcommand};

use super::{Context, path, say};
use crate::client::Query;
use crate::error::{CommandError, Outcome};
use crate::grammar::names;
use crate::options::ports::{self, Bindings};

/// Show published ports, publish more, or fewer
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    after_help = "cnm port web              every published port of web\n\
                  cnm port --ranges web     the same, a row of ports in one line\n\
                  cnm port web 80/tcp       where port 80 of web is published\n\
                  cnm port add web 8080:80  publish one more while web runs\n\
                  cnm port rm web 8080:80   and take it back"
)]
pub(crate) struct ContainerPort {
    #[command(subcommand)]
    change: Option<Change>,
    #[command(flatten)]
    shown: Option<Shown>,
}

#[derive(Debug, Args)]
struct Shown {
    /// Show ports that go on where others end as one range; Docker has a line for each
    #[arg(long, conflicts_with = "port")]
    ranges: bool,
    /// Container to ask about
    #[arg(value_name = "CONTAINER", required = true, add = names::containers())]
    container: String,
    /// A port of it, as 80 or 80/udp
    #[arg(value_name = "PRIVATE_PORT[/PROTOCOL]", value_parser = ports::private)]
    port: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Change {
    /// Publish more ports of a container while it runs
    Add(PortChange),
    /// Publish ports of a container no longer, while it runs
    #[command(visible_alias = "remove")]
    Rm(PortChange),
}

#[derive(Debug, Args)]
struct PortChange {
    /// Whose rules the ports obey: open for ours alone, host for the host's own firewall too
    #[arg(long, value_name = "open|host", value_parser = ports::exposure)]
    publish_firewall: Option<String>,
    /// Container that runs
    #[arg(value_name = "CONTAINER", add = names::running_containers())]
    container: String,
    /// Ports, as [ADDRESS:][HOST:]CONTAINER[/PROTOCOL][,firewall=host|open]
    #[arg(value_name = "BINDING", required = true, value_parser = ports::published)]
    bindings: Vec<Vec<(String, PortBinding)>>,
}

impl ContainerPort {
    /// Shows or changes them.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        match (self.change, self.shown) {
            (Some(Change::Add(change)), _) => {
                let to = path("containers", &change.container, "/ports");
                let client = context.client()?;
                let changed: PortsChanged = client.post(&to, Query::new(), &change.request()).await?;
                show(&changed.ports)
            }
            (Some(Change::Rm(change)), _) => {
                let to = path("containers", &change.container, "/ports");
                let changed: PortsChanged = context.client()?.delete_some(&to, &change.request()).await?;
                show(&changed.ports)
            }
            (None, Some(shown)) => shown.run(context).await,
            (None, None) => Err(CommandError::new("no container was named")),
        }
    }
}

impl PortChange {
    fn request(&self) -> PortsChange {
        let mut bindings: Vec<_> = self.bindings.iter().flatten().cloned().collect();
        if let Some(exposure) = &self.publish_firewall {
            for (_, binding) in bindings
                .iter_mut()
                .filter(|(_, binding)| binding.exposure.is_empty())
            {
                binding.exposure.clone_from(exposure);
            }
        }
        PortsChange {
            port_bindings: ports::by_port(&bindings),
        }
    }
}

impl Shown {
    async fn run(self, context: &Context) -> Outcome {
        let query = Query::new();
        let found: ContainerInspect = context
            .client()?
            .get(&path("containers", &self.container, "/json"), query)
            .await?;
        let published = found.network_settings.ports;
        let Some(port) = self.port else {
            return match self.ranges {
                true => say_all(ranges(&published)),
                false => show(&published),
            };
        };
        match published.get(&port) {
            Some(Some(bindings)) if !bindings.is_empty() => {
                for binding in bindings {
                    say(&ports::host_side(binding))?;
                }
                Ok(ExitCode::SUCCESS)
            }
            _ => Err(CommandError::new(format!(
                "no public port '{port}' published for {}",
                self.container
            ))
            .hint(format!("publish it: cnm port add {} {port}", self.container))),
        }
    }
}

/// `80/tcp -> 0.0.0.0:8080`, a line for each address.
fn show(published: &Bindings) -> Outcome {
    say_all(lines(published))
}

fn say_all(lines: Vec<String>) -> Outcome {
    for line in lines {
        say(&line)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Ports that lead from one address in a row, and where the row ends.
struct Range<'a> {
    protocol: &'a str,
    container: (u16, u16),
    host: (u16, u16),
    first: &'a PortBinding,
}

/// `8000-8009/tcp -> 0.0.0.0:9000-9009`: the same as [`lines`], with a line for each row of ports.
fn ranges(published: &Bindings) -> Vec<String> {
    let mut all: Vec<Range<'_>> = published
        .iter()
        .flat_map(|(port, bindings)| bindings.iter().flatten().map(move |binding| (port, binding)))
        .filter_map(|(port, binding)| {
            let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
            let (container, host) = (number.parse().ok()?, binding.host_port.parse().ok()?);
            Some(Range {
                protocol,
                container: (container, container),
                host: (host, host),
                first: binding,
            })
        })
        .collect();
    all.sort_by_key(|one| {
        (
            one.protocol,
            &one.first.host_ip,
            reach(one.first),
            one.container,
            one.host,
        )
    });
    let mut rows: Vec<Range<'_>> = Vec::new();
    for one in all {
        let goes_on = |last: &&mut Range<'_>| {
            let alike = last.protocol == one.protocol
                && last.first.host_ip == one.first.host_ip
                && reach(last.first) == reach(one.first);
            let next = |end: u16| end.checked_add(1);
            alike && next(last.container.1) == Some(one.container.0) && next(last.host.1) == Some(one.host.0)
        };
        match rows.last_mut().filter(goes_on) {
            Some(last) => (last.container.1, last.host.1) = (one.container.1, one.host.1),
            None => rows.push(one),
        }
    }
    rows.sort_by_key(|row| row.container);
    let text = |(first, last): (u16, u16)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    let line = |row: &Range<'_>| {
        let host = PortBinding {
            host_port: text(row.host),
            ..row.first.clone()
        };
        let (container, protocol) = (text(row.container), row.protocol);
        format!(
            "{container}/{protocol} -> {}{}",
            ports::host_side(&host),
            reach(row.first)
        )
    };
    rows.iter().map(line).collect()
}

/// In the order of ports, as people count.
fn lines(published: &Bindings) -> Vec<String> {
    let number = |port: &str| {
        port.split('/')
            .next()
            .and_then(|number| number.parse::<u16>().ok())
    };
    let mut ports: Vec<_> = published.iter().collect();
    ports.sort_by_key(|(port, _)| (number(port), port.as_str()));
    let of_port = |(port, bindings): (&String, &Option<Vec<PortBinding>>)| {
        let port = port.clone();
        let bindings = bindings.clone().unwrap_or_default();
        bindings
            .into_iter()
            .map(move |binding| format!("{port} -> {}{}", ports::host_side(&binding), reach(&binding)))
    };
    ports.into_iter().flat_map(of_port).collect()
}

/// What a line must say beyond Docker's, because Docker has no such port.
fn reach(binding: &PortBinding) -> &'static str {
    match binding.exposure.as_str() {
        "host" => " (as the host's firewall allows)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_ports_are_one_line_each() {
        let binding = |ip: &str, port: u16| PortBinding {
            host_ip: ip.into(),
            host_port: port.to_string(),
            ..PortBinding::default()
        };
        let mut published: Bindings = (8000..8010_u16)
            .map(|port| {
                let both = vec![binding("0.0.0.0", port + 1000), binding("::", port + 1000)];
                (format!("{port}/tcp"), Some(both))
            })
            .collect();
        published.insert("8005/udp".to_owned(), Some(vec![binding("0.0.0.0", 53)]));
        published.insert("8020/tcp".to_owned(), Some(vec![binding("0.0.0.0", 9020)]));
        assert_eq!(
            ranges(&published),
            [
                "8000-8009/tcp -> 0.0.0.0:9000-9009",
                "8000-8009/tcp -> [::]:9000-9009",
                "8005/udp -> 0.0.0.0:53",
                "8020/tcp -> 0.0.0.0:9020",
            ]
        );
        // As many as there may be, in two lines.
        assert_eq!(lines(&published).len(), 22);
    }

    #[test]
    fn published_ports_are_listed_as_docker_lists_them() {
        let binding = |ip: &str, port: &str| PortBinding {
            host_ip: ip.into(),
            host_port: port.into(),
            ..PortBinding::default()
        };
        let guarded = PortBinding {
            exposure: "host".into(),
            ..binding("0.0.0.0", "8081")
        };
        let published: Bindings = [
            (
                "80/tcp".to_owned(),
                Some(vec![binding("0.0.0.0", "8080"), binding("::", "8080")]),
            ),
            ("443/tcp".to_owned(), None),
            ("81/tcp".to_owned(), Some(vec![guarded])),
            ("53/udp".to_owned(), Some(vec![binding("10.0.0.1", "5353")])),
        ]
        .into();
        assert_eq!(
            lines(&published),
            [
                "53/udp -> 10.0.0.1:5353",
                "80/tcp -> 0.0.0.0:8080",
                "80/tcp -> [::]:8080",
                "81/tcp -> 0.0.0.0:8081 (as the host's firewall allows)",
            ]
        );
    }
}
