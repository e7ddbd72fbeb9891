//! The Engine API over a socket or TCP: one connection per request, one method per kind of answer.
//!
//! A command makes two or three requests; a socket costs 50 µs, so there is nothing to pool. The version is
//! negotiated with the first request, as every client of this API does: ask `_ping`, then speak the lower one.

mod connection;
mod error;
mod hijack;
pub(crate) mod query;
mod stream;
pub(crate) mod upload;

#[cfg(test)]
mod tests;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;

pub(crate) use error::ClientError;
pub(crate) use hijack::{Hijacked, Input};
pub(crate) use query::Query;
pub(crate) use stream::{Chunks, JsonLines};

use self::connection::Connection;
use crate::host::Host;

/// What a request carries.
pub(crate) type Body = BoxBody<Bytes, std::io::Error>;

type Result<T, E = ClientError> = std::result::Result<T, E>;

/// A daemon, by its socket.
#[derive(Debug)]
pub(crate) struct Client {
    host: Host,
    version: OnceCell<String>,
    /// Says on stderr what is asked.
    debug: bool,
}

/// What `_ping` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ping {
    pub(crate) api_version: String,
}

impl Client {
    /// A client; nothing is sent yet.
    pub(crate) fn new(host: Host, debug: bool) -> Self {
        Self {
            host,
            version: OnceCell::new(),
            debug,
        }
    }

    /// Asks whether the daemon is there, and what it speaks.
    pub(crate) async fn ping(&self) -> Result<Ping> {
        let response = self.send(self.request(Method::HEAD, "/_ping", empty())?).await?;
        let api_version = response
            .headers()
            .get("api-version")
            .and_then(|value| value.to_str().ok());
        // Engines before 1.25 don't say; they speak the oldest we know.
        let api_version = api_version.unwrap_or(api_types::MIN_API_VERSION).to_owned();
        Ok(Ping { api_version })
    }

    /// The API version both sides speak.
    pub(crate) async fn version(&self) -> Result<&str> {
        let version = self
            .version
            .get_or_try_init(|| async {
                let theirs = self.ping().await?.api_version;
                Ok::<_, ClientError>(lower_version(&theirs, api_types::API_VERSION).to_owned())
            })
            .await?;
        Ok(version)
    }

