//! Networks on a segment of the host's: each container has an interface with an Ethernet address of its own there.
//!
//! The kernel keeps a macvlan and the link below it apart, so the host doesn't reach its own containers. Where it shall,
//! it gets a macvlan of its own with an address that the network keeps back, and a route by it to each container.

mod options;

use kernel::{
    KernelState, Netns, Object,
    object::{Address, MacvlanMode, Route, UpperKind},
};
use model::{AddressFamily, Endpoint, InterfaceName, IpNet, Labels, Network, Subnet};

pub use options::MacvlanOptions;

use crate::{
    Attachment, Capabilities, Draft, Error, Needs, Result, Target,
    parent::{self, Stack, Stacked},
    planner::Planner,
};

/// The auxiliary addresses that are the host's own on its segment.
const HOST: [&str; 2] = ["host", "host6"];

/// Plans macvlan networks.
#[derive(Debug, Clone, Default)]
pub struct Macvlan;

impl Macvlan {
    fn lower(network: &Network, options: &MacvlanOptions) -> InterfaceName {
        parent::lower(options.parent.as_ref(), "dm-", network)
    }

    fn kind(options: &MacvlanOptions) -> UpperKind {
        UpperKind::Macvlan(options.mode)
    }
}

/// The host's interface on the segment.
fn host_interface(network: &Network) -> InterfaceName {
    parent::named("mh-", network)
}

/// The host's addresses on the segment, each alone: what is beside them is reached as before.
fn host_addresses(network: &Network) -> Vec<IpNet> {
    let all = network.pools.iter().flat_map(|pool| {
        let kept = HOST.iter().filter_map(|key| pool.aux_addresses.get(*key));
        kept.filter(|address| pool.subnet.contains(&**address))
    });
    all.map(|address| IpNet::from(*address)).collect()
}

impl Stacked for Macvlan {
    fn stack(&self, options: &Labels) -> Result<Stack> {
        let options = MacvlanOptions::parse(options)?;
        Ok(Stack {
            kind: Self::kind(&options),
            parent: options.parent,
        })
    }
}

impl Planner for Macvlan {
    fn capabilities(&self) -> Capabilities {
        parent::CAPABILITIES
    }

    fn check(&self, draft: &Draft<'_>) -> Result<Needs> {
        let options = MacvlanOptions::parse(draft.options)?;
        if options.host_access && options.mode != MacvlanMode::Bridge {
            return Err(Error::Invalid {
                message: "the host reaches containers in macvlan mode \"bridge\" only".to_owned(),
                hint: Some("leave out \"cnm.host_access\" or \"macvlan_mode\"".to_owned()),
            });
        }
        Ok(parent::needs(options.parent.as_ref()))
    }

    fn interface_prefix(&self, network: &Network) -> String {
        parent::prefix(MacvlanOptions::parse(&network.options).map(|options| options.interface_prefix))
    }

    fn network(&self, network: &Network) -> Result<KernelState> {
        let options = MacvlanOptions::parse(&network.options)?;
        let lower = Self::lower(network, &options);
        let mut state = parent::own_link(options.parent.as_ref(), lower.clone(), options.mtu);
        if options.host_access {
            let own = host_addresses(network);
            if own.is_empty() {
                return Err(Error::Invalid {
                    message: "the host needs an address on the segment".to_owned(),
                    hint: Some("add \"--aux-address host=ADDRESS\" (\"host6=\" for IPv6)".to_owned()),
                });
            }
            let name = host_interface(network);
            state.insert(parent::own_interface(
                name.clone(),
                lower,
                UpperKind::Macvlan(MacvlanMode::Bridge),
            ));
            state.extend(own.into_iter().map(|address| {
                Object::Address(Address {
                    netns: Netns::Host,
                    link: name.clone(),
                    address,
                })
            }));
        }
        Ok(state)
    }

    fn endpoint(&self, network: &Network, endpoint: &Endpoint, target: &Target) -> Result<KernelState> {
        let options = MacvlanOptions::parse(&network.options)?;
        let lower = Self::lower(network, &options);
        let interface = parent::interface(endpoint, target, lower, Self::kind(&options), options.mtu)?;
        let mut state = KernelState::from_iter([interface]);
        if options.host_access {
            let own = host_addresses(network);
            state.extend(endpoint.addresses.iter().filter_map(|net| {
                let family = AddressFamily::of(net.addr());
                let source = own.iter().find(|own| AddressFamily::of(own.addr()) == family)?;
                Some(Object::Route(Route {
                    netns: Netns::Host,
                    destination: Subnet::around(net.addr().into()),
                    gateway: None,
                    link: host_interface(network),
                    source: Some(source.addr()),
                }))
            }));
        }
        Ok(state)
    }

    fn attachment(&self, network: &Network, endpoint: &Endpoint) -> Attachment {
        let options = MacvlanOptions::parse(&network.options).ok();
        let leads_out = options.is_some_and(|options| options.parent.is_some()) && !network.internal;
        parent::attachment(network, endpoint, leads_out)
    }
}

#[cfg(test)]
mod packets;
#[cfg(test)]
mod tests;
