//! A network's configuration, as the runtime passes it on stdin.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::{
    environment::{address, is_identifier, is_interface},
    failure::{Code, Failure},
    version::Version,
};

/// No configuration is longer.
pub const MAX_CONFIG: usize = 4 << 20;

/// What is asked of our network.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The version of the specification that results are wanted in.
    pub version: Version,
    /// The configuration's name: attachments are counted to it.
    pub name: String,
    /// The network of ours, by name or id.
    pub network: String,
    /// The daemon's socket; none for the usual one.
    pub socket: Option<String>,
    /// The interface's name where it is not to be the runtime's.
    pub interface: Option<String>,
    /// Options of the endpoint.
    pub options: BTreeMap<String, String>,
    /// Precedence in the choice of the default gateway.
    pub gateway_priority: i64,
    /// Names beside the container's.
    pub aliases: Vec<String>,
    /// Addresses asked for.
    pub addresses: Vec<IpAddr>,
    /// The Ethernet address asked for.
    pub mac: Option<String>,
    /// Ports to publish.
    pub ports: Vec<PortMapping>,
    /// Name service settings.
    pub dns: Dns,
    /// The result of the plugin before this one, or, in a CHECK, of the ADD.
    pub previous: Option<Value>,
    /// In a GC, those that are still wanted; none where nobody says.
    pub valid: Option<Vec<Attachment>>,
}

/// A port of the host that leads to one of the container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PortMapping {
    /// The host's; 0 or less for none.
    pub host_port: i64,
    /// The container's.
    pub container_port: i64,
    /// `tcp`, `udp` or `sctp`; empty for the first.
    #[serde(deserialize_with = "null_is_zero")]
    pub protocol: String,
    /// The host's address; empty for all.
    #[serde(rename = "hostIP", deserialize_with = "null_is_zero")]
    pub host_ip: String,
}

/// `dns` of a configuration, and of `runtimeConfig`, where servers and search domains have other names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Dns {
    /// Servers.
    #[serde(alias = "servers", deserialize_with = "null_is_zero")]
    pub nameservers: Vec<String>,
    /// The container's own domain.
    #[serde(deserialize_with = "null_is_zero")]
    pub domain: String,
    /// Search domains.
    #[serde(alias = "searches", deserialize_with = "null_is_zero")]
    pub search: Vec<String>,
    /// Resolver options.
    #[serde(deserialize_with = "null_is_zero")]
    pub options: Vec<String>,
}

impl Dns {
    /// The first that says anything, each list by itself.
    fn or(self, other: Self) -> Self {
        fn first<T>(one: Vec<T>, other: Vec<T>) -> Vec<T> {
            if one.is_empty() { other } else { one }
        }
        Self {
            nameservers: first(self.nameservers, other.nameservers),
            domain: if self.domain.is_empty() {
                other.domain
            } else {
                self.domain
            },
            search: first(self.search, other.search),
            options: first(self.options, other.options),
        }
    }
}

/// An interface of a container, in a GC.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Attachment {
    /// The container.
    #[serde(rename = "containerID")]
    pub container: String,
    /// The interface.
    pub ifname: String,
}

/// The document itself. What is not ours is passed over, as other plugins of a chain may have it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Document {
    #[serde(deserialize_with = "null_is_zero")]
    name: String,
    #[serde(deserialize_with = "null_is_zero")]
    network: String,
    #[serde(deserialize_with = "null_is_zero")]
    socket: String,
    #[serde(deserialize_with = "null_is_zero")]
    interface: String,
    #[serde(deserialize_with = "null_is_zero")]
    options: BTreeMap<String, Value>,
    #[serde(deserialize_with = "null_is_zero")]
    gateway_priority: i64,
    #[serde(deserialize_with = "null_is_zero")]
    aliases: Vec<String>,
    ipam: Option<Value>,
    #[serde(deserialize_with = "null_is_zero")]
    dns: Dns,
    #[serde(deserialize_with = "null_is_zero")]
    args: BTreeMap<String, Value>,
    #[serde(deserialize_with = "null_is_zero")]
    runtime_config: RuntimeConfig,
    prev_result: Option<Value>,
    #[serde(rename = "cni.dev/valid-attachments", deserialize_with = "said")]
    valid: Option<Vec<Attachment>>,
    #[serde(rename = "cni.dev/attachments", deserialize_with = "said")]
    valid_before: Option<Vec<Attachment>>,
}

