//! Forwarding what is not ours: to the best of the servers, soon to the next one too, and once for all who ask the same.
//!
//! A guessed answer must match a random number, a random port and the question (RFC 5452). Sockets are not kept: one that
//! stays open inside a sandbox's namespace would keep the namespace after its container. A flight under way belongs to
//! those who wait for it and ends with the last of them, sockets included.

use std::{
    collections::HashMap,
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::{
    FutureExt as _, StreamExt as _,
    future::{BoxFuture, Shared, WeakShared},
    stream::FuturesUnordered,
};
use tokio::time::{sleep, timeout};

use crate::{
    Request,
    cache::{Cache, Room},
    exchange::{Exit, Transport, ask},
    health::{Health, order},
    pulse::Pulse,
    wire::code,
};

/// Servers that are tried.
const SERVERS: usize = 3;
/// How long a client waits for servers while an old answer is at hand (RFC 8767, section 5).
const ENOUGH: Duration = Duration::from_millis(1800);

/// How much of what servers said is kept.
#[derive(Debug, Clone)]
pub struct Keeping {
    /// Replies.
    pub entries: usize,
    /// Bytes.
    pub bytes: usize,
    /// Shared with others.
    pub room: Arc<Room>,
}

/// Servers, where to ask them from, and what they said.
pub struct Upstreams {
    servers: Vec<SocketAddr>,
    exit: Arc<dyn Exit>,
    patience: Duration,
    state: Mutex<State>,
}

struct State {
    health: Vec<Health>,
    pulse: Pulse,
    cache: Cache,
    flights: HashMap<(Vec<u8>, Transport), WeakShared<Flight>>,
}

/// What came of a question.
#[derive(Default)]
pub(crate) struct Resolved {
    /// The reply, if there was one in time.
    pub(crate) reply: Option<Vec<u8>>,
    /// What is still under way. Who waits for it hears nothing that he could use, but what it brings is kept for the
    /// next one who asks, and tells that the servers are back.
    pub(crate) late: Option<Shared<Flight>>,
}

/// What a question to servers leads to; none when none of them said anything.
pub(crate) type Flight = BoxFuture<'static, Option<Arc<[u8]>>>;

impl fmt::Debug for Upstreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstreams")
            .field("servers", &self.servers)
            .field("exit", &self.exit)
            .finish_non_exhaustive()
    }
}

impl Upstreams {
    /// Servers in the user's order, of which three count. `patience` is how long one may take; a client waits half as
    /// long, unless the servers answer others.
    pub fn new(
        mut servers: Vec<SocketAddr>,
        exit: Arc<dyn Exit>,
        patience: Duration,
        keeping: Keeping,
    ) -> Arc<Self> {
        servers.truncate(SERVERS);
        let state = State {
            health: vec![Health::default(); servers.len()],
            pulse: Pulse::default(),
            cache: Cache::new(keeping.entries, keeping.bytes, keeping.room),
            flights: HashMap::new(),
        };
        Arc::new(Self {
            servers,
            exit,
            patience,
            state: Mutex::new(state),
        })
    }

    /// The servers.
    pub fn servers(&self) -> &[SocketAddr] {
        &self.servers
    }

    /// The reply that is known already.
    pub(crate) fn known(&self, request: &Request, transport: Transport) -> Option<Vec<u8>> {
        let reply = self.state().cache.fresh(&request.key(), Instant::now())?;
        Some(request.adopt(reply, transport == Transport::Udp))
    }

    /// Asks. No reply when no server had one in time and none is remembered.
    pub(crate) async fn resolve(self: &Arc<Self>, request: &Request, transport: Transport) -> Resolved {
        let (key, began) = (request.key(), Instant::now());
        let (old, at_once, wait) = {
            let state = self.state();
            (
                state.cache.stale(&key, began),
                state.cache.is_silent(&key, began),
                state.pulse.wait(self.patience / 2, began),
            )
        };
        let whole = |reply| Some(request.adopt(reply, transport == Transport::Udp));
        let Some(wait) = wait.filter(|_| old.is_none() || !at_once) else {
            return Resolved {
                reply: old.and_then(whole),
                late: None,
            };
        };
        let flight = self.flight(request, key.clone(), transport);
        let wait = if old.is_some() { wait.min(ENOUGH) } else { wait };
        let mut answered = timeout(wait, flight.clone()).await;
        if answered.is_err() && !self.state().pulse.is_silent(began, Instant::now()) && old.is_none() {
            // The servers are well, and only this question is hard.
            answered = timeout(self.patience, flight.clone()).await;
        }
        let late = answered.is_err().then_some(flight);
        let reply = answered.ok().flatten();
        let Some(old) = old else {
            let reply = reply.and_then(|reply| whole(reply.to_vec()));
            return Resolved { reply, late };
        };
        // A failure is no better than silence.
        let good = reply.filter(|reply| !is_failure(reply));
        if good.is_none() {
            self.state().cache.silent(&key, Instant::now());
        }
        let reply = whole(good.map_or(old, |reply| reply.to_vec()));
        Resolved { reply, late }
    }

