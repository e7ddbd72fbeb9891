//! Leases kept in this process, for the memory and the embedded store.

use std::{collections::HashMap, time::Duration};

use tokio::time::{Instant, sleep_until};

use crate::{Error, LeaseId, Result, Txn, Write};

#[derive(Debug)]
struct Lease {
    ttl: Duration,
    deadline: Instant,
    /// Over, but its keys may not have been removed yet.
    ended: bool,
}

/// Whether a lease is over.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Nobody knows it any more.
    Gone,
    /// Not before this moment.
    At(Instant),
    /// Now: its keys are to be removed.
    Now,
}

/// Every lease that is held, and those that ended but whose keys are still there.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    leases: HashMap<LeaseId, Lease>,
    granted: u64,
}

impl Leases {
    pub(crate) fn grant(&mut self, ttl: Duration, now: Instant) -> (LeaseId, Instant) {
        self.granted += 1;
        let id = LeaseId(self.granted.to_string());
        let deadline = now + ttl;
        let lease = Lease {
            ttl,
            deadline,
            ended: false,
        };
        self.leases.insert(id.clone(), lease);
        (id, deadline)
    }

    pub(crate) fn renew(&mut self, id: &LeaseId, now: Instant) -> Result<()> {
        match self.leases.get_mut(id) {
            Some(lease) if !lease.ended && now < lease.deadline => {
                lease.deadline = now + lease.ttl;
                Ok(())
            }
            _ => Err(Error::LeaseEnded(id.clone())),
        }
    }

    pub(crate) fn due(&mut self, id: &LeaseId, now: Instant) -> Due {
        match self.leases.get_mut(id) {
            None => Due::Gone,
            Some(lease) if !lease.ended && now < lease.deadline => Due::At(lease.deadline),
            Some(lease) => {
                lease.ended = true;
                Due::Now
            }
        }
    }

    /// It is over from now on; its keys are still to be removed.
    pub(crate) fn end(&mut self, id: &LeaseId) {
        if let Some(lease) = self.leases.get_mut(id) {
            lease.ended = true;
        }
    }

    /// Its keys are removed.
    pub(crate) fn forget(&mut self, id: &LeaseId) {
        self.leases.remove(id);
    }

    /// Refuses a transaction that writes under a lease which is over.
    pub(crate) fn check(&self, txn: &Txn) -> Result<()> {
        let over = txn.writes.iter().find_map(|write| match write {
            Write::Put {
                lease: Some(lease), ..
            } => self
                .leases
                .get(lease)
                .is_none_or(|held| held.ended)
                .then_some(lease),
            Write::Put { lease: None, .. } | Write::Delete(_) => None,
        });
        over.map_or(Ok(()), |lease| Err(Error::LeaseEnded(lease.clone())))
    }
}

/// Calls `look` when the lease may have ended, and again at every moment it answers, until it answers none.
pub(crate) fn look_at(first: Instant, mut look: impl FnMut() -> Option<Instant> + Send + 'static) {
    tokio::spawn(async move {
        let mut next = Some(first);
        while let Some(at) = next {
            sleep_until(at).await;
            next = look();
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(10);

    #[test]
    fn a_lease_is_due_at_its_deadline_and_a_renewal_moves_it() {
        let now = Instant::now();
        let mut leases = Leases::default();
        let (id, deadline) = leases.grant(TTL, now);
        assert_eq!(leases.due(&id, now), Due::At(deadline));
        let later = now + TTL / 2;
        leases.renew(&id, later).unwrap();
        assert_eq!(leases.due(&id, deadline), Due::At(later + TTL));
        assert_eq!(leases.due(&id, later + TTL), Due::Now);
    }

    #[test]
    fn an_ended_lease_is_neither_renewed_nor_written_under() {
        let now = Instant::now();
        let mut leases = Leases::default();
        let (id, deadline) = leases.grant(TTL, now);
        assert_eq!(leases.due(&id, deadline), Due::Now);
        assert!(matches!(leases.renew(&id, now), Err(Error::LeaseEnded(_))));
        let txn = Txn::new().put_leased(crate::Key::root("a"), vec![], id.clone());
        assert!(matches!(leases.check(&txn), Err(Error::LeaseEnded(_))));
        leases.forget(&id);
        assert_eq!(leases.due(&id, now), Due::Gone);
    }
}
