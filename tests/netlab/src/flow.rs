//! Connections that are held while something happens to the network under them, and servers that say back what they hear.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, ensure};

use crate::traffic::inside;

/// TCP doubles its waits: what was cut for two seconds may be heard of after four more.
const HELD: Duration = Duration::from_secs(10);
/// A new connection where all is well takes a millisecond.
const NEW: Duration = Duration::from_millis(300);
/// How often a server looks whether it is to end.
const LOOK: Duration = Duration::from_millis(50);

/// Says back whatever it hears on a port of a namespace, of both families, until dropped.
#[derive(Debug)]
pub struct Echo {
    ends: Arc<AtomicBool>,
}

impl Echo {
    /// Listens.
    ///
    /// # Errors
    /// When the port is taken there.
    pub fn start(netns: &Path, port: u16) -> anyhow::Result<Self> {
        let listener = inside(netns, || {
            let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
            TcpListener::bind(any).with_context(|| format!("listening on {any}"))
        })?;
        let ends = Arc::<AtomicBool>::default();
        let ending = Arc::clone(&ends);
        listener.set_nonblocking(true)?;
        thread::spawn(move || {
            while !ending.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => drop(thread::spawn(move || say_back(stream))),
                    Err(_) => thread::sleep(LOOK / 10),
                }
            }
        });
        Ok(Self { ends })
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
    }
}

/// Until the other side closes, or says nothing for a minute.
fn say_back(mut stream: TcpStream) {
    let _ = stream.set_nonblocking(false);
    let _ = stream.set_read_timeout(Some(Duration::from_secs(60)));
    let mut buffer = [0; 256];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..length]).is_err() {
            return;
        }
    }
}

/// A way to an [`Echo`], and a connection over it that is held.
#[derive(Debug)]
pub struct Flow {
    name: String,
    from: PathBuf,
    to: SocketAddr,
    held: TcpStream,
}

impl Flow {
    /// Connects from a namespace.
    ///
    /// # Errors
    /// When nobody says anything back.
    pub fn hold(name: &str, from: &Path, to: impl Into<IpAddr>, port: u16) -> anyhow::Result<Self> {
        let to = SocketAddr::new(to.into(), port);
        let held = connect(from, to, HELD).with_context(|| name.to_owned())?;
        Ok(Self {
            name: name.to_owned(),
            from: from.to_owned(),
            to,
            held,
        })
    }

    /// Whether a new connection goes there now.
    ///
    /// # Errors
    /// When it does not.
    pub fn takes_another(&self) -> anyhow::Result<()> {
        connect(&self.from, self.to, NEW)
            .map(drop)
            .with_context(|| format!("a new connection: {}", self.name))
    }

    /// Whether the connection that is held still carries what is said.
    ///
    /// # Errors
    /// When it broke, or nothing comes back within ten seconds.
    pub fn lives(&mut self) -> anyhow::Result<()> {
        say(&mut self.held, HELD).with_context(|| format!("the connection that was held: {}", self.name))
    }
}

fn connect(from: &Path, to: SocketAddr, patience: Duration) -> anyhow::Result<TcpStream> {
    let mut stream = inside(from, || {
        TcpStream::connect_timeout(&to, patience).with_context(|| format!("connecting to {to}"))
    })?;
    say(&mut stream, patience)?;
    Ok(stream)
}

fn say(stream: &mut TcpStream, patience: Duration) -> anyhow::Result<()> {
    const WORD: &[u8] = b"still there?";
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(WORD).context("saying")?;
    let mut heard = [0; WORD.len()];
    stream.read_exact(&mut heard).context("hearing")?;
    ensure!(heard == WORD, "heard {heard:?}");
    Ok(())
}
