//! Plugins that hang, die, talk nonsense, talk too much, go away and come back: each costs what the limits say and is
//! named in the error, and no other plugin notices.

use std::{
    os::unix::net::UnixListener as StdListener,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use plugin_proto::{
    Error, Limits, Nothing, Places, Plugin, Plugins,
    activation::NETWORK_DRIVER,
    network_driver::{Capabilities, DeleteNetwork, GetCapabilities, ProgramExternalConnectivity},
    server::{Answer, NetworkDriver, Server},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    sync::Notify,
    task::JoinHandle,
};

const ACTIVATION: &str = r#"{"Implements":["NetworkDriver"]}"#;

/// A folder of plugins, and the host that looks for them there.
struct World {
    folder: TempDir,
    plugins: Arc<Plugins>,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a test's own world");
        let places = Places {
            sockets: vec![folder.path().to_owned()],
            specifications: Vec::new(),
        };
        let limits = Limits {
            time: Duration::from_secs(2),
            answer: 10_000,
            patience: Duration::ZERO,
            search: Duration::ZERO,
            wary: Duration::from_secs(60),
            wary_time: Duration::from_millis(50),
        };
        Self {
            plugins: Plugins::new(places, limits),
            folder,
        }
    }

    fn socket(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.sock"))
    }

    /// A plugin that answers the handshake properly and all else with these bytes, after which it closes.
    fn speaking(&self, name: &str, bytes: &'static [u8]) -> Arc<Plugin> {
        let listener = UnixListener::bind(self.socket(name)).expect("a test's own world");
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.expect("a test's own world");
                tokio::spawn(async move {
                    let request = read_request(&mut stream).await;
                    let answer = match request.contains("Plugin.Activate") {
                        true => http(ACTIVATION).into_bytes(),
                        false => bytes.to_vec(),
                    };
                    // The other end may have had enough before it is all sent.
                    let _ = stream.write_all(&answer).await;
                });
            }
        });
        self.plugins.named(name)
    }

    /// A plugin of our own.
    fn healthy(&self, name: &str) -> (Arc<Plugin>, JoinHandle<()>) {
        let task = tokio::spawn(serve(self.socket(name)));
        (self.plugins.named(name), task)
    }
}

async fn serve(path: PathBuf) {
    Server::default()
        .network(Good)
        .serve_at(path)
        .await
        .expect("a test's own world");
}

struct Good;

#[async_trait::async_trait]
impl NetworkDriver for Good {
    async fn delete_network(&self, request: DeleteNetwork) -> Answer<Nothing> {
        Err(format!("no network {}", request.network_id).into())
    }
}

fn http(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// Reads the head and as much of a body as comes with it.
async fn read_request(stream: &mut UnixStream) -> String {
    let mut request = Vec::new();
    let mut part = [0; 4096];
    while !request.windows(4).any(|four| four == b"\r\n\r\n") {
        match stream.read(&mut part).await {
            Ok(0) | Err(_) => break,
            Ok(count) => request.extend(&part[..count]),
        }
    }
    String::from_utf8(request).expect("a test's own world")
}

async fn until(path: &Path) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while UnixStream::connect(path).await.is_err() {
        assert!(Instant::now() < deadline, "{path:?} listens");
        tokio::task::yield_now().await;
    }
}

async fn error(plugin: &Plugin) -> Error {
    let error = plugin.call(&GetCapabilities).await.expect_err("an error");
    let text = error.to_string();
    assert!(
        text.contains(plugin.name()) || matches!(error, Error::Refused { .. }),
        "{text}"
    );
    assert_eq!(error.plugin(), plugin.name());
    error
}

#[tokio::test]
async fn a_plugin_is_found_shaken_hands_with_and_called() {
    let world = World::new();
    let (plugin, _task) = world.healthy("good");
    until(&world.socket("good")).await;
    plugin.require(NETWORK_DRIVER, Duration::ZERO).await.unwrap();
    let capabilities = plugin.call(&GetCapabilities).await.unwrap();
    assert_eq!(capabilities.scope, "local");
    let refused = plugin
        .call(&DeleteNetwork {
            network_id: "x".to_owned(),
        })
        .await
        .unwrap_err();
    assert_eq!(refused.to_string(), "NetworkDriver.DeleteNetwork: no network x");
    let unknown = plugin
        .call(&ProgramExternalConnectivity::default())
        .await
        .unwrap_err();
    assert!(unknown.is_unknown_method());
    assert!(matches!(
        plugin.require("IpamDriver", Duration::ZERO).await,
        Err(Error::NotImplemented { .. })
    ));
    let active = world.plugins.active();
    assert_eq!(active["good"], ["NetworkDriver"]);
}

