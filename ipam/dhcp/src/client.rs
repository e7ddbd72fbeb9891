//! Pure: what a client does next (RFC 2131, figure 5). Whoever has a socket and a clock carries it out and says what came
//! of it.

use std::{net::Ipv4Addr, time::Duration};

use model::{Lease, Timestamp};

use crate::{Kind, Question, Reply};

/// The first wait for an answer; each further one is twice as long, up to the longest (RFC 2131, 4.1).
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(64);
/// How often an offer is asked for before another one is looked for.
const SELECTIONS: u32 = 4;
/// How often a server is asked about an address of old before any other will do.
const REBOOTS: u32 = 3;
/// The least time between two questions of who has a lease (RFC 2131, 4.4.5).
const RENEWAL: Duration = Duration::from_secs(60);

/// Where a client is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It has nothing and looks for a server; this address, if it can be.
    Init(Option<Ipv4Addr>),
    /// It has chosen an offer.
    Requesting {
        /// The address.
        address: Ipv4Addr,
        /// Who offered it.
        server: Ipv4Addr,
    },
    /// It had a lease and doesn't know whether that is still good.
    Rebooting(Lease),
    /// It has a lease.
    Bound(Lease),
    /// It asks its server for more time.
    Renewing(Lease),
    /// It asks any server for more time.
    Rebinding(Lease),
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

/// By which way a question goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// To everybody, from nobody.
    Everybody,
    /// From the address worn, to this one.
    Server {
        /// The address worn.
        from: Ipv4Addr,
        /// The server, or everybody.
        to: Ipv4Addr,
    },
}

/// A question, and how long its answer has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The question.
    pub question: Question,
    /// Its way.
    pub to: To,
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

/// Why an address is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The server wants it back.
    Refused,
    /// Nobody has given more time.
    Expired,
}

/// What came of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing has changed for whoever uses the address.
    Nothing,
    /// The address is ours to use, or for longer; what came with it may be other than before.
    Bound(Lease),
    /// It must not be used any more.
    Lost(Loss),
}

impl Client {
    /// One that has nothing, and would like this address.
    pub const fn new(wanted: Option<Ipv4Addr>) -> Self {
        Self::at(State::Init(wanted))
    }

