//! The bridge driver's options, typed. Keys and switches are Docker's.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use model::{AddressFamily, InterfaceName, Labels};

use crate::{
    Error, Result,
    options::{self, INTERFACE_PREFIX, MTU, boolean, invalid},
};

const NAME: &str = "com.docker.network.bridge.name";
const ICC: &str = "com.docker.network.bridge.enable_icc";
const MASQUERADE: &str = "com.docker.network.bridge.enable_ip_masquerade";
const HOST_BINDING: &str = "com.docker.network.bridge.host_binding_ipv4";
const DEFAULT_BRIDGE: &str = "com.docker.network.bridge.default_bridge";
const MODES: [&str; 2] = [
    "com.docker.network.bridge.gateway_mode_ipv4",
    "com.docker.network.bridge.gateway_mode_ipv6",
];

const INHIBIT_IPV4: &str = "com.docker.network.bridge.inhibit_ipv4";
const TRUSTED: &str = "com.docker.network.bridge.trusted_host_interfaces";
const HOST_IPV4: &str = "com.docker.network.host_ipv4";
const HOST_IPV6: &str = "com.docker.network.host_ipv6";

const KNOWN: [&str; 13] = [
    NAME,
    ICC,
    MASQUERADE,
    HOST_BINDING,
    DEFAULT_BRIDGE,
    MODES[0],
    MODES[1],
    INHIBIT_IPV4,
    TRUSTED,
    HOST_IPV4,
    HOST_IPV6,
    MTU,
    INTERFACE_PREFIX,
];

/// How containers and what is outside reach each other, family by family.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum GatewayMode {
    /// Out with the host's address, in by published ports.
    #[default]
    Nat,
    /// The same, and every port of every container can be reached by its own address.
    NatUnprotected,
    /// With their own addresses, in to published ports only.
    Routed,
    /// Not at all, and the bridge has no address: only on internal networks.
    Isolated,
}

impl GatewayMode {
    /// Whether addresses are translated between containers and the outside.
    pub const fn translates(self) -> bool {
        matches!(self, Self::Nat | Self::NatUnprotected)
    }
}

/// What a bridge network can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeOptions {
    /// The device's name; none for one made of the network's id.
    pub device: Option<InterfaceName>,
    /// Containers on the network reach each other.
    pub icc: bool,
    /// Packets to the outside get the host's address.
    pub masquerade: bool,
    /// Where ports are published unless an address is given with them.
    pub host_binding: Option<IpAddr>,
    /// MTU in bytes; none for the uplink's.
    pub mtu: Option<u32>,
    /// Start of interface names inside sandboxes; none for `eth`.
    pub interface_prefix: Option<String>,
    /// The gateway's mode for IPv4.
    pub mode_v4: GatewayMode,
    /// The gateway's mode for IPv6.
    pub mode_v6: GatewayMode,
    /// The bridge doesn't wear the IPv4 gateway's address: it is somebody else's.
    pub inhibit_ipv4: bool,
    /// Interfaces of the host whose packets reach containers by their own addresses.
    pub trusted: Vec<InterfaceName>,
    /// What IPv4 packets to the outside have as their source; none for the address of the interface they leave by.
    pub source_v4: Option<Ipv4Addr>,
    /// The same for IPv6.
    pub source_v6: Option<Ipv6Addr>,
}

impl BridgeOptions {
    /// Reads them; refuses what the driver doesn't have or can't use.
    pub fn parse(options: &Labels) -> Result<Self> {
        options::refuse_unknown("bridge", &KNOWN, options)?;
        boolean(options, DEFAULT_BRIDGE, false)?;
        Ok(Self {
            device: device(options)?,
            icc: boolean(options, ICC, true)?,
            masquerade: boolean(options, MASQUERADE, true)?,
            host_binding: host_binding(options)?,
            mtu: options::mtu(options)?,
            interface_prefix: options::interface_prefix(options)?,
            mode_v4: mode(options, MODES[0])?,
            mode_v6: mode(options, MODES[1])?,
            inhibit_ipv4: boolean(options, INHIBIT_IPV4, false)?,
            trusted: trusted(options)?,
            source_v4: address(options, HOST_IPV4, "an IPv4 address")?,
            source_v6: address(options, HOST_IPV6, "an IPv6 address")?,
        })
    }

    /// The gateway's mode for a family.
    pub const fn mode(&self, family: AddressFamily) -> GatewayMode {
        match family {
            AddressFamily::V4 => self.mode_v4,
            AddressFamily::V6 => self.mode_v6,
        }
    }

    /// What packets to the outside have as their source, if not the address of the interface they leave by.
    pub fn source(&self, family: AddressFamily) -> Option<IpAddr> {
        match family {
            AddressFamily::V4 => self.source_v4.map(IpAddr::V4),
            AddressFamily::V6 => self.source_v6.map(IpAddr::V6),
        }
    }
}

