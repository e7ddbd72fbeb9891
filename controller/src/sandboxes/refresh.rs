//! Brings a sandbox's namespace and files to what its joined endpoints make of them now.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use drivers::Attachment;
use kernel::{KernelState, Owner};
use model::{Endpoint, Lifecycle, Network, Sandbox, SandboxKind};

use super::{
    access,
    create::pins,
    desired::{Joined, Rules, desired, difference},
    files::{self, HostResolver},
    links,
};
use crate::{
    core::Core,
    endpoints,
    error::{Error, Result},
    locks::LockKey,
    settings::HostFiles,
};

/// Applies what changed since the last time, and then what leads to its endpoints.
pub(crate) async fn refresh(core: &Arc<Core>, sandbox: &Arc<Sandbox>) -> Result<()> {
    let lock = core.locks.exclusive(LockKey::Sandbox(sandbox.id)).await;
    let snapshot = core.records.snapshot();
    let now = snapshot.sandboxes.get(&sandbox.id);
    // One that goes, goes as a whole; nobody looks at what is in it any more.
    if now.is_some_and(|now| now.lifecycle != Lifecycle::Deleting) {
        apply(core, sandbox).await?;
    }
    drop(lock);
    access::sync(core, sandbox.id).await
}

/// The same for a caller that holds the sandbox's lock.
pub(super) async fn apply(core: &Arc<Core>, sandbox: &Arc<Sandbox>) -> Result<()> {
    let joined = joined(core, sandbox);
    let wanted = made_of(core, sandbox, &joined)?;
    let (ensure, remove) = difference(&core.attachments.applied(sandbox.id), &wanted);
    change(core, sandbox, ensure, remove).await?;
    core.attachments.set_applied(sandbox.id, wanted);
    match sandbox.files.as_os_str().is_empty() {
        true => Ok(()),
        false => write_files(core, sandbox, &joined).await,
    }
}

/// What the sandbox's namespace should look like now.
pub(crate) fn wanted(core: &Core, sandbox: &Sandbox) -> Result<KernelState> {
    made_of(core, sandbox, &joined(core, sandbox))
}

fn made_of(core: &Core, sandbox: &Sandbox, joined: &[One]) -> Result<KernelState> {
    let views: Vec<_> = joined.iter().map(One::view).collect();
    let pins = pins(core);
    let rules = Rules {
        pins: &pins,
        ipv6: core.ipv6,
        global_up: core.global_up(),
    };
    desired(sandbox, &views, rules)
}

async fn change(core: &Core, sandbox: &Sandbox, ensure: KernelState, remove: KernelState) -> Result<()> {
    let owner = Owner::Sandbox(sandbox.id);
    core.worker
        .ensure(owner, "setting up the sandbox", ensure)
        .await?;
    core.worker.remove(owner, "tidying the sandbox", remove).await
}

/// An endpoint that has joined.
struct One {
    endpoint: Arc<Endpoint>,
    network: Arc<Network>,
    attachment: Attachment,
    gateway_bridge: bool,
    mtu: Option<u32>,
}

impl One {
    fn view(&self) -> Joined<'_> {
        Joined {
            endpoint: &self.endpoint,
            network: &self.network,
            attachment: &self.attachment,
            gateway_bridge: self.gateway_bridge,
            mtu: self.mtu,
        }
    }
}

/// Those whose driver has answered: being connected or connected, in the order they were made.
fn joined(core: &Core, sandbox: &Sandbox) -> Vec<One> {
    let snapshot = core.records.snapshot();
    let present = snapshot.endpoints_of(&sandbox.id);
    let mut joined: Vec<_> = present
        .filter(|endpoint| endpoint.lifecycle != Lifecycle::Deleting)
        .filter_map(|endpoint| {
            let network = snapshot.networks.get(&endpoint.network)?;
            Some(One {
                attachment: core.attachment(network, endpoint)?,
                gateway_bridge: endpoints::is_gateway_bridge(core, network),
                mtu: core
                    .driver(&network.driver)
                    .ok()
                    .and_then(|driver| driver.mtu(network)),
                endpoint: Arc::clone(endpoint),
                network: Arc::clone(network),
            })
        })
        .collect();
    joined.sort_by_key(|one| (one.endpoint.created, one.endpoint.id));
    joined
}

/// Everything that writing needs, so that it can be done on a blocking thread.
struct Texts {
    folder: PathBuf,
    hosts: String,
    resolv_conf: String,
    hostname: String,
}

async fn write_files(core: &Core, sandbox: &Sandbox, joined: &[One]) -> Result<()> {
    let addresses: Vec<IpAddr> = joined
        .iter()
        .filter(|one| !one.gateway_bridge)
        .flat_map(|one| {
            one.endpoint
                .addresses
                .iter()
                .map(|address| address.addr())
                .collect::<Vec<_>>()
        })
        .collect();
    let (host, mut sandbox, ipv6) = (core.settings.host_files.clone(), sandbox.clone(), core.ipv6);
    let linked = links::lines(&core.records.snapshot(), &sandbox);
    sandbox.extra_hosts.extend(linked);
    let written = tokio::task::spawn_blocking(move || write(&texts(&host, &sandbox, &addresses, ipv6)));
    let written = written
        .await
        .map_err(|panic| Error::internal("writing the sandbox's files", panic))?;
    written.map_err(|error| Error::internal("writing the sandbox's files", error))
}

