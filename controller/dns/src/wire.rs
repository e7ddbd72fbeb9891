//! DNS messages as bytes (RFC 1035, section 4): walking over what others wrote, without trusting a length.

use std::net::IpAddr;

/// Bytes of a header.
pub(crate) const HEADER: usize = 12;
/// A label's most bytes.
pub(crate) const LABEL: usize = 63;
/// A name's most bytes, lengths and root included.
const NAME: usize = 255;
const SOA: u16 = 6;
pub(crate) const A: u16 = 1;
pub(crate) const PTR: u16 = 12;
pub(crate) const AAAA: u16 = 28;
pub(crate) const SRV: u16 = 33;
pub(crate) const OPT: u16 = 41;
pub(crate) const ANY: u16 = 255;
pub(crate) const IN: u16 = 1;

/// Codes of replies.
pub(crate) mod code {
    pub(crate) const NO_ERROR: u8 = 0;
    pub(crate) const FORM_ERR: u8 = 1;
    pub(crate) const SERV_FAIL: u8 = 2;
    pub(crate) const NX_DOMAIN: u8 = 3;
    pub(crate) const NOT_IMP: u8 = 4;
    pub(crate) const REFUSED: u8 = 5;
    /// The part of BADVERS that goes into an EDNS record (RFC 6891, 6.1.3).
    pub(crate) const BAD_VERSION: u8 = 1;
}

/// Where a record lies in its message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record {
    /// Which of the three sections: 0 answers, 1 authority, 2 additional.
    pub(crate) section: usize,
    pub(crate) start: usize,
    pub(crate) kind: u16,
    pub(crate) class: u16,
    /// Where its time to live is.
    pub(crate) ttl_at: usize,
    pub(crate) data: usize,
    pub(crate) end: usize,
}

pub(crate) fn u16_at(message: &[u8], at: usize) -> Option<u16> {
    let bytes = message.get(at..at + 2)?;
    Some(u16::from_be_bytes([bytes[0], bytes[1]]))
}

pub(crate) fn u32_at(message: &[u8], at: usize) -> Option<u32> {
    let bytes = message.get(at..at + 4)?;
    Some(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

/// The end of a name that may be compressed.
pub(crate) fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            length if usize::from(length) <= LABEL => at += 1 + usize::from(length),
            pointer if pointer & 0xc0 == 0xc0 => return (at + 2 <= message.len()).then_some(at + 2),
            _ => return None,
        }
    }
}

/// The end of a question's name, which nothing stands before that it could point to.
pub(crate) fn skip_plain_name(message: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    loop {
        match usize::from(*message.get(at)?) {
            0 => return (at + 1 - start <= NAME).then_some(at + 1),
            length if length <= LABEL => at += 1 + length,
            _ => return None,
        }
    }
}

/// All records behind the question, which ends at `at`; none if one is cut short.
pub(crate) fn records(message: &[u8], mut at: usize) -> Option<Vec<Record>> {
    let mut found = Vec::new();
    for section in 0..3 {
        for _ in 0..u16_at(message, 6 + 2 * section)? {
            let start = at;
            at = skip_name(message, at)?;
            let (kind, class) = (u16_at(message, at)?, u16_at(message, at + 2)?);
            let data = at + 10;
            let end = data + usize::from(u16_at(message, at + 8)?);
            message.get(data..end)?;
            found.push(Record {
                section,
                start,
                kind,
                class,
                ttl_at: at + 4,
                data,
                end,
            });
            at = end;
        }
    }
    Some(found)
}

/// The last field of a start of authority: how long its zone's negative answers may be kept (RFC 2308, section 5).
pub(crate) fn soa_minimum(message: &[u8], record: &Record) -> Option<u32> {
    if record.kind != SOA {
        return None;
    }
    let names = skip_name(message, skip_name(message, record.data)?)?;
    (names + 20 == record.end).then(|| u32_at(message, names + 16))?
}

/// Writes a name; false, with nothing written, if a label of it is none or the whole is too long.
pub(crate) fn write_name(to: &mut Vec<u8>, name: &str) -> bool {
    let start = to.len();
    let name = name.strip_suffix('.').unwrap_or(name);
    for label in name.split('.') {
        match u8::try_from(label.len()) {
            Ok(length @ 1..=63) => {
                to.push(length);
                to.extend_from_slice(label.as_bytes());
            }
            _ => {
                to.truncate(start);
                return false;
            }
        }
    }
    to.push(0);
    if to.len() - start > NAME {
        to.truncate(start);
        return false;
    }
    true
}

/// The address that a name of `in-addr.arpa` or `ip6.arpa`, in lower case, says whole.
pub(crate) fn reversed(name: &str) -> Option<IpAddr> {
    if let Some(parts) = name.strip_suffix(".in-addr.arpa") {
        let mut bytes = [0; 4];
        let mut labels = parts.split('.').rev();
        for byte in &mut bytes {
            let label = labels.next()?;
            let digits = label.bytes().all(|digit| digit.is_ascii_digit());
            *byte = label.parse().ok().filter(|_| digits)?;
        }
        return labels.next().is_none().then(|| IpAddr::from(bytes));
    }
    let mut bytes = [0_u8; 16];
    let mut labels = name.strip_suffix(".ip6.arpa")?.split('.').rev();
    for byte in &mut bytes {
        let mut digit = || match labels.next()?.as_bytes() {
            [digit] => char::from(*digit).to_digit(16),
            _ => None,
        };
        *byte = u8::try_from(digit()? << 4 | digit()?).ok()?;
    }
    labels.next().is_none().then(|| IpAddr::from(bytes))
}
