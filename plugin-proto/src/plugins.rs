//! Plugins by name: found at first use, shaken hands with once, and again when they have been away.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::StatusCode;
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep, timeout_at},
};

use crate::{
    activation::Activate,
    call::Call,
    decode,
    discovery::{self, Address, Places},
    error::{Error, Result},
    exchange::{Answer, Failure, Limits, exchange},
};

/// Calls of one plugin under way at once.
const AT_ONCE: usize = 32;

/// All plugins of this host.
#[derive(Debug)]
pub struct Plugins {
    places: Places,
    limits: Limits,
    known: Mutex<HashMap<String, Arc<Plugin>>>,
    /// What this process serves itself.
    own: Option<String>,
}

/// A plugin by its name, which may be there or not at any moment.
#[derive(Debug)]
pub struct Plugin {
    name: String,
    places: Places,
    limits: Limits,
    /// It is this process.
    own: bool,
    state: Mutex<State>,
    /// One handshake at a time.
    activation: tokio::sync::Mutex<()>,
    calls: Semaphore,
}

#[derive(Debug, Default)]
struct State {
    active: Option<Active>,
    wary: Option<Instant>,
}

/// A plugin that has shaken hands.
#[derive(Debug, Clone)]
struct Active {
    address: Address,
    implements: Arc<[String]>,
}

impl Plugins {
    /// Those that are found in these places.
    pub fn new(places: Places, limits: Limits) -> Arc<Self> {
        Self::beside(places, limits, None)
    }

    /// The same for who is a plugin, too: under its own name it would call itself.
    pub fn beside(places: Places, limits: Limits, own: Option<&str>) -> Arc<Self> {
        Arc::new(Self {
            places,
            limits,
            known: Mutex::default(),
            own: own.map(str::to_owned),
        })
    }

    /// The plugin of that name, whether it is there or not.
    pub fn named(&self, name: &str) -> Arc<Plugin> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let plugin = known.entry(name.to_owned()).or_insert_with(|| {
            Arc::new(Plugin {
                name: name.to_owned(),
                places: self.places.clone(),
                limits: self.limits,
                own: self.own.as_deref() == Some(name),
                state: Mutex::default(),
                activation: tokio::sync::Mutex::default(),
                calls: Semaphore::new(AT_ONCE),
            })
        });
        Arc::clone(plugin)
    }

    /// Every plugin that there is a file for right now, or was when it shook hands.
    pub fn all(&self) -> Vec<Arc<Plugin>> {
        let mut names = discovery::names(&self.places);
        names.extend(self.active().into_keys());
        names.retain(|name| self.own.as_ref() != Some(name));
        names.sort();
        names.dedup();
        names.iter().map(|name| self.named(name)).collect()
    }

    /// How long a plugin is looked for that nobody has seen yet.
    pub fn search(&self) -> Duration {
        self.limits.search
    }

    /// Forgets a plugin that nobody uses: names that were only mistyped don't pile up.
    pub fn forget(&self, name: &str) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.remove(name);
    }

    /// What each plugin implements that has shaken hands.
    pub fn active(&self) -> BTreeMap<String, Vec<String>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .values()
            .filter_map(|plugin| {
                Some((
                    plugin.name.clone(),
                    plugin.state().active.clone()?.implements.to_vec(),
                ))
            })
            .collect()
    }
}

impl Plugin {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether there is a socket or a specification of this name right now.
    pub fn is_there(&self) -> bool {
        // It need not be looked for: what it says is known.
        if self.own {
            return true;
        }
        !matches!(
            discovery::locate(&self.places, &self.name),
            Err(Error::NotFound { .. })
        )
    }

