//! DNS messages at the boundary: foreign bytes in, our answers out.
//!
//! Read and written by ourselves: a question is a few bytes, and every client of every container waits for this. The
//! tests hold it against a whole implementation.

use std::net::IpAddr;

use crate::{
    Answer,
    wire::{self, HEADER, code, u16_at},
};

/// Seconds that our answers may be kept.
const TTL: u32 = 600;
/// What a client without EDNS takes over UDP (RFC 1035, 4.2.1).
const PLAIN_UDP: u16 = 512;
/// What we take from servers over UDP: fits every path without fragments.
pub(crate) const OUR_UDP: u16 = 1232;
/// The most that is sent to a client over UDP, whatever it says to take.
const MOST_UDP: u16 = 4096;
/// An EDNS record without options.
const OPT_BYTES: usize = 11;
/// A pointer to the question's name.
const SAME_NAME: [u8; 2] = [0xc0, 12];

const RESPONSE: u8 = 0x80;
const TRUNCATED: u8 = 0x02;
const RECURSION_DESIRED: u8 = 0x01;
const RECURSION_AVAILABLE: u8 = 0x80;
const AUTHENTIC: u8 = 0x20;
const CHECKING_DISABLED: u8 = 0x10;
const DNSSEC_OK: u8 = 0x80;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A.
    Ipv4,
    /// AAAA.
    Ipv6,
    /// PTR, of this address.
    Pointer(IpAddr),
    /// SRV.
    Service,
    /// Every kind.
    Any,
    /// Something that none of our names has.
    Other,
}

/// A question, as the decision sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The name in lower case, without the dot at its end.
    pub name: String,
    /// What is asked for.
    pub kind: Kind,
}

/// A request that was understood.
#[derive(Debug, Clone)]
pub struct Request {
    id: u16,
    flags: [u8; 2],
    /// Name, kind and class, as they came.
    question: Vec<u8>,
    edns: Option<Edns>,
    /// The question; none when it can't be ours (another class, a name that no text can have).
    pub query: Option<Query>,
}

/// What a client says about itself (RFC 6891).
#[derive(Debug, Clone, Copy)]
struct Edns {
    payload: u16,
    dnssec_ok: bool,
}

/// What can't be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Malformed {
    /// Not worth an answer: no header, or itself an answer.
    Silent,
    /// Answered with this.
    Reply(Vec<u8>),
}

impl Request {
    /// Reads a packet.
    pub fn parse(packet: &[u8]) -> Result<Self, Malformed> {
        if packet.len() < HEADER || packet[2] & RESPONSE != 0 {
            return Err(Malformed::Silent);
        }
        if (packet[2] >> 3) & 0x0f != 0 {
            return Err(Malformed::Reply(failure(packet, code::NOT_IMP)));
        }
        let wrong = || Malformed::Reply(failure(packet, code::FORM_ERR));
        let end = question_end(packet).ok_or_else(wrong)?;
        let (edns, version) = edns(packet, end).ok_or_else(wrong)?;
        let request = Self {
            id: u16::from_be_bytes([packet[0], packet[1]]),
            flags: [packet[2], packet[3]],
            question: packet[HEADER..end].to_vec(),
            edns,
            query: query(&packet[HEADER..end]),
        };
        match version {
            0 => Ok(request),
            // The version that we know is in the reply (RFC 6891, 6.1.3).
            _ => {
                let mut reply = request.start(code::NO_ERROR);
                request.finish(&mut reply, code::BAD_VERSION);
                Err(Malformed::Reply(reply))
            }
        }
    }

    /// Writes the answer. Over UDP it is cut to what the client takes, with the mark to ask again over TCP.
    pub fn reply(&self, answer: &Answer, over_udp: bool) -> Vec<u8> {
        let mut reply = self.start(code::NO_ERROR);
        match answer {
            Answer::Addresses(addresses) => {
                for address in addresses {
                    reply.extend_from_slice(&SAME_NAME);
                    write_address(&mut reply, *address);
                }
                count(&mut reply, 6, addresses.len());
            }
            Answer::Pointer(target) => {
                // A container's name may be longer than a label can be.
                let whole = reply.len();
                reply.extend_from_slice(&SAME_NAME);
                let written = write_record(&mut reply, wire::PTR, |data| wire::write_name(data, target));
                match written {
                    true => count(&mut reply, 6, 1),
                    false => reply.truncate(whole),
                }
            }
            Answer::Services(services) => write_services(&mut reply, services),
            Answer::Nothing | Answer::Forward | Answer::Refuse => {}
        }
        self.finish(&mut reply, 0);
        self.fit(reply, over_udp)
    }

    /// Writes a reply without an answer.
    pub(crate) fn refuse(&self, code: u8) -> Vec<u8> {
        let mut reply = self.start(code);
        self.finish(&mut reply, 0);
        reply
    }

