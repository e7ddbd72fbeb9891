//! Request bodies that are too large for memory.

use bytes::Bytes;
use futures::StreamExt;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::io::AsyncRead;
use tokio_util::io::ReaderStream;

use super::Body;
use crate::error::CommandError;

/// What an archive is sent as.
pub(crate) const TAR: &str = "application/x-tar";

const PIECE: usize = 256 * 1024;

/// A file.
pub(crate) async fn file(path: &str) -> Result<Body, CommandError> {
    let file = tokio::fs::File::open(path).await;
    let file = file.map_err(|error| CommandError::new(format!("opening {path:?}: {error}")))?;
    Ok(body(file))
}

/// Our stdin.
pub(crate) fn stdin() -> Body {
    body(tokio::io::stdin())
}

/// What a reader has.
pub(crate) fn body(reader: impl AsyncRead + Send + Sync + 'static) -> Body {
    let pieces = ReaderStream::with_capacity(reader, PIECE);
    BodyExt::boxed(StreamBody::new(
        pieces.map(|piece: std::io::Result<Bytes>| piece.map(Frame::data)),
    ))
}
