//! Pure: the network that Docker asks for, and whether one that is there is it.

use std::{collections::BTreeMap, net::IpAddr};

use model::{DriverName, Labels, Network, NetworkName, Subnet, SubnetRequest};
use plugin_proto::{
    Options,
    network_driver::{CreateNetwork, ENABLE_IPV4, ENABLE_IPV6, GENERIC, INTERNAL, IpamData},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::refusal::{Refused, Result, refused};

/// Which of our networks it is. Docker gives it to address management with `--ipam-opt` and to the driver with `-o`.
pub(crate) const NETWORK: &str = "cnm.network";
/// Our driver that makes it; an overlay when nothing is said.
pub(crate) const DRIVER: &str = "cnm.driver";
/// The address space of pools that are ours: by this a driver's call shows who manages its addresses.
pub(crate) const SPACE: &str = "cnm";
const OVERLAY: &str = "overlay";

/// A network as Docker asks for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wanted {
    pub(crate) name: NetworkName,
    /// None where nothing was said.
    pub(crate) driver: Option<DriverName>,
    /// Our driver's options.
    pub(crate) options: Labels,
    pub(crate) internal: bool,
    pub(crate) ipv6: bool,
    pub(crate) ipv4: bool,
    pub(crate) pools: Vec<SubnetRequest>,
    /// Its addresses come from us.
    pub(crate) own_addresses: bool,
}

impl Wanted {
    /// Reads Docker's call.
    pub(crate) fn read(call: &CreateNetwork) -> Result<Self> {
        let mut options = texts(call.options.get(GENERIC))?;
        let name = name(options.remove(NETWORK).as_deref(), "-o")?;
        let driver = options
            .remove(DRIVER)
            .map(|driver| driver_named(&driver))
            .transpose()?;
        let data = || call.ipv4_data.iter().chain(&call.ipv6_data);
        let pools = data().filter_map(pool).collect::<Result<Vec<_>>>()?;
        let wanted = Self {
            name,
            driver,
            options,
            internal: truth(&call.options, INTERNAL).unwrap_or(false),
            ipv6: truth(&call.options, ENABLE_IPV6).unwrap_or(!call.ipv6_data.is_empty()),
            ipv4: truth(&call.options, ENABLE_IPV4).unwrap_or(!call.ipv4_data.is_empty()),
            own_addresses: data().all(|data| data.address_space == SPACE),
            pools,
        };
        wanted.refuse_lone_overlay()?;
        Ok(wanted)
    }

    /// The driver that makes it.
    pub(crate) fn made_by(&self) -> &str {
        self.driver.as_deref().unwrap_or(OVERLAY)
    }

    /// Two hosts that manage an overlay's addresses each for itself give one out twice.
    fn refuse_lone_overlay(&self) -> Result<()> {
        if self.own_addresses || self.made_by() != OVERLAY {
            return Ok(());
        }
        Err(refused(
            format!(
                "hosts of the overlay {:?} must have their addresses from one place",
                &*self.name
            ),
            format!("add --ipam-driver cnm --ipam-opt {NETWORK}={}", self.name),
        ))
    }

    /// Refuses a network that is there and isn't the one asked for.
    pub(crate) fn refuse_other(&self, network: &Network) -> Result<()> {
        let name = &*self.name;
        if let Some(driver) = self.driver.as_ref().filter(|driver| **driver != network.driver) {
            return Err(refused(
                format!(
                    "network {name:?} is there and has the driver {}, not {driver}",
                    network.driver
                ),
                format!("leave out -o {DRIVER}, or choose another {NETWORK}"),
            ));
        }
        let subnets = |mut all: Vec<Subnet>| {
            all.sort_unstable();
            all
        };
        let asked = subnets(self.pools.iter().filter_map(|pool| pool.subnet).collect());
        let there = subnets(network.pools.iter().map(|pool| pool.subnet).collect());
        if asked != there {
            let hint = match (network.enable_ipv6, self.ipv6) {
                (true, false) => "add --ipv6",
                (false, true) => "leave out --ipv6",
                _ => "give all of these with --subnet",
            };
            let has = list(&there);
            return Err(refused(
                format!(
                    "network {name:?} is there and has the subnets {has}, not {}",
                    list(&asked)
                ),
                hint,
            ));
        }
        if self.internal != network.internal {
            let (is, hint) = match network.internal {
                true => ("internal", "add --internal"),
                false => ("not internal", "leave out --internal"),
            };
            return Err(refused(format!("network {name:?} is there and is {is}"), hint));
        }
        let other = self
            .options
            .iter()
            .find(|(key, value)| network.options.get(*key) != Some(value));
        match other {
            None => Ok(()),
            Some((key, value)) => Err(refused(
                match network.options.get(key) {
                    Some(is) => format!("network {name:?} is there and has {key}={is}, not {value}"),
                    None => format!("network {name:?} is there without {key}={value}"),
                },
                format!("leave out -o {key}: the network has its options from who made it"),
            )),
        }
    }
}