/// What a runtime fills in where the configuration's `capabilities` say that it may.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RuntimeConfig {
    #[serde(deserialize_with = "null_is_zero")]
    ips: Vec<String>,
    #[serde(deserialize_with = "null_is_zero")]
    mac: String,
    #[serde(deserialize_with = "null_is_zero")]
    port_mappings: Vec<PortMapping>,
    #[serde(deserialize_with = "null_is_zero")]
    aliases: Aliases,
    #[serde(deserialize_with = "null_is_zero")]
    dns: Dns,
}

/// A list, as the conventions have it, or, of podman, lists by network.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Aliases {
    List(Vec<String>),
    ByNetwork(BTreeMap<String, Vec<String>>),
}

impl Default for Aliases {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

impl Config {
    /// Reads one.
    pub fn parse(text: &[u8]) -> Result<Self, Failure> {
        if text.len() > MAX_CONFIG {
            return Err(undecodable(&format!("it is longer than {MAX_CONFIG} bytes")));
        }
        let value: Value = serde_json::from_slice(text).map_err(|error| undecodable(&error.to_string()))?;
        let version = version(&value)?;
        let document = Document::deserialize(&value).map_err(|error| undecodable(&error.to_string()))?;
        document.check()?;
        document.config(version)
    }
}

/// The version that a configuration is written for.
pub(crate) fn version(config: &Value) -> Result<Version, Failure> {
    if !config.is_object() {
        return Err(undecodable("it is no JSON object"));
    }
    let asked = match &config["cniVersion"] {
        // As the first version had none.
        Value::Null => "0.1.0",
        Value::String(text) if text.is_empty() => "0.1.0",
        Value::String(text) => text,
        _ => return Err(undecodable("\"cniVersion\" is no text")),
    };
    Version::parse(asked).ok_or_else(|| {
        let known: Vec<_> = Version::ALL.iter().map(|version| version.as_str()).collect();
        Failure::new(
            Code::IncompatibleVersion,
            format!("version {asked:?} of the specification is not supported"),
        )
        .with(format!("supported are {}", known.join(", ")))
    })
}

impl Document {
    fn check(&self) -> Result<(), Failure> {
        if self.name.is_empty() {
            return Err(invalid("the configuration has no \"name\""));
        }
        if !is_identifier(&self.name) {
            return Err(invalid(format!("{:?} is no name of a network", self.name)).with(
                "it begins with a letter or digit, and has only letters, digits, \"_\", \".\" and \"-\"",
            ));
        }
        if !self.interface.is_empty() && !is_interface(&self.interface) {
            return Err(invalid(format!(
                "{:?} is no name of an interface",
                self.interface
            )));
        }
        // Addresses are the network's: whoever asks another plugin for them would believe it was asked.
        let ipam = self.ipam.as_ref().map(|ipam| &ipam["type"]);
        match ipam {
            None | Some(Value::Null) => Ok(()),
            Some(Value::String(text)) if text.is_empty() || text == "cnm" || text == "cnm-cni" => Ok(()),
            Some(other) => Err(Failure::new(
                Code::UnsupportedField,
                format!("unsupported field \"ipam\" with the type {other}"),
            )
            .with("the network of cnm hands out its addresses itself: leave \"ipam\" out")),
        }
    }

