//! Links that were there before the network that uses them: they are the user's, with all that is on them. How one was
//! is in the network's record from its first commit on, so that it is given back like that whatever happens between.

use kernel::{
    KernelState, Key, Mark, Netns, Object,
    object::{Link, LinkKind, Sysctl},
};
use model::{FoundLink, InterfaceName, Network};

use super::{Outcome, Shell};
use crate::planner::Planner;

impl Shell {
    /// What a network needs on this host. Of a link of somebody else's IPv6 is not switched off, whether the network has
    /// any or not: with it the kernel would take away the user's own addresses.
    pub(super) fn wanted(&self, planner: &dyn Planner, network: &Network) -> Outcome<KernelState> {
        let mut state = planner.network(network)?;
        let Some(link) = planner.adoptable(network) else {
            return Ok(state);
        };
        let key = Key::Sysctl(Netns::Host, off_switch(&link));
        let is = |object: Option<&Object>, wanted: &str| matches!(object, Some(Object::Sysctl(sysctl)) if sysctl.value == wanted);
        // Of a link that isn't there, or has none, nothing can be lost.
        if is(state.get(&key), "1")
            && is(self.kernel.observe(std::slice::from_ref(&key))?.get(&key), "0")
            && self.adopted(planner, network)?.is_some()
        {
            state.remove(&key);
        }
        Ok(state)
    }

    /// A link that a network leaves behind, as it was before it: MTU and settings, unless somebody has given them other
    /// values meanwhile. Of one that is in no record the settings become as new links have them, but whether it has IPv6
    /// at all stays. It stays up as well: others may have come to rely on it.
    pub(super) fn given_back(
        &self,
        network: &Network,
        link: &InterfaceName,
        wanted: &KernelState,
    ) -> Outcome<KernelState> {
        let Some(found) = &network.found else {
            return self.usual_settings(link, wanted);
        };
        let settings = found
            .settings
            .keys()
            .map(|name| Key::Sysctl(Netns::Host, name.clone()));
        let keys: Vec<_> = settings.chain([Key::Link(Netns::Host, link.clone())]).collect();
        // It may be gone meanwhile.
        Ok(as_found(found, wanted, &self.kernel.observe(&keys)?))
    }

    fn usual_settings(&self, link: &InterfaceName, wanted: &KernelState) -> Outcome<KernelState> {
        let off = off_switch(link);
        let is_its = |name: &str| name != off && name.split('/').nth(3) == Some(link.as_str());
        let its = wanted
            .keys()
            .filter(|key| matches!(key, Key::Sysctl(_, name) if is_its(name)));
        let there = self.kernel.observe(&its.cloned().collect::<Vec<_>>())?;
        self.usual(&there.keys().cloned().collect::<Vec<_>>())
    }

    /// The network's link, if it was there before the network: it stays, and its addresses with it.
    pub(super) fn adopted(&self, planner: &dyn Planner, network: &Network) -> Outcome<Option<InterfaceName>> {
        let Some(name) = planner.adoptable(network) else {
            return Ok(None);
        };
        let ours = self.kernel.observe_owned(&planner.home(network), self.node)?;
        let is_it = |object: &Object| matches!(object, Object::Link(link) if link.name == name);
        Ok((!ours.iter().any(|(_, object)| is_it(object))).then_some(name))
    }

    /// A bridge of the host as it is, with these of its sysctls; none if there is no such bridge, or it is ours.
    pub(super) fn found(&self, device: &InterfaceName, settings: &[String]) -> Outcome<Option<FoundLink>> {
        let link = Key::Link(Netns::Host, device.clone());
        let found = self.kernel.observe(std::slice::from_ref(&link))?;
        let Some(Object::Link(Link {
            kind: LinkKind::Bridge,
            mtu,
            mac,
            ..
        })) = found.get(&link)
        else {
            return Ok(None);
        };
        let ours =
            |(_, object): &(Mark, Object)| matches!(object, Object::Link(link) if link.name == *device);
        // One of ours is some network's already, whose claim to it refuses the new one.
        if self
            .kernel
            .observe_owned(&Netns::Host, self.node)?
            .iter()
            .any(ours)
        {
            return Ok(None);
        }
        let addresses = self.kernel.observe_addresses(&Netns::Host)?;
        let worn = addresses.into_iter().filter_map(|object| match object {
            Object::Address(on) if on.link == *device => Some(on.address),
            _ => None,
        });
        let keys: Vec<_> = settings
            .iter()
            .map(|name| Key::Sysctl(Netns::Host, name.clone()))
            .collect();
        let settings = self.kernel.observe(&keys)?;
        let settings = settings.objects().filter_map(|object| match object {
            Object::Sysctl(sysctl) => Some((sysctl.name.clone(), sysctl.value.clone())),
            _ => None,
        });
        Ok(Some(FoundLink {
            addresses: worn.collect(),
            mtu: *mtu,
            mac: *mac,
            settings: settings.collect(),
        }))
    }
}

/// Pure: whether what a network has on a link of somebody else's stays when the network goes: of addresses those that
/// were there before it, and all where nobody knows which these are.
pub(super) fn stays(network: &Network, link: &InterfaceName, object: &Object) -> bool {
    let was_there = |address| {
        let found = network.found.as_ref();
        found.is_none_or(|found| found.addresses.contains(address))
    };
    matches!(object, Object::Address(on) if on.link == *link && was_there(&on.address))
}

/// Pure: what brings a link back to what it was. What has neither the network's value nor its own is somebody's choice.
fn as_found(found: &FoundLink, wanted: &KernelState, actual: &KernelState) -> KernelState {
    let back = |object: &Object| match object {
        Object::Sysctl(is) => {
            let was = found.settings.get(&is.name)?;
            let ours = match wanted.get(&object.key()) {
                Some(Object::Sysctl(wanted)) => wanted.value == is.value,
                _ => true,
            };
            let back = Sysctl {
                value: was.clone(),
                ..is.clone()
            };
            (ours && is.value != *was).then_some(Object::Sysctl(back))
        }
        Object::Link(is) => {
            let ours =
                matches!(wanted.get(&object.key()), Some(Object::Link(wanted)) if wanted.mtu == is.mtu);
            let back = Link {
                kind: LinkKind::Existing,
                mtu: found.mtu,
                ..is.clone()
            };
            (ours && found.mtu.is_some() && is.mtu != found.mtu).then_some(Object::Link(back))
        }
        _ => None,
    };
    actual.objects().filter_map(back).collect()
}

/// Pure: the setting that takes IPv6 from a link.
fn off_switch(link: &InterfaceName) -> String {
    format!("net/ipv6/conf/{link}/disable_ipv6")
}
