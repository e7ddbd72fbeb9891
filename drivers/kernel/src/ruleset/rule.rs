//! Rules: what must match, and what is then done.

use std::{fmt, net::IpAddr};

use model::AddressFamily;

use super::{
    Family,
    set::{Type, Value, concatenated},
};

/// A rule: every match must hold; then the packet is counted, if wanted, and the action taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rule {
    /// What must hold. In the order given, cheapest first.
    pub matches: Vec<Match>,
    /// Counts packets and bytes. The numbers are no part of the rule.
    pub counter: bool,
    /// What is done; none goes on with the next rule.
    pub action: Option<Action>,
}

/// A test, or its opposite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// Holds when the test doesn't.
    pub negated: bool,
    /// The test.
    pub test: Test,
}

/// Something that holds of a packet or doesn't.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    /// The field is this value, or lies in this subnet.
    Is(Field, Value),
    /// The fields together are a key of this set.
    In(Vec<Field>, String),
    /// Its connection is in one of these states.
    State(Vec<State>),
    /// Its destination is of that type in the routing table.
    DestinationType(AddressType),
    /// Its connection was redirected to another destination (`ct status dnat`).
    Redirected,
    /// It is of that family. In a table of one family it always holds.
    Family(AddressFamily),
}

/// A field of a packet or of what the kernel knows of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// Name of the interface it came by. In postrouting it is known of forwarded packets (Linux 5.7).
    InputInterface,
    /// Name of the interface it leaves by.
    OutputInterface,
    /// Source address; a packet of the other family doesn't match.
    Source(AddressFamily),
    /// Destination address; a packet of the other family doesn't match.
    Destination(AddressFamily),
    /// Transport protocol.
    Protocol,
    /// Source port of TCP, UDP or SCTP. Only behind a match of the protocol.
    SourcePort,
    /// Destination port of TCP, UDP or SCTP. Only behind a match of the protocol.
    DestinationPort,
    /// Type of an ICMPv6 message. Only behind a match of the protocol.
    IcmpV6Type,
    /// The packet's mark.
    Mark,
}

/// State of a packet's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Belongs to none.
    Invalid,
    /// Packets went both ways.
    Established,
    /// Opened by another connection, or an error about it.
    Related,
    /// Its first packet.
    New,
    /// Taken out of tracking.
    Untracked,
}

/// What the routing table says of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressType {
    /// The host's own.
    Local,
    /// Everybody's on a segment.
    Broadcast,
    /// A group's.
    Multicast,
    /// Another host's.
    Unicast,
}

/// What is done with a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// The verdict.
    Verdict(Verdict),
    /// The verdict that this map has for the fields; without one, on to the next rule.
    VerdictMap(Vec<Field>, String),
    /// Source address becomes that of the interface it leaves by.
    Masquerade,
    /// Source is translated.
    Snat(NatTarget),
    /// Destination is translated.
    Dnat(NatTarget),
    /// Destination becomes this host, at this port if one is given.
    Redirect(Option<u16>),
    /// Refused with an ICMP error.
    Reject,
    /// The packet is marked.
    SetMark(u32),
    /// A port of the packet is changed, and nothing remembers what it was: no connection tracking is needed.
    SetPort(Transport, PortField, u16),
    /// Something that isn't in this vocabulary. Only ever read from a kernel, where somebody put it into our chain; a rule
    /// with it is never written, and equals none that we want.
    Foreign,
}

/// A protocol whose checksum has to follow when a port is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// One of a packet's two ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortField {
    /// The sender's.
    Source,
    /// The receiver's.
    Destination,
}

/// Where to a translation goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NatTarget {
    /// To this address, and port if one is given.
    Address(IpAddr, Option<u16>),
    /// To the address, and port if the map has them, that this map has for the fields.
    Map {
        /// Family of the addresses.
        family: AddressFamily,
        /// The key.
        fields: Vec<Field>,
        /// The map.
        map: String,
        /// Its data are `address . port`.
        port: bool,
    },
}

/// What becomes of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Goes on; chains of later priority still see it.
    Accept,
    /// Is dropped.
    Drop,
    /// Goes back to where the chain was jumped to from.
    Return,
    /// Goes through this chain and comes back.
    Jump(String),
    /// Goes through this chain and doesn't come back.
    Goto(String),
}

impl Rule {
    /// A rule that does this.
    pub fn new(action: Action) -> Self {
        Self {
            action: Some(action),
            ..Self::default()
        }
    }

    /// A rule with this verdict.
    pub fn verdict(verdict: Verdict) -> Self {
        Self::new(Action::Verdict(verdict))
    }

    /// The same, when this holds too.
    #[must_use]
    pub fn when(mut self, test: Test) -> Self {
        self.matches.push(Match { negated: false, test });
        self
    }

    /// The same, unless this holds.
    #[must_use]
    pub fn unless(mut self, test: Test) -> Self {
        self.matches.push(Match { negated: true, test });
        self
    }
}

