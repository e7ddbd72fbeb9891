//! Pure: everything that is wrong with what a network is asked to be, so that it is told at once.

use std::{collections::BTreeMap, net::IpAddr};

use model::{
    AddressFamily, DriverName, Labels, NameOptions, StaticRoute, StaticRouteError, Subnet, SubnetRequest,
};

use crate::error::{Error, Result};

/// The family of a subnet request: its subnet's, or else that of what came with it.
pub(super) fn family(request: &SubnetRequest) -> Option<AddressFamily> {
    let subnet = request.subnet.or(request.ip_range).map(Subnet::family);
    subnet.or_else(|| request.gateway.map(AddressFamily::of))
}

/// What is wrong with a request, and what to do about it.
pub(in crate::networks) type Violation = (String, &'static str);

/// One error for all that is wrong, as Docker's clients know it. It keeps a hint that all have.
pub(in crate::networks) fn refuse_all(wrong: &[Violation]) -> Result<()> {
    let Some((_, hint)) = wrong.first() else {
        return Ok(());
    };
    let hint = match wrong.iter().all(|(_, other)| other == hint) {
        true => *hint,
        false => "each line names one thing to put right",
    };
    let lines: Vec<_> = wrong.iter().map(|(message, _)| message.as_str()).collect();
    Err(Error::invalid(format!("invalid network config:\n{}", lines.join("\n"))).with_hint(hint))
}

/// Pure: everything that is wrong with one subnet request.
pub(super) fn of_subnet(pool: &SubnetRequest, families: &[AddressFamily]) -> Vec<Violation> {
    let of = family(pool).unwrap_or(AddressFamily::V4);
    let mut wrong = disabled(pool, of, families);
    match pool.subnet {
        None => wrong.extend(orphans(pool)),
        Some(subnet) => wrong.extend(strays(pool, subnet)),
    }
    wrong.extend(twice(pool));
    wrong
}

/// Auxiliary addresses that are the same one, or the gateway's. Gateways of the user's own are told by their name.
fn twice(pool: &SubnetRequest) -> Vec<Violation> {
    let hint = "set each address aside once";
    let mut wrong = Vec::new();
    let mut known: BTreeMap<IpAddr, &str> = BTreeMap::new();
    for (name, address) in &pool.aux_addresses {
        match known.get(address) {
            Some(other) => wrong.push((
                format!("auxiliary addresses {other:?} and {name:?} are both {address}"),
                hint,
            )),
            None => drop(known.insert(*address, name)),
        }
        if pool.gateway == Some(*address) && !name.starts_with("DefaultGateway") {
            wrong.push((
                format!("gateway {address} is already in use by the auxiliary address {name:?}"),
                hint,
            ));
        }
    }
    wrong
}

/// Labels that nobody could ask for.
pub(in crate::networks) fn of_labels(labels: &Labels) -> Vec<Violation> {
    let empty = labels.iter().filter(|(key, _)| key.trim().is_empty());
    let told = empty.map(|(_, value)| {
        (
            format!("invalid label \"={value}\": empty name"),
            "labels are written KEY=VALUE",
        )
    });
    told.collect()
}

fn disabled(pool: &SubnetRequest, of: AddressFamily, families: &[AddressFamily]) -> Vec<Violation> {
    if families.contains(&of) {
        return Vec::new();
    }
    let what = pool
        .subnet
        .map_or_else(|| "its options".to_owned(), |subnet| subnet.to_string());
    let hint = match of {
        AddressFamily::V4 => "leave out --ipv4=false",
        AddressFamily::V6 => "add --ipv6",
    };
    vec![(
        format!("{what} is given, but {of} is not enabled on this network"),
        hint,
    )]
}

/// A gateway, range or auxiliary address needs to know its subnet.
fn orphans(pool: &SubnetRequest) -> Vec<Violation> {
    let range = pool.ip_range.map(|range| format!("ip-range {range}"));
    let gateway = pool.gateway.map(|gateway| format!("gateway {gateway}"));
    let aux = pool.aux_addresses.iter();
    let aux = aux.map(|(name, address)| format!("auxiliary address {name:?} ({address})"));
    let all = range.into_iter().chain(gateway).chain(aux);
    all.map(|what| {
        (
            format!("{what} is given without the subnet it belongs to"),
            "add --subnet",
        )
    })
    .collect()
}

/// What lies outside of its subnet. Of a subnet whose size alone is asked for nobody knows yet what does.
fn strays(pool: &SubnetRequest, subnet: Subnet) -> Vec<Violation> {
    if subnet.network().is_unspecified() {
        return sized(pool, subnet);
    }
    let mut wrong = Vec::new();
    if let Some(range) = pool.ip_range
        && !(range.family() == subnet.family() && subnet.contains(&range.net()))
    {
        wrong.push((
            format!("ip-range {range} is outside of the subnet {subnet}"),
            "an ip-range is a part of its subnet",
        ));
    }
    if let Some(gateway) = pool.gateway.filter(|gateway| !subnet.contains(gateway)) {
        wrong.push((
            format!("gateway {gateway} is outside of the subnet {subnet}"),
            "choose an address of the subnet, or none to get its first one",
        ));
    }
    for (name, address) in pool
        .aux_addresses
        .iter()
        .filter(|(_, address)| !subnet.contains(*address))
    {
        wrong.push((
            format!("auxiliary address {name:?} ({address}) is outside of the subnet {subnet}"),
            "leave it out, or choose one of the subnet",
        ));
    }
    wrong
}

/// A size alone leaves the subnet to us, so nothing can be said about addresses in it.
fn sized(pool: &SubnetRequest, subnet: Subnet) -> Vec<Violation> {
    let alone = SubnetRequest {
        subnet: None,
        ..pool.clone()
    };
    orphans(&alone)
        .into_iter()
        .map(|(message, _)| {
            (
                format!("{message}: {subnet} asks for a size alone"),
                "give the subnet itself with --subnet, or leave these out",
            )
        })
        .collect()
}

/// Keys of ours beside those of names.
const OURS: [&str; 3] = ["cnm.firewall", "cnm.host_access", "cnm.routes"];

/// What a network's options say that is no driver's business: names, and whose rules its ports obey. A slip of the pen
/// must not leave those open.
pub(super) fn of_options(options: &Labels) -> Vec<Violation> {
    let names = NameOptions::parse(options).err().into_iter().flatten();
    let mut wrong: Vec<_> = names
        .map(|error| {
            (
                error.to_string(),
                "for example cnm.dns.record.api.dev.local=10.0.0.9, cnm.dns.forward.corp=10.1.1.1, cnm.dns.host=true",
            )
        })
        .collect();
    if let Some(other) = options
        .get("cnm.firewall")
        .filter(|rules| !matches!(rules.as_str(), "open" | "host"))
    {
        wrong.push((
            format!("option \"cnm.firewall\" can't be {other:?}"),
            "\"open\", or \"host\" for ports that obey the host's own firewall",
        ));
    }
    let nobodys = options.keys().filter(|key| {
        key.starts_with("cnm.") && !key.starts_with("cnm.dns.") && !OURS.contains(&key.as_str())
    });
    wrong.extend(nobodys.map(|key| {
        (
            format!("nobody has an option {key:?}"),
            "of ours there are cnm.dns.record.NAME, cnm.dns.forward.DOMAIN, cnm.dns.host, cnm.routes, cnm.firewall, \
             and of macvlan cnm.host_access",
        )
    }));
    wrong
}

/// Names are told to the host at the gateway's address of a bridge, and nowhere else.
pub(super) fn of_listener(options: &Labels, driver: &DriverName) -> Vec<Violation> {
    match NameOptions::understood(options).host && driver.as_str() != "bridge" {
        true => vec![(
            format!(
                "cnm.dns.host: the host has no gateway's address on a network of the driver {:?}",
                driver.as_str()
            ),
            "leave it out, or use the driver \"bridge\"",
        )],
        false => Vec::new(),
    }
}

/// What is wrong with its routes. Where a subnet is still to be chosen, only what is wrong with any.
pub(super) fn of_routes<'a>(
    options: &Labels,
    pools: impl Iterator<Item = &'a SubnetRequest>,
) -> Vec<Violation> {
    let concrete = |pool: &SubnetRequest| pool.subnet.filter(|subnet| !subnet.network().is_unspecified());
    let read = match pools.map(concrete).collect::<Option<Vec<_>>>() {
        Some(subnets) if !subnets.is_empty() => StaticRoute::parse_for(options, &subnets),
        _ => StaticRoute::parse(options),
    };
    routes(read)
}

/// The same once all subnets are known.
pub(super) fn of_routes_between(options: &Labels, subnets: &[Subnet]) -> Vec<Violation> {
    routes(StaticRoute::parse_for(options, subnets))
}

fn routes(read: Result<Vec<StaticRoute>, Vec<StaticRouteError>>) -> Vec<Violation> {
    let wrong = read.err().into_iter().flatten();
    let told = wrong.map(|error| {
        (
            error.to_string(),
            "routes are written cnm.routes=10.9.0.0/16=172.18.0.5,10.8.0.0/16=link",
        )
    });
    told.collect()
}

#[cfg(test)]
mod tests;
