//! Connections that become a container's streams: with `Upgrade: tcp` and status 101, or in the old way, where the
//! answer's body is the output and the request's body the input.

use std::{io, time::Duration};

use api_types::detach_keys::{self, Typed, Watcher};
use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use engine::Streams;
use futures::StreamExt as _;
use hyper::{ext::ReasonPhrase, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_util::io::{ReaderStream, StreamReader};

use crate::{status::Refusal, version::ApiVersion};

/// How a client wants its connection taken over.
pub(crate) enum Hijack {
    /// With status 101.
    Upgrade(OnUpgrade),
    /// The old way, with the rest of the request's body.
    Bodies(Option<Body>),
}

/// How long a client may go on speaking whose output has ended.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What a client hears first.
pub(crate) type Before = Box<dyn AsyncRead + Send + Unpin>;

/// What the bytes are.
const RAW: &str = "application/vnd.docker.raw-stream";
const FRAMES: &str = "application/vnd.docker.multiplexed-stream";

/// The media type of a container's output. Versions before 1.42 called frames raw, too.
pub(crate) fn media_type(version: ApiVersion, tty: bool) -> &'static str {
    if !tty && version >= ApiVersion(1, 42) {
        FRAMES
    } else {
        RAW
    }
}

impl Hijack {
    /// Takes what is needed from a request whose body is input, if anything.
    pub(crate) fn of(mut request: Request) -> Self {
        match upgrade(&mut request) {
            Some(upgrade) => Self::Upgrade(upgrade),
            None => Self::Bodies(Some(request.into_body())),
        }
    }

    /// The same for a request whose body means something else and has been read.
    pub(crate) fn without_body(upgrade: Option<OnUpgrade>) -> Self {
        match upgrade {
            Some(upgrade) => Self::Upgrade(upgrade),
            None => Self::Bodies(None),
        }
    }

    /// Answers, sends what was written `before`, and copies until the output ends.
    pub(crate) fn answer(
        self,
        before: Before,
        streams: Streams,
        kind: &'static str,
        leave: Option<Leave>,
    ) -> Response {
        match self {
            Self::Upgrade(upgrade) => {
                tokio::spawn(async move {
                    match upgrade.await {
                        Ok(connection) => copy(TokioIo::new(connection), before, streams, leave).await,
                        Err(error) => {
                            tracing::debug!(error = %error, "a client left before its connection was taken over");
                        }
                    }
                });
                switching(kind)
            }
            Self::Bodies(input) => {
                if let Some(input) = input {
                    tokio::spawn(copy_input(input, streams.input));
                }
                let output = ReaderStream::new(before.chain(streams.output));
                ([(header::CONTENT_TYPE, kind)], Body::from_stream(output)).into_response()
            }
        }
    }
}

impl Hijack {
    /// Answers first and starts then: a client that reads its headers through a buffer would lose what comes with them.
    /// Why nothing was started is said where the client expects output.
    pub(crate) async fn start(
        self,
        tty: bool,
        kind: &'static str,
        leave: Option<Leave>,
        starting: impl Future<Output = Result<Streams, String>> + Send + 'static,
    ) -> Response {
        match self {
            Self::Upgrade(upgrade) => {
                tokio::spawn(async move {
                    // A client that left is no reason not to start.
                    let (connection, started) = (upgrade.await, starting.await);
                    let Ok(connection) = connection else { return };
                    let mut connection = TokioIo::new(connection);
                    match started {
                        Ok(streams) => copy(connection, nothing(), streams, leave).await,
                        Err(text) => {
                            // A client that left doesn't want to know.
                            let _ = connection.write_all(&on_stdout(&text, tty)).await;
                            let _ = connection.shutdown().await;
                        }
                    }
                });
                switching(kind)
            }
            Self::Bodies(input) => match starting.await {
                Ok(streams) => Self::Bodies(input).answer(nothing(), streams, kind, leave),
                Err(text) => ([(header::CONTENT_TYPE, kind)], on_stdout(&text, tty)).into_response(),
            },
        }
    }
}

fn nothing() -> Before {
    Box::new(tokio::io::empty())
}

/// One frame, or the text alone for a terminal.
fn on_stdout(text: &str, tty: bool) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes();
    let header: &[u8] = if tty { &[] } else { &[1, 0, 0, 0] };
    let length: &[u8] = if tty { &[] } else { &length };
    [header, length, text.as_bytes()].concat()
}

/// The upgrade that a request asks for.
pub(crate) fn upgrade(request: &mut Request) -> Option<OnUpgrade> {
    wants_upgrade(request.headers())
        .then(|| request.extensions_mut().remove::<OnUpgrade>())
        .flatten()
}

fn wants_upgrade(headers: &HeaderMap) -> bool {
    let value = headers.get(header::UPGRADE).and_then(|value| value.to_str().ok());
    value.is_some_and(|value| value.eq_ignore_ascii_case("tcp"))
}

