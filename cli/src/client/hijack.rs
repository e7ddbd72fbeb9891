//! Attach and exec: a request after which the connection belongs to the container's streams.

use bytes::Bytes;
use http::{Method, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};

use super::connection::Connection;
use super::{Client, ClientError, Query, empty, json, refused};

/// A connection that has become a stream.
#[derive(Debug)]
pub(crate) struct Hijacked {
    reader: ReadHalf<Connection>,
    writer: WriteHalf<Connection>,
    /// What came together with the answer's head.
    pending: Bytes,
}

impl Client {
    /// POST that asks for the connection; with a body or without.
    pub(crate) async fn hijack<B: Serialize + ?Sized>(
        &self,
        path: &str,
        query: Query,
        body: Option<&B>,
    ) -> Result<Hijacked, ClientError> {
        let target = self.target(path, &query).await?;
        let payload = match body {
            Some(body) => json(body)?,
            None => empty(),
        };
        let mut request = self.request(Method::POST, &target, payload)?;
        let headers = request.headers_mut();
        headers.insert(header::CONNECTION, header::HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, header::HeaderValue::from_static("tcp"));
        headers.insert(
            header::CONTENT_TYPE,
            header::HeaderValue::from_static(super::JSON),
        );
        let response = refused(self.send(request).await?).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(ClientError::NoStream(response.status()));
        }
        let upgraded = hyper::upgrade::on(response).await.map_err(ClientError::Http)?;
        let parts = upgraded
            .downcast::<TokioIo<Connection>>()
            .map_err(|_| ClientError::NoStream(StatusCode::SWITCHING_PROTOCOLS))?;
        let (reader, writer) = tokio::io::split(parts.io.into_inner());
        Ok(Hijacked {
            reader,
            writer,
            pending: parts.read_buf,
        })
    }
}

impl Hijacked {
    /// Apart, so that both directions can be waited for at once.
    pub(crate) fn split(self) -> (Output, Input) {
        (
            Output {
                reader: self.reader,
                pending: self.pending,
            },
            Input { writer: self.writer },
        )
    }
}

/// What the container says.
#[derive(Debug)]
pub(crate) struct Output {
    reader: ReadHalf<Connection>,
    pending: Bytes,
}

impl Output {
    /// The next piece; nothing at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        if !self.pending.is_empty() {
            return Ok(Some(std::mem::take(&mut self.pending)));
        }
        let mut buffer = vec![0; 32 * 1024];
        match self.reader.read(&mut buffer).await {
            Ok(0) => Ok(None),
            Ok(count) => {
                buffer.truncate(count);
                Ok(Some(buffer.into()))
            }
            // The daemon was killed; the stream is over either way.
            Err(error) if is_end(error.kind()) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

fn is_end(kind: std::io::ErrorKind) -> bool {
    // A killed daemon's TLS ends without saying so.
    matches!(
        kind,
        std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::UnexpectedEof
    )
}

/// What the container is told. Closing it ends the container's input and nothing else.
#[derive(Debug)]
pub(crate) struct Input {
    writer: WriteHalf<Connection>,
}

impl Input {
    /// Sends bytes.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        Ok(self.writer.write_all(bytes).await?)
    }

    /// Says that no more will come.
    pub(crate) async fn close(&mut self) -> Result<(), ClientError> {
        Ok(self.writer.shutdown().await?)
    }
}
