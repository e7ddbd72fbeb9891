//! Messages as bytes (RFC 2131, section 2; options of RFC 2132 and RFC 3442).
//!
//! Reading is lenient: an option that is wrong counts as one that wasn't sent, because what a server wants to say is in
//! the others all the same.

use std::net::Ipv4Addr;

use model::{Ipv4Net, Lease, MacAddress, Timestamp};

use crate::Identity;

/// Where options begin: behind the fixed part and the magic cookie.
const OPTIONS: usize = 240;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// What relays and servers of old take for the shortest message.
const SHORTEST: usize = 300;
/// The shortest lease that is taken at its word: else a server could keep us busy.
const SHORTEST_LEASE: u32 = 2;

mod code {
    pub(super) const MASK: u8 = 1;
    pub(super) const ROUTER: u8 = 3;
    pub(super) const NAME_SERVERS: u8 = 6;
    pub(super) const HOSTNAME: u8 = 12;
    pub(super) const DOMAIN: u8 = 15;
    pub(super) const MTU: u8 = 26;
    pub(super) const WANTED: u8 = 50;
    pub(super) const LASTS: u8 = 51;
    pub(super) const OVERLOAD: u8 = 52;
    pub(super) const KIND: u8 = 53;
    pub(super) const SERVER: u8 = 54;
    pub(super) const PARAMETERS: u8 = 55;
    pub(super) const TEXT: u8 = 56;
    pub(super) const LONGEST: u8 = 57;
    pub(super) const RENEW: u8 = 58;
    pub(super) const REBIND: u8 = 59;
    pub(super) const VENDOR_CLASS: u8 = 60;
    pub(super) const CLIENT_ID: u8 = 61;
    pub(super) const ROUTES: u8 = 121;
}

/// What a server is asked to tell. RFC 3442 wants its routes before the router.
const ASKED_FOR: [u8; 10] = [
    code::MASK,
    code::ROUTES,
    code::ROUTER,
    code::NAME_SERVERS,
    code::DOMAIN,
    code::MTU,
    code::LASTS,
    code::SERVER,
    code::RENEW,
    code::REBIND,
];

/// What a client says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// Who has an address for me? This one, if it can be.
    Discover(Option<Ipv4Addr>),
    /// I take what this server offers.
    Select {
        /// The address offered.
        address: Ipv4Addr,
        /// Who offered it.
        server: Ipv4Addr,
    },
    /// I had this address: may I use it still?
    Reboot(Ipv4Addr),
    /// I use this address: for longer, please.
    Renew(Ipv4Addr),
    /// I no longer need it.
    Release {
        /// The address.
        address: Ipv4Addr,
        /// Whose it is.
        server: Ipv4Addr,
    },
    /// Somebody else uses it.
    Decline {
        /// The address.
        address: Ipv4Addr,
        /// Who gave it.
        server: Ipv4Addr,
    },
}

impl Question {
    const fn kind(&self) -> u8 {
        match self {
            Self::Discover(_) => 1,
            Self::Select { .. } | Self::Reboot(_) | Self::Renew(_) => 3,
            Self::Decline { .. } => 4,
            Self::Release { .. } => 7,
        }
    }

    /// The address that the client wears as it asks.
    const fn worn(&self) -> Ipv4Addr {
        match self {
            Self::Renew(address) | Self::Release { address, .. } => *address,
            _ => Ipv4Addr::UNSPECIFIED,
        }
    }
}

/// Which of a server's answers it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An address could be had.
    Offer,
    /// It is yours.
    Ack,
    /// It can't be yours.
    Nak,
}

/// What a server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Which answer it is.
    pub kind: Kind,
    /// The address that it is about.
    pub address: Ipv4Addr,
    /// The server.
    pub server: Option<Ipv4Addr>,
    /// Its reason, for people.
    pub text: Option<String>,
    options: Options,
}

impl Reply {
    /// The lease that the answer is; none if it lacks what makes one.
    pub fn lease(&self, asked: Timestamp) -> Option<Lease> {
        let options = &self.options;
        let lasts = options.number(code::LASTS)?.max(SHORTEST_LEASE);
        let (renew_after, rebind_after) =
            times(lasts, options.number(code::RENEW), options.number(code::REBIND));
        let (gateway, routes) = self.ways();
        Some(Lease {
            address: Ipv4Net::new(self.address, self.prefix()).ok()?,
            server: self.server?,
            obtained: asked,
            renew_after,
            rebind_after,
            lasts,
            gateway,
            routes,
            name_servers: options.addresses(code::NAME_SERVERS),
            domain: options.text(code::DOMAIN),
            mtu: options.half(code::MTU).filter(|mtu| *mtu >= 68),
        })
    }

