//! All names this host knows, and each sandbox's view of them.
//!
//! A change touches the maps of one network only; a view is borrowed, never copied, so serving costs no memory per
//! sandbox beyond the list of its networks.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use model::{AddressFamily, EndpointId, NetworkId, SandboxId};

use crate::{Change, EndpointFacts, NetworkFacts, SandboxFacts};

/// Networks, endpoints and sandboxes, indexed for answering.
#[derive(Debug, Default)]
pub struct Names {
    networks: HashMap<NetworkId, NetworkFacts>,
    pub(crate) zones: HashMap<NetworkId, Zone>,
    endpoints: HashMap<EndpointId, EndpointFacts>,
    sandboxes: HashMap<SandboxId, SandboxFacts>,
    pub(crate) by_sandbox: HashMap<SandboxId, BTreeSet<EndpointId>>,
    pub(crate) views: HashMap<SandboxId, View>,
    host_file: Option<PathBuf>,
}

/// The names of one network.
#[derive(Debug, Default)]
pub(crate) struct Zone {
    names: HashMap<String, Vec<EndpointId>>,
    addresses: HashMap<IpAddr, EndpointId>,
}

/// What one sandbox sees: its endpoints in the order of its networks.
#[derive(Debug, Default)]
pub(crate) struct View {
    endpoints: Vec<EndpointId>,
    outside: bool,
}

/// What one sandbox may know.
#[derive(Debug, Clone, Copy)]
pub struct NameTable<'a> {
    names: &'a Names,
    view: &'a View,
}

/// A network of a sandbox, with the aliases that only the sandbox sees there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Visible<'a> {
    names: &'a Names,
    zone: Option<&'a Zone>,
    links: Option<&'a BTreeMap<String, String>>,
    facts: &'a NetworkFacts,
    pub(crate) network: &'a str,
}

/// What a name stands for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Found<'a> {
    /// Endpoints.
    Endpoints(&'a Names, &'a [EndpointId]),
    /// A record of the user's own.
    Record(&'a [IpAddr]),
}

