//! One shell that makes any planner a [`Driver`]: plan, then bring it about.

mod adopted;
mod change;
mod isolation;
mod publish;

use std::{
    collections::BTreeSet,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use kernel::{
    Kernel, KernelState, Key, Mark, Netns, Object, Owner, Survey,
    object::{Link, LinkKind},
};
use model::{Endpoint, InterfaceName, IpNet, MacAddress, Network, NodeId};

use self::adopted::stays;
use crate::{
    Access, Attachment, Capabilities, Draft, Driver, Error, Needs, NetworkView, Peer, Result, Target,
    planner::{Planner, desired, peers},
};

/// A planner as a driver. Every verb is the same: plan, then bring it about on a thread that may block.
pub struct Planned<P> {
    planner: Arc<P>,
    shell: Shell,
}

impl<P: fmt::Debug> fmt::Debug for Planned<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Planned")
            .field("planner", &self.planner)
            .finish_non_exhaustive()
    }
}

impl<P: Planner> Planned<P> {
    /// A driver that acts on this kernel for this node.
    pub fn new(planner: P, kernel: Arc<dyn Kernel>, node: NodeId) -> Self {
        Self {
            planner: Arc::new(planner),
            shell: Shell {
                kernel,
                node,
                based: Arc::new(AtomicBool::new(false)),
                survey: None,
                base_surveyed: Arc::new(AtomicU64::new(0)),
                settings: Arc::default(),
                looks_first: false,
            },
        }
    }

    /// Runs `work` with the planner where it may block.
    async fn run<T: Send + 'static>(
        &self,
        doing: String,
        work: impl FnOnce(&P, &Shell) -> Outcome<T> + Send + 'static,
    ) -> Result<T> {
        let (planner, shell) = (Arc::clone(&self.planner), self.shell.clone());
        let done = tokio::task::spawn_blocking(move || work(&planner, &shell)).await;
        let outcome = done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        outcome.map_err(|failure| match failure {
            Failure::Driver(error) => error,
            Failure::Kernel(foreign @ kernel::Error::Foreign(_)) => Error::Forbidden {
                message: format!("{doing}: {foreign}"),
                hint: Some("choose another name, or remove what has it".to_owned()),
            },
            Failure::Kernel(source) => Error::Kernel {
                doing,
                source: Box::new(source),
            },
        })
    }
}

enum Failure {
    Driver(Error),
    Kernel(kernel::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Driver(error)
    }
}

impl From<kernel::Error> for Failure {
    fn from(error: kernel::Error) -> Self {
        Self::Kernel(error)
    }
}

type Outcome<T = ()> = Result<T, Failure>;

/// The effects, all of them dull.
#[derive(Clone)]
struct Shell {
    kernel: Arc<dyn Kernel>,
    node: NodeId,
    /// The base was ensured, and nobody has been seen to have taken it away.
    based: Arc<AtomicBool>,
    /// What is known of the host without a look.
    survey: Option<Arc<Survey>>,
    /// Number of the last survey by which the base was ensured.
    base_surveyed: Arc<AtomicU64>,
    /// What endpoints of one network need together.
    settings: Arc<publish::Settings>,
    /// Most of what is wanted is there already: it is looked at before anything is made, because a transaction that the
    /// kernel refuses costs a grace period.
    looks_first: bool,
}

impl Shell {
    fn mark(&self, owner: Owner) -> Mark {
        Mark {
            node: self.node,
            owner,
        }
    }

    fn ensure(&self, owner: Owner, state: &KernelState) -> Outcome {
        let (kernel, mark) = (&*self.kernel, self.mark(owner));
        match &self.survey {
            Some(survey) => Ok(kernel::ensure_surveyed(kernel, &mark, survey, state)?),
            None if self.looks_first => {
                Ok(kernel::ensure_surveyed(kernel, &mark, &Survey::default(), state)?)
            }
            None => Ok(kernel::ensure(kernel, &mark, state)?),
        }
    }

    fn remove(&self, owner: Owner, state: &KernelState) -> Outcome {
        Ok(kernel::remove(&*self.kernel, &self.mark(owner), state)?)
    }

    /// Somebody took the base away.
    fn forget_base(&self) {
        self.based.store(false, Ordering::Release);
    }

