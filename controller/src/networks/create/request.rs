//! Whether a network makes sense at all, before a driver is asked and anything is allocated.

use drivers::{Draft, Driver};
use model::{
    AddressFamily, DriverName, IpamConfig, Labels, NameOptions, NetworkId, NetworkName, Scope, Subnet, SubnetRequest,
};

use crate::{
    core::Core,
    error::{Error, Result},
    networks::CreateNetwork,
};

/// A request with its defaults filled in.
#[derive(Debug)]
pub(super) struct Checked {
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
    /// One request for each pool to be, IPv4 before IPv6; none for drivers without addresses.
    pub(super) pools: Vec<(AddressFamily, SubnetRequest)>,
    families: Vec<AddressFamily>,
    subnets: Vec<Subnet>,
}

impl Checked {
    /// What the driver is asked about.
    pub(super) fn draft(&self, id: NetworkId) -> Draft<'_> {
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
    if capabilities.single {
        refuse_second(core, &driver_name)?;
    }
    let mut families = Vec::new();
    families.extend(request.enable_ipv4.then_some(AddressFamily::V4));
    families.extend(request.enable_ipv6.then_some(AddressFamily::V6));
    let pools = match capabilities.addresses && request.ipam.driver.as_str() != "null" {
        true => pools(&request, &families)?,
        false => no_pools(&request, &driver_name)?,
    };
    if !capabilities.several_pools {
        refuse_several(&pools, &driver_name)?;
    }
    let defaults = core.settings.default_options.get(driver_name.as_str()).cloned();
    let mut options = defaults.unwrap_or_default();
    options.extend(request.options);
    refuse_name_options(&options)?;
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
        .find(|network| network.driver == *driver)
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
    let mut asked: Vec<_> = Vec::new();
    for pool in &request.ipam.subnets {
        let of = family(pool).unwrap_or(AddressFamily::V4);
        refuse_disabled(pool, of, families)?;
        refuse_orphans(pool)?;
        asked.push((of, pool.clone()));
    }
    let mut pools = Vec::new();
    for family in families {
        let own: Vec<_> = asked.iter().filter(|(of, _)| of == family).cloned().collect();
        match own.is_empty() {
            true => pools.push((*family, automatic())),
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

fn refuse_disabled(pool: &SubnetRequest, of: AddressFamily, families: &[AddressFamily]) -> Result<()> {
    if families.contains(&of) {
        return Ok(());
    }
    let what = pool
        .subnet
        .map_or_else(|| "its options".to_owned(), |subnet| subnet.to_string());
    let hint = match of {
        AddressFamily::V4 => "leave out --ipv4=false",
        AddressFamily::V6 => "add --ipv6",
    };
    Err(Error::invalid(format!(
        "{what} is given, but {of} is not enabled on this network"
    ))
    .with_hint(hint))
}

/// A gateway, range or auxiliary address needs to know its subnet.
fn refuse_orphans(pool: &SubnetRequest) -> Result<()> {
    let alone = |what: &str| {
        Err(
            Error::invalid(format!("{what} is given without the subnet it belongs to"))
                .with_hint("add --subnet"),
        )
    };
    match (
        pool.subnet,
        pool.ip_range,
        pool.gateway,
        pool.aux_addresses.first_key_value(),
    ) {
        (Some(subnet), _, Some(gateway), _)
            if !subnet.contains(&gateway) && !subnet.network().is_unspecified() =>
        {
            Err(
                Error::invalid(format!("gateway {gateway} is outside of the subnet {subnet}"))
                    .with_hint("choose an address of the subnet, or none to get its first one"),
            )
        }
        (Some(_), ..) | (None, None, None, None) => Ok(()),
        (None, Some(range), ..) => alone(&format!("ip-range {range}")),
        (None, _, Some(gateway), _) => alone(&format!("gateway {gateway}")),
        (None, _, _, Some((name, address))) => alone(&format!("auxiliary address {name:?} ({address})")),
    }
}
