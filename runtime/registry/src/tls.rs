//! Who a registry is: its certificate, and who vouches for it.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::{self, CryptoProvider},
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
    },
};

/// Where the authorities are that this host trusts, on one distribution or the other.
const AUTHORITIES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];
/// Folders with one folder per registry.
const PLACES: [&str; 2] = ["/etc/cnm/certs.d", "/etc/docker/certs.d"];

/// What makes TLS connections to a registry. The files are read each time: certificates are renewed.
pub(crate) fn connector(host: &str, anybody: bool) -> Result<TlsConnector, String> {
    let folders: Vec<PathBuf> = PLACES.iter().map(|place| Path::new(place).join(host)).collect();
    let provider = Arc::new(crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = match anybody {
        true => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider))),
        false => builder.with_root_certificates(roots(&folders)?),
    };
    let config = match client(&folders)? {
        Some((certificates, key)) => builder
            .with_client_auth_cert(certificates, key)
            .map_err(|error| error.to_string())?,
        None => builder.with_no_client_auth(),
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The host's own authorities, and those of this registry.
fn roots(folders: &[PathBuf]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    if let Some(bundle) = AUTHORITIES.iter().find(|path| Path::new(path).exists()) {
        // A bundle may have one that nobody understands any more.
        roots.add_parsable_certificates(certificates(Path::new(bundle))?);
    }
    for path in folders.iter().flat_map(|folder| files(folder, "crt")) {
        for certificate in certificates(&path)? {
            roots
                .add(certificate)
                .map_err(|error| format!("{}: {error}", path.display()))?;
        }
    }
    Ok(roots)
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// The first `NAME.cert` with its `NAME.key`.
fn client(folders: &[PathBuf]) -> Result<Option<Identity>, String> {
    let Some(certificate) = folders.iter().flat_map(|folder| files(folder, "cert")).next() else {
        return Ok(None);
    };
    let key = certificate.with_extension("key");
    if !key.exists() {
        return Err(format!(
            "missing key {} for client certificate {}",
            key.display(),
            certificate.display()
        ));
    }
    let read = PrivateKeyDer::from_pem_file(&key).map_err(|error| format!("{}: {error}", key.display()))?;
    Ok(Some((certificates(&certificate)?, read)))
}

fn files(folder: &Path, kind: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == kind))
        .collect();
    paths.sort();
    paths
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = || CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>();
    read().map_err(|error| format!("{}: {error}", path.display()))
}

/// Takes whoever answers: only for registries that the administrator called insecure.
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
    ) -> Result<ServerCertVerified, tokio_rustls::rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, tokio_rustls::rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, tokio_rustls::rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
