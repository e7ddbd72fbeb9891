//! Networks of one host: a Linux bridge each, and a veth for each endpoint.

mod firewall;
pub(crate) mod links;
mod options;

use std::net::IpAddr;

use kernel::{KernelState, Netns, Object, object::BridgePort, ruleset::Table};
use model::{
    AddressFamily, Endpoint, Exposure, InterfaceName, IpNet, Network, NodeId, Pool, PublishedPorts, Scope,
};

pub use options::{BridgeOptions, GatewayMode};

use crate::{
    Access, Attachment, Capabilities, Draft, Error, Link, Needs, Result, StaticRoute, Target,
    options::prefix_or_usual, planner::Planner,
};
use firewall::{FamilyPolicy, Policies};
use links::Ipv6;

/// What the bridge driver must know of the host.
#[derive(Debug, Clone)]
pub struct BridgeHost {
    /// The node, whose table it is.
    pub node: NodeId,
    /// MTU of networks that don't say; none for the kernel's 1500.
    pub mtu: Option<u32>,
    /// The host has IPv6 at all.
    pub ipv6: bool,
    /// Rules are made. Without, there is no firewall object of ours on the host: nothing is translated, published or
    /// kept apart but by isolated ports of a bridge.
    pub firewall: bool,
    /// Forwarding is switched on.
    pub ip_forward: bool,
}

const FAMILIES: [AddressFamily; 2] = [AddressFamily::V4, AddressFamily::V6];

/// RFC 8200, section 5.
const SMALLEST_IPV6_MTU: u32 = 1280;

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

    fn is_too_small_for_ipv6(&self, options: &BridgeOptions) -> bool {
        self.mtu(options).is_some_and(|mtu| mtu < SMALLEST_IPV6_MTU)
    }

    fn too_small_for_ipv6(&self, options: &BridgeOptions) -> Error {
        let (message, hint) = match (options.mtu, self.host.mtu) {
            (None, Some(uplink)) => (
                format!("the MTU of the host's uplink, {uplink} bytes, is too small for IPv6"),
                format!(
                    "with -o {}={SMALLEST_IPV6_MTU} containers on the network have IPv6 among themselves",
                    crate::options::MTU
                ),
            ),
            _ => (
                "the network's MTU is too small for IPv6".to_owned(),
                format!("{SMALLEST_IPV6_MTU} bytes and more carry it"),
            ),
        };
        Error::Invalid {
            message,
            hint: Some(hint),
        }
    }

    fn ipv6(&self, network: &Network, options: &BridgeOptions) -> Ipv6 {
        if self.is_too_small_for_ipv6(options) {
            return Ipv6::Absent;
        }
        match (network.enable_ipv6, options.mode_v6) {
            (false, _) | (true, GatewayMode::Isolated) => Ipv6::Off,
            (true, _) if self.host.ip_forward => Ipv6::Forwarded,
            (true, _) => Ipv6::On,
        }
    }

    /// Whether IPv6 neighbours that can't reach each other reach the host instead, which forwards what links allow.
    fn answers_v6(&self, network: &Network, options: &BridgeOptions) -> bool {
        self.host.firewall && !options.icc && self.ipv6(network, options) == Ipv6::Forwarded
    }

    /// What leads to an address of an endpoint.
    fn access_to(
        &self,
        network: &Network,
        options: &BridgeOptions,
        container: IpAddr,
        access: &Access,
    ) -> Vec<Object> {
        let family = AddressFamily::of(container);
        let device = links::device(network, options.device.as_ref());
        let open = |ports: &&PublishedPorts| ports.family() == family && ports.exposure == Exposure::Open;
        let ports: Vec<_> = access.ports.iter().filter(open).collect();
        let mut objects = Vec::new();
        match options.mode(family) {
            _ if network.internal => {}
            GatewayMode::Routed => objects.extend(firewall::opened(&self.table, ports, container)),
            mode if mode.translates() => {
                let looped = |ports: &&PublishedPorts| is_local(ports.host_ip);
                objects.extend(ports.iter().any(looped).then(|| links::loopback_answers(&device)));
                objects.extend((!ports.is_empty()).then(|| firewall::own(&self.table, container)));
                let each = ports
                    .into_iter()
                    .flat_map(|ports| firewall::published(&self.table, ports, container));
                objects.extend(each);
            }
            _ => {}
        }
        if !options.icc {
            objects.extend(self.links_to(container, access));
        }
        objects
    }

    fn links_to(&self, container: IpAddr, access: &Access) -> Vec<Object> {
        let family = AddressFamily::of(container);
        let mut sources: Vec<_> = access.links.iter().map(|link| link.from).collect();
        sources.retain(|from| AddressFamily::of(*from) == family);
        sources.sort_unstable();
        sources.dedup();
        let links = sources.into_iter().flat_map(|from| {
            let here = access.links.iter().filter(move |link| link.from == from);
            firewall::links(&self.table, from, container, here.map(|link| link.ports))
        });
        links.collect()
    }
}

