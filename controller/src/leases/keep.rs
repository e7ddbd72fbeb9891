//! Keeps what was obtained: one task for all endpoints of this host, which asks for more time when it is time to, and
//! carries over what has changed.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use dhcp::{Client, Loss, Next, Outcome, State};
use model::{Endpoint, EndpointId, Lease, Lifecycle, Network, Sandbox, Snapshot, Timestamp};
use tokio::{sync::watch::Receiver, task::JoinSet};

use super::{
    Kept, is_leased,
    obtain::{is_taken, record, wear},
    place::Place,
    slaac, v6,
};
use crate::{core::Core, endpoints, error::Result, locks::LockKey, sandboxes};

/// How many ask at once: each keeps a thread while it waits.
const AT_ONCE: usize = 16;
/// The longest sleep: a clock may be set, and a namespace's addresses change without a word.
const LONGEST: Duration = Duration::from_secs(20);
/// How soon an IPv6 address is looked for while there is none, and for how long that.
const SOON: Duration = Duration::from_secs(1);
const AT_FIRST: Duration = Duration::from_secs(30);

/// Runs until it is asked to stop.
pub(crate) async fn keep(core: Arc<Core>, mut stopped: Receiver<bool>) {
    let mut asking = JoinSet::new();
    loop {
        let rest = turn(&core, &mut asking);
        tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => break,
            () = core.leases.wake.notified() => {}
            Some(_) = asking.join_next() => {}
            () = tokio::time::sleep(rest) => {}
        }
    }
    asking.shutdown().await;
}

/// One look at everybody: starts what is due, and answers when to look again.
fn turn(core: &Arc<Core>, asking: &mut JoinSet<()>) -> Duration {
    let snapshot = core.records.snapshot();
    let now = Timestamp::now();
    let mut rest = LONGEST;
    let mut clients = core.leases.clients();
    clients.retain(|id, _| snapshot.endpoints.contains_key(id));
    for (endpoint, network, _) in leased(core, &snapshot) {
        let kept = clients.entry(endpoint.id).or_insert_with(|| Kept {
            client: client_of(&endpoint, now),
            v6: v6::client_of(&endpoint),
            busy: false,
            since: Instant::now(),
            looked: None,
        });
        follow(kept, &endpoint);
        if kept.busy {
            continue;
        }
        let next = match network.enable_ipv4 {
            true => kept.client.next(now),
            false => Next::Rest(None),
        };
        let next_v6 = kept.v6.as_mut().map(|client| client.next(now));
        let until = |until: Option<Timestamp>| until.map_or(LONGEST, |until| until.since(now));
        let wait = match next {
            Next::Rest(time) => until(time),
            Next::Ask(_) | Next::Lost(_) => Duration::ZERO,
        };
        let wait = match next_v6 {
            Some(dhcp::v6::Next::Rest(time)) => wait.min(until(time)),
            Some(_) => Duration::ZERO,
            None => wait,
        };
        let look = match network.enable_ipv6 {
            true => until_look(kept, endpoint.addresses.ipv6.is_some()),
            false => LONGEST,
        };
        if wait.is_zero() || look.is_zero() {
            if asking.len() >= AT_ONCE {
                continue;
            }
            kept.busy = true;
            let job = Job {
                client: kept.client.clone(),
                step: next,
                v6: kept.v6.clone().zip(next_v6),
                look: look.is_zero(),
            };
            let core = Arc::clone(core);
            asking.spawn(async move { work(&core, endpoint.id, job).await });
        } else {
            rest = rest.min(wait).min(look);
        }
    }
    // A moment more than asked for, so that the moment is over.
    rest + Duration::from_millis(20)
}

/// What is to be done for one endpoint, and who is put back then.
struct Job {
    client: Client,
    step: Next,
    v6: Option<(dhcp::v6::Client, dhcp::v6::Next)>,
    look: bool,
}

