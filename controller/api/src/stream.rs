//! Answers that go on: JSON objects, a line each, as they come.

use std::{convert::Infallible, io};

use axum::{
    body::Body,
    http::header,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use serde::Serialize;

/// An answer of JSON lines. Its headers go out before the first of them.
pub(crate) fn json_lines<T: Serialize>(items: impl Stream<Item = T> + Send + 'static) -> Response {
    let lines = items.map(|item| Ok::<_, Infallible>(line(&item)));
    (
        [(header::CONTENT_TYPE, "application/json")],
        Body::from_stream(lines),
    )
        .into_response()
}

/// One object and the end of its line.
fn line<T: Serialize>(item: &T) -> Bytes {
    let mut text = serde_json::to_vec(item).unwrap_or_default();
    text.push(b'\n');
    text.into()
}

/// An answer of bytes as they come.
pub(crate) fn bytes(
    kind: &'static str,
    items: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
) -> Response {
    ([(header::CONTENT_TYPE, kind)], Body::from_stream(items)).into_response()
}
