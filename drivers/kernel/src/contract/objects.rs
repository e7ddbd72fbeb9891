//! Objects that the cases are about, short to write.

use std::{net::IpAddr, path::Path};

use model::{InterfaceName, MacAddress, Vni};

use crate::{
    Netns, Object,
    object::{Address, BridgePort, Fdb, Link, LinkKind, Neighbor, Route, Sysctl, VethPeer, Vxlan},
};

pub(crate) fn name(name: &str) -> InterfaceName {
    InterfaceName::new(name).expect("a valid name")
}

pub(crate) fn mac(last: u8) -> MacAddress {
    MacAddress::new([2, 0x42, 0, 0, 0, last]).expect("a unicast address")
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

pub(crate) fn pinned(path: &Path) -> Netns {
    Netns::Pinned(path.to_owned())
}

pub(crate) fn namespace(path: &Path) -> Object {
    Object::Namespace(path.to_owned())
}

fn link(netns: &Netns, of: &str, kind: LinkKind) -> Link {
    Link {
        netns: netns.clone(),
        name: name(of),
        kind,
        mac: None,
        mtu: None,
        master: None,
        up: true,
    }
}

pub(crate) fn bridge(netns: &Netns, of: &str) -> Link {
    Link {
        mac: Some(mac(1)),
        ..link(netns, of, LinkKind::Bridge)
    }
}

/// A pair whose other end is `eth0`.
pub(crate) fn veth(netns: &Netns, of: &str, into: &Netns) -> Link {
    let peer = VethPeer {
        netns: into.clone(),
        name: name("eth0"),
        mac: Some(mac(2)),
        mtu: Some(1400),
        up: true,
        ipv6: true,
    };
    let kind = LinkKind::Veth {
        peer,
        port: BridgePort::default(),
    };
    Link {
        mtu: Some(1400),
        ..link(netns, of, kind)
    }
}

/// The end that [`veth`] makes.
pub(crate) fn peer(netns: &Netns) -> Link {
    Link {
        mac: Some(mac(2)),
        mtu: Some(1400),
        ..link(netns, "eth0", LinkKind::VethPeer)
    }
}

pub(crate) fn existing(netns: &Netns, of: &str) -> Link {
    link(netns, of, LinkKind::Existing)
}

pub(crate) fn vxlan(netns: &Netns, of: &str, vni: u32) -> Link {
    let vxlan = Vxlan {
        vni: Vni::new(vni).expect("a valid identifier"),
        port: 4789,
        local: None,
        proxy: true,
        learning: false,
        created_in: Netns::Host,
        bridge_port: BridgePort::default(),
    };
    link(netns, of, LinkKind::Vxlan(vxlan))
}

pub(crate) fn port_of(bridge: &str, link: Link) -> Link {
    Link {
        master: Some(name(bridge)),
        ..link
    }
}

pub(crate) fn address(netns: &Netns, link: &str, address: &str) -> Object {
    Object::Address(Address {
        netns: netns.clone(),
        link: name(link),
        address: address.parse().expect("an address with its prefix length"),
    })
}

pub(crate) fn route(netns: &Netns, link: &str, destination: &str, gateway: Option<&str>) -> Object {
    Object::Route(Route {
        netns: netns.clone(),
        destination: destination.parse().expect("a subnet"),
        gateway: gateway.map(ip),
        link: name(link),
        source: None,
    })
}

pub(crate) fn neighbor(netns: &Netns, link: &str, address: &str, last: u8) -> Object {
    Object::Neighbor(Neighbor {
        netns: netns.clone(),
        link: name(link),
        address: ip(address),
        mac: mac(last),
    })
}

pub(crate) fn fdb(netns: &Netns, link: &str, last: u8, vtep: Option<&str>) -> Object {
    Object::Fdb(Fdb {
        netns: netns.clone(),
        link: name(link),
        mac: mac(last),
        vtep: vtep.map(ip),
    })
}

pub(crate) fn sysctl(netns: &Netns, name: &str, value: &str) -> Object {
    Object::Sysctl(Sysctl {
        netns: netns.clone(),
        name: name.to_owned(),
        value: value.to_owned(),
    })
}
