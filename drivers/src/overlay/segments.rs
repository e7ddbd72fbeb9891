//! An overlay network's segments: what is one Ethernet, with one VNI, one bridge and one tunnel end on each host.
//!
//! Each IPv4 subnet is a segment. An IPv6 subnet shares the segment of the IPv4 subnet in the same place of its list, so
//! that an endpoint with both has one interface; without IPv4 each IPv6 subnet is a segment of its own.

use std::net::IpAddr;

use model::{AddressFamily, Endpoint, InterfaceName, Network, Pool, Vni};

/// One Ethernet of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment<'a> {
    /// Its place, from 0.
    pub(super) index: usize,
    /// Its network identifier.
    pub(super) vni: Vni,
    /// Its subnets, one of each family at most.
    pub(super) pools: Vec<&'a Pool>,
}

impl<'a> Segment<'a> {
    /// The segments of a network. A pool without a network identifier, which no record has, has none.
    pub(super) fn all(network: &'a Network) -> Vec<Self> {
        let of_family = |family| {
            network
                .pools
                .iter()
                .zip(&network.vnis)
                .filter(move |(pool, _)| pool.subnet.family() == family)
        };
        let v4: Vec<_> = of_family(AddressFamily::V4).collect();
        let v6: Vec<_> = of_family(AddressFamily::V6).collect();
        let count = v4.len().max(v6.len());
        (0..count)
            .filter_map(|index| {
                let (v4, v6) = (v4.get(index), v6.get(index));
                let (_, vni) = v4.or(v6)?;
                Some(Self {
                    index,
                    vni: **vni,
                    pools: v4.into_iter().chain(v6).map(|(pool, _)| *pool).collect(),
                })
            })
            .collect()
    }

    /// The segment that holds this address.
    pub(super) fn around(network: &'a Network, address: IpAddr) -> Option<Self> {
        let holds = |segment: &Self| segment.pools.iter().any(|pool| pool.subnet.contains(&address));
        Self::all(network).into_iter().find(holds)
    }

    /// The segment that an endpoint is on: its first address', IPv4 before IPv6.
    pub(super) fn of(network: &'a Network, endpoint: &Endpoint) -> Option<Self> {
        Self::around(network, endpoint.addresses.iter().next()?.addr())
    }

    /// Whether one of its subnets holds this address.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        self.pools.iter().any(|pool| pool.subnet.contains(&address))
    }

    /// The bridge, in the network's namespace.
    pub(super) fn bridge(&self) -> InterfaceName {
        InterfaceName::numbered("br", self.index).expect("a host has no billions of subnets")
    }

    /// The tunnel's end, in the network's namespace. Made of the VNI, so that it is told from others' on the host.
    pub(super) fn tunnel(&self) -> InterfaceName {
        let name = InterfaceName::new(format!("vx-{:06x}", self.vni.get()));
        name.expect("nine bytes of letters, digits and a dash")
    }
}