    /// Finds it, shakes hands, and sees that it implements a subsystem. A plugin whose file isn't there yet is looked for
    /// as long as `patience` says: 1, 2, 4, 8 seconds apart.
    ///
    /// # Errors
    /// `NotFound` when there is no such plugin, `NotImplemented` when it is something else, and those of a call.
    pub async fn require(&self, subsystem: &str, patience: Duration) -> Result<()> {
        let mut waits = discovery::waits(patience);
        loop {
            let deadline = self.deadline(Activate::METHOD, Activate::TIMES);
            match (self.activate(deadline).await, waits.next()) {
                (Err(Error::NotFound { .. }), Some(wait)) => {
                    tracing::debug!(plugin = self.name, ?wait, "not there yet");
                    sleep(wait).await;
                }
                (Err(error), _) => return Err(error),
                (Ok(active), _) => return self.implements(&active, subsystem),
            }
        }
    }

    fn implements(&self, active: &Active, subsystem: &str) -> Result<()> {
        match active.implements.iter().any(|one| one == subsystem) {
            true => Ok(()),
            false => Err(Error::NotImplemented {
                plugin: self.name.clone(),
                subsystem: subsystem.to_owned(),
            }),
        }
    }

    /// Calls it.
    ///
    /// # Errors
    /// Every [`Error`]: it may not be there, not answer, answer nonsense, or refuse.
    pub async fn call<C: Call + Sync>(&self, call: &C) -> Result<C::Reply> {
        let deadline = self.deadline(C::METHOD, C::TIMES);
        let subsystem = C::METHOD.split('.').next().unwrap_or_default();
        let permit = self.in_time(deadline, C::METHOD, self.calls.acquire()).await?;
        let active = self.found(deadline).await?;
        self.implements(&active, subsystem)?;
        let reply = self.ask(&active.address, call, deadline).await;
        drop(permit);
        if reply.as_ref().is_err_and(Error::is_silence) {
            // When it is back it may be another one, elsewhere.
            self.state().active = None;
        }
        reply
    }

    /// Where it listens, with the handshake done. One that has gone may be about to come back.
    async fn found(&self, deadline: Deadline) -> Result<Active> {
        let mut waits = discovery::waits(deadline.patience);
        loop {
            let error = match self.activate(deadline).await {
                Err(error @ Error::NotFound { .. }) => error,
                other => return other,
            };
            match waits.next() {
                Some(wait) if Instant::now() + wait < deadline.at => {
                    tracing::warn!(plugin = self.name, ?wait, "it is gone, looking again");
                    sleep(wait).await;
                }
                _ => {
                    self.state().wary = Some(Instant::now() + self.limits.wary);
                    return Err(error);
                }
            }
        }
    }

    /// Where it listens, with the handshake done.
    async fn activate(&self, deadline: Deadline) -> Result<Active> {
        if self.own {
            return Err(Error::Own {
                plugin: self.name.clone(),
            });
        }
        if let Some(active) = self.state().active.clone() {
            return Ok(active);
        }
        let _activation = self
            .in_time(deadline, Activate::METHOD, async {
                Ok(self.activation.lock().await)
            })
            .await?;
        if let Some(active) = self.state().active.clone() {
            return Ok(active);
        }
        let address = discovery::locate(&self.places, &self.name)?;
        let activation = self.ask(&address, &Activate, deadline).await?;
        let active = Active {
            address,
            implements: activation.implements.into(),
        };
        tracing::info!(plugin = self.name, address = %active.address, implements = ?active.implements, "activated");
        self.state().active = Some(active.clone());
        Ok(active)
    }

    /// Asks, again and again while nobody is there to ask, and reads the answer.
    async fn ask<C: Call + Sync>(&self, address: &Address, call: &C, deadline: Deadline) -> Result<C::Reply> {
        let body = Bytes::from(call.body());
        let mut waits = discovery::waits(deadline.patience);
        loop {
            let asked = exchange(address, C::METHOD, body.clone(), self.limits.answer);
            let outcome = timeout_at(deadline.at, asked).await;
            let outcome = outcome.map_err(|_| self.late(C::METHOD, deadline));
            let failure = match outcome? {
                Ok(answer) => {
                    self.state().wary = None;
                    return self.read::<C>(&answer);
                }
                Err(failure) => failure,
            };
            match (failure, waits.next()) {
                (Failure::Connect(reason), Some(wait)) if Instant::now() + wait < deadline.at => {
                    tracing::warn!(
                        plugin = self.name,
                        reason,
                        ?wait,
                        "nobody listens there, trying again"
                    );
                    sleep(wait).await;
                }
                (failure, _) => return Err(self.failed(C::METHOD, address, failure)),
            }
        }
    }

