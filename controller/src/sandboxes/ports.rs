//! Which ports of the host a sandbox gets, and the one record of who has which.
//!
//! That record changes in the commit that changes the sandbox's, and only if it is still as it was read: of two that want
//! one port, one gets it and the other is told who did. A claim outlives the ports in the sandbox's record until nothing
//! in the kernel leads there any more, so that nobody gets a port whose old way is still open.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use kernel::traffic::{HostSocket, PortLimits, Process};
use model::{Exposure, Network, PortBinding, Protocol, PublishedPorts, Sandbox, SandboxId, Scope, Snapshot};
use ports::{Assignment, Claims, Defaults, Holder, Intervals, Listener, Span, Violation, assign};
use store::{Guard, Revision, Table, Txn};

use crate::{
    core::Core,
    endpoints,
    error::{Error, Result},
    locks::LockKey,
};

/// The one claims record.
const CLAIMS: &str = "claims";
/// A network's address for ports that name none.
const HOST_BINDING: &str = "com.docker.network.bridge.host_binding_ipv4";
/// Whose rules a network's ports obey.
const FIREWALL: &str = "cnm.firewall";
/// The program that listens where translation of addresses leads nowhere, for ports that are published.
const RELAY: &str = "cnm-names";

fn table() -> Table<Claims> {
    Table::new(store::Key::root("ports"), 1)
}

/// The claims as they were read.
pub(crate) struct Held {
    pub(crate) claims: Claims,
    revision: Option<Revision>,
}

impl Held {
    pub(crate) async fn read(core: &Core) -> Result<Self> {
        let found = table().get(&*core.stores.local, CLAIMS).await?;
        Ok(found.map_or_else(
            || Self {
                claims: Claims::default(),
                revision: None,
            },
            |found| Self {
                claims: found.record,
                revision: Some(found.revision),
            },
        ))
    }

    /// What makes the claims these, if nobody has changed them meanwhile.
    fn change(&self, claims: &Claims) -> Txn {
        let (table, key) = (table(), table().key(CLAIMS));
        match self.revision {
            _ if *claims == self.claims => Txn::new(),
            None => table.create(CLAIMS, claims),
            Some(revision) if *claims == Claims::default() => Txn::new()
                .guard(Guard::Unchanged(key.clone(), revision))
                .delete(key),
            Some(revision) => table.replace(CLAIMS, revision, claims),
        }
    }
}

/// What the host itself says about its ports.
pub(super) struct Host {
    sockets: Vec<HostSocket>,
    limits: PortLimits,
}

/// Looks at the host's sockets, once for all wishes.
pub(super) async fn look(core: &Core, wishes: &[PortBinding]) -> Result<Host> {
    let protocols: BTreeSet<Protocol> = wishes.iter().map(|wish| wish.protocol).collect();
    let (sockets, limits) = core.worker.host_ports(protocols.into_iter().collect()).await?;
    Ok(Host { sockets, limits })
}

/// Decides on wishes and records the decision together with the sandbox that it makes.
pub(super) async fn claim(
    core: &Core,
    sandbox: &Sandbox,
    name: &str,
    wishes: &[PortBinding],
    network: Option<&Network>,
) -> Result<(Arc<Sandbox>, Vec<PublishedPorts>)> {
    let host = look(core, wishes).await?;
    let _ports = core.locks.exclusive(LockKey::Ports).await;
    let held = Held::read(core).await?;
    let published = choose(core, sandbox.id, wishes, network, host, &held.claims).await?;
    refuse_beyond_the_relay(sandbox.ports.iter().chain(&published))?;
    let mut claims = held.claims.clone();
    claims.add(sandbox.id, name, &published);
    let mut sandbox = sandbox.clone();
    let known = sandbox.ports.clone();
    let new = published.iter().filter(|ports| !known.contains(ports));
    sandbox.ports.extend(new.cloned());
    let sandbox = Arc::new(sandbox);
    record(core, &sandbox, held.change(&claims)).await?;
    Ok((sandbox, published))
}

/// Writes a sandbox's record.
pub(crate) async fn record_alone(core: &Core, sandbox: &Arc<Sandbox>) -> Result<()> {
    record(core, sandbox, Txn::new()).await
}

/// Writes a sandbox's record, and what belongs to it.
pub(super) async fn record(core: &Core, sandbox: &Arc<Sandbox>, more: Txn) -> Result<()> {
    let txn = crate::records::sandboxes().put(sandbox.id, sandbox).and(more);
    let published = Arc::clone(sandbox);
    core.records
        .commit(Scope::Local, txn, move |snapshot| {
            snapshot.sandboxes.insert(published.id, published);
        })
        .await?;
    Ok(())
}

