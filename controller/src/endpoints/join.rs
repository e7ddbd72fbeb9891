//! The driver's part of a connection: its interface in the sandbox, and the answer that the sandbox's side needs.

use std::sync::Arc;

use drivers::{Attachment, Link};
use kernel::{
    Handover, KernelState, Key, Netns, Object, Owner, Survey,
    object::{Link as KernelLink, LinkKind},
};
use model::{Endpoint, EndpointId, InterfaceName, Lifecycle, Network, Sandbox, Scope, Snapshot};

use super::{announce::announce, hosts_link, intent};
use crate::{
    attachments::Published,
    core::{Core, target},
    error::{Error, Result},
    leases,
    locks::LockKey,
    records,
};

/// Joins, and remembers the driver's answer. Answers the endpoint as it is then: a plugin may have chosen some of it.
pub(super) async fn join(
    core: &Core,
    network: &Network,
    endpoint: &Arc<Endpoint>,
    sandbox: &Sandbox,
) -> Result<Arc<Endpoint>> {
    let attachment = ask(core, network, endpoint, sandbox, None).await?;
    if attachment.answer.is_none() {
        core.attachments.insert(endpoint.id, attachment);
        return Ok(Arc::clone(endpoint));
    }
    let endpoint = note(core, endpoint, sandbox, &attachment).await?;
    let endpoint = match (&attachment.link, &endpoint.interface) {
        (Some(Link::OnHost { name, .. }), Some(interface)) => {
            bring_in(core, &endpoint, sandbox, name, interface).await?
        }
        _ => endpoint,
    };
    let link = endpoint.interface.as_ref().map(|_| Link::InPlace);
    core.attachments
        .insert(endpoint.id, Attachment { link, ..attachment });
    Ok(endpoint)
}

async fn ask(
    core: &Core,
    network: &Network,
    endpoint: &Endpoint,
    sandbox: &Sandbox,
    survey: Option<&Arc<Survey>>,
) -> Result<Attachment> {
    let driver = core.driver_knowing(&network.driver, survey)?;
    let target = target(sandbox, endpoint);
    let doing = format!("joining network {}", network.name);
    core.call(&network.driver, doing, driver.join(network, endpoint, &target))
        .await
}

/// Joins again after a restart, or to repair.
pub(crate) async fn rejoin(
    core: &Arc<Core>,
    network: &Arc<Network>,
    endpoint: &Arc<Endpoint>,
    sandbox: &Arc<Sandbox>,
    survey: Option<&Arc<Survey>>,
) -> Result<()> {
    let attachment = ask(core, network, endpoint, sandbox, survey).await?;
    core.attachments.insert(endpoint.id, attachment);
    Ok(())
}

/// Joins an endpoint that has no interface yet, if it is to have one: whoever found it so may have waited since.
pub(crate) async fn join_late(core: &Arc<Core>, id: EndpointId) -> Result<()> {
    if core.attachments.has(id) {
        return Ok(());
    }
    // Somebody is disconnecting it right now.
    let Some(_endpoint) = core.locks.try_exclusive(LockKey::Endpoint(id)) else {
        return Ok(());
    };
    match connected(&core.records.snapshot(), id) {
        Some((network, endpoint, sandbox)) => {
            rejoin(core, &network, &endpoint, &sandbox, None).await?;
            // Whoever was there before may be behind another port of a switch now.
            announce(core, &network, &endpoint, &sandbox);
            Ok(())
        }
        None => Ok(()),
    }
}

/// An endpoint that is connected, with what it connects.
fn connected(now: &Snapshot, id: EndpointId) -> Option<(Arc<Network>, Arc<Endpoint>, Arc<Sandbox>)> {
    let endpoint = now.endpoints.get(&id)?;
    let network = now.networks.get(&endpoint.network)?;
    let sandbox = now.sandboxes.get(&endpoint.sandbox)?;
    let all = [endpoint.lifecycle, sandbox.lifecycle];
    let active = all.iter().all(|one| *one == Lifecycle::Active);
    active.then(|| (Arc::clone(network), Arc::clone(endpoint), Arc::clone(sandbox)))
}

/// Tells the driver that all is done.
pub(super) async fn joined(core: &Core, network: &Network, endpoint: &Endpoint) -> Result<()> {
    let driver = core.driver(&network.driver)?;
    let doing = format!("asking network {} about its endpoint", network.name);
    core.call(&network.driver, doing, driver.oper_info(network, endpoint))
        .await
}

