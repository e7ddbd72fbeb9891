//! Makes a sandbox: the intent, the namespace with its redirect, the files, the result.

use std::{path::PathBuf, sync::Arc};

use model::{DnsPorts, Lifecycle, Sandbox, SandboxId, SandboxKind, Timestamp};
use store::Txn;

use super::{CreateSandbox, Namespace, access, delete, insides, ports, refresh};
use crate::{
    core::Core,
    dressed,
    error::{Error, Result},
    locks::LockKey,
    undo::UndoStack,
};

#[tracing::instrument(skip_all, fields(hostname = %request.hostname))]
pub(crate) async fn create(core: &Arc<Core>, request: CreateSandbox) -> Result<Arc<Sandbox>> {
    let (name, wishes, network) = (request.name.clone(), request.ports.clone(), request.ports_network);
    let users = match &request.kind {
        Namespace::Within(users) => Some(users.clone()),
        _ => None,
    };
    let mut sandbox = assemble(core, request);
    if dressed::is_dressed(&sandbox) {
        // There is nothing to make, and nothing of ours goes in yet.
        sandbox.lifecycle = Lifecycle::Active;
        let sandbox = Arc::new(sandbox);
        ports::record(core, &sandbox, Txn::new()).await?;
        return Ok(sandbox);
    }
    let _sandbox = core.locks.exclusive(LockKey::Deletion(sandbox.id)).await;
    let sandbox = if wishes.is_empty() || sandbox.kind == SandboxKind::Host {
        let sandbox = Arc::new(sandbox);
        ports::record(core, &sandbox, Txn::new()).await?;
        sandbox
    } else {
        let snapshot = core.records.snapshot();
        let network = network.and_then(|id| snapshot.networks.get(&id));
        let claimed = ports::claim(core, &sandbox, &name, &wishes, network.map(|network| &**network));
        claimed.await?.0
    };
    let mut undo = UndoStack::new();
    undo.push("removing the sandbox", {
        let (core, sandbox) = (Arc::clone(core), Arc::clone(&sandbox));
        async move { delete::finish_deleting(&core, &sandbox).await }
    });
    match walk(core, &sandbox, users).await {
        Ok(active) => Ok(active),
        Err(error) => Err(core.unwind(undo, error).await),
    }
}

async fn walk(core: &Arc<Core>, sandbox: &Arc<Sandbox>, users: Option<PathBuf>) -> Result<Arc<Sandbox>> {
    if let Some(users) = users {
        make_within(core, sandbox, users).await?;
    }
    realize(core, sandbox).await?;
    let active = Arc::new(Sandbox {
        lifecycle: Lifecycle::Active,
        ..Sandbox::clone(sandbox)
    });
    ports::record(core, &active, Txn::new()).await?;
    Ok(active)
}

/// Makes the namespace inside of a user namespace: whoever is root there may then change it.
async fn make_within(core: &Core, sandbox: &Sandbox, users: PathBuf) -> Result<()> {
    let pin = pin(core, sandbox.id);
    let made = tokio::task::spawn_blocking(move || kernel::users::create_netns(&pin, &users));
    let made = made
        .await
        .map_err(|panic| Error::internal("making the sandbox's namespace", panic))?;
    made.map_err(|error| Error::internal("making the sandbox's namespace", error))
}

/// Makes the namespace with what is in it, and the files. Again, it repairs.
pub(crate) async fn realize(core: &Arc<Core>, sandbox: &Arc<Sandbox>) -> Result<()> {
    let folders = [pins(core), sandbox.files.clone()];
    let made = tokio::task::spawn_blocking(move || folders.iter().try_for_each(std::fs::create_dir_all));
    let made = made
        .await
        .map_err(|panic| Error::internal("making the sandbox's folders", panic))?;
    made.map_err(|error| Error::internal("making the sandbox's folders", error))?;
    let lock = core.locks.exclusive(LockKey::Sandbox(sandbox.id)).await;
    refresh::apply(core, sandbox).await?;
    insides::watch(core, sandbox).await;
    drop(lock);
    access::sync(core, sandbox.id).await
}

/// Where namespaces are pinned.
pub(crate) fn pins(core: &Core) -> PathBuf {
    core.settings.exec_root.join("netns")
}

/// Where the namespace of a sandbox made here is pinned.
pub(crate) fn pin(core: &Core, id: SandboxId) -> PathBuf {
    pins(core).join(id.to_string())
}

fn assemble(core: &Core, request: CreateSandbox) -> Sandbox {
    let id = SandboxId::random();
    Sandbox {
        id,
        container: request.container,
        node: core.node.id,
        lifecycle: Lifecycle::Creating,
        created: Timestamp::now(),
        kind: match request.kind {
            Namespace::New | Namespace::Within(_) => SandboxKind::Own(pin(core, id)),
            Namespace::Adopt(path) => SandboxKind::Own(path),
            Namespace::Foreign(foreign) => SandboxKind::Foreign(foreign),
            Namespace::Host => SandboxKind::Host,
        },
        hostname: request.hostname,
        domainname: request.domainname,
        dns: request.dns,
        extra_hosts: request.extra_hosts,
        files: request.files,
        dns_ports: dns_ports(id),
        ports: Vec::new(),
        exposed: request.exposed,
        links: request.links,
    }
}

/// Pure: two ports out of the id's random bytes, from the upper half, where few programs listen of themselves.
fn dns_ports(id: SandboxId) -> DnsPorts {
    let bytes = id.as_bytes();
    let port = |high: u8, low: u8| 0x8000 | u16::from_be_bytes([high, low]);
    DnsPorts {
        udp: port(bytes[30], bytes[31]),
        tcp: port(bytes[28], bytes[29]),
    }
}
