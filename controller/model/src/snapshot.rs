//! All records at one generation, immutable and cheap to share.
//!
//! The maps are persistent: publishing after a commit shares all but the path that changed.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use crate::{Endpoint, EndpointId, Network, NetworkId, Node, NodeId, Sandbox, SandboxId};

/// Everything this host knows: its own records and its copy of the global ones.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Grows by at least one with every change; readers compare it, nothing else.
    pub generation: u64,
    /// Networks by id.
    pub networks: OrdMap<NetworkId, Arc<Network>>,
    /// Endpoints by id, other hosts' included.
    pub endpoints: OrdMap<EndpointId, Arc<Endpoint>>,
    /// This host's sandboxes by id.
    pub sandboxes: OrdMap<SandboxId, Arc<Sandbox>>,
    /// Hosts by id, this one included.
    pub nodes: OrdMap<NodeId, Arc<Node>>,
    /// Hosts whose lease holds. This host is always among them.
    pub live_nodes: OrdSet<NodeId>,
    by_network: OrdMap<NetworkId, OrdSet<EndpointId>>,
    by_sandbox: OrdMap<SandboxId, OrdSet<EndpointId>>,
    /// Global records come from the last copy seen, because the cluster store does not answer.
    pub stale: bool,
}

impl Snapshot {
    /// Puts an endpoint in, replacing the one of the same id.
    pub fn insert_endpoint(&mut self, endpoint: Arc<Endpoint>) {
        self.remove_endpoint(&endpoint.id);
        self.by_network
            .entry(endpoint.network)
            .or_default()
            .insert(endpoint.id);
        self.by_sandbox
            .entry(endpoint.sandbox)
            .or_default()
            .insert(endpoint.id);
        self.endpoints.insert(endpoint.id, endpoint);
    }

    /// Takes an endpoint out.
    pub fn remove_endpoint(&mut self, id: &EndpointId) -> Option<Arc<Endpoint>> {
        let endpoint = self.endpoints.remove(id)?;
        if let Some(ids) = self.by_network.get_mut(&endpoint.network) {
            ids.remove(id);
            if ids.is_empty() {
                self.by_network.remove(&endpoint.network);
            }
        }
        if let Some(ids) = self.by_sandbox.get_mut(&endpoint.sandbox) {
            ids.remove(id);
            if ids.is_empty() {
                self.by_sandbox.remove(&endpoint.sandbox);
            }
        }
        Some(endpoint)
    }

    /// The endpoints on a network, every host's, in id order.
    pub fn endpoints_on(&self, network: &NetworkId) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.by_network
            .get(network)
            .into_iter()
            .flatten()
            .filter_map(|id| self.endpoints.get(id))
    }

    /// The endpoints of a sandbox, in id order.
    pub fn endpoints_of(&self, sandbox: &SandboxId) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.by_sandbox
            .get(sandbox)
            .into_iter()
            .flatten()
            .filter_map(|id| self.endpoints.get(id))
    }
}