fn client_of(endpoint: &Endpoint, now: Timestamp) -> Client {
    match &endpoint.lease {
        Some(lease) => Client::with(lease.clone(), now),
        None => Client::new(None),
    }
}

/// A connection made anew under the same id has a lease that its client knows nothing of.
fn follow(kept: &mut Kept, endpoint: &Endpoint) {
    if let (State::Init(_), Some(lease), false) = (kept.client.state(), &endpoint.lease, kept.busy) {
        kept.client = Client::with(lease.clone(), Timestamp::now());
    }
    if let (None, Some(client), false) = (&kept.v6, v6::client_of(endpoint), kept.busy) {
        kept.v6 = Some(client);
    }
}

fn until_look(kept: &Kept, has: bool) -> Duration {
    let every = match has || kept.since.elapsed() > AT_FIRST {
        true => LONGEST,
        false => SOON,
    };
    kept.looked
        .map_or(Duration::ZERO, |at| every.saturating_sub(at.elapsed()))
}

/// This host's connected endpoints whose addresses somebody else gives.
fn leased(core: &Core, snapshot: &Snapshot) -> Vec<(Arc<Endpoint>, Arc<Network>, Arc<Sandbox>)> {
    let networks = snapshot.networks.values().filter(|network| is_leased(network));
    let all = networks.flat_map(|network| {
        snapshot
            .endpoints_on(&network.id)
            .filter(|endpoint| endpoint.node == core.node.id && endpoint.lifecycle == Lifecycle::Active)
            .filter_map(|endpoint| {
                let sandbox = snapshot.sandboxes.get(&endpoint.sandbox)?;
                Some((Arc::clone(endpoint), Arc::clone(network), Arc::clone(sandbox)))
            })
    });
    all.collect()
}

/// Carries one step out and puts the clients back.
async fn work(core: &Arc<Core>, id: EndpointId, mut job: Job) {
    if let Err(error) = work_on(core, id, &mut job).await {
        tracing::warn!(endpoint = %id.short(), %error, "its lease could not be looked after; it will be tried again");
        job.pause();
    }
    let mut clients = core.leases.clients();
    if let Some(kept) = clients.get_mut(&id) {
        kept.busy = false;
        kept.client = job.client;
        kept.v6 = job.v6.map(|(client, _)| client);
        if job.look {
            kept.looked = Some(Instant::now());
        }
    }
}

impl Job {
    /// Asks nothing for a moment.
    fn pause(&mut self) {
        let soon = Timestamp::now().plus(SOON);
        self.client.pause(soon);
        if let Some((client, _)) = &mut self.v6 {
            client.pause(soon);
        }
    }
}

async fn work_on(core: &Arc<Core>, id: EndpointId, job: &mut Job) -> Result<()> {
    let snapshot = core.records.snapshot();
    let Some((endpoint, network, sandbox)) = leased(core, &snapshot).into_iter().find(|one| one.0.id == id)
    else {
        return Ok(());
    };
    let Some(place) = Place::of(core, &network, &endpoint, &sandbox).await? else {
        // Its parent is away.
        job.pause();
        return Ok(());
    };
    if job.look {
        look(core, &endpoint, &place, job).await?;
    }
    if let Some((client, next)) = &mut job.v6 {
        v6::work(core, &network, &endpoint, &place, client, next.clone()).await?;
    }
    work_v4(core, &network, &endpoint, &place, job).await
}

/// What routers have said meanwhile.
async fn look(core: &Arc<Core>, endpoint: &Endpoint, place: &Place, job: &mut Job) -> Result<()> {
    if job.v6.is_none() && v6::is_wanted(core, place).await? {
        let mut client = dhcp::v6::Client::new(None);
        let next = client.next(Timestamp::now());
        job.v6 = Some((client, next));
    }
    if endpoint.lease_v6.is_some() {
        return Ok(());
    }
    let found = slaac::look(core, place, endpoint.addresses.ipv6).await?;
    if found != endpoint.addresses.ipv6 {
        tracing::info!(endpoint = %endpoint.name, address = ?found, "has another IPv6 address");
        change(core, endpoint.id, move |endpoint| {
            // A server may have given one meanwhile.
            if endpoint.lease_v6.is_none() {
                endpoint.addresses.ipv6 = found;
            }
        })
        .await?;
    }
    Ok(())
}

