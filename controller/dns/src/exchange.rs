//! One question to one server: from a port of its own, under a number of its own, until the reply to it comes.

use std::{
    fmt, io,
    net::{SocketAddr, TcpStream as StdTcpStream, UdpSocket as StdUdpSocket},
    os::fd::OwnedFd,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream, UdpSocket},
    time::timeout,
};

use crate::Request;

/// A datagram may be lost: it is sent again when nothing came for so long.
const AGAIN: Duration = Duration::from_millis(900);
/// What a datagram from a server may hold; we ask for less.
const LONGEST: usize = 4096;

/// How a query came, and so how it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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

/// Asks and waits for the reply, as long as that takes.
pub(crate) async fn ask(
    request: &Request,
    transport: Transport,
    server: SocketAddr,
    exit: &dyn Exit,
) -> io::Result<Vec<u8>> {
    let id = random_id()?;
    let packet = request.onward(id);
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
    let mut buffer = vec![0; LONGEST];
    loop {
        let Ok(received) = timeout(AGAIN, socket.recv(&mut buffer)).await else {
            socket.send(packet).await?;
            continue;
        };
        let length = received?;
        if matches(&buffer[..length]) {
            buffer.truncate(length);
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
pub(crate) async fn read_message(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

/// Writes a message with its length in front.
pub(crate) async fn write_message(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| io::Error::other("a message is too long"))?;
    let framed = [&length.to_be_bytes(), message].concat();
    stream.write_all(&framed).await
}

fn random_id() -> io::Result<u16> {
    let mut bytes = [0; 2];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(u16::from_be_bytes(bytes))
}
