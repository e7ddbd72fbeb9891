//! One request and its answer, within a time and a size.

use std::{io, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::rustls::pki_types::ServerName;

use crate::tls;

/// A registry that takes longer is none for today.
const PATIENCE: Duration = Duration::from_secs(15);
/// Answers to these questions are short.
const LARGEST: usize = 1 << 20;

/// What a server answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A question.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) method: Method,
    pub(crate) url: Uri,
    pub(crate) authorization: Option<String>,
    /// A form, where there is one.
    pub(crate) form: Option<String>,
}

impl Question {
    pub(crate) fn get(url: Uri) -> Self {
        Self {
            method: Method::GET,
            url,
            authorization: None,
            form: None,
        }
    }
}

/// The address that a URL leads to, as `HOST:PORT`.
fn target(url: &Uri) -> Option<(String, u16)> {
    let host = url.host()?.trim_matches(['[', ']']).to_owned();
    let usual = if url.scheme_str() == Some("http") { 80 } else { 443 };
    Some((host, url.port_u16().unwrap_or(usual)))
}

/// The addresses of a URL's host.
pub(crate) async fn addresses(url: &Uri) -> Vec<SocketAddr> {
    match target(url) {
        Some(place) => tokio::net::lookup_host(place)
            .await
            .map(Iterator::collect)
            .unwrap_or_default(),
        None => Vec::new(),
    }
}

/// Asks. `anybody` takes whatever certificate comes.
///
/// # Errors
/// Why there is no answer, in the words that Docker has for it.
pub(crate) async fn ask(question: Question, anybody: bool) -> Result<Answer, String> {
    let asked = async {
        let (host, port) = target(&question.url).ok_or("no Host in request URL")?;
        let stream = connect(&host, port).await?;
        if question.url.scheme_str() == Some("http") {
            return exchange(stream, question).await;
        }
        let authority = question
            .url
            .authority()
            .map_or_else(String::new, ToString::to_string);
        let connector = tls::connector(&authority, anybody)?;
        let name = ServerName::try_from(host).map_err(|error| error.to_string())?;
        let stream = connector
            .connect(name, stream)
            .await
            .map_err(|error| refused(&error))?;
        exchange(stream, question).await
    };
    timeout(PATIENCE, asked)
        .await
        .map_err(|_| "net/http: request canceled (Client.Timeout exceeded while awaiting headers)")?
}

async fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
    let found = tokio::net::lookup_host((host, port)).await;
    let found: Vec<SocketAddr> = found.map(Iterator::collect).unwrap_or_default();
    let mut failure = format!("dial tcp: lookup {host}: no such host");
    for address in found {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = format!("dial tcp {address}: connect: {}", said(&error)),
        }
    }
    Err(failure)
}

/// The system's words, without the number that Rust puts behind them.
fn said(error: &io::Error) -> String {
    let text = error.to_string();
    let bare = text.split(" (os error").next().unwrap_or(&text);
    bare.to_lowercase()
}

/// Why a handshake failed.
fn refused(error: &io::Error) -> String {
    use tokio_rustls::rustls::{CertificateError as Wrong, Error};
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    let verify = |why: &str| format!("tls: failed to verify certificate: x509: {why}");
    match tls {
        Some(Error::InvalidMessage(_)) => "http: server gave HTTP response to HTTPS client".to_owned(),
        Some(Error::InvalidCertificate(Wrong::UnknownIssuer)) => {
            verify("certificate signed by unknown authority")
        }
        Some(Error::InvalidCertificate(Wrong::Expired | Wrong::ExpiredContext { .. })) => {
            verify("certificate has expired or is not yet valid")
        }
        Some(Error::InvalidCertificate(other)) => verify(&other.to_string()),
        _ => said(error),
    }
}

async fn exchange<S>(stream: S, question: Question) -> Result<Answer, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |error: hyper::Error| error.to_string();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    // Its errors reach the request or the body.
    let connection = tokio::spawn(connection);
    let answer = async {
        let response = sender.send_request(request(question)?).await.map_err(broken)?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, LARGEST)
            .collect()
            .await
            .map_err(|error| error.to_string())?;
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.to_bytes(),
        })
    };
    let answer = answer.await;
    connection.abort();
    answer
}

fn request(question: Question) -> Result<Request<Full<Bytes>>, String> {
    let path = question.url.path_and_query().map_or("/", |path| path.as_str());
    let host = question
        .url
        .authority()
        .map_or("", |authority| authority.as_str());
    let mut request = Request::builder()
        .method(question.method)
        .uri(path)
        .header(header::HOST, host)
        .header(header::USER_AGENT, concat!("cnm/", env!("CARGO_PKG_VERSION")));
    if let Some(authorization) = question.authorization {
        request = request.header(header::AUTHORIZATION, authorization);
    }
    if question.form.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    }
    let body = Full::new(Bytes::from(question.form.unwrap_or_default()));
    request.body(body).map_err(|error| error.to_string())
}
