//! Request bodies: JSON, bounded in size and time, and archives, which are as long as they are.

use std::{
    io::{self, Read},
    time::Duration,
};

use axum::{
    body::{Body, HttpBody as _},
    extract::{FromRequest, Request},
    http::{HeaderMap, StatusCode, header},
};
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;

use crate::status::Refusal;

/// Docker's largest requests are container configurations, seldom of 100 KiB.
const LARGEST: usize = 8 << 20;
/// A client that has a body sends it at once.
const PATIENCE: Duration = Duration::from_secs(20);
/// A client that makes an archive while it sends it may think for a while.
const ARCHIVE_PATIENCE: Duration = Duration::from_secs(300);

/// A JSON body. An empty one reads as the zero value, as Go's server takes it where nothing is required.
#[derive(Debug)]
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: DeserializeOwned + Default, S: Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        let (parts, body) = request.into_parts();
        read_json(&parts.headers, body).await.map(Self)
    }
}

/// Reads a JSON body.
pub(crate) async fn read_json<T: DeserializeOwned + Default>(
    headers: &HeaderMap,
    body: Body,
) -> Result<T, Refusal> {
    let bytes = read(body, LARGEST, PATIENCE).await?;
    if bytes.is_empty() {
        return Ok(T::default());
    }
    check_type(headers)?;
    decode(&bytes)
}

fn check_type(headers: &HeaderMap) -> Result<(), Refusal> {
    let given = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let media = given.split(';').next().unwrap_or_default().trim();
    if media.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Refusal::bad_request(format!(
        "unsupported Content-Type header ({given}): must be 'application/json'"
    )))
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(bytes).map_err(|error| {
        Refusal::bad_request(match error.classify() {
            serde_json::error::Category::Eof => "invalid JSON: got EOF while reading request body".to_owned(),
            _ => format!("invalid JSON: {error}"),
        })
    })
}

/// Reads a whole body, at most so many bytes, within so much time.
async fn read(body: Body, largest: usize, patience: Duration) -> Result<Vec<u8>, Refusal> {
    let too_large = || {
        Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the request body is larger than {largest} bytes"),
        )
    };
    // What says itself that it is too long need not be waited for.
    if usize::try_from(body.size_hint().lower()).map_or(true, |length| length > largest) {
        return Err(too_large());
    }
    let mut stream = body.into_data_stream();
    let reading = async {
        let mut bytes = Vec::new();
        while let Some(chunk) = stream.next().await {
            let chunk =
                chunk.map_err(|error| Refusal::bad_request(format!("reading the request body: {error}")))?;
            if bytes.len() + chunk.len() > largest {
                return Err(too_large());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    };
    tokio::time::timeout(patience, reading).await.unwrap_or_else(|_| {
        Err(Refusal::new(
            StatusCode::REQUEST_TIMEOUT,
            format!(
                "the request body did not end within {} seconds",
                patience.as_secs()
            ),
        ))
    })
}

/// A body as a blocking reader, for a thread that may block.
pub(crate) struct BodyReader {
    stream: std::pin::Pin<Box<dyn Stream<Item = Result<Bytes, axum::Error>> + Send>>,
    chunk: Bytes,
    runtime: Handle,
}

impl BodyReader {
    pub(crate) fn new(body: Body) -> Self {
        Self {
            stream: Box::pin(body.into_data_stream()),
            chunk: Bytes::new(),
            runtime: Handle::current(),
        }
    }
}

impl Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            let next = tokio::time::timeout(ARCHIVE_PATIENCE, self.stream.next());
            let runtime = self.runtime.clone();
            match runtime.block_on(next) {
                Ok(Some(Ok(chunk))) => self.chunk = chunk,
                Ok(Some(Err(error))) => return Err(io::Error::other(error)),
                Ok(None) => return Ok(0),
                Err(_) => return Err(io::ErrorKind::TimedOut.into()),
            }
        }
        let length = buffer.len().min(self.chunk.len());
        buffer[..length].copy_from_slice(&self.chunk.split_to(length));
        Ok(length)
    }
}

/// Reads the body of a request that means nothing to us, so that the connection can be used again.
pub(crate) async fn ignore(body: Body) {
    // What is wrong with it is of no interest.
    let _ = read(body, LARGEST, PATIENCE).await;
}

#[cfg(test)]
mod tests {
    use api_types::Map;

    use super::*;

    #[tokio::test]
    async fn bodies_are_bounded_in_size_and_time() {
        let large = read(Body::from(vec![0; 11]), 10, PATIENCE)
            .await
            .expect_err("too large");
        assert_eq!(large.status(), StatusCode::PAYLOAD_TOO_LARGE);
        let endless = Body::from_stream(futures::stream::pending::<io::Result<Bytes>>());
        let late = read(endless, 10, Duration::from_millis(1))
            .await
            .expect_err("never ends");
        assert_eq!(late.status(), StatusCode::REQUEST_TIMEOUT);
    }

    #[tokio::test]
    async fn what_is_no_json_is_said_in_dockers_words() {
        let json = HeaderMap::from_iter([(
            header::CONTENT_TYPE,
            "application/json; charset=utf-8".parse().unwrap(),
        )]);
        for (headers, body, says) in [
            (&json, "{", "invalid JSON: got EOF while reading request body"),
            (&json, "[]x", "invalid JSON: "),
            (
                &HeaderMap::new(),
                "{}",
                "unsupported Content-Type header (): must be 'application/json'",
            ),
        ] {
            let refusal = read_json::<Map<serde_json::Value>>(headers, Body::from(body))
                .await
                .expect_err(body);
            assert_eq!(refusal.status(), StatusCode::BAD_REQUEST);
            assert!(refusal.message().starts_with(says), "{}", refusal.message());
        }
        assert!(
            read_json::<Map<serde_json::Value>>(&HeaderMap::new(), Body::empty())
                .await
                .expect("nothing sent")
                .is_empty()
        );
    }
}