/// Whether 127.0.0.1 leads there too.
fn is_local(address: IpAddr) -> bool {
    address.is_ipv4() && (address.is_unspecified() || address.is_loopback())
}

impl Planner for Bridge {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            scope: Scope::Local,
            addresses: true,
            single: false,
            gateway_bridge: false,
            several_pools: true,
        }
    }

    fn check(&self, draft: &Draft<'_>) -> Result<Needs> {
        let options = BridgeOptions::parse(draft.options)?;
        if draft.families.contains(&AddressFamily::V6) && !self.host.ipv6 {
            return Err(Error::Invalid {
                message: "this host has no IPv6".to_owned(),
                hint: Some("create the network without \"--ipv6\"".to_owned()),
            });
        }
        if draft.families.contains(&AddressFamily::V6) && self.is_too_small_for_ipv6(&options) {
            return Err(self.too_small_for_ipv6(&options));
        }
        let isolated = |family: &&AddressFamily| options.mode(**family) == GatewayMode::Isolated;
        // Of a family that it doesn't have as well: as with Docker.
        if let Some(family) = FAMILIES.iter().find(isolated)
            && !draft.internal
        {
            return Err(Error::Invalid {
                message: format!("gateway mode \"isolated\" for {family} is for internal networks"),
                hint: Some("add \"--internal\"".to_owned()),
            });
        }
        let gateway = !draft.families.iter().all(|family| isolated(&family));
        let device = match options.device {
            Some(device) => device.to_string(),
            None => format!("br-{}", draft.id.short()),
        };
        Ok(Needs {
            gateway,
            claims: vec![device],
            ..Needs::default()
        })
    }

    fn interface_prefix(&self, network: &Network) -> String {
        let options = BridgeOptions::parse(&network.options).ok();
        prefix_or_usual(options.and_then(|options| options.interface_prefix))
    }

    fn base(&self) -> KernelState {
        let mut base = KernelState::new();
        if self.host.firewall {
            base.extend(firewall::base(&self.table));
        }
        if self.host.ip_forward {
            base.insert(links::forwarding());
        }
        base
    }

    fn follows(&self, draft: &Draft<'_>) -> Result<Option<InterfaceName>> {
        let options = BridgeOptions::parse(draft.options)?;
        let wears = draft.families.contains(&AddressFamily::V4)
            && options.mode_v4 != GatewayMode::Isolated
            && !options.inhibit_ipv4;
        Ok(options.device.filter(|_| wears))
    }

    fn adopts(&self, draft: &Draft<'_>) -> Result<Option<(InterfaceName, Vec<String>)>> {
        let device = BridgeOptions::parse(draft.options)?.device;
        Ok(device.map(|device| (device.clone(), links::changed_settings(&device))))
    }

    fn adoptable(&self, network: &Network) -> Option<InterfaceName> {
        BridgeOptions::parse(&network.options).ok()?.device
    }

    fn network(&self, network: &Network) -> Result<KernelState> {
        let options = BridgeOptions::parse(&network.options)?;
        let device = links::device(network, options.device.as_ref());
        let worn = network.pools.iter().filter(|pool| is_worn(pool, &options));
        let mut state: KernelState = links::network(&device, self.mtu(&options), worn)
            .into_iter()
            .collect();
        if self.host.ipv6 {
            state.extend(links::ipv6(&device, self.ipv6(network, &options)));
        }
        if self.host.firewall {
            if !options.icc && network.enable_ipv4 {
                state.extend(links::answering(&device));
            }
            if self.answers_v6(network, &options) {
                state.extend(links::answering_v6(&device));
            }
            state.extend(firewall::network(
                &self.table,
                &policies(network, &options, device),
            ));
        }
        Ok(state)
    }

    fn access(&self, network: &Network, endpoint: &Endpoint, access: &Access) -> Result<KernelState> {
        if !self.host.firewall {
            return Ok(KernelState::new());
        }
        let options = BridgeOptions::parse(&network.options)?;
        let addresses = endpoint.addresses.iter().map(|net| net.addr());
        let objects = addresses.flat_map(|container| self.access_to(network, &options, container, access));
        let own = |family| {
            endpoint
                .addresses
                .iter()
                .any(|net| AddressFamily::of(net.addr()) == family)
        };
        let relayed = access
            .ports
            .iter()
            .filter(|ports| !network.internal && (ports.exposure == Exposure::Host || !own(ports.family())))
            .map(|ports| firewall::relayed(&self.table, ports));
        Ok(objects.chain(relayed).collect())
    }

    fn endpoint(&self, network: &Network, endpoint: &Endpoint, target: &Target) -> Result<KernelState> {
        let options = BridgeOptions::parse(&network.options)?;
        let bridge = links::device(network, options.device.as_ref());
        let port = BridgePort {
            // Where `br_netfilter` is loaded, what a container sends to its own published port is bridged back to it.
            hairpin: true,
            isolated: !options.icc,
            ..BridgePort::default()
        };
        let answered = endpoint.addresses.ipv6.map(|net| IpAddr::V6(net.addr()));
        let answered = answered
            .into_iter()
            .filter(|_| self.answers_v6(network, &options));
        let mut state: KernelState = links::answers(&bridge, answered).collect();
        state.insert(links::veth(
            Netns::Host,
            endpoint,
            target,
            bridge,
            self.mtu(&options),
            port,
        )?);
        Ok(state)
    }

    fn filters_ports(&self, network: &Network) -> bool {
        let icc = BridgeOptions::parse(&network.options).map_or(true, |options| options.icc);
        self.host.firewall && !icc
    }

    fn host_link(&self, endpoint: &Endpoint) -> Option<InterfaceName> {
        Some(links::veth_name(endpoint))
    }

    fn attachment(&self, network: &Network, endpoint: &Endpoint) -> Attachment {
        let gateway = |net: Option<IpNet>| {
            let address = net?.addr();
            let mut pools = network.pools_of(AddressFamily::of(address));
            let pool = pools.find(|pool| pool.subnet.contains(&address))?;
            let elsewhere = pool.aux_addresses.get(gateway_elsewhere(pool.subnet.family()));
            elsewhere.copied().or(pool.gateway).filter(|_| !network.internal)
        };
        Attachment {
            link: Some(Link::InPlace),
            gateway_v4: gateway(endpoint.addresses.ipv4.map(IpNet::V4)),
            gateway_v6: gateway(endpoint.addresses.ipv6.map(IpNet::V6)),
            routes: beside(network, endpoint),
            ..Attachment::default()
        }
    }
}

