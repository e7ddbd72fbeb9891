//! Serving one sandbox: a UDP and a TCP socket, opened inside its namespace, read outside it.
//!
//! Local answers are given at once, without a task. Whatever waits (forwards, TCP clients) is bounded, and is gone with
//! its sockets when [`Running::stop`] returns: an open socket would keep the namespace alive.

use std::{
    io,
    net::{SocketAddr, TcpListener as StdTcpListener, UdpSocket as StdUdpSocket},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{
    net::{TcpListener, TcpStream, UdpSocket},
    sync::{Semaphore, oneshot},
    task::{JoinHandle, JoinSet},
    time::timeout,
};

use crate::{
    Answer, Malformed, Query, Request, Upstreams, datagrams,
    exchange::{Transport, read_message, write_message},
    upstream::Resolved,
    wire::code,
};

/// Where a sandbox's answers come from.
pub trait Source: Send + Sync + 'static {
    /// The decision; `turn` grows with every query.
    fn answer(&self, query: &Query, turn: u32) -> Answer;
    /// The servers for everything else, as of now; none when nothing may be forwarded.
    fn upstreams(&self, query: Option<&Query>) -> Option<Arc<Upstreams>>;
    /// Whether this client is answered at all.
    fn admits(&self, _client: SocketAddr) -> bool {
        true
    }
}

/// What was asked and what became of it. Counted by whoever serves, read by anybody.
#[derive(Debug, Default)]
pub struct Counters {
    queries: AtomicU64,
    local: AtomicU64,
    cached: AtomicU64,
    forwarded: AtomicU64,
    failed: AtomicU64,
}

/// [`Counters`] at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Questions that were understood.
    pub queries: u64,
    /// Answered from names of ours.
    pub local: u64,
    /// Answered with what a server said before.
    pub cached: u64,
    /// Sent on to servers.
    pub forwarded: u64,
    /// Refused, or no server had an answer.
    pub failed: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.queries += other.queries;
        self.local += other.local;
        self.cached += other.cached;
        self.forwarded += other.forwarded;
        self.failed += other.failed;
    }
}

impl Counters {
    /// As of now.
    pub fn read(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            queries: read(&self.queries),
            local: read(&self.local),
            cached: read(&self.cached),
            forwarded: read(&self.forwarded),
            failed: read(&self.failed),
        }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// The sockets of one sandbox.
#[derive(Debug)]
pub struct Sockets {
    /// For datagrams.
    pub udp: StdUdpSocket,
    /// For streams.
    pub tcp: StdTcpListener,
}

/// Bounds for each sandbox, so that one can't starve the others.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Forwards under way; more are refused.
    pub forwards: usize,
    /// TCP clients; more wait in the kernel's queue.
    pub connections: usize,
    /// How long a TCP client may be idle.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            forwards: 256,
            connections: 64,
            idle: Duration::from_secs(10),
        }
    }
}

/// A sandbox being served.
#[derive(Debug)]
pub struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    /// Ends service; the sockets are closed when this returns.
    pub async fn stop(self) {
        drop(self.stop);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "a name server did not end well");
        }
    }
}

/// Serves a sandbox on the current runtime until stopped.
pub fn serve(
    sockets: Sockets,
    source: Arc<dyn Source>,
    limits: Limits,
    counters: Arc<Counters>,
) -> io::Result<Running> {
    sockets.udp.set_nonblocking(true)?;
    sockets.tcp.set_nonblocking(true)?;
    let server = Server {
        is_ipv4: sockets.udp.local_addr()?.is_ipv4(),
        udp: Arc::new(UdpSocket::from_std(sockets.udp)?),
        tcp: TcpListener::from_std(sockets.tcp)?,
        desk: Arc::new(Desk {
            source,
            counters,
            turn: AtomicU32::new(0),
            forwards: Semaphore::new(limits.forwards),
            idle: limits.idle,
        }),
        connections: Arc::new(Semaphore::new(limits.connections)),
        tasks: JoinSet::new(),
    };
    let (stop, stopped) = oneshot::channel();
    Ok(Running {
        stop,
        task: tokio::spawn(server.run(stopped)),
    })
}

struct Server {
    is_ipv4: bool,
    udp: Arc<UdpSocket>,
    tcp: TcpListener,
    desk: Arc<Desk>,
    connections: Arc<Semaphore>,
    tasks: JoinSet<()>,
}

