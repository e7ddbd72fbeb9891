//! The networks service: create, find, list, delete, prune.

mod create;
mod delete;
mod find;
mod peers;
mod predefined;
mod prune;
mod view;

use std::sync::Arc;

use model::{
    DriverName, Endpoint, IpamConfig, Labels, Lifecycle, Network, NetworkId, NetworkName, Scope, Timestamp,
};

use crate::{core::Core, error::Result};

pub(crate) use delete::{finish_deleting, realize, remove_from_kernel, undo_creating, unrealize};
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
        }
    }
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
        find::find(&self.core.records.snapshot(), text)
    }

    /// Every usable network, by name.
    pub fn list(&self) -> Vec<Arc<Network>> {
        find::list(&self.core.records.snapshot())
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
