//! Subnets without host bits, and the two address families.

use std::{fmt, net::IpAddr, ops::Deref, str::FromStr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// IPv4 or IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AddressFamily {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl AddressFamily {
    /// The family of an address.
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

impl fmt::Display for AddressFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// An IP network whose host bits are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet(IpNet);

/// Why text is no subnet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubnetError {
    /// Not an address with a prefix length.
    #[error("{0:?} is not a subnet: an address and a prefix length, as in \"172.16.2.0/24\", are")]
    Malformed(String),
    /// Bits are set behind the prefix.
    #[error("{given} has host bits set: did you mean \"{meant}\"?")]
    HostBits {
        /// What was given.
        given: IpNet,
        /// The subnet it lies in.
        meant: IpNet,
    },
}

impl Subnet {
    /// Checks that no host bit is set.
    pub fn new(net: IpNet) -> Result<Self, SubnetError> {
        let meant = net.trunc();
        if net == meant {
            Ok(Self(net))
        } else {
            Err(SubnetError::HostBits { given: net, meant })
        }
    }

    /// The subnet that an interface address lies in.
    pub fn around(net: IpNet) -> Self {
        Self(net.trunc())
    }

    /// The plain network.
    pub const fn net(self) -> IpNet {
        self.0
    }

    /// Its family.
    pub const fn family(self) -> AddressFamily {
        match self.0 {
            IpNet::V4(_) => AddressFamily::V4,
            IpNet::V6(_) => AddressFamily::V6,
        }
    }

    /// Whether the two share an address.
    pub fn overlaps(self, other: Self) -> bool {
        self.0.contains(&other.0) || other.0.contains(&self.0)
    }

    /// `address` with this subnet's prefix length, as an interface wears it.
    ///
    /// # Panics
    /// When the families differ.
    pub fn with_address(self, address: IpAddr) -> IpNet {
        assert_eq!(
            AddressFamily::of(address),
            self.family(),
            "an address of the subnet's own family"
        );
        IpNet::new(address, self.0.prefix_len()).expect("the prefix length fits the family")
    }
}

impl Deref for Subnet {
    type Target = IpNet;
    fn deref(&self) -> &IpNet {
        &self.0
    }
}
impl FromStr for Subnet {
    type Err = SubnetError;
    fn from_str(text: &str) -> Result<Self, SubnetError> {
        Self::new(
            text.parse()
                .map_err(|_| SubnetError::Malformed(text.to_owned()))?,
        )
    }
}
impl TryFrom<String> for Subnet {
    type Error = SubnetError;
    fn try_from(text: String) -> Result<Self, SubnetError> {
        text.parse()
    }
}
impl From<Subnet> for String {
    fn from(subnet: Subnet) -> String {
        subnet.to_string()
    }
}
impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_bits_are_refused_with_what_was_meant() {
        let error = "10.1.2.3/24".parse::<Subnet>().expect_err("host bits");
        assert_eq!(
            error.to_string(),
            "10.1.2.3/24 has host bits set: did you mean \"10.1.2.0/24\"?"
        );
        assert!("10.1.2.0/24".parse::<Subnet>().is_ok());
        assert!("fd00::1/64".parse::<Subnet>().is_err());
        assert!("10.1.2.0".parse::<Subnet>().is_err());
    }

    #[test]
    fn overlap_is_mutual() {
        let [wide, narrow, other] =
            ["10.0.0.0/8", "10.1.0.0/16", "11.0.0.0/8"].map(|s| s.parse::<Subnet>().expect("a subnet"));
        assert!(wide.overlaps(narrow) && narrow.overlaps(wide) && !other.overlaps(wide));
    }
}
