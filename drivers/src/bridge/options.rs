//! The bridge driver's options, typed. Keys and switches are Docker's.

use std::net::IpAddr;

use model::{InterfaceName, Labels};

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

/// Docker's, not ours yet: refused, lest somebody rely on them.
const LATER: [&str; 4] = [
    "com.docker.network.bridge.inhibit_ipv4",
    "com.docker.network.bridge.trusted_host_interfaces",
    "com.docker.network.host_ipv4",
    "com.docker.network.host_ipv6",
];

const KNOWN: [&str; 9] = [
    NAME,
    ICC,
    MASQUERADE,
    HOST_BINDING,
    DEFAULT_BRIDGE,
    MODES[0],
    MODES[1],
    MTU,
    INTERFACE_PREFIX,
];

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
}

impl BridgeOptions {
    /// Reads them; refuses what the driver doesn't have or can't use.
    pub fn parse(options: &Labels) -> Result<Self> {
        refuse_later(options)?;
        options::refuse_unknown("bridge", &KNOWN, options)?;
        boolean(options, DEFAULT_BRIDGE, false)?;
        MODES.iter().try_for_each(|key| only_nat(options, key))?;
        Ok(Self {
            device: device(options)?,
            icc: boolean(options, ICC, true)?,
            masquerade: boolean(options, MASQUERADE, true)?,
            host_binding: host_binding(options)?,
            mtu: options::mtu(options)?,
            interface_prefix: options::interface_prefix(options)?,
        })
    }
}

fn refuse_later(options: &Labels) -> Result<()> {
    match LATER.into_iter().find(|key| options.contains_key(*key)) {
        None => Ok(()),
        Some(key) => Err(Error::Invalid {
            message: format!("option {key:?} is not supported yet"),
            hint: Some("create the network without it".to_owned()),
        }),
    }
}

fn device(options: &Labels) -> Result<Option<InterfaceName>> {
    let Some(name) = options.get(NAME).filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    let parsed = InterfaceName::new(name.as_str());
    parsed.map(Some).map_err(|error| Error::Invalid {
        message: format!("option {NAME:?}: {error}"),
        hint: Some("choose a shorter or plainer name, such as \"br-web\"".to_owned()),
    })
}

fn host_binding(options: &Labels) -> Result<Option<IpAddr>> {
    match options.get(HOST_BINDING).filter(|text| !text.is_empty()) {
        None => Ok(None),
        // Docker takes an IPv6 address here, whatever the key says.
        Some(text) => text
            .parse()
            .map(Some)
            .map_err(|_| invalid(HOST_BINDING, text, "an IP address")),
    }
}

fn only_nat(options: &Labels, key: &str) -> Result<()> {
    match options.get(key).map(String::as_str) {
        None | Some("" | "nat") => Ok(()),
        Some(mode @ ("routed" | "isolated" | "nat-unprotected")) => Err(Error::Invalid {
            message: format!("gateway mode {mode:?} is not supported yet"),
            hint: Some("only \"nat\", the default, is".to_owned()),
        }),
        Some(mode) => Err(invalid(key, mode, "\"nat\"")),
    }
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
            (MODES[0], "nat"),
        ]))
        .expect("all are valid");
        let wanted = BridgeOptions {
            device: Some(InterfaceName::new("br-web").expect("a name")),
            icc: false,
            masquerade: false,
            host_binding: Some([127, 0, 0, 1].into()),
            mtu: Some(1400),
            interface_prefix: Some("net".to_owned()),
        };
        assert_eq!(options, wanted);
    }

    #[test]
    fn what_can_not_be_used_is_refused_with_a_hint() {
        let rows = [
            (NAME, "a/b", "is not an interface name"),
            (NAME, "a-name-that-is-too-long", "is not an interface name"),
            (ICC, "yes", "can't be \"yes\""),
            (HOST_BINDING, "localhost", "can't be \"localhost\""),
            (MTU, "-1", "can't be \"-1\""),
            (MTU, "67", "can't be \"67\""),
            (INTERFACE_PREFIX, "a-much-too-long", "can't be"),
            (MODES[0], "routed", "is not supported yet"),
            (MODES[1], "rooted", "can't be \"rooted\""),
            ("com.docker.network.bridge.enable_ic", "true", "has no option"),
            (LATER[2], "192.0.2.1", "is not supported yet"),
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
