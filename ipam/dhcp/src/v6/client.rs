//! Pure: what a client does next (RFC 8415, section 18.2). Whoever has a socket and a clock carries it out and says what
//! came of it.

use std::{net::Ipv6Addr, time::Duration};

use model::{Lease, LeaseV6, Timestamp};

use super::{Kind, Question, Reply};
use crate::Loss;

/// The first wait for an answer; each further one is twice as long, up to the longest.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(120);
/// How often an offer is asked for before another one is looked for.
const SELECTIONS: u32 = 4;
/// The least and the most time between two questions of who has a lease (REN_TIMEOUT, REN_MAX_RT).
const RENEWAL: Duration = Duration::from_secs(10);
const LONGEST_RENEWAL: Duration = Duration::from_secs(600);

/// Where a client is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It has nothing and looks for a server; this address, if it can be.
    Init(Option<Ipv6Addr>),
    /// It has chosen an offer.
    Requesting {
        /// The address.
        address: Ipv6Addr,
        /// Who offered it.
        server: Vec<u8>,
        /// The lease of it that the client has and its server has forgotten.
        held: Option<LeaseV6>,
    },
    /// It has a lease.
    Bound(LeaseV6),
    /// It asks its server for more time.
    Renewing(LeaseV6),
    /// It asks any server for more time.
    Rebinding(LeaseV6),
}

/// A client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    state: State,
    /// Questions without an answer in this state.
    tries: u32,
    /// Nothing is asked before this.
    not_before: Option<Timestamp>,
}

/// A question, always to all servers, and how long its answer has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The question.
    pub question: Question,
    /// How long an answer is waited for.
    pub wait: Duration,
}

/// What is to be done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Ask, and say what was answered.
    Ask(Ask),
    /// Nothing until then; none for ever.
    Rest(Option<Timestamp>),
    /// The lease has ended: its address must not be used any more. Then ask again.
    Lost(Loss),
}

/// What came of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing has changed for whoever uses the address.
    Nothing,
    /// The address is ours to use, or for longer; it may be another one than before.
    Bound(LeaseV6),
    /// It must not be used any more.
    Lost(Loss),
}

impl Client {
    /// One that has nothing, and would like this address.
    pub const fn new(wanted: Option<Ipv6Addr>) -> Self {
        Self::at(State::Init(wanted))
    }

    /// One whose lease was kept: it goes on with it as far as it lasts.
    pub const fn with(lease: LeaseV6) -> Self {
        Self::at(State::Bound(lease))
    }

    const fn at(state: State) -> Self {
        Self {
            state,
            tries: 0,
            not_before: None,
        }
    }

    /// Where it is.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The lease it goes by.
    pub const fn lease(&self) -> Option<&LeaseV6> {
        match &self.state {
            State::Bound(lease) | State::Renewing(lease) | State::Rebinding(lease) => Some(lease),
            State::Requesting { held, .. } => held.as_ref(),
            State::Init(_) => None,
        }
    }

    fn go(&mut self, state: State) {
        *self = Self::at(state);
    }

    /// What to do now.
    pub fn next(&mut self, now: Timestamp) -> Next {
        self.pass_time(now);
        if let Some(lease) = self.lease().filter(|lease| is_over(lease, lease.lasts, now)) {
            let address = lease.address;
            self.go(State::Init(Some(address)));
            return Next::Lost(Loss::Expired);
        }
        if let Some(until) = self.not_before.filter(|until| now < *until) {
            return Next::Rest(Some(until));
        }
        let ask = |question| {
            Next::Ask(Ask {
                question,
                wait: backoff(self.tries),
            })
        };
        match &self.state {
            State::Init(wanted) => ask(Question::Solicit(*wanted)),
            State::Requesting { address, server, .. } => ask(Question::Request {
                address: *address,
                server: server.clone(),
            }),
            State::Bound(lease) => Next::Rest(after(lease, lease.renew_after)),
            State::Renewing(lease) => ask(Question::Renew {
                address: lease.address,
                server: lease.server.clone(),
            }),
            State::Rebinding(lease) => ask(Question::Rebind(lease.address)),
        }
    }

    /// T1 and T2.
    fn pass_time(&mut self, now: Timestamp) {
        if let State::Bound(lease) = &self.state
            && is_over(lease, lease.renew_after, now)
        {
            self.go(State::Renewing(lease.clone()));
        }
        if let State::Renewing(lease) = &self.state
            && is_over(lease, lease.rebind_after, now)
        {
            self.go(State::Rebinding(lease.clone()));
        }
    }

    /// Whether a reply is one that this state waits for.
    pub fn waits_for(&self, reply: &Reply) -> bool {
        match (&self.state, reply.kind) {
            (State::Init(_), Kind::Advertise) | (State::Rebinding(_), Kind::Reply) => true,
            (State::Requesting { server, .. }, Kind::Reply) => reply.server == *server,
            (State::Renewing(lease), Kind::Reply) => reply.server == lease.server,
            _ => false,
        }
    }

