//! A syslog daemon behind TLS: who it is, and the lines on their way there (RFC 5425).

use std::{
    io::{self, Write as _},
    net::TcpStream,
    path::Path,
    sync::Arc,
};

use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{self, CryptoProvider},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
};
use shim_protocol::SyslogTls;

use super::PATIENCE;

/// Where the authorities are that this host trusts, on one distribution or the other.
const AUTHORITIES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

/// A connection that is made.
#[derive(Debug)]
pub(super) struct Secured {
    connection: ClientConnection,
    stream: TcpStream,
}

impl Secured {
    /// Agrees on keys with whoever is there, who must be `host`.
    pub(super) fn open(mut stream: TcpStream, host: &str, tls: &SyslogTls) -> io::Result<Self> {
        let name = host.trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(name).map_err(io::Error::other)?;
        let mut connection = ClientConnection::new(Arc::new(config(tls)?), name).map_err(io::Error::other)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        connection.complete_io(&mut stream)?;
        stream.set_nonblocking(true)?;
        Ok(Self { connection, stream })
    }

    /// Sends a line whole; it is lost where the one before has not gone yet.
    pub(super) fn send(&mut self, line: &[u8]) -> io::Result<()> {
        self.flush()?;
        if self.connection.wants_write() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.connection.writer().write_all(line)?;
        self.flush()
    }

    /// Says that there will be no more.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.connection.send_close_notify();
        self.stream.set_nonblocking(false)?;
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut self.stream) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn config(tls: &SyslogTls) -> io::Result<ClientConfig> {
    let provider = Arc::new(crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let builder = match tls.anybody {
        true => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider))),
        false => builder.with_root_certificates(roots(tls)?),
    };
    let (certificate, key) = match (&tls.certificate, &tls.key) {
        (Some(certificate), Some(key)) => (certificate, key),
        (None, None) => return Ok(builder.with_no_client_auth()),
        _ => {
            return Err(io::Error::other(
                "syslog-tls-cert and syslog-tls-key are wanted together",
            ));
        }
    };
    let read = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, &error))?;
    builder
        .with_client_auth_cert(certificates(certificate)?, read)
        .map_err(|error| unreadable(certificate, &error))
}

/// The host's own authorities, and the one that was named.
fn roots(tls: &SyslogTls) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    if let Some(bundle) = AUTHORITIES.iter().map(Path::new).find(|path| path.exists()) {
        // A bundle may have one that nobody understands any more.
        roots.add_parsable_certificates(certificates(bundle)?);
    }
    if let Some(authority) = &tls.authority {
        for certificate in certificates(authority)? {
            roots
                .add(certificate)
                .map_err(|error| unreadable(authority, &error))?;
        }
    }
    Ok(roots)
}

fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let read = || CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>();
    read().map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, why: &dyn std::fmt::Display) -> io::Error {
    io::Error::other(format!("{}: {why}", path.display()))
}

/// Takes whoever answers: `syslog-tls-skip-verify` asks for it.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Read as _, net::TcpListener, path::PathBuf, thread};

    use rustls::{ServerConfig, ServerConnection, server::WebPkiClientVerifier};
    use shim_protocol::{Forward, ForwardTo, stream::StreamKind};

    use super::*;
    use crate::forward::Forwarding;

    fn pem(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../plugin-proto/tests/tls")
            .join(name)
    }

    /// A daemon that wants a certificate; it tells what one client sent until that said that there is no more.
    fn listen() -> (String, thread::JoinHandle<io::Result<String>>) {
        let provider = Arc::new(crypto::ring::default_provider());
        let mut clients = RootCertStore::empty();
        clients
            .add(certificates(&pem("ca.pem")).unwrap().remove(0))
            .unwrap();
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(clients), Arc::clone(&provider));
        let key = PrivateKeyDer::from_pem_file(pem("plugin.key")).unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients.build().unwrap())
            .with_single_cert(certificates(&pem("plugin.pem")).unwrap(), key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("tcp+tls://{}", listener.local_addr().unwrap());
        let heard = thread::spawn(move || {
            let (mut stream, _) = listener.accept()?;
            let mut connection = ServerConnection::new(Arc::new(config)).map_err(io::Error::other)?;
            let mut text = String::new();
            rustls::Stream::new(&mut connection, &mut stream).read_to_string(&mut text)?;
            Ok(text)
        });
        (address, heard)
    }

    fn open(address: String, structured: bool, tls: SyslogTls) -> io::Result<Forwarding> {
        Forwarding::open(Forward {
            to: ForwardTo::Syslog {
                address,
                facility: 3,
                structured,
                tls: Some(tls),
            },
            tag: "abc".to_owned(),
            fields: Vec::new(),
        })
    }

    fn known() -> SyslogTls {
        SyslogTls {
            authority: Some(pem("ca.pem")),
            certificate: Some(pem("host.pem")),
            key: Some(pem("host.key")),
            anybody: false,
        }
    }

    #[test]
    fn lines_reach_a_daemon_behind_tls_whole_and_in_order() {
        let (address, heard) = listen();
        let mut log = open(address, false, known()).unwrap();
        log.write(StreamKind::Stdout, b"one\ntw").unwrap();
        log.write(StreamKind::Stderr, b"bad\n").unwrap();
        log.finish().unwrap();
        let text = heard.join().unwrap().unwrap();
        let ends: Vec<_> = text
            .lines()
            .map(|line| line.rsplit_once("]: ").unwrap().1)
            .collect();
        assert_eq!(ends, ["one", "bad", "tw"], "{text}");
        assert!(text.starts_with("<30>") && text.contains("<27>"), "{text}");
    }

    #[test]
    fn structured_lines_have_their_length_in_front() {
        let (address, heard) = listen();
        let anybody = SyslogTls {
            authority: None,
            anybody: true,
            ..known()
        };
        let mut log = open(address, true, anybody).unwrap();
        log.write(StreamKind::Stdout, b"one\ntwo\n").unwrap();
        log.finish().unwrap();
        let mut text = heard.join().unwrap().unwrap();
        for word in ["one", "two"] {
            let (length, rest) = text.split_once(' ').unwrap();
            let (line, more) = rest.split_at(length.parse().unwrap());
            assert!(line.starts_with("<30>1 ") && line.ends_with(word), "{line}");
            text = more.to_owned();
        }
        assert_eq!(text, "");
    }

    #[test]
    fn a_daemon_that_nobody_vouches_for_gets_nothing() {
        let (address, heard) = listen();
        let stranger = SyslogTls {
            authority: Some(pem("host.pem")),
            ..known()
        };
        let refused = open(address, false, stranger).unwrap_err().to_string();
        assert!(refused.contains("certificate"), "{refused}");
        assert!(heard.join().unwrap().is_err());
        let half = SyslogTls { key: None, ..known() };
        let missing = SyslogTls {
            authority: Some("/nowhere".into()),
            ..known()
        };
        for tls in [half, missing] {
            assert!(config(&tls).is_err(), "{tls:?}");
        }
    }
}
