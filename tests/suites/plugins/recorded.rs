//! What a daemon tells a plugin in the life of a few networks and containers, as text that two daemons can be compared by.

use std::{collections::BTreeMap, net::Ipv4Addr, path::PathBuf};

use serde_json::Value;

use crate::stub::Called;

/// What users do.
pub(crate) const LIFE: [&str; 16] = [
    "network create -d stub --subnet 10.88.0.0/24 --aux-address far=10.88.0.200 -o colour=red lan",
    "run -d --name one --network lan -p 127.0.0.1:8088:80/tcp --expose 90/udp busybox sleep 600",
    "inspect one",
    "run -d --name two --network lan --ip 10.88.0.9 busybox sleep 600",
    "network disconnect lan two",
    "network connect --driver-opt shade=dark lan two",
    "rm -f one",
    "rm -f two",
    "network rm lan",
    "network create -d stub --internal --ipam-driver stub --ipam-opt site=north --subnet 10.66.0.0/24 \
     --gateway 10.66.0.254 --aux-address far=10.66.0.9 hidden",
    "run -d --name three --network hidden busybox sleep 600",
    "rm -f three",
    "network rm hidden",
    "network create -d stub --ipam-driver stub any",
    "network rm any",
    "network create -d stub --ipv6 --subnet 10.89.0.0/24 --subnet fd00:89::/64 both",
];

/// What users do on another host, with a network that was made on the first.
pub(crate) const LIFE_ELSEWHERE: [&str; 2] =
    ["run -d --name far --network lan busybox sleep 600", "rm -f far"];

/// What users do with volumes.
pub(crate) const LIFE_OF_VOLUMES: [&str; 12] = [
    "volume create -d store -o size=1G data",
    "volume create -d store data",
    "volume inspect data",
    "volume ls",
    "run -d --name one -v data:/data busybox sleep 600",
    "run -d --name two -v data:/data:ro busybox sleep 600",
    "volume inspect data",
    "rm -f one",
    "rm -f two",
    "run --rm --volume-driver store -v other:/other busybox true",
    "volume rm data",
    "volume rm other",
];

/// A recording: the calls, a line each, after the command that caused them. Ids become numbers in the order of their
/// appearance, and the path of a namespace and a host's address, which are each lab's own, words.
#[derive(Debug, Default)]
pub(crate) struct Text {
    text: String,
    ids: BTreeMap<String, usize>,
    addresses: Vec<(String, String)>,
}

impl Text {
    /// Where these addresses have names.
    pub(crate) fn with_addresses(addresses: &[(&str, Ipv4Addr)]) -> Self {
        let words = addresses
            .iter()
            .map(|(name, address)| (address.to_string(), format!("(address of {name})")));
        Self {
            addresses: words.collect(),
            ..Self::default()
        }
    }

    /// Adds what a command caused.
    pub(crate) fn part(&mut self, command: &str, calls: &[Called]) {
        self.text.push_str(&format!("$ {command}\n"));
        let mut lines: Vec<String> = Vec::new();
        for (method, body) in calls {
            let mut body = match body {
                Value::Null => String::new(),
                body => plain(body, &mut self.ids).to_string(),
            };
            for (address, word) in &self.addresses {
                body = body.replace(address, word);
            }
            lines.push(format!("{method} {body}\n").replace(" \n", "\n"));
        }
        // Hosts that are there already come in no order.
        for hosts in
            lines.chunk_by_mut(|one, other| [one, other].iter().all(|line| line.contains(".DiscoverNew ")))
        {
            hosts.sort();
        }
        self.text.extend(lines);
    }

    /// All of it.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }
}

fn plain(value: &Value, ids: &mut BTreeMap<String, usize>) -> Value {
    match value {
        Value::Object(map) => {
            // In the order of the names: who writes a map does so in any order.
            let sorted: BTreeMap<_, _> = map.iter().collect();
            let entries = sorted.into_iter().map(|(key, value)| {
                let value = match key.as_str() {
                    "SandboxKey" => Value::from("(path)"),
                    _ => plain(value, ids),
                };
                (key.clone(), value)
            });
            Value::Object(entries.collect())
        }
        Value::Array(values) => {
            // Ports come from maps, which are in no order.
            let mut values: Vec<_> = values.iter().map(|value| plain(value, ids)).collect();
            values.sort_by_key(Value::to_string);
            Value::Array(values)
        }
        Value::String(id) if id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            let next = ids.len() + 1;
            Value::from(format!("(id {})", ids.entry(id.clone()).or_insert(next)))
        }
        other => other.clone(),
    }
}

/// What is left of a recording without that in which two daemons may differ:
/// - the handshake, which is made when somebody needs it;
/// - questions asked twice;
/// - what later releases added: `enable_ipv4`, `no_proxy_6to4`, and the endpoint's name for whoever chooses its address;
/// - whether there are no options or an empty map of them;
/// - a gateway that is none any more although it never was one, of an internal network;
/// - which goes first with a network, its addresses or its links. Here addresses are given back last, when nothing leads
///   to them.
pub(crate) fn comparable(text: &str) -> Vec<String> {
    let mut programmed = Vec::new();
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        let line = line
            .replace("\"com.docker.network.enable_ipv4\":true,", "")
            .replace("\"com.docker.network.driver.private.no_proxy_6to4\":false,", "")
            .replace("\"Options\":null", "\"Options\":{}");
        let line = without_name(&line);
        let (method, body) = line.split_once(' ').unwrap_or((&line, ""));
        let endpoint = body
            .split("\"EndpointID\":")
            .nth(1)
            .map(|rest| rest[..rest.len().min(10)].to_owned());
        let handshake = ["Plugin.Activate", ".GetCapabilities", ".GetDefaultAddressSpaces"];
        let skipped = handshake.iter().any(|end| method.ends_with(end))
            || lines.last() == Some(&line)
            || (method.ends_with(".RevokeExternalConnectivity") && !programmed.contains(&endpoint));
        if method.ends_with(".ProgramExternalConnectivity") {
            programmed.push(endpoint);
        }
        if !skipped {
            lines.push(line);
        }
    }
    for part in lines.split_mut(|line| line.starts_with('$')) {
        if part.iter().any(|line| line.contains(".DeleteNetwork ")) {
            part.sort();
        }
    }
    lines
}

fn without_name(line: &str) -> String {
    match line.split_once("\"com.docker.network.endpoint.name\":\"") {
        Some((before, after)) => {
            let rest = after.split_once('"').map_or("", |(_, rest)| rest);
            format!("{before}{rest}")
        }
        None => line.to_owned(),
    }
}

/// A recording that is kept.
pub(crate) fn golden(name: &str) -> anyhow::Result<String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("golden/plugins")
        .join(name);
    Ok(std::fs::read_to_string(path)?)
}

/// Compares with a file in `tests/golden/plugins`. With `UPDATE_GOLDEN` set, writes it instead.
pub(crate) fn assert_golden(name: &str, text: &str) -> anyhow::Result<()> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("golden/plugins")
        .join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap_or(&path))?;
        std::fs::write(&path, text)?;
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, wanted, "differs from {path:?}; UPDATE_GOLDEN=1 accepts it");
    Ok(())
}
