//! The parameters of a call that are in the environment.

use std::net::IpAddr;

use crate::failure::{Code, Failure};

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// An interface is wanted.
    Add,
    /// It is no longer wanted.
    Del,
    /// Is it still what it was?
    Check,
    /// Only these are still wanted.
    Gc,
    /// Could one be had?
    Status,
    /// Which versions are spoken?
    Version,
}

impl Command {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
            Self::Check => "CHECK",
            Self::Gc => "GC",
            Self::Status => "STATUS",
            Self::Version => "VERSION",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let all = [
            Self::Add,
            Self::Del,
            Self::Check,
            Self::Gc,
            Self::Status,
            Self::Version,
        ];
        all.into_iter().find(|command| command.as_str() == text)
    }
}

/// `CNI_…` as it was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    command: String,
    container: String,
    netns: String,
    interface: String,
    arguments: String,
}

impl Environment {
    /// Reads it.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let read = |name: &str| variable(name).unwrap_or_default();
        Self {
            command: read("CNI_COMMAND"),
            container: read("CNI_CONTAINERID"),
            netns: read("CNI_NETNS"),
            interface: read("CNI_IFNAME"),
            arguments: read("CNI_ARGS"),
        }
    }

    /// What is to be done.
    pub fn command(&self) -> Result<Command, Failure> {
        if self.command.is_empty() {
            return Err(missing("CNI_COMMAND").with("\"cnm-cni --help\" says what this program is for"));
        }
        let refused = || {
            invalid("CNI_COMMAND", &self.command).with("ADD, DEL, CHECK, GC, STATUS and VERSION are known")
        };
        Command::parse(&self.command).ok_or_else(refused)
    }

    /// The container's identity.
    pub fn container(&self) -> Result<&str, Failure> {
        required("CNI_CONTAINERID", &self.container)?;
        match is_identifier(&self.container) {
            true => Ok(&self.container),
            false => Err(invalid("CNI_CONTAINERID", &self.container).with(
                "it begins with a letter or digit, and has only letters, digits, \"_\", \".\" and \"-\"",
            )),
        }
    }

    /// The namespace; an absolute path.
    pub fn netns(&self) -> Result<&str, Failure> {
        required("CNI_NETNS", &self.netns)?;
        match self.netns.starts_with('/') {
            true => Ok(&self.netns),
            false => Err(invalid("CNI_NETNS", &self.netns).with("it is an absolute path")),
        }
    }

    /// The interface's name.
    pub fn interface(&self) -> Result<&str, Failure> {
        required("CNI_IFNAME", &self.interface)?;
        match is_interface(&self.interface) {
            true => Ok(&self.interface),
            false => Err(invalid("CNI_IFNAME", &self.interface)
                .with("it has at most 15 characters, and no \"/\", \":\" or blank among them")),
        }
    }

    /// The further arguments.
    pub fn arguments(&self) -> Result<Arguments, Failure> {
        Arguments::parse(&self.arguments)
    }
}

/// Whether a text may be a container's identity or a network's name.
pub(crate) fn is_identifier(text: &str) -> bool {
    let rest = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(rest)
}

/// Whether the kernel takes a text for an interface's name.
pub(crate) fn is_interface(text: &str) -> bool {
    let wrong = |c: char| matches!(c, '/' | ':') || c.is_whitespace() || c.is_control();
    !text.is_empty() && text.len() < 16 && text != "." && text != ".." && !text.contains(wrong)
}

fn required(name: &str, value: &str) -> Result<(), Failure> {
    match value.is_empty() {
        true => Err(missing(name)),
        false => Ok(()),
    }
}

fn missing(name: &str) -> Failure {
    Failure::new(
        Code::InvalidEnvironment,
        format!("the environment variable {name} is missing"),
    )
}

fn invalid(name: &str, value: &str) -> Failure {
    Failure::new(Code::InvalidEnvironment, format!("{name} is {value:?}"))
}

/// `CNI_ARGS`: what runtimes say beyond the specification.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Arguments {
    /// `IP`: one address, or several with commas between them.
    pub addresses: Vec<IpAddr>,
    /// `MAC`.
    pub mac: Option<String>,
    /// `K8S_POD_NAME`: the pod's, and in podman the container's.
    pub pod: Option<String>,
    /// `K8S_POD_NAMESPACE`.
    pub pod_namespace: Option<String>,
}

