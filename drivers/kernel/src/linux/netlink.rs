//! Requests and answers over netlink sockets. A socket remembers the namespace that it was opened in, so a namespace is
//! entered only to open one.
//!
//! The kernel works on a request before `send` returns: the answers are there when it does, so nothing here waits.

use std::{
    io,
    os::fd::BorrowedFd,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use super::netns;

/// Asks for an acknowledgement.
const ACK: u16 = netlink_packet_core::NLM_F_REQUEST | netlink_packet_core::NLM_F_ACK;
/// Makes an object that must not be there.
pub(super) const CREATE: u16 = ACK | netlink_packet_core::NLM_F_CREATE | netlink_packet_core::NLM_F_EXCL;
/// Makes an object, or gives the one that is there new values.
pub(super) const REPLACE: u16 = ACK | netlink_packet_core::NLM_F_CREATE | netlink_packet_core::NLM_F_REPLACE;
/// Changes or removes an object that must be there.
pub(super) const CHANGE: u16 = ACK;
/// Asks for one object.
const GET: u16 = netlink_packet_core::NLM_F_REQUEST;
/// Asks for all objects of a kind.
const DUMP: u16 = netlink_packet_core::NLM_F_REQUEST | netlink_packet_core::NLM_F_DUMP;

/// Messages to one `send`: their acknowledgements must fit the socket's receive buffer all at once.
const BATCH: usize = 100;

/// Offset of an answer's error number and of the text behind it (`struct nlmsgerr`).
const HEADER: usize = 16;

/// A "no" from the kernel.
#[derive(Debug)]
pub(super) struct Refusal {
    /// Its error number.
    pub(super) source: io::Error,
    /// Its own words; empty if it had none.
    pub(super) detail: String,
}

impl From<Refusal> for io::Error {
    fn from(refusal: Refusal) -> Self {
        refusal.source
    }
}

impl From<io::Error> for Refusal {
    fn from(source: io::Error) -> Self {
        Self {
            source,
            detail: String::new(),
        }
    }
}

impl Refusal {
    /// Whether the kernel says that there is no such thing.
    pub(super) fn is_absence(&self) -> bool {
        use nix::libc::{EADDRNOTAVAIL, ENODEV, ENOENT, ESRCH};
        matches!(
            self.source.raw_os_error(),
            Some(ENODEV | ENOENT | ESRCH | EADDRNOTAVAIL)
        )
    }
}

/// A route netlink socket in some namespace.
pub(super) struct Connection {
    socket: Socket,
    sequence: u32,
    sent: Arc<AtomicU64>,
}

/// One message of an answer.
enum Answer {
    Object(RouteNetlinkMessage),
    Ack,
    Refused(Refusal),
    Done,
}

impl Connection {
    /// Opens one in the calling thread's namespace.
    pub(super) fn here() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // An acknowledgement then leaves the request out, but may say why it refuses.
        socket.set_cap_ack(true)?;
        socket.set_ext_ack(true)?;
        // Dumps then obey filters, on kernels that know how (4.20).
        let _ = socket.set_netlink_get_strict_chk(true);
        Ok(Self {
            socket,
            sequence: 0,
            sent: Arc::default(),
        })
    }

    /// Opens one in a namespace; `sent` counts its messages.
    pub(super) fn open(netns: BorrowedFd<'_>, sent: Arc<AtomicU64>) -> io::Result<Self> {
        let connection = netns::inside(netns, Self::here)?;
        Ok(Self { sent, ..connection })
    }

    /// Gets one object; none if the kernel says that there is no such thing.
    pub(super) fn get(
        &mut self,
        message: RouteNetlinkMessage,
    ) -> Result<Option<RouteNetlinkMessage>, Refusal> {
        let first = self.send(vec![(message, GET)])?;
        for answer in self.receive(first, 1)? {
            match answer {
                Answer::Object(object) => return Ok(Some(object)),
                Answer::Refused(refusal) if refusal.is_absence() => return Ok(None),
                Answer::Refused(refusal) => return Err(refusal),
                Answer::Ack | Answer::Done => {}
            }
        }
        Ok(None)
    }

    /// Gets all objects of a kind, as far as the kernel filters them.
    pub(super) fn dump(&mut self, message: RouteNetlinkMessage) -> Result<Vec<RouteNetlinkMessage>, Refusal> {
        let first = self.send(vec![(message, DUMP)])?;
        let mut objects = Vec::new();
        loop {
            for answer in self.receive(first, 1)? {
                match answer {
                    Answer::Object(object) => objects.push(object),
                    Answer::Refused(refusal) if refusal.is_absence() => return Ok(objects),
                    Answer::Refused(refusal) => return Err(refusal),
                    Answer::Ack | Answer::Done => return Ok(objects),
                }
            }
        }
    }

    /// Asks for one change.
    pub(super) fn change(&mut self, message: RouteNetlinkMessage, flags: u16) -> Result<(), Refusal> {
        let mut answers = self.change_all(vec![(message, flags)])?;
        answers.pop().unwrap_or(Ok(()))
    }

    /// Asks for many changes at once. The kernel goes on behind one that it refuses; there is one answer for each.
    pub(super) fn change_all(
        &mut self,
        mut messages: Vec<(RouteNetlinkMessage, u16)>,
    ) -> io::Result<Vec<Result<(), Refusal>>> {
        let mut answers = Vec::with_capacity(messages.len());
        while !messages.is_empty() {
            let rest = messages.split_off(messages.len().min(BATCH));
            let count = messages.len();
            let first = self.send(std::mem::replace(&mut messages, rest))?;
            self.acknowledged(first, count, &mut answers)?;
        }
        Ok(answers)
    }

    fn acknowledged(
        &mut self,
        first: u32,
        count: usize,
        answers: &mut Vec<Result<(), Refusal>>,
    ) -> io::Result<()> {
        let wanted = answers.len() + count;
        while answers.len() < wanted {
            for answer in self.receive(first, count)? {
                match answer {
                    Answer::Ack => answers.push(Ok(())),
                    Answer::Refused(refusal) => answers.push(Err(refusal)),
                    Answer::Object(_) | Answer::Done => {}
                }
            }
        }
        Ok(())
    }

    /// Sends messages in one datagram and returns the sequence number of the first.
    fn send(&mut self, messages: Vec<(RouteNetlinkMessage, u16)>) -> io::Result<u32> {
        let first = self.sequence.wrapping_add(1);
        self.sent.fetch_add(messages.len() as u64, Ordering::Relaxed);
        let mut bytes = Vec::with_capacity(messages.len() * 128);
        for (message, flags) in messages {
            self.sequence = self.sequence.wrapping_add(1);
            let mut message = NetlinkMessage::from(message);
            message.header.flags = flags;
            message.header.sequence_number = self.sequence;
            message.finalize();
            let from = bytes.len();
            bytes.resize(from + aligned(message.buffer_len()), 0);
            message.serialize(&mut bytes[from..]);
        }
        self.socket.send(&bytes, 0)?;
        Ok(first)
    }

    /// One datagram's messages, without those that answer an earlier request.
    fn receive(&mut self, first: u32, count: usize) -> io::Result<Vec<Answer>> {
        let (bytes, _) = self.socket.recv_from_full()?;
        let mut answers = Vec::new();
        let mut rest = bytes.as_slice();
        while rest.len() >= HEADER {
            let length = u32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
            let sequence = u32::from_ne_bytes([rest[8], rest[9], rest[10], rest[11]]);
            if !(HEADER..=rest.len()).contains(&length) {
                return Err(malformed("a message is longer than its datagram"));
            }
            if (sequence.wrapping_sub(first) as usize) < count {
                answers.push(read(&rest[..length])?);
            }
            rest = &rest[aligned(length).min(rest.len())..];
        }
        Ok(answers)
    }
}

