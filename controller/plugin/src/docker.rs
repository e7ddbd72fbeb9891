//! Docker's own API, as far as it tells about containers: three questions and the stream of events.

use std::{io, path::PathBuf, time::Duration};

use bytes::{Buf as _, Bytes, BytesMut};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::UnixStream, task::JoinSet, time::timeout};

/// An answer is some thousand bytes, with very many containers some hundred thousand.
const LARGEST: usize = 64 << 20;
/// Docker answers about a container that is being started when it has started.
const PATIENCE: Duration = Duration::from_secs(120);
/// The stream of events begins at once, whether there are any or not.
const BEGINS: Duration = Duration::from_secs(20);

/// Docker's socket.
#[derive(Debug)]
pub(crate) struct Docker {
    socket: PathBuf,
}

/// A stream of events, each a JSON value.
#[derive(Debug)]
pub(crate) struct Events {
    body: Incoming,
    read: BytesMut,
    _connection: JoinSet<()>,
}

impl Docker {
    pub(crate) const fn at(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Asks; none where there is no such thing.
    pub(crate) async fn get(&self, path: &str) -> io::Result<Option<Value>> {
        let mut connection = JoinSet::new();
        let asked = async {
            let answer = self.send(path, &mut connection).await?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), LARGEST).collect().await;
            let body = body.map_err(io::Error::other)?.to_bytes();
            match status {
                StatusCode::NOT_FOUND => Ok(None),
                StatusCode::OK => serde_json::from_slice(&body).map(Some).map_err(io::Error::other),
                other => Err(io::Error::other(format!(
                    "Docker answers {other}: {}",
                    String::from_utf8_lossy(&body).trim()
                ))),
            }
        };
        timeout(PATIENCE, asked).await?
    }

    /// What happens from now on to containers and networks.
    pub(crate) async fn events(&self) -> io::Result<Events> {
        // {"type":["container","network"]}
        const PATH: &str = "/events?filters=%7B%22type%22%3A%5B%22container%22%2C%22network%22%5D%7D";
        let mut connection = JoinSet::new();
        let answer = timeout(BEGINS, self.send(PATH, &mut connection)).await??;
        match answer.status() {
            StatusCode::OK => Ok(Events {
                body: answer.into_body(),
                read: BytesMut::new(),
                _connection: connection,
            }),
            other => Err(io::Error::other(format!("Docker answers {other}"))),
        }
    }

    async fn send(&self, path: &str, connection: &mut JoinSet<()>) -> io::Result<hyper::Response<Incoming>> {
        let stream = UnixStream::connect(&self.socket).await?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, driving) = handshake.map_err(io::Error::other)?;
        connection.spawn(async move {
            if let Err(error) = driving.await {
                tracing::debug!(%error, "a connection to Docker broke");
            }
        });
        let request = Request::get(path).header(http::header::HOST, "docker");
        let request = request.body(Empty::<Bytes>::new()).map_err(io::Error::other)?;
        sender.send_request(request).await.map_err(io::Error::other)
    }
}

impl Events {
    /// The next event; none when Docker hangs up.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Value>> {
        loop {
            if let Some(event) = take(&mut self.read)? {
                return Ok(Some(event));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(frame) => {
                    let frame = frame.map_err(io::Error::other)?;
                    if let Ok(data) = frame.into_data() {
                        self.read.extend_from_slice(&data);
                    }
                }
            }
            if self.read.len() > LARGEST {
                return Err(io::Error::other("an event of Docker's has no end"));
            }
        }
    }
}

/// Pure: the first whole value of what was read, which is taken out. Each is a line, so half of one isn't looked at.
fn take(read: &mut BytesMut) -> io::Result<Option<Value>> {
    if !read.contains(&b'\n') {
        return Ok(None);
    }
    let mut values = serde_json::Deserializer::from_slice(read).into_iter::<Value>();
    let first = values.next();
    let end = values.byte_offset();
    match first {
        None => Ok(None),
        Some(Ok(value)) => {
            read.advance(end);
            Ok(Some(value))
        }
        Some(Err(error)) if error.is_eof() => Ok(None),
        Some(Err(error)) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_are_read_however_they_are_cut() {
        let mut read = BytesMut::from(&b"{\"a\":1}\n{\"b\""[..]);
        assert_eq!(take(&mut read).expect("one"), Some(json!({"a": 1})));
        assert_eq!(take(&mut read).expect("half"), None);
        read.extend_from_slice(b":2}\n");
        assert_eq!(take(&mut read).expect("two"), Some(json!({"b": 2})));
        assert_eq!(take(&mut read).expect("no more"), None);
        assert!(take(&mut BytesMut::from(&b"]\n"[..])).is_err());
    }
}