/// Brings the claims to what the sandbox's record says; with none, forgets them. In one commit with `more`.
pub(crate) async fn settle(
    core: &Core,
    id: SandboxId,
    ports: &[PublishedPorts],
    more: Txn,
    change: impl FnOnce(&mut Snapshot),
) -> Result<()> {
    let _ports = core.locks.exclusive(LockKey::Ports).await;
    let held = Held::read(core).await?;
    let mut claims = held.claims.clone();
    claims.set(id, ports);
    let txn = more.and(held.change(&claims));
    if !txn.is_empty() {
        core.records.commit(Scope::Local, txn, change).await?;
    }
    Ok(())
}

async fn choose(
    core: &Core,
    id: SandboxId,
    wishes: &[PortBinding],
    network: Option<&Network>,
    host: Host,
    claims: &Claims,
) -> Result<Vec<PublishedPorts>> {
    let reserved: Intervals = host.limits.reserved.iter().copied().collect();
    let bytes = id.as_bytes();
    let elsewhere = elsewhere(core, wishes, defaults(core, network)).await?;
    let mut sockets = host.sockets;
    loop {
        let listeners: Vec<Listener> = sockets.iter().map(listener).collect();
        let situation = Assignment {
            claims,
            listeners: &listeners,
            defaults: defaults(core, network),
            ephemeral: host.limits.ephemeral,
            reserved: &reserved,
            start: u16::from_be_bytes([bytes[26], bytes[27]]),
        };
        let violations = match assign(wishes, &situation) {
            Ok(published) if elsewhere.is_empty() => return Ok(published),
            Ok(_) => elsewhere.clone(),
            Err(violations) => [elsewhere.clone(), violations].concat(),
        };
        let (told, relays) = tell(core, &sockets, violations).await?;
        if relays.is_empty() {
            return Err(refusal(told));
        }
        // They listen for ports that are published, or were until a moment ago, and make way.
        sockets.retain(|socket| !relays.contains(&socket.inode));
    }
}

/// Wishes for addresses that the host doesn't have. It is asked only where somebody names one; all of 127.0.0.0/8 is its own.
async fn elsewhere(core: &Core, wishes: &[PortBinding], defaults: Defaults) -> Result<Vec<Violation>> {
    let named = wishes.iter().filter_map(|wish| {
        let ip = wish.host_ip.or(defaults.host_ip)?.to_canonical();
        (!ip.is_unspecified() && !ip.is_loopback()).then_some((wish, ip))
    });
    let named: Vec<_> = named.collect();
    if named.is_empty() {
        return Ok(Vec::new());
    }
    let own = core.worker.host_addresses().await?;
    let foreign = named.into_iter().filter(|(_, ip)| !own.contains(ip));
    let violation = |(wish, ip): (&PortBinding, IpAddr)| Violation::Elsewhere {
        ip,
        ports: wish.host.unwrap_or(wish.container),
        protocol: wish.protocol,
    };
    Ok(foreign.map(violation).collect())
}

/// Pure: ports under the host's own rules are served by the relay, port by port, and only TCP and UDP.
fn refuse_beyond_the_relay<'a>(published: impl Iterator<Item = &'a PublishedPorts>) -> Result<()> {
    let mut relayed: Vec<_> = published
        .filter(|ports| ports.exposure == Exposure::Host)
        .collect();
    relayed.sort_unstable();
    relayed.dedup();
    if let Some(ports) = relayed.iter().find(|ports| ports.protocol == Protocol::Sctp) {
        return Err(Error::invalid(format!(
            "{ports} can't obey the host's own firewall: such ports are relayed, and SCTP is not"
        ))
        .with_hint("publish it with firewall=open"));
    }
    let count: u32 = relayed.iter().map(|ports| ports.host.count()).sum();
    match usize::try_from(count).is_ok_and(|count| count <= PublishedPorts::MOST_RELAYED) {
        true => Ok(()),
        false => Err(Error::invalid(format!(
            "{count} ports of a container are to obey the host's own firewall: such ports are relayed, at most {} of a \
             container (those of 0.0.0.0 and of [::] count each)",
            PublishedPorts::MOST_RELAYED
        ))
        .with_hint("publish fewer of them so, name one host address, or publish the range with firewall=open")),
    }
}

/// What a wish leaves open: the network says, or the daemon.
fn defaults(core: &Core, network: Option<&Network>) -> Defaults {
    let option = |key| network.and_then(|network| network.options.get(key));
    let binding = option(HOST_BINDING).and_then(|ip| ip.parse::<IpAddr>().ok());
    let binding = binding.filter(|ip| *ip != IpAddr::from([0, 0, 0, 0]));
    Defaults {
        host_ip: binding.or(core.settings.host_ip),
        exposure: match option(FIREWALL).map(String::as_str) {
            Some("host") => Exposure::Host,
            Some("open") => Exposure::Open,
            _ => core.settings.exposure,
        },
        ipv6: core.ipv6,
    }
}

