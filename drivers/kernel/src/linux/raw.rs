//! A netlink socket whose messages are written by hand, for the small families that only ask and delete.

use std::{io, os::fd::BorrowedFd};

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST};
use netlink_sys::{Socket, SocketAddr};
use nix::sys::socket::{setsockopt, sockopt};

use super::netns;

const HEADER: usize = 16;
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// `NLM_F_DUMP_INTR`: something changed while a dump went on.
const INTERRUPTED: u16 = 0x10;
/// Room for what a dump brings faster than it is read.
const BUFFER: usize = 4 << 20;
/// Requests in one datagram: their acknowledgements must fit the socket's buffer all at once.
const BATCH: usize = 100;

/// A socket to one netlink family, in the namespace where it was opened.
pub(super) struct Raw {
    socket: Socket,
    sequence: u32,
}

impl Raw {
    /// Opens one in a namespace.
    pub(super) fn open(netns: BorrowedFd<'_>, family: isize) -> io::Result<Self> {
        netns::inside(netns, || {
            let mut socket = Socket::new(family)?;
            socket.bind_auto()?;
            socket.connect(&SocketAddr::new(0, 0))?;
            socket.set_cap_ack(true)?;
            // Only who may administer the network can force it; without, a dump is slower.
            let _ = setsockopt(&socket, sockopt::RcvBufForce, &BUFFER);
            Ok(Self { socket, sequence: 0 })
        })
    }

    /// Everything that answers a request, each without its header. A change meanwhile is no error: what matters to a
    /// caller was there before it asked.
    pub(super) fn dump(&mut self, kind: u16, request: &[u8], mut each: impl FnMut(&[u8])) -> io::Result<()> {
        self.send(&[(kind, NLM_F_REQUEST | NLM_F_DUMP, request)])?;
        let sequence = self.sequence;
        loop {
            for answer in self.receive(sequence)? {
                match answer {
                    Answer::Object(payload) => each(&payload),
                    Answer::Status(0) | Answer::Done => return Ok(()),
                    Answer::Status(errno) => return Err(io::Error::from_raw_os_error(errno)),
                }
            }
        }
    }

    /// The one answer to a request; none if the kernel has none.
    pub(super) fn get(&mut self, kind: u16, request: &[u8]) -> io::Result<Option<Vec<u8>>> {
        self.send(&[(kind, NLM_F_REQUEST | NLM_F_ACK, request)])?;
        let sequence = self.sequence;
        let mut found = None;
        loop {
            for answer in self.receive(sequence)? {
                match answer {
                    Answer::Object(payload) => found = Some(payload),
                    Answer::Status(0) | Answer::Done => return Ok(found),
                    Answer::Status(errno) => return Err(io::Error::from_raw_os_error(errno)),
                }
            }
        }
    }

    /// Carries requests out and answers how many took place; what is gone already is no error.
    pub(super) fn delete(&mut self, kind: u16, requests: &[Vec<u8>]) -> io::Result<usize> {
        let mut deleted = 0;
        for batch in requests.chunks(BATCH) {
            let messages: Vec<_> = batch
                .iter()
                .map(|request| (kind, NLM_F_REQUEST | NLM_F_ACK, request.as_slice()))
                .collect();
            let first = self.sequence.wrapping_add(1);
            self.send(&messages)?;
            let mut answered = 0;
            while answered < batch.len() {
                for answer in self.receive_from(first, batch.len())? {
                    answered += 1;
                    match answer {
                        Answer::Status(0) => deleted += 1,
                        Answer::Status(nix::libc::ENOENT) => {}
                        Answer::Status(errno) => return Err(io::Error::from_raw_os_error(errno)),
                        Answer::Object(_) | Answer::Done => {}
                    }
                }
            }
        }
        Ok(deleted)
    }

    /// How many requests went out so far.
    #[cfg(test)]
    pub(super) const fn sent(&self) -> u32 {
        self.sequence
    }

    fn send(&mut self, messages: &[(u16, u16, &[u8])]) -> io::Result<()> {
        let mut datagram = Vec::new();
        for (kind, flags, payload) in messages {
            self.sequence = self.sequence.wrapping_add(1);
            let length = u32::try_from(HEADER + payload.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
            datagram.extend(length.to_ne_bytes());
            datagram.extend(kind.to_ne_bytes());
            datagram.extend(flags.to_ne_bytes());
            datagram.extend(self.sequence.to_ne_bytes());
            datagram.extend(0u32.to_ne_bytes());
            datagram.extend(*payload);
            datagram.resize(datagram.len().next_multiple_of(4), 0);
        }
        self.socket.send(&datagram, 0).map(drop)
    }

    fn receive(&self, sequence: u32) -> io::Result<Vec<Answer>> {
        self.receive_from(sequence, 1)
    }

    /// One datagram's answers to the requests from `first` on.
    fn receive_from(&self, first: u32, count: usize) -> io::Result<Vec<Answer>> {
        let (bytes, _) = self.socket.recv_from_full()?;
        let mut answers = Vec::new();
        let mut rest = bytes.as_slice();
        while rest.len() >= HEADER {
            let length = word(rest, 0) as usize;
            let message = rest.get(..length).filter(|message| message.len() >= HEADER);
            let message = message.ok_or(io::ErrorKind::UnexpectedEof)?;
            if (word(message, 8).wrapping_sub(first) as usize) < count {
                answers.push(read(message)?);
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(answers)
    }
}

enum Answer {
    Object(Vec<u8>),
    /// An error's number, or zero.
    Status(i32),
    Done,
}

fn read(message: &[u8]) -> io::Result<Answer> {
    let payload = &message[HEADER..];
    let kind = half(message, 4);
    if half(message, 6) & INTERRUPTED != 0 {
        tracing::trace!("something changed while it was listed");
    }
    Ok(match kind {
        ERROR if payload.len() >= 4 => Answer::Status(word(payload, 0).wrapping_neg().cast_signed()),
        ERROR => return Err(io::ErrorKind::UnexpectedEof.into()),
        // A dump that fails says so in its end.
        DONE if payload.len() >= 4 && word(payload, 0) != 0 => {
            Answer::Status(word(payload, 0).wrapping_neg().cast_signed())
        }
        DONE => Answer::Done,
        _ => Answer::Object(payload.to_vec()),
    })
}

/// The attributes of a message or of a nested attribute, by number without its flags.
pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        if bytes.len() < 4 {
            return None;
        }
        let length = usize::from(half(bytes, 0));
        let number = half(bytes, 2) & 0x3fff;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((number, value))
    })
}

/// One attribute of these.
pub(super) fn attribute(bytes: &[u8], number: u16) -> Option<&[u8]> {
    attributes(bytes).find_map(|(found, value)| (found == number).then_some(value))
}

/// Adds an attribute.
pub(super) fn push(bytes: &mut Vec<u8>, number: u16, value: &[u8]) {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    bytes.extend(length.to_ne_bytes());
    bytes.extend(number.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// The native-endian number at an offset that the caller knows to be inside.
pub(super) fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(attributes(&bytes).count() <= bytes.len() / 4);
            if bytes.len() >= HEADER {
                let _ = read(&bytes);
            }
        }
    }
}
