//! Puts an interface into somebody else's namespace: the sandbox if it is the first one, the endpoint, the ports.

use std::{net::IpAddr, sync::Arc};

use kernel::{Key, Netns};
use model::{Endpoint, ForeignNamespace, Network, PortBinding, PublishedPorts, Sandbox, Snapshot};

use super::{AttachForeign, AttachedForeign, GROUP, by_key, detach, namespace, routes};
use crate::{
    core::Core,
    endpoints::{Connect, Endpoints},
    error::{Error, Result},
    locks::LockKey,
    networks::Networks,
    sandboxes::{CreateSandbox, Namespace, Sandboxes},
    undo::UndoStack,
};

const IFNAME: &str = "com.docker.network.endpoint.ifname";

#[tracing::instrument(skip_all, fields(manager = %request.manager, key = %request.key, network = %request.network))]
pub(super) async fn attach(core: &Arc<Core>, request: AttachForeign) -> Result<AttachedForeign> {
    check(&request)?;
    let lock = LockKey::Foreign(request.manager.clone(), request.key.clone());
    let _whole = core.locks.exclusive(lock).await;
    let network = Networks { core: core.clone() }.find(&request.network)?;
    if !core.driver(&network.driver)?.capabilities().addresses {
        return Err(
            Error::invalid(format!("network {} gives no interfaces", network.name))
                .with_hint("a bridge, macvlan, ipvlan or overlay network does"),
        );
    }
    let asked = namespace::identify(core, &request.netns).await?;
    refuse_present(core, &request).await?;
    let (sandbox, mut undo) = match existing(core, &request, &asked).await? {
        Some(sandbox) => (sandbox, UndoStack::new()),
        None => made(core, &request, &network, asked).await?,
    };
    match walk(core, &request, &network, &sandbox, &mut undo).await {
        Ok(endpoint) => answer(core, &network, &sandbox, endpoint),
        Err(error) => Err(core.unwind(undo, error).await),
    }
}

fn check(request: &AttachForeign) -> Result<()> {
    for (what, text) in [
        ("manager", &request.manager),
        ("key", &request.key),
        ("name", &request.name),
    ] {
        if text.is_empty() || text.contains(['/', '\0', '\n']) {
            return Err(Error::invalid(format!("{text:?} is no {what} of a sandbox"))
                .with_hint("it is not empty and has no slash in it"));
        }
    }
    let count = |v4: bool| request.addresses.iter().filter(|ip| ip.is_ipv4() == v4).count();
    match count(true) > 1 || count(false) > 1 {
        true => {
            Err(Error::invalid("an interface gets one address of a family").with_hint("leave the others out"))
        }
        false => Ok(()),
    }
}

/// The sandbox that the container has already. One whose namespace has ended makes way.
async fn existing(core: &Arc<Core>, request: &AttachForeign, asked: &str) -> Result<Option<Arc<Sandbox>>> {
    let snapshot = core.records.snapshot();
    if let Some(other) = with_namespace(&snapshot, asked)
        && let Some(owner) = other.foreign()
        && (&owner.manager, &owner.key) != (&request.manager, &request.key)
        // The kernel may have given its number again.
        && namespace::is_there(core, owner).await?
    {
        return Err(Error::conflict(format!(
            "the namespace at {:?} is that of {:?} already",
            request.netns, owner.key
        ))
        .with_hint(format!("\"cnm sandbox rm {}\" lets go of it", owner.key)));
    }
    let Some(sandbox) = by_key(&snapshot, &request.manager, &request.key) else {
        return Ok(None);
    };
    let Some(foreign) = sandbox.foreign() else {
        return Ok(None);
    };
    if foreign.namespace == asked {
        refuse_twice(&snapshot, &sandbox, request)?;
        return Ok(Some(sandbox));
    }
    if namespace::is_there(core, foreign).await? {
        return Err(Error::conflict(format!(
            "{:?} has the namespace at {:?} already",
            request.key, foreign.path
        ))
        .with_hint("all interfaces of a container are in one namespace"));
    }
    detach::whole(core, sandbox.id).await?;
    Ok(None)
}

fn with_namespace<'a>(snapshot: &'a Snapshot, namespace: &str) -> Option<&'a Arc<Sandbox>> {
    let all = snapshot.sandboxes.values();
    all.into_iter().find(|sandbox| {
        let foreign = sandbox.foreign();
        foreign.is_some_and(|foreign| foreign.namespace == namespace)
    })
}

fn refuse_twice(snapshot: &Snapshot, sandbox: &Sandbox, request: &AttachForeign) -> Result<()> {
    let mut present = snapshot.endpoints_of(&sandbox.id);
    let same = present.find(|other| request.interface.is_some() && other.interface == request.interface);
    match same.and_then(|other| other.interface.as_ref()) {
        Some(name) => Err(Error::conflict(format!(
            "{:?} has an interface {:?} already",
            request.key,
            name.as_str()
        ))
        .with_hint("detach it first, or choose another name")),
        None => Ok(()),
    }
}

/// Refuses an interface that somebody else has put there.
async fn refuse_present(core: &Core, request: &AttachForeign) -> Result<()> {
    let Some(name) = request.interface.clone() else {
        return Ok(());
    };
    let key = Key::Link(Netns::Pinned(request.netns.clone()), name.clone());
    let doing = "looking for the interface";
    match core.worker.observe(doing, vec![key.clone()]).await?.get(&key) {
        Some(_) => Err(Error::conflict(format!(
            "there is an interface {:?} in the namespace already",
            name.as_str()
        ))
        .with_hint("remove it first, or choose another name")),
        None => Ok(()),
    }
}