#[tokio::test]
async fn nobody_of_that_name_is_not_found_at_once() {
    let world = World::new();
    let plugin = world.plugins.named("nobody");
    let error = plugin.require(NETWORK_DRIVER, Duration::ZERO).await.unwrap_err();
    assert_eq!(error.to_string(), "plugin \"nobody\" not found");
    assert!(!plugin.is_there());
}

#[tokio::test]
async fn who_is_a_plugin_does_not_call_itself() {
    let world = World::new();
    let (_, server) = world.healthy("cnm");
    until(&world.socket("cnm")).await;
    let places = Places {
        sockets: vec![world.folder.path().to_owned()],
        specifications: Vec::new(),
    };
    // However long others are looked for, this is known at once.
    let plugins = Plugins::beside(places, Limits::default(), Some("cnm"));
    let own = plugins.named("cnm");
    let error = own
        .require(NETWORK_DRIVER, Duration::from_secs(3600))
        .await
        .expect_err("it is the one who asks");
    assert!(matches!(error, Error::Own { .. }), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("-d overlay")));
    assert!(plugins.all().is_empty());
    server.abort();
}

#[tokio::test]
async fn one_that_is_not_there_yet_is_waited_for() {
    let world = World::new();
    let plugin = world.plugins.named("late");
    let waiting = plugin.require(NETWORK_DRIVER, Duration::from_secs(30));
    let starting = async {
        tokio::task::yield_now().await;
        serve(world.socket("late")).await;
    };
    tokio::select! {
        biased;
        found = waiting => found.unwrap(),
        () = starting => unreachable!("it serves to the end"),
    }
}

