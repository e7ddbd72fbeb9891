//! Whether a network makes sense at all, before a driver is asked and anything is allocated.

use drivers::{Draft, Driver};
use model::{
    AddressFamily, DriverName, IpamConfig, Labels, NameOptions, Network, NetworkId, NetworkName, Scope,
    Subnet, SubnetRequest,
};

use crate::{
    core::Core,
    error::{Error, Result},
    networks::CreateNetwork,
};

/// A request with its defaults filled in.
#[derive(Debug)]
pub(in crate::networks) struct Checked {
    pub(super) name: NetworkName,
    pub(super) driver: DriverName,
    pub(super) scope: Scope,
    pub(super) labels: Labels,
    pub(super) options: Labels,
    pub(super) enable_ipv4: bool,
    pub(super) enable_ipv6: bool,
    pub(super) internal: bool,
    pub(super) attachable: bool,
    pub(super) ipam: IpamConfig,
    pub(super) config_only: bool,
    pub(super) config_from: Option<NetworkName>,
    /// One request for each pool to be, IPv4 before IPv6; none for drivers without addresses.
    pub(super) pools: Vec<(AddressFamily, SubnetRequest)>,
    families: Vec<AddressFamily>,
    subnets: Vec<Subnet>,
}

impl Checked {
    /// More subnets for a network that is there, as it will be with them.
    pub(in crate::networks) fn more(after: &Network, added: &[SubnetRequest]) -> Result<Self> {
        let mut families = Vec::new();
        families.extend(after.enable_ipv4.then_some(AddressFamily::V4));
        families.extend(after.enable_ipv6.then_some(AddressFamily::V6));
        let wrong: Vec<_> = added
            .iter()
            .flat_map(|pool| violations(pool, &families))
            .collect();
        refuse_all(&wrong)?;
        let pools: Vec<_> = added
            .iter()
            .map(|pool| (family(pool).unwrap_or(AddressFamily::V4), pool.clone()))
            .collect();
        let known = after.pools.iter().map(|pool| pool.subnet);
        Ok(Self {
            subnets: known.chain(added.iter().filter_map(|pool| pool.subnet)).collect(),
            name: after.name.clone(),
            driver: after.driver.clone(),
            scope: after.scope,
            labels: after.labels.clone(),
            options: after.options.clone(),
            enable_ipv4: after.enable_ipv4,
            enable_ipv6: after.enable_ipv6,
            internal: after.internal,
            attachable: after.attachable,
            ipam: after.ipam.clone(),
            config_only: after.config_only,
            config_from: after.config_from.clone(),
            pools,
            families,
        })
    }

    /// What the driver is asked about.
    pub(in crate::networks) fn draft(&self, id: NetworkId) -> Draft<'_> {
        Draft {
            id,
            options: &self.options,
            internal: self.internal,
            families: &self.families,
            subnets: &self.subnets,
        }
    }
}

/// Fills in the defaults and refuses what can't be meant.
pub(super) fn check(
    core: &Core,
    request: CreateNetwork,
    driver_name: DriverName,
    driver: &dyn Driver,
) -> Result<Checked> {
    let capabilities = driver.capabilities();
    let scope = scope(&request, &driver_name, capabilities.scope)?;
    if capabilities.single && !request.config_only {
        refuse_second(core, &driver_name)?;
    }
    let mut families = Vec::new();
    families.extend(request.enable_ipv4.then_some(AddressFamily::V4));
    families.extend(request.enable_ipv6.then_some(AddressFamily::V6));
    let pools = match capabilities.addresses && request.ipam.driver.as_str() != "null" {
        true => pools(&request, &families)?,
        // A template's are asked for when a network is made from it, and should make sense by then.
        false if request.config_only => pools(&request, &families).map(|_| Vec::new())?,
        false => no_pools(&request, &driver_name)?,
    };
    if !capabilities.several_pools {
        refuse_several(&pools, &driver_name)?;
    }
    let defaults = core.settings.default_options.get(driver_name.as_str()).cloned();
    let mut options = defaults.unwrap_or_default();
    options.extend(request.options);
    refuse_name_options(&options)?;
    refuse_exposure(&options)?;
    Ok(Checked {
        subnets: pools.iter().filter_map(|(_, pool)| pool.subnet).collect(),
        name: request.name,
        driver: driver_name,
        scope,
        labels: request.labels,
        options,
        enable_ipv4: request.enable_ipv4,
        enable_ipv6: request.enable_ipv6,
        internal: request.internal,
        attachable: request.attachable,
        ipam: request.ipam,
        config_only: request.config_only,
        config_from: request.config_from.and_then(|name| NetworkName::new(name).ok()),
        pools,
        families,
    })
}

/// What a network says about names is no driver's business, so it is checked here; all that is wrong at once.
fn refuse_name_options(options: &Labels) -> Result<()> {
    NameOptions::parse(options).map(drop).map_err(|wrong| {
        let all: Vec<_> = wrong.iter().map(ToString::to_string).collect();
        Error::invalid(all.join("; ")).with_hint(
            "for example cnm.dns.record.api.dev.local=10.0.0.9, cnm.dns.forward.corp=10.1.1.1, cnm.dns.host=true",
        )
    })
}