/// Puts what a plugin has chosen into the endpoint and its record: whoever undoes it after a crash must know which
/// interface to give back, for a sandbox outlives this process.
async fn note(
    core: &Core,
    endpoint: &Arc<Endpoint>,
    sandbox: &Sandbox,
    attachment: &Attachment,
) -> Result<Arc<Endpoint>> {
    // Two connections must not choose one interface name.
    let _sandbox = core.locks.exclusive(LockKey::Sandbox(sandbox.id)).await;
    let mut noted = Endpoint::clone(endpoint);
    noted.answer.clone_from(&attachment.answer);
    let chosen = &attachment.addresses;
    noted.addresses.mac = noted.addresses.mac.or(chosen.mac);
    noted.addresses.ipv4 = noted.addresses.ipv4.or(chosen.ipv4);
    noted.addresses.ipv6 = noted.addresses.ipv6.or(chosen.ipv6);
    match &attachment.link {
        None => noted.interface = None,
        Some(Link::OnHost {
            prefix: Some(prefix), ..
        }) => noted.interface = Some(intent::interface_with(core, endpoint, prefix)?),
        Some(_) => {}
    }
    let noted = Arc::new(noted);
    let published = Arc::clone(&noted);
    let txn = records::endpoints(noted.network).put(noted.id, &noted);
    core.records
        .commit(Scope::Local, txn, move |snapshot| {
            snapshot.insert_endpoint(published);
        })
        .await?;
    Ok(noted)
}

fn publish(core: &Core, endpoint: Endpoint) -> Arc<Endpoint> {
    let endpoint = Arc::new(endpoint);
    let published = Arc::clone(&endpoint);
    core.records
        .publish(move |snapshot| snapshot.insert_endpoint(published));
    endpoint
}

/// Moves the interface that a plugin made on the host into the sandbox, and brings it up.
async fn bring_in(
    core: &Core,
    endpoint: &Arc<Endpoint>,
    sandbox: &Sandbox,
    link: &InterfaceName,
    interface: &InterfaceName,
) -> Result<Arc<Endpoint>> {
    let Some(path) = sandbox.netns() else {
        return Err(Error::invalid(
            "the host's namespace gets no interfaces of plugins",
        ));
    };
    hosts_link::refuse_the_hosts(core, link).await?;
    let netns = Netns::Pinned(path.clone());
    let handover = Handover {
        from: Netns::Host,
        link: link.clone(),
        to: netns.clone(),
        name: interface.clone(),
        mac: endpoint.addresses.mac,
    };
    let plugin = core
        .records
        .snapshot()
        .networks
        .get(&endpoint.network)
        .map(|network| network.driver.clone());
    let plugin = plugin.as_ref().map_or("", |driver| driver.as_str());
    let doing = format!("moving {link}, which the plugin {plugin:?} named, into the sandbox");
    core.worker.hand_over(&doing, handover).await?;
    let up = Object::Link(KernelLink {
        netns: netns.clone(),
        name: interface.clone(),
        kind: LinkKind::Existing,
        mac: None,
        mtu: None,
        master: None,
        up: true,
    });
    let key = up.key();
    let owner = Owner::Endpoint(endpoint.id);
    let desired: KernelState = [up].into_iter().collect();
    core.worker.ensure(owner, "bringing it up", desired).await?;
    let mac = worn(core, key).await?;
    if mac.is_none() || mac == endpoint.addresses.mac {
        return Ok(Arc::clone(endpoint));
    }
    let mut dressed = Endpoint::clone(endpoint);
    dressed.addresses.mac = mac;
    Ok(publish(core, dressed))
}

/// The Ethernet address that it came with.
async fn worn(core: &Core, key: Key) -> Result<Option<model::MacAddress>> {
    let found = core.worker.observe("looking at its interface", vec![key]).await?;
    Ok(found.objects().find_map(|object| match object {
        Object::Link(link) => link.mac,
        _ => None,
    }))
}

/// Leaves, and forgets the driver's answer.
pub(super) async fn leave(
    core: &Core,
    network: &Network,
    endpoint: &Endpoint,
    sandbox: &Sandbox,
) -> Result<()> {
    let driver = core.driver(&network.driver)?;
    // An undo knows it as it was before a plugin answered.
    let now = core.records.snapshot().endpoints.get(&endpoint.id).cloned();
    let endpoint = now.as_deref().unwrap_or(endpoint);
    leases::release(core, network, endpoint, sandbox).await;
    let target = target(sandbox, endpoint);
    let doing = format!("leaving network {}", network.name);
    core.call(
        &network.driver,
        doing.as_str(),
        driver.leave(network, endpoint, &target),
    )
    .await?;
    if driver.is_remote() {
        take_out(core, endpoint, sandbox).await;
        core.call(&network.driver, doing, driver.delete_endpoint(network, endpoint))
            .await?;
    }
    core.attachments.remove(endpoint.id);
    core.attachments.set_published(endpoint.id, Published::default());
    Ok(())
}

/// Gives a plugin's interface back to the host, for the plugin to remove it. It may be gone with the sandbox.
async fn take_out(core: &Core, endpoint: &Endpoint, sandbox: &Sandbox) {
    let made = endpoint.answer.as_ref().and_then(|answer| answer.link.clone());
    let (Some(name), Some(interface), Some(path)) = (made, endpoint.interface.clone(), sandbox.netns())
    else {
        return;
    };
    let handover = Handover {
        from: Netns::Pinned(path.clone()),
        link: interface,
        to: Netns::Host,
        name,
        mac: None,
    };
    if let Err(error) = core
        .worker
        .hand_over("taking it out of the sandbox", handover)
        .await
    {
        tracing::debug!(%error, endpoint = %endpoint.name, "its interface is gone already");
    }
}
