//! Messages as bytes (RFC 8415, sections 8 and 21).
//!
//! Reading is lenient as in version 4: an option that is wrong counts as one that wasn't sent.

use std::net::Ipv6Addr;

use model::{Lease, LeaseV6, Timestamp};

use super::Identity;

/// The shortest lease that is taken at its word: else a server could keep us busy.
const SHORTEST_LEASE: u32 = 2;
/// The longest name that a server may have (section 11.1).
const LONGEST_DUID: usize = 130;
/// A status that means that all is well, in an option or by the lack of one.
const SUCCESS: u16 = 0;

mod code {
    pub(super) const CLIENT: u16 = 1;
    pub(super) const SERVER: u16 = 2;
    pub(super) const ADDRESSES: u16 = 3;
    pub(super) const ADDRESS: u16 = 5;
    pub(super) const ASKED_FOR: u16 = 6;
    pub(super) const ELAPSED: u16 = 8;
    pub(super) const STATUS: u16 = 13;
    pub(super) const NAME_SERVERS: u16 = 23;
    pub(super) const DOMAINS: u16 = 24;
    pub(super) const NAME: u16 = 39;
    pub(super) const LONGEST_WAIT: u16 = 82;
}

/// What a server is asked to tell. RFC 8415 wants the last one in every list (section 21.7).
const ASKED_FOR: [u16; 3] = [code::NAME_SERVERS, code::DOMAINS, code::LONGEST_WAIT];

/// What a client says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// Who has an address for me? This one, if it can be.
    Solicit(Option<Ipv6Addr>),
    /// I take what this server offers.
    Request {
        /// The address offered.
        address: Ipv6Addr,
        /// Who offered it.
        server: Vec<u8>,
    },
    /// I use this address of yours: for longer, please.
    Renew {
        /// The address.
        address: Ipv6Addr,
        /// Whose it is.
        server: Vec<u8>,
    },
    /// I use this address, and its server is silent: for longer, please, whoever you are.
    Rebind(Ipv6Addr),
    /// I no longer need it.
    Release {
        /// The address.
        address: Ipv6Addr,
        /// Whose it is.
        server: Vec<u8>,
    },
    /// Somebody else uses it.
    Decline {
        /// The address.
        address: Ipv6Addr,
        /// Who gave it.
        server: Vec<u8>,
    },
}

impl Question {
    const fn kind(&self) -> u8 {
        match self {
            Self::Solicit(_) => 1,
            Self::Request { .. } => 3,
            Self::Renew { .. } => 5,
            Self::Rebind(_) => 6,
            Self::Release { .. } => 8,
            Self::Decline { .. } => 9,
        }
    }

    const fn address(&self) -> Option<Ipv6Addr> {
        match self {
            Self::Solicit(wanted) => *wanted,
            Self::Rebind(address)
            | Self::Request { address, .. }
            | Self::Renew { address, .. }
            | Self::Release { address, .. }
            | Self::Decline { address, .. } => Some(*address),
        }
    }

    fn server(&self) -> Option<&[u8]> {
        match self {
            Self::Solicit(_) | Self::Rebind(_) => None,
            Self::Request { server, .. }
            | Self::Renew { server, .. }
            | Self::Release { server, .. }
            | Self::Decline { server, .. } => Some(server),
        }
    }

    /// Whether it wants to be told anything but that it was heard.
    const fn wants_more(&self) -> bool {
        !matches!(self, Self::Release { .. } | Self::Decline { .. })
    }
}

/// Which of a server's answers it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An address could be had.
    Advertise,
    /// What was asked for, or why not.
    Reply,
}

/// What a server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Which answer it is.
    pub kind: Kind,
    /// The server.
    pub server: Vec<u8>,
    /// Addresses with the seconds that they may be used for, none of them zero.
    pub addresses: Vec<(Ipv6Addr, u32)>,
    /// Why it isn't as was asked for, for people.
    pub refusal: Option<String>,
    /// It knows nothing of an address that it is asked for more time for.
    pub forgot: bool,
    renew: u32,
    rebind: u32,
    preferred: u32,
    name_servers: Vec<Ipv6Addr>,
    domain: Option<String>,
}

