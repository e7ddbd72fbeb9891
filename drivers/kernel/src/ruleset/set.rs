//! Sets and maps: typed keys, verdicts or data behind them, and their elements.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use model::{InterfaceName, Subnet};

use super::{Table, Verdict};

/// A set, or with something behind its keys a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// The table it is in.
    pub table: Table,
    /// Its name.
    pub name: String,
    /// The types of a key's parts; more than one is a concatenation.
    pub key: Vec<Type>,
    /// What is behind a key.
    pub content: Content,
    /// Keys hold subnets and ranges. Every address of a key is then a subnet and every port a range, if only of one.
    pub intervals: bool,
}

/// What is behind the keys of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Nothing: a plain set.
    Keys,
    /// A verdict each: a verdict map.
    Verdicts,
    /// Data of these types each: a map.
    Data(Vec<Type>),
}

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Type {
    /// An IPv4 address or subnet.
    Ipv4,
    /// An IPv6 address or subnet.
    Ipv6,
    /// A transport protocol.
    Protocol,
    /// A TCP, UDP or SCTP port.
    Port,
    /// An interface's name.
    Interface,
    /// A packet's mark.
    Mark,
}

/// A value of one [`Type`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// An address.
    Address(IpAddr),
    /// All addresses of a subnet: in rules, and as a key of a set with intervals.
    Subnet(Subnet),
    /// A transport protocol by its number.
    Protocol(u8),
    /// A port.
    Port(u16),
    /// All ports from the first to the last: a key of a set with intervals.
    Ports(u16, u16),
    /// An interface by name.
    Interface(InterfaceName),
    /// A packet's mark.
    Mark(u32),
}

/// An element of a set or map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// The table that the set is in.
    pub table: Table,
    /// The set.
    pub set: String,
    /// Its key, one value per part.
    pub key: Vec<Value>,
    /// What is behind it, of the set's kind.
    pub to: Mapped,
}

/// What is behind an element's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mapped {
    /// Nothing, in a plain set.
    Nothing,
    /// A verdict, in a verdict map.
    Verdict(Verdict),
    /// Data, in a map.
    Data(Vec<Value>),
}

impl Value {
    /// IANA's number of TCP.
    pub const TCP: Self = Self::Protocol(6);
    /// IANA's number of UDP.
    pub const UDP: Self = Self::Protocol(17);

    /// Its type.
    pub fn kind(&self) -> Type {
        match self {
            Self::Address(IpAddr::V4(_)) => Type::Ipv4,
            Self::Address(IpAddr::V6(_)) => Type::Ipv6,
            Self::Subnet(subnet) if subnet.addr().is_ipv4() => Type::Ipv4,
            Self::Subnet(_) => Type::Ipv6,
            Self::Protocol(_) => Type::Protocol,
            Self::Port(_) | Self::Ports(..) => Type::Port,
            Self::Interface(_) => Type::Interface,
            Self::Mark(_) => Type::Mark,
        }
    }

    /// The bytes the kernel compares with: its own if single, else those of its first value.
    pub(crate) fn first(&self) -> Vec<u8> {
        match self {
            Self::Address(address) => octets(*address),
            Self::Subnet(subnet) => octets(subnet.network()),
            Self::Protocol(number) => vec![*number],
            Self::Port(port) | Self::Ports(port, _) => port.to_be_bytes().to_vec(),
            Self::Interface(name) => {
                let mut bytes = name.as_bytes().to_vec();
                bytes.resize(Type::Interface.width(), 0);
                bytes
            }
            Self::Mark(mark) => mark.to_ne_bytes().to_vec(),
        }
    }

    /// The bytes of its last value, which for a single one are those of the first.
    pub(crate) fn last(&self) -> Vec<u8> {
        match self {
            Self::Subnet(subnet) => octets(subnet.broadcast()),
            Self::Ports(_, last) => last.to_be_bytes().to_vec(),
            single => single.first(),
        }
    }

    /// Whether it stands for several values, if only for one of them by chance.
    pub(crate) const fn is_range(&self) -> bool {
        matches!(self, Self::Subnet(_) | Self::Ports(..))
    }

    /// Reads what [`Value::first`] wrote; none when that is no value of the type.
    pub(crate) fn from_bytes(kind: Type, bytes: &[u8]) -> Option<Self> {
        let first = bytes.get(..kind.width())?;
        Some(match kind {
            Type::Ipv4 | Type::Ipv6 => Self::Address(address(first)?),
            Type::Protocol => Self::Protocol(first[0]),
            Type::Port => Self::Port(u16::from_be_bytes(first.try_into().ok()?)),
            Type::Mark => Self::Mark(u32::from_ne_bytes(first.try_into().ok()?)),
            Type::Interface => {
                let text = first.split(|byte| *byte == 0).next()?;
                Self::Interface(InterfaceName::new(std::str::from_utf8(text).ok()?).ok()?)
            }
        })
    }

