//! What leads to endpoints that would not of itself: a sandbox's published ports by way of its gateway of each family, and
//! links where no two containers reach each other.
//!
//! Decided anew from records and joined endpoints each time; a driver is told where the answer changed. So a change of
//! gateway, a container that comes back with another address, an undo and a restart are one case.

use std::{collections::BTreeSet, sync::Arc};

use drivers::Access;
use kernel::traffic::DeadFlows;
use model::{
    AddressFamily, ContainerId, Endpoint, EndpointId, ExposedPorts, Lifecycle, Network, Protocol,
    PublishedPorts, Sandbox, SandboxId, Snapshot,
};

use super::{gateway, links};
use crate::{attachments::Published, core::Core, endpoints, error::Result, locks::LockKey};

/// Whether containers of a network reach each other; then links open nothing.
const ICC: &str = "com.docker.network.bridge.enable_icc";

/// What should lead to an endpoint of this host.
pub(crate) fn access(core: &Core, snapshot: &Snapshot, endpoint: &Endpoint) -> Access {
    let sandbox = snapshot.sandboxes.get(&endpoint.sandbox);
    let joined = endpoint.lifecycle != Lifecycle::Deleting && core.attachments.has(endpoint.id);
    match sandbox.filter(|sandbox| joined && sandbox.lifecycle != Lifecycle::Deleting) {
        None => Access::default(),
        Some(sandbox) => Access {
            ports: ports(core, snapshot, sandbox, endpoint),
            links: links(snapshot, sandbox, endpoint),
            gateway: told_gateway(core, snapshot, sandbox, endpoint),
        },
    }
}

/// Whether its driver is to know that the endpoint is the sandbox's gateway of some family. Built-in ones needn't.
fn told_gateway(
    core: &Core,
    snapshot: &Snapshot,
    sandbox: &Sandbox,
    endpoint: &Endpoint,
) -> Option<Vec<ExposedPorts>> {
    endpoint.answer.as_ref()?;
    if snapshot.networks.get(&endpoint.network)?.internal {
        return None;
    }
    let choice = elect(core, snapshot, sandbox.id);
    let mut chosen = choice.v4.into_iter().chain(choice.v6);
    let is_chosen = chosen.any(|(gateway, _)| gateway == endpoint.id);
    is_chosen.then(|| sandbox.exposed.clone())
}

/// The sandbox's ports of the families whose gateway the endpoint is. What no gateway leads to comes by the relay: the
/// gateway of the other family has it, so that its driver knows of it. Plugins hear of their own families only.
fn ports(core: &Core, snapshot: &Snapshot, sandbox: &Sandbox, endpoint: &Endpoint) -> Vec<PublishedPorts> {
    if sandbox.ports.is_empty() {
        return Vec::new();
    }
    let choice = elect(core, snapshot, sandbox.id);
    let is_plugins = endpoint.answer.is_some();
    let is_here = |ports: &&PublishedPorts| {
        let (own, other) = match ports.family() {
            AddressFamily::V4 => (choice.v4, choice.v6),
            AddressFamily::V6 => (choice.v6, choice.v4),
        };
        let chosen = own.or(other.filter(|_| !is_plugins));
        chosen.is_some_and(|(gateway, _)| gateway == endpoint.id)
    };
    sandbox.ports.iter().filter(is_here).cloned().collect()
}

/// The gateways of a sandbox as its joined endpoints have it.
pub(super) fn elect(core: &Core, snapshot: &Snapshot, sandbox: SandboxId) -> gateway::Choice {
    let present = snapshot
        .endpoints_of(&sandbox)
        .filter(|endpoint| endpoint.lifecycle != Lifecycle::Deleting && endpoint.interface.is_some());
    let candidates: Vec<_> = present
        .filter_map(|endpoint| {
            let network = snapshot.networks.get(&endpoint.network)?;
            let attachment = core.attachment(network, endpoint)?;
            Some(gateway::Candidate {
                endpoint: endpoint.id,
                priority: endpoint.gateway_priority,
                gateway_bridge: endpoints::is_gateway_bridge(core, network),
                internal: network.internal,
                network: network.name.to_string(),
                v4: attachment.gateway_v4,
                v6: attachment.gateway_v6,
            })
        })
        .collect();
    gateway::choose(&candidates)
}

fn links(snapshot: &Snapshot, sandbox: &Sandbox, endpoint: &Endpoint) -> Vec<drivers::LinkAccess> {
    let network = snapshot.networks.get(&endpoint.network);
    // Most networks have ICC, and then nobody needs to be looked for.
    let closed = |network: &Arc<Network>| {
        let icc = network.options.get(ICC).map(String::as_str);
        icc.is_some_and(|icc| icc != "true")
    };
    match !sandbox.exposed.is_empty() && network.is_some_and(closed) {
        true => links::access(snapshot, endpoint),
        false => Vec::new(),
    }
}

/// Notes what may lead to endpoints that a process before this one did not finish with: they are taken out before
/// anything is realized, and nothing may be left of them.
pub(crate) fn remember(core: &Core) {
    let snapshot = core.records.snapshot();
    let unfinished = snapshot
        .endpoints
        .values()
        .filter(|endpoint| endpoint.node == core.node.id && endpoint.lifecycle != Lifecycle::Active);
    for endpoint in unfinished {
        let sandbox = snapshot.sandboxes.get(&endpoint.sandbox);
        let possible = Access {
            ports: sandbox.map(|sandbox| sandbox.ports.clone()).unwrap_or_default(),
            links: links::access(&snapshot, endpoint),
            gateway: endpoint.answer.as_ref().map(|_| Vec::new()),
        };
        let published = Published {
            access: possible,
            unsure: true,
        };
        core.attachments.set_published(endpoint.id, published);
    }
}