/// A new sandbox, with its ports claimed.
async fn made(
    core: &Arc<Core>,
    request: &AttachForeign,
    network: &Network,
    namespace: String,
) -> Result<(Arc<Sandbox>, UndoStack)> {
    let foreign = ForeignNamespace {
        path: request.netns.clone(),
        namespace,
        manager: request.manager.clone(),
        key: request.key.clone(),
        dressed: false,
    };
    let create = CreateSandbox {
        container: None,
        kind: Namespace::Foreign(foreign),
        hostname: request.hostname.clone(),
        domainname: String::new(),
        dns: request.dns.clone(),
        extra_hosts: Vec::new(),
        links: Vec::new(),
        files: std::path::PathBuf::new(),
        name: request.name.clone(),
        ports: request.ports.clone(),
        ports_network: Some(network.id),
        exposed: Vec::new(),
    };
    let sandbox = Sandboxes { core: core.clone() }.create(create).await?;
    let mut undo = UndoStack::new();
    let (again, id) = (Arc::clone(core), sandbox.id);
    undo.push(
        "removing the sandbox",
        async move { detach::whole(&again, id).await },
    );
    Ok((sandbox, undo))
}

async fn walk(
    core: &Arc<Core>,
    request: &AttachForeign,
    network: &Network,
    sandbox: &Sandbox,
    undo: &mut UndoStack,
) -> Result<Arc<Endpoint>> {
    let endpoint = match connect(core, request, network, sandbox).await {
        // Somebody has the name or the address who may be gone without a word.
        Err(error @ Error::Forbidden { .. }) => match detach::reap(core).await {
            true => connect(core, request, network, sandbox).await?,
            false => return Err(error),
        },
        connected => connected?,
    };
    let (again, id) = (Arc::clone(core), endpoint.id);
    undo.push("disconnecting again", async move {
        Endpoints { core: again }.disconnect(id, false).await
    });
    let wanted = not_yet(&request.ports, &sandbox.ports);
    if !wanted.is_empty() {
        let sandboxes = Sandboxes { core: core.clone() };
        sandboxes.publish(sandbox.id, wanted).await?;
    }
    Ok(endpoint)
}

async fn connect(
    core: &Arc<Core>,
    request: &AttachForeign,
    network: &Network,
    sandbox: &Sandbox,
) -> Result<Arc<Endpoint>> {
    let v4 = request.addresses.iter().find_map(|ip| match ip {
        IpAddr::V4(ip) => Some(*ip),
        IpAddr::V6(_) => None,
    });
    let v6 = request.addresses.iter().find_map(|ip| match ip {
        IpAddr::V6(ip) => Some(*ip),
        IpAddr::V4(_) => None,
    });
    let mut options = request.options.clone();
    options.insert(GROUP.to_owned(), request.group.clone());
    if let Some(interface) = &request.interface {
        options.insert(IFNAME.to_owned(), interface.to_string());
    }
    let connect = Connect {
        aliases: request.aliases.clone(),
        ipv4: v4,
        ipv6: v6,
        mac: request.mac,
        gateway_priority: request.gateway_priority,
        options,
        ..Connect::new(network.id, sandbox.id, request.name.clone())
    };
    Endpoints { core: core.clone() }.connect(connect).await
}

/// Pure: what of the wishes the sandbox doesn't have. A second interface's may repeat the first one's.
fn not_yet(wishes: &[PortBinding], have: &[PublishedPorts]) -> Vec<PortBinding> {
    let same = |wish: &PortBinding, ports: &PublishedPorts| {
        wish.protocol == ports.protocol
            && wish.container == ports.container
            && wish.host.is_none_or(|host| host == ports.host)
            && wish
                .host_ip
                .is_none_or(|ip| ip == ports.host_ip || ip.is_unspecified())
    };
    let wanted = wishes
        .iter()
        .filter(|wish| !have.iter().any(|ports| same(wish, ports)));
    wanted.cloned().collect()
}

fn answer(
    core: &Arc<Core>,
    network: &Arc<Network>,
    sandbox: &Arc<Sandbox>,
    endpoint: Arc<Endpoint>,
) -> Result<AttachedForeign> {
    let driver = core.driver(&network.driver)?;
    let all = routes(core, sandbox)?.into_iter();
    let own = all.filter(|route| Some(&route.link) == endpoint.interface.as_ref());
    Ok(AttachedForeign {
        host_link: driver.host_link(network, &endpoint),
        mtu: driver.mtu(network),
        gateways: Endpoints { core: core.clone() }.gateways(endpoint.id),
        routes: own.map(|route| (route.destination, route.gateway)).collect(),
        sandbox: Arc::clone(sandbox),
        network: Arc::clone(network),
        endpoint,
    })
}

#[cfg(test)]
mod tests {
    use model::{Exposure, PortRange, Protocol};

    use super::*;

    #[test]
    fn a_second_interface_publishes_what_the_first_has_not() {
        let wish = |host: Option<u16>, container: u16| PortBinding {
            protocol: Protocol::Tcp,
            container: PortRange::single(container).unwrap(),
            host_ip: None,
            host: host.map(|port| PortRange::single(port).unwrap()),
            exposure: None,
        };
        let have = [PublishedPorts {
            protocol: Protocol::Tcp,
            host_ip: IpAddr::from([0, 0, 0, 0]),
            host: PortRange::single(8080).unwrap(),
            container: PortRange::single(80).unwrap(),
            exposure: Exposure::default(),
        }];
        let asked = [wish(Some(8080), 80), wish(None, 80), wish(Some(8081), 80)];
        assert_eq!(not_yet(&asked, &have), [wish(Some(8081), 80)]);
        assert_eq!(not_yet(&asked, &[]), asked);
    }
}
