//! Which daemon to talk to, and how it is seen that it is the one.

use std::fmt;
use std::path::PathBuf;

use crate::error::CommandError;
use crate::grammar::flags::boolean;

/// Where the daemon listens unless told otherwise.
pub(crate) const DEFAULT_SOCKET: &str = "/run/cnm/cnm.sock";
/// The ports daemons listen on, as clients of Docker have it.
const WITH_TLS: u16 = 2376;
const WITHOUT_TLS: u16 = 2375;

/// A daemon's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    /// A socket on this machine.
    Unix(PathBuf),
    /// A port, as `HOST:PORT`, with TLS or without.
    Tcp(String, Option<Tls>),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(address, _) => write!(f, "tcp://{address}"),
        }
    }
}

/// How TLS is spoken. Files are read when it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tls {
    /// Who vouches for the daemon; none takes whoever answers.
    pub(crate) authority: Option<PathBuf>,
    /// Our certificate and key; none where neither is there.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
}

/// What was typed of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub(crate) struct TlsFlags {
    /// Speak TLS on TCP; implied by --tlsverify
    #[arg(long, global = true, help_heading = "Global options")]
    tls: bool,
    /// Speak TLS on TCP with a daemon that --tlscacert vouches for (default: $DOCKER_TLS_VERIFY)
    #[arg(long, global = true, help_heading = "Global options")]
    tlsverify: bool,
    /// Authority of the daemon's certificate (default: ca.pem in $DOCKER_CERT_PATH or ~/.docker)
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    tlscacert: Option<PathBuf>,
    /// This client's certificate (default: cert.pem there)
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    tlscert: Option<PathBuf>,
    /// This client's key (default: key.pem there)
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    tlskey: Option<PathBuf>,
}

