//! A small blocking client of the Engine API, on one kept connection.

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::UnixStream, runtime};

/// What a daemon answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: StatusCode,
    /// The body as it came.
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON; null when there is none.
    ///
    /// # Errors
    /// When it is something else.
    pub fn json(&self) -> anyhow::Result<Value> {
        if self.body.is_empty() {
            Ok(Value::Null)
        } else {
            Ok(serde_json::from_slice(&self.body)?)
        }
    }

    /// The body of a success as JSON.
    ///
    /// # Errors
    /// On any other status, with the daemon's message.
    pub fn ok(&self) -> anyhow::Result<Value> {
        if self.status.is_success() {
            self.json()
        } else {
            bail!("{}: {}", self.status, self.message())
        }
    }

    /// Nothing for a success, whatever its body is.
    ///
    /// # Errors
    /// On any other status, with the daemon's message.
    pub fn ok_or_message(&self) -> anyhow::Result<()> {
        if self.status.is_success() {
            Ok(())
        } else {
            bail!("{}: {}", self.status, self.message())
        }
    }

    /// The `message` of an error.
    pub fn message(&self) -> String {
        let json: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        json["message"]
            .as_str()
            .map_or_else(|| String::from_utf8_lossy(&self.body).into_owned(), str::to_owned)
    }
}

/// A client of one daemon.
#[derive(Debug)]
pub struct Api {
    socket: PathBuf,
    runtime: runtime::Runtime,
    connection: Mutex<Option<SendRequest<Full<Bytes>>>>,
}

impl Api {
    /// A client of the daemon on this socket.
    ///
    /// # Panics
    /// When no runtime can be made, for want of file descriptors.
    pub fn at(socket: PathBuf) -> Self {
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        Self {
            socket,
            runtime: runtime.expect("a runtime needs only epoll"),
            connection: Mutex::default(),
        }
    }

    /// `GET`; only successes are answers.
    ///
    /// # Errors
    /// When nobody answers, or with an error.
    pub fn get(&self, path: &str) -> anyhow::Result<Value> {
        let answer = self.call(Method::GET, path, None)?;
        if path.ends_with("_ping") && answer.status.is_success() {
            Ok(Value::Null)
        } else {
            answer.ok()
        }
    }

    /// `POST` of JSON; only successes are answers.
    ///
    /// # Errors
    /// When nobody answers, or with an error.
    pub fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.call(Method::POST, path, Some(body))?.ok()
    }

    /// `DELETE`; only successes are answers.
    ///
    /// # Errors
    /// When nobody answers, or with an error.
    pub fn delete(&self, path: &str) -> anyhow::Result<Value> {
        self.call(Method::DELETE, path, None)?.ok()
    }

    /// Any request with any answer.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn call(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Answer> {
        let bytes = body.map(serde_json::to_vec).transpose()?.unwrap_or_default();
        self.send(method, path, "application/json", bytes.into())
    }

    /// Any request with a body of any type.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn send(&self, method: Method, path: &str, kind: &str, body: Bytes) -> anyhow::Result<Answer> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "cnm")
            .header(header::CONTENT_TYPE, kind)
            .body(Full::new(body))?;
        let mut kept = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        self.runtime.block_on(async {
            let mut sender = match kept.take().filter(|sender| !sender.is_closed()) {
                Some(sender) => sender,
                None => self.connect().await?,
            };
            sender.ready().await?;
            let response = sender.send_request(request).await?;
            let (status, keep) = (
                response.status(),
                !response.headers().contains_key(header::CONNECTION),
            );
            let body = response.into_body().collect().await?.to_bytes();
            if keep {
                *kept = Some(sender);
            }
            Ok(Answer { status, body })
        })
    }

    async fn connect(&self) -> anyhow::Result<SendRequest<Full<Bytes>>> {
        let context = || format!("connecting to {}", self.socket.display());
        let stream = UnixStream::connect(&self.socket).await.with_context(context)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }
}
