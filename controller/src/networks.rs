//! The networks service: create, find, list, delete, prune.

mod create;
mod delete;
mod find;
mod peers;
mod predefined;
mod propose;
mod prune;
mod template;
mod update;
mod view;

use std::{collections::BTreeSet, sync::Arc};

use ipam::PoolUse;
use model::{
    AddressFamily, DriverName, Endpoint, IpamConfig, Labels, Lifecycle, Network, NetworkId, NetworkName,
    Scope, Subnet, SubnetRequest, Timestamp,
};

use crate::{
    core::Core,
    error::{Error, Result},
};

pub(crate) use delete::{
    finish_deleting, realize, realize_knowing, remove_from_kernel, undo_creating, undo_shared, unrealize,
};
pub(crate) use find::network_not_found;
pub(crate) use peers::{tell_all_peers, tell_peers};
pub(crate) use predefined::{ensure_predefined, gateway_bridge};
pub(crate) use view::{peers_of, view};

/// A network wanted.
#[derive(Debug, Clone)]
pub struct CreateNetwork {
    /// Its name.
    pub name: NetworkName,
    /// Its driver; `bridge` when nothing is said.
    pub driver: Option<DriverName>,
    /// Its scope; the driver's own when nothing is said.
    pub scope: Option<Scope>,
    /// The user's labels.
    pub labels: Labels,
    /// Driver options as typed.
    pub options: Labels,
    /// Endpoints get IPv4 addresses.
    pub enable_ipv4: bool,
    /// Endpoints get IPv6 addresses.
    pub enable_ipv6: bool,
    /// No route to the outside.
    pub internal: bool,
    /// Echoed to clients that ask.
    pub attachable: bool,
    /// What is asked of address management.
    pub ipam: IpamConfig,
    /// Only a template, for other networks to be made from.
    pub config_only: bool,
    /// The template to make it from, by name or id.
    pub config_from: Option<String>,
    /// Swarm's routing mesh, which is refused.
    pub ingress: bool,
}

impl CreateNetwork {
    /// A network with this name and every default.
    pub fn named(name: NetworkName) -> Self {
        Self {
            name,
            driver: None,
            scope: None,
            labels: Labels::new(),
            options: Labels::new(),
            enable_ipv4: true,
            enable_ipv6: false,
            internal: false,
            attachable: false,
            ipam: IpamConfig {
                driver: DriverName::new("default").expect("a literal follows the rule"),
                options: Labels::new(),
                subnets: Vec::new(),
            },
            config_only: false,
            config_from: None,
            ingress: false,
        }
    }
}

/// What of a network is to change while containers are on it; what is none stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkChange {
    /// Its name, by which `name.network` resolves too.
    pub name: Option<NetworkName>,
    /// All of its labels.
    pub labels: Option<Labels>,
    /// MTU of the bridge and of every container's interface on it, in bytes.
    pub mtu: Option<u16>,
    /// Whether its containers reach each other.
    pub icc: Option<bool>,
    /// Whether packets to the outside get the host's address.
    pub masquerade: Option<bool>,
    /// More subnets: endpoints get addresses of them when the others are used up.
    pub add_subnets: Vec<SubnetRequest>,
}

/// A network changed, or, of a dry run, as it still is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// The network as it is now.
    pub network: Arc<Network>,
    /// What was or would be done, a line each: `~` for a change, `+` for a new kernel object, `-` for a removed one.
    pub steps: Vec<String>,
}

/// A network made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// Its identity.
    pub id: NetworkId,
    /// What the user should know all the same; empty mostly.
    pub warning: String,
}

/// Which unused networks to remove.
#[derive(Debug, Clone, Default)]
pub struct PruneFilter {
    /// Only those made before.
    pub until: Option<Timestamp>,
    /// Only those with each of these labels, and the value where one is given.
    pub labels: Vec<(String, Option<String>)>,
    /// None of those with one of these labels.
    pub without_labels: Vec<(String, Option<String>)>,
}

/// Networks of this host and of the cluster.
#[derive(Debug, Clone)]
pub struct Networks {
    pub(crate) core: Arc<Core>,
}