fn read(bytes: &[u8]) -> io::Result<Answer> {
    let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes)
        .map_err(|error| malformed(&error.to_string()))?;
    Ok(match message.payload {
        NetlinkPayload::InnerMessage(object) => Answer::Object(object),
        NetlinkPayload::Error(error) if error.code.is_none() => Answer::Ack,
        NetlinkPayload::Error(error) => Answer::Refused(Refusal {
            source: error.to_io(),
            detail: kernels_words(bytes),
        }),
        NetlinkPayload::Done(done) if done.code < 0 => Answer::Refused(Refusal {
            source: io::Error::from_raw_os_error(-done.code),
            detail: String::new(),
        }),
        _ => Answer::Done,
    })
}

/// The text of an extended acknowledgement: attribute 1 (`NLMSGERR_ATTR_MSG`) behind error number and request header.
fn kernels_words(bytes: &[u8]) -> String {
    const TEXT: u16 = 1;
    let mut rest = bytes.get(HEADER + 4 + HEADER..).unwrap_or_default();
    while rest.len() >= 4 {
        let length = usize::from(u16::from_ne_bytes([rest[0], rest[1]]));
        let kind = u16::from_ne_bytes([rest[2], rest[3]]);
        let Some(value) = rest.get(4..length) else { break };
        if kind == TEXT {
            let text = value.strip_suffix(&[0]).unwrap_or(value);
            return String::from_utf8_lossy(text).into_owned();
        }
        rest = &rest[aligned(length).min(rest.len())..];
    }
    String::new()
}

const fn aligned(length: usize) -> usize {
    (length + 3) & !3
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the kernel's answer makes no sense: {what}"),
    )
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}