impl Names {
    /// Takes a change in.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Network(network) if self.networks.get(&network.id) == Some(&network) => {}
            Change::Endpoint(endpoint) if self.endpoints.get(&endpoint.id) == Some(&endpoint) => {}
            Change::Network(network) => {
                let id = network.id;
                self.networks.insert(id, network);
                self.arrange_members(id);
            }
            Change::NoNetwork(id) => {
                self.networks.remove(&id);
                self.arrange_members(id);
            }
            Change::Endpoint(endpoint) => {
                self.remove_endpoint(endpoint.id);
                self.insert_endpoint(endpoint);
            }
            Change::NoEndpoint(id) => self.remove_endpoint(id),
            Change::Sandbox(sandbox) => {
                let id = sandbox.id;
                self.sandboxes.insert(id, sandbox);
                self.arrange(id);
            }
            Change::NoSandbox(id) => {
                self.sandboxes.remove(&id);
                self.views.remove(&id);
            }
            Change::HostFile(path) => self.host_file = Some(path),
        }
    }

    /// What a sandbox sees; none for one that is not served.
    pub fn table(&self, sandbox: SandboxId) -> Option<NameTable<'_>> {
        Some(NameTable {
            names: self,
            view: self.views.get(&sandbox)?,
        })
    }

    /// What the host itself sees of one network, when its options say that it may.
    pub(crate) fn network(&self, id: NetworkId) -> Option<Visible<'_>> {
        let facts = self.networks.get(&id)?;
        Some(self.visible(facts, None))
    }

    /// The networks.
    pub fn networks(&self) -> impl Iterator<Item = &NetworkFacts> {
        self.networks.values()
    }

    /// One of them.
    pub fn network_facts(&self, id: NetworkId) -> Option<&NetworkFacts> {
        self.networks.get(&id)
    }

    /// Whether a sandbox has an IPv6 address.
    pub fn has_ipv6(&self, sandbox: SandboxId) -> bool {
        let own = self.by_sandbox.get(&sandbox).into_iter().flatten();
        let mut own = own.filter_map(|id| self.endpoints.get(id));
        own.any(|endpoint| endpoint.ipv6.is_some())
    }

    /// The sandbox that an endpoint is in.
    pub fn sandbox_of(&self, endpoint: EndpointId) -> Option<SandboxId> {
        self.endpoints.get(&endpoint).map(|endpoint| endpoint.sandbox)
    }

    fn visible<'a>(
        &'a self,
        facts: &'a NetworkFacts,
        links: Option<&'a BTreeMap<String, String>>,
    ) -> Visible<'a> {
        Visible {
            names: self,
            zone: self.zones.get(&facts.id),
            links,
            facts,
            network: &facts.name,
        }
    }

    /// The sandboxes to be served.
    pub fn sandboxes(&self) -> impl Iterator<Item = &SandboxFacts> {
        self.sandboxes.values()
    }

    /// One of them.
    pub fn sandbox(&self, id: SandboxId) -> Option<&SandboxFacts> {
        self.sandboxes.get(&id)
    }

    /// The file that lists the host's servers.
    pub fn host_file(&self) -> Option<&PathBuf> {
        self.host_file.as_ref()
    }

    /// The changes that lead from nothing to what is known.
    pub fn changes(&self) -> impl Iterator<Item = Change> {
        let networks = self.networks.values().cloned().map(Change::Network);
        let endpoints = self.endpoints.values().cloned().map(Change::Endpoint);
        let sandboxes = self.sandboxes.values().cloned().map(Change::Sandbox);
        let host_file = self.host_file.iter().cloned().map(Change::HostFile);
        networks.chain(endpoints).chain(sandboxes).chain(host_file)
    }

    /// The removals that are needed before `all` is everything.
    pub fn surplus(&self, all: &[Change]) -> Vec<Change> {
        let (mut networks, mut endpoints, mut sandboxes) =
            (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for change in all {
            match change {
                Change::Network(network) => drop(networks.insert(network.id)),
                Change::Endpoint(endpoint) => drop(endpoints.insert(endpoint.id)),
                Change::Sandbox(sandbox) => drop(sandboxes.insert(sandbox.id)),
                _ => {}
            }
        }
        let networks = self
            .networks
            .keys()
            .filter(|id| !networks.contains(id))
            .copied()
            .map(Change::NoNetwork);
        let endpoints = self
            .endpoints
            .keys()
            .filter(|id| !endpoints.contains(id))
            .copied()
            .map(Change::NoEndpoint);
        let sandboxes = self
            .sandboxes
            .keys()
            .filter(|id| !sandboxes.contains(id))
            .copied()
            .map(Change::NoSandbox);
        sandboxes.chain(endpoints).chain(networks).collect()
    }

    fn insert_endpoint(&mut self, endpoint: EndpointFacts) {
        let zone = self.zones.entry(endpoint.network).or_default();
        for name in distinct(&endpoint.names) {
            zone.names.entry(name).or_default().push(endpoint.id);
        }
        for address in addresses(&endpoint) {
            zone.addresses.insert(address, endpoint.id);
        }
        let sandbox = endpoint.sandbox;
        self.by_sandbox.entry(sandbox).or_default().insert(endpoint.id);
        self.endpoints.insert(endpoint.id, endpoint);
        self.arrange(sandbox);
    }

    fn remove_endpoint(&mut self, id: EndpointId) {
        let Some(endpoint) = self.endpoints.remove(&id) else {
            return;
        };
        if let Some(zone) = self.zones.get_mut(&endpoint.network) {
            zone.remove(&endpoint);
            if zone.names.is_empty() && zone.addresses.is_empty() {
                self.zones.remove(&endpoint.network);
            }
        }
        if let Some(siblings) = self.by_sandbox.get_mut(&endpoint.sandbox) {
            siblings.remove(&id);
            if siblings.is_empty() {
                self.by_sandbox.remove(&endpoint.sandbox);
            }
        }
        self.arrange(endpoint.sandbox);
    }

    fn arrange_members(&mut self, network: NetworkId) {
        let on = self
            .endpoints
            .values()
            .filter(|endpoint| endpoint.network == network);
        for sandbox in on.map(|endpoint| endpoint.sandbox).collect::<BTreeSet<_>>() {
            self.arrange(sandbox);
        }
    }

    /// Puts a sandbox's networks in the order in which the default gateway is chosen.
    fn arrange(&mut self, sandbox: SandboxId) {
        if !self.sandboxes.contains_key(&sandbox) {
            return;
        }
        let own = self.by_sandbox.get(&sandbox).into_iter().flatten();
        let mut known: Vec<_> = own
            .filter_map(|id| self.endpoints.get(id))
            .filter_map(|endpoint| Some((endpoint, self.networks.get(&endpoint.network)?)))
            .collect();
        known.sort_by_key(|(endpoint, network)| {
            (
                Reverse(endpoint.priority),
                network.predefined,
                !network.outside,
                Reverse(network.gateways),
                &network.name,
            )
        });
        let view = View {
            outside: known.iter().any(|(_, network)| network.outside),
            endpoints: known.iter().map(|(endpoint, _)| endpoint.id).collect(),
        };
        self.views.insert(sandbox, view);
    }
}

