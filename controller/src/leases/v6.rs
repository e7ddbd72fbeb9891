//! IPv6 addresses that a DHCPv6 server gives (RFC 8415), where the segment's routers say that it does or the network asks for
//! it: the first one of a connection, what becomes of it, and its end. Everything else of IPv6 is the routers' to say.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
    time::{Duration, Instant},
};

use dhcp::{
    AskV6,
    v6::{self, Client, Next, Outcome, Question, State},
};
use model::{Endpoint, EndpointAddresses, Ipv6Net, LeaseV6, Network, Timestamp};

use super::{
    keep::{change, lost},
    place::Place,
    slaac,
};
use crate::{
    core::Core,
    endpoints,
    error::{Error, Result},
};

/// How many addresses that somebody else uses are given back before that is told.
const TAKEN: usize = 3;
/// How often it is looked whether routers have said anything.
const EVERY: Duration = Duration::from_millis(200);
/// How long nobody is asked who gave an address that somebody else uses.
const AFTER_TAKEN: Duration = Duration::from_secs(10);

/// Whether a server is to be asked, as far as routers have said anything.
pub(super) async fn is_wanted(core: &Core, place: &Place) -> Result<bool> {
    Ok(match place.options.ipv6 {
        AskV6::Always => true,
        AskV6::Never => false,
        AskV6::AsRoutersSay => core
            .worker
            .routers_say(place.netns.clone(), place.link.clone())
            .await?
            .is_some_and(|say| say.managed),
    })
}

/// A client that goes on with what an endpoint has.
pub(super) fn client_of(endpoint: &Endpoint) -> Option<Client> {
    endpoint.lease_v6.clone().map(Client::with)
}

/// The address that a connection starts with, where it must not start without one: the network has no other family, or
/// wants a server's answer.
pub(super) async fn obtain(
    core: &Core,
    network: &Network,
    dressed: &mut Endpoint,
    place: &Place,
) -> Result<()> {
    let must = place.options.ipv6 == AskV6::Always;
    if !network.enable_ipv6 || network.enable_ipv4 && !must {
        return Ok(());
    }
    let limit = Instant::now() + place.options.timeout;
    let mut announced = None;
    while !is_wanted(core, place).await? {
        announced = slaac::look(core, place, None).await?;
        if announced.is_some() || Instant::now() >= limit {
            break;
        }
        tokio::time::sleep(EVERY).await;
    }
    // What routers say of addresses comes in one message.
    if !is_wanted(core, place).await? {
        dressed.addresses.ipv6 = Some(announced.ok_or_else(|| slaac::nobody(place))?);
        return Ok(());
    }
    match ask(core, network, dressed, place, limit).await {
        Ok(lease) => wear(dressed, Some(lease)),
        Err(error) if must => return Err(error),
        Err(error) => {
            dressed.addresses.ipv6 = slaac::look(core, place, None).await?;
            if dressed.addresses.ipv6.is_none() {
                return Err(error);
            }
            tracing::warn!(endpoint = %dressed.name, %error, "has only the address that routers announce");
        }
    }
    Ok(())
}

async fn ask(
    core: &Core,
    network: &Network,
    endpoint: &Endpoint,
    place: &Place,
    limit: Instant,
) -> Result<LeaseV6> {
    let wanted = endpoint.requested.iter().find_map(|address| match address {
        IpAddr::V6(v6) => Some(*v6),
        IpAddr::V4(_) => None,
    });
    let mut client = Client::new(wanted);
    let (started, mut taken, mut refused) = (Instant::now(), 0, None);
    loop {
        let left = limit.saturating_duration_since(Instant::now());
        let next = client.next(Timestamp::now());
        let (Next::Ask(ask), false) = (next, left.is_zero()) else {
            return Err(place.nobody_v6(refused));
        };
        let (reply, asked) = place.ask_v6(core, &client, &ask, left, started.elapsed()).await?;
        if let Some(text) = reply.as_ref().and_then(|reply| reply.refusal.clone()) {
            refused = Some(text);
            tokio::time::sleep(Duration::from_millis(500).min(left)).await;
        }
        let Outcome::Bound(lease) = client.answered(reply.as_ref(), asked, Timestamp::now()) else {
            continue;
        };
        if !is_taken(core, network, &lease).await {
            return match wanted.filter(|wanted| *wanted != lease.address) {
                None => Ok(lease),
                Some(wanted) => Err(give_back(core, place, lease, wanted).await),
            };
        }
        taken += 1;
        if let Some(question) = client.decline() {
            place.tell_v6(core, &question).await?;
        }
        if taken == TAKEN {
            return Err(Error::forbidden(format!(
                "the DHCPv6 server gives addresses that others use already, {} for one",
                lease.address
            ))
            .with_hint(
                "somebody on the segment has an address from the server's range without having asked it",
            ));
        }
    }
}