    /// Ensures the base, once, and once for each survey.
    fn ensure_base(&self, planner: &dyn Planner) -> Outcome {
        let survey = self.survey.as_ref().map(|survey| survey.number());
        let surveyed = survey.is_none_or(|number| self.base_surveyed.load(Ordering::Acquire) == number);
        if !self.based.load(Ordering::Acquire) || !surveyed {
            self.ensure(Owner::Host, &planner.base())?;
            self.based.store(true, Ordering::Release);
            if let Some(number) = survey {
                self.base_surveyed.store(number, Ordering::Release);
            }
        }
        Ok(())
    }

    /// Ensures what stands on the base. When that was taken away meanwhile, it is made again, and then once more.
    fn ensure_on_base(&self, planner: &dyn Planner, owner: Owner, state: &KernelState) -> Outcome {
        self.ensure_base(planner)?;
        match self.ensure(owner, state) {
            Err(Failure::Kernel(kernel::Error::NoSuch { .. })) if !planner.base().is_empty() => {
                self.forget_base();
                self.ensure_base(planner)?;
                self.ensure(owner, state)
            }
            outcome => outcome,
        }
    }

    /// Ensures an endpoint; where its network isn't realized on this host yet, that too.
    fn join(
        &self,
        planner: &dyn Planner,
        network: &Network,
        endpoint: &Endpoint,
        target: &Target,
    ) -> Outcome {
        let owner = Owner::Endpoint(endpoint.id);
        let state = self.endpoint(planner, network, endpoint, target)?;
        match self.ensure(owner, &state) {
            Err(Failure::Kernel(kernel::Error::NoSuch { .. })) => {
                let base = self.wanted(planner, network)?;
                self.ensure_on_base(planner, Owner::Network(network.id), &base)?;
                self.ensure(owner, &state)
            }
            outcome => outcome,
        }?;
        self.mend_far_ends(owner, &state)
    }

    /// Who died in the middle of a change of MTU has left far ends behind that nobody else looks at. For a restart only:
    /// what a container itself does to its interface stays.
    fn mend_far_ends(&self, owner: Owner, state: &KernelState) -> Outcome {
        let Some(survey) = &self.survey else {
            return Ok(());
        };
        let lagging = |object| change::lagging_end(object, survey.get(&Object::key(object))?);
        let ends: KernelState = state.objects().filter_map(lagging).collect();
        match ends.is_empty() {
            true => Ok(()),
            false => self.ensure(owner, &ends),
        }
    }

    /// Removes a network, tunnels first: a namespace ends when the last who looks into it has left, and until then its
    /// tunnels keep their network identifiers from being used again.
    fn delete(&self, planner: &dyn Planner, network: &Network) -> Outcome {
        let owner = Owner::Network(network.id);
        let (tunnels, rest): (Vec<_>, Vec<_>) =
            planner.network(network)?.objects().cloned().partition(is_tunnel);
        self.remove(owner, &tunnels.into_iter().collect())?;
        let adopted = self.adopted(planner, network)?;
        let stays = |object: &Object| adopted.as_ref().is_some_and(|link| stays(network, link, object));
        let wanted: KernelState = rest.iter().cloned().collect();
        self.remove(owner, &rest.into_iter().filter(|object| !stays(object)).collect())?;
        match &adopted {
            Some(link) => self.ensure(owner, &self.given_back(network, link, &wanted)?),
            None => Ok(()),
        }
    }

    /// Whether the namespace of a network is there; without one there is nothing to keep up to date.
    fn is_home(&self, planner: &dyn Planner, network: &Network) -> Outcome<bool> {
        Ok(match planner.home(network) {
            Netns::Pinned(path) => !self.kernel.observe(&[Key::Namespace(path)])?.is_empty(),
            _ => true,
        })
    }

    fn peers_changed(
        &self,
        planner: &dyn Planner,
        network: &Network,
        gone: &[Peer],
        come: &[Peer],
    ) -> Outcome {
        if !self.is_home(planner, network)? {
            return Ok(());
        }
        let come = peers(planner, network, come)?;
        let gone = peers(planner, network, gone)?;
        let gone = gone.objects().filter(|object| come.get(&object.key()).is_none());
        let owner = Owner::Network(network.id);
        self.remove(owner, &gone.cloned().collect())?;
        self.ensure(owner, &come)
    }

