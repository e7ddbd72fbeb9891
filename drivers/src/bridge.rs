//! Networks of one host: a Linux bridge each, and a veth for each endpoint.

mod firewall;
pub(crate) mod links;
mod options;

use kernel::{KernelState, Netns, object::BridgePort, ruleset::Table};
use model::{AddressFamily, Endpoint, Network, NodeId, Scope};

pub use options::BridgeOptions;

use crate::{Attachment, Capabilities, Draft, Error, Link, Needs, Result, Target, planner::Planner};
use firewall::Policies;

/// What the bridge driver must know of the host.
#[derive(Debug, Clone)]
pub struct BridgeHost {
    /// The node, whose table it is.
    pub node: NodeId,
    /// MTU of networks that don't say; none for the kernel's 1500.
    pub mtu: Option<u32>,
    /// The host has IPv6 at all.
    pub ipv6: bool,
}

/// Plans bridge networks.
#[derive(Debug, Clone)]
pub struct Bridge {
    host: BridgeHost,
    table: Table,
}

impl Bridge {
    /// A planner for this host.
    pub fn new(host: BridgeHost) -> Self {
        let table = firewall::table(host.node);
        Self { host, table }
    }

    fn mtu(&self, options: &BridgeOptions) -> Option<u32> {
        options.mtu.or(self.host.mtu)
    }
}

impl Planner for Bridge {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            scope: Scope::Local,
            addresses: true,
            single: false,
            gateway_bridge: false,
            several_pools: false,
        }
    }

    fn check(&self, draft: &Draft<'_>) -> Result<Needs> {
        let options = BridgeOptions::parse(draft.options)?;
        one_subnet_each(draft)?;
        if draft.families.contains(&AddressFamily::V6) && !self.host.ipv6 {
            return Err(Error::Invalid {
                message: "this host has no IPv6".to_owned(),
                hint: Some("create the network without \"--ipv6\"".to_owned()),
            });
        }
        let device = match options.device {
            Some(device) => device.to_string(),
            None => format!("br-{}", draft.id.short()),
        };
        Ok(Needs {
            gateway: true,
            claims: vec![device],
            ..Needs::default()
        })
    }

    fn interface_prefix(&self, network: &Network) -> String {
        let options = BridgeOptions::parse(&network.options).ok();
        options
            .and_then(|options| options.interface_prefix)
            .unwrap_or_else(|| "eth".to_owned())
    }

    fn base(&self) -> KernelState {
        let mut base: KernelState = firewall::base(&self.table).into_iter().collect();
        base.insert(links::forwarding());
        base
    }

    fn network(&self, network: &Network) -> Result<KernelState> {
        let options = BridgeOptions::parse(&network.options)?;
        let device = links::device(network, options.device.as_ref());
        let mut state: KernelState = links::network(network, &device, self.mtu(&options))
            .into_iter()
            .collect();
        if self.host.ipv6 {
            state.extend(links::ipv6(network, &device));
        }
        let policies = Policies {
            device,
            icc: options.icc,
            internal: network.internal,
            masquerade: options.masquerade,
        };
        state.extend(firewall::network(&self.table, &policies));
        Ok(state)
    }

    fn endpoint(&self, network: &Network, endpoint: &Endpoint, target: &Target) -> Result<KernelState> {
        let options = BridgeOptions::parse(&network.options)?;
        let bridge = links::device(network, options.device.as_ref());
        let port = BridgePort {
            isolated: !options.icc,
            ..BridgePort::default()
        };
        let veth = links::veth(Netns::Host, endpoint, target, bridge, self.mtu(&options), port)?;
        Ok(KernelState::from_iter([veth]))
    }

    fn attachment(&self, network: &Network, endpoint: &Endpoint) -> Attachment {
        let gateway = |family, wanted: bool| {
            let pool = network.pools_of(family).next()?;
            pool.gateway.filter(|_| wanted && !network.internal)
        };
        Attachment {
            link: Some(Link::InPlace),
            gateway_v4: gateway(AddressFamily::V4, endpoint.addresses.ipv4.is_some()),
            gateway_v6: gateway(AddressFamily::V6, endpoint.addresses.ipv6.is_some()),
            routes: Vec::new(),
        }
    }
}

fn one_subnet_each(draft: &Draft<'_>) -> Result<()> {
    let count = |family| {
        draft
            .subnets
            .iter()
            .filter(|subnet| subnet.family() == family)
            .count()
    };
    match [AddressFamily::V4, AddressFamily::V6]
        .into_iter()
        .find(|family| count(*family) > 1)
    {
        None => Ok(()),
        Some(family) => Err(Error::Forbidden {
            message: format!("a bridge network has one {family} subnet, not several"),
            hint: Some("create a network for each, or one with \"-d overlay\"".to_owned()),
        }),
    }
}

#[cfg(test)]
mod packets;
#[cfg(test)]
mod tests;
