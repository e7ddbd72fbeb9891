//! Names of networks, containers and images for the shell's completion, asked of the daemon.
//!
//! A shell waits for these: no daemon, or a slow one, means no names.

use std::ffi::OsStr;
use std::time::Duration;

use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use serde_json::Value;

use crate::client::{Client, Query};
use crate::host;

/// Longer than this nobody wants to look at a prompt.
const PATIENCE: Duration = Duration::from_millis(500);

/// Networks.
pub(crate) fn networks() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| candidates(typed, "/networks", Query::new(), &network_name))
}

/// Containers, whatever they do.
pub(crate) fn containers() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        candidates(
            typed,
            "/containers/json",
            Query::new().with("all", "1"),
            &container_names,
        )
    })
}

/// Sandboxes of other programs, by what those call the containers.
pub(crate) fn sandboxes() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| candidates(typed, "/sandboxes", Query::new(), &sandbox_key))
}

/// Containers that run.
pub(crate) fn running_containers() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        candidates(typed, "/containers/json", Query::new(), &container_names)
    })
}

/// Volumes.
pub(crate) fn volumes() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        let Some(typed) = typed.to_str() else {
            return Vec::new();
        };
        let listed: Option<api_types::VolumesListed> = ask_for("/volumes", Query::new());
        let volumes = listed.unwrap_or_default().volumes.into_iter();
        let fitting = volumes
            .map(|volume| volume.name)
            .filter(|name| name.starts_with(typed));
        fitting.map(CompletionCandidate::new).collect()
    })
}

/// Images.
pub(crate) fn images() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| candidates(typed, "/images/json", Query::new(), &image_names))
}

/// Drivers that networks are made with, plugins' apart.
pub(crate) fn drivers() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        let typed = typed.to_str().unwrap_or_default();
        let known = ["bridge", "ipvlan", "macvlan", "overlay"].into_iter();
        let fitting = known.filter(|name| name.starts_with(typed));
        fitting.map(CompletionCandidate::new).collect()
    })
}

fn candidates(
    typed: &OsStr,
    path: &str,
    query: Query,
    names: &dyn Fn(&Value) -> Vec<String>,
) -> Vec<CompletionCandidate> {
    let Some(typed) = typed.to_str() else {
        return Vec::new();
    };
    let items = ask(path, query).unwrap_or_default();
    items
        .iter()
        .flat_map(names)
        .filter(|name| name.starts_with(typed))
        .map(CompletionCandidate::new)
        .collect()
}

fn ask(path: &str, query: Query) -> Option<Vec<Value>> {
    ask_for(path, query)
}

fn ask_for<T: serde::de::DeserializeOwned>(path: &str, query: Query) -> Option<T> {
    let host = host::choose(None, &host::TlsFlags::default(), |name| std::env::var(name).ok()).ok()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .ok()?;
    runtime.block_on(async {
        let client = Client::new(host, false);
        tokio::time::timeout(PATIENCE, client.get(path, query))
            .await
            .ok()?
            .ok()
    })
}

fn sandbox_key(sandbox: &Value) -> Vec<String> {
    sandbox["Key"].as_str().map(str::to_owned).into_iter().collect()
}

fn network_name(network: &Value) -> Vec<String> {
    network["Name"]
        .as_str()
        .map(ToOwned::to_owned)
        .into_iter()
        .collect()
}

fn container_names(container: &Value) -> Vec<String> {
    let names = container["Names"].as_array().into_iter().flatten();
    names
        .filter_map(Value::as_str)
        .map(|name| name.trim_start_matches('/').to_owned())
        .collect()
}

fn image_names(image: &Value) -> Vec<String> {
    let tags = image["RepoTags"].as_array().into_iter().flatten();
    tags.filter_map(Value::as_str).map(ToOwned::to_owned).collect()
}