    fn repair(&self, planner: &dyn Planner, view: &NetworkView) -> Outcome {
        if self.survey.is_none() {
            self.forget_base();
        }
        self.ensure_base(planner)?;
        let network = Owner::Network(view.network.id);
        self.ensure(network, &self.wanted(planner, &view.network)?)?;
        for local in &view.local {
            let mut state = self.endpoint(planner, &view.network, &local.endpoint, &local.target)?;
            let access = planner.access(&view.network, &local.endpoint, &local.access)?;
            self.settings.note(Owner::Endpoint(local.endpoint.id), &access);
            state.extend(access.objects().cloned());
            self.ensure(Owner::Endpoint(local.endpoint.id), &state)?;
        }
        self.ensure(network, &peers(planner, &view.network, &view.peers)?)?;
        self.remove_beyond(planner, view)
    }

    /// Whether a survey saw nothing beyond what is wanted. What it saw is old: before anything is removed it is looked
    /// for once more.
    fn surveyed_nothing_beyond(&self, home: &Netns, owners: &BTreeSet<Owner>, wanted: &KernelState) -> bool {
        let Some(survey) = self.survey.as_ref().filter(|_| *home == Netns::Host) else {
            return false;
        };
        let mut seen = owners.iter().flat_map(|owner| survey.owned(owner));
        seen.all(|key| wanted.get(key).is_some())
    }

    /// Removes what the network's owners have beyond the view.
    fn remove_beyond(&self, planner: &dyn Planner, view: &NetworkView) -> Outcome {
        let wanted = desired(planner, view)?;
        let home = planner.home(&view.network);
        let locals = view.local.iter().map(|local| Owner::Endpoint(local.endpoint.id));
        let owners: BTreeSet<_> = locals.chain([Owner::Network(view.network.id)]).collect();
        if self.surveyed_nothing_beyond(&home, &owners, &wanted) {
            return Ok(());
        }
        for (mark, object) in self.kernel.observe_owned(&home, self.node)? {
            // Whoever is joining right now has no place in the view yet, and is left alone.
            let is_its = owners.contains(&mark.owner);
            let mut beyond = KernelState::new();
            if is_its
                && let Object::Link(Link {
                    name,
                    kind: LinkKind::Vxlan(_),
                    ..
                }) = &object
            {
                beyond.extend(self.kernel.observe_entries(&home, name)?);
            }
            beyond.extend(is_its.then_some(object));
            let beyond = beyond
                .objects()
                .filter(|object| wanted.get(&object.key()).is_none());
            self.remove(mark.owner, &beyond.cloned().collect())?;
        }
        Ok(())
    }
}

fn is_tunnel(object: &Object) -> bool {
    matches!(
        object,
        Object::Link(Link {
            kind: LinkKind::Vxlan(_),
            ..
        })
    )
}

#[async_trait]
impl<P: Planner> Driver for Planned<P> {
    fn capabilities(&self) -> Capabilities {
        self.planner.capabilities()
    }

    async fn check(&self, draft: &Draft<'_>) -> Result<Needs> {
        let mut needs = self.planner.check(draft)?;
        if let Some((device, settings)) = self.planner.adopts(draft)? {
            let doing = format!("looking at {:?}", device.as_str());
            let follows = self.planner.follows(draft)?.is_some();
            needs.found = self
                .run(doing, move |_, shell| shell.found(&device, &settings))
                .await?;
            let worn = needs.found.as_ref().filter(|_| follows);
            needs.worn = worn.map(|found| found.addresses.clone()).unwrap_or_default();
        }
        Ok(needs)
    }

    fn interface_prefix(&self, network: &Network) -> String {
        self.planner.interface_prefix(network)
    }

    fn knowing(&self, survey: &Arc<Survey>) -> Option<Arc<dyn Driver>> {
        Some(Arc::new(Self {
            planner: Arc::clone(&self.planner),
            shell: Shell {
                survey: Some(Arc::clone(survey)),
                ..self.shell.clone()
            },
        }))
    }

    async fn create_network(&self, network: &Network) -> Result<()> {
        let doing = format!("creating network {:?}", network.name.as_str());
        let network = network.clone();
        self.run(doing, move |planner, shell| {
            let state = shell.wanted(planner, &network)?;
            shell.ensure_on_base(planner, Owner::Network(network.id), &state)
        })
        .await
    }

    async fn delete_network(&self, network: &Network) -> Result<()> {
        let doing = format!("removing network {:?}", network.name.as_str());
        let network = network.clone();
        self.run(doing, move |planner, shell| shell.delete(planner, &network))
            .await
    }

