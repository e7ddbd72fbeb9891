//! Serving one sandbox: a UDP and a TCP socket, opened inside its namespace, read outside it.
//!
//! Local answers are given at once, without a task. Whatever waits (forwards, TCP clients) is bounded, and is gone with
//! its sockets when [`Running::stop`] returns: an open socket would keep the namespace alive.

use std::{
    io,
    net::{SocketAddr, TcpListener as StdTcpListener, UdpSocket as StdUdpSocket},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use hickory_proto::op::ResponseCode;
use tokio::{
    net::{TcpListener, TcpStream, UdpSocket},
    sync::{Semaphore, oneshot},
    task::{JoinHandle, JoinSet},
    time::timeout,
};

use crate::{
    Answer, Malformed, Query, Request, Upstreams,
    upstream::{Transport, forward, read_message, write_message},
};

/// Packets taken in one go before others get their turn.
const BATCH: usize = 32;
/// The longest query we read over UDP; more is no honest query.
const LONGEST: usize = 4096;

/// Where a sandbox's answers come from.
pub trait Source: Send + Sync + 'static {
    /// The decision; `turn` grows with every query.
    fn answer(&self, query: &Query, turn: u32) -> Answer;
    /// The servers for everything else, as of now; none when nothing may be forwarded.
    fn upstreams(&self) -> Option<Upstreams>;
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
pub fn serve(sockets: Sockets, source: Arc<dyn Source>, limits: Limits) -> io::Result<Running> {
    sockets.udp.set_nonblocking(true)?;
    sockets.tcp.set_nonblocking(true)?;
    let server = Server {
        udp: Arc::new(UdpSocket::from_std(sockets.udp)?),
        tcp: TcpListener::from_std(sockets.tcp)?,
        desk: Arc::new(Desk {
            source,
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
    udp: Arc<UdpSocket>,
    tcp: TcpListener,
    desk: Arc<Desk>,
    connections: Arc<Semaphore>,
    tasks: JoinSet<()>,
}

/// What UDP and TCP share.
struct Desk {
    source: Arc<dyn Source>,
    turn: AtomicU32,
    forwards: Semaphore,
    idle: Duration,
}

/// What a packet leads to at once.
enum Step {
    Reply(Vec<u8>),
    Ignore,
    Forward(Request),
}

impl Server {
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        loop {
            let more_clients = self.connections.available_permits() > 0;
            tokio::select! {
                _ = &mut stopped => break,
                Ok(()) = self.udp.readable() => self.take_datagrams(),
                Ok((stream, _)) = self.tcp.accept(), if more_clients => self.take_client(stream),
                Some(_) = self.tasks.join_next() => {}
            }
        }
        self.tasks.shutdown().await;
    }

    /// The buffer lives on the stack, not in the task: an idle sandbox costs no page for it.
    fn take_datagrams(&mut self) {
        let mut buffer = [0; LONGEST];
        for _ in 0..BATCH {
            let Ok((length, client)) = self.udp.try_recv_from(&mut buffer) else {
                return;
            };
            let packet = &buffer[..length];
            match self.desk.look_at(packet, Transport::Udp) {
                // A full send buffer loses a datagram, as the network would; the client asks again.
                Step::Reply(reply) => drop(self.udp.try_send_to(&reply, client)),
                Step::Ignore => {}
                Step::Forward(request) => self.forward(request, packet.to_vec(), client),
            }
        }
    }

    fn forward(&mut self, request: Request, packet: Vec<u8>, client: SocketAddr) {
        let (udp, desk) = (Arc::clone(&self.udp), Arc::clone(&self.desk));
        self.tasks.spawn(async move {
            let reply = desk.forward(&request, &packet, Transport::Udp).await;
            udp.send_to(&reply, client).await.ok();
        });
    }

    fn take_client(&mut self, stream: TcpStream) {
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
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        match request
            .query
            .as_ref()
            .map_or(Answer::Forward, |query| self.source.answer(query, turn))
        {
            Answer::Forward => Step::Forward(request),
            answer => Step::Reply(request.reply(&answer, transport == Transport::Udp)),
        }
    }

    /// Always a reply: a client that waits for nothing is slower than one that is refused.
    async fn forward(&self, request: &Request, packet: &[u8], transport: Transport) -> Vec<u8> {
        let Ok(_permit) = self.forwards.try_acquire() else {
            return request.refuse(ResponseCode::Refused);
        };
        let reply = match self.source.upstreams() {
            Some(upstreams) => forward(request, packet, transport, &upstreams).await,
            None => None,
        };
        reply.unwrap_or_else(|| request.refuse(ResponseCode::ServFail))
    }

    async fn converse(&self, mut stream: TcpStream) -> io::Result<()> {
        loop {
            let packet = timeout(self.idle, read_message(&mut stream)).await??;
            let reply = match self.look_at(&packet, Transport::Tcp) {
                Step::Reply(reply) => reply,
                Step::Ignore => return Ok(()),
                Step::Forward(request) => self.forward(&request, &packet, Transport::Tcp).await,
            };
            timeout(self.idle, write_message(&mut stream, &reply)).await??;
        }
    }
}

#[cfg(test)]
mod tests;
