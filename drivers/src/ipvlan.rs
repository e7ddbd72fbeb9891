//! Networks behind an interface of the host's: each container has IP addresses of its own there, and all have its Ethernet
//! address. For segments that allow one such address per port, and, in modes l3 and l3s, for hosts that route.

mod options;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use kernel::{
    KernelState,
    object::{IpvlanMode, UpperKind},
};
use model::{Endpoint, InterfaceName, Labels, Network};

pub use options::IpvlanOptions;

use crate::{
    Attachment, Capabilities, Draft, Link, Needs, Result, Target,
    parent::{self, Stack, Stacked},
    planner::Planner,
};

/// Plans ipvlan networks.
#[derive(Debug, Clone, Default)]
pub struct Ipvlan;

impl Ipvlan {
    fn lower(network: &Network, options: &IpvlanOptions) -> InterfaceName {
        parent::lower(options.parent.as_ref(), "di-", network)
    }

    fn kind(options: &IpvlanOptions) -> UpperKind {
        UpperKind::Ipvlan(options.mode, options.isolation)
    }
}

impl Stacked for Ipvlan {
    fn stack(&self, options: &Labels) -> Result<Stack> {
        let options = IpvlanOptions::parse(options)?;
        Ok(Stack {
            kind: Self::kind(&options),
            parent: options.parent,
        })
    }

    fn shares_ethernet(&self) -> bool {
        true
    }
}

impl Planner for Ipvlan {
    fn capabilities(&self) -> Capabilities {
        parent::CAPABILITIES
    }

    fn check(&self, draft: &Draft<'_>) -> Result<Needs> {
        let options = IpvlanOptions::parse(draft.options)?;
        Ok(parent::needs(options.parent.as_ref()))
    }

    fn interface_prefix(&self, network: &Network) -> String {
        parent::prefix(IpvlanOptions::parse(&network.options).map(|options| options.interface_prefix))
    }

    fn network(&self, network: &Network) -> Result<KernelState> {
        let options = IpvlanOptions::parse(&network.options)?;
        let lower = Self::lower(network, &options);
        Ok(parent::own_link(options.parent.as_ref(), lower, options.mtu))
    }

    fn endpoint(&self, network: &Network, endpoint: &Endpoint, target: &Target) -> Result<KernelState> {
        let options = IpvlanOptions::parse(&network.options)?;
        let lower = Self::lower(network, &options);
        let interface = parent::interface(endpoint, target, lower, Self::kind(&options), options.mtu)?;
        Ok(KernelState::from_iter([interface]))
    }

    /// On layer 3 nobody is asked for an Ethernet address: everything is on link, and the host routes.
    fn attachment(&self, network: &Network, endpoint: &Endpoint) -> Attachment {
        let Ok(options) = IpvlanOptions::parse(&network.options) else {
            return Attachment::default();
        };
        let leads_out = options.parent.is_some() && !network.internal;
        if options.mode == IpvlanMode::L2 {
            return parent::attachment(network, endpoint, leads_out);
        }
        let on_link = |has: bool, any: IpAddr| (has && leads_out).then_some(any);
        Attachment {
            link: Some(Link::InPlace),
            gateway_v4: on_link(endpoint.addresses.ipv4.is_some(), Ipv4Addr::UNSPECIFIED.into()),
            gateway_v6: on_link(endpoint.addresses.ipv6.is_some(), Ipv6Addr::UNSPECIFIED.into()),
            routes: parent::beside(network, endpoint),
            ..Attachment::default()
        }
    }
}

#[cfg(all(test, feature = "vm"))]
mod packets;
#[cfg(test)]
mod tests;
