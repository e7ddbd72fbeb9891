//! Against a daemon that says what it is told to, on a real socket.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::*;

/// Answers each path with the bytes it was given; remembers what was asked.
struct FakeDaemon {
    asked: Arc<Mutex<Vec<String>>>,
    socket: PathBuf,
    _folder: tempfile::TempDir,
    _serving: tokio::task::JoinSet<()>,
}

type Answers = &'static [(&'static str, &'static str)];

const PING: (&str, &str) = (
    "HEAD /_ping",
    "HTTP/1.1 200 OK\r\nApi-Version: 1.44\r\nContent-Length: 2\r\n\r\n",
);

impl FakeDaemon {
    fn start(answers: Answers) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("cnm.sock");
        let listener = UnixListener::bind(&socket).expect("a socket");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let mut serving = tokio::task::JoinSet::new();
        let log = Arc::clone(&asked);
        serving.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, answers, Arc::clone(&log)));
            }
        });
        Self {
            asked,
            socket,
            _folder: folder,
            _serving: serving,
        }
    }

    fn client(&self) -> Client {
        Client::new(Host::Unix(self.socket.clone()), false)
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("nobody panicked").clone()
    }
}

async fn serve(stream: UnixStream, answers: Answers, log: Arc<Mutex<Vec<String>>>) {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut line, mut length) = (String::new(), 0);
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return;
        }
        loop {
            let mut header = String::new();
            stream.read_line(&mut header).await.expect("a header");
            if header.trim().is_empty() {
                break;
            }
            if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length: ") {
                length = value.trim().parse().expect("a length");
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.expect("a body");
        let target = line.trim().trim_end_matches(" HTTP/1.1").to_owned();
        let said = format!("{target} {}", String::from_utf8_lossy(&body));
        log.lock().expect("nobody panicked").push(said.trim().to_owned());
        let answer = answers
            .iter()
            .find(|(asked, _)| *asked == target)
            .map(|(_, answer)| *answer);
        let answer =
            answer.unwrap_or("HTTP/1.1 404 Not Found\r\nContent-Length: 20\r\n\r\n{\"message\":\"no such\"}");
        stream.write_all(answer.as_bytes()).await.expect("an answer");
        if answer.starts_with("HTTP/1.1 101") {
            return echo(stream).await;
        }
    }
}

/// Says back what it hears, and the word that its input has ended.
async fn echo(mut stream: BufReader<UnixStream>) {
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).await.expect("input");
    heard.extend_from_slice(b" and no more");
    stream.write_all(&heard).await.expect("output");
}

#[tokio::test]
async fn the_lower_version_is_spoken_and_asked_for_once() {
    let daemon = FakeDaemon::start(&[
        PING,
        (
            "GET /v1.44/networks",
            "HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n[{\"Name\":\"ol1\"}]",
        ),
    ]);
    let client = daemon.client();
    // One byte too few: the value is cut, and that is an error and no crash.
    assert!(client.get::<Value>("/networks", Query::new()).await.is_err());
    assert!(client.get::<Value>("/networks", Query::new()).await.is_err());
    assert_eq!(
        daemon.asked(),
        ["HEAD /_ping", "GET /v1.44/networks", "GET /v1.44/networks"]
    );
}

#[tokio::test]
async fn json_goes_there_and_back() {
    let daemon = FakeDaemon::start(&[
        PING,
        (
            "POST /v1.44/networks/create",
            "HTTP/1.1 201 Created\r\nContent-Length: 11\r\n\r\n{\"Id\":\"ab\"}",
        ),
        (
            "POST /v1.44/containers/a%20b/kill?signal=HUP",
            "HTTP/1.1 204 No Content\r\n\r\n",
        ),
        (
            "POST /v1.44/containers/a/start",
            "HTTP/1.1 304 Not Modified\r\n\r\n",
        ),
    ]);
    let client = daemon.client();
    let created: Value = client
        .post("/networks/create", Query::new(), &json!({"Name": "x"}))
        .await
        .expect("created");
    assert_eq!(created, json!({"Id": "ab"}));
    client
        .order("/containers/a%20b/kill", Query::new().with("signal", "HUP"))
        .await
        .expect("killed");
    client
        .order("/containers/a/start", Query::new())
        .await
        .expect("already started is no error");
    assert_eq!(daemon.asked()[1], "POST /v1.44/networks/create {\"Name\":\"x\"}");
}

