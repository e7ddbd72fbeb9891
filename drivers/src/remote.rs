//! Drivers in other processes, by Docker's plugin protocol.
//!
//! A plugin keeps its own books: it is told of a network and of an endpoint once, and not again when this daemon starts
//! anew. A network of all hosts it is told of on the one where it is made, and again where it is removed. What it answered at join is in the endpoint's record. It is told of removals, but can't prevent them: what it
//! says then is logged, and the records go on without it.

mod catalog;
mod hosts;
mod translate;

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use model::{
    AddressFamily, Endpoint, EndpointAddresses, EndpointId, Lifecycle, Network, NetworkId, NodeId,
    PluginAnswer, Scope,
};
use plugin_proto::{
    Call, Error as PluginError, Plugin,
    activation::NETWORK_DRIVER,
    network_driver::{
        self as net, CreateEndpoint, DeleteEndpoint, DeleteNetwork, EndpointOperInfo, GwAllocCheck, Join,
        Leave, ProgramExternalConnectivity, RevokeExternalConnectivity,
    },
};

use crate::{
    Access, Attachment, Capabilities, Draft, Driver, Link, Needs, NetworkView, Result, StaticRoute, Target,
};

pub use catalog::WithPlugins;
use hosts::Hosts;
pub use hosts::KnownHost;

/// A plugin as a driver.
#[derive(Debug)]
pub struct Remote {
    plugin: std::sync::Arc<Plugin>,
    capabilities: Mutex<Option<net::Capabilities>>,
    networks: Progress<NetworkId>,
    endpoints: Progress<EndpointId>,
    hosts: Hosts,
    /// The hosts that it was told of. Held by the one who tells.
    told: tokio::sync::Mutex<BTreeMap<NodeId, KnownHost>>,
}

/// How far a plugin was told of something, as far as this process knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// It has refused to make it.
    Nothing,
    /// It was asked to make it.
    Made,
    /// It was asked to join it.
    Joined,
}

#[derive(Debug)]
struct Progress<Id>(Mutex<HashMap<Id, Told>>);

impl<Id: Eq + Hash> Progress<Id> {
    fn set(&self, id: Id, told: Told) {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.insert(id, told);
    }

    fn get(&self, id: &Id) -> Option<Told> {
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.get(id).copied()
    }

    fn take(&self, id: &Id) -> Option<Told> {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.remove(id)
    }
}

impl Remote {
    /// The plugin, which may be there or not.
    pub fn new(plugin: std::sync::Arc<Plugin>) -> Self {
        Self::among(plugin, Hosts::default())
    }

    /// The same on one of several hosts.
    fn among(plugin: std::sync::Arc<Plugin>, hosts: Hosts) -> Self {
        Self {
            plugin,
            capabilities: Mutex::default(),
            networks: Progress(Mutex::default()),
            endpoints: Progress(Mutex::default()),
            hosts,
            told: tokio::sync::Mutex::default(),
        }
    }

    /// Finds it and asks what it can do, if it was not asked yet. One whose file is not there yet is waited for.
    ///
    /// # Errors
    /// When it is not there, is no network driver, or answers nonsense.
    pub async fn activate(&self, patience: Duration) -> Result<()> {
        self.plugin.require(NETWORK_DRIVER, patience).await?;
        self.introduce().await
    }

    /// Asks what it can do and tells it who is there, before anything else is asked of it.
    async fn introduce(&self) -> Result<()> {
        if self.known().is_some() {
            return Ok(());
        }
        let capabilities = self.plugin.call(&net::GetCapabilities).await?;
        for (scope, may_be_empty) in [
            (&capabilities.scope, false),
            (&capabilities.connectivity_scope, true),
        ] {
            let known = matches!(scope.as_str(), "local" | "global") || (may_be_empty && scope.is_empty());
            if !known {
                let reason = format!("invalid capability: expecting 'local' or 'global', got {scope}");
                return Err(self.nonsense(net::GetCapabilities::METHOD, reason));
            }
        }
        *self.capabilities.lock().unwrap_or_else(PoisonError::into_inner) = Some(capabilities);
        self.meet().await;
        Ok(())
    }

    /// Whether its networks are those of all hosts.
    fn is_everywhere(&self) -> bool {
        self.known()
            .is_some_and(|capabilities| capabilities.scope == "global")
    }

    fn known(&self) -> Option<net::Capabilities> {
        let capabilities = self.capabilities.lock().unwrap_or_else(PoisonError::into_inner);
        capabilities.clone()
    }

    fn nonsense(&self, method: &str, reason: String) -> crate::Error {
        PluginError::Nonsense {
            plugin: self.plugin.name().to_owned(),
            method: method.to_owned(),
            reason,
        }
        .into()
    }