fn texts(host: &HostFiles, sandbox: &Sandbox, addresses: &[IpAddr], ipv6: bool) -> Texts {
    let (resolver, resolver_text) = host_resolver(host);
    let (hosts, resolv_conf) = match sandbox.kind {
        SandboxKind::Own(_) | SandboxKind::Foreign(_) => (
            files::hosts(
                &sandbox.hostname,
                &sandbox.domainname,
                &sandbox.extra_hosts,
                addresses,
                ipv6,
            ),
            files::resolv_conf(&sandbox.dns, &resolver),
        ),
        SandboxKind::Host => (
            files::host_hosts(
                &std::fs::read_to_string(&host.hosts).unwrap_or_default(),
                &sandbox.extra_hosts,
            ),
            files::host_resolv_conf(&sandbox.dns, &resolver, &resolver_text),
        ),
    };
    Texts {
        folder: sandbox.files.clone(),
        hosts,
        resolv_conf,
        hostname: format!("{}\n", sandbox.hostname),
    }
}

/// The first of the host's files that names more than a stub, else the first that can be read.
fn host_resolver(host: &HostFiles) -> (HostResolver, String) {
    let mut first = None;
    for text in host
        .resolv_conf
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
    {
        let resolver = HostResolver::parse(&text);
        if !resolver.is_stub() {
            return (resolver, text);
        }
        first.get_or_insert((resolver, text));
    }
    first.unwrap_or_default()
}

fn write(texts: &Texts) -> std::io::Result<()> {
    write_one(&texts.folder, "hosts", &texts.hosts, files::merge_lines)?;
    write_one(
        &texts.folder,
        "resolv.conf",
        &texts.resolv_conf,
        files::replace_unedited,
    )?;
    write_one(
        &texts.folder,
        "hostname",
        &texts.hostname,
        files::replace_unedited,
    )
}

type Decide = fn(Option<&str>, Option<&str>, &str) -> Option<String>;

/// Writes in place: a container has the file itself mounted, not its name. What was written is kept beside it, to tell
/// a user's edit from our own text.
fn write_one(folder: &Path, name: &str, now: &str, decide: Decide) -> std::io::Result<()> {
    let (path, note) = (folder.join(name), folder.join(format!(".{name}.cnm")));
    let current = std::fs::read_to_string(&path).ok();
    let before = std::fs::read_to_string(&note).ok();
    if let Some(text) = decide(current.as_deref(), before.as_deref(), now) {
        overwrite(&path, &text)?;
    }
    if before.as_deref() != Some(now) {
        overwrite(&note, now)?;
    }
    Ok(())
}

/// Without emptying the file first, which some file systems take as the order to write it to the disk at once.
fn overwrite(path: &Path, text: &str) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.create(true).truncate(false).write(true).open(path)?;
    std::io::Write::write_all(&mut file, text.as_bytes())?;
    let length = text.len() as u64;
    match file.metadata()?.len() > length {
        true => file.set_len(length),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_stub_is_passed_over_for_the_real_list() {
        let folder = tempfile::tempdir().unwrap();
        let (stub, real) = (folder.path().join("stub"), folder.path().join("real"));
        std::fs::write(&stub, "nameserver 127.0.0.53\n").unwrap();
        let host = HostFiles {
            resolv_conf: vec![stub, real.clone()],
            hosts: PathBuf::new(),
        };
        assert!(
            host_resolver(&host).0.is_stub(),
            "without the real list the stub is better than nothing"
        );
        std::fs::write(&real, "nameserver 10.0.0.2\n").unwrap();
        assert_eq!(
            host_resolver(&host).0.servers,
            ["10.0.0.2".parse::<IpAddr>().unwrap()]
        );
    }

    #[test]
    fn an_edit_of_resolv_conf_is_kept_and_one_of_hosts_is_merged() {
        let folder = tempfile::tempdir().unwrap();
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        let mut texts = Texts {
            folder: folder.path().to_owned(),
            hosts: "127.0.0.1\tlocalhost\n".to_owned(),
            resolv_conf: "nameserver 127.0.0.11\n".to_owned(),
            hostname: "web\n".to_owned(),
        };
        write(&texts).unwrap();
        std::fs::write(folder.path().join("resolv.conf"), "nameserver 9.9.9.9\n").unwrap();
        std::fs::write(
            folder.path().join("hosts"),
            "127.0.0.1\tlocalhost\n1.2.3.4\tmine\n",
        )
        .unwrap();
        texts.hosts.push_str("10.0.0.2\tweb\n");
        texts.resolv_conf.push_str("options ndots:0\n");
        write(&texts).unwrap();
        write(&texts).unwrap();
        assert_eq!(read("resolv.conf"), "nameserver 9.9.9.9\n");
        assert_eq!(
            read("hosts"),
            "127.0.0.1\tlocalhost\n1.2.3.4\tmine\n10.0.0.2\tweb\n"
        );
        assert_eq!(read("hostname"), "web\n");
    }
}