    /// The reply of a server, made the reply to this request: its number, its spelling, its length.
    pub(crate) fn adopt(&self, mut reply: Vec<u8>, over_udp: bool) -> Vec<u8> {
        reply[..2].copy_from_slice(&self.id.to_be_bytes());
        if u16_at(&reply, 4) == Some(1)
            && let Some(question) = reply.get_mut(HEADER..HEADER + self.question.len())
        {
            question.copy_from_slice(&self.question);
        }
        self.fit(reply, over_udp)
    }

    /// The question for a server: nothing of the client's but what it asks and how it wants it. Cookies and the like
    /// are between two neighbours and end here.
    pub(crate) fn onward(&self, id: u16) -> Vec<u8> {
        let mut packet = Vec::with_capacity(HEADER + self.question.len() + 11);
        packet.extend_from_slice(&id.to_be_bytes());
        packet.push(self.flags[0] & RECURSION_DESIRED);
        packet.push(self.flags[1] & (AUTHENTIC | CHECKING_DISABLED));
        packet.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
        packet.extend_from_slice(&self.question);
        self.finish(&mut packet, 0);
        packet
    }

    /// What makes two requests the same to a server, whatever their spelling.
    pub(crate) fn key(&self) -> Vec<u8> {
        let mut key = self.question.to_ascii_lowercase();
        // Lengths, kind and class may look like letters: they are put back.
        let tail = key.len() - 4;
        key[tail..].copy_from_slice(&self.question[tail..]);
        let edns = self.edns.map_or(0, |edns| 1 | u8::from(edns.dnssec_ok) << 1);
        key.push(edns | (self.flags[0] & RECURSION_DESIRED) << 2);
        key.push(self.flags[1] & (AUTHENTIC | CHECKING_DISABLED));
        key
    }

    /// The kind asked for, as a number.
    pub(crate) fn kind(&self) -> u16 {
        u16_at(&self.question, self.question.len() - 4).unwrap_or_default()
    }

    /// Where records begin in a message with this question.
    pub(crate) fn records_at(&self) -> usize {
        HEADER + self.question.len()
    }

    /// Whether `packet` is a reply to this very question under the number `id`.
    pub(crate) fn is_answered_by(&self, packet: &[u8], id: u16) -> bool {
        if packet.len() < HEADER || packet[2] & RESPONSE == 0 || u16_at(packet, 0) != Some(id) {
            return false;
        }
        match u16_at(packet, 4) {
            // A server that can't even read the question sends none back.
            Some(0) => packet[3] & 0x0f != code::NO_ERROR,
            Some(1) => packet.get(HEADER..self.records_at()).is_some_and(|question| {
                let tail = question.len() - 4;
                question[..tail].eq_ignore_ascii_case(&self.question[..tail])
                    && question[tail..] == self.question[tail..]
            }),
            _ => false,
        }
    }

    fn start(&self, code: u8) -> Vec<u8> {
        let mut reply = Vec::with_capacity(usize::from(PLAIN_UDP));
        reply.extend_from_slice(&self.id.to_be_bytes());
        reply.push(RESPONSE | (self.flags[0] & RECURSION_DESIRED));
        reply.push(RECURSION_AVAILABLE | (self.flags[1] & CHECKING_DISABLED) | code);
        reply.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
        reply.extend_from_slice(&self.question);
        reply
    }

    /// Adds the EDNS record, if the client has one.
    fn finish(&self, message: &mut Vec<u8>, extended: u8) {
        if let Some(edns) = self.edns {
            let flags = if edns.dnssec_ok { DNSSEC_OK } else { 0 };
            let [high, low] = OUR_UDP.to_be_bytes();
            message.extend_from_slice(&[0, 0, 41, high, low, extended, 0, flags, 0, 0, 0]);
            let before = u16_at(message, 10).unwrap_or_default();
            count(message, 10, usize::from(before) + 1);
        }
    }

    fn fit(&self, reply: Vec<u8>, over_udp: bool) -> Vec<u8> {
        let payload = self.edns.map_or(PLAIN_UDP, |edns| edns.payload);
        let limit = match over_udp {
            true => payload.clamp(PLAIN_UDP, MOST_UDP),
            false => u16::MAX,
        };
        if reply.len() <= usize::from(limit) {
            return reply;
        }
        let mut short = self.start(reply[3] & 0x0f);
        short[2] |= TRUNCATED;
        self.keep_answers(&mut short, &reply, usize::from(limit));
        self.finish(&mut short, 0);
        short
    }

    /// As many answers as fit: clients that never ask again over TCP have some then. Both messages have the same
    /// question, so what points into it does so in either, and what points elsewhere is in front of it.
    fn keep_answers(&self, short: &mut Vec<u8>, reply: &[u8], limit: usize) {
        let at = self.records_at();
        if reply.get(HEADER..at) != short.get(HEADER..at) {
            return;
        }
        let room = limit - self.edns.map_or(0, |_| OPT_BYTES);
        let records = wire::records(reply, at).unwrap_or_default();
        let answers = records.iter().take_while(|record| record.section == 0);
        let fitting: Vec<_> = answers.take_while(|record| record.end <= room).collect();
        if let Some(last) = fitting.last() {
            short.extend_from_slice(&reply[at..last.end]);
            count(short, 6, fitting.len());
        }
    }
}

