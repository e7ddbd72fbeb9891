//! A daemon with one container that does as it is told.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// The id of every container it makes.
pub(crate) const ID: &str = "c0ffee0000000000000000000000000000000000000000000000000000000001";

/// What the container and the daemon do.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Behaviour {
    /// Stream and text, said at once.
    pub(crate) says: &'static [(u8, &'static str)],
    /// Says back what it hears, until its input ends.
    pub(crate) echoes: bool,
    /// It has a terminal.
    pub(crate) tty: bool,
    /// It runs until somebody signals it.
    pub(crate) ends_by_signal: bool,
    /// Its exit status.
    pub(crate) status: u8,
    /// Its image isn't there, and can't be pulled.
    pub(crate) image_missing: bool,
    /// It can't be started, for this reason (as JSON text).
    pub(crate) start_refused: Option<&'static str>,
}

/// The daemon; gone with this value, but for threads that wait for a client.
pub(crate) struct FakeDaemon {
    folder: tempfile::TempDir,
    world: Arc<World>,
}

#[derive(Default)]
struct World {
    behaviour: Behaviour,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    asked: Vec<String>,
    started: bool,
    ended: bool,
}

const PATIENCE: Duration = Duration::from_secs(10);

impl FakeDaemon {
    /// Listens.
    pub(crate) fn start(behaviour: Behaviour) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = UnixListener::bind(folder.path().join("cnm.sock")).expect("a socket");
        let world = Arc::new(World {
            behaviour,
            ..World::default()
        });
        let shared = Arc::clone(&world);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let world = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream, &world));
            }
        });
        Self { folder, world }
    }

    /// For `CNM_HOST`.
    pub(crate) fn address(&self) -> String {
        format!("unix://{}/cnm.sock", self.folder.path().display())
    }

    /// Method, target and body of every request so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.world.state.lock().expect("nobody panicked").asked.clone()
    }

    /// Waits until a request contains this.
    pub(crate) fn wait_for(&self, part: &str) {
        self.world
            .until(|state| state.asked.iter().any(|line| line.contains(part)));
    }
}

impl World {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().expect("nobody panicked"));
        self.changed.notify_all();
    }

    fn until(&self, holds: impl Fn(&State) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.state.lock().expect("nobody panicked");
        while !holds(&state) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited in vain; asked so far: {:?}", state.asked);
            state = self.changed.wait_timeout(state, left).expect("nobody panicked").0;
        }
    }
}

fn serve(stream: UnixStream, world: &World) {
    let mut reader = BufReader::new(stream.try_clone().expect("a handle"));
    let Some((method, target, body)) = request(&mut reader) else {
        return;
    };
    world.change(|state| state.asked.push(format!("{method} {target} {body}")));
    // A client that left in the middle is no failure of the daemon's.
    let _ = answer(stream, reader, world, &method, &target);
}

fn request(reader: &mut impl BufRead) -> Option<(String, String, String)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let (method, rest) = line.split_once(' ')?;
    let target = rest.split(' ').next()?.to_owned();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        if header.trim().is_empty() {
            break;
        }
        if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((
        method.to_owned(),
        target,
        String::from_utf8_lossy(&body).into_owned(),
    ))
}