    /// Reads what [`Value::first`] and [`Value::last`] wrote of a key of a set with intervals.
    pub(crate) fn from_bounds(kind: Type, first: &[u8], last: &[u8]) -> Option<Self> {
        let width = kind.width();
        let (first, last) = (first.get(..width)?, last.get(..width)?);
        match kind {
            Type::Port => Some(Self::Ports(
                u16::from_be_bytes(first.try_into().ok()?),
                u16::from_be_bytes(last.try_into().ok()?),
            )),
            Type::Ipv4 | Type::Ipv6 => {
                let differing = first.iter().zip(last).map(|(a, b)| a ^ b);
                let host_bits: u32 = differing.map(|byte| 8 - byte.leading_zeros()).reduce(wider)?;
                let length = u8::try_from(first.len() * 8).ok()? - u8::try_from(host_bits).ok()?;
                let net = model::IpNet::new(address(first)?, length).ok()?;
                let subnet = Subnet::new(net).ok()?;
                (octets(subnet.broadcast()) == last).then_some(Self::Subnet(subnet))
            }
            Type::Protocol | Type::Interface | Type::Mark if first == last => Self::from_bytes(kind, first),
            Type::Protocol | Type::Interface | Type::Mark => None,
        }
    }
}

/// Host bits of an address so far and of its next byte, together.
fn wider(so_far: u32, next: u32) -> u32 {
    if so_far == 0 { next } else { so_far + 8 }
}

impl Type {
    /// How many bytes a value has.
    pub(crate) const fn width(self) -> usize {
        match self {
            Self::Protocol => 1,
            Self::Port => 2,
            Self::Ipv4 | Self::Mark => 4,
            Self::Ipv6 | Self::Interface => 16,
        }
    }

    /// How many bytes a value takes as a part of a concatenation, and in registers: a multiple of four.
    pub(crate) const fn padded(self) -> usize {
        self.width().next_multiple_of(4)
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into()),
        _ => None,
    }
}

/// `a . b`
pub(crate) fn concatenated<T: fmt::Display>(parts: &[T]) -> String {
    parts
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(" . ")
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "ipv4_addr",
            Self::Ipv6 => "ipv6_addr",
            Self::Protocol => "inet_proto",
            Self::Port => "inet_service",
            Self::Interface => "ifname",
            Self::Mark => "mark",
        })
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Subnet(subnet) => write!(f, "{subnet}"),
            Self::Protocol(1) => f.write_str("icmp"),
            Self::Protocol(6) => f.write_str("tcp"),
            Self::Protocol(17) => f.write_str("udp"),
            Self::Protocol(58) => f.write_str("ipv6-icmp"),
            Self::Protocol(132) => f.write_str("sctp"),
            Self::Protocol(number) => write!(f, "{number}"),
            Self::Port(port) => write!(f, "{port}"),
            Self::Ports(first, last) => write!(f, "{first}-{last}"),
            Self::Interface(name) => write!(f, "\"{name}\""),
            Self::Mark(mark) => write!(f, "0x{mark:08x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_of_a_value_read_back_as_the_value() {
        let subnet = |text: &str| Value::Subnet(text.parse().expect("a subnet"));
        for value in [
            Value::Address([10, 0, 0, 1].into()),
            Value::Address("fd00::1".parse().expect("an address")),
            subnet("10.0.0.0/8"),
            subnet("10.1.128.0/17"),
            subnet("0.0.0.0/0"),
            subnet("10.0.0.1/32"),
            subnet("fd00:1:2::/49"),
            Value::TCP,
            Value::Port(53),
            Value::Ports(1000, 65535),
            Value::Interface(InterfaceName::new("br-0123456789ab").expect("a name")),
            Value::Mark(0xD0C4_E300),
        ] {
            let read = if value.is_range() {
                Value::from_bounds(value.kind(), &value.first(), &value.last())
            } else {
                Value::from_bytes(value.kind(), &value.first())
            };
            assert_eq!(read, Some(value));
        }
    }

    #[test]
    fn what_is_no_value_reads_as_none() {
        assert_eq!(Value::from_bytes(Type::Ipv4, &[10, 0]), None);
        assert_eq!(
            Value::from_bounds(Type::Ipv4, &[10, 0, 0, 1], &[10, 0, 0, 9]),
            None
        );
        assert_eq!(Value::from_bounds(Type::Ipv4, &[10, 0], &[10, 0]), None);
    }
}