async fn work_v4(
    core: &Arc<Core>,
    network: &Network,
    endpoint: &Endpoint,
    place: &Place,
    job: &mut Job,
) -> Result<()> {
    let client = &mut job.client;
    let outcome = match job.step.clone() {
        Next::Rest(_) => return Ok(()),
        Next::Lost(loss) => Outcome::Lost(loss),
        Next::Ask(ask) => {
            let (reply, asked) = place.ask(core, client, &ask, ask.wait).await?;
            let outcome = client.answered(reply.as_ref(), asked, Timestamp::now());
            let looking = matches!(client.state(), State::Init(_));
            if reply.is_none() && looking {
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
                endpoint.addresses.ipv4.map(|net| net.addr().into()),
                loss,
            );
            let place = place.clone();
            change(core, endpoint.id, move |endpoint| wear(endpoint, &place, None)).await
        }
    }
}

/// Tells whose lease has ended.
pub(super) fn lost(endpoint: &Endpoint, address: Option<IpAddr>, loss: Loss) {
    let why = match loss {
        Loss::Refused => "the DHCP server wants it back",
        Loss::Expired => "no DHCP server has given more time",
    };
    tracing::warn!(endpoint = %endpoint.name, ?address, why, "has lost its address and asks for another");
}

/// A new lease, or more time of the old one.
async fn bound(
    core: &Arc<Core>,
    network: &Network,
    endpoint: &Endpoint,
    place: &Place,
    client: &mut Client,
    lease: Lease,
) -> Result<()> {
    let same = endpoint.addresses.ipv4 == Some(lease.address);
    if !same && is_taken(core, network, &lease).await {
        if let Some(question) = client.decline() {
            place.tell(core, &question, dhcp::To::Everybody).await?;
        }
        client.pause(Timestamp::now().plus(Duration::from_secs(10)));
        return Ok(());
    }
    match same {
        true => tracing::debug!(endpoint = %endpoint.name, address = %lease.address, "has more time"),
        false => tracing::info!(endpoint = %endpoint.name, address = %lease.address, "has another address"),
    }
    let place = place.clone();
    change(core, endpoint.id, move |endpoint| {
        wear(endpoint, &place, Some(lease));
    })
    .await
}

/// Changes an endpoint's record, and what follows from it.
pub(super) async fn change(
    core: &Arc<Core>,
    id: EndpointId,
    edit: impl FnOnce(&mut Endpoint) + Send,
) -> Result<()> {
    let _endpoint = core.locks.exclusive(LockKey::Endpoint(id)).await;
    let snapshot = core.records.snapshot();
    // It may have left meanwhile.
    let Some((endpoint, network, sandbox)) = leased(core, &snapshot).into_iter().find(|one| one.0.id == id)
    else {
        return Ok(());
    };
    let mut changed = Endpoint::clone(&endpoint);
    edit(&mut changed);
    let visible = changed.addresses != endpoint.addresses || !is_alike(&changed, &endpoint);
    let changed = record(core, changed).await?;
    if visible {
        sandboxes::refresh(core, &sandbox).await?;
        endpoints::announce(core, &network, &changed, &sandbox);
    }
    Ok(())
}

/// Whether two leases differ in their times only.
fn is_alike(one: &Endpoint, other: &Endpoint) -> bool {
    let made_of = |endpoint: &Endpoint| {
        endpoint.lease.clone().map(|lease| Lease {
            obtained: Timestamp::ZERO,
            renew_after: 0,
            rebind_after: 0,
            lasts: 0,
            ..lease
        })
    };
    made_of(one) == made_of(other) && v6::is_alike(one.lease_v6.as_ref(), other.lease_v6.as_ref())
}
