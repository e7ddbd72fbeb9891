//! What a built-in driver decides: a pure function from records to kernel objects.

use std::fmt;

use kernel::{KernelState, Netns};
use model::{Endpoint, InterfaceName, Network};

use crate::{
    Access, Attachment, Capabilities, Draft, Needs, NetworkView, Peer, Result, Target,
    options::prefix_or_usual,
};

/// Decides what a driver's networks are made of. Pure: records in, objects out, each method only its own.
pub trait Planner: Send + Sync + fmt::Debug + 'static {
    /// What it can do at all.
    fn capabilities(&self) -> Capabilities;
    /// Is this network valid, and what must be allocated for it?
    fn check(&self, draft: &Draft<'_>) -> Result<Needs>;
    /// Prefix of interface names inside a sandbox.
    fn interface_prefix(&self, _network: &Network) -> String {
        prefix_or_usual(None)
    }
    /// What all of its networks share on the host.
    fn base(&self) -> KernelState {
        KernelState::new()
    }
    /// The namespace that holds the network's objects.
    fn home(&self, _network: &Network) -> Netns {
        Netns::Host
    }
    /// A link of the network in its home that may have been there before it, because the user named it.
    fn adoptable(&self, _network: &Network) -> Option<InterfaceName> {
        None
    }
    /// A device that the network is to have and that decides its addresses, should it be there already and wear some.
    fn follows(&self, _draft: &Draft<'_>) -> Result<Option<InterfaceName>> {
        Ok(None)
    }
    /// A link that the network is to have and that may be somebody else's by now, with those of its sysctls that the
    /// network may change.
    fn adopts(&self, _draft: &Draft<'_>) -> Result<Option<(InterfaceName, Vec<String>)>> {
        Ok(None)
    }
    /// The network's own objects.
    fn network(&self, network: &Network) -> Result<KernelState>;
    /// A local endpoint's objects.
    fn endpoint(&self, network: &Network, endpoint: &Endpoint, target: &Target) -> Result<KernelState>;
    /// Whether the rules of the base keep apart what isolated ports of its bridge would, packet by packet.
    fn filters_ports(&self, _network: &Network) -> bool {
        false
    }
    /// What leads to a local endpoint that would not without it.
    fn access(&self, _network: &Network, _endpoint: &Endpoint, _access: &Access) -> Result<KernelState> {
        Ok(KernelState::new())
    }
    /// What makes an endpoint of another host reachable.
    fn peer(&self, _network: &Network, _peer: &Peer) -> Result<KernelState> {
        Ok(KernelState::new())
    }
    /// The end on the host of a local endpoint's interface.
    fn host_link(&self, _endpoint: &Endpoint) -> Option<InterfaceName> {
        None
    }
    /// What the sandbox gets.
    fn attachment(&self, network: &Network, endpoint: &Endpoint) -> Attachment;
}

/// Everything that a network is on this host: the sum of its parts.
pub fn desired(planner: &dyn Planner, view: &NetworkView) -> Result<KernelState> {
    let mut state = planner.network(&view.network)?;
    for local in &view.local {
        merge(
            &mut state,
            &planner.endpoint(&view.network, &local.endpoint, &local.target)?,
        );
        merge(
            &mut state,
            &planner.access(&view.network, &local.endpoint, &local.access)?,
        );
    }
    merge(&mut state, &peers(planner, &view.network, &view.peers)?);
    Ok(state)
}

/// What makes these endpoints of other hosts reachable.
pub(crate) fn peers(planner: &dyn Planner, network: &Network, peers: &[Peer]) -> Result<KernelState> {
    let mut state = KernelState::new();
    for peer in peers {
        merge(&mut state, &planner.peer(network, peer)?);
    }
    Ok(state)
}

fn merge(state: &mut KernelState, more: &KernelState) {
    state.extend(more.objects().cloned());
}
