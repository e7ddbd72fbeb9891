//! TCP: with TLS and certificates of clients, or open to everybody who can reach the port, for who insists.
//!
//! A handshake is made in a task of its own: a client that does not speak keeps nobody else waiting.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::serve::Listener;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinHandle,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
        server::WebPkiClientVerifier,
    },
    server::TlsStream,
};

/// A handshake that takes longer is no client of ours.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// After this a machine that failed to take a connection (no file descriptors) tries again.
const PAUSE: Duration = Duration::from_millis(100);

/// Where certificates and keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Who vouches for clients; none where everybody may be one.
    pub clients: Option<PathBuf>,
    /// The daemon's own certificate, and those between it and its authority.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// What of the certificates can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{what} {}: {reason}", path.display())]
pub struct TlsError {
    what: &'static str,
    path: PathBuf,
    reason: String,
}

fn wrong<E: ToString>(what: &'static str, path: &Path) -> impl FnOnce(E) -> TlsError {
    let path = path.to_owned();
    move |error| TlsError {
        what,
        path,
        reason: error.to_string(),
    }
}

impl TlsFiles {
    /// Reads them.
    ///
    /// # Errors
    /// When one can't be read, or they don't belong together.
    pub fn acceptor(&self) -> Result<TlsAcceptor, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(wrong("tlscert", &self.certificate))?;
        let builder = match &self.clients {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let roots = Arc::new(roots(path)?);
                let clients = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
                builder.with_client_cert_verifier(clients.map_err(wrong("tlscacert", path))?)
            }
        };
        let certificates = certificates("tlscert", &self.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(wrong("tlskey", &self.key))?;
        let mut config = builder
            .with_single_cert(certificates, key)
            .map_err(wrong("tlskey", &self.key))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

fn roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("tlscacert", path)? {
        roots.add(certificate).map_err(wrong("tlscacert", path))?;
    }
    Ok(roots)
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = || CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>();
    match read() {
        Ok(found) if found.is_empty() => Err(wrong(what, path)("there is no certificate in it")),
        Ok(found) => Ok(found),
        Err(error) => Err(wrong(what, path)(error)),
    }
}

/// A TCP port that is listened on.
#[derive(Debug)]
pub struct Tcp {
    ready: mpsc::Receiver<(Connection, SocketAddr)>,
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Tcp {
    /// Listens; `HOST:PORT`, where the host may be a name. Without `tls` everybody is let in.
    ///
    /// # Errors
    /// Those of the system: the address is taken, or not this host's.
    pub async fn listen(address: &str, tls: Option<TlsAcceptor>) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let (sender, ready) = mpsc::channel(16);
        Ok(Self {
            accepting: tokio::spawn(accept(listener, tls, sender)),
            ready,
            address,
        })
    }

    /// Where.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Tcp {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    sender: mpsc::Sender<(Connection, SocketAddr)>,
) {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection can't be taken");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        // Small answers are not kept back.
        let _ = stream.set_nodelay(true);
        let (tls, sender) = (tls.clone(), sender.clone());
        tokio::spawn(async move {
            match tokio::time::timeout(HANDSHAKE, shake_hands(tls, stream)).await {
                // Nobody takes it: the daemon stops.
                Ok(Ok(connection)) => drop(sender.send((connection, peer)).await),
                Ok(Err(error)) => tracing::info!(%peer, %error, "a client is refused"),
                Err(_) => tracing::info!(%peer, "a client does not speak"),
            }
        });
    }
}

async fn shake_hands(tls: Option<TlsAcceptor>, stream: TcpStream) -> io::Result<Connection> {
    match tls {
        None => Ok(Connection::Open(stream)),
        Some(tls) => Ok(Connection::Tls(Box::new(tls.accept(stream).await?))),
    }
}

impl Listener for Tcp {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(accepted) => accepted,
            // The task that accepts never ends before this.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(self.address)
    }
}

/// A client's connection.
#[derive(Debug)]
pub enum Connection {
    /// As it is.
    Open(TcpStream),
    /// Encrypted, with whom the certificates name.
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Open(stream) => Pin::new(stream).poll_read(cx, into),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, into),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Open(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Open(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Open(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