fn listener(socket: &HostSocket) -> Listener {
    Listener {
        protocol: socket.protocol,
        ip: socket.ip,
        port: socket.port,
        both_families: socket.both_families,
    }
}

/// A violation with who is in the way.
struct Told {
    violation: Violation,
    holder: Option<String>,
}

/// Finds out who is in the way, and which of them are sockets of our own relays.
async fn tell(
    core: &Core,
    sockets: &[HostSocket],
    violations: Vec<Violation>,
) -> Result<(Vec<Told>, BTreeSet<u32>)> {
    let snapshot = core.records.snapshot();
    let (mut told, mut relays) = (Vec::new(), BTreeSet::new());
    for violation in violations {
        let holder = match &violation {
            Violation::Taken { holder, .. } => match holder {
                Holder::Sandbox(id, name) => {
                    Some(format!("container {:?}", called(core, &snapshot, *id, name)))
                }
                Holder::Same => Some("another port of the same container".to_owned()),
                Holder::Process(wanted) => {
                    let socket = sockets.iter().find(|socket| listener(socket) == *wanted);
                    let Some(socket) = socket else { continue };
                    match core.worker.holder(*socket).await? {
                        Some(process) if process.name == RELAY => {
                            relays.insert(socket.inode);
                            continue;
                        }
                        process => Some(described(process)),
                    }
                }
            },
            _ => None,
        };
        told.push(Told { violation, holder });
    }
    Ok((told, relays))
}

fn described(process: Option<Process>) -> String {
    match process {
        Some(Process { pid, name }) => format!("process {name:?} (pid {pid})"),
        None => "a socket whose process can't be seen".to_owned(),
    }
}

/// What a sandbox is called by now.
fn called(core: &Core, snapshot: &Snapshot, id: SandboxId, name: &str) -> String {
    let own = |network: &Arc<Network>| !endpoints::is_gateway_bridge(core, network);
    let by_endpoint = snapshot.endpoints_of(&id).find_map(|endpoint| {
        let network = snapshot.networks.get(&endpoint.network);
        network.is_some_and(own).then(|| endpoint.name.clone())
    });
    match by_endpoint {
        Some(name) => name,
        None if name.is_empty() => id.short(),
        None => name.to_owned(),
    }
}

/// Pure: everything that is wrong in one message, Docker's words first.
fn refusal(told: Vec<Told>) -> Error {
    let is_conflict = |told: &Told| {
        matches!(
            told.violation,
            Violation::Taken { .. } | Violation::Exhausted { .. }
        )
    };
    let conflict = told.iter().any(is_conflict);
    let elsewhere = told
        .iter()
        .any(|told| matches!(told.violation, Violation::Elsewhere { .. }));
    let line = |told: &Told| match &told.holder {
        Some(holder) => format!("{} (by {holder})", told.violation),
        None => told.violation.to_string(),
    };
    let message = told.iter().map(line).collect::<Vec<_>>().join("\n");
    let holder = told.into_iter().find_map(|told| told.holder);
    match (conflict, holder) {
        (true, Some(holder)) => {
            Error::conflict(message).with_hint(format!("choose another port of the host, or stop {holder}"))
        }
        // As for Docker a failure to start, not a fault of the request: the address may come.
        _ if elsewhere => {
            Error::conflict(message).with_hint("name one of the host's addresses, or none for all of them")
        }
        (true, None) => Error::conflict(message).with_hint("a wider range of host ports has more"),
        (false, _) => Error::invalid(message),
    }
}

/// Sandboxes whose claims are not what their records say, with what these say: what an unpublishing left that was cut off.
pub(crate) fn unsettled(held: &Held, snapshot: &Snapshot) -> Vec<(SandboxId, Vec<PublishedPorts>)> {
    let ports = |id| snapshot.sandboxes.get(&id).map(|sandbox| sandbox.ports.clone());
    let claimed = held.claims.iter().map(|(id, _)| id);
    let recorded = snapshot
        .sandboxes
        .values()
        .filter(|sandbox| !sandbox.ports.is_empty());
    let ids: BTreeSet<SandboxId> = claimed.chain(recorded.map(|sandbox| sandbox.id)).collect();
    let wrong = |id: SandboxId| {
        let wanted = ports(id).unwrap_or_default();
        let spans: BTreeSet<Span> = wanted.iter().map(Span::from).collect();
        let claim = held.claims.of(id);
        let is: BTreeSet<Span> = claim
            .into_iter()
            .flat_map(|claim| claim.ports.iter().copied())
            .collect();
        (spans != is).then_some((id, wanted))
    };
    ids.into_iter().filter_map(wrong).collect()
}
