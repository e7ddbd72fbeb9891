//! A namespace has come: which it is, what its interfaces are called in it, and the redirect of the name service.

use std::{path::Path, sync::Arc};

use kernel::{Key, Netns, Object};
use model::{
    Endpoint, ForeignNamespace, InterfaceName, IpNet, Lifecycle, MacAddress, Sandbox, SandboxId, SandboxKind,
};

use super::{is_dressed, is_on_host, learn};
use crate::{
    core::Core,
    endpoints,
    error::{Error, Result},
    foreign,
    locks::LockKey,
    sandboxes,
};

pub(super) async fn enter(core: &Arc<Core>, id: SandboxId) -> Result<bool> {
    let Some(sandbox) = find(core, id) else {
        return Ok(true);
    };
    let SandboxKind::Foreign(namespace) = &sandbox.kind else {
        return Ok(true);
    };
    let waiting: Vec<_> = waiting(core, &sandbox);
    if waiting.is_empty() && namespace.is_entered() {
        return Ok(true);
    }
    let Some(identity) = foreign::identity(core, &namespace.path).await? else {
        return Ok(false);
    };
    let inside = interfaces(core, &namespace.path, &waiting).await?;
    for endpoint in &waiting {
        let found = inside.iter().find(|interface| interface.is_of(endpoint));
        let Some(Inside { name, .. }) = found else {
            continue;
        };
        learn::change(core, endpoint.id, |endpoint| {
            if !core.attachments.is_leaving(endpoint.id) {
                endpoint.interface = Some(name.clone());
            }
        })
        .await?;
    }
    let all = super::enter::waiting(core, &sandbox).is_empty();
    note(core, &sandbox, namespace, identity).await?;
    if let Some(entered) = find(core, id) {
        sandboxes::refresh(core, &entered).await?;
        announce(core, &entered, &waiting);
        core.names_caught_up(core.records.snapshot().generation).await;
    }
    Ok(all)
}

/// Tells who has come: what was told as it joined was told from the host, where it may not have been any more. Neighbours may
/// believe for most of a minute that its address is somebody else's.
fn announce(core: &Arc<Core>, sandbox: &Sandbox, waited: &[Arc<Endpoint>]) {
    let snapshot = core.records.snapshot();
    let come = waited
        .iter()
        .filter_map(|endpoint| snapshot.endpoints.get(&endpoint.id));
    for endpoint in come.filter(|endpoint| !is_on_host(sandbox, endpoint)) {
        if let Some(network) = snapshot.networks.get(&endpoint.network) {
            endpoints::announce(core, network, endpoint, sandbox);
        }
    }
}

fn find(core: &Core, id: SandboxId) -> Option<Arc<Sandbox>> {
    let sandbox = core.records.snapshot().sandboxes.get(&id).cloned();
    sandbox.filter(|sandbox| is_dressed(sandbox) && sandbox.lifecycle == Lifecycle::Active)
}

/// Endpoints whose interface is to come and was not found yet.
fn waiting(core: &Core, sandbox: &Sandbox) -> Vec<Arc<Endpoint>> {
    let snapshot = core.records.snapshot();
    let own = snapshot.endpoints_of(&sandbox.id);
    own.filter(|endpoint| endpoint.lifecycle == Lifecycle::Active && is_on_host(sandbox, endpoint))
        .filter(|endpoint| !core.attachments.is_leaving(endpoint.id))
        .cloned()
        .collect()
}

/// An interface in a namespace.
#[derive(Debug, PartialEq, Eq)]
struct Inside {
    name: InterfaceName,
    mac: Option<MacAddress>,
    /// Of those that were looked for.
    addresses: Vec<IpNet>,
}

impl Inside {
    /// By its Ethernet address. All ipvlans of a parent have the same: by what the engine gave it.
    fn is_of(&self, endpoint: &Endpoint) -> bool {
        match endpoint.addresses.mac {
            Some(mac) => self.mac == Some(mac),
            None => self.has_one_of(endpoint.addresses.iter()),
        }
    }

    fn has_one_of(&self, mut addresses: impl Iterator<Item = IpNet>) -> bool {
        addresses.any(|address| self.addresses.contains(&address))
    }
}

