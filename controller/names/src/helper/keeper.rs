//! What the helper knows and serves, changed one push at a time.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
    sync::{Arc, RwLock},
};

use dns::{Change, Limits, Names, Running, SandboxFacts, serve};
use model::SandboxId;

use super::{
    mirror::Mirror,
    resolver::{HostServers, Resolver},
    sandbox::open,
};
use crate::protocol::Push;

/// The state of the helper.
pub(super) struct Keeper {
    names: Arc<RwLock<Names>>,
    host: Arc<HostServers>,
    mirror: Mirror,
    served: BTreeMap<SandboxId, Served>,
    troubles: BTreeMap<SandboxId, String>,
}

struct Served {
    facts: SandboxFacts,
    running: Running,
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
        let all = names.sandboxes().map(|sandbox| sandbox.id).collect();
        let names = Arc::new(RwLock::new(names));
        let mut keeper = Self {
            names,
            host,
            mirror,
            served: BTreeMap::new(),
            troubles: BTreeMap::new(),
        };
        keeper.settle(all).await;
        Ok(keeper)
    }

    /// How many sandboxes are served.
    pub(super) fn served(&self) -> usize {
        self.served.len()
    }

    /// Takes a push in: mirror first, then names, then sockets. Gives what can't be served.
    pub(super) async fn apply(&mut self, push: Push) -> io::Result<Vec<String>> {
        let mut changes = push.changes;
        if push.resync {
            let surplus = self.read(|names| names.surplus(&changes));
            changes = surplus.into_iter().chain(changes).collect();
        }
        self.mirror.record(&changes)?;
        let touched = touched(&changes);
        if let Some(file) = changes.iter().rev().find_map(host_file) {
            self.host.set_file(Some(file.clone()));
        }
        {
            let mut names = self
                .names
                .write()
                .unwrap_or_else(|poisoned| poisoned.into_inner());
            changes.into_iter().for_each(|change| names.apply(change));
            self.mirror.compact_if_large(&names)?;
        }
        self.settle(touched).await;
        Ok(self.troubles.values().cloned().collect())
    }

    /// Tries again what could not be served.
    pub(super) async fn retry(&mut self) {
        if !self.troubles.is_empty() {
            self.settle(self.troubles.keys().copied().collect()).await;
        }
    }

    /// Makes the sockets of these sandboxes what they should be.
    async fn settle(&mut self, sandboxes: BTreeSet<SandboxId>) {
        for id in sandboxes {
            let wanted = self.read(|names| names.sandbox(id).cloned());
            let as_wanted = self
                .served
                .get(&id)
                .is_some_and(|served| wanted.as_ref() == Some(&served.facts));
            if as_wanted {
                continue;
            }
            if let Some(served) = self.served.remove(&id) {
                served.running.stop().await;
            }
            let known = self.troubles.remove(&id);
            if let Some(facts) = wanted
                && let Err(error) = self.start(id, facts)
            {
                let trouble = format!("sandbox {id:?}: {error}");
                // A container can keep its port from us for ever; the log must not grow with every try.
                if known.as_ref() != Some(&trouble) {
                    tracing::warn!(sandbox = ?id, %error, "can't be served");
                }
                self.troubles.insert(id, trouble);
            }
        }
    }

    fn start(&mut self, id: SandboxId, facts: SandboxFacts) -> io::Result<()> {
        let sockets = open(&facts)?;
        let resolver = Resolver::new(id, &facts, Arc::clone(&self.names), Arc::clone(&self.host));
        let running = serve(sockets, Arc::new(resolver), Limits::default())?;
        self.served.insert(id, Served { facts, running });
        Ok(())
    }

    fn read<T>(&self, look: impl FnOnce(&Names) -> T) -> T {
        look(&self.names.read().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }
}

fn touched(changes: &[Change]) -> BTreeSet<SandboxId> {
    changes
        .iter()
        .filter_map(|change| match change {
            Change::Sandbox(sandbox) => Some(sandbox.id),
            Change::NoSandbox(id) => Some(*id),
            _ => None,
        })
        .collect()
}

fn host_file(change: &Change) -> Option<&std::path::PathBuf> {
    match change {
        Change::HostFile(path) => Some(path),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        path::PathBuf,
        sync::{Mutex, PoisonError},
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_sandbox_that_cannot_be_served_is_complained_of_once_however_often_it_is_tried() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone());
        let _guard = tracing::subscriber::set_default(subscriber.finish());
        let folder = tempfile::TempDir::new().expect("a folder");
        let mut keeper = Keeper::open(folder.path()).await.expect("a keeper");
        let sandbox = SandboxFacts {
            id: SandboxId::random(),
            created: model::Timestamp::now(),
            netns: PathBuf::from("/nowhere"),
            ports: model::DnsPorts { udp: 1, tcp: 2 },
            servers: Vec::new(),
        };
        let push = Push {
            generation: 1,
            resync: true,
            more: false,
            changes: vec![Change::Sandbox(sandbox)],
        };
        let troubles = keeper.apply(push).await.expect("taken in");
        for _ in 0..5 {
            keeper.retry().await;
        }
        assert_eq!(troubles.len(), 1);
        let said = log.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let said = String::from_utf8(said).expect("text");
        assert_eq!(said.matches("can't be served").count(), 1, "{said}");
    }
}
