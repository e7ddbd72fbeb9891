//! What the helper knows and serves, changed one push at a time.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use dns::{Change, Counters, Counts, Limits, Names, Running, SandboxFacts, Sockets, Source, serve};
use model::{DnsPorts, NetworkId, SandboxId, Timestamp};

use super::{
    mirror::Mirror,
    relay::{Relays, relays},
    resolver::{HostDesk, HostServers, Resolver},
    sandbox::{open, open_gateway, open_v6},
};
use crate::protocol::{Push, SandboxCounts};

/// The state of the helper.
pub(super) struct Keeper {
    names: Arc<RwLock<Names>>,
    host: Arc<HostServers>,
    mirror: Mirror,
    served: BTreeMap<Place, Served>,
    relays: Relays,
    troubles: BTreeMap<Place, String>,
}

/// Where something is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// Names, inside a sandbox.
    Sandbox(SandboxId),
    /// The same over IPv6, in a sandbox that has it.
    SandboxV6(SandboxId),
    /// Names, for the host, at a gateway's address.
    Gateway(NetworkId, IpAddr),
    /// Published ports that lead to a sandbox, on the host.
    Ports(SandboxId),
}

struct Served {
    sockets: Wanted,
    counters: Arc<Counters>,
    running: Running,
}

/// What sockets depend on; all else about a sandbox may change while it is served.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wanted {
    Sandbox(Timestamp, PathBuf, DnsPorts, Vec<IpAddr>),
    Gateway,
}

impl Wanted {
    fn of(facts: &SandboxFacts) -> Self {
        let servers = facts.servers.clone();
        Self::Sandbox(facts.created, facts.netns.clone(), facts.ports, servers)
    }
}

impl Keeper {
    /// Starts from the mirror. A sandbox whose namespace is no longer pinned is forgotten.
    pub(super) async fn open(folder: &Path) -> io::Result<Self> {
        let (mirror, mut names) = Mirror::open(folder)?;
        let lost: Vec<_> = names
            .sandboxes()
            .filter(|sandbox| kernel::netns::open(&sandbox.netns).is_err())
            .map(|sandbox| sandbox.id)
            .collect();
        for id in lost {
            tracing::info!(sandbox = ?id, "its namespace is gone");
            names.apply(Change::NoSandbox(id));
        }
        let host = Arc::new(HostServers::default());
        host.set_file(names.host_file().cloned());
        let all: Vec<_> = names.changes().collect();
        let mut keeper = Self {
            names: Arc::new(RwLock::new(names)),
            host,
            mirror,
            served: BTreeMap::new(),
            relays: Relays::default(),
            troubles: BTreeMap::new(),
        };
        keeper.settle(keeper.touched(&all)).await;
        Ok(keeper)
    }

    /// How many sandboxes are served.
    pub(super) fn served(&self) -> usize {
        let places = self.served.keys();
        places.filter(|place| matches!(place, Place::Sandbox(_))).count()
    }

    /// What was asked in each sandbox.
    pub(super) fn counts(&self) -> Vec<SandboxCounts> {
        let mut sums: BTreeMap<_, Counts> = BTreeMap::new();
        for (place, served) in &self.served {
            if let Place::Sandbox(sandbox) | Place::SandboxV6(sandbox) = place {
                *sums.entry(*sandbox).or_default() += served.counters.read();
            }
        }
        let sums = sums.into_iter();
        sums.map(|(sandbox, counts)| SandboxCounts { sandbox, counts })
            .collect()
    }

    /// Takes a push in: mirror first, then names, then sockets. Gives what can't be served.
    pub(super) async fn apply(&mut self, push: Push) -> io::Result<Vec<String>> {
        let mut changes = push.changes;
        if push.resync {
            let surplus = self.read(|names| names.surplus(&changes));
            changes = surplus.into_iter().chain(changes).collect();
        }
        self.mirror.record(&changes)?;
        // What goes is known before, what comes afterwards.
        let mut touched = self.touched(&changes);
        if let Some(file) = changes.iter().rev().find_map(host_file) {
            self.host.set_file(Some(file.clone()));
        }
        {
            let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
            changes.iter().cloned().for_each(|change| names.apply(change));
            self.mirror.compact_if_large(&names)?;
        }
        touched.extend(self.touched(&changes));
        self.settle(touched).await;
        Ok(self.troubles.values().cloned().collect())
    }

    /// Tries again what could not be served.
    pub(super) async fn retry(&mut self) {
        if !self.troubles.is_empty() {
            self.settle(self.troubles.keys().copied().collect()).await;
        }
    }

    /// Makes the sockets of these places what they should be. All that must close is closed first: a port may have gone
    /// from one sandbox to another.
    async fn settle(&mut self, places: BTreeSet<Place>) {
        for place in &places {
            match place {
                Place::Ports(id) => {
                    let (wanted, _) = self.relays_of(*id);
                    self.relays.stop_others(*id, &wanted).await;
                }
                place => self.close_unless_wanted(*place).await,
            }
        }
        for place in places {
            let known = self.troubles.remove(&place);
            let trouble = match place {
                Place::Ports(id) => {
                    let (wanted, beyond) = self.relays_of(id);
                    self.relays.start(id, &wanted).or(beyond)
                }
                place => self.open_if_wanted(place).err().map(|error| error.to_string()),
            };
            if let Some(trouble) = trouble {
                let trouble = format!("{}: {trouble}", self.called(place));
                // A container can keep its port from us for ever; the log must not grow with every try.
                if known.as_ref() != Some(&trouble) {
                    tracing::warn!(trouble, "can't be served");
                }
                self.troubles.insert(place, trouble);
            }
        }
    }

