//! The relay: published ports that translation of addresses can't lead to a container.
//!
//! Those are `[::1]`, which the kernel never translates; a host address of one family for a container that has only the
//! other; and ports that the host's own input policy is to decide about, which it does for what ends on the host. A few
//! threads serve all of them, apart from the names'. SCTP is not relayed: few hosts have sockets for it.

mod plan;
mod streams;
mod udp;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    os::fd::{AsRawFd as _, OwnedFd},
    sync::Arc,
};

use model::{Protocol, SandboxId};
use nix::{
    errno::Errno,
    sys::socket::{
        AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, listen, setsockopt, socket,
        sockopt::{Ipv6V6Only, KeepAlive, ReuseAddr, TcpNoDelay},
    },
};
use tokio::{
    runtime::{Builder, Runtime},
    sync::{Semaphore, oneshot},
    task::JoinHandle,
};

pub(super) use plan::{Relay, relays};
use streams::{Door, Streams};

/// Connections and UDP clients of all relays together.
const CLIENTS: usize = 4096;

/// The relays that run.
pub(super) struct Relays {
    clients: Arc<Semaphore>,
    streams: Option<Streams>,
    datagrams: Option<Datagrams>,
    running: BTreeMap<SandboxId, BTreeMap<Relay, Running>>,
}

/// The thread that all relays of datagrams share.
struct Datagrams(Option<Runtime>);

enum Running {
    Streams(Door),
    Datagrams {
        stop: oneshot::Sender<()>,
        task: JoinHandle<()>,
    },
}

impl Default for Relays {
    fn default() -> Self {
        Self {
            clients: Arc::new(Semaphore::new(CLIENTS)),
            streams: None,
            datagrams: None,
            running: BTreeMap::new(),
        }
    }
}

impl Relays {
    /// Whether any leads to this sandbox.
    pub(super) fn has(&self, sandbox: SandboxId) -> bool {
        self.running.contains_key(&sandbox)
    }

    /// Ends a sandbox's relays but for these; their sockets are closed when this returns.
    pub(super) async fn stop_others(&mut self, sandbox: SandboxId, wanted: &BTreeSet<Relay>) {
        let Some(running) = self.running.get_mut(&sandbox) else {
            return;
        };
        let surplus: Vec<_> = running
            .keys()
            .filter(|relay| !wanted.contains(relay))
            .copied()
            .collect();
        for relay in surplus {
            match running.remove(&relay) {
                Some(Running::Streams(door)) => {
                    if let Some(streams) = &self.streams {
                        streams.close(&door).await;
                    }
                }
                Some(Running::Datagrams { stop, task }) => {
                    drop(stop);
                    task.await.unwrap_or_default();
                }
                None => {}
            }
        }
        if running.is_empty() {
            self.running.remove(&sandbox);
        }
    }

    /// Starts those of a sandbox's relays that don't run. Gives the first reason why one can't.
    pub(super) fn start(&mut self, sandbox: SandboxId, wanted: &BTreeSet<Relay>) -> Option<String> {
        let mut trouble = None;
        for relay in wanted {
            let running = self.running.get(&sandbox);
            if running.is_some_and(|running| running.contains_key(relay)) {
                continue;
            }
            match self.begin(*relay) {
                Ok(Some(running)) => {
                    self.running.entry(sandbox).or_default().insert(*relay, running);
                }
                Ok(None) => {}
                Err(error) => {
                    trouble.get_or_insert(format!("{relay}: {error}"));
                }
            }
        }
        trouble
    }

    fn begin(&mut self, relay: Relay) -> io::Result<Option<Running>> {
        let socket = match open(&relay) {
            Ok(socket) => socket,
            // Nobody asks for an address that the host has not: without IPv6 there is no [::1].
            Err(Errno::EADDRNOTAVAIL | Errno::EAFNOSUPPORT) if is_everybodys(relay.listen.ip()) => {
                return Ok(None);
            }
            Err(Errno::EADDRINUSE) => return Err(io::Error::other("another process has this port")),
            Err(errno) => return Err(errno.into()),
        };
        if relay.protocol == Protocol::Tcp {
            let streams = match &mut self.streams {
                Some(streams) => streams,
                none => none.insert(Streams::start(&self.clients)?),
            };
            return Ok(Some(Running::Streams(streams.open(socket, relay.target))));
        }
        let datagrams = match &mut self.datagrams {
            Some(datagrams) => datagrams,
            none => none.insert(Datagrams::start()?),
        };
        let Some(runtime) = &datagrams.0 else {
            return Ok(None);
        };
        let (stop, stopped) = oneshot::channel();
        let _inside = runtime.enter();
        let socket = udp::socket(socket, relay.listen.is_ipv4())?;
        let task = runtime.spawn(udp::serve(
            socket,
            relay.target,
            Arc::clone(&self.clients),
            stopped,
        ));
        Ok(Some(Running::Datagrams { stop, task }))
    }
}

impl Datagrams {
    fn start() -> io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        let runtime = builder
            .worker_threads(1)
            .thread_name("relay-udp")
            .enable_all()
            .build()?;
        Ok(Self(Some(runtime)))
    }
}

impl Drop for Datagrams {
    /// Waiting for a runtime's end inside another one is not allowed.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

fn is_everybodys(address: IpAddr) -> bool {
    address == Ipv6Addr::LOCALHOST || address == Ipv6Addr::UNSPECIFIED
}

/// A socket for one family alone: the other family's is another relay's, or nobody's.
fn open(relay: &Relay) -> nix::Result<OwnedFd> {
    let (family, kind) = match (relay.listen, relay.protocol) {
        (SocketAddr::V4(_), Protocol::Tcp) => (AddressFamily::Inet, SockType::Stream),
        (SocketAddr::V4(_), _) => (AddressFamily::Inet, SockType::Datagram),
        (SocketAddr::V6(_), Protocol::Tcp) => (AddressFamily::Inet6, SockType::Stream),
        (SocketAddr::V6(_), _) => (AddressFamily::Inet6, SockType::Datagram),
    };
    let socket = socket(
        family,
        kind,
        SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
        None,
    )?;
    if relay.listen.is_ipv6() {
        setsockopt(&socket, Ipv6V6Only, &true)?;
    }
    if relay.protocol == Protocol::Tcp {
        setsockopt(&socket, ReuseAddr, &true)?;
        // What is taken from it inherits these: small answers go at once, and clients that are gone are found.
        setsockopt(&socket, TcpNoDelay, &true)?;
        setsockopt(&socket, KeepAlive, &true)?;
    }
    bind(socket.as_raw_fd(), &SockaddrStorage::from(relay.listen))?;
    if relay.protocol == Protocol::Tcp {
        listen(&socket, Backlog::new(1024)?)?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests;