/// Tells drivers what has changed for a sandbox's endpoints, and for those that it links to. Whoever loses comes first: a
/// port leads to one endpoint only.
pub(crate) async fn sync(core: &Arc<Core>, sandbox: SandboxId) -> Result<()> {
    let snapshot = core.records.snapshot();
    let mut own: Vec<_> = snapshot
        .endpoints_of(&sandbox)
        .filter(|endpoint| endpoint.node == core.node.id)
        .map(|endpoint| {
            let gains = !access(core, &snapshot, endpoint).ports.is_empty();
            (gains, endpoint.id)
        })
        .collect();
    own.sort_unstable();
    for (_, endpoint) in own {
        tell(core, endpoint).await?;
    }
    for endpoint in linked(core, &snapshot, sandbox) {
        tell(core, endpoint).await?;
    }
    Ok(())
}

/// Endpoints of this host whose containers a sandbox links to.
pub(super) fn linked(core: &Core, snapshot: &Snapshot, sandbox: SandboxId) -> Vec<EndpointId> {
    let Some(sandbox) = snapshot.sandboxes.get(&sandbox) else {
        return Vec::new();
    };
    let targets: BTreeSet<ContainerId> = sandbox.links.iter().map(|link| link.container).collect();
    let networks: BTreeSet<_> = snapshot
        .endpoints_of(&sandbox.id)
        .filter(|_| !targets.is_empty())
        .map(|endpoint| endpoint.network)
        .collect();
    networks
        .iter()
        .flat_map(|network| snapshot.endpoints_on(network))
        .filter(|other| other.node == core.node.id)
        .filter(|other| {
            other
                .container
                .is_some_and(|container| targets.contains(&container))
        })
        .map(|other| other.id)
        .collect()
}

/// Takes back whatever leads to an endpoint that is about to leave. It is no gateway any more from here on.
pub(crate) async fn give_up(core: &Arc<Core>, endpoint: &Endpoint) -> Result<()> {
    core.attachments.remove(endpoint.id);
    tell(core, endpoint.id).await
}

/// Brings one endpoint to what should lead to it now.
pub(super) async fn tell(core: &Arc<Core>, id: EndpointId) -> Result<()> {
    let _published = core.locks.exclusive(LockKey::Published(id)).await;
    let network_of = |snapshot: &Snapshot| Some(snapshot.endpoints.get(&id)?.network);
    let Some(network) = network_of(&core.records.snapshot()) else {
        return Ok(());
    };
    // Not while a repair brings the network to what it was told a moment ago.
    let _access = core.locks.shared(LockKey::Access(network)).await;
    let snapshot = core.records.snapshot();
    let (Some(endpoint), Some(network)) = (snapshot.endpoints.get(&id), snapshot.networks.get(&network))
    else {
        return Ok(());
    };
    let Published {
        access: before,
        unsure,
    } = core.attachments.published(id);
    let now = access(core, &snapshot, endpoint);
    if before == now && !unsure {
        return Ok(());
    }
    // Until the driver has done it, all of both may be there.
    let published = Published {
        access: both(&before, &now),
        unsure: true,
    };
    core.attachments.set_published(id, published);
    // Of what may be missing, everything that stays is made again: it is told as if it were new.
    let known = if unsure {
        without(&before, &now)
    } else {
        before.clone()
    };
    let driver = core.driver(&network.driver)?;
    let doing = format!("programming external connectivity on endpoint {}", endpoint.name);
    core.call(
        &network.driver,
        doing,
        driver.publish(network, endpoint, &known, &now),
    )
    .await?;
    forget_past(core, &before, &now).await;
    let published = Published {
        access: now,
        unsure: false,
    };
    core.attachments.set_published(id, published);
    Ok(())
}

fn both(before: &Access, now: &Access) -> Access {
    let mut both = without(before, now);
    both.ports.extend(now.ports.iter().cloned());
    both.links.extend(now.links.iter().cloned());
    both.gateway = now.gateway.clone().or(both.gateway);
    both
}

/// What is in one and not in the other.
fn without(one: &Access, other: &Access) -> Access {
    let ports = one.ports.iter().filter(|ports| !other.ports.contains(ports));
    let links = one.links.iter().filter(|link| !other.links.contains(link));
    Access {
        ports: ports.cloned().collect(),
        links: links.cloned().collect(),
        gateway: one.gateway.clone().filter(|_| other.gateway.is_none()),
    }
}

/// Datagrams that went to the host itself on ports which now lead to the container would go on to do so.
async fn forget_past(core: &Core, before: &Access, now: &Access) {
    let new = now
        .ports
        .iter()
        .filter(|ports| ports.protocol == Protocol::Udp && !before.ports.contains(ports));
    forget_flows(core, new.cloned().map(DeadFlows::ToHost).collect()).await;
}

/// Has the host forget flows. That it can't is no reason to fail: they end by themselves.
pub(crate) async fn forget_flows(core: &Core, dead: Vec<DeadFlows>) {
    if dead.is_empty() {
        return;
    }
    match core.worker.forget_flows(dead).await {
        Ok(0) => {}
        Ok(count) => tracing::debug!(count, "flows that led nowhere are forgotten"),
        Err(error) => tracing::warn!(%error, "flows that lead nowhere are left to time out"),
    }
}
