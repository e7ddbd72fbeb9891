//! What `inspect` and `list` show: a record beside what the controller knows of it now.

use std::{path::PathBuf, sync::Arc};

use controller::Gateways;
use model::{ContainerName, Endpoint, Network, NetworkId, Sandbox};

use super::{Core, container::Container, links, networks};
use crate::{
    record::{Paths, Record, Wishes},
    volumes::{self, VolumeMount},
};

/// A container as it is now.
#[derive(Debug, Clone)]
pub struct View {
    /// Its record.
    pub record: Arc<Record>,
    /// Its files on this host.
    pub paths: Paths,
    /// Its sandbox, while it has one. In another container's network, that one's.
    pub sandbox: Option<Arc<Sandbox>>,
    /// Its networks, the one of its mode first.
    pub networks: Vec<Attached>,
    /// Containers that it is linked to on the default bridge, by their names now, with what they are called here.
    pub links: Vec<(ContainerName, String)>,
    /// Its volumes and where they are on the host.
    pub volumes: Vec<(VolumeMount, String)>,
    /// Its running execs.
    pub execs: Vec<String>,
    /// What its probes say; none without a health check.
    pub health: Option<super::Health>,
}

/// One network of a container.
#[derive(Debug, Clone)]
pub struct Attached {
    /// The network's id.
    pub id: NetworkId,
    /// The network's name, or its last one when it is gone.
    pub name: String,
    /// What was asked.
    pub wishes: Wishes,
    /// The network, unless it is gone.
    pub network: Option<Arc<Network>>,
    /// The endpoint, while the container runs.
    pub endpoint: Option<Arc<Endpoint>>,
    /// The gateways that the network offers it.
    pub gateways: Gateways,
}

impl View {
    /// Folder of `hosts`, `resolv.conf` and `hostname`.
    pub fn files(&self) -> &PathBuf {
        self.sandbox
            .as_ref()
            .map_or(&self.paths.files, |sandbox| &sandbox.files)
    }
}

/// Looks at a container.
pub(super) fn view(core: &Core, container: &Container) -> View {
    let record = container.record();
    let snapshot = core.controller.snapshot().borrow().clone();
    let sandbox = match record.settings.network_mode {
        crate::record::NetworkMode::Container(other) => core
            .registry
            .get(&other)
            .and_then(|other| other.prepared())
            .and_then(|prepared| prepared.sandbox),
        _ => container.prepared().and_then(|prepared| prepared.sandbox),
    };
    let attached = |(id, wishes): (&NetworkId, &Wishes)| {
        let network = snapshot.networks.get(id).cloned();
        let endpoint = networks::own_endpoint(&snapshot, &record.id, sandbox, id).cloned();
        let gateways = endpoint
            .as_ref()
            .map(|endpoint| core.controller.endpoints.gateways(endpoint.id));
        Attached {
            id: *id,
            name: network
                .as_ref()
                .map_or_else(|| wishes.network.clone(), |network| network.name.to_string()),
            wishes: wishes.clone(),
            network,
            endpoint,
            gateways: gateways.unwrap_or_default(),
        }
    };
    View {
        links: links::named(core, &record),
        networks: networks::in_order(&record).into_iter().map(attached).collect(),
        sandbox: sandbox.and_then(|id| snapshot.sandboxes.get(&id).cloned()),
        paths: core.paths(&record.id),
        volumes: volumes::places(core, &record),
        execs: container.running_execs(),
        health: container.healthy(),
        record,
    }
}