#[tokio::test]
async fn nonsense_is_called_nonsense() {
    let world = World::new();
    let rows: [(&str, &[u8]); 7] = [
        ("html", b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>"),
        ("array", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"),
        (
            "number",
            b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{\"Scope\":7}",
        ),
        ("empty", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ("nohttp", b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
        ("status", b"HTTP/1.1 999999 OK\r\n\r\n"),
        ("switch", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"),
    ];
    for (name, bytes) in rows {
        let plugin = world.speaking(name, bytes);
        let error = error(&plugin).await;
        assert!(matches!(error, Error::Nonsense { .. }), "{name}: {error:?}");
    }
}

#[tokio::test]
async fn a_refusal_is_told_in_the_words_that_docker_uses() {
    let world = World::new();
    let rows: [(&str, &[u8], &str); 5] = [
        (
            "err",
            b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{\"Err\":\"no\"}",
            "remote: no",
        ),
        (
            "error",
            b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{\"Error\":\"no\"}",
            "remote: no",
        ),
        (
            "sdk",
            b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 12\r\n\r\n{\"Err\":\"no\"}",
            "NetworkDriver.GetCapabilities: no",
        ),
        (
            "plain",
            b"HTTP/1.1 500 x\r\nContent-Length: 4\r\n\r\nno!\n",
            "NetworkDriver.GetCapabilities: no!",
        ),
        (
            "silent",
            b"HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n",
            "NetworkDriver.GetCapabilities: no reason given",
        ),
    ];
    for (name, bytes, text) in rows {
        let plugin = world.speaking(name, bytes);
        assert_eq!(error(&plugin).await.to_string(), text, "{name}");
    }
}

#[tokio::test]
async fn what_comes_after_the_answer_is_nobodys() {
    let world = World::new();
    let rows: [(&str, &[u8]); 3] = [
        (
            "twice",
            b"HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{\"Scope\":\"local\"}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        ),
        (
            "values",
            b"HTTP/1.1 200 OK\r\nContent-Length: 36\r\n\r\n{\"Scope\":\"local\"}\n{\"Scope\":\"global\"}",
        ),
        ("close", b"HTTP/1.0 200 OK\r\n\r\n{\"Scope\":\"local\"}"),
    ];
    for (name, bytes) in rows {
        let plugin = world.speaking(name, bytes);
        for _ in 0..2 {
            assert_eq!(
                plugin.call(&GetCapabilities).await.expect(name),
                Capabilities {
                    scope: "local".to_owned(),
                    ..Capabilities::default()
                }
            );
        }
    }
}

#[tokio::test]
async fn one_that_dies_in_a_call_is_not_asked_the_same_again() {
    let world = World::new();
    for (name, bytes) in [
        ("before", &b""[..]),
        ("within", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"),
    ] {
        let plugin = world.speaking(name, bytes);
        let error = error(&plugin).await;
        assert!(
            matches!(error, Error::Unreachable { unsent: false, .. }),
            "{name}: {error:?}"
        );
    }
}

#[tokio::test]
async fn one_that_says_too_much_is_cut_short() {
    let world = World::new();
    let endless: &'static [u8] = [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(),
        b"3e8\r\n"
            .iter()
            .chain(&[b'x'; 1000])
            .chain(b"\r\n")
            .copied()
            .collect::<Vec<_>>()
            .repeat(1000),
    ]
    .concat()
    .leak();
    let error_of_body = error(&world.speaking("endless", endless)).await;
    assert!(
        error_of_body.to_string().contains("longer than 10000 bytes"),
        "{error_of_body}"
    );
    let headers: &'static [u8] = [b"HTTP/1.1 200 OK\r\n".to_vec(), b"A: b\r\n".repeat(100_000)]
        .concat()
        .leak();
    let error_of_head = error(&world.speaking("headers", headers)).await;
    assert!(
        matches!(error_of_head, Error::Nonsense { .. } | Error::Unreachable { .. }),
        "{error_of_head:?}"
    );
}

/// A listener that takes connections and never answers.
fn hanging(path: &Path) -> StdListener {
    StdListener::bind(path).expect("a free name")
}

#[tokio::test]
async fn one_that_hangs_costs_its_time_once_and_others_none() {
    let world = World::new();
    let _listener = hanging(&world.socket("hung"));
    let (good, _task) = world.healthy("good");
    until(&world.socket("good")).await;
    let hung = world.plugins.named("hung");
    let answered = Arc::new(AtomicUsize::new(0));
    let first = async {
        let error = error(&hung).await;
        assert!(
            matches!(error, Error::Late { limit, .. } if limit == Duration::from_secs(2)),
            "{error:?}"
        );
    };
    let meanwhile = async {
        for _ in 0..20 {
            good.call(&GetCapabilities).await.unwrap();
            answered.fetch_add(1, Ordering::SeqCst);
        }
    };
    tokio::select! {
        biased;
        () = async { tokio::join!(first, meanwhile); } => {}
    }
    assert_eq!(answered.load(Ordering::SeqCst), 20);
    let again = error(&hung).await;
    assert!(
        matches!(again, Error::Late { limit, .. } if limit == Duration::from_millis(50)),
        "{again:?}"
    );
}

#[tokio::test]
async fn a_hundred_calls_of_one_that_hangs_all_end() {
    let world = World::new();
    let _listener = hanging(&world.socket("hung"));
    let hung = world.plugins.named("hung");
    let calls = (0..100).map(|_| {
        let hung = Arc::clone(&hung);
        tokio::spawn(async move { hung.call(&GetCapabilities).await })
    });
    for call in calls.collect::<Vec<_>>() {
        assert!(matches!(call.await.unwrap(), Err(Error::Late { .. })));
    }
}

#[tokio::test]
async fn one_that_comes_back_is_shaken_hands_with_again() {
    let world = World::new();
    let (plugin, task) = world.healthy("back");
    until(&world.socket("back")).await;
    plugin.call(&GetCapabilities).await.unwrap();
    task.abort();
    let _ = task.await;
    let gone = error(&plugin).await;
    assert!(
        matches!(gone, Error::Unreachable { unsent: true, .. }),
        "{gone:?}"
    );
    assert!(world.plugins.active().is_empty(), "what it was is forgotten");
    std::fs::remove_file(world.socket("back")).unwrap();
    assert!(matches!(error(&plugin).await, Error::NotFound { .. }));
    let (_, _task) = world.healthy("back");
    until(&world.socket("back")).await;
    plugin.call(&GetCapabilities).await.unwrap();
    assert_eq!(world.plugins.active()["back"], ["NetworkDriver"]);
}

/// Is at a removal until it is let go on.
#[derive(Default)]
struct Slow {
    begun: Notify,
    let_go: Notify,
    done: Notify,
}

struct Removing(Arc<Slow>);

#[async_trait::async_trait]
impl NetworkDriver for Removing {
    async fn delete_network(&self, _: DeleteNetwork) -> Answer<Nothing> {
        self.0.begun.notify_one();
        self.0.let_go.notified().await;
        self.0.done.notify_one();
        Ok(Nothing {})
    }
}

#[tokio::test]
async fn what_was_asked_for_is_done_to_its_end_though_the_caller_hangs_up() {
    let slow = Arc::new(Slow::default());
    let server = Server::default().network(Removing(Arc::clone(&slow)));
    let (mut caller, called) = tokio::io::duplex(4096);
    let connection = tokio::spawn(async move { server.serve_connection(called).await });
    let call = b"POST /NetworkDriver.DeleteNetwork HTTP/1.1\r\nHost: one\r\nContent-Length: 17\r\n\r\n{\"NetworkID\":\"1\"}";
    caller.write_all(call).await.expect("it is asked");
    slow.begun.notified().await;
    drop(caller);
    connection.await.expect("the connection ends with its caller");
    slow.let_go.notify_one();
    let done = tokio::time::timeout(Duration::from_secs(20), slow.done.notified());
    done.await.expect("the removal is finished all the same");
}