    /// One whose lease was kept: it goes on with it as far as it lasts, and else asks for the same.
    pub fn with(lease: Lease, now: Timestamp) -> Self {
        match left(&lease, lease.lasts, now) {
            Some(Duration::ZERO) => Self::at(State::Rebooting(lease)),
            _ => Self::at(State::Bound(lease)),
        }
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
    pub const fn lease(&self) -> Option<&Lease> {
        match &self.state {
            State::Bound(lease)
            | State::Renewing(lease)
            | State::Rebinding(lease)
            | State::Rebooting(lease) => Some(lease),
            State::Init(_) | State::Requesting { .. } => None,
        }
    }

    fn go(&mut self, state: State) {
        *self = Self::at(state);
    }

    /// What to do now.
    pub fn next(&mut self, now: Timestamp) -> Next {
        self.pass_time(now);
        let looks = matches!(
            self.state,
            State::Init(_) | State::Requesting { .. } | State::Rebooting(_)
        );
        if let Some(until) = self.not_before.filter(|until| looks && now < *until) {
            return Next::Rest(Some(until));
        }
        let everybody = |question, wait| {
            Next::Ask(Ask {
                question,
                to: To::Everybody,
                wait,
            })
        };
        match &self.state {
            State::Init(wanted) => everybody(Question::Discover(*wanted), backoff(self.tries)),
            State::Requesting { address, server } => {
                let (address, server) = (*address, *server);
                everybody(Question::Select { address, server }, backoff(self.tries))
            }
            State::Rebooting(lease) => everybody(Question::Reboot(lease.address.addr()), backoff(self.tries)),
            State::Bound(lease) => Next::Rest(after(lease, lease.renew_after)),
            State::Renewing(lease) => self.ask_again(lease, lease.server, now),
            State::Rebinding(lease) if left(lease, lease.lasts, now) == Some(Duration::ZERO) => {
                let address = lease.address.addr();
                self.go(State::Init(Some(address)));
                Next::Lost(Loss::Expired)
            }
            State::Rebinding(lease) => self.ask_again(lease, Ipv4Addr::BROADCAST, now),
        }
    }

    fn ask_again(&self, lease: &Lease, to: Ipv4Addr, now: Timestamp) -> Next {
        match self.not_before {
            Some(until) if now < until => Next::Rest(Some(until)),
            _ => Next::Ask(Ask {
                question: Question::Renew(lease.address.addr()),
                to: To::Server {
                    from: lease.address.addr(),
                    to,
                },
                wait: backoff(1),
            }),
        }
    }

    /// T1 and T2.
    fn pass_time(&mut self, now: Timestamp) {
        if let State::Bound(lease) = &self.state
            && left(lease, lease.renew_after, now) == Some(Duration::ZERO)
        {
            self.go(State::Renewing(lease.clone()));
        }
        if let State::Renewing(lease) = &self.state
            && left(lease, lease.rebind_after, now) == Some(Duration::ZERO)
        {
            self.go(State::Rebinding(lease.clone()));
        }
    }

    /// What was answered to a question that went out at `asked`; none if nobody answered.
    pub fn answered(&mut self, answer: Option<&Reply>, asked: Timestamp, now: Timestamp) -> Outcome {
        match answer {
            None => self.silence(now),
            Some(reply) => self.reply(reply, asked),
        }
    }

    /// Whether a reply is one that this state waits for. Others come by, too: answers of a second server, for one.
    pub fn waits_for(&self, reply: &Reply) -> bool {
        let from = |server: Ipv4Addr| reply.server.is_none_or(|own| own == server);
        match (&self.state, reply.kind) {
            (State::Init(_), Kind::Offer) => reply.server.is_some(),
            (State::Requesting { address, server }, Kind::Ack) => {
                reply.address == *address && from(*server) && is_whole(reply)
            }
            (State::Requesting { server, .. }, Kind::Nak) => from(*server),
            (State::Rebooting(lease) | State::Renewing(lease) | State::Rebinding(lease), Kind::Ack) => {
                reply.address == lease.address.addr() && is_whole(reply)
            }
            (State::Renewing(lease), Kind::Nak) => from(lease.server),
            (State::Rebooting(_) | State::Rebinding(_), Kind::Nak) => true,
            _ => false,
        }
    }

    fn reply(&mut self, reply: &Reply, asked: Timestamp) -> Outcome {
        if !self.waits_for(reply) {
            return Outcome::Nothing;
        }
        match (reply.kind, reply.server) {
            (Kind::Offer, Some(server)) => {
                let address = reply.address;
                self.go(State::Requesting { address, server });
                Outcome::Nothing
            }
            (Kind::Ack, _) => match reply.lease(asked) {
                Some(lease) => {
                    self.go(State::Bound(lease.clone()));
                    Outcome::Bound(lease)
                }
                None => Outcome::Nothing,
            },
            (Kind::Nak, _) => {
                let had = self.lease().is_some();
                self.go(State::Init(None));
                match had {
                    true => Outcome::Lost(Loss::Refused),
                    false => Outcome::Nothing,
                }
            }
            (Kind::Offer, None) => Outcome::Nothing,
        }
    }

    fn silence(&mut self, now: Timestamp) -> Outcome {
        self.tries += 1;
        match &self.state {
            State::Requesting { address, .. } if self.tries >= SELECTIONS => {
                self.go(State::Init(Some(*address)));
            }
            // Its time is over, so nobody but a server can say that it is good.
            State::Rebooting(lease) if self.tries >= REBOOTS => {
                let address = lease.address.addr();
                self.go(State::Init(Some(address)));
                return Outcome::Lost(Loss::Expired);
            }
            State::Renewing(lease) => self.not_before = halfway(lease, lease.rebind_after, now),
            State::Rebinding(lease) => self.not_before = halfway(lease, lease.lasts, now),
            State::Init(_) | State::Requesting { .. } | State::Rebooting(_) | State::Bound(_) => {}
        }
        Outcome::Nothing
    }

    /// Looks for another address: somebody uses this one. Answers what its server is told.
    pub fn decline(&mut self) -> Option<Question> {
        let (address, server) = self.lease().map(|lease| (lease.address.addr(), lease.server))?;
        self.go(State::Init(None));
        Some(Question::Decline { address, server })
    }

    /// Asks nothing for a while: what was asked goes on for long.
    pub const fn pause(&mut self, until: Timestamp) {
        self.not_before = Some(until);
    }
}

fn is_whole(reply: &Reply) -> bool {
    reply.lease(Timestamp::ZERO).is_some()
}

fn backoff(tries: u32) -> Duration {
    let doubled = FIRST_WAIT.checked_mul(1 << tries.min(8));
    doubled.map_or(LONGEST_WAIT, |wait| wait.min(LONGEST_WAIT))
}

/// How much of so many seconds of a lease is left; none if it has no end. A clock that was set back gives no more than
/// the whole.
fn left(lease: &Lease, seconds: u32, now: Timestamp) -> Option<Duration> {
    let whole = Duration::from_secs(seconds.into());
    (seconds != Lease::FOR_EVER).then(|| whole.saturating_sub(now.since(lease.obtained)))
}

fn after(lease: &Lease, seconds: u32) -> Option<Timestamp> {
    (seconds != Lease::FOR_EVER).then(|| lease.obtained.plus(Duration::from_secs(seconds.into())))
}

/// Half of what is left until then, at least a minute, and then itself.
fn halfway(lease: &Lease, seconds: u32, now: Timestamp) -> Option<Timestamp> {
    let left = left(lease, seconds, now)?;
    Some(now.plus((left / 2).max(RENEWAL).min(left)))
}

#[cfg(test)]
mod tests;
