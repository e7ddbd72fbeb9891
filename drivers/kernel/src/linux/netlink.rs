//! Requests and answers over netlink sockets. A socket remembers the namespace that it was opened in, so a namespace is
//! entered only to open one.
//!
//! The kernel works on a request before `send` returns: the answers are there when it does, so nothing here waits.

use std::{
    ffi::CStr,
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use model::InterfaceName;
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::{errno::Errno, libc};

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

/// `NLM_F_DUMP_INTR`: something changed while a dump went on, and what was listed may lack what did not change.
const INTERRUPTED: u16 = 0x10;
/// A dump that is interrupted so often is taken as it is: on so busy a host there is no better one.
const ATTEMPTS: usize = 10;

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
    /// Every answer so far was read to its end, so that none can be taken for another's.
    sound: bool,
}

/// One message of an answer.
pub(super) enum Answer {
    Object(RouteNetlinkMessage),
    Ack,
    Refused(Refusal),
    Done,
    /// An object that makes no sense to us, such as a link of somebody's exotic kind.
    Unreadable(io::Error),
}

/// What a dump has listed.
struct Listing {
    objects: Vec<RouteNetlinkMessage>,
    interrupted: bool,
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
            sound: true,
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
        loop {
            let (answers, _) = self.receive(first, 1)?;
            if let Some(answer) = answers.into_iter().next() {
                return match answer {
                    Answer::Object(object) => Ok(Some(object)),
                    Answer::Refused(refusal) if refusal.is_absence() => Ok(None),
                    Answer::Refused(refusal) => Err(refusal),
                    Answer::Unreadable(error) => Err(error.into()),
                    Answer::Ack | Answer::Done => Ok(None),
                };
            }
        }
    }

    /// Gets all objects of a kind, as far as the kernel filters them. One that can't be read is none of ours.
    pub(super) fn dump(
        &mut self,
        message: &RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, Refusal> {
        let mut attempts = 1..ATTEMPTS;
        loop {
            let listing = self.dump_once(message.clone())?;
            if !listing.interrupted || attempts.next().is_none() {
                return Ok(listing.objects);
            }
        }
    }

    fn dump_once(&mut self, message: RouteNetlinkMessage) -> Result<Listing, Refusal> {
        let first = self.send(vec![(message, DUMP)])?;
        let mut listing = Listing {
            objects: Vec::new(),
            interrupted: false,
        };
        loop {
            let (answers, interrupted) = self.receive(first, 1)?;
            listing.interrupted |= interrupted;
            for answer in answers {
                match answer {
                    Answer::Object(object) => listing.objects.push(object),
                    Answer::Refused(refusal) if refusal.is_absence() => return Ok(listing),
                    Answer::Refused(refusal) => return Err(refusal),
                    Answer::Unreadable(error) => tracing::debug!(%error, "left out of a list"),
                    Answer::Ack | Answer::Done => return Ok(listing),
                }
            }
        }
    }

    /// Asks for one change.
    pub(super) fn change(&mut self, message: RouteNetlinkMessage, flags: u16) -> Result<(), Refusal> {
        let mut answers = self.change_all(vec![(message, flags)]);
        answers.pop().unwrap_or(Ok(()))
    }

    /// Asks for many changes at once. The kernel goes on behind one that it refuses; there is one answer for each. When
    /// the socket fails, those without an answer are not known to be done, and the first of them tells why.
    pub(super) fn change_all(
        &mut self,
        mut messages: Vec<(RouteNetlinkMessage, u16)>,
    ) -> Vec<Result<(), Refusal>> {
        let total = messages.len();
        let mut answers = Vec::with_capacity(total);
        while !messages.is_empty() {
            let rest = messages.split_off(messages.len().min(BATCH));
            let batch = std::mem::replace(&mut messages, rest);
            if let Err(error) = self.exchange(batch, &mut answers) {
                answers.extend(unanswered(error, total - answers.len()).map(Err));
                break;
            }
        }
        answers
    }

    fn exchange(
        &mut self,
        batch: Vec<(RouteNetlinkMessage, u16)>,
        answers: &mut Vec<Result<(), Refusal>>,
    ) -> io::Result<()> {
        let count = batch.len();
        let wanted = answers.len() + count;
        let first = self.send(batch)?;
        while answers.len() < wanted {
            for answer in self.receive(first, count)?.0 {
                match answer {
                    Answer::Ack => answers.push(Ok(())),
                    Answer::Refused(refusal) => answers.push(Err(refusal)),
                    Answer::Unreadable(error) => return Err(error),
                    Answer::Object(_) | Answer::Done => {}
                }
            }
        }
        Ok(())
    }

    /// A link's name by its index. Every socket knows the links of its namespace, and says the name without all else
    /// that a message would tell of the link.
    pub(super) fn name_of(&self, index: u32) -> io::Result<Option<InterfaceName>> {
        let Ok(index) = libc::c_int::try_from(index) else {
            return Ok(None);
        };
        // SAFETY: all zeros is a valid request: its fields are numbers.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        request.ifr_ifru.ifru_ifindex = index;
        // SAFETY: the descriptor is open, and the kernel reads and writes no more than this structure.
        let answer = unsafe { libc::ioctl(self.socket.as_raw_fd(), libc::SIOCGIFNAME, &raw mut request) };
        match Errno::result(answer) {
            Ok(_) => {
                let name = request
                    .ifr_name
                    .map(|letter| u8::from_ne_bytes(letter.to_ne_bytes()));
                let name = CStr::from_bytes_until_nul(&name)
                    .ok()
                    .and_then(|name| name.to_str().ok());
                Ok(name.and_then(|name| InterfaceName::new(name).ok()))
            }
            Err(Errno::ENODEV) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Whether it may be used again: after an answer that was not read to its end the next could be taken for another's.
    pub(super) fn is_sound(&self) -> bool {
        self.sound
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

    /// One datagram's messages, without those that answer an earlier request, and whether their dump was interrupted.
    fn receive(&mut self, first: u32, count: usize) -> io::Result<(Vec<Answer>, bool)> {
        // Until its end is known to have been read.
        self.sound = false;
        let (bytes, _) = self.socket.recv_from_full()?;
        let mut answers = Vec::new();
        let mut interrupted = false;
        let mut rest = bytes.as_slice();
        while rest.len() >= HEADER {
            let length = u32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
            let flags = u16::from_ne_bytes([rest[6], rest[7]]);
            let sequence = u32::from_ne_bytes([rest[8], rest[9], rest[10], rest[11]]);
            if !(HEADER..=rest.len()).contains(&length) {
                return Err(malformed("a message is longer than its datagram"));
            }
            if (sequence.wrapping_sub(first) as usize) < count {
                interrupted |= flags & INTERRUPTED != 0;
                answers.push(read(&rest[..length]));
            }
            rest = &rest[aligned(length).min(rest.len())..];
        }
        self.sound = true;
        Ok((answers, interrupted))
    }
}

/// The refusals of so many changes that a failing socket left without an answer.
pub(super) fn unanswered(error: io::Error, count: usize) -> impl Iterator<Item = Refusal> {
    let kind = error.kind();
    let others = std::iter::repeat_with(move || io::Error::from(kind));
    [error].into_iter().chain(others).take(count).map(Refusal::from)
}

pub(super) fn read(bytes: &[u8]) -> Answer {
    let message = match NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes) {
        Ok(message) => message,
        Err(error) => return Answer::Unreadable(malformed(&error.to_string())),
    };
    match message.payload {
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
    }
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

#[cfg(test)]
mod tests;
