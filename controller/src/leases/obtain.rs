//! The first lease of a connection, and the last word of one that ends.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use dhcp::{Client, Next, Outcome, Question, To};
use model::{Endpoint, EndpointAddresses, IpNet, Lease, Network, Sandbox, Scope, Timestamp};

use super::{is_leased, place::Place, v6};
use crate::{
    core::Core,
    endpoints,
    error::{Error, Result},
    records,
};

/// How many addresses that somebody else uses are given back before that is told.
const TAKEN: usize = 3;

/// Has the segment's server give an address to an endpoint whose interface is there, and records it. Answers the endpoint
/// with it; one of another network as it is.
pub(crate) async fn obtain(
    core: &Arc<Core>,
    network: &Arc<Network>,
    endpoint: Arc<Endpoint>,
    sandbox: &Sandbox,
) -> Result<Arc<Endpoint>> {
    if !is_leased(network) {
        return Ok(endpoint);
    }
    let place = Place::of(core, network, &endpoint, sandbox).await?;
    let place = place.ok_or_else(|| Error::not_found("the interface to ask a DHCP server by is gone"))?;
    let mut dressed = Endpoint::clone(&endpoint);
    if network.enable_ipv4 {
        let lease = ask(core, network, &endpoint, &place).await?;
        wear(&mut dressed, &place, Some(lease));
    }
    if let Err(error) = v6::obtain(core, network, &mut dressed, &place).await {
        if let Some(Lease { address, server, .. }) = dressed.lease {
            let told = Question::Release {
                address: address.addr(),
                server,
            };
            place.tell(core, &told, To::Everybody).await?;
        }
        return Err(error);
    }
    record(core, dressed).await
}

async fn ask(core: &Arc<Core>, network: &Network, endpoint: &Endpoint, place: &Place) -> Result<Lease> {
    let wanted = endpoint.requested.iter().find_map(|address| match address {
        IpAddr::V4(v4) => Some(*v4),
        IpAddr::V6(_) => None,
    });
    let mut client = Client::new(wanted);
    let deadline = Instant::now() + place.options.timeout;
    let (mut taken, mut refused) = (0, None);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let Next::Ask(ask) = client.next(Timestamp::now()) else {
            return Err(place.nobody(refused));
        };
        if left.is_zero() {
            return Err(place.nobody(refused));
        }
        let (reply, asked) = place.ask(core, &client, &ask, left).await?;
        if let Some(reply) = reply.as_ref().filter(|reply| reply.kind == dhcp::Kind::Nak) {
            refused.clone_from(&reply.text);
            pause(left).await;
        }
        let Outcome::Bound(lease) = client.answered(reply.as_ref(), asked, Timestamp::now()) else {
            continue;
        };
        if !is_taken(core, network, &lease).await {
            return match wanted.filter(|wanted| *wanted != lease.address.addr()) {
                None => Ok(lease),
                Some(wanted) => Err(give_back(core, place, &lease, wanted.into()).await),
            };
        }
        taken += 1;
        if let Some(question) = client.decline() {
            place.tell(core, &question, To::Everybody).await?;
        }
        if taken == TAKEN {
            return Err(Error::forbidden(format!(
                "the DHCP server gives addresses that others use already, {} for one",
                lease.address.addr()
            ))
            .with_hint(
                "somebody on the segment has an address from the server's range without having asked it",
            ));
        }
    }
}

/// Who is refused waits a moment before he asks again (RFC 2131, 3.1.5).
async fn pause(left: Duration) {
    tokio::time::sleep(Duration::from_millis(500).min(left)).await;
}

/// Whether somebody else on the segment uses it (RFC 2131, 4.4.1).
pub(super) async fn is_taken(core: &Core, network: &Network, lease: &Lease) -> bool {
    let addresses = EndpointAddresses {
        ipv4: Some(lease.address),
        ..EndpointAddresses::default()
    };
    endpoints::look(core, network, &addresses).await.is_err()
}

/// Another address than the one asked for is of no use.
async fn give_back(core: &Core, place: &Place, lease: &Lease, wanted: IpAddr) -> Error {
    let (address, server) = (lease.address.addr(), lease.server);
    // Nobody wears it yet, so nothing can be said from it.
    let told = Question::Release { address, server };
    if let Err(error) = place.tell(core, &told, To::Everybody).await {
        tracing::debug!(%error, %address, "the server was not told; the lease ends by itself");
    }
    Error::forbidden(format!(
        "address {wanted} is asked for, but the DHCP server gives {address}"
    ))
    .with_hint("have the server reserve it for this container, or leave the address out")
}

/// Puts a lease on, or takes it off.
pub(super) fn wear(endpoint: &mut Endpoint, place: &Place, lease: Option<Lease>) {
    let lease = lease.map(|lease| Lease {
        // A larger one than the parent's the kernel would refuse.
        mtu: lease
            .mtu
            .filter(|mtu| place.mtu.is_none_or(|own| u32::from(*mtu) < own)),
        ..lease
    });
    endpoint.addresses.ipv4 = lease.as_ref().map(|lease| lease.address);
    endpoint.lease = lease;
}

/// Records and publishes it.
pub(super) async fn record(core: &Core, endpoint: Endpoint) -> Result<Arc<Endpoint>> {
    let endpoint = Arc::new(endpoint);
    let published = Arc::clone(&endpoint);
    let txn = records::endpoints(endpoint.network).put(endpoint.id, &endpoint);
    core.records
        .commit(Scope::Local, txn, move |snapshot| {
            snapshot.insert_endpoint(published);
        })
        .await?;
    core.leases.wake.notify_one();
    Ok(endpoint)
}

/// Tells the server that an address is no longer needed, before its interface goes. It may be gone with the sandbox, and
/// the server silent: the lease ends by itself then.
pub(crate) async fn release(core: &Core, network: &Network, endpoint: &Endpoint, sandbox: &Sandbox) {
    core.leases.clients().remove(&endpoint.id);
    let has_any = endpoint.lease.is_some() || endpoint.lease_v6.is_some();
    if !is_leased(network) || !has_any {
        return;
    }
    let told = async {
        if let Some(place) = Place::of(core, network, endpoint, sandbox).await? {
            v6::release(core, endpoint, &place).await?;
            let Some(lease) = &endpoint.lease else {
                return Ok(());
            };
            let (address, server) = (lease.address.addr(), lease.server);
            let to = match worn(core, &place, lease).await? {
                true => To::Server {
                    from: address,
                    to: server,
                },
                false => To::Everybody,
            };
            place
                .tell(core, &Question::Release { address, server }, to)
                .await?;
        }
        Ok::<_, Error>(())
    };
    if let Err(error) = told.await {
        tracing::debug!(%error, endpoint = %endpoint.name, "the server was not told; the lease ends by itself");
    }
}

async fn worn(core: &Core, place: &Place, lease: &Lease) -> Result<bool> {
    let there = core
        .worker
        .addresses_of(place.netns.clone(), place.link.clone())
        .await?;
    Ok(there.contains(&IpNet::V4(lease.address)))
}