fn device(options: &Labels) -> Result<Option<InterfaceName>> {
    let Some(name) = options.get(NAME).filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    let device = InterfaceName::new(name.as_str()).map_err(|error| Error::Invalid {
        message: format!("option {NAME:?}: {error}"),
        hint: Some("choose a shorter or plainer name, such as \"br-web\"".to_owned()),
    })?;
    // The kernel has settings of these two names for all links, and takes "%d" for a number that it chooses.
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let is_taken = matches!(name.as_str(), "all" | "default");
    match is_taken || !name.chars().all(plain) {
        true => Err(invalid(
            NAME,
            name,
            "a name of letters, digits, \".\", \"_\" and \"-\" that is neither \"all\" nor \"default\", such as \"br-web\",",
        )),
        false => Ok(Some(device)),
    }
}

fn host_binding(options: &Labels) -> Result<Option<IpAddr>> {
    // Docker takes an IPv6 address here, whatever the key says.
    address(options, HOST_BINDING, "an IP address")
}

fn address<T: FromStr>(options: &Labels, key: &str, wanted: &str) -> Result<Option<T>> {
    match options.get(key).filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| invalid(key, text, wanted)),
    }
}

fn mode(options: &Labels, key: &str) -> Result<GatewayMode> {
    Ok(match options.get(key).map(String::as_str) {
        None | Some("" | "nat") => GatewayMode::Nat,
        Some("nat-unprotected") => GatewayMode::NatUnprotected,
        Some("routed") => GatewayMode::Routed,
        Some("isolated") => GatewayMode::Isolated,
        Some(mode) => {
            return Err(invalid(
                key,
                mode,
                "\"nat\", \"nat-unprotected\", \"routed\" or \"isolated\"",
            ));
        }
    })
}

fn trusted(options: &Labels) -> Result<Vec<InterfaceName>> {
    let text = options.get(TRUSTED).map(String::as_str).unwrap_or_default();
    let mut names = text.split(':').filter(|name| !name.is_empty()).peekable();
    if names.peek().is_none() && !text.is_empty() {
        return Err(invalid(TRUSTED, text, "\"eth0:eth1\" or the like"));
    }
    names
        .map(|name| InterfaceName::new(name).map_err(|_| invalid(TRUSTED, text, "\"eth0:eth1\" or the like")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn without_options_everything_is_as_dockers() {
        let options = BridgeOptions::parse(&Labels::new()).expect("no option is fine");
        assert!(options.icc && options.masquerade && options.device.is_none() && options.mtu.is_none());
    }

    #[test]
    fn every_option_is_read() {
        let options = BridgeOptions::parse(&labels(&[
            (NAME, "br-web"),
            (ICC, "0"),
            (MASQUERADE, "False"),
            (HOST_BINDING, "127.0.0.1"),
            (MTU, "1400"),
            (INTERFACE_PREFIX, "net"),
            (DEFAULT_BRIDGE, "true"),
            (MODES[0], "nat-unprotected"),
            (MODES[1], "routed"),
            (INHIBIT_IPV4, "true"),
            (TRUSTED, "eth0:tun7"),
            (HOST_IPV4, "192.0.2.1"),
            (HOST_IPV6, "2001:db8::1"),
            ("cnm.firewall", "host"),
        ]))
        .expect("all are valid");
        let wanted = BridgeOptions {
            device: Some(InterfaceName::new("br-web").expect("a name")),
            icc: false,
            masquerade: false,
            host_binding: Some([127, 0, 0, 1].into()),
            mtu: Some(1400),
            interface_prefix: Some("net".to_owned()),
            mode_v4: GatewayMode::NatUnprotected,
            mode_v6: GatewayMode::Routed,
            inhibit_ipv4: true,
            trusted: ["eth0", "tun7"]
                .map(|name| InterfaceName::new(name).expect("a name"))
                .into(),
            source_v4: Some([192, 0, 2, 1].into()),
            source_v6: Some("2001:db8::1".parse().expect("an address")),
        };
        assert_eq!(options, wanted);
    }

    #[test]
    fn what_can_not_be_used_is_refused_with_a_hint() {
        let rows = [
            (NAME, "a/b", "is not an interface name"),
            (NAME, "a-name-that-is-too-long", "is not an interface name"),
            (NAME, "all", "can't be \"all\""),
            (NAME, "default", "can't be \"default\""),
            (NAME, "a\"b", "can't be"),
            (NAME, "br%d", "can't be \"br%d\""),
            (TRUSTED, ":", "can't be \":\""),
            (TRUSTED, "::", "can't be"),
            (ICC, "yes", "can't be \"yes\""),
            (HOST_BINDING, "localhost", "can't be \"localhost\""),
            (MTU, "-1", "can't be \"-1\""),
            (MTU, "67", "can't be \"67\""),
            (INTERFACE_PREFIX, "a-much-too-long", "can't be"),
            (MODES[1], "rooted", "can't be \"rooted\""),
            ("com.docker.network.bridge.enable_ic", "true", "has no option"),
            (HOST_IPV4, "2001:db8::1", "can't be"),
            (HOST_IPV6, "192.0.2.1", "can't be"),
            (TRUSTED, "eth0:a/b", "can't be"),
            ("colour", "blue", "has no option \"colour\""),
        ];
        for (key, value, wanted) in rows {
            match BridgeOptions::parse(&labels(&[(key, value)])) {
                Err(Error::Invalid {
                    message,
                    hint: Some(_),
                }) => {
                    assert!(message.contains(wanted), "{key}={value}: {message}");
                }
                other => panic!("{key}={value}: {other:?}"),
            }
        }
    }
}
