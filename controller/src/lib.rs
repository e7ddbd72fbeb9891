//! The Container Network Model, decided: networks, endpoints, sandboxes and nodes.
//!
//! A request walks one way: check, allocate, record the intent (one commit), realize in the kernel, record the result,
//! publish a snapshot, send an event. On failure the undo stack walks it back; after a crash the record's
//! lifecycle tells the reconciler what to finish. Name service, API and engine read snapshots and are called by nobody
//! here. The services lie side by side in [`Controller`] and hold no state of their own.
#![forbid(unsafe_code)]

mod attachments;
mod claims;
mod core;
mod dressed;
mod endpoints;
mod error;
mod events;
mod foreign;
mod lacking;
mod leases;
mod locks;
mod name_service;
mod networks;
mod nodes;
mod reconcile;
mod records;
mod sandboxes;
mod settings;
#[cfg(test)]
mod tests;
mod undo;
mod work;
mod worker;

use std::sync::Arc;

use drivers::Catalog;
use ipam::Ipam;
use kernel::Kernel;
use model::{Node, Snapshot};
use store::Stores;
use tokio::sync::{broadcast, watch};

pub use dressed::{Dressed, JoinDressed, JoinedDressed, Learnt};
pub use endpoints::{Connect, Endpoints, Gateways};
pub use error::{Error, Result};
pub use events::{Event, EventKind};
pub use foreign::{
    AttachForeign, AttachedForeign, Foreign, ForeignSandbox, Observed, ObservedLink, ObservedRoute,
    Readiness, group as foreign_group,
};
pub use ipam::PoolUse;
pub use kernel::{Passage, modules::Missing};
pub use name_service::{NameService, WithoutNames};
pub use networks::{Changed, CreateNetwork, Created, NetworkChange, Networks, PruneFilter};
pub use sandboxes::{CreateSandbox, Namespace, Sandboxes};
pub use settings::{BridgeSettings, HostFiles, Settings};
pub use work::WorkDone;

use crate::{core::Core, reconcile::Reconciler};

/// Everything a controller is made of.
#[derive(Debug)]
pub struct Parts {
    /// This host, as others will know it.
    pub node: Node,
    /// Where records rest.
    pub stores: Stores,
    /// Address management.
    pub ipam: Arc<dyn Ipam>,
    /// Address management by plugins.
    pub ipam_plugins: Arc<ipam::Remotes>,
    /// Drivers by name.
    pub catalog: Arc<dyn Catalog>,
    /// The kernel, for what is inside sandboxes.
    pub kernel: Arc<dyn Kernel>,
    /// How far names are served.
    pub names: Arc<dyn NameService>,
    /// Configuration.
    pub settings: Settings,
}

/// The services of the Container Network Model over one set of records.
#[derive(Debug)]
pub struct Controller {
    /// Networks.
    pub networks: Networks,
    /// Endpoints.
    pub endpoints: Endpoints,
    /// Sandboxes.
    pub sandboxes: Sandboxes,
    /// Sandboxes in namespaces that somebody else made.
    pub foreign: Foreign,
    /// Those that the somebody dresses too.
    pub dressed: Dressed,
    core: Arc<Core>,
    reconciler: Reconciler,
}

impl Controller {
    /// Reads the records, finishes what a crash left half done, brings the kernel to what they say, makes the
    /// predefined networks, and starts watching the cluster store. An unreachable cluster store is no error.
    ///
    /// # Errors
    /// When the local store can't be read, or a predefined network can't be made.
    pub async fn start(parts: Parts) -> Result<Arc<Self>> {
        let core = Core::new(parts);
        let reconciler = reconcile::start(&core).await?;
        Ok(Arc::new(Self {
            networks: Networks { core: core.clone() },
            endpoints: Endpoints { core: core.clone() },
            sandboxes: Sandboxes { core: core.clone() },
            foreign: Foreign { core: core.clone() },
            dressed: Dressed { core: core.clone() },
            core,
            reconciler,
        }))
    }

    /// All records, published after every commit.
    pub fn snapshot(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.core.records.subscribe()
    }

    /// What happens from now on.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.core.events.subscribe()
    }

    /// Compares everything with the kernel again, as the timer does; after a flushed firewall, for example. Returns
    /// at once.
    pub fn wake(&self) {
        self.core.wake.notify_one();
    }

    /// Where other people's firewalls stand in the way of our packets, and what was done about it.
    pub fn passages(&self) -> Vec<Passage> {
        self.core.passages()
    }

    /// Parts of the kernel that networks need and that are not there; none until they have been looked for, in the first
    /// moment after the start.
    pub fn missing(&self) -> Vec<Missing> {
        self.core.lacking.all()
    }

    /// What the reconciler did since the start.
    pub fn work(&self) -> WorkDone {
        self.core.work.done()
    }

    /// Stops watching, for a restart or an upgrade: while containers here are on networks that hosts share, the lease is left to
    /// whoever comes next, so that to the others this host is gone only if nobody does.
    pub async fn pause(&self) {
        self.core.will_come_back();
        self.stop().await;
    }

    /// Stops watching and gives up the lease. Networks, sandboxes and endpoints stay as they are.
    pub async fn stop(&self) {
        self.core.insides.tell(None);
        self.reconciler.stop().await;
    }
}
