//! Answers that keep coming: bytes, and JSON values one after another.

use bytes::{Bytes, BytesMut};
use http::Response;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;

use super::ClientError;

/// An answer's body, piece by piece.
#[derive(Debug)]
pub(crate) struct Chunks {
    body: Incoming,
}

impl Chunks {
    /// Of this answer.
    pub(crate) fn new(response: Response<Incoming>) -> Self {
        Self {
            body: response.into_body(),
        }
    }

    /// The next piece; nothing at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        while let Some(frame) = self.body.frame().await {
            if let Ok(data) = frame.map_err(ClientError::Http)?.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}

/// JSON values one after another, with or without white space between them.
#[derive(Debug)]
pub(crate) struct JsonLines {
    chunks: Chunks,
    pending: BytesMut,
}

impl JsonLines {
    /// Of this answer.
    pub(crate) fn new(response: Response<Incoming>) -> Self {
        Self {
            chunks: Chunks::new(response),
            pending: BytesMut::new(),
        }
    }

    /// The next value; nothing at the end.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ClientError> {
        loop {
            if let Some(value) = take(&mut self.pending)? {
                return Ok(Some(value));
            }
            match self.chunks.next().await? {
                Some(chunk) => self.pending.extend_from_slice(&chunk),
                None if self.pending.iter().all(u8::is_ascii_whitespace) => return Ok(None),
                None => {
                    let error = serde_json::from_slice::<serde_json::Value>(&self.pending);
                    return Err(
                        error.map_or_else(ClientError::Answer, |_| ClientError::Task("cut short".into()))
                    );
                }
            }
        }
    }
}

/// Takes one complete value off the front.
fn take<T: DeserializeOwned>(pending: &mut BytesMut) -> Result<Option<T>, ClientError> {
    let mut values = serde_json::Deserializer::from_slice(pending).into_iter::<T>();
    match values.next() {
        Some(Ok(value)) => {
            let read = values.byte_offset();
            let _ = pending.split_to(read);
            Ok(Some(value))
        }
        Some(Err(error)) if error.is_eof() => Ok(None),
        Some(Err(error)) => Err(ClientError::Answer(error)),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_taken_only_when_complete() {
        let mut pending = BytesMut::from(&b"{\"a\":1}\n{\"a\":"[..]);
        let first: Option<serde_json::Value> = take(&mut pending).expect("good so far");
        assert_eq!(first, Some(serde_json::json!({"a": 1})));
        let second: Option<serde_json::Value> = take(&mut pending).expect("good so far");
        assert_eq!(second, None);
        pending.extend_from_slice(b"2}");
        let second: Option<serde_json::Value> = take(&mut pending).expect("good so far");
        assert_eq!(second, Some(serde_json::json!({"a": 2})));
        let mut broken = BytesMut::from(&b"oops"[..]);
        assert!(take::<serde_json::Value>(&mut broken).is_err());
    }
}