fn switching(kind: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONNECTION, "Upgrade"),
        (header::UPGRADE, "tcp"),
    ];
    let mut response = (StatusCode::SWITCHING_PROTOCOLS, headers).into_response();
    response
        .extensions_mut()
        .insert(ReasonPhrase::from_static(b"UPGRADED"));
    response
}

/// The keys by which a client at a terminal leaves, and what is told then.
pub(crate) struct Leave {
    keys: Vec<u8>,
    left: Box<dyn FnOnce() + Send>,
}

impl Leave {
    /// The keys of a request; the usual ones when it names none.
    ///
    /// # Errors
    /// For what is no key.
    pub(crate) fn by(keys: Option<&str>, left: impl FnOnce() + Send + 'static) -> Result<Self, Refusal> {
        let keys = detach_keys::parse(keys.unwrap_or(detach_keys::DEFAULT));
        Ok(Self {
            keys: keys.map_err(|error| Refusal::bad_request(format!("Invalid detach keys: {error}")))?,
            left: Box::new(left),
        })
    }
}

/// Copies both ways. The client's end of input is the container's; the output's end closes the connection, and so do
/// the keys to leave.
async fn copy(
    connection: impl AsyncRead + AsyncWrite + Send + 'static,
    before: Before,
    streams: Streams,
    leave: Option<Leave>,
) {
    let (mut from_client, mut to_client) = tokio::io::split(connection);
    let Streams { output, mut input } = streams;
    let mut output = before.chain(output);
    let (keys, left) = leave.map(|leave| (leave.keys, leave.left)).unzip();
    // True when the client left by its keys, false when it has said everything.
    let mut typing = tokio::spawn(async move {
        // A container that closed its input ends this direction only.
        let detached = match keys {
            None => tokio::io::copy(&mut from_client, &mut input).await.map(|_| false),
            Some(keys) => type_until(&mut from_client, &mut input, keys).await,
        };
        if matches!(detached, Ok(true)) {
            return true;
        }
        let _ = input.shutdown().await;
        // What nobody wants is read all the same: left unread, it would make the connection's end an error for its client.
        let _ = tokio::io::copy(&mut from_client, &mut tokio::io::sink()).await;
        false
    });
    let leaving = async {
        match (&mut typing).await {
            Ok(true) => {}
            // The output goes on.
            _ => std::future::pending::<()>().await,
        }
    };
    tokio::select! {
        // A client that left ends this one, and with it both.
        _ = tokio::io::copy(&mut output, &mut to_client) => {}
        () = leaving => if let Some(left) = left { left() },
    }
    let _ = to_client.shutdown().await;
    if !typing.is_finished() {
        // It closes its side when it has read ours.
        let _ = tokio::time::timeout(LAST_WORDS, &mut typing).await;
    }
    typing.abort();
}

/// Copies until the end of what is typed, or the keys to leave: true for these.
async fn type_until(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    keys: Vec<u8>,
) -> io::Result<bool> {
    let mut watcher = Watcher::new(keys);
    let mut piece = [0; 4096];
    loop {
        let count = from.read(&mut piece).await?;
        if count == 0 {
            return Ok(false);
        }
        match watcher.feed(&piece[..count]) {
            Typed::Send(bytes) => to.write_all(&bytes).await?,
            Typed::Detach(bytes) => {
                to.write_all(&bytes).await?;
                return Ok(true);
            }
        }
    }
}

async fn copy_input(body: Body, mut input: impl AsyncWrite + Unpin) {
    let stream = body
        .into_data_stream()
        .map(|chunk| chunk.map_err(io::Error::other));
    let mut reader = StreamReader::new(stream);
    let _ = tokio::io::copy(&mut reader, &mut input).await;
    let _ = input.shutdown().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_a_frame_unless_there_is_a_terminal() {
        assert_eq!(on_stdout("no", false), b"\x01\0\0\0\0\0\0\x02no");
        assert_eq!(on_stdout("no", true), b"no");
    }

    #[tokio::test]
    async fn what_a_client_says_too_late_is_no_error_at_its_end() {
        let (mut client, server) = tokio::net::UnixStream::pair().expect("a pair");
        client
            .write_all(&vec![b'x'; 64 << 10])
            .await
            .expect("it fits the socket");
        let streams = Streams::ended().expect("streams");
        let before = Box::new(io::Cursor::new(b"terminal".to_vec()));
        let copying = tokio::spawn(copy(server, before, streams, None));
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).await.expect("no reset");
        assert_eq!(heard, b"terminal");
        drop(client);
        copying.await.expect("copied");
    }

    #[test]
    fn frames_have_a_name_of_their_own_since_1_42() {
        assert_eq!(media_type(ApiVersion(1, 51), false), FRAMES);
        assert_eq!(media_type(ApiVersion(1, 41), false), RAW);
        assert_eq!(media_type(ApiVersion(1, 51), true), RAW);
    }
}