/// Whether a reply says that it is not whole.
pub(crate) fn is_truncated(reply: &[u8]) -> bool {
    reply[2] & TRUNCATED != 0
}

fn count(message: &mut [u8], at: usize, number: usize) {
    let number = u16::try_from(number).unwrap_or(u16::MAX);
    message[at..at + 2].copy_from_slice(&number.to_be_bytes());
}

/// Kind, class, time and data of a record whose name is written; what could not be written is left for the caller.
fn write_record(to: &mut Vec<u8>, kind: u16, data: impl FnOnce(&mut Vec<u8>) -> bool) -> bool {
    to.extend_from_slice(&kind.to_be_bytes());
    to.extend_from_slice(&wire::IN.to_be_bytes());
    to.extend_from_slice(&TTL.to_be_bytes());
    let length = to.len();
    to.extend_from_slice(&[0, 0]);
    let written = data(to);
    let bytes = to.len() - length - 2;
    count(to, length, bytes);
    written
}

fn write_address(to: &mut Vec<u8>, address: IpAddr) {
    let (kind, bytes): (_, &[u8]) = match &address {
        IpAddr::V4(address) => (wire::A, &address.octets()),
        IpAddr::V6(address) => (wire::AAAA, &address.octets()),
    };
    write_record(to, kind, |data| {
        data.extend_from_slice(bytes);
        true
    });
}

fn write_services(reply: &mut Vec<u8>, services: &[crate::Service]) {
    let (mut answers, mut additional) = (0, 0);
    let written: Vec<_> = services
        .iter()
        .filter(|service| {
            let whole = reply.len();
            reply.extend_from_slice(&SAME_NAME);
            let fits = write_record(reply, wire::SRV, |data| {
                data.extend_from_slice(&[0, 0, 0, 0]);
                data.extend_from_slice(&service.port.to_be_bytes());
                // Names in SRV data are never compressed (RFC 2782).
                wire::write_name(data, &service.target)
            });
            if !fits {
                reply.truncate(whole);
            }
            answers += usize::from(fits);
            fits
        })
        .collect();
    for service in written {
        for address in &service.addresses {
            wire::write_name(reply, &service.target);
            write_address(reply, *address);
            additional += 1;
        }
    }
    count(reply, 6, answers);
    count(reply, 10, additional);
}

fn failure(packet: &[u8], code: u8) -> Vec<u8> {
    let op_code = packet[2] & 0x78;
    let desired = packet[2] & RECURSION_DESIRED;
    let mut reply = vec![
        packet[0],
        packet[1],
        RESPONSE | op_code | desired,
        RECURSION_AVAILABLE | code,
    ];
    reply.resize(HEADER, 0);
    reply
}

/// The end of the only question.
fn question_end(packet: &[u8]) -> Option<usize> {
    let end = wire::skip_plain_name(packet, HEADER)? + 4;
    (u16_at(packet, 4) == Some(1) && end <= packet.len()).then_some(end)
}

/// What the client says about itself, and the version it says it in; none if the records are not what they claim.
#[allow(clippy::type_complexity, reason = "an inner Option that is the value")]
fn edns(packet: &[u8], at: usize) -> Option<(Option<Edns>, u8)> {
    if packet[6..HEADER] == [0; 6] {
        return Some((None, 0));
    }
    let records = wire::records(packet, at)?;
    let mut all = records.iter().filter(|record| record.kind == wire::OPT);
    let Some(record) = all.next() else {
        return Some((None, 0));
    };
    if all.next().is_some() || record.section != 2 || packet[record.start] != 0 {
        return None;
    }
    let edns = Edns {
        payload: record.class,
        dnssec_ok: packet[record.ttl_at + 2] & DNSSEC_OK != 0,
    };
    Some((Some(edns), packet[record.ttl_at + 1]))
}

fn query(question: &[u8]) -> Option<Query> {
    let tail = question.len() - 4;
    let (kind, class) = (u16_at(question, tail)?, u16_at(question, tail + 2)?);
    if !matches!(class, wire::IN | wire::ANY) {
        return None;
    }
    let mut name = String::with_capacity(tail);
    let mut rest = &question[..tail - 1];
    while let [length, more @ ..] = rest {
        let (label, after) = more.split_at_checked(usize::from(*length))?;
        if !name.is_empty() {
            name.push('.');
        }
        for byte in label {
            if !byte.is_ascii_graphic() || *byte == b'.' {
                return None;
            }
            name.push(char::from(byte.to_ascii_lowercase()));
        }
        rest = after;
    }
    let kind = match kind {
        wire::A => Kind::Ipv4,
        wire::AAAA => Kind::Ipv6,
        wire::ANY => Kind::Any,
        wire::SRV => Kind::Service,
        wire::PTR => wire::reversed(&name).map_or(Kind::Other, Kind::Pointer),
        _ => Kind::Other,
    };
    Some(Query { name, kind })
}

#[cfg(test)]
mod tests;
