//! A container's streams as messages of a WebSocket: what is written comes as it is, without the frames that tell standard
//! output from errors, because that is how Docker does it.

use axum::extract::ws::{Message, Utf8Bytes, WebSocket};
use bytes::{Buf as _, Bytes, BytesMut};
use engine::Streams;
use futures::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::hijack::Before;

/// Copies both ways until either side ends.
pub(crate) async fn copy(socket: WebSocket, before: Before, streams: Streams, framed: bool, binary: bool) {
    let (mut to_client, mut from_client) = socket.split();
    let Streams {
        output, mut input, ..
    } = streams;
    let mut output = before.chain(output);
    let typing = async {
        while let Some(Ok(message)) = from_client.next().await {
            let bytes = match message {
                Message::Binary(bytes) => bytes,
                Message::Text(text) => Bytes::from(text),
                Message::Close(_) => break,
                Message::Ping(_) | Message::Pong(_) => continue,
            };
            if input.write_all(&bytes).await.is_err() {
                // It reads no more, but may write.
                std::future::pending::<()>().await;
            }
        }
    };
    let showing = async {
        let mut pending = BytesMut::new();
        loop {
            while let Some(piece) = take(&mut pending, framed) {
                let message = if binary {
                    Message::Binary(piece)
                } else {
                    Message::Text(Utf8Bytes::from(String::from_utf8_lossy(&piece).into_owned()))
                };
                if to_client.send(message).await.is_err() {
                    return;
                }
            }
            if !matches!(output.read_buf(&mut pending).await, Ok(1..)) {
                break;
            }
        }
        let _ = to_client.send(Message::Close(None)).await;
    };
    tokio::select! {
        () = typing => {}
        () = showing => {}
    }
}

/// The next piece without its frame; nothing while it is not whole.
fn take(pending: &mut BytesMut, framed: bool) -> Option<Bytes> {
    if !framed {
        return Some(pending.split().freeze()).filter(|piece| !piece.is_empty());
    }
    let header: [u8; 8] = pending.get(..8)?.try_into().ok()?;
    let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
    let length = usize::try_from(length).ok()?;
    if pending.len() < 8 + length {
        return None;
    }
    pending.advance(8);
    Some(pending.split_to(length).freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_taken_off_when_they_are_whole() {
        let mut pending = BytesMut::from(&b"\x01\0\0\0\0\0\0\x02ok\x02\0\0\0\0\0\0\x03n"[..]);
        assert_eq!(take(&mut pending, true).as_deref(), Some(&b"ok"[..]));
        assert_eq!(take(&mut pending, true), None);
        pending.extend_from_slice(b"o!");
        assert_eq!(take(&mut pending, true).as_deref(), Some(&b"no!"[..]));
        let mut raw = BytesMut::from(&b"raw"[..]);
        assert_eq!(take(&mut raw, false).as_deref(), Some(&b"raw"[..]));
        assert_eq!(take(&mut raw, false), None);
    }
}
