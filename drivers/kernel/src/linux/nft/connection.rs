//! A socket to nf_tables, in the namespace where it was opened.

use std::{io, os::fd::BorrowedFd};

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use nix::{
    libc,
    sys::socket::{setsockopt, sockopt},
};

use super::message::{Message, SUBSYSTEM};
use crate::linux::netns;

/// Sizes of both buffers: a transaction is one datagram, and its answers must all fit. Memory is taken as needed.
const BUFFERS: usize = 16 << 20;

const HEADER: usize = 16;
/// Family, version and resource id, in front of the attributes.
const FAMILY_HEADER: usize = 4;

/// `NLM_F_DUMP_INTR`: something changed while a dump went on.
const INTERRUPTED: u16 = 0x10;
/// A dump that is interrupted so often fails: somebody changes rules without end, and nobody may hold us up for ever.
const ATTEMPTS: usize = 100;

const ERROR: u16 = 2;
const DONE: u16 = 3;

/// A socket to nf_tables.
pub(in crate::linux) struct Connection {
    socket: Socket,
    sequence: u32,
    port: u32,
}

/// A message received: an object, or an answer to a request.
pub(super) struct Answer {
    pub(super) sequence: u32,
    pub(super) content: Content,
}

pub(super) enum Content {
    /// Number of the message and its attributes.
    Object { family: u8, attributes: Vec<u8> },
    /// Zero for success.
    Status(i32),
    /// The end of a dump.
    Done,
}

impl Connection {
    /// Opens one in the calling thread's namespace.
    pub(in crate::linux) fn here() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        let port = socket.bind_auto()?.port_number();
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_cap_ack(true)?;
        // Only who may administer the network can force these; who may not can't commit anything either.
        let _ = setsockopt(&socket, sockopt::SndBufForce, &BUFFERS);
        let _ = setsockopt(&socket, sockopt::RcvBufForce, &BUFFERS);
        Ok(Self {
            socket,
            sequence: 0,
            port,
        })
    }

    /// Opens one in a namespace.
    pub(in crate::linux) fn open(netns: BorrowedFd<'_>) -> io::Result<Self> {
        netns::inside(netns, Self::here)
    }

    /// The number that the kernel has for it, and stamps announcements of its changes with.
    pub(in crate::linux) const fn port(&self) -> u32 {
        self.port
    }

    /// The next sequence number.
    pub(super) fn next(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    pub(super) fn send(&self, datagram: &[u8]) -> io::Result<()> {
        self.socket.send(datagram, 0).map(drop)
    }

    /// The messages of one datagram.
    pub(super) fn receive(&self) -> io::Result<Vec<Answer>> {
        let (datagram, _) = self.socket.recv_from_full()?;
        split(&datagram)
    }

    /// Takes the answers out that an earlier request left behind.
    pub(super) fn drain(&self) {
        let mut buffer = Vec::with_capacity(1);
        while self
            .socket
            .recv(&mut buffer, libc::MSG_DONTWAIT | libc::MSG_TRUNC)
            .is_ok()
        {
            buffer.clear();
        }
    }

    /// Gets what the message names: its family and attributes; none if there is no such thing.
    pub(super) fn get(&mut self, message: &Message) -> io::Result<Option<(u8, Vec<u8>)>> {
        let sequence = self.next();
        self.send(&message.encode(NLM_F_REQUEST | NLM_F_ACK, sequence))?;
        let mut found = None;
        loop {
            for answer in self
                .receive()?
                .into_iter()
                .filter(|answer| answer.sequence == sequence)
            {
                match answer.content {
                    Content::Object { family, attributes } => found = Some((family, attributes)),
                    Content::Status(0) | Content::Done => return Ok(found),
                    Content::Status(libc::ENOENT) => return Ok(None),
                    Content::Status(errno) => return Err(io::Error::from_raw_os_error(errno)),
                }
            }
        }
    }

    /// Gets everything that the message asks for. Starts again when something changed meanwhile.
    pub(super) fn dump(&mut self, message: &Message) -> io::Result<Vec<(u8, Vec<u8>)>> {
        let mut attempts = 1..ATTEMPTS;
        loop {
            let error = match self.dump_once(message) {
                Ok(found) => return Ok(found),
                Err(error) => error,
            };
            self.drain();
            if error.kind() != io::ErrorKind::Interrupted || attempts.next().is_none() {
                return Err(error);
            }
        }
    }

    fn dump_once(&mut self, message: &Message) -> io::Result<Vec<(u8, Vec<u8>)>> {
        let sequence = self.next();
        self.send(&message.encode(NLM_F_REQUEST | NLM_F_DUMP, sequence))?;
        let mut found = Vec::new();
        loop {
            for answer in self
                .receive()?
                .into_iter()
                .filter(|answer| answer.sequence == sequence)
            {
                match answer.content {
                    Content::Object { family, attributes } => found.push((family, attributes)),
                    Content::Status(0) | Content::Done => return Ok(found),
                    Content::Status(libc::ENOENT) => return Ok(Vec::new()),
                    Content::Status(errno) => return Err(io::Error::from_raw_os_error(errno)),
                }
            }
        }
    }
}

/// Cuts a datagram into its messages.
pub(super) fn split(mut datagram: &[u8]) -> io::Result<Vec<Answer>> {
    let mut answers = Vec::new();
    while datagram.len() >= HEADER {
        let length = number(datagram, 0) as usize;
        let message = datagram.get(..length).filter(|message| message.len() >= HEADER);
        let message = message.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        answers.push(read(message)?);
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(answers)
}

fn read(message: &[u8]) -> io::Result<Answer> {
    let [kind, flags] = [half(message, 4), half(message, 6)];
    if flags & INTERRUPTED != 0 {
        return Err(io::ErrorKind::Interrupted.into());
    }
    let payload = &message[HEADER..];
    let content = match kind {
        ERROR if payload.len() >= 4 => Content::Status(number(payload, 0).wrapping_neg().cast_signed()),
        DONE => Content::Done,
        kind if kind >> 8 == SUBSYSTEM && payload.len() >= FAMILY_HEADER => Content::Object {
            family: payload[0],
            attributes: payload[FAMILY_HEADER..].to_vec(),
        },
        _ => return Err(io::ErrorKind::InvalidData.into()),
    };
    Ok(Answer {
        sequence: number(message, 8),
        content,
    })
}

/// The native-endian number at an offset that the caller knows to be inside.
fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}