#[tokio::test]
async fn a_refusal_carries_the_daemon_s_words_and_its_hint() {
    let daemon = FakeDaemon::start(&[
        PING,
        (
            "DELETE /v1.44/networks/a",
            "HTTP/1.1 403 Forbidden\r\nContent-Length: 53\r\n\r\n{\"message\":\"it is in use (hint: disconnect x first)\"}\n",
        ),
        (
            "DELETE /v1.44/networks/b",
            "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
        ),
    ]);
    let client = daemon.client();
    let error = client
        .delete("/networks/a", Query::new())
        .await
        .expect_err("in use");
    assert_eq!(error.to_string(), "Error response from daemon: it is in use");
    assert_eq!(error.hint().as_deref(), Some("disconnect x first"));
    let error = client
        .delete("/networks/b", Query::new())
        .await
        .expect_err("a gateway");
    assert_eq!(error.to_string(), "Error response from daemon: 502 Bad Gateway");
    let error = client
        .delete("/networks/c", Query::new())
        .await
        .expect_err("no such");
    assert!(error.is_not_found());
}

#[tokio::test]
async fn without_a_daemon_the_socket_is_named_and_how_to_start_one() {
    let client = Client::new(Host::Unix("/nonexistent/cnm.sock".into()), false);
    let error = client.ping().await.expect_err("nobody there");
    assert!(
        error.to_string().contains("unix:///nonexistent/cnm.sock"),
        "{error}"
    );
    assert!(
        error
            .hint()
            .is_some_and(|hint| hint.contains("systemctl start cnmd"))
    );
}

#[tokio::test]
async fn a_hijacked_connection_carries_bytes_and_half_closes() {
    let daemon = FakeDaemon::start(&[
        PING,
        (
            "POST /v1.44/containers/a/attach?stream=1",
            "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nfirst ",
        ),
        (
            "POST /v1.44/containers/b/attach",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        ),
    ]);
    let client = daemon.client();
    let query = Query::new().with("stream", "1");
    let stream = client
        .hijack("/containers/a/attach", query, None::<&()>)
        .await
        .expect("upgraded");
    let (mut output, mut input) = stream.split();
    input.send(b"hello").await.expect("sent");
    input.close().await.expect("closed");
    let mut heard = Vec::new();
    while let Some(bytes) = output.next().await.expect("output") {
        heard.extend_from_slice(&bytes);
    }
    assert_eq!(String::from_utf8_lossy(&heard), "first hello and no more");
    let refused = client
        .hijack("/containers/b/attach", Query::new(), None::<&()>)
        .await;
    assert!(matches!(refused, Err(ClientError::NoStream(_))));
    let missing = client
        .hijack("/containers/c/attach", Query::new(), None::<&()>)
        .await;
    assert!(missing.is_err_and(|error| error.is_not_found()));
}

#[tokio::test]
async fn streams_of_json_come_one_by_one() {
    let daemon = FakeDaemon::start(&[
        PING,
        (
            "GET /v1.44/events",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{\"a\":1}\n{\r\n7\r\n\"a\":2}\n\r\n0\r\n\r\n",
        ),
    ]);
    let client = daemon.client();
    let response = client
        .stream(Method::GET, "/events", Query::new(), empty(), None)
        .await
        .expect("a stream");
    let mut lines = JsonLines::new(response);
    assert_eq!(
        lines.next::<Value>().await.expect("a value"),
        Some(json!({"a": 1}))
    );
    assert_eq!(
        lines.next::<Value>().await.expect("a value"),
        Some(json!({"a": 2}))
    );
    assert_eq!(lines.next::<Value>().await.expect("the end"), None);
}

#[test]
fn versions_compare_by_number() {
    assert_eq!(lower_version("1.9", "1.44"), "1.9");
    assert_eq!(lower_version("1.52", "1.51"), "1.51");
    assert_eq!(lower_version("1.51", "1.51"), "1.51");
}
