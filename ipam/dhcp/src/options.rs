//! What a network's user says about it (`--ipam-opt`), and a connection's.

use std::time::Duration;

use model::Labels;

const TIMEOUT: &str = "cnm.dhcp.timeout";
const HOSTNAME: &str = "cnm.dhcp.hostname";
const CLIENT_ID: &str = "cnm.dhcp.client_id";
const VENDOR_CLASS: &str = "cnm.dhcp.vendor_class";
const KNOWN: [&str; 4] = [TIMEOUT, HOSTNAME, CLIENT_ID, VENDOR_CLASS];
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
    }

    #[test]
    fn what_can_not_be_meant_is_refused() {
        for (key, value) in [
            (TIMEOUT, "0"),
            (TIMEOUT, "never"),
            (TIMEOUT, "301"),
            (HOSTNAME, "a\nb"),
            ("cnm.dhcp.timout", "3"),
        ] {
            let refused = Options::parse(&labels(&[(key, value)]), &Labels::new());
            assert!(refused.is_err(), "{key}={value}");
        }
    }
}
