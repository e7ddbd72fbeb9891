//! The daemon, asked over its socket: one request, one answer, one connection, and never longer than a runtime waits.

use std::{
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};

use crate::failure::{Code, Failure};

/// Where it listens.
const SOCKET: &str = "/run/cnm/cnm.sock";
/// Kubernetes gives a pod's network two minutes, and a driver of another program gets half of one here.
const PATIENCE: Duration = Duration::from_secs(60);
/// A question about what is waited for is answered out of the daemon's memory.
const AT_ONCE: Duration = Duration::from_secs(5);
/// No answer is longer.
const LONGEST: u64 = 16 << 20;

/// A way to ask.
#[derive(Debug, Clone)]
pub(crate) struct Daemon {
    socket: PathBuf,
    patience: Duration,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Silence {
    /// Nobody listens, or nobody answers in time.
    Unreachable(String),
    /// It says no.
    Refused {
        /// HTTP's status.
        status: u16,
        /// Its words, with its hint.
        message: String,
    },
    /// It says what nobody understands.
    Nonsense(String),
}

impl Silence {
    /// As a runtime is told.
    pub(crate) fn into_failure(self) -> Failure {
        match self {
            Self::Unreachable(why) => Failure::new(Code::TryAgain, why)
                .with("is cnmd running? \"systemctl status cnmd\" tells; nothing is lost, try again later"),
            Self::Nonsense(why) => Failure::new(Code::Daemon, why),
            Self::Refused { status, message } => {
                let code = match status {
                    400 | 404 => Code::InvalidConfig,
                    403 => Code::Refused,
                    409 => Code::Conflict,
                    503 => Code::TryAgain,
                    _ => Code::Daemon,
                };
                let (message, hint) = split_hint(&message);
                Failure::new(code, message).with(hint)
            }
        }
    }
}

impl From<Silence> for Failure {
    fn from(silence: Silence) -> Self {
        silence.into_failure()
    }
}

/// The daemon's messages end with what to do.
fn split_hint(message: &str) -> (&str, &str) {
    match message.rsplit_once(" (hint: ") {
        Some((message, hint)) => (message, hint.trim_end_matches(')')),
        None => (message, ""),
    }
}

impl Daemon {
    /// At a socket, `unix:///PATH` or `/PATH`; the usual one for none.
    pub(crate) fn at(socket: Option<&str>) -> Self {
        let socket = socket.unwrap_or(SOCKET);
        Self {
            socket: socket.strip_prefix("unix://").unwrap_or(socket).into(),
            patience: PATIENCE,
        }
    }

    /// Asks for something.
    pub(crate) fn get<A: DeserializeOwned>(&self, path: &str) -> Result<A, Silence> {
        decode(&self.exchange("GET", path, "", || Duration::ZERO)?)
    }

    /// The same, of a daemon that works on something else for this caller: with an answer at once or none.
    pub(crate) fn peek<A: DeserializeOwned>(&self, path: &str) -> Result<A, Silence> {
        let hasty = Self {
            patience: AT_ONCE.min(self.patience),
            ..self.clone()
        };
        hasty.get(path)
    }

    /// Has something done.
    pub(crate) fn post<A: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<A, Silence> {
        self.post_waiting(path, body, || Duration::ZERO)
    }

    /// Has something done that may rightly take longer: when patience ends, `more` tells by how much.
    pub(crate) fn post_waiting<A: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        more: impl FnOnce() -> Duration,
    ) -> Result<A, Silence> {
        let body = serde_json::to_string(body)
            .map_err(|error| Silence::Nonsense(format!("writing the request: {error}")))?;
        decode(&self.exchange("POST", path, &body, more)?)
    }

    /// On a thread of its own: a connection may hang where no time limit of a socket reaches.
    fn exchange(
        &self,
        method: &str,
        path: &str,
        body: &str,
        more: impl FnOnce() -> Duration,
    ) -> Result<Vec<u8>, Silence> {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: cnm\r\nUser-Agent: cnm-cni/{}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            env!("CARGO_PKG_VERSION"),
            body.len()
        );
        let request = [head.as_bytes(), body.as_bytes()].concat();
        let (tell, told) = mpsc::sync_channel(1);
        let socket = self.socket.clone();
        thread::spawn(move || {
            // Nobody listens any more when it took too long.
            let _ = tell.send(talk(&socket, &request));
        });
        let at = self.socket.display();
        let mut waited = self.patience;
        let mut answer = told.recv_timeout(waited);
        if answer.is_err() {
            let longer = more();
            waited += longer;
            answer = told.recv_timeout(longer);
        }
        let answer = match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                return Err(Silence::Unreachable(format!(
                    "the daemon at {at} does not answer: {error}"
                )));
            }
            Err(_) => {
                let seconds = waited.as_secs();
                return Err(Silence::Unreachable(format!(
                    "the daemon at {at} has not answered for {seconds} seconds"
                )));
            }
        };
        let (status, body) = parse(&answer)
            .ok_or_else(|| Silence::Nonsense(format!("what listens at {at} does not speak HTTP")))?;
        match status {
            200..=299 => Ok(body.to_vec()),
            _ => Err(Silence::Refused {
                status,
                message: message(body),
            }),
        }
    }
}