/// What UDP and TCP share.
struct Desk {
    source: Arc<dyn Source>,
    counters: Arc<Counters>,
    turn: AtomicU32,
    forwards: Semaphore,
    idle: Duration,
}

/// What a packet leads to at once.
enum Step {
    Reply(Vec<u8>),
    Ignore,
    Forward(Request, Option<Arc<Upstreams>>),
}

impl Server {
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        loop {
            let more_clients = self.connections.available_permits() > 0;
            tokio::select! {
                _ = &mut stopped => break,
                Ok(()) = self.udp.readable() => self.take_datagrams(),
                Ok((stream, client)) = self.tcp.accept(), if more_clients => self.take_client(stream, client),
                Some(_) = self.tasks.join_next() => {}
            }
        }
        self.tasks.shutdown().await;
    }

    fn take_datagrams(&mut self) {
        let Self { udp, desk, tasks, .. } = self;
        datagrams::exchange(udp, self.is_ipv4, |packet, client| {
            if !desk.source.admits(client) {
                return None;
            }
            match desk.look_at(packet, Transport::Udp) {
                Step::Reply(reply) => Some(reply),
                Step::Ignore => None,
                Step::Forward(request, upstreams) => {
                    let (udp, desk) = (Arc::clone(udp), Arc::clone(desk));
                    tasks.spawn(async move {
                        let (reply, late) = desk.forward(&request, upstreams, Transport::Udp).await;
                        udp.send_to(&reply, client).await.ok();
                        if let Some(late) = late {
                            late.await;
                        }
                    });
                    None
                }
            }
        });
    }

    fn take_client(&mut self, stream: TcpStream, client: SocketAddr) {
        if !self.desk.source.admits(client) {
            return;
        }
        let Ok(permit) = Arc::clone(&self.connections).try_acquire_owned() else {
            return;
        };
        let desk = Arc::clone(&self.desk);
        self.tasks.spawn(async move {
            // The client's own mistakes and hang-ups are no news.
            desk.converse(stream).await.ok();
            drop(permit);
        });
    }
}

impl Desk {
    fn look_at(&self, packet: &[u8], transport: Transport) -> Step {
        let request = match Request::parse(packet) {
            Ok(request) => request,
            Err(Malformed::Silent) => return Step::Ignore,
            Err(Malformed::Reply(reply)) => return Step::Reply(reply),
        };
        count(&self.counters.queries);
        let over_udp = transport == Transport::Udp;
        if let Some(query) = &request.query {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            match self.source.answer(query, turn) {
                Answer::Forward => {}
                Answer::Refuse => {
                    count(&self.counters.failed);
                    return Step::Reply(request.refuse(code::REFUSED));
                }
                answer => {
                    count(&self.counters.local);
                    return Step::Reply(request.reply(&answer, over_udp));
                }
            }
        }
        let upstreams = self.source.upstreams(request.query.as_ref());
        match upstreams
            .as_ref()
            .and_then(|upstreams| upstreams.known(&request, transport))
        {
            Some(reply) => {
                count(&self.counters.cached);
                Step::Reply(reply)
            }
            None => Step::Forward(request, upstreams),
        }
    }

    /// Always a reply: a client that waits for nothing is slower than one that is refused.
    async fn forward(
        &self,
        request: &Request,
        upstreams: Option<Arc<Upstreams>>,
        transport: Transport,
    ) -> (Vec<u8>, Option<impl Future + use<>>) {
        let Ok(_permit) = self.forwards.try_acquire() else {
            count(&self.counters.failed);
            return (request.refuse(code::REFUSED), None);
        };
        let resolved = match upstreams {
            Some(upstreams) => {
                count(&self.counters.forwarded);
                upstreams.resolve(request, transport).await
            }
            None => Resolved::default(),
        };
        let reply = resolved.reply.unwrap_or_else(|| {
            count(&self.counters.failed);
            request.refuse(code::SERV_FAIL)
        });
        (reply, resolved.late)
    }

    async fn converse(&self, mut stream: TcpStream) -> io::Result<()> {
        loop {
            let packet = timeout(self.idle, read_message(&mut stream)).await??;
            let reply = match self.look_at(&packet, Transport::Tcp) {
                Step::Reply(reply) => reply,
                Step::Ignore => return Ok(()),
                Step::Forward(request, upstreams) => {
                    self.forward(&request, upstreams, Transport::Tcp).await.0
                }
            };
            timeout(self.idle, write_message(&mut stream, &reply)).await??;
        }
    }
}

#[cfg(test)]
mod tests;