/// Another address than the one asked for is of no use.
async fn give_back(core: &Core, place: &Place, lease: LeaseV6, wanted: Ipv6Addr) -> Error {
    let LeaseV6 { address, server, .. } = lease;
    if let Err(error) = place.tell_v6(core, &Question::Release { address, server }).await {
        tracing::debug!(%error, %address, "the server was not told; the lease ends by itself");
    }
    Error::forbidden(format!(
        "address {wanted} is asked for, but the DHCPv6 server gives {address}"
    ))
    .with_hint("have the server reserve it for this container, or leave the address out")
}

/// Whether somebody else on the segment uses it (RFC 8415, section 18.2.10.1).
async fn is_taken(core: &Core, network: &Network, lease: &LeaseV6) -> bool {
    let addresses = EndpointAddresses {
        ipv6: Some(alone(lease.address)),
        ..EndpointAddresses::default()
    };
    endpoints::look(core, network, &addresses).await.is_err()
}

/// What is on the link besides is for routers to say (RFC 5942).
fn alone(address: Ipv6Addr) -> Ipv6Net {
    Ipv6Net::new(address, 128).expect("128 bits are as many as there are")
}

/// Puts a lease on, or takes it off.
fn wear(endpoint: &mut Endpoint, lease: Option<LeaseV6>) {
    endpoint.addresses.ipv6 = lease.as_ref().map(|lease| alone(lease.address));
    endpoint.lease_v6 = lease;
}

/// Carries one step out for an endpoint that has its connection.
pub(super) async fn work(
    core: &Arc<Core>,
    network: &Network,
    endpoint: &Endpoint,
    place: &Place,
    client: &mut Client,
    next: Next,
) -> Result<()> {
    let outcome = match next {
        Next::Rest(_) => return Ok(()),
        Next::Lost(loss) => Outcome::Lost(loss),
        Next::Ask(ask) => {
            let (reply, asked) = place.ask_v6(core, client, &ask, ask.wait, Duration::ZERO).await?;
            let useless = reply.as_ref().is_none_or(|reply| reply.refusal.is_some());
            let outcome = client.answered(reply.as_ref(), asked, Timestamp::now());
            if useless && matches!(client.state(), State::Init(_) | State::Requesting { .. }) {
                // What was not waited for, and what would be before the next question.
                client.pause(Timestamp::now().plus(ask.wait));
            }
            outcome
        }
    };
    match outcome {
        Outcome::Nothing => Ok(()),
        Outcome::Bound(lease) => bound(core, network, endpoint, place, client, lease).await,
        Outcome::Lost(loss) => {
            lost(
                endpoint,
                endpoint.addresses.ipv6.map(|net| net.addr().into()),
                loss,
            );
            change(core, endpoint.id, |endpoint| wear(endpoint, None)).await
        }
    }
}

async fn bound(
    core: &Arc<Core>,
    network: &Network,
    endpoint: &Endpoint,
    place: &Place,
    client: &mut Client,
    lease: LeaseV6,
) -> Result<()> {
    let same = endpoint.lease_v6.as_ref().map(|held| held.address) == Some(lease.address);
    if !same && is_taken(core, network, &lease).await {
        if let Some(question) = client.decline() {
            place.tell_v6(core, &question).await?;
        }
        client.pause(Timestamp::now().plus(AFTER_TAKEN));
        return Ok(());
    }
    match same {
        true => tracing::debug!(endpoint = %endpoint.name, address = %lease.address, "has more time"),
        false => {
            tracing::info!(endpoint = %endpoint.name, address = %lease.address, "has another IPv6 address");
        }
    }
    change(core, endpoint.id, |endpoint| wear(endpoint, Some(lease))).await
}

/// Tells the server that an address is no longer needed.
pub(super) async fn release(core: &Core, endpoint: &Endpoint, place: &Place) -> Result<()> {
    let Some(lease) = endpoint.lease_v6.clone() else {
        return Ok(());
    };
    let LeaseV6 { address, server, .. } = lease;
    place.tell_v6(core, &Question::Release { address, server }).await
}

/// Whether two leases differ in their times only.
pub(super) fn is_alike(one: Option<&LeaseV6>, other: Option<&LeaseV6>) -> bool {
    let made_of = |lease: &LeaseV6| LeaseV6 {
        obtained: Timestamp::ZERO,
        renew_after: 0,
        rebind_after: 0,
        lasts: 0,
        ..lease.clone()
    };
    one.map(made_of) == other.map(made_of)
}

/// As whom an endpoint asks.
pub(super) fn identity(
    owner: &[u8; 32],
    network: &Network,
    options: &dhcp::Options,
    name: Option<String>,
) -> v6::Identity {
    v6::Identity {
        duid: options.duid.clone().unwrap_or_else(|| v6::duid_of(owner)),
        interface: v6::interface_of(network.id.as_bytes()),
        hostname: name,
    }
}
