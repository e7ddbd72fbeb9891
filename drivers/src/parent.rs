//! Networks whose interfaces stand on a link of the host's: what macvlan and ipvlan have in common.
//!
//! The parent is a link that is there, or a tagged sub-interface of one (`eth0.50`), which is made when it is missing and
//! goes with its last network; without a parent the network has a link of its own that leads nowhere, and so is internal.
//! The interfaces go with their parent: see [`driver`] for what happens when it comes back.

pub(crate) mod driver;
#[cfg(test)]
pub(crate) mod segment;
pub(crate) mod tenants;

use std::net::IpAddr;

use kernel::{
    KernelState, Netns, Object,
    object::{Link as KernelLink, LinkKind, Upper, UpperKind},
};
use model::{AddressFamily, Endpoint, InterfaceName, IpNet, Labels, Network, Scope};

use crate::{
    Attachment, Capabilities, Error, Link, Needs, Result, StaticRoute, Target, options::prefix_or_usual,
    planner::Planner,
};

/// The link below.
pub(crate) const PARENT: &str = "parent";

/// What a network's interfaces are and stand on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stack {
    /// The link below, if the user named one.
    pub(crate) parent: Option<InterfaceName>,
    /// What stands on it.
    pub(crate) kind: UpperKind,
}

/// A planner of such networks.
pub(crate) trait Stacked: Planner {
    /// What the options say about it.
    fn stack(&self, options: &Labels) -> Result<Stack>;
    /// Whether the interfaces wear the parent's Ethernet address.
    fn shares_ethernet(&self) -> bool {
        false
    }
}

/// What a driver of such networks can do.
pub(crate) const CAPABILITIES: Capabilities = Capabilities {
    scope: Scope::Local,
    addresses: true,
    single: false,
    gateway_bridge: false,
    several_pools: true,
};

/// The parent option; none for a network of its own.
pub(crate) fn parent(options: &Labels) -> Result<Option<InterfaceName>> {
    let Some(name) = options.get(PARENT).filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    if name == "lo" {
        return Err(Error::Invalid {
            message: "the loopback interface can't be a parent: nothing is behind it".to_owned(),
            hint: Some("name an interface of the host, or none for an internal network".to_owned()),
        });
    }
    let parsed = InterfaceName::new(name.as_str());
    parsed.map(Some).map_err(|error| Error::Invalid {
        message: format!("option {PARENT:?}: {error}"),
        hint: Some("name an interface of the host, such as \"eth0\" or \"eth0.50\"".to_owned()),
    })
}

/// A sub-interface by its name: the link below and the tag.
pub(crate) fn sub_interface(name: &InterfaceName) -> Result<(InterfaceName, u16)> {
    let absent = |hint: String| Error::Invalid {
        message: format!("there is no interface {:?} on this host", name.as_str()),
        hint: Some(hint),
    };
    let example = "name one that is there, or one with a tag to be made, such as \"eth0.50\"".to_owned();
    let Some((base, tag)) = name.as_str().rsplit_once('.') else {
        return Err(absent(example));
    };
    let base = InterfaceName::new(base).map_err(|_| absent(example.clone()))?;
    match tag.parse() {
        Ok(tag @ 1..=4094) => Ok((base, tag)),
        Ok(0 | 4095..) => Err(Error::Invalid {
            message: format!("{:?} can't be made: its tag is not from 1 to 4094", name.as_str()),
            hint: Some(example),
        }),
        Err(_) => Err(absent(example)),
    }
}

/// The sub-interface as it is made.
pub(crate) fn sub_interface_link(name: &InterfaceName, base: &InterfaceName, tag: u16) -> Object {
    let upper = Upper {
        lower: base.clone(),
        lower_in: Netns::Host,
        kind: UpperKind::Vlan(tag),
    };
    Object::Link(link(Netns::Host, name.clone(), LinkKind::Upper(upper)))
}

/// The link of a network that has no parent.
pub(crate) fn nowhere(name: InterfaceName, mtu: Option<u32>) -> Object {
    Object::Link(KernelLink {
        mtu,
        ..link(Netns::Host, name, LinkKind::Dummy)
    })
}

/// The link that a network's interfaces stand on: the parent, or one of its own.
pub(crate) fn lower(parent: Option<&InterfaceName>, prefix: &str, network: &Network) -> InterfaceName {
    parent.cloned().unwrap_or_else(|| named(prefix, network))
}

/// What a driver of such networks needs of the rest of us.
pub(crate) fn needs(parent: Option<&InterfaceName>) -> Needs {
    Needs {
        shared_segment: parent.is_some(),
        ..Needs::default()
    }
}

