//! An endpoint joins: its interface is made on the host, from where the engine takes it.

use std::{path::Path, sync::Arc};

use model::{DnsConfig, Endpoint, ExposedPorts, ForeignNamespace, Lifecycle, Sandbox};

use super::{JoinDressed, JoinedDressed, is_dressed};
use crate::{
    core::Core,
    endpoints::{self, Connect},
    error::{Error, Result},
    sandboxes::{self, CreateSandbox, Namespace},
};

pub(super) async fn join(core: &Arc<Core>, request: JoinDressed) -> Result<JoinedDressed> {
    if let Some(joined) = known(core, &request).await? {
        return Ok(joined);
    }
    let (manager, netns) = (request.manager.clone(), request.netns.clone());
    let _sandbox = core.locks.exclusive(super::leave::lock(&manager, &netns)).await;
    let sandbox = sandbox(core, &manager, &netns, request.exposed.clone()).await?;
    let connect = Connect {
        id: Some(request.id),
        ipv4: request.ipv4,
        ipv6: request.ipv6,
        mac: request.mac,
        options: request.options,
        // Until its container's name is learnt. Others' messages show it.
        ..Connect::new(
            request.network,
            sandbox.id,
            format!("{manager}-{}", request.id.short()),
        )
    };
    match endpoints::connect_inner(core, connect).await {
        Ok(endpoint) => answer(core, endpoint),
        Err(error) => {
            super::leave::remove_if_empty(core, sandbox.id).await;
            Err(error)
        }
    }
}

/// The same endpoint, if it has joined already. One that could not be joined again after a restart is joined now.
async fn known(core: &Arc<Core>, request: &JoinDressed) -> Result<Option<JoinedDressed>> {
    let snapshot = core.records.snapshot();
    let Some(endpoint) = snapshot.endpoints.get(&request.id) else {
        return Ok(None);
    };
    match endpoint.lifecycle == Lifecycle::Active && endpoint.network == request.network {
        true => {
            core.attachments.set_leaving(endpoint.id, false);
            endpoints::join_late(core, endpoint.id).await?;
            answer(core, Arc::clone(endpoint)).map(Some)
        }
        false => Err(Error::conflict(format!(
            "endpoint {} is there already",
            request.id.short()
        ))),
    }
}

fn answer(core: &Core, endpoint: Arc<Endpoint>) -> Result<JoinedDressed> {
    let snapshot = core.records.snapshot();
    let network = snapshot.networks.get(&endpoint.network);
    let network = network.ok_or_else(|| crate::networks::network_not_found(&endpoint.network.short()))?;
    let attachment = core.attachments.get(endpoint.id);
    let attachment = attachment.ok_or_else(|| Error::Unavailable {
        message: format!("endpoint {} is being put right just now", endpoint.id.short()),
        hint: Some("try again".to_owned()),
    })?;
    Ok(JoinedDressed {
        attachment,
        prefix: core.driver(&network.driver)?.interface_prefix(network),
        endpoint,
    })
}

/// The sandbox of that namespace, made with its first endpoint.
async fn sandbox(
    core: &Arc<Core>,
    manager: &str,
    netns: &Path,
    exposed: Vec<ExposedPorts>,
) -> Result<Arc<Sandbox>> {
    let snapshot = core.records.snapshot();
    let same = |sandbox: &&Arc<Sandbox>| {
        let foreign = sandbox.foreign();
        sandbox.lifecycle == Lifecycle::Active
            && is_dressed(sandbox)
            && foreign.is_some_and(|foreign| foreign.manager == manager && foreign.path == netns)
    };
    if let Some(found) = snapshot.sandboxes.values().find(same) {
        return Ok(Arc::clone(found));
    }
    let request = CreateSandbox {
        container: None,
        kind: Namespace::Foreign(ForeignNamespace {
            path: netns.to_owned(),
            namespace: String::new(),
            manager: manager.to_owned(),
            key: netns.display().to_string(),
            dressed: true,
        }),
        hostname: String::new(),
        domainname: String::new(),
        dns: DnsConfig::default(),
        extra_hosts: Vec::new(),
        links: Vec::new(),
        files: std::path::PathBuf::new(),
        name: String::new(),
        ports: Vec::new(),
        ports_network: None,
        exposed,
    };
    sandboxes::create(core, request).await
}
