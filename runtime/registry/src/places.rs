//! Which registries may be spoken to without knowing who they are.

use std::{net::IpAddr, str::FromStr};

/// One of `--insecure-registry`: a host as it is written in images' names, or a subnet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Insecure {
    /// `HOST` or `HOST:PORT`.
    Host(String),
    /// Every registry with an address in it: the address's first so many bits.
    Subnet(IpAddr, u8),
}

/// What is no registry and no subnet.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("insecure registry {0} is not valid: HOST[:PORT] or a subnet is wanted")]
pub struct NotAPlace(String);

impl FromStr for Insecure {
    type Err = NotAPlace;

    /// A scheme in front was once usual, and is taken off.
    fn from_str(text: &str) -> Result<Self, NotAPlace> {
        let wrong = || NotAPlace(text.to_owned());
        let bare = text.trim_start_matches("http://").trim_start_matches("https://");
        if let Some((address, bits)) = bare.split_once('/') {
            let address: IpAddr = address.parse().map_err(|_| wrong())?;
            let most = if address.is_ipv4() { 32 } else { 128 };
            let bits = bits.parse().ok().filter(|bits| *bits <= most);
            return Ok(Self::Subnet(address, bits.ok_or_else(wrong)?));
        }
        let port = bare.rsplit_once(':').map(|(_, port)| port);
        let names_a_port = port.is_none_or(|port| port.ends_with(']') || port.parse::<u16>().is_ok());
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
        match !bare.is_empty() && !bare.starts_with('-') && bare.bytes().all(plain) && names_a_port {
            true => Ok(Self::Host(bare.to_owned())),
            false => Err(wrong()),
        }
    }
}

impl Insecure {
    fn holds(&self, address: IpAddr) -> bool {
        match (self, address) {
            (Self::Subnet(IpAddr::V4(net), bits), IpAddr::V4(address)) => {
                let shift = 32 - u32::from(*bits);
                same(u128::from(u32::from(*net)), u128::from(u32::from(address)), shift)
            }
            (Self::Subnet(IpAddr::V6(net), bits), IpAddr::V6(address)) => {
                same(u128::from(*net), u128::from(address), 128 - u32::from(*bits))
            }
            _ => false,
        }
    }
}

fn same(one: u128, other: u128, shift: u32) -> bool {
    one.checked_shr(shift).unwrap_or(0) == other.checked_shr(shift).unwrap_or(0)
}

/// Whether a registry may be spoken to without certificates: it was named, or one of its addresses is in a subnet that
/// was, or is this host's own.
pub(crate) fn is_insecure(host: &str, addresses: &[IpAddr], insecure: &[Insecure]) -> bool {
    insecure.contains(&Insecure::Host(host.to_owned()))
        || addresses
            .iter()
            .any(|address| address.is_loopback() || insecure.iter().any(|one| one.holds(*address)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_need_not_prove_who_they_are() {
        let insecure: Vec<Insecure> = ["reg.lan:5000", "10.1.0.0/16", "fd00:1::/32"]
            .map(|text| text.parse().expect(text))
            .to_vec();
        for (host, address, wanted) in [
            ("reg.lan:5000", "203.0.113.1", true),
            ("reg.lan", "203.0.113.1", false),
            ("other", "10.1.255.1", true),
            ("other", "10.2.0.1", false),
            ("other", "fd00:1:2::3", true),
            ("other", "fd00:2::3", false),
            ("localhost:5000", "127.0.0.1", true),
            ("localhost:5000", "::1", true),
        ] {
            let address = address.parse().expect("an address");
            assert_eq!(
                is_insecure(host, &[address], &insecure),
                wanted,
                "{host} at {address}"
            );
        }
    }

    #[test]
    fn places_are_hosts_and_subnets() {
        let host = |text: &str| Ok(Insecure::Host(text.to_owned()));
        assert_eq!("http://reg:5000".parse(), host("reg:5000"));
        assert_eq!("[::1]:5000".parse(), host("[::1]:5000"));
        assert_eq!("::/0".parse(), Ok(Insecure::Subnet("::".parse().expect("::"), 0)));
        for wrong in ["", "-x", "reg:port", "10.0.0.0/33", "reg/path", "a b"] {
            assert!(wrong.parse::<Insecure>().is_err(), "{wrong}");
        }
    }
}
