//! Ports of the host that containers have, as recorded.
//!
//! One record for the whole host: two that want the same port change the same record, and one of them is told so. An
//! interval is one short text whatever its length, so that a thousand containers stay within what a store takes.

use std::{collections::BTreeMap, fmt, net::IpAddr, str::FromStr};

use model::{PortRange, Protocol, PublishedPorts, SandboxId};
use serde::{Deserialize, Serialize};

/// Who has which ports of the host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Claims(BTreeMap<SandboxId, Claim>);

/// What one sandbox has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// What it was called when it got its first port.
    pub name: String,
    /// Its ports.
    pub ports: Vec<Span>,
}

/// Ports of one protocol at one host address; the unspecified one stands for all of its family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span {
    /// Of which protocol.
    pub protocol: Protocol,
    /// At which address.
    pub ip: IpAddr,
    /// Which.
    pub ports: PortRange,
}

/// Text that is no [`Span`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a claim of ports")]
pub struct SpanError(String);

impl Claims {
    /// Each sandbox with what it has.
    pub fn iter(&self) -> impl Iterator<Item = (SandboxId, &Claim)> {
        self.0.iter().map(|(id, claim)| (*id, claim))
    }

    /// What a sandbox has.
    pub fn of(&self, id: SandboxId) -> Option<&Claim> {
        self.0.get(&id)
    }

    /// Adds to what a sandbox has.
    pub fn add(&mut self, id: SandboxId, name: &str, ports: &[PublishedPorts]) {
        if ports.is_empty() {
            return;
        }
        let claim = self.0.entry(id).or_insert_with(|| Claim {
            name: name.to_owned(),
            ports: Vec::new(),
        });
        claim.ports.extend(ports.iter().map(Span::from));
        claim.ports.sort_unstable();
        claim.ports.dedup();
    }

    /// Sets what a sandbox has; nothing forgets it.
    pub fn set(&mut self, id: SandboxId, ports: &[PublishedPorts]) {
        let name = self.0.remove(&id).map(|claim| claim.name).unwrap_or_default();
        self.add(id, &name, ports);
    }

    /// Forgets sandboxes that nobody knows. Answers whether there were any.
    pub fn retain(&mut self, known: impl Fn(SandboxId) -> bool) -> bool {
        let before = self.0.len();
        self.0.retain(|id, _| known(*id));
        self.0.len() != before
    }
}

impl From<&PublishedPorts> for Span {
    fn from(published: &PublishedPorts) -> Self {
        Self {
            protocol: published.protocol,
            ip: published.host_ip,
            ports: published.host,
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.protocol, self.ip, self.ports)
    }
}

impl FromStr for Span {
    type Err = SpanError;
    fn from_str(text: &str) -> Result<Self, SpanError> {
        let wrong = || SpanError(text.to_owned());
        let mut words = text.split(' ');
        let mut word = || words.next().ok_or_else(wrong);
        let span = Self {
            protocol: word()?.parse().map_err(|_| wrong())?,
            ip: word()?.parse().map_err(|_| wrong())?,
            ports: word()?.parse().map_err(|_| wrong())?,
        };
        match words.next() {
            None => Ok(span),
            Some(_) => Err(wrong()),
        }
    }
}

impl TryFrom<String> for Span {
    type Error = SpanError;
    fn try_from(text: String) -> Result<Self, SpanError> {
        text.parse()
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

#[cfg(test)]
mod tests {
    use model::Exposure;

    use super::*;

    fn published(ip: &str, host: &str) -> PublishedPorts {
        let host: PortRange = host.parse().unwrap();
        PublishedPorts {
            protocol: Protocol::Tcp,
            host_ip: ip.parse().unwrap(),
            host,
            container: host,
            exposure: Exposure::Open,
        }
    }

    #[test]
    fn an_interval_is_recorded_as_one_short_text() {
        let mut claims = Claims::default();
        let id = SandboxId::from_bytes([7; 32]);
        claims.add(
            id,
            "web",
            &[
                published("0.0.0.0", "10000-19999"),
                published("::", "10000-19999"),
            ],
        );
        let text = serde_json::to_string(&claims).unwrap();
        assert!(text.len() < 160, "{text}");
        assert!(
            text.contains(r#"["tcp 0.0.0.0 10000-19999","tcp :: 10000-19999"]"#),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<Claims>(&text).unwrap(), claims);
    }

    #[test]
    fn what_is_given_back_in_full_leaves_nothing() {
        let (id, mut claims) = (SandboxId::random(), Claims::default());
        claims.add(
            id,
            "web",
            &[published("0.0.0.0", "80"), published("0.0.0.0", "81")],
        );
        claims.set(id, &[published("0.0.0.0", "81")]);
        let left = Claim {
            name: "web".to_owned(),
            ports: vec!["tcp 0.0.0.0 81".parse().unwrap()],
        };
        assert_eq!(claims.of(id), Some(&left));
        claims.set(id, &[]);
        assert_eq!(claims, Claims::default());
    }

    #[test]
    fn what_is_no_claim_is_refused() {
        for bad in [
            "",
            "tcp",
            "tcp 0.0.0.0",
            "tcp 0.0.0.0 0",
            "icmp :: 1",
            "tcp x 1",
            "tcp :: 1 2",
        ] {
            assert!(bad.parse::<Span>().is_err(), "{bad:?}");
        }
    }
}
