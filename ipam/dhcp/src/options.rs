//! What a network's user says about it (`--ipam-opt`), and a connection's.

use std::time::Duration;

use model::Labels;

const TIMEOUT: &str = "cnm.dhcp.timeout";
const HOSTNAME: &str = "cnm.dhcp.hostname";
const CLIENT_ID: &str = "cnm.dhcp.client_id";
const VENDOR_CLASS: &str = "cnm.dhcp.vendor_class";
const IPV6: &str = "cnm.dhcp.ipv6";
const DUID: &str = "cnm.dhcp.duid";
const KNOWN: [&str; 6] = [TIMEOUT, HOSTNAME, CLIENT_ID, VENDOR_CLASS, IPV6, DUID];
/// How long a container's start waits for a server.
const USUAL: Duration = Duration::from_secs(10);

/// How addresses are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How long a server has for an answer before a container's start fails.
    pub timeout: Duration,
    /// What a server is told as the name; none for the container's hostname, empty for nothing at all.
    pub hostname: Option<String>,
    /// What a client is known by; none for the driver's choice.
    pub client_id: Option<String>,
    /// The kind of client.
    pub vendor_class: Option<String>,
    /// Whether a DHCPv6 server is asked.
    pub ipv6: AskV6,
    /// What a client of DHCPv6 is known by; none for a name made of its container.
    pub duid: Option<Vec<u8>>,
}

/// When a DHCPv6 server is asked for an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskV6 {
    /// When the segment's routers say that addresses are managed.
    AsRoutersSay,
    /// Always, and no container starts without its answer.
    Always,
    /// Never: addresses are what routers announce.
    Never,
}

/// An option that can't be meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionsError {
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

impl Options {
    /// Reads a network's, and over them a connection's.
    ///
    /// # Errors
    /// For an option that isn't there, and for a value that can't be.
    pub fn parse(network: &Labels, connection: &Labels) -> Result<Self, OptionsError> {
        if let Some(key) = network.keys().find(|key| !KNOWN.contains(&key.as_str())) {
            return Err(OptionsError {
                message: format!("the IPAM driver \"dhcp\" has no option {key:?}"),
                hint: format!("its options are {}", KNOWN.join(", ")),
            });
        }
        let get = |key: &str| connection.get(key).or_else(|| network.get(key));
        let text = |key: &str| match get(key) {
            Some(text) if text.len() > 255 || text.contains(char::is_control) => Err(OptionsError {
                message: format!("option {key:?} can't be {text:?}"),
                hint: "at most 255 bytes of text are wanted".to_owned(),
            }),
            other => Ok(other.cloned()),
        };
        Ok(Self {
            timeout: get(TIMEOUT).map_or(Ok(USUAL), |value| timeout(value))?,
            hostname: text(HOSTNAME)?,
            client_id: text(CLIENT_ID)?.filter(|id| !id.is_empty()),
            vendor_class: text(VENDOR_CLASS)?.filter(|class| !class.is_empty()),
            ipv6: get(IPV6).map_or(Ok(AskV6::AsRoutersSay), |value| ipv6(value))?,
            duid: get(DUID)
                .filter(|value| !value.is_empty())
                .map(|value| duid(value))
                .transpose()?,
        })
    }
}

fn timeout(value: &str) -> Result<Duration, OptionsError> {
    match value.trim_end_matches('s').parse() {
        Ok(seconds @ 1..=300) => Ok(Duration::from_secs(seconds)),
        _ => Err(OptionsError {
            message: format!("option {TIMEOUT:?} can't be {value:?}"),
            hint: "seconds from 1 to 300 are wanted, such as \"10s\"".to_owned(),
        }),
    }
}

fn ipv6(value: &str) -> Result<AskV6, OptionsError> {
    match value {
        "" | "auto" => Ok(AskV6::AsRoutersSay),
        "stateful" => Ok(AskV6::Always),
        "slaac" => Ok(AskV6::Never),
        _ => Err(OptionsError {
            message: format!("option {IPV6:?} can't be {value:?}"),
            hint: "\"auto\" (as the segment's routers say), \"stateful\" (always by DHCPv6) or \"slaac\" (never) is wanted"
                .to_owned(),
        }),
    }
}

/// Hexadecimal digits, with or without colons: a type of two bytes, and at least one more (RFC 8415, section 11.1).
fn duid(value: &str) -> Result<Vec<u8>, OptionsError> {
    let digits: Vec<u8> = value.bytes().filter(|byte| *byte != b':').collect();
    let pairs = digits.chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
        u8::from_str_radix(pair, 16)
            .ok()
            .filter(|_| !pair.starts_with('+'))
    });
    let bytes: Option<Vec<u8>> = pairs.collect();
    bytes
        .filter(|bytes| (3..=130).contains(&bytes.len()))
        .ok_or_else(|| OptionsError {
            message: format!("option {DUID:?} can't be {value:?}"),
            hint:
                "3 to 130 bytes in hexadecimal digits are wanted, such as \"00:03:00:01:02:42:ac:11:00:02\""
                    .to_owned(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        let owned = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        owned.collect()
    }

    #[test]
    fn a_connection_has_the_last_word() {
        let network = labels(&[(HOSTNAME, "lan"), (TIMEOUT, "3s")]);
        let read = Options::parse(&network, &labels(&[(HOSTNAME, "web"), ("other", "x")])).expect("right");
        assert_eq!(read.hostname.as_deref(), Some("web"));
        assert_eq!(read.timeout, Duration::from_secs(3));
        assert_eq!(read.client_id, None);
        assert_eq!((read.ipv6, read.duid), (AskV6::AsRoutersSay, None));
        let network = labels(&[(IPV6, "stateful"), (DUID, "00:04:0a0B")]);
        let read = Options::parse(&network, &labels(&[(IPV6, "slaac")])).expect("right");
        assert_eq!((read.ipv6, read.duid), (AskV6::Never, Some(vec![0, 4, 10, 11])));
    }

    #[test]
    fn what_can_not_be_meant_is_refused() {
        for (key, value) in [
            (TIMEOUT, "0"),
            (TIMEOUT, "never"),
            (TIMEOUT, "301"),
            (HOSTNAME, "a\nb"),
            ("cnm.dhcp.timout", "3"),
            (IPV6, "dhcp"),
            (DUID, "00"),
            (DUID, "0:0:4"),
            (DUID, "00:04:zz"),
        ] {
            let refused = Options::parse(&labels(&[(key, value)]), &Labels::new());
            assert!(refused.is_err(), "{key}={value}");
        }
    }
}
