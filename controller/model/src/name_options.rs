//! What a network's options say about names: records of the user's own, servers for some domains, and whether the host
//! itself may ask.
//!
//! The options are checked when a network is made; whoever reads a record later leaves out what it does not understand.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use crate::{Labels, NAME_SERVER, NAME_SERVER_V6};

/// What all these options begin with.
const PREFIX: &str = "cnm.dns.";
const FORWARD: &str = "cnm.dns.forward.";
const RECORD: &str = "cnm.dns.record.";
const HOST: &str = "cnm.dns.host";
/// The port of a server that is given without one.
const DOMAIN: u16 = 53;
/// A name's and a label's most bytes (RFC 1035, 2.3.4), as text without the dot at the end.
const LONGEST_NAME: usize = 253;
const LONGEST_LABEL: usize = 63;
/// Values of one option: as many servers as anybody could ask in turn, as many addresses as fit in a datagram.
const MOST_SERVERS: usize = 8;
const MOST_ADDRESSES: usize = 32;

/// A network's own part of name service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NameOptions {
    /// Addresses of names, in lower case; a name that begins with `*.` stands for every name below the rest.
    pub records: BTreeMap<String, Vec<IpAddr>>,
    /// Servers for a domain in lower case and all below it.
    pub forwards: BTreeMap<String, Vec<SocketAddr>>,
    /// Whether names are served to the host at the gateway's address.
    pub host: bool,
}

/// An option of names that can't be meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("option {key:?} can't be {value:?}: {wanted}")]
pub struct NameOptionError {
    /// The option.
    pub key: String,
    /// Its value.
    pub value: String,
    /// What is wanted.
    pub wanted: &'static str,
}

impl NameOptions {
    /// Reads a network's options; everything that is wrong at once. Other options are no concern of it.
    pub fn parse(options: &Labels) -> Result<Self, Vec<NameOptionError>> {
        let (read, wrong) = Self::read(options);
        if wrong.is_empty() { Ok(read) } else { Err(wrong) }
    }

    /// Reads what can be understood and leaves out the rest.
    pub fn understood(options: &Labels) -> Self {
        Self::read(options).0
    }

    fn read(options: &Labels) -> (Self, Vec<NameOptionError>) {
        let (mut read, mut wrong) = (Self::default(), Vec::new());
        for (key, value) in options.iter().filter(|(key, _)| key.starts_with(PREFIX)) {
            if let Err(wanted) = read.take(key, value) {
                wrong.push(NameOptionError {
                    key: key.clone(),
                    value: value.clone(),
                    wanted,
                });
            }
        }
        (read, wrong)
    }

    fn take(&mut self, key: &str, value: &str) -> Result<(), &'static str> {
        if let Some(domain) = key.strip_prefix(FORWARD) {
            let domain = name(domain).ok_or("a domain is wanted behind \"cnm.dns.forward.\"")?;
            let servers = list(value, server, MOST_SERVERS).ok_or(
                "1 to 8 servers are wanted, ADDRESS or ADDRESS:PORT, with [] around an IPv6 address with a port, and not our own",
            )?;
            self.forwards.insert(domain, servers);
        } else if let Some(record) = key.strip_prefix(RECORD) {
            let below = record.strip_prefix("*.");
            let record = name(below.unwrap_or(record))
                .ok_or("a name is wanted behind \"cnm.dns.record.\", perhaps beginning with \"*.\"")?;
            let addresses = list(value, |text| text.parse().ok(), MOST_ADDRESSES)
                .ok_or("1 to 32 addresses are wanted, with commas between them")?;
            let star = if below.is_some() { "*." } else { "" };
            self.records.insert(format!("{star}{record}"), addresses);
        } else if key == HOST {
            self.host = match value {
                "1" | "true" | "True" | "TRUE" => true,
                "0" | "false" | "False" | "FALSE" => false,
                _ => return Err("\"true\" or \"false\" is wanted"),
            };
        } else {
            return Err(
                "the options of names are cnm.dns.forward.DOMAIN, cnm.dns.record.NAME and cnm.dns.host",
            );
        }
        Ok(())
    }
}

