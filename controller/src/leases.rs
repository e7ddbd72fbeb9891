//! Addresses that the segment's own DHCP server gives: asked for when a container is connected, kept as long as it is, and
//! given back when it leaves.
//!
//! A lease is part of its endpoint's record, so a daemon that starts again goes on with it. What happens to it later (more
//! time, another address, none) ends in the same verbs as a connection: the record, the sandbox, the snapshot. IPv6
//! addresses are what the segment's routers announce (RFC 4862): the kernel makes, keeps and drops them, and here they are
//! only looked at. Where routers say so, a DHCPv6 server is asked for one besides.

mod keep;
mod obtain;
mod place;
mod slaac;
mod v6;

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use dhcp::{AskV6, Client, Options};
use drivers::{Attachment, Driver};
use model::{
    Endpoint, EndpointId, IpNet, Labels, Lease, MacAddress, Network, Sandbox, Scope, StaticRoute, Subnet,
};
use tokio::sync::Notify;

use crate::error::{Error, Result};

pub(crate) use keep::keep;
pub(crate) use obtain::{obtain, release};

/// The address management of networks whose segment has one.
pub(crate) const DRIVER: &str = "dhcp";

/// What is known of this host's leases beyond their records.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    clients: Mutex<HashMap<EndpointId, Kept>>,
    /// Something has come or is done.
    wake: Notify,
}

/// A client, and whether somebody asks for it right now.
#[derive(Debug)]
struct Kept {
    client: Client,
    /// Once its routers say that there is a server to ask.
    v6: Option<dhcp::v6::Client>,
    busy: bool,
    /// Since when its routers are listened for, and when they were last.
    since: Instant,
    looked: Option<Instant>,
}

impl Leases {
    /// Has them looked at: an endpoint has come.
    pub(crate) fn look(&self) {
        self.wake.notify_one();
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<EndpointId, Kept>> {
        // The map is whole even if a holder of the lock panicked.
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether somebody else gives a network's addresses.
pub(crate) fn is_leased(network: &Network) -> bool {
    network.ipam.driver.as_str() == DRIVER
}

/// Whether a server is asked for this very address where a user wants it.
pub(crate) fn gives(network: &Network, address: IpAddr) -> bool {
    let asked = match address {
        IpAddr::V4(_) => true,
        // Of those that routers announce nobody can choose.
        IpAddr::V6(_) => options(network, &Labels::new()).is_ok_and(|options| options.ipv6 == AskV6::Always),
    };
    asked && is_leased(network)
}

/// Refuses a network whose endpoints would wait for a server in vain.
pub(crate) fn refuse(driver: &dyn Driver, network: &Network) -> Result<()> {
    if !is_leased(network) {
        return Ok(());
    }
    options(network, &Labels::new())?;
    if network.scope == Scope::Global {
        return Err(
            Error::invalid("a network of the IPAM driver \"dhcp\" is one host's own")
                .with_hint("leave out --scope: the segment's server knows all hosts' containers"),
        );
    }
    if driver.segment(network).is_none() {
        return Err(Error::invalid(format!(
            "the IPAM driver \"dhcp\" needs a segment with a server, and a {} network so made has none",
            network.driver.as_str()
        ))
        .with_hint("use the driver macvlan, or ipvlan in mode l2, with -o parent=INTERFACE"));
    }
    Ok(())
}

fn options(network: &Network, connection: &Labels) -> Result<Options> {
    Options::parse(&network.ipam.options, connection)
        .map_err(|wrong| Error::invalid(wrong.message).with_hint(wrong.hint))
}

/// Whom an address is for: the same each time a container starts.
fn owner<'a>(endpoint: &'a Endpoint, sandbox: &'a Sandbox) -> &'a [u8; 32] {
    let container = endpoint.container.as_ref().or(sandbox.container.as_ref());
    container.map_or_else(|| sandbox.id.as_bytes(), |id| id.as_bytes())
}

/// The Ethernet address of an endpoint whose IP address nobody knows yet: the same each time the container starts.
pub(crate) fn mac(network: &Network, container: &[u8]) -> MacAddress {
    let owner: Vec<u8> = container.iter().chain(network.id.as_bytes()).copied().collect();
    MacAddress::for_owner(&owner)
}

/// What a driver answered, with what came with the endpoint's lease.
pub(crate) fn dress(attachment: Attachment, network: &Network, endpoint: &Endpoint) -> Attachment {
    let Some(lease) = &endpoint.lease else {
        return attachment;
    };
    let routes = lease.routes.iter().map(|(net, hop)| StaticRoute {
        destination: Subnet::around(IpNet::V4(*net)),
        next_hop: hop.map(IpAddr::V4),
    });
    let own = Subnet::around(IpNet::V4(lease.address));
    let gateway = lease.gateway.filter(|_| !network.internal);
    Attachment {
        gateway_v4: attachment.gateway_v4.or(gateway.map(IpAddr::V4)),
        routes: attachment
            .routes
            .into_iter()
            .chain(reach(lease, gateway))
            .chain(routes.filter(|route| !network.internal && route.destination != own))
            .collect(),
        ..attachment
    }
}

/// The way to a gateway that is in no subnet of the lease's, as servers that give single addresses have it.
fn reach(lease: &Lease, gateway: Option<Ipv4Addr>) -> Option<StaticRoute> {
    let gateway = gateway.filter(|gateway| !gateway.is_unspecified())?;
    let beside = !lease.address.trunc().contains(&gateway);
    beside.then(|| StaticRoute {
        destination: Subnet::around(IpAddr::V4(gateway).into()),
        next_hop: None,
    })
}
