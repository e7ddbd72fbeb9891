//! The same kernel work done by hand: single netlink requests on kept sockets, no records, no names.

use std::path::{Path, PathBuf};

use kernel::{
    Kernel as _, Linux, Mark, Netns, Object, Owner, Step,
    object::{BridgePort, Link, LinkKind, VethPeer},
};
use model::{InterfaceName, NodeId};
use netlab::Host;

use crate::inside;

/// The kernel of one host, by hand.
#[derive(Debug)]
pub(crate) struct Floor {
    linux: Linux,
    mark: Mark,
}

impl Floor {
    /// Opens its sockets inside the host's namespace.
    pub(crate) fn on(host: &Host) -> anyhow::Result<Self> {
        Ok(Self {
            linux: inside::run(host.netns(), || Ok(Linux::here()?))?,
            mark: Mark {
                node: NodeId::random(),
                owner: Owner::Host,
            },
        })
    }

    /// Waits until the kernel is done with what was removed.
    pub(crate) fn settle(&self) {
        self.linux.settle(std::time::Duration::from_secs(10));
    }

    /// Makes or removes one object.
    pub(crate) fn apply(&self, step: Step) -> anyhow::Result<()> {
        self.linux
            .apply(&self.mark, &[step])
            .map_err(|failure| anyhow::anyhow!("{failure:?}"))
    }
}

/// A bare bridge, up.
pub(crate) fn bridge(name: &str) -> anyhow::Result<Object> {
    Ok(Object::Link(link(name, LinkKind::Bridge)?))
}

/// A veth whose other end is in `netns`; this end a port of a bridge, or of none.
pub(crate) fn veth(name: &str, peer: &str, netns: &Path, bridge: Option<&str>) -> anyhow::Result<Object> {
    let peer = VethPeer {
        netns: Netns::Pinned(PathBuf::from(netns)),
        name: InterfaceName::new(peer)?,
        mac: None,
        mtu: None,
        up: true,
        ipv6: true,
    };
    let port = BridgePort::default();
    let link = link(name, LinkKind::Veth { peer, port })?;
    let master = bridge.map(InterfaceName::new).transpose()?;
    Ok(Object::Link(Link { master, ..link }))
}

fn link(name: &str, kind: LinkKind) -> anyhow::Result<Link> {
    let name = InterfaceName::new(name)?;
    Ok(Link {
        netns: Netns::Host,
        name,
        kind,
        mac: None,
        mtu: None,
        master: None,
        up: true,
    })
}