    /// The flight that asks this already, or a new one.
    fn flight(self: &Arc<Self>, request: &Request, key: Vec<u8>, transport: Transport) -> Shared<Flight> {
        let mut state = self.state();
        let key = (key, transport);
        if let Some(flight) = state.flights.get(&key).and_then(WeakShared::upgrade) {
            return flight;
        }
        let (this, request) = (Arc::clone(self), request.clone());
        let landing = Landing {
            upstreams: Arc::downgrade(self),
            key: key.clone(),
        };
        let flight: Flight = async move {
            let reply = this.race(&request, transport).await;
            let mut state = this.state();
            if let Some(reply) = &reply {
                let (key, kind, at) = (&landing.key.0, request.kind(), request.records_at());
                state.cache.insert(key, reply, kind, at, Instant::now());
            }
            drop(state);
            drop(landing);
            reply.map(Arc::from)
        }
        .boxed();
        let flight = flight.shared();
        if let Some(weak) = flight.downgrade() {
            state.flights.insert(key, weak);
        }
        flight
    }

    /// The best server first, the next one when it takes long or fails. The first that answers wins.
    async fn race(&self, request: &Request, transport: Transport) -> Option<Vec<u8>> {
        let mut waiting = order(&self.state().health, Instant::now()).into_iter();
        let mut asked = FuturesUnordered::new();
        let mut refusal: Option<Vec<u8>> = None;
        let mut head_start = Duration::ZERO;
        loop {
            tokio::select! {
                biased;
                Some((server, reply)) = asked.next(), if !asked.is_empty() => {
                    let reply: Option<Vec<u8>> = reply;
                    if reply.as_deref().is_some_and(|reply| !is_failure(reply)) {
                        return reply;
                    }
                    tracing::debug!(server = %self.servers[server], "no answer from a server");
                    refusal = reply.or(refusal);
                    head_start = Duration::ZERO;
                }
                () = sleep(head_start), if waiting.len() > 0 => {
                    if let Some(server) = waiting.next() {
                        head_start = self.state().health[server].head_start();
                        asked.push(self.ask_one(server, request, transport));
                    }
                }
                else => return refusal,
            }
        }
    }

    async fn ask_one(
        &self,
        server: usize,
        request: &Request,
        transport: Transport,
    ) -> (usize, Option<Vec<u8>>) {
        let began = Instant::now();
        let asking = ask(request, transport, self.servers[server], &*self.exit);
        let reply = match timeout(self.patience, asking).await {
            Ok(Ok(reply)) => Some(reply),
            Ok(Err(error)) => {
                tracing::debug!(server = %self.servers[server], %error, "a server can't be asked");
                None
            }
            Err(_) => None,
        };
        let mut state = self.state();
        if reply.is_some() {
            state.pulse.answered(Instant::now());
        }
        match &reply {
            Some(reply) if !is_failure(reply) => state.health[server].answered(began.elapsed()),
            _ => state.health[server].failed(Instant::now()),
        }
        drop(state);
        (server, reply)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a flight off the list when it has ended, in whichever way.
struct Landing {
    upstreams: std::sync::Weak<Upstreams>,
    key: (Vec<u8>, Transport),
}

impl Drop for Landing {
    fn drop(&mut self) {
        if let Some(upstreams) = self.upstreams.upgrade() {
            upstreams.state().flights.remove(&self.key);
        }
    }
}

fn is_failure(reply: &[u8]) -> bool {
    matches!(reply[3] & 0x0f, code::SERV_FAIL | code::REFUSED)
}
