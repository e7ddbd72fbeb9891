//! Every endpoint against every malformation of `tests/corpus`: a call ends, takes no more than the limits say, and its
//! error names the plugin.
//!
//! `corpus/replies` has a good reply to each endpoint, which is bent here in all the ways below; `corpus/http` has whole
//! answers as they come over the socket: what is `refused` by every endpoint, and what must be `taken`.

#[path = "malformed/bent.rs"]
mod bent;
#[path = "malformed/endpoints.rs"]
mod endpoints;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bent::{Expected, bends};
use endpoints::{ENDPOINTS, Endpoint};
use plugin_proto::{Error, Limits, Places, Plugin, Plugins};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
};

const LARGEST: usize = 64 * 1024;
const ACTIVATION: &str = r#"{"Implements":["NetworkDriver","IpamDriver","VolumeDriver"]}"#;

fn corpus(folder: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/corpus")
        .join(folder);
    let entries = std::fs::read_dir(folder).expect("the corpus");
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("the corpus").path())
        .map(|path| {
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            (name, std::fs::read(path).expect("the corpus"))
        })
        .collect();
    files.sort();
    files
}

fn http(body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// What a plugin does once it was asked.
#[derive(Clone)]
enum Manner {
    Says(Vec<u8>),
    /// This byte by byte, with a pause after each, and never an end.
    Drips(&'static [u8]),
    /// This, and then this again and again.
    Repeats(&'static [u8], Vec<u8>),
    Hangs,
    /// Without reading what it is asked.
    Closes,
}

/// A plugin that shakes hands properly, unless that is what is bent.
struct Odd {
    _folder: TempDir,
    socket: PathBuf,
    sent: Arc<AtomicUsize>,
}

impl Odd {
    fn new(manner: Manner, bent: &'static str) -> Self {
        let folder = tempfile::tempdir().expect("a test's own world");
        let socket = folder.path().join("odd.sock");
        let listener = UnixListener::bind(&socket).expect("a test's own world");
        let sent = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&sent);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(speak(stream, manner.clone(), bent, Arc::clone(&counted)));
            }
        });
        Self {
            _folder: folder,
            socket,
            sent,
        }
    }

    fn plugin(&self, time: Duration) -> Arc<Plugin> {
        let places = Places {
            sockets: vec![self.socket.parent().expect("a folder").to_owned()],
            specifications: Vec::new(),
        };
        let limits = Limits {
            time,
            answer: LARGEST,
            patience: Duration::ZERO,
            ..Limits::default()
        };
        Plugins::new(places, limits).named("odd")
    }
}

