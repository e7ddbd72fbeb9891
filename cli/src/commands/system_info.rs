//! `cnm info`

use std::process::ExitCode;

use api_types::Info;
use clap::Args;

use super::{Context, say, show, warn};
use crate::client::{ClientError, Query};
use crate::error::Outcome;
use crate::template::{Functions, Template, Value};
use crate::units::binary_size;

/// Show what the daemon is and has
#[derive(Debug, Args)]
pub(crate) struct SystemInfo {
    /// A Go template, or json
    #[arg(short, long, value_name = "TEMPLATE")]
    format: Option<String>,
}

impl SystemInfo {
    /// Shows it.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let bytes = context.client()?.get_bytes("/info", Query::new()).await?;
        match self.format.as_deref().map(str::trim) {
            None | Some("") => {
                let info: Info = serde_json::from_slice(&bytes).map_err(ClientError::Answer)?;
                show(&text(&info))?;
                for warning in info.warnings.iter().flatten() {
                    warn(warning);
                }
            }
            Some("json") => say(String::from_utf8_lossy(&bytes).trim_end())?,
            Some(template) => {
                let json: serde_json::Value = serde_json::from_slice(&bytes).map_err(ClientError::Answer)?;
                say(&Template::parse(template)?.execute(&Value::from_json(&json), Functions::Values)?)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn text(info: &Info) -> String {
    let mut lines = vec![
        "Client:".to_owned(),
        format!(" Version: {}", env!("CARGO_PKG_VERSION")),
        String::new(),
        "Server:".to_owned(),
    ];
    lines.extend(contents(info));
    lines.extend(networking(info));
    lines.extend(host(info));
    lines.join("\n") + "\n"
}

fn contents(info: &Info) -> Vec<String> {
    let mut lines = vec![
        format!(" Containers: {}", info.containers),
        format!("  Running: {}", info.containers_running),
        format!("  Paused: {}", info.containers_paused),
        format!("  Stopped: {}", info.containers_stopped),
        format!(" Images: {}", info.images),
        format!(" Server Version: {}", info.server_version),
        format!(" Storage Driver: {}", info.driver),
    ];
    lines.extend(
        info.driver_status
            .iter()
            .map(|[name, value]| format!("  {name}: {value}")),
    );
    lines.extend([
        format!(" Logging Driver: {}", info.logging_driver),
        format!(" Cgroup Driver: {}", info.cgroup_driver),
        format!(" Cgroup Version: {}", info.cgroup_version),
        " Plugins:".to_owned(),
        format!("  Volume: {}", info.plugins.volume.join(" ")),
        format!("  Network: {}", info.plugins.network.join(" ")),
        format!("  Log: {}", info.plugins.log.join(" ")),
        format!(" Swarm: {}", info.swarm.local_node_state),
        format!(
            " Runtimes: {}",
            info.runtimes.keys().cloned().collect::<Vec<_>>().join(" ")
        ),
        format!(" Default Runtime: {}", info.default_runtime),
        " Security Options:".to_owned(),
    ]);
    for option in &info.security_options {
        let mut parts = option
            .split(',')
            .map(|part| part.split_once('=').unwrap_or(("", part)));
        if let Some((_, name)) = parts.next() {
            lines.push(format!("  {name}"));
        }
        lines.extend(parts.map(|(key, value)| format!("   {}: {value}", capitalized(key))));
    }
    lines
}

fn networking(info: &Info) -> Vec<String> {
    let mut lines = Vec::new();
    if !info.cluster_store.is_empty() {
        lines.push(format!(" Cluster Store: {}", info.cluster_store));
    }
    if !info.cluster_advertise.is_empty() {
        lines.push(format!(" Cluster Advertise: {}", info.cluster_advertise));
    }
    if !info.default_address_pools.is_empty() {
        lines.push(" Default Address Pools:".to_owned());
        lines.extend(
            info.default_address_pools
                .iter()
                .map(|pool| format!("   Base: {}, Size: {}", pool.base, pool.size)),
        );
    }
    lines
}

fn host(info: &Info) -> Vec<String> {
    let mut lines = vec![
        format!(" Kernel Version: {}", info.kernel_version),
        format!(" Operating System: {}", info.operating_system),
        format!(" OSType: {}", info.os_type),
        format!(" Architecture: {}", info.architecture),
        format!(" CPUs: {}", info.ncpu),
        format!(" Total Memory: {}", binary_size(info.mem_total)),
        format!(" Name: {}", info.name),
        format!(" ID: {}", info.id),
        format!(" Docker Root Dir: {}", info.docker_root_dir),
        format!(" Debug Mode: {}", info.debug),
    ];
    if !info.labels.is_empty() {
        lines.push(" Labels:".to_owned());
        lines.extend(info.labels.iter().map(|label| format!("  {label}")));
    }
    lines.push(format!(" Experimental: {}", info.experimental_build));
    lines.push(format!(" Live Restore Enabled: {}", info.live_restore_enabled));
    lines
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}