    fn read<C: Call>(&self, answer: &Answer) -> Result<C::Reply> {
        let refused = |message: String| Error::Refused {
            plugin: self.name.clone(),
            method: C::METHOD.to_owned(),
            status: answer.status.as_u16(),
            message: legible(&message),
        };
        let nonsense = |reason: String| Error::Nonsense {
            plugin: self.name.clone(),
            method: C::METHOD.to_owned(),
            reason: legible(&reason),
        };
        let object = decode::object(&answer.body);
        if answer.status != StatusCode::OK {
            let said = object.ok().and_then(|object| decode::refusal(&object));
            return Err(refused(said.unwrap_or_else(|| plain(&answer.body))));
        }
        let object = object.map_err(nonsense)?;
        if let Some(message) = decode::refusal(&object) {
            return Err(refused(message));
        }
        serde_json::from_value(object.into()).map_err(|error| nonsense(error.to_string()))
    }

    fn failed(&self, method: &str, address: &Address, failure: Failure) -> Error {
        let (plugin, method) = (self.name.clone(), method.to_owned());
        let unsent = matches!(failure, Failure::Connect(_));
        match failure {
            Failure::Nonsense(reason) => Error::Nonsense {
                plugin,
                method,
                reason: legible(&reason),
            },
            Failure::Connect(reason) | Failure::Broken(reason) => {
                self.state().wary = Some(Instant::now() + self.limits.wary);
                Error::Unreachable {
                    plugin,
                    address: address.to_string(),
                    method,
                    reason,
                    unsent,
                }
            }
        }
    }

    fn late(&self, method: &str, deadline: Deadline) -> Error {
        self.state().wary = Some(Instant::now() + self.limits.wary);
        Error::Late {
            plugin: self.name.clone(),
            method: method.to_owned(),
            limit: deadline.limit,
        }
    }

    async fn in_time<T>(
        &self,
        deadline: Deadline,
        method: &str,
        work: impl Future<Output = Result<T, tokio::sync::AcquireError>>,
    ) -> Result<T> {
        match timeout_at(deadline.at, work).await {
            Ok(Ok(done)) => Ok(done),
            // Nobody ever closes the semaphore; but if so, no call is answered any more.
            Ok(Err(_)) | Err(_) => Err(self.late(method, deadline)),
        }
    }

    /// How long a call that begins now may take. One that was silent a moment ago does not get the time again.
    fn deadline(&self, method: &str, times: u32) -> Deadline {
        let now = Instant::now();
        let wary = self.state().wary.is_some_and(|until| now < until);
        let (limit, patience) = match wary {
            true => (self.limits.wary_time, Duration::ZERO),
            false => (self.limits.time * times, self.limits.patience),
        };
        tracing::trace!(plugin = self.name, method, ?limit, "calling");
        Deadline {
            at: now + limit,
            limit,
            patience,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Both parts are whole even if a holder of the lock panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When a call ends.
#[derive(Debug, Clone, Copy)]
struct Deadline {
    at: Instant,
    limit: Duration,
    patience: Duration,
}

/// So many letters of what a plugin says are told.
const WORDS: usize = 1000;

/// What a plugin says, for people: not all of it where there is much, and nothing that a terminal would obey.
fn legible(text: &str) -> String {
    let letter = |letter: char| match letter {
        '\n' => letter,
        letter if letter.is_control() => char::REPLACEMENT_CHARACTER,
        letter => letter,
    };
    let mut letters = text.chars().map(letter);
    let mut told: String = letters.by_ref().take(WORDS).collect();
    if letters.next().is_some() {
        told.push('…');
    }
    told
}

/// The text of a body that is no reply; not all of it where there is much.
fn plain(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(4 * WORDS)]);
    match text.trim() {
        "" => "no reason given".to_owned(),
        text => text.to_owned(),
    }
}
