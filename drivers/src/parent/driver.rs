//! The driver around such planners: looks at the parent before a network is made, makes and removes sub-interfaces, and
//! keeps networks whose parent has vanished until it is back.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use kernel::{
    Kernel, KernelState, Key, Mark, Netns, Object, Owner,
    object::{IpvlanMode, LinkKind, UpperKind},
};
use model::{Endpoint, InterfaceName, Network, NetworkId, NodeId};

use super::{
    Stack, Stacked, sub_interface, sub_interface_link,
    tenants::{Tenant, Tenants},
};
use crate::{
    Access, Attachment, Capabilities, Draft, Driver, Error, Needs, NetworkView, Planned, Result, Target,
};

/// What all drivers with parents share on a host.
#[derive(Debug, Default)]
pub(crate) struct Parents {
    tenants: Tenants,
    /// Held while a sub-interface is made or removed.
    making: Mutex<()>,
    /// Sub-interfaces of networks that were removed before it was known who else stands on them.
    doubtful: Mutex<BTreeSet<InterfaceName>>,
}

/// A driver of networks on parents.
pub(crate) struct OnParent<P> {
    inner: Planned<P>,
    planner: Arc<P>,
    kernel: Arc<dyn Kernel>,
    node: NodeId,
    parents: Arc<Parents>,
}

impl<P: fmt::Debug> fmt::Debug for OnParent<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnParent")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

/// What there is of a parent.
enum Found {
    There,
    /// A sub-interface that can be made.
    ToMake(Object),
    /// Neither it nor what it would be made on.
    Missing,
}

impl<P: Stacked + Clone> OnParent<P> {
    pub(crate) fn new(planner: P, kernel: &Arc<dyn Kernel>, node: NodeId, parents: &Arc<Parents>) -> Self {
        Self {
            inner: Planned::new(planner.clone(), Arc::clone(kernel), node),
            planner: Arc::new(planner),
            kernel: Arc::clone(kernel),
            node,
            parents: Arc::clone(parents),
        }
    }

    fn parent_of(&self, network: &Network) -> Option<(InterfaceName, Stack)> {
        let stack = self.planner.stack(&network.options).ok()?;
        Some((stack.parent.clone()?, stack))
    }

    /// Notes that the network stands on its parent, and sees that this is there if it can be.
    async fn enter(&self, network: &Network) -> Result<bool> {
        let Some((parent, stack)) = self.parent_of(network) else {
            return Ok(true);
        };
        let tenant = Tenant::of(network, parent.clone(), stack.kind);
        self.parents.tenants.enter(network.id, tenant);
        let (kernel, node, parents) = (Arc::clone(&self.kernel), self.node, Arc::clone(&self.parents));
        let name = network.name.to_string();
        blocking(format!("looking at {:?}", parent.as_str()), move || {
            let _making = parents.making.lock().unwrap_or_else(PoisonError::into_inner);
            match find(&*kernel, &parent)? {
                Found::There => Ok(true),
                Found::ToMake(link) => {
                    kernel::ensure(&*kernel, &mark(node), &KernelState::from_iter([link]))?;
                    Ok(true)
                }
                Found::Missing => {
                    tracing::info!(network = name, %parent, "waits for its parent");
                    Ok(false)
                }
            }
        })
        .await
    }

    /// Removes the parent if it was made for networks and none is left on it.
    async fn leave_parent(&self, id: NetworkId, parent: InterfaceName) -> Result<()> {
        let last = self.parents.tenants.leave(id);
        let (kernel, node, parents) = (Arc::clone(&self.kernel), self.node, Arc::clone(&self.parents));
        blocking(format!("removing {:?}", parent.as_str()), move || {
            let _making = parents.making.lock().unwrap_or_else(PoisonError::into_inner);
            let mut doubtful = parents.doubtful.lock().unwrap_or_else(PoisonError::into_inner);
            match last {
                // A removal that a restart goes on with, before anybody else has told of itself.
                None => drop(doubtful.insert(parent)),
                Some(true) => remove(&*kernel, node, &parent)?,
                Some(false) => {}
            }
            if last.is_some() {
                for parent in std::mem::take(&mut *doubtful) {
                    if !parents.tenants.is_used(&parent) {
                        remove(&*kernel, node, &parent)?;
                    }
                }
            }
            Ok(())
        })
        .await
    }