impl Reply {
    /// The lease that the answer is, of this address if it has it; none if it has none.
    pub fn lease(&self, wanted: Option<Ipv6Addr>, asked: Timestamp) -> Option<LeaseV6> {
        let mut all = self.addresses.iter();
        let same = all.clone().find(|(address, _)| Some(*address) == wanted);
        let (address, lasts) = same.or_else(|| all.next())?;
        let lasts = (*lasts).max(SHORTEST_LEASE);
        let (renew_after, rebind_after) = times(self.renew, self.rebind, self.preferred.min(lasts), lasts);
        Some(LeaseV6 {
            address: *address,
            server: self.server.clone(),
            obtained: asked,
            renew_after,
            rebind_after,
            lasts,
            name_servers: self.name_servers.clone(),
            domain: self.domain.clone(),
        })
    }
}

/// T1 and T2: what the server says, else a half and four fifths of the time in which an address is preferred (section 21.4).
fn times(renew: u32, rebind: u32, preferred: u32, lasts: u32) -> (u32, u32) {
    if lasts == Lease::FOR_EVER && renew == 0 {
        return (Lease::FOR_EVER, Lease::FOR_EVER);
    }
    let preferred = if preferred == 0 { lasts } else { preferred };
    let default = |of: u32, parts: u32| {
        u32::try_from(u64::from(of) * u64::from(parts) / 10)
            .unwrap_or(of)
            .max(1)
    };
    let rebind = match rebind {
        0 => default(preferred, 8),
        said => said.min(lasts),
    };
    let renew = match renew {
        0 => default(preferred, 5),
        said => said,
    };
    (renew.min(rebind), rebind)
}

/// A question as bytes; `elapsed` are hundredths of a second since it was first asked.
pub fn write(question: &Question, who: &Identity, id: u32, elapsed: u16) -> Vec<u8> {
    let [_, id @ ..] = id.to_be_bytes();
    let mut bytes = vec![question.kind()];
    bytes.extend(id);
    push(&mut bytes, code::CLIENT, &who.duid);
    if let Some(server) = question.server() {
        push(&mut bytes, code::SERVER, server);
    }
    push(&mut bytes, code::ELAPSED, &elapsed.to_be_bytes());
    let mut held = Vec::from(who.interface.to_be_bytes());
    // Times are the server's to say.
    held.extend([0; 8]);
    if let Some(address) = question.address() {
        let timeless = address.octets().into_iter().chain([0; 8]);
        push(&mut held, code::ADDRESS, &timeless.collect::<Vec<_>>());
    }
    push(&mut bytes, code::ADDRESSES, &held);
    if question.wants_more() {
        let asked_for = ASKED_FOR.iter().flat_map(|code| code.to_be_bytes());
        push(&mut bytes, code::ASKED_FOR, &asked_for.collect::<Vec<_>>());
        if let Some(name) = who.hostname.as_deref().and_then(name) {
            push(&mut bytes, code::NAME, &name);
        }
    }
    bytes
}

fn push(bytes: &mut Vec<u8>, code: u16, value: &[u8]) {
    if let Ok(length) = u16::try_from(value.len()) {
        bytes.extend(code.to_be_bytes());
        bytes.extend(length.to_be_bytes());
        bytes.extend(value);
    }
}

/// A name as the server is to enter it (RFC 4704): whole if it has a dot, else to be completed.
fn name(text: &str) -> Option<Vec<u8>> {
    const ENTER_IT: u8 = 1;
    let mut bytes = vec![ENTER_IT];
    for label in text.trim_end_matches('.').split('.') {
        let length = u8::try_from(label.len())
            .ok()
            .filter(|length| (1..=63).contains(length))?;
        bytes.push(length);
        bytes.extend(label.bytes());
    }
    if text.contains('.') {
        bytes.push(0);
    }
    (bytes.len() <= 256).then_some(bytes)
}

/// Options in a row, as far as they are whole.
fn options(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (head, rest) = bytes.split_first_chunk::<4>()?;
        let [a, b, c, d] = *head;
        let (value, behind) = rest.split_at_checked(u16::from_be_bytes([c, d]).into())?;
        bytes = behind;
        Some((u16::from_be_bytes([a, b]), value))
    })
}

