//! What the services share: the parts they were made of, the records, the locks.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use drivers::{Attachment, Catalog, Driver, Peer, Target};
use ipam::Ipam;
use kernel::Survey;
use model::{DriverName, Endpoint, EndpointId, InterfaceName, Network, NetworkId, Node, Sandbox, Scope};
use store::Stores;
use tokio::sync::Notify;

use crate::{
    Parts,
    attachments::Attachments,
    endpoints::{Forgetting, Strangers},
    error::{Error, Result},
    events::Events,
    lacking::Lacking,
    leases::{self, Leases},
    locks::Locks,
    name_service::NameService,
    records::Records,
    sandboxes::Insides,
    settings::Settings,
    undo::UndoStack,
    work::Work,
    worker::Worker,
};

/// Shared by the services and the reconciler.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) node: Node,
    pub(crate) stores: Stores,
    ipam: Arc<dyn Ipam>,
    ipam_plugins: Arc<ipam::Remotes>,
    pub(crate) catalog: Arc<dyn Catalog>,
    pub(crate) worker: Worker,
    pub(crate) names: Arc<dyn NameService>,
    pub(crate) settings: Settings,
    pub(crate) records: Records,
    pub(crate) locks: Locks,
    pub(crate) attachments: Attachments,
    /// What is heard from inside of sandboxes.
    pub(crate) insides: Insides,
    pub(crate) strangers: Strangers,
    /// Flows of addresses that endpoints had.
    pub(crate) forgetting: Forgetting,
    pub(crate) lacking: Lacking,
    /// What this host's DHCP leases do now.
    pub(crate) leases: Leases,
    pub(crate) events: Events,
    /// Wakes the reconciler.
    pub(crate) wake: Notify,
    pub(crate) work: Work,
    /// The host has IPv6 at all.
    pub(crate) ipv6: bool,
    fence: Mutex<Fence>,
    passages: Mutex<Vec<kernel::Passage>>,
    made: Mutex<Made>,
    /// This process ends, and another one takes its place.
    comes_back: AtomicBool,
}

/// Whether this host's global endpoints are off the network, because it could not renew its lease for too long.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Fence {
    /// It never was so: their interfaces are left as their driver made them.
    #[default]
    Never,
    /// They are off.
    Down,
    /// They were off and are on again.
    Lifted,
}

/// What drivers were told.
#[derive(Debug, Default)]
struct Made {
    networks: HashSet<NetworkId>,
    peers: HashMap<NetworkId, BTreeMap<EndpointId, Peer>>,
}