    async fn refuse_parent(&self, id: NetworkId, parent: InterfaceName, stack: &Stack) -> Result<()> {
        if let Some(other) = self.parents.tenants.in_the_way(id, &parent, stack.kind) {
            return Err(Error::Forbidden {
                message: format!(
                    "network {:?} is already using parent interface {:?}",
                    other.name,
                    parent.as_str()
                ),
                hint: Some(format!(
                    "{} and {} can't share one; choose another parent, or the same driver and mode",
                    told(other.kind),
                    told(stack.kind)
                )),
            });
        }
        let kernel = Arc::clone(&self.kernel);
        let found = blocking(format!("looking at {:?}", parent.as_str()), {
            let parent = parent.clone();
            move || find(&*kernel, &parent)
        })
        .await?;
        match found {
            Found::There => Ok(()),
            Found::ToMake(Object::Link(link)) => match link.kind {
                LinkKind::Upper(upper) => {
                    self.refuse_unsupported(upper.kind).await?;
                    self.refuse_down(&upper.lower, &parent).await
                }
                _ => Ok(()),
            },
            Found::ToMake(_) => Ok(()),
            Found::Missing => {
                let (base, _) = sub_interface(&parent)?;
                Err(Error::Invalid {
                    message: format!(
                        "{:?} can't be made: there is no interface {:?} on this host",
                        parent.as_str(),
                        base.as_str()
                    ),
                    hint: Some("\"ip link\" shows those that there are".to_owned()),
                })
            }
        }
    }

    async fn refuse_unsupported(&self, kind: UpperKind) -> Result<()> {
        let kernel = Arc::clone(&self.kernel);
        let asking = format!("asking the kernel for {}", kind.name());
        match blocking(asking, move || kernel.supports(kind)).await? {
            true => Ok(()),
            false => Err(Error::Invalid {
                message: format!("this kernel has no {}", kind.name()),
                hint: Some(match kind {
                    UpperKind::Vlan(_) => {
                        "its module is \"8021q\"; or name an interface that is there as the parent".to_owned()
                    }
                    _ => format!(
                        "its module is {:?}; README.md says which kernels have what",
                        kind.name()
                    ),
                }),
            }),
        }
    }

    /// The kernel makes no sub-interface that is up on one that is down.
    async fn refuse_down(&self, base: &InterfaceName, parent: &InterfaceName) -> Result<()> {
        let (kernel, key) = (Arc::clone(&self.kernel), Key::Link(Netns::Host, base.clone()));
        let seen = blocking(format!("looking at {:?}", base.as_str()), move || {
            kernel.observe(&[key])
        })
        .await?;
        match seen.objects().next() {
            Some(Object::Link(link)) if !link.up => Err(Error::Invalid {
                message: format!("{:?} can't be made: {:?} is down", parent.as_str(), base.as_str()),
                hint: Some(format!("\"ip link set {base} up\" brings it up")),
            }),
            _ => Ok(()),
        }
    }

    async fn is_there(&self, parent: &InterfaceName) -> bool {
        let (kernel, key) = (Arc::clone(&self.kernel), Key::Link(Netns::Host, parent.clone()));
        let seen = blocking(String::new(), move || kernel.observe(&[key])).await;
        seen.is_ok_and(|seen| !seen.is_empty())
    }
}

fn mark(node: NodeId) -> Mark {
    Mark {
        node,
        owner: Owner::Host,
    }
}

fn told(kind: UpperKind) -> String {
    match kind {
        UpperKind::Macvlan(mode) => format!("macvlan in mode {mode:?}").to_lowercase(),
        UpperKind::Ipvlan(mode, isolation) => {
            format!("ipvlan in mode {mode:?} ({isolation:?})").to_lowercase()
        }
        other => other.name().to_owned(),
    }
}

fn find(kernel: &dyn Kernel, parent: &InterfaceName) -> kernel::Result<Found> {
    let key = |name: &InterfaceName| Key::Link(Netns::Host, name.clone());
    let sub = sub_interface(parent).ok();
    let keys: Vec<_> = [parent]
        .into_iter()
        .chain(sub.as_ref().map(|(base, _)| base))
        .map(key)
        .collect();
    let seen = kernel.observe(&keys)?;
    Ok(match sub {
        _ if seen.get(&key(parent)).is_some() => Found::There,
        Some((base, tag)) if seen.get(&key(&base)).is_some() => {
            Found::ToMake(sub_interface_link(parent, &base, tag))
        }
        _ => Found::Missing,
    })
}

/// The name of a sub-interface that was made here.
fn left_behind(mark: &Mark, object: &Object) -> Option<InterfaceName> {
    match object {
        Object::Link(link) if mark.owner == Owner::Host => match &link.kind {
            LinkKind::Upper(upper) if matches!(upper.kind, UpperKind::Vlan(_)) => Some(link.name.clone()),
            _ => None,
        },
        _ => None,
    }
}

/// Removes a sub-interface that was made here; one without our mark is somebody else's and stays.
fn remove(kernel: &dyn Kernel, node: NodeId, parent: &InterfaceName) -> kernel::Result<()> {
    let Ok((base, tag)) = sub_interface(parent) else {
        return Ok(());
    };
    let link = sub_interface_link(parent, &base, tag);
    kernel::remove(kernel, &mark(node), &KernelState::from_iter([link]))
}