/// Chooses: the flag, then `CNM_HOST`, then `DOCKER_HOST`, then our own socket. Of every variable ours goes before Docker's.
pub(crate) fn choose(
    flag: Option<&str>,
    tls: &TlsFlags,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Host, CommandError> {
    let given = |name: &str| variable(name).filter(|value| !value.is_empty());
    let either = |name: &str| given(&format!("CNM_{name}")).or_else(|| given(&format!("DOCKER_{name}")));
    let (text, origin) = match flag {
        Some(flag) => (flag.to_owned(), "--host"),
        None => match (given("CNM_HOST"), given("DOCKER_HOST")) {
            (Some(ours), _) => (ours, "CNM_HOST"),
            (None, Some(dockers)) => (dockers, "DOCKER_HOST"),
            (None, None) => (DEFAULT_SOCKET.to_owned(), "default"),
        },
    };
    parse(&text, tls.read(either, given("HOME"))).map_err(|error| CommandError {
        message: format!("{} (from {origin})", error.message),
        ..error
    })
}

impl TlsFlags {
    /// How TLS is to be spoken, if at all. Any text in `DOCKER_TLS_VERIFY` means yes, as for Docker's client.
    fn read(&self, either: impl Fn(&str) -> Option<String>, home: Option<String>) -> Option<Tls> {
        let is_set = |name: &str| either(name).is_some_and(|text| boolean(&text).unwrap_or(true));
        let verify = self.tlsverify || either("TLS_VERIFY").is_some();
        if !verify && !self.tls && !is_set("TLS") {
            return None;
        }
        let usual = home.map(|home| PathBuf::from(home).join(".docker"));
        let folder = either("CERT_PATH")
            .map(PathBuf::from)
            .or(usual)
            .unwrap_or_default();
        let file = |given: &Option<PathBuf>, name: &str| match given {
            Some(path) => (path.clone(), true),
            None => (folder.join(name), false),
        };
        let (authority, _) = file(&self.tlscacert, "ca.pem");
        let (certificate, cert_given) = file(&self.tlscert, "cert.pem");
        let (key, key_given) = file(&self.tlskey, "key.pem");
        // Who has no certificate can still try: not every daemon asks for one.
        let there = |path: &PathBuf, given: bool| given || path.exists();
        let identity = there(&certificate, cert_given) && there(&key, key_given);
        Some(Tls {
            authority: verify.then_some(authority),
            identity: identity.then_some((certificate, key)),
        })
    }
}

/// Parses one address.
fn parse(text: &str, tls: Option<Tls>) -> Result<Host, CommandError> {
    let text = text.trim();
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (scheme, rest),
        None if text.starts_with('/') => ("unix", text),
        None => ("tcp", text),
    };
    match scheme {
        "unix" if rest.is_empty() => Ok(Host::Unix(DEFAULT_SOCKET.into())),
        "unix" if rest.starts_with('/') => Ok(Host::Unix(rest.into())),
        "unix" => Err(
            CommandError::new(format!("the socket path {rest:?} is not absolute"))
                .hint(format!("write unix:///{rest}")),
        ),
        "tcp" | "http" | "https" => {
            let address = address(rest, tls.is_some()).ok_or_else(|| {
                CommandError::new(format!("{text:?} is no address of a daemon"))
                    .hint("write tcp://HOST:PORT, such as tcp://10.0.0.1:2376")
            })?;
            Ok(Host::Tcp(address, tls))
        }
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

/// `HOST:PORT` of that, or of `HOST`, `:PORT` or nothing at all: this machine.
fn address(text: &str, tls: bool) -> Option<String> {
    let text = text.trim_end_matches('/');
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse::<u16>().ok()?),
        _ => (text, if tls { WITH_TLS } else { WITHOUT_TLS }),
    };
    let bare = !host.starts_with('[') && host.contains(':');
    if bare || host.contains(['/', '@', ' ']) {
        return None;
    }
    let host = if host.is_empty() { "127.0.0.1" } else { host };
    Some(format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_and_ports_are_taken_and_the_rest_is_refused_with_a_reason() {
        let cases = [
            ("a socket", "unix:///tmp/x.sock", Ok("unix:///tmp/x.sock")),
            ("a path alone", "/tmp/x.sock", Ok("unix:///tmp/x.sock")),
            ("the default socket", "unix://", Ok("unix:///run/cnm/cnm.sock")),
            ("a relative path", "unix://x.sock", Err("not absolute")),
            ("tcp", "tcp://10.0.0.1:2376", Ok("tcp://10.0.0.1:2376")),
            ("a host and a port", "10.0.0.1:1", Ok("tcp://10.0.0.1:1")),
            ("a host", "tcp://far.lan/", Ok("tcp://far.lan:2375")),
            ("a port", "tcp://:7000", Ok("tcp://127.0.0.1:7000")),
            ("IPv6", "tcp://[::1]", Ok("tcp://[::1]:2375")),
            ("IPv6 with a port", "tcp://[::1]:7", Ok("tcp://[::1]:7")),
            ("IPv6 without brackets", "tcp://::1", Err("no address")),
            ("no port", "tcp://far:http", Err("no address")),
            ("a path", "tcp://far/path", Err("no address")),
            ("ssh", "ssh://me@there", Err("ssh is not available")),
            ("nonsense", "carrier-pigeon://x", Err("unknown kind")),
        ];
        for (name, text, expected) in cases {
            match (parse(text, None), expected) {
                (Ok(host), Ok(address)) => assert_eq!(host.to_string(), address, "{name}"),
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

    fn chosen(flag: Option<&str>, tls: &TlsFlags, variables: &[(&str, &str)]) -> Host {
        let variable = |name: &str| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        choose(flag, tls, variable).expect("an address")
    }

    #[test]
    fn the_flag_goes_before_our_variable_before_dockers() {
        let none = TlsFlags::default();
        let both = [("CNM_HOST", "/ours"), ("DOCKER_HOST", "/dockers")];
        let unix = |path: &str| Host::Unix(path.into());
        assert_eq!(chosen(Some("/flag"), &none, &both), unix("/flag"));
        assert_eq!(chosen(None, &none, &both), unix("/ours"));
        assert_eq!(chosen(None, &none, &both[1..]), unix("/dockers"));
        assert_eq!(chosen(None, &none, &[]), unix(DEFAULT_SOCKET));
    }

    #[test]
    fn tls_is_spoken_as_flags_and_variables_say() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().display().to_string();
        let tls = |flags: TlsFlags, variables: &[(&str, &str)]| match chosen(
            Some("tcp://far"),
            &flags,
            variables,
        ) {
            Host::Tcp(address, tls) => (address, tls),
            Host::Unix(path) => panic!("{}", path.display()),
        };
        let none = TlsFlags::default();
        assert_eq!(tls(none.clone(), &[]), ("far:2375".to_owned(), None));
        let wanted = Tls {
            authority: Some(folder.path().join("ca.pem")),
            identity: None,
        };
        let variables = [("DOCKER_TLS_VERIFY", "1"), ("DOCKER_CERT_PATH", &*path)];
        assert_eq!(
            tls(none.clone(), &variables),
            ("far:2376".to_owned(), Some(wanted))
        );
        for name in ["cert.pem", "key.pem"] {
            std::fs::write(folder.path().join(name), "").expect("a file");
        }
        let identity = Some((folder.path().join("cert.pem"), folder.path().join("key.pem")));
        let seen = tls(none.clone(), &variables).1.expect("TLS");
        assert_eq!(seen.identity, identity);
        // Without verifying, whoever answers is taken.
        let seen = tls(none, &[("DOCKER_TLS", "1"), ("CNM_CERT_PATH", &*path)]).1;
        assert_eq!(
            seen,
            Some(Tls {
                authority: None,
                identity
            })
        );
        let flags = TlsFlags {
            tlsverify: true,
            tlscacert: Some("/my/ca".into()),
            ..TlsFlags::default()
        };
        let seen = tls(flags, &[("HOME", "/nowhere")]).1.expect("TLS");
        assert_eq!((seen.authority, seen.identity), (Some("/my/ca".into()), None));
    }
}