    /// What the mask says; without one, the length that the address's class had.
    fn prefix(&self) -> u8 {
        let mask = self.options.addresses(code::MASK).first().copied();
        let length = |mask: Ipv4Addr| {
            let bits = u32::from(mask);
            let whole = bits.leading_ones() == bits.count_ones() && bits != 0;
            whole.then(|| u8::try_from(bits.leading_ones()).unwrap_or(32))
        };
        let by_class = match self.address.octets()[0] {
            0..=127 => 8,
            128..=191 => 16,
            _ => 24,
        };
        mask.and_then(length).unwrap_or(by_class)
    }

    /// The default gateway and other routes: those of RFC 3442 instead of the router, where there are any.
    fn ways(&self) -> (Option<Ipv4Addr>, Vec<(Ipv4Net, Option<Ipv4Addr>)>) {
        let usable = |address: &Ipv4Addr| !address.is_unspecified();
        let Some(routes) = self.options.routes() else {
            let router = self.options.addresses(code::ROUTER).first().copied();
            return (router.filter(usable), Vec::new());
        };
        let (default, others): (Vec<_>, Vec<_>) =
            routes.into_iter().partition(|(net, _)| net.prefix_len() == 0);
        let others = others
            .into_iter()
            .map(|(net, hop)| (net, Some(hop).filter(usable)));
        // A default route on the link has the unspecified address, as our own drivers say it.
        (default.first().map(|(_, hop)| *hop), others.collect())
    }
}

/// T1 and T2: what the server says, as far as they come in order, else half and seven eighths of the time.
fn times(lasts: u32, renew: Option<u32>, rebind: Option<u32>) -> (u32, u32) {
    if lasts == Lease::FOR_EVER {
        return (Lease::FOR_EVER, Lease::FOR_EVER);
    }
    let rebind = rebind
        .filter(|after| (1..=lasts).contains(after))
        .unwrap_or(lasts - lasts / 8);
    let renew = renew
        .filter(|after| (1..=rebind).contains(after))
        .unwrap_or((lasts / 2).clamp(1, rebind));
    (renew, rebind)
}

/// A question as bytes.
pub fn write(question: &Question, who: &Identity, id: u32, seconds: u16) -> Vec<u8> {
    let mut bytes = vec![1, 1, 6, 0];
    bytes.extend(id.to_be_bytes());
    bytes.extend(seconds.to_be_bytes());
    // Who wears its address hears what is sent there.
    let broadcast = who.broadcast && question.worn().is_unspecified();
    bytes.extend([u8::from(broadcast) << 7, 0]);
    bytes.extend(question.worn().octets());
    bytes.resize(28, 0);
    bytes.extend(who.mac.octets());
    bytes.resize(OPTIONS - COOKIE.len(), 0);
    bytes.extend(COOKIE);
    push(&mut bytes, code::KIND, &[question.kind()]);
    if let Some(id) = &who.client_id {
        push(&mut bytes, code::CLIENT_ID, id);
    }
    let (wanted, server) = match question {
        Question::Discover(wanted) => (*wanted, None),
        Question::Select { address, server } | Question::Decline { address, server } => {
            (Some(*address), Some(*server))
        }
        Question::Reboot(address) => (Some(*address), None),
        Question::Renew(_) => (None, None),
        Question::Release { server, .. } => (None, Some(*server)),
    };
    if let Some(address) = wanted {
        push(&mut bytes, code::WANTED, &address.octets());
    }
    if let Some(server) = server {
        push(&mut bytes, code::SERVER, &server.octets());
    }
    if !matches!(question, Question::Release { .. } | Question::Decline { .. }) {
        push(&mut bytes, code::LONGEST, &1500_u16.to_be_bytes());
        push(&mut bytes, code::PARAMETERS, &ASKED_FOR);
        if let Some(name) = &who.hostname {
            push(&mut bytes, code::HOSTNAME, name.as_bytes());
        }
        if let Some(class) = &who.vendor_class {
            push(&mut bytes, code::VENDOR_CLASS, class.as_bytes());
        }
    }
    bytes.push(255);
    bytes.resize(bytes.len().max(SHORTEST), 0);
    bytes
}

