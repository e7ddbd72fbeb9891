//! A namespace has come: which it is, what its interfaces are called in it, and the redirect of the name service.

use std::{path::Path, sync::Arc};

use kernel::{Key, Netns, Object};
use model::{
    Endpoint, ForeignNamespace, InterfaceName, Lifecycle, MacAddress, Sandbox, SandboxId, SandboxKind,
};

use super::{is_dressed, is_on_host, learn};
use crate::{
    core::Core,
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
    let inside = interfaces(core, &namespace.path).await?;
    for endpoint in &waiting {
        let mac = endpoint.addresses.mac;
        let found = inside.iter().find(|(_, worn)| mac.is_some() && *worn == mac);
        let Some((name, _)) = found else { continue };
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
        core.names_caught_up(core.records.snapshot().generation).await;
    }
    Ok(all)
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

/// What is in a namespace: names with Ethernet addresses.
async fn interfaces(core: &Core, path: &Path) -> Result<Vec<(InterfaceName, Option<MacAddress>)>> {
    let (netns, listed) = (Netns::Pinned(path.to_owned()), path.to_owned());
    let names = tokio::task::spawn_blocking(move || {
        // The thread's own view: that of the process is its first thread's.
        kernel::netns::enter(&listed, || std::fs::read_to_string("/proc/thread-self/net/dev"))
    });
    let doing = "listing the interfaces of a namespace";
    let text = names.await.map_err(|panic| Error::internal(doing, panic))?;
    let text = text.map_err(|error| Error::internal(doing, error))?;
    let keys = named(&text)
        .into_iter()
        .map(|name| Key::Link(netns.clone(), name));
    let found = core.worker.observe(doing, keys.collect()).await?;
    let links = found.objects().filter_map(|object| match object {
        Object::Link(link) => Some((link.name.clone(), link.mac)),
        _ => None,
    });
    Ok(links.collect())
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
    fn interfaces_are_read_from_the_kernels_table() {
        let table = "Inter-|   Receive    |  Transmit\n face |bytes    packets|bytes\n    lo: 0 0\n  eth0: 10 0\ncnm0123456789a:1 2\n";
        let names: Vec<_> = named(table).iter().map(ToString::to_string).collect();
        assert_eq!(names, ["eth0", "cnm0123456789a"]);
        assert!(named("").is_empty());
    }
}
