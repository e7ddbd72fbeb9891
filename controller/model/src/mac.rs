//! Ethernet addresses.

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};

/// A unicast 48-bit Ethernet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddress([u8; 6]);

/// Text that is no unicast Ethernet address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a unicast MAC address: six hexadecimal pairs, as in \"02:42:ac:11:00:02\", are")]
pub struct MacError(String);

impl MacAddress {
    /// Wraps six bytes; a multicast (or broadcast) or all-zero address is refused.
    pub fn new(bytes: [u8; 6]) -> Result<Self, MacError> {
        let address = Self(bytes);
        if bytes[0] & 1 == 1 || bytes == [0; 6] {
            Err(MacError(address.to_string()))
        } else {
            Ok(address)
        }
    }

    /// The locally administered address `02:42:` + IPv4 (as the incumbent made them), or `02:43:` + the low
    /// four bytes of an IPv6 address, scrambled by what is in front of them: a segment may have several subnets. On an
    /// overlay both ends can then compute it, and no two addresses of one subnet share it.
    pub fn from_ip(address: IpAddr) -> Self {
        let (kind, low) = match address {
            IpAddr::V4(v4) => (0x42, v4.octets()),
            IpAddr::V6(v6) => {
                let o = v6.octets();
                let front = scrambled(&o[..12]).to_be_bytes();
                (0x43, std::array::from_fn(|at| o[12 + at] ^ front[at]))
            }
        };
        Self([0x02, kind, low[0], low[1], low[2], low[3]])
    }

    /// The locally administered address `02:44:` + four bytes that follow from what it is for, for interfaces whose IP
    /// address is not known before they have one of these: the same for the same, and so a DHCP server knows it again.
    pub fn for_owner(owner: &[u8]) -> Self {
        let [a, b, c, d] = scrambled(owner).to_be_bytes();
        Self([0x02, 0x44, a, b, c, d])
    }

    /// The six bytes.
    pub const fn octets(self) -> [u8; 6] {
        self.0
    }
}

/// Two digits and nothing else: the standard library's parser would take a sign.
fn is_hex(pair: &str) -> bool {
    pair.len() == 2 && pair.bytes().all(|digit| digit.is_ascii_hexdigit())
}

impl FromStr for MacAddress {
    type Err = MacError;
    fn from_str(text: &str) -> Result<Self, MacError> {
        let error = || MacError(text.to_owned());
        let mut bytes = [0; 6];
        let mut pairs = text.split([':', '-']);
        for byte in &mut bytes {
            let pair = pairs.next().filter(|pair| is_hex(pair)).ok_or_else(error)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| error())?;
        }
        if pairs.next().is_some() {
            return Err(error());
        }
        Self::new(bytes).map_err(|_| error())
    }
}
impl TryFrom<String> for MacAddress {
    type Error = MacError;
    fn try_from(text: String) -> Result<Self, MacError> {
        text.parse()
    }
}
impl From<MacAddress> for String {
    fn from(address: MacAddress) -> String {
        address.to_string()
    }
}
/// FNV-1a: the same everywhere and for ever, unlike the standard library's hash.
fn scrambled(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_and_multicast_is_refused() {
        let mac: MacAddress = "02:42:AC:11:00:02".parse().expect("a unicast address");
        assert_eq!(mac.to_string(), "02:42:ac:11:00:02");
        assert_eq!(mac, MacAddress::from_ip(IpAddr::from([172, 17, 0, 2])));
        for bad in [
            "",
            "02:42:ac:11:00",
            "02:42:ac:11:00:02:03",
            "01:00:5e:00:00:01",
            "00:00:00:00:00:00",
            "+2:42:ac:11:00:02",
        ] {
            assert!(bad.parse::<MacAddress>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn addresses_of_a_segments_subnets_make_different_ones() {
        let of = |text: &str| MacAddress::from_ip(text.parse().expect("an address"));
        assert_ne!(of("fd00:1::2"), of("fd00:2::2"));
        assert_ne!(of("fd00:1::2"), of("fd00:1::3"));
        assert_eq!(of("fd00:1::2"), of("fd00:1:0:0::2"));
    }
}