    /// Tells it that something goes. That it can't be told is no reason to keep it.
    async fn tell<C: Call + Sync>(&self, call: &C, what: &str) {
        match self.plugin.call(call).await {
            Ok(_) => {}
            Err(error) => tracing::warn!(plugin = self.plugin.name(), %error, what, "going on without it"),
        }
    }

    async fn create_endpoint(
        &self,
        network: &Network,
        endpoint: &Endpoint,
        target: &Target,
    ) -> Result<EndpointAddresses> {
        let request = CreateEndpoint {
            network_id: endpoint.network.to_string(),
            endpoint_id: endpoint.id.to_string(),
            interface: translate::interface(&endpoint.addresses),
            options: translate::endpoint_options(network, endpoint, target),
        };
        self.endpoints.set(endpoint.id, Told::Made);
        let answer = self.plugin.call(&request).await.inspect_err(|error| {
            if never_done(error) {
                self.endpoints.set(endpoint.id, Told::Nothing);
            }
        })?;
        let interface = answer.interface.unwrap_or_default();
        translate::chosen(&endpoint.addresses, &interface)
            .map_err(|reason| self.nonsense(CreateEndpoint::METHOD, reason))
    }

    async fn join_sandbox(
        &self,
        endpoint: &Endpoint,
        target: &Target,
    ) -> Result<(PluginAnswer, Option<String>)> {
        let path = target.netns.as_ref().map(|path| path.display().to_string());
        let request = Join {
            network_id: endpoint.network.to_string(),
            endpoint_id: endpoint.id.to_string(),
            sandbox_key: path.unwrap_or_default(),
            options: translate::sandbox_options(&target.ports, &target.exposed),
        };
        self.endpoints.set(endpoint.id, Told::Joined);
        let answer = self.plugin.call(&request).await.inspect_err(|error| {
            if never_done(error) {
                self.endpoints.set(endpoint.id, Told::Made);
            }
        })?;
        translate::joined(&answer).map_err(|reason| self.nonsense(Join::METHOD, reason))
    }

