//! Pure: addresses as numbers, so that both families share one arithmetic.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use model::{AddressFamily, IpNet, Subnet};

/// The address as a number.
pub(crate) fn of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u32::from(v4).into(),
        IpAddr::V6(v6) => v6.into(),
    }
}

/// The number as an address.
pub(crate) fn address(family: AddressFamily, number: u128) -> IpAddr {
    match family {
        AddressFamily::V4 => Ipv4Addr::from(u32::try_from(number).unwrap_or(u32::MAX)).into(),
        AddressFamily::V6 => Ipv6Addr::from(number).into(),
    }
}

/// First and last address of a subnet, network and broadcast address included.
pub(crate) fn bounds(subnet: Subnet) -> (u128, u128) {
    (of(subnet.network()), of(subnet.broadcast()))
}

/// The subnet of this length that starts at or around the number.
pub(crate) fn subnet(family: AddressFamily, number: u128, length: u8) -> Option<Subnet> {
    Some(Subnet::around(IpNet::new(address(family, number), length).ok()?))
}