    /// What was answered to a question that went out at `asked`; none if nobody answered.
    pub fn answered(&mut self, answer: Option<&Reply>, asked: Timestamp, now: Timestamp) -> Outcome {
        match answer.filter(|reply| self.waits_for(reply)) {
            None => self.silence(now),
            Some(reply) => self.reply(reply, asked, now),
        }
    }

    fn reply(&mut self, reply: &Reply, asked: Timestamp, now: Timestamp) -> Outcome {
        match &self.state {
            State::Init(wanted) => match reply.lease(*wanted, asked) {
                Some(offered) => self.go(State::Requesting {
                    address: offered.address,
                    server: offered.server,
                    held: None,
                }),
                // Another one may have an address.
                None => self.tries += 1,
            },
            State::Requesting { address, .. } => match reply.lease(Some(*address), asked) {
                Some(lease) => return self.bind(lease),
                None => return self.refused(),
            },
            State::Renewing(lease) | State::Rebinding(lease) => {
                if let Some(more) = reply.lease(Some(lease.address), asked) {
                    return self.bind(more);
                }
                if reply.forgot {
                    let held = lease.clone();
                    self.go(State::Requesting {
                        address: held.address,
                        server: reply.server.clone(),
                        held: Some(held),
                    });
                } else if reply.refusal.is_none() {
                    // The address is in it with no time left, or not at all.
                    return self.refused();
                } else {
                    return self.silence(now);
                }
            }
            State::Bound(_) => {}
        }
        Outcome::Nothing
    }

    fn bind(&mut self, lease: LeaseV6) -> Outcome {
        self.go(State::Bound(lease.clone()));
        Outcome::Bound(lease)
    }

    fn refused(&mut self) -> Outcome {
        let had = self.lease().is_some();
        self.go(State::Init(None));
        match had {
            true => Outcome::Lost(Loss::Refused),
            false => Outcome::Nothing,
        }
    }

    fn silence(&mut self, now: Timestamp) -> Outcome {
        self.tries += 1;
        match &self.state {
            State::Requesting { address, held, .. } if self.tries >= SELECTIONS => match held.clone() {
                None => {
                    let wanted = Some(*address);
                    self.go(State::Init(wanted));
                }
                // Whoever has forgotten it is gone: others are asked as long as it lasts.
                Some(held) => {
                    self.not_before = halfway(&held, held.lasts, now);
                    self.state = State::Rebinding(held);
                    self.tries = 0;
                }
            },
            State::Renewing(lease) => self.not_before = halfway(lease, lease.rebind_after, now),
            State::Rebinding(lease) => self.not_before = halfway(lease, lease.lasts, now),
            State::Init(_) | State::Requesting { .. } | State::Bound(_) => {}
        }
        Outcome::Nothing
    }

    /// Looks for another address: somebody uses this one. Answers what its server is told.
    pub fn decline(&mut self) -> Option<Question> {
        let (address, server) = self.lease().map(|lease| (lease.address, lease.server.clone()))?;
        self.go(State::Init(None));
        Some(Question::Decline { address, server })
    }

    /// Asks nothing for a while.
    pub const fn pause(&mut self, until: Timestamp) {
        self.not_before = Some(until);
    }
}

fn backoff(tries: u32) -> Duration {
    let doubled = FIRST_WAIT.checked_mul(1 << tries.min(8));
    doubled.map_or(LONGEST_WAIT, |wait| wait.min(LONGEST_WAIT))
}

/// How much of so many seconds of a lease is left; none if it has no end. A clock that was set back gives no more than
/// the whole.
fn left(lease: &LeaseV6, seconds: u32, now: Timestamp) -> Option<Duration> {
    let whole = Duration::from_secs(seconds.into());
    (seconds != Lease::FOR_EVER).then(|| whole.saturating_sub(now.since(lease.obtained)))
}

fn is_over(lease: &LeaseV6, seconds: u32, now: Timestamp) -> bool {
    left(lease, seconds, now) == Some(Duration::ZERO)
}

fn after(lease: &LeaseV6, seconds: u32) -> Option<Timestamp> {
    (seconds != Lease::FOR_EVER).then(|| lease.obtained.plus(Duration::from_secs(seconds.into())))
}

/// Half of what is left until then, within bounds, and then itself.
fn halfway(lease: &LeaseV6, seconds: u32, now: Timestamp) -> Option<Timestamp> {
    let wait = match left(lease, seconds, now) {
        Some(left) => (left / 2).clamp(RENEWAL, LONGEST_RENEWAL).min(left),
        None => LONGEST_RENEWAL,
    };
    Some(now.plus(wait))
}

#[cfg(test)]
mod tests;