/// Routes to the network's other subnets, which are on the same segment. By way of the gateway the host would redirect
/// the container there all the same, and it not know that the neighbour is one.
fn beside(network: &Network, endpoint: &Endpoint) -> Vec<StaticRoute> {
    let own: Vec<_> = endpoint.addresses.iter().collect();
    let mut subnets: Vec<_> = network.pools.iter().map(|pool| pool.subnet).collect();
    subnets.retain(|subnet| {
        let same = |net: &&IpNet| AddressFamily::of(net.addr()) == subnet.family();
        own.iter()
            .find(same)
            .is_some_and(|net| !subnet.contains(&net.addr()))
    });
    subnets
        .into_iter()
        .map(|destination| StaticRoute {
            destination,
            next_hop: None,
        })
        .collect()
}

fn families(network: &Network) -> impl Iterator<Item = AddressFamily> {
    let all = [
        (AddressFamily::V4, network.enable_ipv4),
        (AddressFamily::V6, network.enable_ipv6),
    ];
    all.into_iter()
        .filter(|(_, enabled)| *enabled)
        .map(|(family, _)| family)
}

/// The auxiliary address that is the containers' gateway instead of the bridge's own (`--default-gateway`).
const fn gateway_elsewhere(family: AddressFamily) -> &'static str {
    match family {
        AddressFamily::V4 => "DefaultGatewayIPv4",
        AddressFamily::V6 => "DefaultGatewayIPv6",
    }
}

/// Whether the bridge wears the gateway's address.
fn is_worn(pool: &Pool, options: &BridgeOptions) -> bool {
    let family = pool.subnet.family();
    let elsewhere = family == AddressFamily::V4 && options.inhibit_ipv4;
    options.mode(family) != GatewayMode::Isolated && !elsewhere
}

fn policies(network: &Network, options: &BridgeOptions, device: InterfaceName) -> Policies {
    let families = families(network).map(|family| FamilyPolicy {
        family,
        mode: options.mode(family),
        masquerade: options.masquerade,
        source: options.source(family),
    });
    Policies {
        device,
        icc: options.icc,
        internal: network.internal,
        trusted: options.trusted.clone(),
        families: families.collect(),
    }
}

#[cfg(test)]
mod features;
#[cfg(test)]
mod packets;
#[cfg(test)]
mod tests;