impl Field {
    /// The type of its values.
    pub const fn kind(self) -> Type {
        match self {
            Self::InputInterface | Self::OutputInterface => Type::Interface,
            Self::Source(AddressFamily::V4) | Self::Destination(AddressFamily::V4) => Type::Ipv4,
            Self::Source(AddressFamily::V6) | Self::Destination(AddressFamily::V6) => Type::Ipv6,
            // A byte, like a protocol's number.
            Self::Protocol | Self::IcmpV6Type => Type::Protocol,
            Self::SourcePort | Self::DestinationPort => Type::Port,
            Self::Mark => Type::Mark,
        }
    }

    /// The only family that has it, if not both do.
    pub(crate) const fn family(self) -> Option<AddressFamily> {
        match self {
            Self::Source(family) | Self::Destination(family) => Some(family),
            Self::IcmpV6Type => Some(AddressFamily::V6),
            _ => None,
        }
    }
}

impl Family {
    /// The address family, if it is only one.
    pub(crate) const fn only(self) -> Option<AddressFamily> {
        match self {
            Self::Inet => None,
            Self::Ip => Some(AddressFamily::V4),
            Self::Ip6 => Some(AddressFamily::V6),
        }
    }
}

const fn family_text(family: AddressFamily) -> &'static str {
    match family {
        AddressFamily::V4 => "ip",
        AddressFamily::V6 => "ip6",
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let matches = self.matches.iter().map(ToString::to_string);
        let counter = self.counter.then(|| "counter".to_owned());
        let action = self.action.as_ref().map(ToString::to_string);
        let parts: Vec<_> = matches.chain(counter).chain(action).collect();
        f.write_str(&parts.join(" "))
    }
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let not = if self.negated { "!= " } else { "" };
        match &self.test {
            Test::Is(field, value) => write!(f, "{field} {not}{value}"),
            Test::In(fields, set) => write!(f, "{} {not}@{set}", concatenated(fields)),
            Test::State(states) => {
                let states: Vec<_> = states.iter().map(ToString::to_string).collect();
                write!(f, "ct state {not}{}", states.join(","))
            }
            Test::DestinationType(kind) => write!(f, "fib daddr type {not}{kind}"),
            Test::Redirected => write!(f, "ct status {not}dnat"),
            Test::Family(AddressFamily::V4) => write!(f, "meta nfproto {not}ipv4"),
            Test::Family(AddressFamily::V6) => write!(f, "meta nfproto {not}ipv6"),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InputInterface => f.write_str("iifname"),
            Self::OutputInterface => f.write_str("oifname"),
            Self::Source(family) => write!(f, "{} saddr", family_text(*family)),
            Self::Destination(family) => write!(f, "{} daddr", family_text(*family)),
            Self::Protocol => f.write_str("meta l4proto"),
            Self::SourcePort => f.write_str("th sport"),
            Self::DestinationPort => f.write_str("th dport"),
            Self::IcmpV6Type => f.write_str("icmpv6 type"),
            Self::Mark => f.write_str("meta mark"),
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Invalid => "invalid",
            Self::Established => "established",
            Self::Related => "related",
            Self::New => "new",
            Self::Untracked => "untracked",
        })
    }
}

impl fmt::Display for AddressType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "local",
            Self::Broadcast => "broadcast",
            Self::Multicast => "multicast",
            Self::Unicast => "unicast",
        })
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Verdict(verdict) => write!(f, "{verdict}"),
            Self::VerdictMap(fields, map) => write!(f, "{} vmap @{map}", concatenated(fields)),
            Self::Masquerade => f.write_str("masquerade"),
            Self::Snat(target) => write!(f, "snat {target}"),
            Self::Dnat(target) => write!(f, "dnat {target}"),
            Self::Redirect(None) => f.write_str("redirect"),
            Self::Redirect(Some(port)) => write!(f, "redirect to :{port}"),
            Self::Reject => f.write_str("reject"),
            Self::SetMark(mark) => write!(f, "meta mark set 0x{mark:08x}"),
            Self::SetPort(transport, field, port) => {
                let transport = match transport {
                    Transport::Tcp => "tcp",
                    Transport::Udp => "udp",
                };
                let field = match field {
                    PortField::Source => "sport",
                    PortField::Destination => "dport",
                };
                write!(f, "{transport} {field} set {port}")
            }
            Self::Foreign => f.write_str("# somebody else's"),
        }
    }
}

impl fmt::Display for NatTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address, None) => {
                write!(f, "{} to {address}", family_text(AddressFamily::of(*address)))
            }
            Self::Address(IpAddr::V4(address), Some(port)) => write!(f, "ip to {address}:{port}"),
            Self::Address(IpAddr::V6(address), Some(port)) => write!(f, "ip6 to [{address}]:{port}"),
            Self::Map {
                family, fields, map, ..
            } => {
                write!(
                    f,
                    "{} to {} map @{map}",
                    family_text(*family),
                    concatenated(fields)
                )
            }
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept => f.write_str("accept"),
            Self::Drop => f.write_str("drop"),
            Self::Return => f.write_str("return"),
            Self::Jump(chain) => write!(f, "jump {chain}"),
            Self::Goto(chain) => write!(f, "goto {chain}"),
        }
    }
}