fn push(bytes: &mut Vec<u8>, code: u8, value: &[u8]) {
    let value = &value[..value.len().min(255)];
    if let (Ok(length), false) = (u8::try_from(value.len()), value.is_empty()) {
        bytes.extend([code, length]);
        bytes.extend(value);
    }
}

/// A server's answer to the question with this number; none for anything else that comes by.
pub fn read(bytes: &[u8], id: u32, mac: MacAddress) -> Option<Reply> {
    let fixed = bytes.get(..OPTIONS)?;
    let is_answer = fixed[0] == 2
        && fixed[4..8] == id.to_be_bytes()
        && fixed[28..34] == mac.octets()
        && fixed[OPTIONS - COOKIE.len()..] == COOKIE;
    if !is_answer {
        return None;
    }
    let options = Options::read(bytes);
    let kind = match options.get(code::KIND)? {
        [2] => Kind::Offer,
        [5] => Kind::Ack,
        [6] => Kind::Nak,
        _ => return None,
    };
    let address = Ipv4Addr::from(<[u8; 4]>::try_from(&fixed[16..20]).ok()?);
    let unusable = address.is_unspecified() || address.is_multicast() || address.is_broadcast();
    if kind != Kind::Nak && (unusable || address.is_loopback()) {
        return None;
    }
    Some(Reply {
        kind,
        address,
        server: options.addresses(code::SERVER).first().copied(),
        text: options.text(code::TEXT),
        options,
    })
}

/// The options of a message, those that come in parts put together (RFC 3396).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Options(std::collections::BTreeMap<u8, Vec<u8>>);

impl Options {
    fn read(message: &[u8]) -> Self {
        let mut options = Self::default();
        options.take_in(message.get(OPTIONS..).unwrap_or_default());
        // They may go on where the names of a file and of a server would be.
        let overload = options
            .get(code::OVERLOAD)
            .and_then(|value| value.first().copied());
        for (bit, part) in [(1, 108..236), (2, 44..108)] {
            if overload.is_some_and(|overload| overload & bit != 0) {
                options.take_in(message.get(part).unwrap_or_default());
            }
        }
        options
    }

    fn take_in(&mut self, mut bytes: &[u8]) {
        while let [code, rest @ ..] = bytes {
            match (*code, rest) {
                (0, rest) => bytes = rest,
                (255, _) | (_, []) => return,
                (code, [length, rest @ ..]) => {
                    let Some((value, behind)) = rest.split_at_checked(usize::from(*length)) else {
                        return;
                    };
                    self.0.entry(code).or_default().extend(value);
                    bytes = behind;
                }
            }
        }
    }

    fn get(&self, code: u8) -> Option<&[u8]> {
        self.0.get(&code).map(Vec::as_slice)
    }

    fn number(&self, code: u8) -> Option<u32> {
        Some(u32::from_be_bytes(self.get(code)?.try_into().ok()?))
    }

    fn half(&self, code: u8) -> Option<u16> {
        Some(u16::from_be_bytes(self.get(code)?.try_into().ok()?))
    }

    fn addresses(&self, code: u8) -> Vec<Ipv4Addr> {
        let all = self.get(code).unwrap_or_default().chunks_exact(4);
        all.map(|part| Ipv4Addr::new(part[0], part[1], part[2], part[3]))
            .collect()
    }

    /// Text without what ends it in some servers, and none that could do harm in a file or a log.
    fn text(&self, code: u8) -> Option<String> {
        let text = std::str::from_utf8(self.get(code)?).ok()?;
        let text = text.trim_end_matches('\0').trim();
        (!text.is_empty() && !text.contains(char::is_control)).then(|| text.to_owned())
    }

    /// Destination and next hop of each route; none if there are none, or they break off.
    fn routes(&self) -> Option<Vec<(Ipv4Net, Ipv4Addr)>> {
        let mut bytes = self.get(code::ROUTES)?;
        let mut routes = Vec::new();
        while let [length, rest @ ..] = bytes {
            let significant = usize::from(length.div_ceil(8));
            let (net, behind) = rest.split_at_checked(significant)?;
            let (hop, behind) = behind.split_at_checked(4)?;
            let mut octets = [0; 4];
            octets.get_mut(..significant)?.copy_from_slice(net);
            let net = Ipv4Net::new(octets.into(), *length).ok()?;
            routes.push((net.trunc(), Ipv4Addr::new(hop[0], hop[1], hop[2], hop[3])));
            bytes = behind;
        }
        (!routes.is_empty()).then_some(routes)
    }
}

#[cfg(test)]
mod tests;
