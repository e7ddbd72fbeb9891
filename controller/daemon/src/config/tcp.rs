//! `-H tcp://…`: to whom, and how it is seen that it is they.

use std::path::PathBuf;

use api::TlsFiles;

use super::{ConfigError, Listen, Raw, bad};

/// The ports that clients take when none is said.
const WITH_TLS: u16 = 2376;
const WITHOUT_TLS: u16 = 2375;

/// What `tls…` and `insecure-tcp` say together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tcp {
    /// Certificates; none for connections as they are.
    pub tls: Option<TlsFiles>,
    insecure: bool,
}

impl Tcp {
    pub(super) fn read(raw: &Raw) -> Result<Self, ConfigError> {
        let verify = raw.tlsverify.unwrap_or(false);
        let wanted = raw.tls.unwrap_or(false) || verify;
        let insecure = raw.insecure_tcp.unwrap_or(false);
        if !wanted {
            let given = [&raw.tlscacert, &raw.tlscert, &raw.tlskey];
            if given.iter().any(|path| path.is_some()) {
                return Err(bad(
                    "tlsverify",
                    "certificates are given, but neither tlsverify nor tls: they would not be used",
                ));
            }
            return Ok(Self { tls: None, insecure });
        }
        let needed = |key: &str, path: &Option<PathBuf>| {
            path.clone()
                .ok_or_else(|| bad(key, "TLS needs it: the path of a PEM file"))
        };
        let clients = match verify {
            true => Some(needed("tlscacert", &raw.tlscacert)?),
            false => None,
        };
        Ok(Self {
            tls: Some(TlsFiles {
                clients,
                certificate: needed("tlscert", &raw.tlscert)?,
                key: needed("tlskey", &raw.tlskey)?,
            }),
            insecure,
        })
    }

    /// `tcp://HOST:PORT`, either of them left out. Whoever reaches such a port is root on this host, unless certificates say
    /// who it is.
    pub(super) fn listen(&self, address: &str) -> Result<Listen, ConfigError> {
        let known = self.tls.as_ref().is_some_and(|tls| tls.clients.is_some());
        if !known && !self.insecure {
            return Err(bad(
                "host",
                format!(
                    "tcp://{address} without certificates of clients makes everybody root who can reach it: give \
                     --tlsverify with --tlscacert, --tlscert and --tlskey, or --insecure-tcp if you insist"
                ),
            ));
        }
        let port = if self.tls.is_some() { WITH_TLS } else { WITHOUT_TLS };
        let address = address.trim_end_matches('/');
        let whole = match address.rsplit_once(':') {
            Some(("", port)) => format!("0.0.0.0:{port}"),
            Some((host, given)) if !host.is_empty() && !given.contains(']') && !given.is_empty() => {
                address.to_owned()
            }
            _ if address.is_empty() => format!("0.0.0.0:{port}"),
            _ => format!("{}:{port}", address.trim_end_matches(':')),
        };
        let given: Option<u16> = whole.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        match given {
            Some(_) => Ok(Listen::Tcp(whole)),
            None => Err(bad(
                "host",
                format!("tcp://{address}: HOST:PORT is wanted, such as tcp://0.0.0.0:{port}"),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(json: &str) -> Result<Tcp, ConfigError> {
        Tcp::read(&serde_json::from_str(json).expect("options"))
    }

    const CERTIFICATES: &str =
        r#"{"tlsverify": true, "tlscacert": "/ca", "tlscert": "/cert", "tlskey": "/key"}"#;

    #[test]
    fn a_port_is_where_it_says_or_where_clients_look() {
        let secure = tcp(CERTIFICATES).expect("certificates");
        let insecure = tcp(r#"{"insecure-tcp": true}"#).expect("nothing needed");
        for (address, with, without) in [
            ("127.0.0.1:7000", "127.0.0.1:7000", "127.0.0.1:7000"),
            (":7000", "0.0.0.0:7000", "0.0.0.0:7000"),
            ("", "0.0.0.0:2376", "0.0.0.0:2375"),
            ("host.example", "host.example:2376", "host.example:2375"),
            ("[::1]", "[::1]:2376", "[::1]:2375"),
            ("[::1]:7000/", "[::1]:7000", "[::1]:7000"),
        ] {
            assert_eq!(
                secure.listen(address).expect(address),
                Listen::Tcp(with.to_owned())
            );
            assert_eq!(
                insecure.listen(address).expect(address),
                Listen::Tcp(without.to_owned())
            );
        }
        for address in ["host:http", "127.0.0.1:99999"] {
            assert!(secure.listen(address).is_err(), "{address}");
        }
    }

    #[test]
    fn without_certificates_of_clients_nobody_is_listened_to_unless_that_is_wanted() {
        for (json, listens) in [
            ("{}", false),
            (r#"{"tls": true, "tlscert": "/cert", "tlskey": "/key"}"#, false),
            (
                r#"{"tls": true, "tlscert": "/cert", "tlskey": "/key", "insecure-tcp": true}"#,
                true,
            ),
            (CERTIFICATES, true),
            (r#"{"insecure-tcp": true}"#, true),
        ] {
            assert_eq!(tcp(json).expect(json).listen(":1").is_ok(), listens, "{json}");
        }
    }

    #[test]
    fn certificates_come_together() {
        for json in [
            r#"{"tlsverify": true}"#,
            r#"{"tlsverify": true, "tlscert": "/cert", "tlskey": "/key"}"#,
            r#"{"tls": true, "tlscert": "/cert"}"#,
            r#"{"tlscert": "/cert"}"#,
        ] {
            assert!(tcp(json).is_err(), "{json}");
        }
    }
}
