//! Which networks stand on which parent, and who may share one.
//!
//! Only memory: every network is made or repaired at start, and tells of itself then. The kernel can't be asked: it
//! shows nobody what stands on a link from inside another namespace.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use kernel::object::{MacvlanMode, UpperKind};
use model::{InterfaceName, Network, NetworkId};

/// A network on a parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tenant {
    /// The network's name, for messages.
    pub(crate) name: String,
    /// The link below.
    pub(crate) parent: InterfaceName,
    /// What stands on it.
    pub(crate) kind: UpperKind,
}

impl Tenant {
    pub(crate) fn of(network: &Network, parent: InterfaceName, kind: UpperKind) -> Self {
        Self {
            name: network.name.to_string(),
            parent,
            kind,
        }
    }
}

/// Everybody on a parent of this host.
#[derive(Debug, Default)]
pub(crate) struct Tenants(Mutex<BTreeMap<NetworkId, Tenant>>);

impl Tenants {
    /// Takes one in, again if need be.
    pub(crate) fn enter(&self, id: NetworkId, tenant: Tenant) {
        self.all().insert(id, tenant);
    }

    /// One leaves. Whether nobody is left on its parent; none if it was not known.
    pub(crate) fn leave(&self, id: NetworkId) -> Option<bool> {
        let mut all = self.all();
        let gone = all.remove(&id)?;
        Some(all.values().all(|tenant| tenant.parent != gone.parent))
    }

    /// Whether somebody is on this link.
    pub(crate) fn is_used(&self, parent: &InterfaceName) -> bool {
        self.all().values().any(|tenant| tenant.parent == *parent)
    }

    /// The network that keeps this one off the parent.
    pub(crate) fn in_the_way(
        &self,
        id: NetworkId,
        parent: &InterfaceName,
        kind: UpperKind,
    ) -> Option<Tenant> {
        let all = self.all();
        let mut others = all.iter().filter(|(other, _)| **other != id);
        others
            .find(|(_, other)| other.parent == *parent && !may_share(other.kind, kind))
            .map(|(_, other)| other.clone())
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<NetworkId, Tenant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the kernel lets both stand on one link: macvlans of any mode but passthru, ipvlans of one mode, because that is
/// the parent's and changing it changes all of them, and never one of each.
fn may_share(one: UpperKind, other: UpperKind) -> bool {
    let alone = UpperKind::Macvlan(MacvlanMode::Passthru);
    match (one, other) {
        (UpperKind::Macvlan(_), UpperKind::Macvlan(_)) => one != alone && other != alone,
        (UpperKind::Ipvlan(..), UpperKind::Ipvlan(..)) => one == other,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use kernel::object::{IpvlanMode, Isolation};

    use super::*;
    use crate::samples::network;

    const BRIDGE: UpperKind = UpperKind::Macvlan(MacvlanMode::Bridge);
    const PRIVATE: UpperKind = UpperKind::Macvlan(MacvlanMode::Private);
    const PASSTHRU: UpperKind = UpperKind::Macvlan(MacvlanMode::Passthru);
    const L2: UpperKind = UpperKind::Ipvlan(IpvlanMode::L2, Isolation::Bridge);
    const L3: UpperKind = UpperKind::Ipvlan(IpvlanMode::L3, Isolation::Bridge);

    #[test]
    fn a_parent_is_shared_as_far_as_the_kernel_lets() {
        for (one, other, shared) in [
            (BRIDGE, BRIDGE, true),
            (BRIDGE, PRIVATE, true),
            (BRIDGE, PASSTHRU, false),
            (PASSTHRU, PASSTHRU, false),
            (L2, L2, true),
            (L2, L3, false),
            (L2, BRIDGE, false),
        ] {
            assert_eq!(may_share(one, other), shared, "{one:?} {other:?}");
            assert_eq!(may_share(other, one), shared, "{other:?} {one:?}");
        }
    }

    #[test]
    fn the_last_to_leave_is_told() {
        let tenants = Tenants::default();
        let parent = InterfaceName::new("eth0.50").expect("a name");
        let nets = [1, 2].map(|number| network("macvlan", number, &["10.0.0.0/24"]));
        for net in &nets {
            let tenant = Tenant::of(net, parent.clone(), BRIDGE);
            tenants.enter(net.id, tenant.clone());
            tenants.enter(net.id, tenant);
        }
        assert_eq!(tenants.in_the_way(nets[0].id, &parent, BRIDGE), None);
        let blocks = tenants.in_the_way(nets[0].id, &parent, PASSTHRU);
        assert_eq!(blocks.map(|tenant| tenant.name), Some("net2".to_owned()));
        assert_eq!(tenants.leave(nets[0].id), Some(false));
        assert_eq!(tenants.leave(nets[0].id), None, "it is gone already");
        assert_eq!(tenants.leave(nets[1].id), Some(true));
        assert!(!tenants.is_used(&parent));
    }
}
