//! The built-in drivers by name.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, sync::Arc};

use kernel::{Kernel, Key, Netns, Object};
use model::{NodeId, Subnet};

use crate::{
    Catalog, Driver,
    bridge::{Bridge, BridgeHost},
    host::Host,
    ipvlan::Ipvlan,
    macvlan::Macvlan,
    null::Null,
    overlay::{Overlay, OverlayHost},
    parent::driver::{OnParent, Parents},
    planned::Planned,
};

/// The UDP port of VXLAN (RFC 7348, section 5).
pub const VXLAN_PORT: u16 = 4789;

/// What drivers must know of the host.
#[derive(Debug, Clone)]
pub struct HostSettings {
    /// This host's node.
    pub node: NodeId,
    /// The underlay address that other hosts send to.
    pub address: IpAddr,
    /// UDP port of tunnels, the same on all hosts.
    pub vxlan_port: u16,
    /// Folder of the daemon's running state; overlay networks' namespaces are pinned below it.
    pub exec_root: PathBuf,
    /// Firewall rules are made on the host (`--iptables`).
    pub firewall: bool,
    /// The host's forwarding is switched on (`--ip-forward`).
    pub ip_forward: bool,
}

/// The drivers that need no plugin.
#[derive(Debug)]
pub struct BuiltIn {
    drivers: BTreeMap<&'static str, Arc<dyn Driver>>,
}

impl BuiltIn {
    /// The drivers, acting on this kernel. Looks at the host once, for its MTUs and whether it has IPv6.
    pub fn new(settings: &HostSettings, kernel: &Arc<dyn Kernel>) -> kernel::Result<Self> {
        let ipv6 = has_ipv6(&**kernel)?;
        let bridge = Bridge::new(BridgeHost {
            node: settings.node,
            mtu: uplink_mtu(&**kernel)?,
            ipv6,
            firewall: settings.firewall,
            ip_forward: settings.ip_forward,
        });
        let overlay = Overlay::new(OverlayHost {
            address: settings.address,
            port: settings.vxlan_port,
            underlay_mtu: underlay_mtu(&**kernel, settings.address)?,
            exec_root: settings.exec_root.clone(),
            ipv6,
        });
        let node = settings.node;
        let parents = Arc::<Parents>::default();
        let drivers: [(&str, Arc<dyn Driver>); 6] = [
            ("null", Arc::new(Null)),
            ("host", Arc::new(Host)),
            ("bridge", Arc::new(Planned::new(bridge, Arc::clone(kernel), node))),
            (
                "macvlan",
                Arc::new(OnParent::new(Macvlan, kernel, node, &parents)),
            ),
            ("ipvlan", Arc::new(OnParent::new(Ipvlan, kernel, node, &parents))),
            (
                "overlay",
                Arc::new(Planned::new(overlay, Arc::clone(kernel), node)),
            ),
        ];
        Ok(Self {
            drivers: drivers.into(),
        })
    }
}

impl Catalog for BuiltIn {
    fn driver(&self, name: &str) -> Option<Arc<dyn Driver>> {
        self.drivers.get(name).cloned()
    }

    fn names(&self) -> Vec<String> {
        self.drivers.keys().map(ToString::to_string).collect()
    }
}

/// The MTU of the link with the underlay's address. Of the loopback, where one host has no underlay, it would tell
/// nothing about the packets that containers send elsewhere.
fn underlay_mtu(kernel: &dyn Kernel, address: IpAddr) -> kernel::Result<Option<u32>> {
    if address.is_loopback() {
        return Ok(None);
    }
    kernel.underlay_mtu(address)
}

/// The MTU of the link that the host's default route leaves by: that of IPv4, or on a host without one that of IPv6.
fn uplink_mtu(kernel: &dyn Kernel) -> kernel::Result<Option<u32>> {
    for everywhere in ["0.0.0.0/0", "::/0"] {
        let everywhere: Subnet = everywhere.parse().expect("a subnet without host bits");
        let routes = kernel.observe(&[Key::Route(Netns::Host, everywhere)])?;
        let Some(Object::Route(route)) = routes.objects().next() else {
            continue;
        };
        let links = kernel.observe(&[Key::Link(Netns::Host, route.link.clone())])?;
        if let Some(Object::Link(link)) = links.objects().next() {
            return Ok(link.mtu);
        }
    }
    Ok(None)
}

fn has_ipv6(kernel: &dyn Kernel) -> kernel::Result<bool> {
    let sysctl = Key::Sysctl(Netns::Host, "net/ipv6/conf/all/forwarding".to_owned());
    Ok(!kernel.observe(&[sysctl])?.is_empty())
}

#[cfg(test)]
mod tests {
    use kernel::{
        FakeKernel,
        object::{Link, LinkKind, Route},
    };
    use model::InterfaceName;

    use super::*;

    fn uplink(kernel: &FakeKernel, name: &str, mtu: u32, everywhere: &str) {
        let link = InterfaceName::new(name).expect("a name");
        kernel.put(Object::Link(Link {
            netns: Netns::Host,
            name: link.clone(),
            kind: LinkKind::Existing,
            mac: None,
            mtu: Some(mtu),
            master: None,
            up: true,
        }));
        kernel.put(Object::Route(Route {
            netns: Netns::Host,
            destination: everywhere.parse().expect("a subnet"),
            gateway: None,
            link,
            source: None,
        }));
    }

    #[test]
    fn the_uplink_is_ipv4s_or_without_one_ipv6s() {
        let kernel = FakeKernel::new();
        assert_eq!(uplink_mtu(&kernel).expect("looked"), None);
        uplink(&kernel, "eth6", 1420, "::/0");
        assert_eq!(uplink_mtu(&kernel).expect("looked"), Some(1420));
        uplink(&kernel, "eth4", 1450, "0.0.0.0/0");
        assert_eq!(uplink_mtu(&kernel).expect("looked"), Some(1450));
    }
}