impl Networks {
    /// Makes a network.
    ///
    /// # Errors
    /// `Conflict` when the name is taken, `NotFound` for an unknown driver, `Invalid` for options and addresses that
    /// make no sense, `Forbidden` for overlaps and reserved names, `Unavailable` when the cluster store is needed
    /// and does not answer.
    pub async fn create(&self, request: CreateNetwork) -> Result<Created> {
        create::create(&self.core, request).await
    }

    /// One network, by full id, else name, else unique id prefix.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` for a prefix that several share.
    pub fn find(&self, text: &str) -> Result<Arc<Network>> {
        let found = find::find(&self.core.records.snapshot(), text);
        let is_off = text == "bridge" && self.core.settings.default_bridge.is_none();
        found.map_err(|error| match (&error, is_off) {
            (Error::NotFound { .. }, true) => error.with_hint(
                "the daemon was told to have no default network (--bridge none): name one with --network, or say none",
            ),
            _ => error,
        })
    }

    /// Every usable network, by name.
    pub fn list(&self) -> Vec<Arc<Network>> {
        find::list(&self.core.records.snapshot())
    }

    /// The drivers there are: built-in ones, plugins that have answered, and those of networks.
    pub fn drivers(&self) -> Vec<String> {
        let snapshot = self.core.records.snapshot();
        let used = snapshot
            .networks
            .values()
            .map(|network| network.driver.to_string());
        let all: BTreeSet<_> = self.core.catalog.names().into_iter().chain(used).collect();
        all.into_iter().collect()
    }

    /// The connected endpoints on a network, every host's.
    pub fn endpoints(&self, id: NetworkId) -> Vec<Arc<Endpoint>> {
        let snapshot = self.core.records.snapshot();
        let present = snapshot.endpoints_on(&id);
        present
            .filter(|endpoint| endpoint.lifecycle == Lifecycle::Active)
            .cloned()
            .collect()
    }

    /// A subnet that a new network could have, beside others that are spoken for. It is not taken: whoever makes the network
    /// asks for it.
    ///
    /// # Errors
    /// `Unavailable` when none is left, or the cluster store is needed and does not answer.
    pub async fn propose(&self, family: AddressFamily, beside: Vec<Subnet>) -> Result<Subnet> {
        propose::propose(&self.core, family, beside).await
    }

    /// Changes a network, found as [`Self::find`] does, without touching its containers: all of it or nothing. A dry run
    /// only answers what would be done.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` for a taken name; `Forbidden` for predefined networks and overlapping subnets; `Invalid`
    /// for what the driver can't change.
    pub async fn update(&self, text: &str, change: NetworkChange, dry_run: bool) -> Result<Changed> {
        update::update(&self.core, text, change, dry_run).await
    }

    /// How much of each of a network's pools is used, in the pools' order.
    ///
    /// # Errors
    /// `NotFound`; `Unavailable` for a global network while the cluster store does not answer.
    pub async fn utilisation(&self, id: NetworkId) -> Result<Vec<PoolUse>> {
        let network = self.core.records.snapshot().networks.get(&id).cloned();
        let network = network.ok_or_else(|| network_not_found(&id.short()))?;
        let (mut pools, ipam) = (Vec::new(), self.core.ipam(&network));
        for pool in &network.pools {
            pools.push(ipam.utilisation(id, network.scope, pool).await?);
        }
        Ok(pools)
    }

    /// Removes a network that nobody uses, found as [`Self::find`] does. Answers what it was.
    ///
    /// # Errors
    /// `Forbidden` for predefined networks and those in use, naming the users.
    pub async fn delete(&self, text: &str) -> Result<Arc<Network>> {
        let network = self.find(text)?;
        delete::delete(&self.core, network.id).await
    }

    /// Removes what nobody uses and the filter lets through. Answers what is gone; a network that could not be
    /// removed is left out and logged.
    ///
    /// # Errors
    /// `Conflict` while another prune runs.
    pub async fn prune(&self, filter: PruneFilter) -> Result<Vec<Arc<Network>>> {
        prune::prune(&self.core, &filter).await
    }
}
