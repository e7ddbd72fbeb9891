//! The default bridge network: what is asked of it, and what of that goes together.

use std::net::IpAddr;

use model::{AddressFamily, InterfaceName, IpNet, Subnet};
use serde::Deserialize;

use super::{ConfigError, Persona, Raw, bad};

/// A pool that user networks take subnets from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct AddressPool {
    /// The pool.
    pub base: Subnet,
    /// Prefix length of each subnet cut from it.
    pub size: u8,
}

/// The default bridge network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    /// Its device; none for no default bridge at all (`--bridge none`).
    pub device: Option<InterfaceName>,
    /// The device is the administrator's: it is used with the address it has.
    pub adopted: bool,
    /// Its address and prefix length.
    pub address: Option<IpNet>,
    /// Where containers' addresses are taken from.
    pub range: Option<Subnet>,
    /// It has IPv6 as well.
    pub ipv6: bool,
    /// Its IPv6 address and prefix length.
    pub address_v6: Option<IpNet>,
    /// Where containers' IPv6 addresses are taken from.
    pub range_v6: Option<Subnet>,
    /// Containers' gateways, where they are not the bridge itself; at most one of each family.
    pub gateways: Vec<IpAddr>,
    /// Containers reach each other.
    pub icc: bool,
    /// Egress is masqueraded.
    pub masquerade: bool,
    /// MTU in bytes; none for the uplink's.
    pub mtu: Option<u32>,
}

pub(super) fn bridge(persona: Persona, raw: &Raw) -> Result<Bridge, ConfigError> {
    let name = |name: &str| InterfaceName::new(name).map_err(|error| bad("bridge", error.to_string()));
    let device = match raw.bridge.as_deref() {
        Some("none") => None,
        None | Some("") => Some(name(persona.bridge())?),
        Some(given) => Some(name(given)?),
    };
    let given = raw.bridge.as_deref().is_some_and(|bridge| !bridge.is_empty());
    for (key, has) in [("bip", raw.bip.is_some()), ("bip6", raw.bip6.is_some())] {
        if given && has {
            return Err(bad(
                key,
                "can't be given together with \"bridge\": an adopted bridge has its own address",
            ));
        }
    }
    own_address("bip", raw.bip, AddressFamily::V4)?;
    own_address("bip6", raw.bip6, AddressFamily::V6)?;
    range("fixed-cidr", raw.fixed_cidr, raw.bip, AddressFamily::V4)?;
    range("fixed-cidr-v6", raw.fixed_cidr_v6, raw.bip6, AddressFamily::V6)?;
    let subnet_v6 = raw.bip6.map(Subnet::around).or(raw.fixed_cidr_v6);
    gateway(
        "default-gateway",
        raw.default_gateway,
        raw.bip.map(Subnet::around),
        AddressFamily::V4,
    )?;
    gateway(
        "default-gateway-v6",
        raw.default_gateway_v6,
        subnet_v6,
        AddressFamily::V6,
    )?;
    if let Some(mtu) = raw.mtu
        && !(mtu == 0 || (68..=65535).contains(&mtu))
    {
        return Err(bad(
            "mtu",
            format!("{mtu} is out of range: 68 to 65535 are possible"),
        ));
    }
    let ipv6 = raw.ipv6.unwrap_or(false);
    let gateway_v6 = raw.default_gateway_v6.filter(|_| ipv6);
    Ok(Bridge {
        adopted: device.is_some() && given,
        device,
        address: raw.bip,
        range: raw.fixed_cidr,
        ipv6,
        address_v6: raw.bip6.filter(|_| ipv6),
        range_v6: raw.fixed_cidr_v6.filter(|_| ipv6),
        gateways: raw.default_gateway.into_iter().chain(gateway_v6).collect(),
        icc: raw.icc.unwrap_or(true),
        masquerade: raw.ip_masq.unwrap_or(true),
        mtu: raw.mtu.filter(|mtu| *mtu > 0),
    })
}

/// The bridge wears it, so it is no subnet.
fn own_address(key: &str, given: Option<IpNet>, family: AddressFamily) -> Result<(), ConfigError> {
    let Some(address) = given else { return Ok(()) };
    let example = match family {
        AddressFamily::V4 => "172.17.0.1/16",
        AddressFamily::V6 => "fd00:17::1/64",
    };
    if AddressFamily::of(address.addr()) != family {
        return Err(bad(
            key,
            format!("{address} is no {family} address, such as {example}"),
        ));
    }
    match address.addr() == address.network() {
        true => Err(bad(
            key,
            format!("{address} is a subnet: the bridge's own address in it is wanted, e.g. {example}"),
        )),
        false => Ok(()),
    }
}

fn range(
    key: &str,
    given: Option<Subnet>,
    own: Option<IpNet>,
    family: AddressFamily,
) -> Result<(), ConfigError> {
    let Some(range) = given else { return Ok(()) };
    if range.family() != family {
        return Err(bad(key, format!("{range} is no {family} subnet")));
    }
    match own {
        Some(own) if !Subnet::around(own).contains(&range.net()) => Err(bad(
            key,
            format!("{range} lies outside {}, the bridge's subnet", own.trunc()),
        )),
        _ => Ok(()),
    }
}

fn gateway(
    key: &str,
    given: Option<IpAddr>,
    subnet: Option<Subnet>,
    family: AddressFamily,
) -> Result<(), ConfigError> {
    let Some(address) = given else { return Ok(()) };
    if AddressFamily::of(address) != family {
        return Err(bad(key, format!("{address} is no {family} address")));
    }
    match subnet {
        Some(subnet) if !subnet.contains(&address) => Err(bad(
            key,
            format!("{address} lies outside {subnet}, the bridge's subnet"),
        )),
        _ => Ok(()),
    }
}