impl Zone {
    fn remove(&mut self, endpoint: &EndpointFacts) {
        for name in distinct(&endpoint.names) {
            if let Some(ids) = self.names.get_mut(&name) {
                ids.retain(|id| *id != endpoint.id);
                if ids.is_empty() {
                    self.names.remove(&name);
                }
            }
        }
        for address in addresses(endpoint) {
            if self.addresses.get(&address) == Some(&endpoint.id) {
                self.addresses.remove(&address);
            }
        }
    }
}

impl<'a> NameTable<'a> {
    /// The sandbox's networks that have names, in gateway order.
    pub(crate) fn networks(self) -> impl Iterator<Item = Visible<'a>> {
        let names = self.names;
        self.view.endpoints.iter().filter_map(move |id| {
            let endpoint = names.endpoints.get(id)?;
            let facts = names
                .networks
                .get(&endpoint.network)
                .filter(|network| network.named)?;
            Some(names.visible(facts, Some(&endpoint.links)))
        })
    }

    /// Whether the host's servers may be asked for this sandbox.
    pub fn reaches_outside(&self) -> bool {
        self.view.outside
    }

    /// The servers that a network of the sandbox names for a lower-case name: the longest domain's, and among equals
    /// the first network's.
    pub fn forward(&self, name: &str) -> Option<(&'a str, &'a [SocketAddr])> {
        let mut found: Option<(&'a str, &'a [SocketAddr])> = None;
        let networks = self.view.endpoints.iter().filter_map(|id| {
            let endpoint = self.names.endpoints.get(id)?;
            self.names.networks.get(&endpoint.network)
        });
        for network in networks.filter(|network| !network.forwards.is_empty()) {
            for (domain, servers) in network
                .forwards
                .iter()
                .filter(|(domain, _)| is_within(name, domain))
            {
                if found.is_none_or(|(longest, _)| longest.len() < domain.len()) {
                    found = Some((domain, servers));
                }
            }
        }
        found
    }

    /// The sandbox's addresses at which published ports of a family may end, in gateway order.
    pub fn published_at(&self, family: AddressFamily) -> impl Iterator<Item = IpAddr> {
        self.view.endpoints.iter().filter_map(move |id| {
            let endpoint = self.names.endpoints.get(id)?;
            let network = self.names.networks.get(&endpoint.network)?;
            let own = addresses(endpoint).find(|address| AddressFamily::of(*address) == family);
            own.filter(|_| network.publishes.contains(&family))
        })
    }
}

