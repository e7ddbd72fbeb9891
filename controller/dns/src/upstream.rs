//! Forwarding what is not ours: the packet goes on as it came, under a number of its own, from a port of its own.
//!
//! A guessed answer must match the random number, the random port and the question (RFC 5452). Sockets are not kept:
//! one that stays open inside a sandbox's namespace would keep the namespace after its container.

use std::{
    fmt, io,
    net::{SocketAddr, TcpStream as StdTcpStream, UdpSocket as StdUdpSocket},
    os::fd::OwnedFd,
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, UdpSocket},
    time::timeout,
};

use crate::Request;

/// Servers that are tried.
const SERVERS: usize = 3;
const SERVFAIL: u8 = 2;
const REFUSED: u8 = 5;

/// How a query came, and so how it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// A stream of messages with their lengths.
    Tcp,
}

/// A way out: opens sockets in the namespace that servers are asked from.
pub trait Exit: Send + Sync + fmt::Debug {
    /// A fresh socket that can talk to `server`, neither bound nor connected.
    fn open(&self, server: SocketAddr, transport: Transport) -> io::Result<OwnedFd>;
}

/// The servers of a sandbox, and where to ask them from.
#[derive(Debug, Clone)]
pub struct Upstreams {
    /// In order; at most three are tried.
    pub servers: Vec<SocketAddr>,
    /// Where from.
    pub exit: Arc<dyn Exit>,
    /// How long one server may take.
    pub patience: Duration,
}

/// Asks the servers in order; the reply is given under the client's number. None when no server had one.
pub(crate) async fn forward(
    request: &Request,
    packet: &[u8],
    transport: Transport,
    upstreams: &Upstreams,
) -> Option<Vec<u8>> {
    let mut refusal = None;
    for server in upstreams.servers.iter().take(SERVERS) {
        let asked = ask(request, packet, transport, *server, &*upstreams.exit);
        match timeout(upstreams.patience, asked).await {
            Ok(Ok(mut reply)) => {
                reply[..2].copy_from_slice(&packet[..2]);
                if !matches!(reply[3] & 0x0f, SERVFAIL | REFUSED) {
                    return Some(reply);
                }
                refusal = Some(reply);
            }
            Ok(Err(error)) => tracing::debug!(%server, %error, "a server can't be asked"),
            Err(_) => tracing::debug!(%server, "a server does not answer"),
        }
    }
    refusal
}

async fn ask(
    request: &Request,
    packet: &[u8],
    transport: Transport,
    server: SocketAddr,
    exit: &dyn Exit,
) -> io::Result<Vec<u8>> {
    let id = random_id()?;
    let mut packet = packet.to_vec();
    packet[..2].copy_from_slice(&id.to_be_bytes());
    let socket = exit.open(server, transport)?;
    match transport {
        Transport::Udp => ask_udp(socket, server, &packet, |reply| request.is_answered_by(reply, id)).await,
        Transport::Tcp => ask_tcp(socket, server, &packet, |reply| request.is_answered_by(reply, id)).await,
    }
}

async fn ask_udp(
    socket: OwnedFd,
    server: SocketAddr,
    packet: &[u8],
    matches: impl Fn(&[u8]) -> bool,
) -> io::Result<Vec<u8>> {
    let socket = StdUdpSocket::from(socket);
    socket.set_nonblocking(true)?;
    let socket = UdpSocket::from_std(socket)?;
    // Connected: the kernel picks a random port and drops what others send.
    socket.connect(server).await?;
    socket.send(packet).await?;
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if matches(&buffer[..length]) {
            buffer.truncate(length);
            buffer.shrink_to_fit();
            return Ok(buffer);
        }
    }
}

async fn ask_tcp(
    socket: OwnedFd,
    server: SocketAddr,
    packet: &[u8],
    matches: impl Fn(&[u8]) -> bool,
) -> io::Result<Vec<u8>> {
    let socket = StdTcpStream::from(socket);
    socket.set_nonblocking(true)?;
    let mut stream = TcpSocket::from_std_stream(socket).connect(server).await?;
    write_message(&mut stream, packet).await?;
    loop {
        let reply = read_message(&mut stream).await?;
        if matches(&reply) {
            return Ok(reply);
        }
    }
}

/// Reads a message with its length in front (RFC 1035, 4.2.2).
pub(crate) async fn read_message(stream: &mut tokio::net::TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

/// Writes a message with its length in front.
pub(crate) async fn write_message(stream: &mut tokio::net::TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| io::Error::other("a message is too long"))?;
    let framed = [&length.to_be_bytes(), message].concat();
    stream.write_all(&framed).await
}

fn random_id() -> io::Result<u16> {
    let mut bytes = [0; 2];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(u16::from_be_bytes(bytes))
}
