//! Which daemon to talk to.

use std::path::PathBuf;

use crate::error::CommandError;

/// Where the daemon listens unless told otherwise.
pub(crate) const DEFAULT_SOCKET: &str = "/run/cnm/cnm.sock";

/// A daemon's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    /// The unix socket.
    pub(crate) socket: PathBuf,
}

/// Chooses: the flag, then `CNM_HOST`, then `DOCKER_HOST`, then our own socket.
pub(crate) fn choose(
    flag: Option<&str>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Host, CommandError> {
    let given = |name: &str| {
        variable(name)
            .filter(|value| !value.is_empty())
            .map(|value| (value, name.to_owned()))
    };
    let (text, origin) = match flag {
        Some(flag) => (flag.to_owned(), "--host".to_owned()),
        None => match given("CNM_HOST").or_else(|| given("DOCKER_HOST")) {
            Some(found) => found,
            None => (DEFAULT_SOCKET.to_owned(), "default".to_owned()),
        },
    };
    parse(&text).map_err(|error| CommandError {
        message: format!("{} (from {origin})", error.message),
        ..error
    })
}

/// Parses one address.
pub(crate) fn parse(text: &str) -> Result<Host, CommandError> {
    let text = text.trim();
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (scheme, rest),
        None if text.starts_with('/') => ("unix", text),
        None => ("tcp", text),
    };
    match scheme {
        "unix" if rest.is_empty() => Ok(Host {
            socket: DEFAULT_SOCKET.into(),
        }),
        "unix" if rest.starts_with('/') => Ok(Host { socket: rest.into() }),
        "unix" => Err(
            CommandError::new(format!("the socket path {rest:?} is not absolute"))
                .hint(format!("write unix:///{rest}")),
        ),
        "tcp" | "http" | "https" => Err(CommandError::new(format!(
            "can't connect to {text:?}: tcp needs TLS, which is not available yet"
        ))
        .hint("log in to that host, or forward its socket: ssh -L /tmp/cnm.sock:/run/cnm/cnm.sock HOST")),
        "ssh" => Err(
            CommandError::new(format!("can't connect to {text:?}: ssh is not available yet"))
                .hint("forward the socket yourself: ssh -L /tmp/cnm.sock:/run/cnm/cnm.sock HOST"),
        ),
        other => Err(
            CommandError::new(format!("unknown kind of host address {other:?} in {text:?}"))
                .hint("write unix:///path/to/socket"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unix_sockets_are_taken_and_the_rest_is_refused_with_a_reason() {
        let cases = [
            ("a socket", "unix:///tmp/x.sock", Ok("/tmp/x.sock")),
            ("a path alone", "/tmp/x.sock", Ok("/tmp/x.sock")),
            ("the default socket", "unix://", Ok(DEFAULT_SOCKET)),
            ("a relative path", "unix://x.sock", Err("not absolute")),
            ("tcp", "tcp://10.0.0.1:2376", Err("tcp needs TLS")),
            ("a host and a port", "10.0.0.1:2376", Err("tcp needs TLS")),
            ("ssh", "ssh://me@there", Err("ssh is not available")),
            ("nonsense", "carrier-pigeon://x", Err("unknown kind")),
        ];
        for (name, text, expected) in cases {
            match (parse(text), expected) {
                (Ok(host), Ok(path)) => assert_eq!(host.socket.to_str(), Some(path), "{name}"),
                (Err(error), Err(part)) => {
                    assert!(
                        error.message.contains(part) && error.hint.is_some(),
                        "{name}: {}",
                        error.message
                    );
                }
                (got, wanted) => panic!("{name}: got {got:?}, wanted {wanted:?}"),
            }
        }
    }

    #[test]
    fn the_flag_goes_before_our_variable_before_dockers() {
        let both = |name: &str| match name {
            "CNM_HOST" => Some("/ours".to_owned()),
            "DOCKER_HOST" => Some("/dockers".to_owned()),
            _ => None,
        };
        let dockers = |name: &str| (name == "DOCKER_HOST").then(|| "/dockers".to_owned());
        let socket = |host: Result<Host, CommandError>| host.map(|host| host.socket).ok();
        assert_eq!(socket(choose(Some("/flag"), both)), Some("/flag".into()));
        assert_eq!(socket(choose(None, both)), Some("/ours".into()));
        assert_eq!(socket(choose(None, dockers)), Some("/dockers".into()));
        assert_eq!(socket(choose(None, |_| None)), Some(DEFAULT_SOCKET.into()));
    }
}
