//! Which Docker network is which of ours. A network that is bound and gone, because another host has removed it, is made
//! again from the binding.

use std::{sync::Arc, time::Duration};

use controller::CreateNetwork;
use model::{IpamConfig, Labels, Lifecycle, Network, NetworkId, NetworkName, NodeId, Timestamp};
use store::Store;

use crate::{
    Shared,
    records::{self, Binding, Hold},
    refusal::{Refused, Result, refused},
    wanted::Wanted,
};

/// The label of networks that were made for Docker: they go with the last Docker network of them.
const MADE_FOR: &str = "cnm.made-for";
const DOCKER: &str = "docker";
/// How long a network that another host makes at this moment may take to be seen here.
const SEEN: Duration = Duration::from_secs(5);

impl Shared {
    /// The network of that name; also by the name that Docker knows, if it has another by now.
    pub(crate) async fn named(&self, name: &NetworkName) -> Result<Option<Arc<Network>>> {
        if let Some(found) = self.by_name(name) {
            return Ok(Some(found));
        }
        let bindings = self.bindings().await?.into_iter();
        let mut of_name = bindings.filter(|binding| binding.wanted.name == *name);
        Ok(of_name.find_map(|binding| self.network(binding.network)))
    }

    fn by_name(&self, name: &NetworkName) -> Option<Arc<Network>> {
        let snapshot = self.controller.snapshot().borrow().clone();
        let usable = |network: &&Arc<Network>| {
            network.name == *name && network.lifecycle == Lifecycle::Active && !network.config_only
        };
        snapshot.networks.values().find(usable).cloned()
    }

    pub(crate) fn network(&self, id: NetworkId) -> Option<Arc<Network>> {
        let snapshot = self.controller.snapshot().borrow().clone();
        let found = snapshot.networks.get(&id).cloned();
        found.filter(|network| network.lifecycle == Lifecycle::Active)
    }

    pub(crate) async fn bindings(&self) -> Result<Vec<Binding>> {
        Ok(records::all(records::bindings(), &*self.stores.local).await?)
    }

    pub(crate) async fn bound(&self, docker: NetworkId) -> Result<Option<Binding>> {
        let found = records::bindings().get(&*self.stores.local, docker).await?;
        Ok(found.map(|found| found.record))
    }

    /// Our network of a Docker network.
    pub(crate) async fn network_of(&self, docker: NetworkId) -> Result<Arc<Network>> {
        let binding = self.bound(docker).await?.ok_or_else(|| unknown(docker))?;
        match self.network(binding.network) {
            Some(network) => Ok(network),
            None => self.again(&binding).await,
        }
    }

    /// Makes a network again that is gone; by its name, for Docker knows none by another.
    pub(crate) async fn again(&self, binding: &Binding) -> Result<Arc<Network>> {
        let _one = self.binding.lock().await;
        let network = self.ensure(&binding.wanted).await?;
        self.bind(&Binding {
            network: network.id,
            intended: false,
            ..binding.clone()
        })
        .await?;
        Ok(network)
    }

