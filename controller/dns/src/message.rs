//! DNS messages at the boundary: foreign bytes in, our answers out.

use std::net::IpAddr;

use hickory_proto::{
    op::{Edns, Header, Message, MessageType, OpCode, Query as Question, ResponseCode},
    rr::{
        DNSClass, Name, RData, Record, RecordType,
        rdata::{A, AAAA, PTR},
    },
    serialize::binary::{BinDecodable, BinDecoder},
};

use crate::Answer;

/// Seconds that our answers may be kept.
const TTL: u32 = 600;
/// What a client without EDNS takes over UDP (RFC 1035, 4.2.1).
const PLAIN_UDP: u16 = 512;
/// What we take and send over UDP: fits every path without fragments.
const OUR_UDP: u16 = 1232;
/// Bytes of a header.
const HEADER: usize = 12;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A.
    Ipv4,
    /// AAAA.
    Ipv6,
    /// PTR, of this address.
    Pointer(IpAddr),
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
#[derive(Debug)]
pub struct Request {
    message: Message,
    /// The question; none when it can't be ours (another class, a name that no text can have).
    pub query: Option<Query>,
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
        if packet.len() < HEADER || packet[2] & 0x80 != 0 {
            return Err(Malformed::Silent);
        }
        let id = u16::from_be_bytes([packet[0], packet[1]]);
        let fail = |code| Malformed::Reply(failure(id, packet, code));
        let message = Message::from_vec(packet).map_err(|_| fail(ResponseCode::FormErr))?;
        if message.metadata.op_code != OpCode::Query {
            return Err(fail(ResponseCode::NotImp));
        }
        let [question] = message.queries.as_slice() else {
            return Err(fail(ResponseCode::FormErr));
        };
        let query = query(question);
        let unknown = message.edns.as_ref().is_some_and(|edns| edns.version() > 0);
        let request = Self { message, query };
        match unknown {
            // The version that we know is in the reply (RFC 6891, 6.1.3).
            true => Err(Malformed::Reply(request.refuse(ResponseCode::BADVERS))),
            false => Ok(request),
        }
    }

    /// Writes the answer. Over UDP it is cut to what the client takes, with the mark to ask again over TCP.
    pub fn reply(&self, answer: &Answer, over_udp: bool) -> Vec<u8> {
        let mut reply = self.start(ResponseCode::NoError);
        let name = self.message.queries[0].name();
        let record = |data| Record::from_rdata(name.clone(), TTL, data);
        match answer {
            Answer::Addresses(addresses) => {
                reply.add_answers(addresses.iter().map(|address| record(data_of(*address))));
            }
            Answer::Pointer(target) => {
                // A container's name may be longer than a label can be.
                let target = Name::from_ascii(target).ok();
                reply.add_answers(target.map(|target| record(RData::PTR(PTR(target)))));
            }
            Answer::Nothing | Answer::Forward => {}
        }
        self.write(&reply, over_udp)
    }

    /// Writes a reply without an answer.
    pub fn refuse(&self, code: ResponseCode) -> Vec<u8> {
        self.write(&self.start(code), true)
    }

    fn start(&self, code: ResponseCode) -> Message {
        let asked = &self.message.metadata;
        let mut reply = Message::error_msg(asked.id, OpCode::Query, code);
        reply.metadata.recursion_desired = asked.recursion_desired;
        reply.metadata.recursion_available = true;
        reply.metadata.checking_disabled = asked.checking_disabled;
        reply.add_query(self.message.queries[0].clone());
        if let Some(asked) = &self.message.edns {
            let mut edns = Edns::new();
            edns.set_max_payload(OUR_UDP)
                .set_dnssec_ok(asked.flags().dnssec_ok);
            reply.set_edns(edns);
        }
        reply
    }

    fn write(&self, reply: &Message, over_udp: bool) -> Vec<u8> {
        let limit = if over_udp { self.udp_limit() } else { u16::MAX };
        match reply.to_vec() {
            Ok(bytes) if bytes.len() <= usize::from(limit) => bytes,
            _ => reply.truncate().to_vec().unwrap_or_default(),
        }
    }

    fn udp_limit(&self) -> u16 {
        self.message.edns.as_ref().map_or(PLAIN_UDP, |edns| {
            edns.max_payload().clamp(PLAIN_UDP, OUR_UDP.max(4096))
        })
    }

    /// Whether `packet` is a reply to this very question under the number `id`.
    pub(crate) fn is_answered_by(&self, packet: &[u8], id: u16) -> bool {
        let mut decoder = BinDecoder::new(packet);
        let Ok(header) = Header::read(&mut decoder) else {
            return false;
        };
        if header.metadata.id != id || header.metadata.message_type != MessageType::Response {
            return false;
        }
        // A server that can't even read the question sends none back.
        if header.counts.queries == 0 {
            return header.metadata.response_code != ResponseCode::NoError;
        }
        header.counts.queries == 1
            && Question::read(&mut decoder).is_ok_and(|question| question == self.message.queries[0])
    }
}

fn failure(id: u16, packet: &[u8], code: ResponseCode) -> Vec<u8> {
    let op_code = OpCode::from_u8((packet[2] >> 3) & 0x0f);
    let mut reply = Message::error_msg(id, op_code, code);
    reply.metadata.recursion_desired = packet[2] & 1 != 0;
    reply.metadata.recursion_available = true;
    reply.to_vec().unwrap_or_default()
}

fn query(question: &Question) -> Option<Query> {
    if !matches!(question.query_class(), DNSClass::IN | DNSClass::ANY) {
        return None;
    }
    let mut name = String::with_capacity(question.name().len());
    for label in question.name().iter() {
        if label.iter().any(|byte| !byte.is_ascii_graphic() || *byte == b'.') {
            return None;
        }
        if !name.is_empty() {
            name.push('.');
        }
        name.extend(label.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
    }
    let kind = match question.query_type() {
        RecordType::A => Kind::Ipv4,
        RecordType::AAAA => Kind::Ipv6,
        RecordType::ANY => Kind::Any,
        RecordType::PTR => whole_address(question.name()).map_or(Kind::Other, Kind::Pointer),
        _ => Kind::Other,
    };
    Some(Query { name, kind })
}

fn whole_address(name: &Name) -> Option<IpAddr> {
    let net = name.parse_arpa_name().ok()?;
    (net.prefix_len() == net.max_prefix_len()).then(|| net.addr())
}

fn data_of(address: IpAddr) -> RData {
    match address {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    }
}

#[cfg(test)]
mod tests;
