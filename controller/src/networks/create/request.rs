//! Whether a network makes sense at all, before a driver is asked and anything is allocated.

use drivers::{Draft, Driver};
use model::{
    AddressFamily, DriverName, IpamConfig, Labels, NameOptions, Network, NetworkId, NetworkName, Scope,
    Subnet, SubnetRequest,
};

use super::{
    violations::{self, Violation, family, refuse_all},
    worn,
};
use crate::{
    core::Core,
    endpoints,
    error::{Error, Result},
    leases,
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
            .flat_map(|pool| violations::of_subnet(pool, &families))
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

    /// The same on a device that wears these addresses.
    pub(super) fn on(self, worn: &[model::IpNet]) -> Result<Self> {
        let pools = worn::follow(&self.pools, worn)?;
        let new = pools.iter().filter_map(|(_, pool)| pool.subnet);
        let new: Vec<_> = new.filter(|subnet| !self.subnets.contains(subnet)).collect();
        let mut subnets = self.subnets;
        subnets.extend(new);
        Ok(Self {
            pools,
            subnets,
            ..self
        })
    }

    /// Subnets that are asked for, and those that the network has already.
    pub(super) fn known_subnets(&self) -> impl Iterator<Item = Subnet> {
        let concrete = |subnet: &&Subnet| !subnet.network().is_unspecified();
        self.subnets.iter().filter(concrete).copied()
    }

    /// Whether the host is to be able to ask for its names.
    pub(super) fn tells_host(&self) -> bool {
        NameOptions::understood(&self.options).host && !self.config_only
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
    let scope = scope(&request, &driver_name, driver)?;
    if capabilities.single && !request.config_only {
        refuse_second(core, &driver_name)?;
    }
    let mut families = Vec::new();
    families.extend(request.enable_ipv4.then_some(AddressFamily::V4));
    families.extend(request.enable_ipv6.then_some(AddressFamily::V6));
    let defaults = core.settings.default_options.get(driver_name.as_str()).cloned();
    let mut options = defaults.unwrap_or_default();
    options.extend(request.options.clone());
    let mut wrong = violations::of_labels(&request.labels);
    wrong.extend(violations::of_options(&options));
    wrong.extend(violations::of_listener(&options, &driver_name));
    wrong.extend(endpoints::announcement_violations(&options));
    let elsewhere = matches!(request.ipam.driver.as_str(), "null" | leases::DRIVER);
    let with_addresses = capabilities.addresses && !elsewhere;
    // A template's are asked for when a network is made from it, and should make sense by then.
    let pools = match with_addresses || request.config_only {
        true => pools(&request, &families, &mut wrong)?,
        false => no_pools(&request, &driver_name)?,
    };
    wrong.extend(violations::of_routes(
        &options,
        pools.iter().map(|(_, pool)| pool),
    ));
    refuse_all(&wrong)?;
    let pools = if with_addresses { pools } else { Vec::new() };
    if !capabilities.several_pools {
        refuse_several(&pools, &driver_name)?;
    }
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

fn scope(request: &CreateNetwork, name: &DriverName, driver: &dyn Driver) -> Result<Scope> {
    match (request.scope, driver.capabilities().scope) {
        (None, own) => Ok(own),
        (Some(Scope::Local), Scope::Global) => Err(Error::forbidden(format!(
            "cannot downgrade network scope for {name} networks"
        ))
        .with_hint("leave out --scope")),
        (Some(Scope::Global), Scope::Local) if driver.may_be_global() => Ok(Scope::Global),
        (Some(Scope::Global), Scope::Local) => Err(Error::invalid(format!(
            "networks of the driver {driver:?} are one host's own",
            driver = name.as_str()
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
        false if request.ipam.driver.as_str() == leases::DRIVER => Err(Error::invalid(
            "with the IPAM driver \"dhcp\" the segment's server says what the subnet is",
        )
        .with_hint("leave out --subnet, --ip-range, --gateway and --aux-address, or --ipam-driver")),
        false => Err(Error::invalid(format!(
            "a network of the driver {:?} has no addresses here",
            driver.as_str()
        ))
        .with_hint("leave out --subnet")),
    }
}

/// The pools to be, as far as they make sense; what does not is added to `wrong`.
fn pools(
    request: &CreateNetwork,
    families: &[AddressFamily],
    wrong: &mut Vec<Violation>,
) -> Result<Vec<(AddressFamily, SubnetRequest)>> {
    if families.is_empty() {
        return Err(
            Error::invalid("IPv4 or IPv6 must be enabled").with_hint("leave out --ipv4=false, or add --ipv6")
        );
    }
    let asked = &request.ipam.subnets;
    let of_subnets = asked
        .iter()
        .flat_map(|pool| violations::of_subnet(pool, families));
    wrong.extend(of_subnets);
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