/// A server's answer to the question with this number; none for anything else that comes by.
pub fn read(bytes: &[u8], id: u32, who: &Identity) -> Option<Reply> {
    let (head, rest) = bytes.split_first_chunk::<4>()?;
    let [kind, number @ ..] = *head;
    let kind = match kind {
        2 => Kind::Advertise,
        7 => Kind::Reply,
        _ => return None,
    };
    let [_, expected @ ..] = id.to_be_bytes();
    let find = |wanted: u16| {
        options(rest)
            .find(|(code, _)| *code == wanted)
            .map(|(_, value)| value)
    };
    let server = find(code::SERVER).filter(|duid| (1..=LONGEST_DUID).contains(&duid.len()))?;
    if number != expected || find(code::CLIENT)? != who.duid {
        return None;
    }
    let mut reply = Reply {
        kind,
        server: server.to_vec(),
        addresses: Vec::new(),
        refusal: None,
        forgot: false,
        renew: 0,
        rebind: 0,
        preferred: u32::MAX,
        name_servers: find(code::NAME_SERVERS).map(name_servers).unwrap_or_default(),
        domain: find(code::DOMAINS).and_then(domain),
    };
    reply.hear(rest);
    for (_, held) in options(rest).filter(|(code, _)| *code == code::ADDRESSES) {
        reply.take_in(held, who.interface);
    }
    Some(reply)
}

impl Reply {
    /// What is ours of the addresses that an interface is given.
    fn take_in(&mut self, held: &[u8], interface: u32) {
        let Some((head, inside)) = held.split_first_chunk::<12>() else {
            return;
        };
        let [number, renew, rebind] = [0, 4, 8].map(|at| long(head, at).unwrap_or_default());
        // Times out of order make all of it wrong (section 21.4).
        if number != interface || renew > rebind && rebind > 0 {
            return;
        }
        (self.renew, self.rebind) = (renew, rebind);
        self.hear(inside);
        for (_, value) in options(inside).filter(|(code, _)| *code == code::ADDRESS) {
            let Some((octets, times)) = value.split_first_chunk::<16>() else {
                continue;
            };
            let (address, Some(preferred), Some(lasts)) =
                (Ipv6Addr::from(*octets), long(times, 0), long(times, 4))
            else {
                continue;
            };
            let usable = !address.is_unspecified() && !address.is_multicast() && !address.is_loopback();
            let refused = options(times.get(8..).unwrap_or_default())
                .any(|(code, status)| code == code::STATUS && half(status) != Some(SUCCESS));
            if usable && !refused && lasts > 0 && preferred <= lasts {
                self.preferred = self.preferred.min(preferred);
                self.addresses.push((address, lasts));
            }
        }
    }

    /// What its status says.
    fn hear(&mut self, bytes: &[u8]) {
        const FORGOTTEN: u16 = 3;
        let status = options(bytes).find(|(code, _)| *code == code::STATUS);
        let Some((_, status)) = status else {
            return;
        };
        let Some(number) = half(status).filter(|number| *number != SUCCESS) else {
            return;
        };
        self.forgot |= number == FORGOTTEN;
        let text = String::from_utf8_lossy(&status[2..]);
        let text: String = text
            .chars()
            .filter(|letter| !letter.is_control())
            .take(200)
            .collect();
        let known = match number {
            2 => "it has no addresses left",
            FORGOTTEN => "it knows nothing of the address",
            4 => "the address is not of this segment",
            _ => "it gives no reason",
        };
        self.refusal = Some(if text.is_empty() { known.to_owned() } else { text });
    }
}

fn half(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.first_chunk()?))
}

fn long(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn name_servers(value: &[u8]) -> Vec<Ipv6Addr> {
    let all = value
        .chunks_exact(16)
        .filter_map(|octets| octets.first_chunk::<16>());
    all.map(|octets| Ipv6Addr::from(*octets))
        // Which link a link-local one is on is lost on the way to who asks it.
        .filter(|address| {
            !address.is_unspecified() && !address.is_multicast() && !address.is_unicast_link_local()
        })
        .collect()
}

/// The first domain of a list.
fn domain(mut value: &[u8]) -> Option<String> {
    let mut labels = Vec::new();
    loop {
        let (length, rest) = value.split_first()?;
        if *length == 0 {
            break;
        }
        let (label, behind) = rest
            .split_at_checked((*length).into())
            .filter(|_| *length <= 63)?;
        let plain = label
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte));
        labels.push(std::str::from_utf8(label).ok().filter(|_| plain)?);
        value = behind;
    }
    (!labels.is_empty()).then(|| labels.join("."))
}

#[cfg(test)]
mod tests;
