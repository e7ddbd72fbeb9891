//! What a container is to run: the part of its configuration that an image can also give.

use serde::{Deserialize, Serialize, Serializer};

use super::host_config::HostConfig;
use crate::{
    network::EndpointSettings,
    shape::{Map, shape},
};

/// A set written as an object of empty objects: `{"80/tcp": {}}`.
pub type UnitMap = Map<serde_json::Value>;

shape! {
    /// What to run, and how it presents itself.
    Config {
        /// Host name; empty for the short id.
        hostname: String,
        /// Domain name.
        domainname: String,
        /// `user`, `uid`, `user:group` or `uid:gid`.
        user: String,
        /// The creating client reads its input from here.
        attach_stdin: bool,
        /// The creating client sees its output.
        attach_stdout: bool,
        /// The creating client sees its error output.
        attach_stderr: bool,
        /// Ports it listens on, as `80/tcp`.
        #[serde(skip_serializing_if = "Option::is_none")]
        exposed_ports: Option<UnitMap>,
        /// Gives it a terminal.
        tty: bool,
        /// Keeps its input open though nobody is attached.
        open_stdin: bool,
        /// Closes its input when the first attached client leaves.
        stdin_once: bool,
        /// `NAME=value`, or `NAME` alone to remove the image's.
        env: Option<Vec<String>>,
        /// The command, or the arguments of the entrypoint.
        cmd: Option<StringOrList>,
        /// How its health is found out.
        #[serde(skip_serializing_if = "Option::is_none")]
        healthcheck: Option<Healthcheck>,
        /// Windows only.
        #[serde(skip_serializing_if = "crate::shape::is_zero")]
        args_escaped: bool,
        /// The image, as it was asked for.
        image: String,
        /// Paths that get an anonymous volume.
        volumes: Option<UnitMap>,
        /// Where the command starts.
        working_dir: String,
        /// What the command is given to.
        entrypoint: Option<StringOrList>,
        /// No network but loopback.
        #[serde(skip_serializing_if = "crate::shape::is_zero")]
        network_disabled: bool,
        /// The old place of the Ethernet address on the default network.
        #[serde(skip_serializing_if = "String::is_empty")]
        mac_address: String,
        /// What an image built on this one runs first.
        on_build: Option<Vec<String>>,
        /// The user's labels.
        labels: Map<String>,
        /// The signal that asks it to stop; empty for `SIGTERM`.
        #[serde(skip_serializing_if = "String::is_empty")]
        stop_signal: String,
        /// Seconds from that signal to `SIGKILL`.
        #[serde(skip_serializing_if = "Option::is_none")]
        stop_timeout: Option<i64>,
        /// What a shell-form command is run by.
        #[serde(skip_serializing_if = "Option::is_none")]
        shell: Option<Vec<String>>,
    }
}

/// A command line: a list, which a lone string also is.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(from = "OneOrMany")]
pub struct StringOrList(pub Vec<String>);

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl From<OneOrMany> for StringOrList {
    fn from(given: OneOrMany) -> Self {
        match given {
            OneOrMany::One(word) => Self(vec![word]),
            OneOrMany::Many(words) => Self(words),
        }
    }
}

impl From<Vec<String>> for StringOrList {
    fn from(words: Vec<String>) -> Self {
        Self(words)
    }
}

impl Serialize for StringOrList {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

shape! {
    /// How a container's health is found out. Times are in nanoseconds.
    Healthcheck {
        /// `["CMD", …]`, `["CMD-SHELL", …]` or `["NONE"]`.
        #[serde(skip_serializing_if = "Option::is_none")]
        test: Option<Vec<String>>,
        /// Time between two checks.
        #[serde(skip_serializing_if = "crate::shape::is_zero")]
        interval: i64,
        /// Longest time one may take.
        #[serde(skip_serializing_if = "crate::shape::is_zero")]
        timeout: i64,
        /// Time in which failures don't count.
        #[serde(skip_serializing_if = "crate::shape::is_zero")]
        start_period: i64,
        /// Time between two checks in that time.
        #[serde(skip_serializing_if = "crate::shape::is_zero")]
        start_interval: i64,
        /// Failures in a row that make it unhealthy.
        #[serde(skip_serializing_if = "crate::shape::is_zero")]
        retries: i64,
    }
}

/// `POST /containers/create`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Create {
    /// What to run.
    #[serde(flatten)]
    pub config: Config,
    /// What the host gives it.
    #[serde(rename = "HostConfig", deserialize_with = "crate::shape::null_is_zero")]
    pub host_config: HostConfig,
    /// The networks it starts on.
    #[serde(rename = "NetworkingConfig", deserialize_with = "crate::shape::null_is_zero")]
    pub networking_config: NetworkingConfig,
}

shape! {
    /// The networks a container starts on.
    NetworkingConfig {
        /// Endpoints by network name or id; `null` for one without wishes.
        endpoints_config: Map<Option<EndpointSettings>>,
    }
}

shape! {
    /// The answer to a creation.
    Created {
        /// The full id.
        id: String,
        /// What the user should know; never `null`.
        warnings: Vec<String>,
    }
}