    async fn join(&self, network: &Network, endpoint: &Endpoint, target: &Target) -> Result<Attachment> {
        let doing = format!(
            "connecting {:?} to network {:?}",
            endpoint.name,
            network.name.as_str()
        );
        let attachment = self.planner.attachment(network, endpoint);
        let (network, endpoint, target) = (network.clone(), endpoint.clone(), target.clone());
        self.run(doing, move |planner, shell| {
            shell.join(planner, &network, &endpoint, &target)
        })
        .await?;
        Ok(attachment)
    }

    async fn leave(&self, network: &Network, endpoint: &Endpoint, target: &Target) -> Result<()> {
        let doing = format!(
            "disconnecting {:?} from network {:?}",
            endpoint.name,
            network.name.as_str()
        );
        let (network, endpoint, target) = (network.clone(), endpoint.clone(), target.clone());
        self.run(doing, move |planner, shell| {
            let state = planner.endpoint(&network, &endpoint, &target)?;
            shell.remove(Owner::Endpoint(endpoint.id), &state)
        })
        .await
    }

    async fn publish(
        &self,
        network: &Network,
        endpoint: &Endpoint,
        before: &Access,
        access: &Access,
    ) -> Result<()> {
        let doing = format!("publishing ports of {:?}", endpoint.name);
        let before = self.planner.access(network, endpoint, before)?;
        let after = self.planner.access(network, endpoint, access)?;
        let owner = Owner::Endpoint(endpoint.id);
        self.run(doing, move |planner, shell| {
            shell.publish(planner, owner, &before, &after)
        })
        .await
    }

    async fn peers_changed(&self, network: &Network, gone: &[Peer], come: &[Peer]) -> Result<()> {
        let doing = format!("updating peers of network {:?}", network.name.as_str());
        let (network, gone, come) = (network.clone(), gone.to_vec(), come.to_vec());
        self.run(doing, move |planner, shell| {
            shell.peers_changed(planner, &network, &gone, &come)
        })
        .await
    }

    async fn repair(&self, view: &NetworkView) -> Result<()> {
        let doing = format!("repairing network {:?}", view.network.name.as_str());
        let view = view.clone();
        self.run(doing, move |planner, shell| {
            let shell = Shell {
                looks_first: true,
                ..shell.clone()
            };
            shell.repair(planner, &view)
        })
        .await
    }

    fn links(&self, network: &Network) -> Vec<InterfaceName> {
        let state = self.planner.network(network).unwrap_or_default();
        let links = state.objects().filter_map(|object| match object {
            Object::Link(link) if link.netns == Netns::Host => Some(link.name.clone()),
            _ => None,
        });
        links.collect()
    }

    fn mtu(&self, network: &Network) -> Option<u32> {
        let state = self.planner.network(network).unwrap_or_default();
        let mtus = state.objects().filter_map(|object| match object {
            Object::Link(link) => link.mtu,
            _ => None,
        });
        mtus.min()
    }

    fn host_link(&self, _network: &Network, endpoint: &Endpoint) -> Option<InterfaceName> {
        self.planner.host_link(endpoint)
    }

    fn own_mac(&self, network: &Network) -> Option<MacAddress> {
        // One that was there before keeps its own.
        if let Some(found) = &network.found {
            return found.mac;
        }
        let state = self.planner.network(network).unwrap_or_default();
        state.objects().find_map(|object| match object {
            Object::Link(Link {
                kind: LinkKind::Bridge,
                mac,
                ..
            }) => *mac,
            _ => None,
        })
    }

    fn wears(&self, network: &Network) -> Vec<(InterfaceName, IpNet)> {
        let state = self.planner.network(network).unwrap_or_default();
        let worn = state.objects().filter_map(|object| match object {
            Object::Address(worn) if worn.netns == Netns::Host => Some((worn.link.clone(), worn.address)),
            _ => None,
        });
        worn.collect()
    }

    async fn change(&self, before: &NetworkView, after: &NetworkView) -> Result<()> {
        let doing = format!("changing network {:?}", before.network.name.as_str());
        let (before, after) = (before.clone(), after.clone());
        self.run(doing, move |planner, shell| {
            shell.change(planner, &before, &after)
        })
        .await
    }

    async fn preview(&self, view: &NetworkView) -> Result<Vec<String>> {
        let doing = format!(
            "comparing network {:?} with the kernel",
            view.network.name.as_str()
        );
        let view = view.clone();
        self.run(doing, move |planner, shell| shell.preview(planner, &view))
            .await
    }
}

#[cfg(test)]
mod tests;
