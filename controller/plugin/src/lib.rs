//! Our networks for a stock Docker daemon: the driver and the address management `cnm` of Docker's plugin protocol.
//!
//! A Docker network is bound to one of ours by the option `cnm.network`: made with it, or joined where another host (or
//! `cnm network create`) has made it. Everything that decides is pure and beside this: `wanted` reads what Docker asks
//! for, `pool_id` what a pool is called, `ports` what is published. The calls themselves only translate, and end in
//! [`controller::Dressed`], since dockerd dresses its sandboxes itself.
//!
//! No call carries a container's name. Names are learnt from Docker's own API when a call has been answered (`learn`):
//! asking within one would wait for a daemon that waits for us.
#![forbid(unsafe_code)]

mod addresses;
mod bindings;
mod docker;
mod drafts;
mod endpoints;
mod enter;
mod learn;
mod leftovers;
mod networks;
mod pool_id;
mod ports;
mod records;
mod refusal;
#[cfg(test)]
mod replays;
#[cfg(test)]
mod tests;
mod wanted;

use std::{path::PathBuf, sync::Arc};

use controller::Controller;
use model::NodeId;
use plugin_proto::server::Server;
use store::Stores;
use tokio::{sync::Notify, task::JoinSet};

use crate::{docker::Docker, drafts::Drafts};

/// Who manages the sandboxes of these endpoints, in their records.
pub const MANAGER: &str = "docker";
/// The name by which Docker knows the plugin: that of its socket.
pub const NAME: &str = "cnm";

/// What the plugin is made of.
#[derive(Debug)]
pub struct Parts {
    /// The networks.
    pub controller: Arc<Controller>,
    /// Where bindings rest, beside the records they are about.
    pub stores: Stores,
    /// This host.
    pub node: NodeId,
    /// Docker's own socket, by which it tells what its containers are called.
    pub docker: PathBuf,
}

/// Shared by the calls and by what goes on beside them.
#[derive(Debug)]
struct Shared {
    controller: Arc<Controller>,
    stores: Stores,
    node: NodeId,
    docker: Docker,
    drafts: Drafts,
    /// An endpoint has joined.
    joined: Notify,
    /// Who has called is there: what it knows may be learnt.
    called: Notify,
    /// One network at a time is made, bound or removed.
    binding: tokio::sync::Mutex<()>,
}

/// The plugin, running. Dropping it ends what goes on beside the calls; networks and endpoints stay as they are.
#[derive(Debug)]
pub struct Plugin {
    shared: Arc<Shared>,
    _beside: JoinSet<()>,
}

impl Plugin {
    /// Starts what goes on beside the calls, on the current runtime.
    pub fn start(parts: Parts) -> Self {
        let shared = Arc::new(Shared {
            controller: parts.controller,
            stores: parts.stores,
            node: parts.node,
            docker: Docker::at(parts.docker),
            drafts: Drafts::default(),
            joined: Notify::new(),
            called: Notify::new(),
            binding: tokio::sync::Mutex::default(),
        });
        let mut beside = JoinSet::new();
        beside.spawn(enter::run(Arc::clone(&shared)));
        beside.spawn(learn::run(Arc::clone(&shared)));
        Self {
            shared,
            _beside: beside,
        }
    }

    /// What answers Docker's calls.
    pub fn server(&self) -> Server {
        Server::default()
            .network(endpoints::Driver(Arc::clone(&self.shared)))
            .ipam(addresses::Addresses(Arc::clone(&self.shared)))
            .observed_by(|method, body| {
                tracing::debug!(method, body = %String::from_utf8_lossy(body), "Docker calls");
            })
    }
}