    /// GET, answered by JSON.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str, query: Query) -> Result<T> {
        self.call(Method::GET, path, query, empty()).await
    }

    /// GET, the answer's bytes as they are.
    pub(crate) async fn get_bytes(&self, path: &str, query: Query) -> Result<Bytes> {
        let response = self.ask(Method::GET, path, query, empty(), None).await?;
        collect(response).await
    }

    /// POST of JSON, answered by JSON.
    pub(crate) async fn post<B: Serialize + ?Sized, T: DeserializeOwned>(
        &self,
        path: &str,
        query: Query,
        body: &B,
    ) -> Result<T> {
        self.call(Method::POST, path, query, json(body)?).await
    }

    /// POST of JSON; the answer has nothing to say.
    pub(crate) async fn post_only<B: Serialize + ?Sized>(&self, path: &str, body: &B) -> Result<()> {
        let response = self
            .ask(Method::POST, path, Query::new(), json(body)?, Some(JSON))
            .await?;
        collect(response).await.map(drop)
    }

    /// POST without a body, whose answer has nothing to say.
    pub(crate) async fn order(&self, path: &str, query: Query) -> Result<()> {
        let response = self.ask(Method::POST, path, query, empty(), None).await?;
        collect(response).await.map(drop)
    }

    /// POST without a body, answered by JSON.
    pub(crate) async fn order_for<T: DeserializeOwned>(&self, path: &str, query: Query) -> Result<T> {
        self.call(Method::POST, path, query, empty()).await
    }

    /// DELETE, the answer's bytes.
    pub(crate) async fn delete(&self, path: &str, query: Query) -> Result<Bytes> {
        let response = self.ask(Method::DELETE, path, query, empty(), None).await?;
        collect(response).await
    }

    /// DELETE of what a JSON body names, answered by JSON.
    pub(crate) async fn delete_some<B: Serialize + ?Sized, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T> {
        let body = json(body)?;
        let response = self
            .ask(Method::DELETE, path, Query::new(), body, Some(JSON))
            .await?;
        serde_json::from_slice(&collect(response).await?).map_err(ClientError::Answer)
    }

    /// A request whose answer streams; `body` may stream too.
    pub(crate) async fn stream(
        &self,
        method: Method,
        path: &str,
        query: Query,
        body: Body,
        content_type: Option<&'static str>,
    ) -> Result<Response<Incoming>> {
        self.ask(method, path, query, body, content_type).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        query: Query,
        body: Body,
    ) -> Result<T> {
        let content_type = (method == Method::POST).then_some(JSON);
        let response = self.ask(method, path, query, body, content_type).await?;
        let bytes = collect(response).await?;
        serde_json::from_slice(&bytes).map_err(ClientError::Answer)
    }

    /// Sends a request of the negotiated version; an answer of 400 or more is an error.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        query: Query,
        body: Body,
        content_type: Option<&'static str>,
    ) -> Result<Response<Incoming>> {
        let target = self.target(path, &query).await?;
        let mut request = self.request(method, &target, body)?;
        if let Some(content_type) = content_type {
            request.headers_mut().insert(
                header::CONTENT_TYPE,
                header::HeaderValue::from_static(content_type),
            );
        }
        refused(self.send(request).await?).await
    }

    async fn target(&self, path: &str, query: &Query) -> Result<String> {
        let version = self.version().await?;
        Ok(format!("/v{version}{path}{query}"))
    }

    fn request(&self, method: Method, target: &str, body: Body) -> Result<Request<Body>> {
        Request::builder()
            .method(method)
            .uri(target)
            .header(header::HOST, "localhost")
            .header(header::USER_AGENT, concat!("cnm/", env!("CARGO_PKG_VERSION")))
            .body(body)
            .map_err(ClientError::Request)
    }

    async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>> {
        if self.debug {
            crate::commands::warn(&format!("debug: {} {}", request.method(), request.uri()));
        }
        let stream = self.connect().await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(ClientError::Http)?;
        // Errors of the connection reach the request or the body.
        tokio::spawn(connection.with_upgrades());
        sender
            .send_request(request)
            .await
            .map_err(|error| match &self.host {
                Host::Tcp(_, None) => ClientError::Plain(error),
                Host::Tcp(_, Some(tls)) if tls.identity.is_none() => ClientError::Nameless(error),
                _ => ClientError::Http(error),
            })
    }

    async fn connect(&self) -> Result<Connection> {
        let opened = Connection::open(&self.host).await;
        opened.map_err(|source| ClientError::Connect {
            host: self.host.clone(),
            source,
        })
    }
}

const JSON: &str = "application/json";

/// No body.
pub(crate) fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed()
}

fn json<B: Serialize + ?Sized>(body: &B) -> Result<Body> {
    let bytes = serde_json::to_vec(body).map_err(ClientError::Encode)?;
    Ok(Full::new(Bytes::from(bytes))
        .map_err(|never| match never {})
        .boxed())
}

async fn collect(response: Response<Incoming>) -> Result<Bytes> {
    Ok(response
        .into_body()
        .collect()
        .await
        .map_err(ClientError::Http)?
        .to_bytes())
}

/// Turns an answer of 400 or more into the error it carries.
async fn refused(response: Response<Incoming>) -> Result<Response<Incoming>> {
    let status = response.status();
    if status.is_informational() || status.is_success() || status == StatusCode::NOT_MODIFIED {
        return Ok(response);
    }
    let bytes = collect(response).await?;
    let message = match serde_json::from_slice::<api_types::ErrorMessage>(&bytes) {
        Ok(error) if !error.message.is_empty() => error.message,
        _ => String::from_utf8_lossy(&bytes).trim().to_owned(),
    };
    let message = if message.is_empty() {
        status.to_string()
    } else {
        message
    };
    Err(ClientError::Refused { status, message })
}

/// The lower of two `major.minor` versions.
fn lower_version<'v>(a: &'v str, b: &'v str) -> &'v str {
    let number = |version: &str| {
        let (major, minor) = version.split_once('.').unwrap_or((version, "0"));
        (
            major.parse::<u32>().unwrap_or(0),
            minor.parse::<u32>().unwrap_or(0),
        )
    };
    if number(a) < number(b) { a } else { b }
}