    /// The network that is wanted, made if it isn't there.
    pub(crate) async fn ensure(&self, wanted: &Wanted) -> Result<Arc<Network>> {
        if let Some(found) = self.named(&wanted.name).await? {
            wanted.refuse_other(&found)?;
            return Ok(found);
        }
        match self.controller.networks.create(request(wanted)).await {
            Ok(made) => self.seen(|network| network.id == made.id).await,
            // Another host was faster.
            Err(error @ controller::Error::Conflict { .. }) => {
                let found = self.seen(|network| network.name == wanted.name).await;
                let found = found.map_err(|_| Refused::from(error))?;
                wanted.refuse_other(&found)?;
                Ok(found)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn seen(&self, is_it: impl Fn(&Network) -> bool) -> Result<Arc<Network>> {
        let mut snapshots = self.controller.snapshot();
        let find = |snapshot: &model::Snapshot| {
            let mut all = snapshot.networks.values();
            all.find(|network| network.lifecycle == Lifecycle::Active && is_it(network))
                .cloned()
        };
        let there = snapshots.wait_for(|snapshot| find(snapshot).is_some());
        let there = tokio::time::timeout(SEEN, there).await;
        there
            .ok()
            .and_then(|snapshot| find(&*snapshot.ok()?))
            .ok_or_else(|| refused("the network is not seen yet", "try again"))
    }

    /// Records a binding, here and where other hosts see that this one has the network.
    pub(crate) async fn bind(&self, binding: &Binding) -> Result<()> {
        if let Some(network) = self.network(binding.network) {
            let hold = Hold { node: self.node };
            let (store, holds) = (self.stores.of(network.scope), records::holds(network.id));
            store.commit(holds.put(self.node, &hold)).await?;
            if self.network(binding.network).is_none() {
                store.commit(holds.delete(self.node)).await?;
                return Err(refused(
                    format!("network {:?} was removed in this moment", &*network.name),
                    "try again",
                ));
            }
        }
        let txn = records::bindings().put(binding.docker, binding);
        self.stores.local.commit(txn).await?;
        Ok(())
    }

    /// Makes or finds the network of one of Docker's, and binds it. What a crash leaves in the middle, the intent tells: it is
    /// there before anything else, and Docker will not know the network.
    pub(crate) async fn make(&self, docker: NetworkId, wanted: &Wanted) -> Result<Arc<Network>> {
        let _one = self.binding.lock().await;
        let intent = Binding {
            intended: true,
            ..binding(docker, NetworkId::random(), wanted.clone())
        };
        let noted = records::bindings().put(docker, &intent);
        self.stores.local.commit(noted).await?;
        let network = match self.ensure(wanted).await {
            Ok(network) => network,
            Err(error) => {
                let txn = records::bindings().delete(docker);
                self.stores.local.commit(txn).await?;
                return Err(error);
            }
        };
        let bound = binding(docker, network.id, wanted.clone());
        if let Err(error) = self.bind(&bound).await {
            // What can't be undone now is found by the intent later.
            if let Err(error) = self.take_back(docker).await {
                tracing::warn!(%error, network = %network.name, "it is taken back later");
            }
            return Err(error);
        }
        Ok(network)
    }

    /// Forgets a binding. The network goes when it was made for Docker and nobody has it any more.
    ///
    /// The binding goes last: where anything fails before, Docker asks again, or whoever looks for what it has left does.
    pub(crate) async fn unbind(&self, docker: NetworkId) -> Result<()> {
        let _one = self.binding.lock().await;
        self.take_back(docker).await
    }

    async fn take_back(&self, docker: NetworkId) -> Result<()> {
        let bindings = self.bindings().await?;
        let Some(binding) = bindings.iter().find(|binding| binding.docker == docker) else {
            return Ok(());
        };
        let network = match binding.intended {
            true => self.by_name(&binding.wanted.name).map(|network| network.id),
            false => Some(binding.network),
        };
        if let Some(network) = network.filter(|network| is_last(&bindings, docker, *network)) {
            self.let_go(network).await?;
        }
        let txn = records::bindings().delete(docker);
        self.stores.local.commit(txn).await?;
        Ok(())
    }

    /// Takes back what tells others that this host has a network, where it has no binding of it: left by a crash, or told of a
    /// network that was removed in the same moment.
    pub(crate) async fn tidy_holds(&self) -> Result<()> {
        let _one = self.binding.lock().await;
        let bindings = self.bindings().await?;
        let global = self.stores.global.as_ref();
        for store in std::iter::once(&self.stores.local).chain(global) {
            let listed = store.list(&records::all_holds()).await?;
            for network in stale(
                listed.entries.iter().map(|entry| entry.key.as_str()),
                self.node,
                &bindings,
            ) {
                tracing::info!(network = %network.short(), "this host has it no more, and said so to nobody");
                if self.network(network).is_some() {
                    self.let_go(network).await?;
                }
                store.commit(records::holds(network).delete(self.node)).await?;
            }
        }
        Ok(())
    }

    /// This host has a network no more.
    async fn let_go(&self, id: NetworkId) -> Result<()> {
        let Some(network) = self.network(id) else {
            return Ok(());
        };
        let (store, holds) = (self.stores.of(network.scope), records::holds(network.id));
        store.commit(holds.delete(self.node)).await?;
        let made_here = network.labels.get(MADE_FOR).map(String::as_str) == Some(DOCKER);
        if !made_here || !records::all(holds, &**store).await?.is_empty() {
            return Ok(());
        }
        match self.controller.networks.delete(&network.id.to_string()).await {
            Ok(_) | Err(controller::Error::NotFound { .. }) => Ok(()),
            // Somebody else's containers are on it.
            Err(error @ controller::Error::Forbidden { .. }) => {
                tracing::info!(network = %network.name, %error, "the network stays");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) fn local(&self) -> &dyn Store {
        &*self.stores.local
    }
}

/// Pure: whether no other Docker network of this host is of the same of ours.
fn is_last(bindings: &[Binding], docker: NetworkId, network: NetworkId) -> bool {
    let mut others = bindings.iter().filter(|other| other.docker != docker);
    !others.any(|other| other.network == network)
}

/// Pure: of the keys of all holds, the networks that `node` holds without a binding of them.
fn stale<'k>(keys: impl Iterator<Item = &'k str>, node: NodeId, bindings: &[Binding]) -> Vec<NetworkId> {
    let own = keys.filter_map(|key| {
        let (rest, held_by) = key.rsplit_once('/')?;
        let network: NetworkId = rest.rsplit_once('/')?.1.parse().ok()?;
        (held_by.parse().ok() == Some(node)).then_some(network)
    });
    own.filter(|network| !bindings.iter().any(|binding| binding.network == *network))
        .collect()
}

pub(crate) fn unknown(docker: NetworkId) -> Refused {
    refused(
        format!("cnm has nothing of the Docker network {}", docker.short()),
        "its records are lost: remove the network and create it again",
    )
}

pub(crate) fn binding(docker: NetworkId, network: NetworkId, wanted: Wanted) -> Binding {
    Binding {
        docker,
        network,
        wanted,
        intended: false,
        made: Timestamp::now(),
        seen_by: None,
        seen_at: None,
    }
}

fn request(wanted: &Wanted) -> CreateNetwork {
    let named = CreateNetwork::named(wanted.name.clone());
    CreateNetwork {
        driver: wanted.made_by().parse().ok(),
        labels: Labels::from([(MADE_FOR.to_owned(), DOCKER.to_owned())]),
        options: wanted.options.clone(),
        enable_ipv4: wanted.ipv4,
        enable_ipv6: wanted.ipv6,
        internal: wanted.internal,
        attachable: true,
        ipam: IpamConfig {
            subnets: wanted.pools.clone(),
            ..named.ipam.clone()
        },
        ..named
    }
}
