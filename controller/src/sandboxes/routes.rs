//! Pure: a sandbox's routes. What drivers want, what users want of networks and connections (`cnm.routes`), and the
//! default routes.
//!
//! A namespace has one route to a destination. So what a driver wants comes first, then a connection's own route, then
//! its network's, and of several connections the one that would be the default gateway. A user's route is left out where
//! it would take the place of the subnet that an interface is in, where its next hop is the sandbox itself (the router
//! on a network whose routes lead to it), and where the interface has no address of its family.

use std::{collections::BTreeSet, net::IpAddr};

use kernel::{Netns, Object, object::Route};
use model::{AddressFamily, InterfaceName, StaticRoute, Subnet};

use super::{desired::Joined, gateway};

/// All of them.
pub(super) fn all(joined: &[Joined<'_>], netns: &Netns) -> Vec<Object> {
    let drivers = joined.iter().filter_map(|one| {
        let interface = one.endpoint.interface.as_ref()?;
        let routes = one.attachment.routes.iter();
        Some(routes.map(|wanted| route(netns, interface, wanted.destination, wanted.next_hop)))
    });
    let mut all: Vec<_> = drivers.flatten().collect();
    let mut taken: BTreeSet<Subnet> = all.iter().filter_map(destination).collect();
    let worn = joined.iter().flat_map(|one| one.endpoint.addresses.iter());
    taken.extend(worn.map(Subnet::around));
    let candidates = candidates(joined);
    for candidate in gateway::ordered(&candidates) {
        let Some(one) = joined.iter().find(|one| one.endpoint.id == candidate.endpoint) else {
            continue;
        };
        let Some(interface) = &one.endpoint.interface else {
            continue;
        };
        for wanted in users(one).filter(|wanted| is_possible(wanted, one, joined)) {
            if taken.insert(wanted.destination) {
                all.push(route(netns, interface, wanted.destination, wanted.next_hop));
            }
        }
    }
    all.extend(defaults(joined, &candidates, netns));
    all
}

/// A connection's own, then its network's.
fn users(one: &Joined<'_>) -> impl Iterator<Item = StaticRoute> {
    let own = StaticRoute::understood(&one.endpoint.options);
    own.into_iter()
        .chain(StaticRoute::understood(&one.network.options))
}

fn is_possible(wanted: &StaticRoute, one: &Joined<'_>, joined: &[Joined<'_>]) -> bool {
    let family = wanted.destination.family();
    let mut own = one.endpoint.addresses.iter();
    let is_here = |hop: IpAddr| {
        let mut all = joined.iter().flat_map(|one| one.endpoint.addresses.iter());
        all.any(|net| net.addr() == hop)
    };
    own.any(|net| AddressFamily::of(net.addr()) == family) && !wanted.next_hop.is_some_and(is_here)
}

fn destination(object: &Object) -> Option<Subnet> {
    match object {
        Object::Route(route) => Some(route.destination),
        _ => None,
    }
}

fn route(netns: &Netns, link: &InterfaceName, destination: Subnet, gateway: Option<IpAddr>) -> Object {
    Object::Route(Route {
        netns: netns.clone(),
        destination,
        gateway,
        link: link.clone(),
        source: None,
    })
}

fn candidates(joined: &[Joined<'_>]) -> Vec<gateway::Candidate> {
    let with_interface = joined.iter().filter(|one| one.endpoint.interface.is_some());
    with_interface.map(candidate).collect()
}

fn defaults(joined: &[Joined<'_>], candidates: &[gateway::Candidate], netns: &Netns) -> Vec<Object> {
    let choice = gateway::choose(candidates);
    let chosen = [(AddressFamily::V4, choice.v4), (AddressFamily::V6, choice.v6)];
    let routes = chosen.into_iter().filter_map(|(family, chosen)| {
        let (endpoint, gateway) = chosen?;
        let one = joined.iter().find(|one| one.endpoint.id == endpoint)?;
        let link = one.endpoint.interface.as_ref()?;
        let hop = (!gateway.is_unspecified()).then_some(gateway);
        Some(route(netns, link, everything(family), hop))
    });
    routes.collect()
}

fn candidate(one: &Joined<'_>) -> gateway::Candidate {
    gateway::Candidate {
        endpoint: one.endpoint.id,
        priority: one.endpoint.gateway_priority,
        gateway_bridge: one.gateway_bridge,
        internal: one.network.internal,
        network: one.network.name.to_string(),
        v4: one.attachment.gateway_v4,
        v6: one.attachment.gateway_v6,
    }
}

fn everything(family: AddressFamily) -> Subnet {
    let text = match family {
        AddressFamily::V4 => "0.0.0.0/0",
        AddressFamily::V6 => "::/0",
    };
    text.parse().expect("a literal without host bits")
}