fn answer(
    mut stream: UnixStream,
    reader: BufReader<UnixStream>,
    world: &World,
    method: &str,
    target: &str,
) -> std::io::Result<()> {
    let behaviour = world.behaviour;
    let path = target
        .split('?')
        .next()
        .unwrap_or(target)
        .trim_start_matches("/v1.51");
    let words: Vec<&str> = path.split('/').skip(1).collect();
    match (method, words.as_slice()) {
        ("HEAD", ["_ping"]) => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nApi-Version: 1.51\r\nContent-Length: 2\r\n\r\n")
        }
        ("GET", ["networks"]) => reply(&mut stream, 200, NETWORKS),
        ("DELETE", ["networks", "nope"]) => {
            reply(&mut stream, 404, r#"{"message":"network nope not found"}"#)
        }
        ("DELETE", _) => reply(&mut stream, 204, ""),
        ("POST", ["images", "create"]) => {
            reply(&mut stream, 501, r#"{"message":"pulling is not available yet"}"#)
        }
        ("POST", ["containers", "create"]) if behaviour.image_missing => {
            reply(&mut stream, 404, r#"{"message":"No such image: nope:latest"}"#)
        }
        ("POST", ["containers", "create"]) => {
            reply(&mut stream, 201, &format!(r#"{{"Id":"{ID}","Warnings":[]}}"#))
        }
        ("POST", ["containers", _, "exec"]) => reply(&mut stream, 201, r#"{"Id":"e1"}"#),
        ("GET", ["exec", _, "json"]) => reply(
            &mut stream,
            200,
            &format!(r#"{{"ID":"e1","ExitCode":{}}}"#, behaviour.status),
        ),
        ("GET", ["containers", _, "json"]) => reply(
            &mut stream,
            200,
            &format!(r#"{{"Id":"{ID}","Config":{{"Tty":{}}}}}"#, behaviour.tty),
        ),
        ("GET", ["containers", _, "logs"]) => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            say(&mut stream, behaviour)
        }
        ("POST", ["containers", _, "start"]) => match behaviour.start_refused {
            Some(reason) => {
                world.change(|state| state.ended = true);
                reply(&mut stream, 400, &format!(r#"{{"message":"{reason}"}}"#))
            }
            None => {
                world.change(|state| state.started = true);
                reply(&mut stream, 204, "")
            }
        },
        ("POST", ["containers", _, "kill"]) => {
            world.change(|state| state.ended |= behaviour.ends_by_signal);
            reply(&mut stream, 204, "")
        }
        ("POST", ["containers", _, "wait"]) => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            world.until(|state| state.ended);
            stream.write_all(format!(r#"{{"StatusCode":{}}}"#, behaviour.status).as_bytes())
        }
        ("POST", ["containers", _, "attach"]) => {
            upgrade(&mut stream)?;
            world.until(|state| state.started || state.ended);
            live(&mut stream, reader, world)
        }
        ("POST", ["exec", _, "start"]) => {
            upgrade(&mut stream)?;
            live(&mut stream, reader, world)
        }
        ("POST", [_, _, "resize"]) => reply(&mut stream, 200, ""),
        _ => reply(&mut stream, 404, r#"{"message":"page not found"}"#),
    }
}

fn reply(stream: &mut UnixStream, status: u16, body: &str) -> std::io::Result<()> {
    let length = if status == 204 {
        String::new()
    } else {
        format!("Content-Length: {}\r\n", body.len())
    };
    stream.write_all(format!("HTTP/1.1 {status} X\r\n{length}\r\n{body}").as_bytes())
}

fn upgrade(stream: &mut UnixStream) -> std::io::Result<()> {
    stream.write_all(b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
}

/// The life of the container: it says its words, echoes, waits for its signal, and ends.
fn live(stream: &mut UnixStream, mut reader: BufReader<UnixStream>, world: &World) -> std::io::Result<()> {
    let behaviour = world.behaviour;
    say(stream, behaviour)?;
    if behaviour.echoes {
        echo(stream, &mut reader, behaviour)?;
    }
    if behaviour.ends_by_signal {
        world.until(|state| state.ended);
    }
    stream.shutdown(std::net::Shutdown::Write)?;
    world.change(|state| state.ended = true);
    Ok(())
}

fn echo(stream: &mut UnixStream, reader: &mut impl Read, behaviour: Behaviour) -> std::io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(()),
            count => frame(stream, behaviour, 1, &buffer[..count])?,
        }
    }
}

fn say(stream: &mut UnixStream, behaviour: Behaviour) -> std::io::Result<()> {
    behaviour
        .says
        .iter()
        .try_for_each(|(kind, text)| frame(stream, behaviour, *kind, text.as_bytes()))
}

fn frame(stream: &mut UnixStream, behaviour: Behaviour, kind: u8, bytes: &[u8]) -> std::io::Result<()> {
    if !behaviour.tty {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes();
        stream.write_all(&[&[kind, 0, 0, 0][..], &length].concat())?;
    }
    stream.write_all(bytes)
}

const NETWORKS: &str = r#"[
    {"Name":"the-longer-name-of","Id":"2222222222222222","Driver":"overlay","Scope":"global"},
    {"Name":"bridge","Id":"1111111111111111","Driver":"bridge","Scope":"local"}
]"#;
