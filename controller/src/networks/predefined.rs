//! The networks that are there without being asked for: `none`, `host`, `bridge`, and on demand the gateway bridge.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use model::{AddressFamily, DriverName, Labels, Network, NetworkName, Pool, Subnet, SubnetRequest};

use super::{CreateNetwork, create::make, delete::finish_deleting};
use crate::{
    core::Core,
    error::{Error, Result},
    locks::LockKey,
    settings::BridgeSettings,
};

/// Makes those that are missing. A bridge whose settings changed is made anew unless it is in use.
pub(crate) async fn ensure_predefined(core: &Arc<Core>) -> Result<()> {
    for (name, driver) in [("none", "null"), ("host", "host")] {
        if named(core, name).is_none() {
            make(core, plain(name, driver), true).await?;
        }
    }
    match &core.settings.default_bridge {
        Some(settings) => {
            let mut options = settings.options.clone();
            options.insert(
                "com.docker.network.bridge.default_bridge".to_owned(),
                "true".to_owned(),
            );
            bridge(core, "bridge", settings, options).await?;
        }
        None => remove_unused(core, "bridge").await?,
    }
    Ok(())
}

/// The gateway bridge, made at its first use.
pub(crate) async fn gateway_bridge(core: &Arc<Core>) -> Result<Arc<Network>> {
    let _predefined = core.locks.exclusive(LockKey::Predefined).await;
    let settings = &core.settings.gateway_bridge;
    let name = settings.device.to_string();
    match named(core, &name) {
        Some(network) => Ok(network),
        None => bridge(core, &name, settings, settings.options.clone()).await,
    }
}

fn named(core: &Core, name: &str) -> Option<Arc<Network>> {
    let snapshot = core.records.snapshot();
    let mut own = snapshot.networks.values().filter(|network| network.predefined);
    own.find(|network| network.name.as_str() == name).cloned()
}

fn plain(name: &str, driver: &str) -> CreateNetwork {
    CreateNetwork {
        driver: Some(DriverName::new(driver).expect("a literal follows the rule")),
        ..CreateNetwork::named(
            NetworkName::new(name).expect("an interface name or a literal follows the rule"),
        )
    }
}

async fn bridge(
    core: &Arc<Core>,
    name: &str,
    settings: &BridgeSettings,
    mut options: Labels,
) -> Result<Arc<Network>> {
    let device = settings.device.to_string();
    options.insert("com.docker.network.bridge.name".to_owned(), device);
    if let Some(existing) = named(core, name) {
        if is_as_configured(&existing, settings, &options) {
            return Ok(existing);
        }
        if is_used(core, &existing) {
            tracing::warn!(network = name, "in use: its new settings wait until it is not");
            return Ok(existing);
        }
        finish_deleting(core, &existing).await?;
    }
    let request = |subnet: Option<Subnet>| {
        let mut request = plain(name, "bridge");
        request.options.clone_from(&options);
        request.enable_ipv6 = settings.ipv6;
        request.ipam.subnets = subnet.map(|subnet| asked(settings, subnet)).into_iter().collect();
        request.ipam.subnets.extend(asked_v6(settings));
        request
    };
    let first = settings.subnet.or(settings.preferred_subnet);
    match make(core, request(first), true).await {
        Err(Error::Forbidden { message, .. }) if settings.subnet.is_none() && first.is_some() => {
            tracing::info!(
                network = name,
                reason = message,
                "the usual subnet is not free, taking the next one"
            );
            make(core, request(None), true).await
        }
        made => made,
    }
}

fn asked(settings: &BridgeSettings, subnet: Subnet) -> SubnetRequest {
    SubnetRequest {
        subnet: Some(subnet),
        ip_range: settings.ip_range,
        gateway: settings.gateway,
        aux_addresses: elsewhere(settings, AddressFamily::V4),
    }
}

/// None takes the IPv6 subnet from the default pools.
fn asked_v6(settings: &BridgeSettings) -> Option<SubnetRequest> {
    let subnet = settings.subnet_v6.filter(|_| settings.ipv6)?;
    Some(SubnetRequest {
        subnet: Some(subnet),
        ip_range: settings.ip_range_v6,
        gateway: settings.gateway_v6,
        aux_addresses: elsewhere(settings, AddressFamily::V6),
    })
}

/// A gateway that is not the bridge, under the name by which drivers look for it.
fn elsewhere(settings: &BridgeSettings, family: AddressFamily) -> BTreeMap<String, IpAddr> {
    let mut gateways = settings.default_gateways.iter().copied();
    let found = gateways.find(|address| AddressFamily::of(*address) == family);
    let name = match family {
        AddressFamily::V4 => "DefaultGatewayIPv4",
        AddressFamily::V6 => "DefaultGatewayIPv6",
    };
    found
        .map(|address| (name.to_owned(), address))
        .into_iter()
        .collect()
}

/// Pure. What is left to us is as configured whatever we chose.
fn is_as_configured(network: &Network, settings: &BridgeSettings, options: &Labels) -> bool {
    let v4 = SubnetRequest {
        subnet: settings.subnet,
        ip_range: settings.ip_range,
        gateway: settings.gateway,
        aux_addresses: elsewhere(settings, AddressFamily::V4),
    };
    let families = [
        (AddressFamily::V4, Some(v4)),
        (AddressFamily::V6, asked_v6(settings)),
    ];
    let options = options
        .iter()
        .all(|(key, value)| network.options.get(key) == Some(value));
    let pools = families.iter().all(|(family, asked)| match asked {
        Some(asked) => network
            .pools_of(*family)
            .next()
            .is_some_and(|pool| fits(pool, asked)),
        None => true,
    });
    options && pools && network.enable_ipv6 == settings.ipv6
}

fn fits(pool: &Pool, asked: &SubnetRequest) -> bool {
    asked.subnet.is_none_or(|wanted| pool.subnet == wanted)
        && (asked.gateway.is_none() || pool.gateway == asked.gateway)
        && pool.ip_range == asked.ip_range
        && pool.aux_addresses == asked.aux_addresses
}

fn is_used(core: &Core, network: &Network) -> bool {
    core.records.snapshot().endpoints_on(&network.id).next().is_some()
}

async fn remove_unused(core: &Arc<Core>, name: &str) -> Result<()> {
    match named(core, name) {
        Some(network) if !is_used(core, &network) => finish_deleting(core, &network).await,
        _ => Ok(()),
    }
}