/// Whose rules its ports obey. A slip of the pen must not leave them open.
fn refuse_exposure(options: &Labels) -> Result<()> {
    match options.get("cnm.firewall").map(String::as_str) {
        None | Some("open" | "host") => Ok(()),
        Some(other) => Err(
            Error::invalid(format!("option \"cnm.firewall\" can't be {other:?}"))
                .with_hint("\"open\", or \"host\" for ports that obey the host's own firewall"),
        ),
    }
}

fn scope(request: &CreateNetwork, driver: &DriverName, own: Scope) -> Result<Scope> {
    match (request.scope, own) {
        (None, own) => Ok(own),
        (Some(Scope::Local), Scope::Global) => Err(Error::forbidden(format!(
            "cannot downgrade network scope for {driver} networks"
        ))
        .with_hint("leave out --scope")),
        (Some(Scope::Global), Scope::Local) => Err(Error::invalid(format!(
            "networks of the driver {driver:?} are one host's own",
            driver = driver.as_str()
        ))
        .with_hint("leave out --scope, or use the driver \"overlay\"")),
        (Some(same), _) => Ok(same),
    }
}

fn refuse_second(core: &Core, driver: &DriverName) -> Result<()> {
    let snapshot = core.records.snapshot();
    match snapshot
        .networks
        .values()
        .find(|network| network.driver == *driver && !network.config_only)
    {
        Some(other) => Err(Error::forbidden(format!(
            "only one instance of {:?} network is allowed",
            driver.as_str()
        ))
        .with_hint(format!("use the network {:?}", other.name.as_str()))),
        None => Ok(()),
    }
}

fn refuse_several(pools: &[(AddressFamily, SubnetRequest)], driver: &DriverName) -> Result<()> {
    let count = |family| pools.iter().filter(|(of, _)| *of == family).count();
    if count(AddressFamily::V4) > 1 || count(AddressFamily::V6) > 1 {
        return Err(
            Error::forbidden(format!("{driver} driver doesn't support multiple subnets"))
                .with_hint("give one --subnet for each address family"),
        );
    }
    Ok(())
}

fn no_pools(request: &CreateNetwork, driver: &DriverName) -> Result<Vec<(AddressFamily, SubnetRequest)>> {
    match request.ipam.subnets.is_empty() {
        true => Ok(Vec::new()),
        false => Err(Error::invalid(format!(
            "a network of the driver {:?} has no addresses here",
            driver.as_str()
        ))
        .with_hint("leave out --subnet")),
    }
}

/// The family of a subnet request: its subnet's, or else that of what came with it.
fn family(request: &SubnetRequest) -> Option<AddressFamily> {
    let subnet = request.subnet.or(request.ip_range).map(Subnet::family);
    subnet.or_else(|| request.gateway.map(AddressFamily::of))
}

fn pools(request: &CreateNetwork, families: &[AddressFamily]) -> Result<Vec<(AddressFamily, SubnetRequest)>> {
    if families.is_empty() {
        return Err(
            Error::invalid("IPv4 or IPv6 must be enabled").with_hint("leave out --ipv4=false, or add --ipv6")
        );
    }
    let asked = &request.ipam.subnets;
    let wrong: Vec<_> = asked.iter().flat_map(|pool| violations(pool, families)).collect();
    refuse_all(&wrong)?;
    let mut pools = Vec::new();
    for wanted in families {
        let of = |pool: &&SubnetRequest| family(pool).unwrap_or(AddressFamily::V4) == *wanted;
        let own: Vec<_> = asked
            .iter()
            .filter(of)
            .map(|pool| (*wanted, pool.clone()))
            .collect();
        match own.is_empty() {
            true => pools.push((*wanted, automatic())),
            false => pools.extend(own),
        }
    }
    Ok(pools)
}

fn automatic() -> SubnetRequest {
    SubnetRequest {
        subnet: None,
        ip_range: None,
        gateway: None,
        aux_addresses: std::collections::BTreeMap::new(),
    }
}

/// What is wrong with a request, and what to do about it.
type Violation = (String, &'static str);

/// One error for all that is wrong, as Docker's clients know it. A single one keeps its hint.
fn refuse_all(wrong: &[Violation]) -> Result<()> {
    let Some((_, hint)) = wrong.first() else {
        return Ok(());
    };
    let hint = match wrong.len() {
        1 => *hint,
        _ => "each line names one thing to put right",
    };
    let lines: Vec<_> = wrong.iter().map(|(message, _)| message.as_str()).collect();
    Err(Error::invalid(format!("invalid network config:\n{}", lines.join("\n"))).with_hint(hint))
}

/// Pure: everything that is wrong with one subnet request.
fn violations(pool: &SubnetRequest, families: &[AddressFamily]) -> Vec<Violation> {
    let of = family(pool).unwrap_or(AddressFamily::V4);
    let mut wrong = disabled(pool, of, families);
    match pool.subnet {
        None => wrong.extend(orphans(pool)),
        Some(subnet) => wrong.extend(strays(pool, subnet)),
    }
    wrong
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

#[cfg(test)]
mod tests;