    async fn close_unless_wanted(&mut self, place: Place) {
        let wanted = self.wanted(place);
        let served = self.served.get(&place);
        if served.is_some_and(|served| wanted.as_ref() != Some(&served.sockets))
            && let Some(served) = self.served.remove(&place)
        {
            served.running.stop().await;
        }
    }

    fn open_if_wanted(&mut self, place: Place) -> io::Result<()> {
        let Some(wanted) = self.wanted(place).filter(|_| !self.served.contains_key(&place)) else {
            return Ok(());
        };
        let (sockets, source): (Sockets, Arc<dyn Source>) = match place {
            Place::Sandbox(id) | Place::SandboxV6(id) => {
                let Some(facts) = self.read(|names| names.sandbox(id).cloned()) else {
                    return Ok(());
                };
                let resolver = Resolver::new(id, &facts, Arc::clone(&self.names), Arc::clone(&self.host));
                let sockets = match place {
                    Place::SandboxV6(_) => open_v6(&facts)?,
                    _ => open(&facts)?,
                };
                (sockets, Arc::new(resolver))
            }
            Place::Gateway(network, address) => {
                let names = Arc::clone(&self.names);
                let desk = HostDesk {
                    network,
                    address,
                    names,
                };
                (open_gateway(address)?, Arc::new(desk))
            }
            Place::Ports(_) => return Ok(()),
        };
        let counters = Arc::<Counters>::default();
        let running = serve(sockets, source, Limits::default(), Arc::clone(&counters))?;
        let served = Served {
            sockets: wanted,
            counters,
            running,
        };
        self.served.insert(place, served);
        Ok(())
    }

    fn wanted(&self, place: Place) -> Option<Wanted> {
        self.read(|names| match place {
            Place::Sandbox(id) => names.sandbox(id).map(Wanted::of),
            // In one that somebody else dresses nobody asks there.
            Place::SandboxV6(id) => {
                let asked = |facts: &&SandboxFacts| !facts.behind && names.has_ipv6(id);
                names.sandbox(id).filter(asked).map(Wanted::of)
            }
            Place::Gateway(network, address) => {
                let facts = names.network_facts(network)?;
                facts.listeners.contains(&address).then_some(Wanted::Gateway)
            }
            Place::Ports(_) => None,
        })
    }

    fn relays_of(&self, id: SandboxId) -> (BTreeSet<super::relay::Relay>, Option<String>) {
        self.read(|names| match (names.sandbox(id), names.table(id)) {
            (Some(facts), Some(table)) if !facts.published.is_empty() => relays(&facts.published, table),
            _ => (BTreeSet::new(), None),
        })
    }

    /// The places that changes may change, as far as they are known now.
    fn touched(&self, changes: &[Change]) -> BTreeSet<Place> {
        let mut touched = BTreeSet::new();
        self.read(|names| {
            for change in changes {
                match change {
                    Change::Sandbox(SandboxFacts { id, .. }) | Change::NoSandbox(id) => {
                        touched.extend([Place::Sandbox(*id), Place::SandboxV6(*id), Place::Ports(*id)]);
                    }
                    Change::Endpoint(endpoint) => {
                        let id = endpoint.sandbox;
                        touched.extend([Place::SandboxV6(id), Place::Ports(id)]);
                    }
                    Change::NoEndpoint(id) => {
                        let sandbox = names.sandbox_of(*id).into_iter();
                        touched.extend(sandbox.flat_map(|id| [Place::SandboxV6(id), Place::Ports(id)]));
                    }
                    Change::Network(facts) => touched.extend(places_on(names, facts.id)),
                    Change::NoNetwork(id) => touched.extend(places_on(names, *id)),
                    Change::HostFile(_) => {}
                }
            }
        });
        // Most containers publish nothing that is relayed.
        let relayed = |id| self.relays.has(id) || !self.relays_of(id).0.is_empty();
        touched.retain(|place| match place {
            Place::Ports(id) => relayed(*id) || self.troubles.contains_key(place),
            _ => true,
        });
        touched
    }

    fn called(&self, place: Place) -> String {
        match place {
            Place::Sandbox(id) => format!("names in sandbox {id:?}"),
            Place::SandboxV6(id) => format!("names over IPv6 in sandbox {id:?}"),
            Place::Ports(id) => format!("published ports of sandbox {id:?}"),
            Place::Gateway(id, _) => self.read(|names| {
                let name = names.network_facts(id).map_or("", |facts| facts.name.as_str());
                format!("names of network {name:?} for the host")
            }),
        }
    }

    fn read<T>(&self, look: impl FnOnce(&Names) -> T) -> T {
        look(&self.names.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What hangs on a network: its listeners for the host, and the ports of sandboxes that publish some.
fn places_on(names: &Names, network: NetworkId) -> Vec<Place> {
    let listeners = names
        .network_facts(network)
        .into_iter()
        .flat_map(|facts| &facts.listeners);
    let gateways = listeners.map(|address| Place::Gateway(network, *address));
    let publishing = names.sandboxes().filter(|sandbox| !sandbox.published.is_empty());
    gateways
        .chain(publishing.map(|sandbox| Place::Ports(sandbox.id)))
        .collect()
}

fn host_file(change: &Change) -> Option<&PathBuf> {
    match change {
        Change::HostFile(path) => Some(path),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
