//! The networks a container starts on.
//!
//! `--ip`, `--network-alias` and the like are about the first network; the long form of `--network` says the same
//! for each. Saying both for one network is a conflict.

use api_types::{EndpointSettings, Map};

use super::ContainerOptions;
use crate::options::network::NetworkChoice;

/// The network mode, and an endpoint for each network.
pub(super) fn networks(
    options: &ContainerOptions,
) -> Result<(String, Map<Option<EndpointSettings>>), String> {
    let mut choices = options.network.clone();
    if choices.is_empty() {
        choices.push(NetworkChoice {
            target: "default".into(),
            ..NetworkChoice::default()
        });
    }
    check(&choices)?;
    let mode = choices[0].target.clone();
    add_flags(&mut choices[0], options)?;
    let alone = choices.len() == 1;
    let mut endpoints = Map::new();
    for choice in &choices {
        let endpoint = choice.endpoint();
        // One network without wishes is said by the mode alone; sharing another's is no endpoint.
        let silent = alone && endpoint == EndpointSettings::default();
        if !silent && !choice.shares_another() {
            endpoints.insert(choice.target.clone(), Some(endpoint));
        }
    }
    Ok((mode, endpoints))
}

fn check(choices: &[NetworkChoice]) -> Result<(), String> {
    let user_defined = choices.iter().filter(|choice| choice.is_user_defined()).count();
    if user_defined > 0 && user_defined < choices.len() {
        return Err(
            "conflicting options: cannot attach both user-defined and non-user-defined network-modes".into(),
        );
    }
    for (index, choice) in choices.iter().enumerate() {
        if choices[..index].iter().any(|other| other.target == choice.target) {
            return Err(format!("network {:?} is specified multiple times", choice.target));
        }
    }
    Ok(())
}

/// Adds what separate flags say to the first network.
fn add_flags(choice: &mut NetworkChoice, options: &ContainerOptions) -> Result<(), String> {
    let conflict = |flag: &str, field: &str| {
        Err(format!(
            "conflicting options: cannot specify both --{flag} and per-network {field}"
        ))
    };
    if !choice.aliases.is_empty() && !options.network_alias.is_empty() {
        return conflict("network-alias", "alias");
    }
    if choice.ipv4.is_some() && options.ip.is_some() {
        return conflict("ip", "IPv4 address");
    }
    if choice.ipv6.is_some() && options.ip6.is_some() {
        return conflict("ip6", "IPv6 address");
    }
    if choice.mac_address.is_some() && options.mac_address.is_some() {
        return conflict("mac-address", "MAC address");
    }
    if !choice.link_local.is_empty() && !options.link_local_ip.is_empty() {
        return conflict("link-local-ip", "link-local IP addresses");
    }
    let wishes = options.ip.is_some()
        || options.ip6.is_some()
        || options.mac_address.is_some()
        || !options.network_alias.is_empty()
        || !options.link_local_ip.is_empty();
    if wishes && (choice.shares_another() || matches!(choice.target.as_str(), "host" | "none")) {
        return Err(format!(
            "conflicting options: addresses and aliases make no sense with --network {}",
            choice.target
        ));
    }
    choice.aliases.extend(options.network_alias.iter().cloned());
    choice.ipv4 = choice.ipv4.or(options.ip);
    choice.ipv6 = choice.ipv6.or(options.ip6);
    choice.link_local.extend(&options.link_local_ip);
    choice.mac_address = choice.mac_address.take().or_else(|| options.mac_address.clone());
    // On the default bridge links belong to the container, not to the endpoint.
    if choice.is_user_defined() {
        choice.links.extend(options.link.iter().cloned());
    }
    Ok(())
}