    fn config(self, version: Version) -> Result<Config, Failure> {
        let runtime = self.runtime_config;
        let mut aliases = self.aliases;
        aliases.extend(match runtime.aliases {
            Aliases::List(list) => list,
            Aliases::ByNetwork(mut lists) => lists.remove(&self.name).unwrap_or_default(),
        });
        let by_args = &self.args.get("cni").unwrap_or(&Value::Null)["ips"];
        let by_args = by_args.as_array().into_iter().flatten().filter_map(Value::as_str);
        let mut addresses = Vec::new();
        for text in runtime.ips.iter().map(String::as_str).chain(by_args) {
            let found = address(text).ok_or_else(|| invalid(format!("{text:?} is no IP address")))?;
            if !addresses.contains(&found) {
                addresses.push(found);
            }
        }
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        Ok(Config {
            version,
            network: some(self.network).unwrap_or_else(|| self.name.clone()),
            name: self.name,
            socket: some(self.socket),
            interface: some(self.interface),
            options: options(self.options)?,
            gateway_priority: self.gateway_priority,
            aliases,
            addresses,
            mac: some(runtime.mac),
            ports: runtime.port_mappings,
            dns: runtime.dns.or(self.dns),
            previous: self.prev_result,
            valid: self.valid.or(self.valid_before),
        })
    }
}

/// Values that are written as numbers or truths are as good as their texts.
fn options(written: BTreeMap<String, Value>) -> Result<BTreeMap<String, String>, Failure> {
    let text = |(key, value): (String, Value)| match value {
        Value::String(text) => Ok((key, text)),
        Value::Number(_) | Value::Bool(_) => Ok((key, value.to_string())),
        _ => Err(invalid(format!("the option {key:?} is no text, number or truth"))),
    };
    written.into_iter().map(text).collect()
}

fn invalid(message: impl Into<String>) -> Failure {
    Failure::new(Code::InvalidConfig, message)
}

fn undecodable(why: &str) -> Failure {
    Failure::new(
        Code::Undecodable,
        format!("the network's configuration can't be read: {why}"),
    )
}

/// Go, which writes these documents, has `null` where there is nothing.
fn null_is_zero<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// The same for a list that says something by being there at all.
fn said<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<Option<T>, D::Error> {
    null_is_zero(from).map(Some)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(config: &Value) -> Result<Config, Failure> {
        Config::parse(config.to_string().as_bytes())
    }

    #[test]
    fn everything_that_can_be_asked_is_read() {
        let config = parse(&json!({
            "cniVersion": "1.1.0", "name": "podnet", "type": "cnm-cni", "network": "lan",
            "socket": "/run/x.sock", "interface": "net0", "options": {"a": "b", "n": 1, "t": true},
            "gatewayPriority": 3, "aliases": ["one"], "ipam": {}, "ipMasq": true,
            "dns": {"nameservers": ["9.9.9.9"], "search": ["corp"], "options": ["ndots:2"]},
            "capabilities": {"ips": true}, "args": {"cni": {"ips": ["fd00::7", "10.0.0.7"]}},
            "runtimeConfig": {
                "ips": ["10.0.0.7/24"], "mac": "02:00:00:00:00:07",
                "aliases": {"podnet": ["two"], "other": ["three"]},
                "dns": {"searches": ["home"], "servers": []},
                "portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": "127.0.0.1"}],
            },
        }))
        .unwrap();
        let wanted = Config {
            version: Version::V1_1_0,
            name: "podnet".into(),
            network: "lan".into(),
            socket: Some("/run/x.sock".into()),
            interface: Some("net0".into()),
            options: [("a", "b"), ("n", "1"), ("t", "true")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            gateway_priority: 3,
            aliases: vec!["one".into(), "two".into()],
            addresses: vec!["10.0.0.7".parse().unwrap(), "fd00::7".parse().unwrap()],
            mac: Some("02:00:00:00:00:07".into()),
            ports: vec![PortMapping {
                host_port: 8080,
                container_port: 80,
                protocol: "tcp".into(),
                host_ip: "127.0.0.1".into(),
            }],
            dns: Dns {
                nameservers: vec!["9.9.9.9".into()],
                domain: String::new(),
                search: vec!["home".into()],
                options: vec!["ndots:2".into()],
            },
            previous: None,
            valid: None,
        };
        assert_eq!(config, wanted);
    }