    async fn program(&self, endpoint: &Endpoint, access: &Access, again: bool) -> Result<()> {
        let request = ProgramExternalConnectivity {
            network_id: endpoint.network.to_string(),
            endpoint_id: endpoint.id.to_string(),
            options: translate::sandbox_options(&access.ports, access.gateway.as_deref().unwrap_or_default()),
        };
        match self.plugin.call(&request).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_unknown_method() => Ok(()),
            // It may have heard so from a process before this one.
            Err(error @ PluginError::Refused { .. }) if again => {
                tracing::info!(plugin = self.plugin.name(), %error, "told again that an endpoint is a gateway");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn revoke(&self, endpoint: &Endpoint) {
        let request = RevokeExternalConnectivity {
            network_id: endpoint.network.to_string(),
            endpoint_id: endpoint.id.to_string(),
        };
        match self.plugin.call(&request).await {
            Err(error) if !error.is_unknown_method() => {
                tracing::warn!(plugin = self.plugin.name(), %error, "it still lets others in");
            }
            _ => {}
        }
    }
}

/// Whether the plugin certainly has done nothing of what it was asked.
fn never_done(error: &PluginError) -> bool {
    match error {
        PluginError::Unreachable { unsent, .. } => *unsent,
        PluginError::Late { .. } | PluginError::Nonsense { .. } => false,
        _ => true,
    }
}

#[async_trait]
impl Driver for Remote {
    fn capabilities(&self) -> Capabilities {
        let scope = match self.is_everywhere() {
            true => Scope::Global,
            false => Scope::Local,
        };
        Capabilities {
            scope,
            addresses: true,
            single: false,
            gateway_bridge: true,
            several_pools: true,
        }
    }

    fn is_remote(&self) -> bool {
        true
    }

    async fn check(&self, draft: &Draft<'_>) -> Result<Needs> {
        let asks = self
            .known()
            .is_some_and(|capabilities| capabilities.gw_alloc_checker);
        // One that is made already has its gateway, or has none.
        if !asks || self.networks.get(&draft.id).is_some() {
            return Ok(Needs {
                gateway: true,
                ..Needs::default()
            });
        }
        let request = GwAllocCheck {
            options: translate::draft_options(draft),
        };
        let answer = self.plugin.call(&request).await?;
        let skipped = [
            answer.skip_ipv4.then_some(AddressFamily::V4),
            answer.skip_ipv6.then_some(AddressFamily::V6),
        ];
        Ok(Needs {
            gateway: true,
            without_gateway: skipped.into_iter().flatten().collect(),
            ..Needs::default()
        })
    }

    async fn create_network(&self, network: &Network) -> Result<()> {
        // It knows networks from the time when they were made, those of all hosts too.
        if network.lifecycle != Lifecycle::Creating {
            return Ok(());
        }
        self.networks.set(network.id, Told::Made);
        let request = translate::create_network(network);
        match self.plugin.call(&request).await {
            Ok(_) => Ok(()),
            Err(error) => {
                if never_done(&error) {
                    self.networks.set(network.id, Told::Nothing);
                }
                Err(error.into())
            }
        }
    }

    async fn delete_network(&self, network: &Network) -> Result<()> {
        // That this host has no part in it any more is nothing to a plugin of all hosts.
        if network.scope == Scope::Global && network.lifecycle == Lifecycle::Active {
            return Ok(());
        }
        if self.networks.take(&network.id) != Some(Told::Nothing) {
            let request = DeleteNetwork {
                network_id: network.id.to_string(),
            };
            self.tell(&request, "a network is removed").await;
        }
        Ok(())
    }

    async fn join(&self, network: &Network, endpoint: &Endpoint, target: &Target) -> Result<Attachment> {
        if let Some(answer) = &endpoint.answer {
            let link = answer.link.is_some().then_some(Link::InPlace);
            return Ok(attachment(answer.clone(), link, EndpointAddresses::default()));
        }
        // A network of all hosts may have been made on another one.
        self.introduce().await?;
        let addresses = self.create_endpoint(network, endpoint, target).await?;
        let (answer, prefix) = self.join_sandbox(endpoint, target).await?;
        let link = answer.link.clone().map(|name| Link::OnHost { name, prefix });
        Ok(attachment(answer, link, addresses))
    }

    async fn leave(&self, _: &Network, endpoint: &Endpoint, _: &Target) -> Result<()> {
        if self.endpoints.get(&endpoint.id).unwrap_or(Told::Joined) == Told::Joined {
            let request = Leave {
                network_id: endpoint.network.to_string(),
                endpoint_id: endpoint.id.to_string(),
            };
            self.tell(&request, "an endpoint leaves").await;
            self.endpoints.set(endpoint.id, Told::Made);
        }
        Ok(())
    }

    async fn delete_endpoint(&self, _: &Network, endpoint: &Endpoint) -> Result<()> {
        if self.endpoints.take(&endpoint.id) != Some(Told::Nothing) {
            let request = DeleteEndpoint {
                network_id: endpoint.network.to_string(),
                endpoint_id: endpoint.id.to_string(),
            };
            self.tell(&request, "an endpoint is removed").await;
        }
        Ok(())
    }

    async fn publish(
        &self,
        _: &Network,
        endpoint: &Endpoint,
        before: &Access,
        access: &Access,
    ) -> Result<()> {
        let told = before.gateway.is_some();
        let changed = told && (access.gateway.is_none() || before.ports != access.ports);
        if changed {
            self.revoke(endpoint).await;
        }
        if access.gateway.is_some() && (changed || !told) {
            let again = !told && endpoint.lifecycle == Lifecycle::Active;
            self.program(endpoint, access, again).await?;
        }
        Ok(())
    }

    async fn oper_info(&self, _: &Network, endpoint: &Endpoint) -> Result<()> {
        let request = EndpointOperInfo {
            network_id: endpoint.network.to_string(),
            endpoint_id: endpoint.id.to_string(),
        };
        match self.plugin.call(&request).await {
            Ok(info) => {
                tracing::debug!(plugin = self.plugin.name(), endpoint = %endpoint.name, ?info.value, "joined");
            }
            Err(error) => tracing::debug!(plugin = self.plugin.name(), %error, "it does not say how it does"),
        }
        Ok(())
    }

    async fn repair(&self, _view: &NetworkView) -> Result<()> {
        Ok(())
    }

    /// The protocol has no words for it; a name or a label is no business of the plugin's.
    async fn change(&self, before: &NetworkView, after: &NetworkView) -> Result<()> {
        let (before, after) = (&before.network, &after.network);
        match before.options == after.options && before.pools == after.pools {
            true => Ok(()),
            false => Err(crate::Error::Forbidden {
                message: format!("networks of the plugin {:?} can't be changed", self.plugin.name()),
                hint: Some("make another network, and connect the containers to it".to_owned()),
            }),
        }
    }
}

fn attachment(answer: PluginAnswer, link: Option<Link>, addresses: EndpointAddresses) -> Attachment {
    let routes = answer.routes.iter();
    Attachment {
        link,
        gateway_v4: answer.gateway_v4,
        gateway_v6: answer.gateway_v6,
        routes: routes
            .map(|(destination, next_hop)| StaticRoute {
                destination: *destination,
                next_hop: *next_hop,
            })
            .collect(),
        addresses,
        answer: Some(answer),
    }
}

#[cfg(test)]
mod tests;