/// Runs what asks the kernel where it may block.
async fn blocking<T: Send + 'static>(
    doing: String,
    work: impl FnOnce() -> kernel::Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    let outcome = done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
    outcome.map_err(|source| Error::Kernel {
        doing,
        source: Box::new(source),
    })
}

#[async_trait]
impl<P: Stacked + Clone> Driver for OnParent<P> {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn check(&self, draft: &Draft<'_>) -> Result<Needs> {
        let needs = self.inner.check(draft).await?;
        let stack = self.planner.stack(draft.options)?;
        self.refuse_unsupported(stack.kind).await?;
        if let Some(parent) = stack.parent.clone() {
            self.refuse_parent(draft.id, parent, &stack).await?;
        }
        Ok(needs)
    }

    fn interface_prefix(&self, network: &Network) -> String {
        self.inner.interface_prefix(network)
    }

    async fn create_network(&self, network: &Network) -> Result<()> {
        // After a restart the parent may be missing: the network is there all the same, and waits for it.
        match self.enter(network).await? {
            true => self.inner.create_network(network).await,
            false => Ok(()),
        }
    }

    async fn delete_network(&self, network: &Network) -> Result<()> {
        self.inner.delete_network(network).await?;
        match self.parent_of(network) {
            Some((parent, _)) => self.leave_parent(network.id, parent).await,
            None => Ok(()),
        }
    }

    async fn join(&self, network: &Network, endpoint: &Endpoint, target: &Target) -> Result<Attachment> {
        match (
            self.inner.join(network, endpoint, target).await,
            self.parent_of(network),
        ) {
            (Err(_), Some((parent, _))) if !self.is_there(&parent).await => Err(Error::Forbidden {
                message: format!(
                    "network {:?} has lost its parent: there is no interface {:?}",
                    network.name.as_str(),
                    parent.as_str()
                ),
                hint: Some("its containers are connected again as soon as it is back".to_owned()),
            }),
            (joined, _) => joined,
        }
    }

    async fn leave(&self, network: &Network, endpoint: &Endpoint, target: &Target) -> Result<()> {
        self.inner.leave(network, endpoint, target).await
    }

    async fn publish(
        &self,
        network: &Network,
        endpoint: &Endpoint,
        _before: &Access,
        access: &Access,
    ) -> Result<()> {
        if !access.ports.is_empty() {
            tracing::warn!(
                network = network.name.as_str(),
                endpoint = endpoint.name,
                "ports are not published: the container is on the segment, and reached by its own address"
            );
        }
        Ok(())
    }

    async fn repair(&self, view: &NetworkView) -> Result<()> {
        match self.enter(&view.network).await? {
            true => self.inner.repair(view).await,
            false => Ok(()),
        }
    }

    fn links(&self, network: &Network) -> Vec<InterfaceName> {
        let mut links = self.inner.links(network);
        if let Some((parent, _)) = self.parent_of(network) {
            links.extend(sub_interface(&parent).ok().map(|(base, _)| base));
            links.push(parent);
        }
        links
    }

    fn segment(&self, network: &Network) -> Option<InterfaceName> {
        let (parent, stack) = self.parent_of(network)?;
        let routed = matches!(stack.kind, UpperKind::Ipvlan(IpvlanMode::L3 | IpvlanMode::L3s, _));
        (!routed).then_some(parent)
    }

    fn may_be_global(&self) -> bool {
        true
    }

    /// A sub-interface whose maker died before it could write down for whom it was.
    async fn tidy(&self) -> Result<()> {
        let (kernel, node, parents) = (Arc::clone(&self.kernel), self.node, Arc::clone(&self.parents));
        blocking("looking for sub-interfaces of nobody's".to_owned(), move || {
            let _making = parents.making.lock().unwrap_or_else(PoisonError::into_inner);
            for (owner, object) in kernel.observe_owned(&Netns::Host, node)? {
                let Some(name) = left_behind(&owner, &object).filter(|name| !parents.tenants.is_used(name))
                else {
                    continue;
                };
                tracing::info!(link = %name, "no network stands on it, removed");
                remove(&*kernel, node, &name)?;
            }
            Ok(())
        })
        .await
    }

    fn shares_ethernet(&self) -> bool {
        self.planner.shares_ethernet()
    }

    fn takes_interfaces_along(&self) -> bool {
        true
    }

    async fn change(&self, before: &NetworkView, after: &NetworkView) -> Result<()> {
        self.inner.change(before, after).await
    }

    async fn preview(&self, view: &NetworkView) -> Result<Vec<String>> {
        self.inner.preview(view).await
    }
}

#[cfg(test)]
mod tests;