/// What is in a namespace: names with Ethernet addresses, and those addresses of endpoints that can't be told by these.
async fn interfaces(core: &Core, path: &Path, waiting: &[Arc<Endpoint>]) -> Result<Vec<Inside>> {
    let (netns, listed) = (Netns::Pinned(path.to_owned()), path.to_owned());
    let names = tokio::task::spawn_blocking(move || {
        // The thread's own view: that of the process is its first thread's.
        kernel::netns::enter(&listed, || std::fs::read_to_string("/proc/thread-self/net/dev"))
    });
    let doing = "listing the interfaces of a namespace";
    let text = names.await.map_err(|panic| Error::internal(doing, panic))?;
    let text = text.map_err(|error| Error::internal(doing, error))?;
    let bare = waiting.iter().filter(|endpoint| endpoint.addresses.mac.is_none());
    let wanted: Vec<_> = bare.flat_map(|endpoint| endpoint.addresses.iter()).collect();
    let mut keys = Vec::new();
    for name in named(&text) {
        let address = |address: &IpNet| Key::Address(netns.clone(), name.clone(), *address);
        keys.extend(wanted.iter().map(address));
        keys.push(Key::Link(netns.clone(), name));
    }
    let found = core.worker.observe(doing, keys).await?;
    let links = found.objects().filter_map(|object| match object {
        Object::Link(link) => Some(link),
        _ => None,
    });
    let inside = links.map(|link| Inside {
        name: link.name.clone(),
        mac: link.mac,
        addresses: found
            .objects()
            .filter_map(|object| match object {
                Object::Address(given) if given.link == link.name => Some(given.address),
                _ => None,
            })
            .collect(),
    });
    Ok(inside.collect())
}

/// Pure: the interfaces in the kernel's table of their counters.
fn named(table: &str) -> Vec<InterfaceName> {
    let lines = table.lines().filter_map(|line| line.split_once(':'));
    let names = lines.filter_map(|(name, _)| InterfaceName::new(name.trim()).ok());
    names.filter(|name| name.as_str() != "lo").collect()
}

/// Records which namespace it is: from here on what is ours is in it.
async fn note(core: &Core, sandbox: &Sandbox, namespace: &ForeignNamespace, identity: String) -> Result<()> {
    let _deletion = core.locks.exclusive(LockKey::Deletion(sandbox.id)).await;
    let _sandbox = core.locks.exclusive(LockKey::Sandbox(sandbox.id)).await;
    let Some(now) = find(core, sandbox.id).filter(|_| namespace.namespace != identity) else {
        return Ok(());
    };
    // Another one at the same place has nothing of what was applied to the one before.
    core.attachments.forget(sandbox.id);
    let entered = Arc::new(Sandbox {
        kind: SandboxKind::Foreign(ForeignNamespace {
            namespace: identity,
            ..namespace.clone()
        }),
        ..Sandbox::clone(&now)
    });
    sandboxes::record(core, &entered).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipvlans_of_one_parent_are_told_by_their_addresses() {
        let inside = |addresses: &[&str]| Inside {
            name: "eth0".parse().unwrap(),
            mac: Some("02:42:0a:00:00:01".parse().unwrap()),
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
        };
        let ours = ["198.18.0.128/24", "fd00::5/64"].map(|text| text.parse::<IpNet>().unwrap());
        let found = |addresses: &[&str]| inside(addresses).has_one_of(ours.into_iter());
        assert!(found(&["198.18.0.128/24"]) && found(&["fd00::5/64", "198.18.0.7/24"]));
        assert!(!found(&[]) && !found(&["198.18.0.129/24", "198.18.0.128/16"]));
    }

    #[test]
    fn interfaces_are_read_from_the_kernels_table() {
        let table = "Inter-|   Receive    |  Transmit\n face |bytes    packets|bytes\n    lo: 0 0\n  eth0: 10 0\ncnm0123456789a:1 2\n";
        let names: Vec<_> = named(table).iter().map(ToString::to_string).collect();
        assert_eq!(names, ["eth0", "cnm0123456789a"]);
        assert!(named("").is_empty());
    }
}
