//! Endpoints of other hosts: one neighbour entry for each address and one forwarding entry, all static.
//!
//! The tunnel's end answers ARP and neighbour solicitations itself from these entries (`proxy`) and has no default
//! destination, so nothing is ever flooded to the underlay.

use kernel::{
    Netns, Object,
    object::{Fdb, Neighbor},
};
use model::{Endpoint, MacAddress};

use super::segments::Segment;
use crate::Peer;

/// The Ethernet address of an endpoint: the recorded one, or the one made of its first address.
pub(super) fn mac(endpoint: &Endpoint) -> Option<MacAddress> {
    let derived = || Some(MacAddress::from_ip(endpoint.addresses.iter().next()?.addr()));
    endpoint.addresses.mac.or_else(derived)
}

/// What makes a peer reachable on its segment.
pub(super) fn entries(home: &Netns, segment: &Segment<'_>, peer: &Peer) -> Vec<Object> {
    let Some(mac) = mac(&peer.endpoint) else {
        return Vec::new();
    };
    let addresses = peer.endpoint.addresses.iter().map(|net| net.addr());
    let neighbors = addresses
        .filter(|address| segment.contains(*address))
        .map(|address| {
            Object::Neighbor(Neighbor {
                netns: home.clone(),
                link: segment.tunnel(),
                address,
                mac,
            })
        });
    let forwarding = Object::Fdb(Fdb {
        netns: home.clone(),
        link: segment.tunnel(),
        mac,
        vtep: Some(peer.vtep),
    });
    neighbors.chain([forwarding]).collect()
}