/// How such networks' interfaces are called in sandboxes.
pub(crate) fn prefix(asked: Result<Option<String>>) -> String {
    prefix_or_usual(asked.ok().flatten())
}

/// What such a network itself has: without a parent, a link that leads nowhere.
pub(crate) fn own_link(
    parent: Option<&InterfaceName>,
    lower: InterfaceName,
    mtu: Option<u32>,
) -> KernelState {
    let link = parent.is_none().then(|| nowhere(lower, mtu));
    link.into_iter().collect()
}

/// A name with the network's id in it.
pub(crate) fn named(prefix: &str, network: &Network) -> InterfaceName {
    InterfaceName::new(format!("{prefix}{}", network.id.short())).expect("three letters and twelve digits")
}

/// An endpoint's interface, made in the sandbox under its final name.
pub(crate) fn interface(
    endpoint: &Endpoint,
    target: &Target,
    lower: InterfaceName,
    kind: UpperKind,
    mtu: Option<u32>,
) -> Result<Object> {
    let Some(place) = target.place() else {
        return Err(Error::Forbidden {
            message: format!(
                "{:?} shares the host's network and can't join another one",
                endpoint.name
            ),
            hint: Some("create the container without the host's network".to_owned()),
        });
    };
    let upper = Upper {
        lower,
        lower_in: Netns::Host,
        kind,
    };
    Ok(Object::Link(KernelLink {
        // All ipvlans of a link wear its own address.
        mac: endpoint
            .addresses
            .mac
            .filter(|_| !matches!(kind, UpperKind::Ipvlan(..))),
        mtu,
        ..link(place, target.interface.clone(), LinkKind::Upper(upper))
    }))
}

/// An interface of the host's on a parent.
pub(crate) fn own_interface(name: InterfaceName, lower: InterfaceName, kind: UpperKind) -> Object {
    let upper = Upper {
        lower,
        lower_in: Netns::Host,
        kind,
    };
    Object::Link(link(Netns::Host, name, LinkKind::Upper(upper)))
}

fn link(netns: Netns, name: InterfaceName, kind: LinkKind) -> KernelLink {
    KernelLink {
        netns,
        name,
        kind,
        mac: None,
        mtu: None,
        master: None,
        up: true,
    }
}

/// What a sandbox gets where the segment has a router: the gateway that the user named, if the network leads anywhere.
pub(crate) fn attachment(network: &Network, endpoint: &Endpoint, leads_out: bool) -> Attachment {
    let gateway = |net: Option<IpNet>| {
        let pool = network.pool_around(net?.addr())?;
        pool.gateway.filter(|_| leads_out)
    };
    Attachment {
        link: Some(Link::InPlace),
        gateway_v4: gateway(endpoint.addresses.ipv4.map(IpNet::V4)),
        gateway_v6: gateway(endpoint.addresses.ipv6.map(IpNet::V6)),
        routes: beside(network, endpoint),
        ..Attachment::default()
    }
}

/// Routes to the network's other subnets, which are on the same segment.
pub(crate) fn beside(network: &Network, endpoint: &Endpoint) -> Vec<StaticRoute> {
    let own: Vec<IpAddr> = endpoint.addresses.iter().map(|net| net.addr()).collect();
    let others = network.pools.iter().filter(|pool| {
        let family = pool.subnet.family();
        let mut same = own
            .iter()
            .filter(|address| AddressFamily::of(**address) == family);
        same.next().is_some_and(|address| !pool.subnet.contains(address))
    });
    others
        .map(|pool| StaticRoute {
            destination: pool.subnet,
            next_hop: None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sub_interface_is_its_link_and_a_tag() {
        let split = |name: &str| sub_interface(&InterfaceName::new(name).expect("a name"));
        let (base, tag) = split("eth0.50").expect("one");
        assert_eq!((base.as_str(), tag), ("eth0", 50));
        let (base, tag) = split("bond0.1.4094").expect("one");
        assert_eq!((base.as_str(), tag), ("bond0.1", 4094), "tags in tags");
        for (name, says) in [
            ("eth9", "no interface \"eth9\""),
            ("eth0.x", "no interface \"eth0.x\""),
            (".5", "no interface"),
            ("eth0.0", "1 to 4094"),
            ("eth0.4095", "1 to 4094"),
            ("eth0.65536", "no interface"),
        ] {
            let error = split(name).expect_err(name).to_string();
            assert!(error.contains(says), "{name}: {error}");
        }
    }

    #[test]
    fn the_loopback_is_no_parent() {
        let options: Labels = [(PARENT.to_owned(), "lo".to_owned())].into();
        assert!(parent(&options).is_err());
        assert_eq!(parent(&Labels::new()).expect("none is fine"), None);
    }
}