    #[test]
    fn null_is_nothing_wherever_it_stands() {
        let least = parse(&json!({"cniVersion": "0.4.0", "name": "lan"})).unwrap();
        let nulls = json!({
            "cniVersion": "0.4.0", "name": "lan", "network": null, "socket": null, "options": null, "ipam": null,
            "dns": null, "args": null, "prevResult": null, "aliases": null, "gatewayPriority": null,
            "runtimeConfig": {"ips": null, "mac": null, "portMappings": null, "aliases": null, "dns": null},
        });
        assert_eq!(parse(&nulls).unwrap(), least);
        let nulls = json!({"cniVersion": "0.4.0", "name": "lan", "runtimeConfig": null});
        assert_eq!(parse(&nulls).unwrap(), least);
        assert_eq!(least.network, "lan", "the network is called as the configuration");
    }

    #[test]
    fn nobody_is_wanted_only_where_that_is_said() {
        let with = |key: &str, value: Value| {
            let mut config = json!({"cniVersion": "1.1.0", "name": "lan"});
            config[key] = value;
            parse(&config).unwrap().valid
        };
        let one = json!([{"containerID": "c", "ifname": "eth0"}]);
        let read = vec![Attachment {
            container: "c".into(),
            ifname: "eth0".into(),
        }];
        assert_eq!(with("cni.dev/valid-attachments", one.clone()), Some(read.clone()));
        assert_eq!(with("cni.dev/attachments", one), Some(read));
        assert_eq!(with("cni.dev/valid-attachments", json!([])), Some(Vec::new()));
        assert_eq!(with("cni.dev/valid-attachments", Value::Null), Some(Vec::new()));
        assert_eq!(with("other", Value::Null), None);
    }

    #[test]
    fn what_makes_no_sense_has_the_code_that_the_specification_gives_it() {
        let lan = |key: &str, value: Value| {
            let mut config = json!({"cniVersion": "1.0.0", "name": "lan"});
            config[key] = value;
            config
        };
        for (name, config, code) in [
            ("no version", json!({"name": "lan"}), Code::IncompatibleVersion),
            (
                "an old version",
                lan("cniVersion", json!("0.2.0")),
                Code::IncompatibleVersion,
            ),
            (
                "a version to come",
                lan("cniVersion", json!("2.0.0")),
                Code::IncompatibleVersion,
            ),
            (
                "a number for a version",
                lan("cniVersion", json!(1)),
                Code::Undecodable,
            ),
            ("no object", json!(["lan"]), Code::Undecodable),
            ("no name", json!({"cniVersion": "1.0.0"}), Code::InvalidConfig),
            ("a bad name", lan("name", json!("a/b")), Code::InvalidConfig),
            ("a name that is none", lan("name", json!({})), Code::Undecodable),
            (
                "a bad interface",
                lan("interface", json!("a b")),
                Code::InvalidConfig,
            ),
            (
                "another ipam",
                lan("ipam", json!({"type": "host-local"})),
                Code::UnsupportedField,
            ),
            (
                "an ipam of no type",
                lan("ipam", json!({"type": 3})),
                Code::UnsupportedField,
            ),
            (
                "an option of lists",
                lan("options", json!({"a": []})),
                Code::InvalidConfig,
            ),
            ("options in a list", lan("options", json!([])), Code::Undecodable),
            (
                "no address",
                lan("runtimeConfig", json!({"ips": ["x"]})),
                Code::InvalidConfig,
            ),
            (
                "no addresses",
                lan("runtimeConfig", json!({"ips": "10.0.0.1"})),
                Code::Undecodable,
            ),
            (
                "no ports",
                lan("runtimeConfig", json!({"portMappings": [1]})),
                Code::Undecodable,
            ),
        ] {
            assert_eq!(parse(&config).expect_err(name).code, code, "{name}");
        }
        let empty = Config::parse(b"").expect_err("nothing at all");
        assert_eq!(empty.code, Code::Undecodable);
        let deep = "[".repeat(100_000);
        assert_eq!(
            Config::parse(deep.as_bytes()).expect_err("deep").code,
            Code::Undecodable
        );
    }
}
