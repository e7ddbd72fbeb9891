//! Links that were there before the network that uses them: they are the user's, with all that is on them.

use kernel::{KernelState, Key, Mark, Netns, Object, object::LinkKind};
use model::{InterfaceName, IpNet, Network};

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

    /// These settings of a link that a network leaves behind, as new links have them; but whether it has IPv6 at all
    /// stays.
    pub(super) fn given_back(&self, link: &InterfaceName, settings: &[Key]) -> Outcome<KernelState> {
        let off = off_switch(link);
        let is_its = |name: &str| name != off && name.split('/').nth(3) == Some(link.as_str());
        let its = settings
            .iter()
            .filter(|key| matches!(key, Key::Sysctl(_, name) if is_its(name)));
        // The link may be gone meanwhile.
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

    /// The addresses of a bridge of the host; none if there is no such bridge.
    pub(super) fn worn(&self, device: &InterfaceName) -> Outcome<Vec<IpNet>> {
        let found = self.kernel.observe(&[Key::Link(Netns::Host, device.clone())])?;
        let is_bridge =
            |object: &Object| matches!(object, Object::Link(link) if link.kind == LinkKind::Bridge);
        let ours =
            |(_, object): &(Mark, Object)| matches!(object, Object::Link(link) if link.name == *device);
        // One of ours is some network's already, whose claim to it refuses the new one.
        if !found.objects().any(is_bridge)
            || self
                .kernel
                .observe_owned(&Netns::Host, self.node)?
                .iter()
                .any(ours)
        {
            return Ok(Vec::new());
        }
        let addresses = self.kernel.observe_addresses(&Netns::Host)?;
        let worn = addresses.into_iter().filter_map(|object| match object {
            Object::Address(on) if on.link == *device => Some(on.address),
            _ => None,
        });
        Ok(worn.collect())
    }
}

/// Pure: the setting that takes IPv6 from a link.
fn off_switch(link: &InterfaceName) -> String {
    format!("net/ipv6/conf/{link}/disable_ipv6")
}
