//! One HTTP exchange with a plugin, on a connection of its own.
//!
//! A connection costs some ten microseconds on a unix socket, and nothing that a plugin sends beyond its answer can be
//! taken for the answer to the next question.

use std::{io, pin::Pin, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::rustls::pki_types::ServerName;

use crate::{ACCEPT, HOST, discovery::Address, tls};

/// What a call of a plugin may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long a call takes, with all its tries.
    pub time: Duration,
    /// How many bytes an answer may have.
    pub answer: usize,
    /// How long a plugin that can't be reached is tried again.
    pub patience: Duration,
    /// How long a plugin is looked for that nobody has seen yet.
    pub search: Duration,
    /// How long a plugin that was silent is given less of everything.
    pub wary: Duration,
    /// How long a call takes then.
    pub wary_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            time: Duration::from_secs(25),
            answer: 1024 * 1024,
            patience: Duration::from_secs(20),
            search: Duration::from_secs(20),
            wary: Duration::from_secs(30),
            wary_time: Duration::from_secs(2),
        }
    }
}

/// Why there was no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nobody was there to ask.
    Connect(String),
    /// The plugin was asked, and then the connection broke.
    Broken(String),
    /// It answered, but not what HTTP calls an answer, or too much of it.
    Nonsense(String),
}

/// A status and a body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Asks, and reads the answer.
pub(crate) async fn exchange(
    address: &Address,
    method: &str,
    body: Bytes,
    largest: usize,
) -> Result<Answer, Failure> {
    let connect = |error: io::Error| Failure::Connect(error.to_string());
    let stream = connection(address).await.map_err(connect)?;
    let handshake = http1::Builder::new()
        .max_buf_size(64 * 1024)
        .max_headers(64)
        .handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake
        .await
        .map_err(|error| Failure::Connect(reason(&error)))?;
    let host = match address {
        Address::Unix(_) => HOST,
        Address::Tcp { authority, .. } => authority,
    };
    let request = Request::post(format!("/{method}"))
        .header(header::HOST, host)
        .header(header::ACCEPT, ACCEPT)
        .body(Full::new(body))
        .map_err(|error| Failure::Connect(error.to_string()))?;
    // Driven here and not in a task of its own: who gives up waiting ends the connection with it.
    let mut connection: Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>> = Box::pin(connection);
    let answer = async {
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| failure(&error))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, largest).collect().await.map_err(|error| {
            match error.downcast_ref::<hyper::Error>() {
                Some(broken) => failure(broken),
                None => Failure::Nonsense(format!("it is longer than {largest} bytes")),
            }
        })?;
        Ok(Answer {
            status: head.status,
            body: body.to_bytes(),
        })
    };
    tokio::pin!(answer);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        _ = &mut connection => answer.await,
    }
}

async fn connection(address: &Address) -> io::Result<Box<dyn Stream>> {
    match address {
        Address::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
        Address::Tcp { authority, tls: None } => Ok(Box::new(TcpStream::connect(authority).await?)),
        Address::Tcp {
            authority,
            tls: Some(tls),
        } => {
            let connector = tls::connector(tls).map_err(io::Error::other)?;
            let host = authority
                .rsplit_once(':')
                .map_or(authority.as_str(), |(host, _)| host);
            let name =
                ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).map_err(io::Error::other)?;
            let stream = TcpStream::connect(authority).await?;
            Ok(Box::new(connector.connect(name, stream).await?))
        }
    }
}

fn failure(error: &hyper::Error) -> Failure {
    match error.is_parse() || error.is_parse_status() {
        true => Failure::Nonsense(reason(error)),
        false => Failure::Broken(reason(error)),
    }
}

/// What hyper says, and what it had from the system.
fn reason(error: &hyper::Error) -> String {
    use std::error::Error as _;
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