impl Core {
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        Arc::new(Self {
            worker: Worker::new(parts.kernel, parts.node.id),
            records: Records::new(parts.stores.clone()),
            node: parts.node,
            stores: parts.stores,
            ipam: parts.ipam,
            ipam_plugins: parts.ipam_plugins,
            catalog: parts.catalog,
            names: parts.names,
            settings: parts.settings,
            locks: Locks::default(),
            attachments: Attachments::default(),
            insides: Insides::default(),
            strangers: Strangers::default(),
            forgetting: Forgetting::default(),
            lacking: Lacking::default(),
            leases: Leases::default(),
            events: Events::new(),
            wake: Notify::new(),
            work: Work::default(),
            ipv6: std::path::Path::new("/proc/sys/net/ipv6").exists(),
            fence: Mutex::default(),
            passages: Mutex::default(),
            made: Mutex::default(),
            comes_back: AtomicBool::new(false),
        })
    }

    /// The driver of that name. Of a plugin it is not known whether it is there.
    pub(crate) fn driver(&self, name: &str) -> Result<Arc<dyn Driver>> {
        self.catalog.driver(name).ok_or_else(|| self.unknown_driver(name))
    }

    /// The driver for a new network. A plugin is there, and has said what it can do.
    pub(crate) async fn find_driver(&self, name: &str) -> Result<Arc<dyn Driver>> {
        let doing = format!("looking for the driver {name}");
        let found = self.call(name, doing, self.catalog.find(name)).await?;
        found.ok_or_else(|| self.unknown_driver(name))
    }

    fn unknown_driver(&self, name: &str) -> Error {
        let error = Error::not_found(format!("plugin {name:?} not found"));
        match nearest(name, &self.catalog.names()) {
            Some(known) => error.with_hint(format!("did you mean the driver {known:?}?")),
            None => error.with_hint(format!(
                "drivers here are {}; a plugin would be found by its socket /run/docker/plugins/{name}.sock",
                self.catalog.names().join(", ")
            )),
        }
    }

    /// Who manages a network's addresses. Of a plugin it is not known whether it is there.
    pub(crate) fn ipam(&self, network: &Network) -> Arc<dyn Ipam> {
        self.ipam_named(&network.ipam.driver)
    }

    /// Our own address management.
    pub(crate) fn own_ipam(&self) -> Arc<dyn Ipam> {
        Arc::clone(&self.ipam)
    }

    /// The same by name.
    pub(crate) fn ipam_named(&self, name: &DriverName) -> Arc<dyn Ipam> {
        match name.as_str() {
            "default" => Arc::clone(&self.ipam),
            // The segment's server has the pools.
            "null" | leases::DRIVER => Arc::new(ipam::Null),
            plugin => self.ipam_plugins.named(plugin),
        }
    }

    /// Who is to manage a new network's addresses. A plugin is there, and has said what it needs.
    pub(crate) async fn find_ipam(&self, name: &DriverName) -> Result<Arc<dyn Ipam>> {
        match name.as_str() {
            "default" | "null" | leases::DRIVER => Ok(self.ipam_named(name)),
            plugin => Ok(self.ipam_plugins.find(plugin).await?),
        }
    }

    /// What an endpoint's sandbox gets: its driver's answer, with what came with its lease. None while it has not joined.
    pub(crate) fn attachment(&self, network: &Network, endpoint: &Endpoint) -> Option<Attachment> {
        let answer = self.attachments.get(endpoint.id)?;
        Some(leases::dress(answer, network, endpoint))
    }

    /// The driver of that name, which looks at nothing that a survey has seen.
    pub(crate) fn driver_knowing(&self, name: &str, survey: Option<&Arc<Survey>>) -> Result<Arc<dyn Driver>> {
        let driver = self.driver(name)?;
        Ok(survey.and_then(|survey| driver.knowing(survey)).unwrap_or(driver))
    }

    /// A call of a driver, under the deadline.
    pub(crate) async fn call<T>(
        &self,
        driver: &str,
        doing: impl Into<String> + Send,
        call: impl Future<Output = drivers::Result<T>> + Send,
    ) -> Result<T> {
        let deadline = self.settings.driver_deadline;
        match tokio::time::timeout(deadline, call).await {
            Ok(answer) => answer.map_err(Error::from),
            Err(late) => {
                tracing::warn!(driver, ?deadline, "the driver does not answer");
                Err(Error::internal(doing, late))
            }
        }
    }

    /// Walks an operation back. What could not be undone is left to the reconciler, at once.
    pub(crate) async fn unwind(&self, undo: UndoStack, error: Error) -> Error {
        let error = undo.unwind(error).await;
        if matches!(error, Error::Undone { .. }) {
            self.wake.notify_one();
        }
        error
    }

    /// Waits a little for the name service; an operation is not failed because names come late.
    pub(crate) async fn names_caught_up(&self, generation: u64) {
        let limit = std::time::Duration::from_secs(2);
        match tokio::time::timeout(limit, self.names.caught_up(generation)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, generation, "names are not served yet"),
            Err(_) => tracing::warn!(generation, "names are not served yet"),
        }
    }

    pub(crate) fn fence(&self) -> Fence {
        *self.fence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_fence(&self, fence: Fence) {
        *self.fence.lock().unwrap_or_else(PoisonError::into_inner) = fence;
    }

    /// Refuses at once what needs the cluster store while that is known not to answer.
    pub(crate) fn require_store(&self, scope: Scope) -> Result<()> {
        if self.records.shared(scope) && self.records.snapshot().stale {
            return Err(Error::Unavailable {
                message: "the cluster store does not answer".to_owned(),
                hint: Some(
                    "what lives on this host alone still works; check the cluster store's servers".to_owned(),
                ),
            });
        }
        Ok(())
    }

    /// How interfaces on global networks should be; none leaves them alone.
    pub(crate) fn global_up(&self) -> Option<bool> {
        match self.fence() {
            Fence::Never => None,
            Fence::Down => Some(false),
            Fence::Lifted => Some(true),
        }
    }

    /// Where other people's rules stand in the way of our packets, and what was done about it.
    pub(crate) fn passages(&self) -> Vec<kernel::Passage> {
        let passages = self.passages.lock().unwrap_or_else(PoisonError::into_inner);
        passages.clone()
    }

    /// The same, replaced: answers what it was.
    pub(crate) fn set_passages(&self, now: Vec<kernel::Passage>) -> Vec<kernel::Passage> {
        let mut passages = self.passages.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut passages, now)
    }

    /// Whether another process is to take the place of this one.
    pub(crate) fn comes_back(&self) -> bool {
        self.comes_back.load(Ordering::Acquire)
    }

    pub(crate) fn will_come_back(&self) {
        self.comes_back.store(true, Ordering::Release);
    }

    /// Whether the network is made on this host.
    pub(crate) fn is_made(&self, id: NetworkId) -> bool {
        self.made().networks.contains(&id)
    }

    pub(crate) fn set_made(&self, id: NetworkId, made: bool) {
        let mut state = self.made();
        if made {
            state.networks.insert(id);
        } else {
            state.networks.remove(&id);
            state.peers.remove(&id);
        }
    }

    /// The peers that the network's driver knows of.
    pub(crate) fn peers(&self, id: NetworkId) -> BTreeMap<EndpointId, Peer> {
        self.made().peers.get(&id).cloned().unwrap_or_default()
    }

    pub(crate) fn set_peers(&self, id: NetworkId, peers: BTreeMap<EndpointId, Peer>) {
        self.made().peers.insert(id, peers);
    }

    fn made(&self) -> MutexGuard<'_, Made> {
        // The maps are whole even if a holder of the lock panicked.
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where an endpoint joins. One without an interface has a name here that no interface wears.
pub(crate) fn target(sandbox: &Sandbox, endpoint: &Endpoint) -> Target {
    let none = || InterfaceName::new("none").expect("a literal follows the kernel's rule");
    Target {
        netns: sandbox.netns().cloned(),
        interface: endpoint.interface.clone().unwrap_or_else(none),
        ports: sandbox.ports.clone(),
        exposed: sandbox.exposed.clone(),
        on_host: crate::dressed::is_on_host(sandbox, endpoint),
    }
}

/// The name that was probably meant.
fn nearest<'a>(typed: &str, known: &'a [String]) -> Option<&'a str> {
    let near = known.iter().map(|name| (distance(typed, name), name));
    let (distance, name) = near.min()?;
    (distance <= 2.max(typed.len() / 3)).then_some(name)
}

/// Edits between two words (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.iter().enumerate() {
            let best = (diagonal + usize::from(from != *to))
                .min(row[j] + 1)
                .min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], best);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_driver_is_recognised_and_a_strange_one_is_not() {
        let known = ["bridge", "host", "null", "overlay"].map(str::to_owned);
        for (typed, meant) in [
            ("brige", Some("bridge")),
            ("overlya", Some("overlay")),
            ("hosts", Some("host")),
            ("weave-net", None),
        ] {
            assert_eq!(nearest(typed, &known), meant, "{typed:?}");
        }
    }
}