fn talk(socket: &Path, request: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all(request)?;
    let mut answer = Vec::new();
    stream.take(LONGEST).read_to_end(&mut answer)?;
    match answer.is_empty() {
        true => Err(io::ErrorKind::UnexpectedEof.into()),
        false => Ok(answer),
    }
}

/// Pure: status and body of a whole HTTP/1.1 answer; none if it is none, or is cut off.
pub(crate) fn parse(answer: &[u8]) -> Option<(u16, &[u8])> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines
        .next()?
        .strip_prefix("HTTP/1.")?
        .split(' ')
        .nth(1)?
        .parse()
        .ok()?;
    let body = &answer[end + 4..];
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let value = name.eq_ignore_ascii_case("content-length").then_some(value)?;
        value.trim().parse::<usize>().ok()
    });
    match length {
        Some(length) => Some((status, body.get(..length)?)),
        None => Some((status, body)),
    }
}

/// `{"message": …}`, or what there is.
pub(crate) fn message(body: &[u8]) -> String {
    match serde_json::from_slice::<api_types::ErrorMessage>(body) {
        Ok(error) if !error.message.is_empty() => error.message,
        _ => String::from_utf8_lossy(body).trim().to_owned(),
    }
}

fn decode<A: DeserializeOwned>(body: &[u8]) -> Result<A, Silence> {
    serde_json::from_slice(body)
        .map_err(|error| Silence::Nonsense(format!("the daemon's answer can't be read: {error}")))
}

/// A part of a path.
pub(crate) fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    let one = |byte: u8| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn answers_are_read_whole_or_not_at_all() {
        for (answer, wanted) in [
            (
                "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
                Some((200, "{}")),
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length:2\r\n\r\n{}more",
                Some((200, "{}")),
            ),
            ("HTTP/1.0 404 Not Found\r\n\r\nno", Some((404, "no"))),
            ("HTTP/1.1 204\r\n\r\n", Some((204, ""))),
            ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{}", None),
            ("HTTP/1.1 200 OK\r\n", None),
            ("HTTP/2 200\r\n\r\n", None),
            ("SSH-2.0\r\n\r\n", None),
            ("", None),
        ] {
            let wanted = wanted.map(|(status, body): (u16, &str)| (status, body.as_bytes()));
            assert_eq!(parse(answer.as_bytes()), wanted, "{answer:?}");
        }
    }

    #[test]
    fn statuses_become_codes_and_hints_details() {
        for (status, code) in [
            (400, Code::InvalidConfig),
            (404, Code::InvalidConfig),
            (403, Code::Refused),
            (409, Code::Conflict),
            (503, Code::TryAgain),
            (500, Code::Daemon),
            (501, Code::Daemon),
        ] {
            let refused = Silence::Refused {
                status,
                message: "no (hint: yes)".to_owned(),
            };
            assert_eq!(refused.into_failure(), Failure::new(code, "no").with("yes"));
        }
    }

    fn served(answer: &'static [u8], patience: Duration) -> Result<Value, Silence> {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).unwrap();
            stream.write_all(answer).unwrap();
            if answer.is_empty() {
                let _ = stream.read(&mut request);
            }
        });
        let mut daemon = Daemon::at(socket.to_str());
        daemon.patience = patience;
        let answer = daemon.post("/x", &json!({}));
        // One that never answers is left where it is.
        drop(server);
        answer
    }

    #[test]
    fn what_may_take_longer_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        let (ask, asked) = mpsc::channel();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).unwrap();
            // It answers only after its client's patience has ended.
            asked.recv().unwrap();
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
                .unwrap();
        });
        let mut daemon = Daemon::at(socket.to_str());
        daemon.patience = Duration::from_millis(50);
        let answer: Value = daemon
            .post_waiting("/x", &json!({}), || {
                ask.send(()).unwrap();
                Duration::from_secs(60)
            })
            .unwrap();
        assert_eq!(answer, json!({}));
        server.join().unwrap();
    }

    #[test]
    fn who_is_not_there_hangs_up_or_falls_silent_is_tried_again_later() {
        let folder = tempfile::tempdir().unwrap();
        let nobody = Daemon::at(folder.path().join("none").to_str());
        let long = Duration::from_secs(60);
        for answer in [nobody.get::<Value>("/x"), served(b"", Duration::from_millis(50))] {
            let failure = answer.expect_err("nobody is there").into_failure();
            assert_eq!(failure.code, Code::TryAgain);
        }
        assert!(matches!(
            served(b"HTTP/1.1 200 OK\r\n\r\n[", long),
            Err(Silence::Nonsense(_))
        ));
        assert!(matches!(served(b"220 ftp\r\n", long), Err(Silence::Nonsense(_))));
        let answer = served(b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n{\"a\":1}", long);
        assert_eq!(answer.unwrap(), json!({"a": 1}));
    }
}