/// A name in lower case, without a dot at its end.
fn name(text: &str) -> Option<String> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let label = |label: &str| (1..=LONGEST_LABEL).contains(&label.len()) && label.bytes().all(letter);
    (text.len() <= LONGEST_NAME && text.split('.').all(label)).then(|| text.to_ascii_lowercase())
}

fn list<T>(text: &str, read: impl Fn(&str) -> Option<T>, most: usize) -> Option<Vec<T>> {
    let all = text.split(',').map(|part| read(part.trim()));
    all.collect::<Option<Vec<_>>>().filter(|all| all.len() <= most)
}

fn server(text: &str) -> Option<SocketAddr> {
    let alone = text.parse().ok().map(|address| SocketAddr::new(address, DOMAIN));
    let server: SocketAddr = alone.or_else(|| text.parse().ok())?;
    // Containers ask us there; on the host, where loopback addresses are asked, nobody listens.
    let ourselves = server.ip() == NAME_SERVER || server.ip() == IpAddr::V6(NAME_SERVER_V6);
    let nobody = server.port() == 0 || server.ip().is_unspecified() || server.ip().is_multicast();
    (!nobody && !ourselves).then_some(server)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        let owned = pairs.iter().map(|(key, value)| ((*key).into(), (*value).into()));
        owned.collect()
    }

    #[test]
    fn records_servers_and_the_hosts_listener_are_read() {
        let read = NameOptions::parse(&labels(&[
            ("cnm.dns.record.API.dev.local.", "10.0.0.9, fd00::9"),
            ("cnm.dns.record.*.dev.local", "10.0.0.1"),
            (
                "cnm.dns.forward.Corp",
                "10.1.1.1,10.1.1.2:5353,[fd00::1]:54,fd00::2",
            ),
            ("cnm.dns.host", "true"),
            ("com.docker.network.bridge.name", "x"),
        ]));
        let read = read.expect("good options");
        assert!(read.host);
        let names: Vec<_> = read.records.keys().map(String::as_str).collect();
        assert_eq!(names, ["*.dev.local", "api.dev.local"]);
        assert_eq!(read.records["api.dev.local"].len(), 2);
        let servers: Vec<_> = read.forwards["corp"].iter().map(ToString::to_string).collect();
        assert_eq!(
            servers,
            ["10.1.1.1:53", "10.1.1.2:5353", "[fd00::1]:54", "[fd00::2]:53"]
        );
    }

    #[test]
    fn everything_that_cannot_be_meant_is_told_at_once() {
        let long = format!("cnm.dns.record.{}", "x".repeat(64));
        let rows = [
            ("cnm.dns.record.", "10.0.0.1"),
            ("cnm.dns.record.*", "10.0.0.1"),
            ("cnm.dns.record.a.*.b", "10.0.0.1"),
            ("cnm.dns.record.a..b", "10.0.0.1"),
            ("cnm.dns.record.a b", "10.0.0.1"),
            (&long, "10.0.0.1"),
            ("cnm.dns.record.a", ""),
            ("cnm.dns.record.b", "10.0.0.256"),
            ("cnm.dns.forward.*.a", "10.0.0.1"),
            ("cnm.dns.forward.a", "dns.google"),
            ("cnm.dns.forward.b", "10.0.0.1:0"),
            ("cnm.dns.forward.c", "0.0.0.0"),
            (
                "cnm.dns.forward.d",
                "1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1",
            ),
            ("cnm.dns.forward.e", "127.0.0.11"),
            ("cnm.dns.forward.f", "[fd63:6e6d::11]:53"),
            ("cnm.dns.host", "perhaps"),
            ("cnm.dns.hosts", "true"),
        ];
        let wrong = NameOptions::parse(&labels(&rows)).expect_err("all wrong");
        assert_eq!(wrong.len(), rows.len());
        let mixed = labels(&[rows[0], ("cnm.dns.host", "1")]);
        assert!(NameOptions::understood(&mixed).host);
    }
}