impl<'a> Visible<'a> {
    /// What a lower-case name stands for: aliases of this sandbox first, then endpoints, then the user's records.
    pub(crate) fn find(&self, name: &str) -> Option<Found<'a>> {
        let linked = self
            .links
            .into_iter()
            .flatten()
            .find(|(alias, _)| alias.eq_ignore_ascii_case(name));
        let endpoints = |name: &str| Some(self.zone?.names.get(name)?.as_slice());
        let ids = linked.and_then(|(_, target)| endpoints(&target.to_ascii_lowercase()));
        match ids.or_else(|| endpoints(name)) {
            Some(ids) => Some(Found::Endpoints(self.names, ids)),
            None => self.record(name).map(Found::Record),
        }
    }

    fn record(&self, name: &str) -> Option<&'a [IpAddr]> {
        let records = &self.facts.records;
        if records.is_empty() {
            return None;
        }
        let exact = records.get(name);
        // Below a star, the longest one counts.
        let found = exact.or_else(|| {
            let stars = records
                .range("*.".to_owned()..)
                .take_while(|(key, _)| key.starts_with("*."));
            let fitting = stars.filter(|(star, _)| {
                name.strip_suffix(&star[1..])
                    .is_some_and(|below| !below.is_empty())
            });
            fitting
                .max_by_key(|(star, _)| star.len())
                .map(|(_, addresses)| addresses)
        })?;
        Some(found)
    }

    /// The whole name of an address, with a dot at its end: that of the endpoint which has it, else that of a record of
    /// the user's own. A record that has a domain is its own whole name; one below a star is none.
    pub(crate) fn reverse(&self, address: IpAddr) -> Option<String> {
        let network = self.network;
        let endpoint = || {
            let id = self.zone?.addresses.get(&address)?;
            self.names.endpoints.get(id)?.names.first()
        };
        if let Some(name) = endpoint() {
            return Some(format!("{name}.{network}."));
        }
        let mut records = self.facts.records.iter();
        let (name, _) =
            records.find(|(name, addresses)| !name.starts_with("*.") && addresses.contains(&address))?;
        Some(match name.contains('.') {
            true => format!("{name}."),
            false => format!("{name}.{network}."),
        })
    }
}

impl<'a> Found<'a> {
    /// The addresses, of all families.
    pub(crate) fn addresses(self) -> impl Iterator<Item = IpAddr> + use<'a> {
        let (ids, record) = match self {
            Self::Endpoints(_, ids) => (ids, [].as_slice()),
            Self::Record(record) => ([].as_slice(), record),
        };
        let names = self.names();
        let known = ids.iter().filter_map(move |id| names?.endpoints.get(id));
        known.flat_map(addresses).chain(record.iter().copied())
    }

    /// The endpoints, each with its sandbox if that is of this host.
    pub(crate) fn endpoints(
        self,
    ) -> impl Iterator<Item = (&'a EndpointFacts, Option<&'a SandboxFacts>)> + use<'a> {
        let ids = match self {
            Self::Endpoints(_, ids) => ids,
            Self::Record(_) => &[],
        };
        let names = self.names();
        let known = ids.iter().filter_map(move |id| names?.endpoints.get(id));
        known.map(move |endpoint| {
            (
                endpoint,
                names.and_then(|names| names.sandboxes.get(&endpoint.sandbox)),
            )
        })
    }

    fn names(self) -> Option<&'a Names> {
        match self {
            Self::Endpoints(names, _) => Some(names),
            Self::Record(_) => None,
        }
    }
}

/// Whether a name is the domain or below it.
fn is_within(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain)
        .is_some_and(|front| front.is_empty() || front.ends_with('.'))
}

fn distinct(names: &[String]) -> BTreeSet<String> {
    names
        .iter()
        .filter(|name| !name.is_empty())
        .map(|name| name.to_ascii_lowercase())
        .collect()
}

fn addresses(endpoint: &EndpointFacts) -> impl Iterator<Item = IpAddr> + use<> {
    endpoint
        .ipv4
        .map(IpAddr::V4)
        .into_iter()
        .chain(endpoint.ipv6.map(IpAddr::V6))
}