fn list(subnets: &[Subnet]) -> String {
    match subnets.is_empty() {
        true => "(none)".to_owned(),
        false => subnets
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", "),
    }
}

/// The network's name out of the options of a call.
pub(crate) fn name(given: Option<&str>, flag: &str) -> Result<NetworkName> {
    let Some(name) = given.filter(|name| !name.is_empty()) else {
        return Err(refused(
            format!("which network of cnm it is to be isn't said: {flag} {NETWORK}=NAME is missing"),
            format!("give both \"-o {NETWORK}=NAME\" and \"--ipam-driver cnm --ipam-opt {NETWORK}=NAME\""),
        ));
    };
    name.parse().map_err(|error: model::NameError| {
        refused(format!("{NETWORK}={name}: {error}"), "choose another name")
    })
}

/// Address management has that option and no other.
pub(crate) fn ipam_name(options: &BTreeMap<String, String>) -> Result<NetworkName> {
    let other = options.keys().find(|key| *key != NETWORK);
    match other {
        Some(key) => Err(refused(
            format!("address management has no option {key:?}"),
            format!("{NETWORK} is its only one; those of the driver are given with -o"),
        )),
        None => name(options.get(NETWORK).map(String::as_str), "--ipam-opt"),
    }
}

/// What the user typed with `-o`.
fn texts(generic: Option<&Value>) -> Result<Labels> {
    let Some(Value::Object(map)) = generic else {
        return Ok(Labels::new());
    };
    let one = |(key, value): (&String, &Value)| match value {
        Value::String(text) => Ok((key.clone(), text.clone())),
        other => Err(refused(
            format!("option {key:?} is no text but {other}"),
            "give it as KEY=VALUE",
        )),
    };
    map.iter().map(one).collect()
}

fn truth(options: &Options, key: &str) -> Option<bool> {
    options.get(key)?.as_bool()
}

fn driver_named(name: &str) -> Result<DriverName> {
    const OURS: [&str; 4] = [OVERLAY, "bridge", "macvlan", "ipvlan"];
    let known = OURS.contains(&name).then(|| name.parse().ok()).flatten();
    known.ok_or_else(|| {
        refused(
            format!("Docker can't have a network of the driver {name:?} from cnm"),
            format!("{DRIVER} is one of {}", OURS.join(", ")),
        )
    })
}

fn pool(data: &IpamData) -> Option<Result<SubnetRequest>> {
    let text = data.pool.as_deref().filter(|pool| !pool.is_empty())?;
    let read = || -> std::result::Result<SubnetRequest, String> {
        let address = |text: &String| -> std::result::Result<IpAddr, String> {
            let net: model::IpNet = text.parse().map_err(|error| format!("{text:?}: {error}"))?;
            Ok(net.addr())
        };
        let given = |text: &&String| !text.is_empty();
        Ok(SubnetRequest {
            subnet: Some(text.parse().map_err(|error| format!("{text:?}: {error}"))?),
            ip_range: None,
            gateway: data.gateway.as_ref().filter(given).map(address).transpose()?,
            aux_addresses: data
                .aux_addresses
                .iter()
                .map(|(name, text)| Ok((name.clone(), address(text)?)))
                .collect::<std::result::Result<_, String>>()?,
        })
    };
    Some(read().map_err(|wrong| refused(format!("a pool can't be read: {wrong}"), "give a --subnet")))
}

/// The address of a gateway where nobody has chosen one: the first of the subnet.
pub(crate) fn first_address(subnet: Subnet) -> IpAddr {
    match subnet.network() {
        IpAddr::V4(v4) if subnet.prefix_len() < 31 => IpAddr::V4((u32::from(v4) + 1).into()),
        IpAddr::V6(v6) if subnet.prefix_len() < 127 => IpAddr::V6((u128::from(v6) + 1).into()),
        address => address,
    }
}

/// What of two options doesn't fit together.
pub(crate) fn names_differ(driver: &NetworkName, addresses: &NetworkName) -> Refused {
    refused(
        format!("-o {NETWORK}={driver} and --ipam-opt {NETWORK}={addresses} name two networks"),
        "give the same name with both",
    )
}

#[cfg(test)]
mod tests;