impl Arguments {
    fn parse(text: &str) -> Result<Self, Failure> {
        let mut found = Self::default();
        let mut unknown = Vec::new();
        let mut tolerant = false;
        for pair in text.split(';').filter(|pair| !pair.trim().is_empty()) {
            let (key, value) = pair
                .split_once('=')
                .ok_or_else(|| invalid("CNI_ARGS", pair).with("it is KEY=VALUE;KEY=VALUE"))?;
            match key.trim() {
                "IgnoreUnknown" => tolerant = is_true(value)?,
                "IP" => found.addresses = addresses(value)?,
                "MAC" => found.mac = Some(value.to_owned()),
                "K8S_POD_NAME" => found.pod = Some(value.to_owned()),
                "K8S_POD_NAMESPACE" => found.pod_namespace = Some(value.to_owned()),
                "K8S_POD_INFRA_CONTAINER_ID" | "K8S_POD_UID" => {}
                other => unknown.push(other),
            }
        }
        match unknown.is_empty() || tolerant {
            true => Ok(found),
            false => Err(invalid("CNI_ARGS", &unknown.join(", "))
                .with("unknown; with IgnoreUnknown=1 it would be passed over")),
        }
    }
}

fn is_true(text: &str) -> Result<bool, Failure> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "t" | "true" => Ok(true),
        "0" | "f" | "false" => Ok(false),
        _ => Err(invalid("CNI_ARGS", &format!("IgnoreUnknown={text}"))),
    }
}

fn addresses(text: &str) -> Result<Vec<IpAddr>, Failure> {
    let listed = text.split(',').map(str::trim).filter(|text| !text.is_empty());
    let read = |text: &str| address(text).ok_or_else(|| invalid("CNI_ARGS", &format!("IP={text}")));
    listed.map(read).collect()
}

/// An address, whose prefix length is the network's business.
pub(crate) fn address(text: &str) -> Option<IpAddr> {
    text.split_once('/')
        .map_or(text, |(address, _)| address)
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &'static str, value: &'static str) -> Environment {
        Environment::read(move |asked| (asked == name).then(|| value.to_owned()))
    }

    #[test]
    fn what_is_missing_or_makes_no_sense_is_code_4_and_named() {
        for (name, value, read) in [
            ("CNI_COMMAND", "", command as fn(&Environment) -> _),
            ("CNI_COMMAND", "add", command),
            ("CNI_CONTAINERID", "", container),
            ("CNI_CONTAINERID", "-a", container),
            ("CNI_CONTAINERID", "a/b", container),
            ("CNI_CONTAINERID", "a b", container),
            ("CNI_NETNS", "", netns),
            ("CNI_NETNS", "run/netns/x", netns),
            ("CNI_IFNAME", "", interface),
            ("CNI_IFNAME", "..", interface),
            ("CNI_IFNAME", "a:b", interface),
            ("CNI_IFNAME", "a/b", interface),
            ("CNI_IFNAME", "a b", interface),
            ("CNI_IFNAME", "sixteen-letters-", interface),
            ("CNI_ARGS", "IP", arguments),
            ("CNI_ARGS", "IP=10.0.0.256", arguments),
            ("CNI_ARGS", "COLOUR=red", arguments),
            ("CNI_ARGS", "IgnoreUnknown=perhaps", arguments),
        ] {
            let failure = read(&with(name, value)).expect_err(value);
            assert_eq!(failure.code, Code::InvalidEnvironment, "{name}={value}");
            assert!(failure.message.contains(name), "{failure:?}");
        }
    }

    fn command(environment: &Environment) -> Result<(), Failure> {
        environment.command().map(drop)
    }
    fn container(environment: &Environment) -> Result<(), Failure> {
        environment.container().map(drop)
    }
    fn netns(environment: &Environment) -> Result<(), Failure> {
        environment.netns().map(drop)
    }
    fn interface(environment: &Environment) -> Result<(), Failure> {
        environment.interface().map(drop)
    }
    fn arguments(environment: &Environment) -> Result<(), Failure> {
        environment.arguments().map(drop)
    }

    #[test]
    fn arguments_are_read_and_unknown_ones_passed_over_when_told_so() {
        let asked = "IgnoreUnknown=1;K8S_POD_NAME=web;IP=10.0.0.9/24,fd00::9;MAC=02:00:00:00:00:01;X=y;";
        let found = with("CNI_ARGS", asked).arguments().unwrap();
        let wanted = Arguments {
            addresses: vec!["10.0.0.9".parse().unwrap(), "fd00::9".parse().unwrap()],
            mac: Some("02:00:00:00:00:01".to_owned()),
            pod: Some("web".to_owned()),
            pod_namespace: None,
        };
        assert_eq!(found, wanted);
        assert_eq!(with("CNI_ARGS", "").arguments().unwrap(), Arguments::default());
    }
}
