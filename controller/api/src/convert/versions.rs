//! What clients of older versions of the API ask and expect where it is not what the newest has: Docker's version
//! history, field by field. The shapes were compared with dockerd's own.

use api_types as docker;
use serde_json::{Map, Value, json};

use crate::{
    status::{Answer, Refusal},
    version::ApiVersion,
};

/// What an image's configuration showed as long as it was spelled as a container's.
const OF_CONTAINERS: [&str; 9] = [
    "Hostname",
    "Domainname",
    "AttachStdin",
    "AttachStdout",
    "AttachStderr",
    "Tty",
    "OpenStdin",
    "StdinOnce",
    "Image",
];

/// A container that a client asks for, without what its version didn't know.
pub(crate) fn create(mut request: docker::Create, version: ApiVersion) -> Answer<docker::Create> {
    if version < ApiVersion(1, 44) {
        if let Some(check) = &mut request.config.healthcheck {
            check.start_interval = 0;
        }
        let networks = request.networking_config.endpoints_config.keys();
        let names: Vec<_> = networks.map(String::as_str).collect();
        if names.len() > 1 {
            return Err(Refusal::bad_request(format!(
                "Container cannot be connected to network endpoints: {} (hint: version 1.44 of the API can)",
                names.join(", ")
            )));
        }
    }
    Ok(request)
}

/// A container: its short id and its host name were once among its aliases.
pub(crate) fn container(
    mut shown: docker::ContainerInspect,
    version: ApiVersion,
) -> docker::ContainerInspect {
    if version >= ApiVersion(1, 45) {
        return shown;
    }
    let short = shown.id.chars().take(12).collect::<String>();
    for (name, settings) in &mut shown.network_settings.networks {
        if matches!(name.as_str(), "bridge" | "host" | "none" | "default") {
            continue;
        }
        let aliases = settings.aliases.get_or_insert_default();
        for name in [&short, &shown.config.hostname] {
            if !aliases.contains(name) {
                aliases.push(name.clone());
            }
        }
    }
    shown
}

/// One row of a list of images.
pub(crate) fn image_row(mut row: docker::ImageSummary, version: ApiVersion) -> docker::ImageSummary {
    if version < ApiVersion(1, 43) && row.repo_tags.is_empty() && row.repo_digests.is_empty() {
        row.repo_tags.push("<none>:<none>".to_owned());
        row.repo_digests.push("<none>@<none>".to_owned());
    }
    row.virtual_size = (version < ApiVersion(1, 44)).then_some(row.size);
    row
}

/// An image.
pub(crate) fn image(shown: &docker::ImageInspect, version: ApiVersion) -> Value {
    let mut image = json!(shown);
    if let Some(config) = image["Config"].as_object_mut() {
        without_empty(config);
        if version >= ApiVersion(1, 50) {
            config.retain(|name, _| !OF_CONTAINERS.contains(&name.as_str()));
        }
    }
    if version < ApiVersion(1, 44) {
        image["VirtualSize"] = image["Size"].clone();
    }
    if version < ApiVersion(1, 45) {
        let mut nobody = json!(docker::Config::default());
        if let Some(config) = nobody.as_object_mut() {
            without_empty(config);
        }
        image["ContainerConfig"] = nobody;
    }
    image
}

/// Docker has `null` where an image says nothing.
fn without_empty(config: &mut Map<String, Value>) {
    for name in ["Env", "Labels"] {
        if let Some(value) = config.get_mut(name)
            && (*value == json!([]) || *value == json!({}))
        {
            *value = Value::Null;
        }
    }
}

/// What the daemon tells of itself.
pub(crate) fn info(mut info: docker::Info, version: ApiVersion) -> docker::Info {
    if version < ApiVersion(1, 25) {
        // `name=seccomp,profile=builtin` was once just `seccomp`.
        for option in &mut info.security_options {
            let name = option.split(',').next().unwrap_or_default();
            *option = name.trim_start_matches("name=").to_owned();
        }
    }
    if version < ApiVersion(1, 48) {
        let registries = &mut info.registry_config;
        registries.artifacts_cidrs = Some(Value::Null);
        registries.artifacts_hostnames = Some(Value::Null);
    }
    if version < ApiVersion(1, 49) {
        info.firewall_backend = None;
        for part in [
            &mut info.containerd_commit,
            &mut info.runc_commit,
            &mut info.init_commit,
        ] {
            part.expected.clone_from(&part.id);
        }
    }
    if version >= ApiVersion(1, 50) {
        (info.bridge_nf_iptables, info.bridge_nf_ip6tables) = (None, None);
    }
    info
}