async fn speak(mut stream: UnixStream, manner: Manner, bent: &str, sent: Arc<AtomicUsize>) {
    if matches!(manner, Manner::Closes) && bent == "Plugin.Activate" {
        return;
    }
    let request = read_request(&mut stream).await;
    if bent != "Plugin.Activate" && request.contains("Plugin.Activate") {
        let _ = stream.write_all(&http(ACTIVATION.as_bytes())).await;
        return;
    }
    let write = async |stream: &mut UnixStream, bytes: &[u8]| {
        let written = stream.write(bytes).await.unwrap_or_default();
        sent.fetch_add(written, Ordering::SeqCst);
        written > 0
    };
    match manner {
        Manner::Says(bytes) => drop(stream.write_all(&bytes).await),
        Manner::Drips(bytes) => {
            for byte in bytes.iter().cycle() {
                if !write(&mut stream, &[*byte]).await {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        Manner::Repeats(first, again) => {
            if write(&mut stream, first).await {
                while write(&mut stream, &again).await {}
            }
        }
        Manner::Hangs => std::future::pending().await,
        Manner::Closes => {}
    }
}

async fn read_request(stream: &mut UnixStream) -> String {
    let (mut request, mut part) = (Vec::new(), [0; 4096]);
    while !request.windows(4).any(|four| four == b"\r\n\r\n") {
        match stream.read(&mut part).await {
            Ok(0) | Err(_) => break,
            Ok(count) => request.extend(&part[..count]),
        }
    }
    String::from_utf8_lossy(&request).into_owned()
}

/// A call whose answer is bent, and what it comes to: what was read, or why not.
async fn outcome(endpoint: &Endpoint, manner: Manner, time: Duration) -> (Result<String, Error>, usize) {
    let odd = Odd::new(manner, endpoint.method);
    let plugin = odd.plugin(time);
    let outcome = (endpoint.ask)(&plugin).await;
    if let Err(error) = &outcome {
        let text = error.to_string();
        // A refusal is told in the plugin's own words, as Docker does; its name is in the hint.
        let named = text.contains("\"odd\"") || error.hint().is_some_and(|hint| hint.contains("\"odd\""));
        assert!(named && error.plugin() == "odd", "{}: {text}", endpoint.method);
        assert!(
            text.len() < 8 * 1024,
            "{}: {} bytes of error",
            endpoint.method,
            text.len()
        );
        let readable = |letter: char| !letter.is_control() || letter == '\n';
        assert!(text.chars().all(readable), "{}: {text:?}", endpoint.method);
    }
    (outcome, odd.sent.load(Ordering::SeqCst))
}

/// Much longer than any of these calls takes: they end by themselves.
const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn there_is_a_good_reply_for_every_endpoint_and_it_is_taken() {
    let replies = corpus("replies");
    assert_eq!(replies.len(), ENDPOINTS.len());
    for endpoint in ENDPOINTS {
        let (_, reply) = replies
            .iter()
            .find(|(name, _)| name == endpoint.method)
            .expect("its file");
        let (taken, _) = outcome(endpoint, Manner::Says(http(reply)), LONG).await;
        assert!(taken.is_ok(), "{}: {taken:?}", endpoint.method);
    }
}

#[tokio::test]
async fn bent_replies_come_to_nothing_else_than_an_error_or_the_same() {
    let mut counts = [0; 3];
    for endpoint in ENDPOINTS {
        let path = format!(
            "{}/tests/corpus/replies/{}.json",
            env!("CARGO_MANIFEST_DIR"),
            endpoint.method
        );
        let good = std::fs::read(path).expect("its file");
        let (straight, _) = outcome(endpoint, Manner::Says(http(&good)), LONG).await;
        let straight = straight.expect("a good reply");
        for (name, body, expected) in bends(&good) {
            let (outcome, _) = outcome(endpoint, Manner::Says(http(&body)), LONG).await;
            let (method, count) = (endpoint.method, &mut counts[expected as usize]);
            *count += 1;
            match (expected, &outcome) {
                (Expected::Same, Ok(read)) => assert_eq!(*read, straight, "{method}: {name}"),
                (Expected::Nonsense, Err(Error::Nonsense { .. })) => {}
                (Expected::Whatever, Ok(_) | Err(Error::Nonsense { .. } | Error::Refused { .. })) => {}
                // A handshake of something else.
                (Expected::Whatever, Err(Error::NotImplemented { .. })) => {}
                _ => panic!("{method}: {name}: {outcome:?}"),
            }
        }
    }
    assert!(counts.iter().all(|count| *count >= ENDPOINTS.len()), "{counts:?}");
}

#[tokio::test]
async fn answers_that_are_no_http_are_refused_by_every_endpoint_and_odd_ones_taken() {
    for (name, bytes) in corpus("http") {
        for endpoint in ENDPOINTS {
            let (outcome, _) = outcome(endpoint, Manner::Says(bytes.clone()), LONG).await;
            match name.split('-').next() {
                Some("refused") => assert!(outcome.is_err(), "{}: {name}", endpoint.method),
                Some("taken") if endpoint.method != "Plugin.Activate" => {
                    assert!(outcome.is_ok(), "{}: {name}: {outcome:?}", endpoint.method);
                }
                _ => {}
            }
        }
    }
}

#[tokio::test]
async fn who_drips_hangs_or_goes_is_given_up_on() {
    let manners = [
        Manner::Hangs,
        Manner::Closes,
        Manner::Drips(b"HTTP/1.1 200 OK\r\nX: y\r\n"),
        Manner::Drips(b"HTTP/1.1 100 Continue\r\n\r\n"),
    ];
    let began = Instant::now();
    let calls = ENDPOINTS.iter().flat_map(|endpoint| {
        manners.clone().map(|manner| async move {
            let (outcome, _) = outcome(endpoint, manner, Duration::from_millis(200)).await;
            let error = outcome.expect_err("there is no answer");
            let silent = error.is_silence() || matches!(error, Error::Nonsense { .. });
            assert!(silent, "{}: {error:?}", endpoint.method);
        })
    });
    let mut all = tokio::task::JoinSet::new();
    calls.for_each(|call| drop(all.spawn(call)));
    while let Some(done) = all.join_next().await {
        done.expect("no failed assertion");
    }
    // Volumes get up to four times as long; all are asked at once.
    assert!(began.elapsed() < Duration::from_secs(30), "they end");
}

/// What a socket holds that nobody reads, beside what was read: an upper bound for Linux.
const IN_THE_PIPE: usize = 1024 * 1024;

#[tokio::test]
async fn who_never_stops_is_read_only_as_far_as_the_limit() {
    let chunked: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{\"x\":\"";
    let body: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunk = [&b"3e8\r\n"[..], &[b' '; 1000], b"\r\n"].concat();
    let endless = [
        Manner::Repeats(body, chunk),
        Manner::Repeats(chunked, vec![b'x'; 4096]),
        Manner::Repeats(b"HTTP/1.1 200 OK\r\n", b"A: b\r\n".repeat(100)),
        Manner::Repeats(b"HTTP/1.1 200 OK\r\nA: ", vec![b'a'; 4096]),
        Manner::Repeats(b"HTTP/1.1 200 ", vec![b'a'; 4096]),
        Manner::Repeats(b"HTTP/1.0 200 OK\r\n\r\n", vec![b'{'; 4096]),
    ];
    for endpoint in ENDPOINTS {
        for manner in endless.clone() {
            let (outcome, sent) = outcome(endpoint, manner, LONG).await;
            let error = outcome.expect_err("it never ended");
            assert!(
                !matches!(error, Error::Late { .. }),
                "{}: {error:?}",
                endpoint.method
            );
            assert!(sent < LARGEST + IN_THE_PIPE, "{}: {sent} bytes", endpoint.method);
        }
    }
}
