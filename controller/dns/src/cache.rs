//! Pure: replies of servers, kept for as long as their records may be (RFC 1035, 2308), and a while longer for the time
//! when no server answers (RFC 8767). Time comes in as an argument.
//!
//! Bounded in entries and in bytes. What is asked for again survives the hand of the clock once.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    message::is_truncated,
    wire::{self, code},
};

/// No answer is kept longer, whatever it says.
const LONGEST: u32 = 24 * 3600;
/// No "there is none" is kept longer (RFC 2308, section 5).
const LONGEST_NEGATIVE: u32 = 3600;
/// A server's failure is kept only so that a crowd asking at once asks once.
const FAILURE: u32 = 1;
/// How long after its time a reply may still be served when nobody answers.
const STALE: Duration = Duration::from_secs(24 * 3600);
/// When no server answered a question, its old reply is given at once for so long.
const SILENCE: Duration = Duration::from_secs(5);
/// What a stale reply's records may be kept for (RFC 8767, section 5).
const STALE_TTL: u32 = 30;
/// What an entry costs beside its bytes.
const OVERHEAD: usize = 160;

/// Room that several caches share.
#[derive(Debug)]
pub struct Room {
    used: AtomicUsize,
    limit: usize,
}

impl Room {
    /// Room for so many bytes.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            used: AtomicUsize::new(0),
            limit,
        })
    }

    fn take(&self, bytes: usize) -> bool {
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        let fits = before + bytes <= self.limit;
        if !fits {
            self.give(bytes);
        }
        fits
    }

    fn give(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Replies by question.
#[derive(Debug)]
pub(crate) struct Cache {
    entries: HashMap<Arc<[u8]>, Entry>,
    /// Every key once, the one to be looked at next first.
    clock: VecDeque<Arc<[u8]>>,
    bytes: usize,
    most_entries: usize,
    most_bytes: usize,
    room: Arc<Room>,
}

#[derive(Debug)]
struct Entry {
    reply: Box<[u8]>,
    /// Where its times to live are.
    ttls: Box<[u16]>,
    stored: Instant,
    ttl: Duration,
    asked: bool,
    /// When it was last asked for in vain.
    silence: Option<Instant>,
}

impl Cache {
    pub(crate) fn new(most_entries: usize, most_bytes: usize, room: Arc<Room>) -> Self {
        Self {
            entries: HashMap::new(),
            clock: VecDeque::new(),
            bytes: 0,
            most_entries,
            most_bytes,
            room,
        }
    }

    /// A reply whose time has not passed, its records' times lowered by its age.
    pub(crate) fn fresh(&mut self, key: &[u8], now: Instant) -> Option<Vec<u8>> {
        let entry = self.entries.get_mut(key)?;
        let age = now.saturating_duration_since(entry.stored);
        if age >= entry.ttl {
            return None;
        }
        entry.asked = true;
        let seconds = u32::try_from(age.as_secs()).unwrap_or(u32::MAX);
        Some(entry.with_times(|ttl| ttl.saturating_sub(seconds)))
    }

    /// A reply whose time may have passed, for when nobody answers.
    pub(crate) fn stale(&self, key: &[u8], now: Instant) -> Option<Vec<u8>> {
        let entry = self.entries.get(key)?;
        let age = now.saturating_duration_since(entry.stored);
        let useful = matches!(entry.reply[3] & 0x0f, code::NO_ERROR | code::NX_DOMAIN);
        (useful && age < entry.ttl + STALE).then(|| entry.with_times(|ttl| ttl.min(STALE_TTL)))
    }

    /// Whether nobody answered this question a moment ago.
    pub(crate) fn is_silent(&self, key: &[u8], now: Instant) -> bool {
        let silence = self.entries.get(key).and_then(|entry| entry.silence);
        silence.is_some_and(|since| now.saturating_duration_since(since) < SILENCE)
    }

    /// Nobody answered this question: what is known of it will do for a while.
    pub(crate) fn silent(&mut self, key: &[u8], now: Instant) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.silence = Some(now);
        }
    }

    /// Keeps a reply, if it may be kept. `kind` is what was asked for, `at` where its records begin.
    pub(crate) fn insert(&mut self, key: &[u8], reply: &[u8], kind: u16, at: usize, now: Instant) {
        let Some((ttl, ttls)) = keepable(reply, kind, at) else {
            return;
        };
        let entry = Entry {
            reply: reply.into(),
            ttls,
            stored: now,
            ttl: Duration::from_secs(ttl.into()),
            asked: false,
            silence: None,
        };
        let failed = entry.reply[3] & 0x0f == code::SERV_FAIL;
        if failed && self.stale(key, now).is_some() {
            return; // an old answer is worth more than a new failure
        }
        let cost = cost(key, &entry);
        if let Some(before) = self.entries.get(key) {
            let released = self::cost(key, before);
            self.release(released);
            self.entries.remove(key);
            self.make_room(cost, Some(key));
            if self.claim(cost) {
                self.entries.insert(key.into(), entry);
            }
            return;
        }
        self.make_room(cost, None);
        if self.entries.len() < self.most_entries && self.claim(cost) {
            let key: Arc<[u8]> = key.into();
            self.clock.push_back(Arc::clone(&key));
            self.entries.insert(key, entry);
        }
    }

    /// How many replies there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Turns the clock until there is room, but at most once around and once more.
    fn make_room(&mut self, cost: usize, keep: Option<&[u8]>) {
        for _ in 0..2 * self.clock.len() {
            let full = self.entries.len() >= self.most_entries || self.bytes + cost > self.most_bytes;
            if !full {
                return;
            }
            let Some(key) = self.clock.pop_front() else {
                return;
            };
            match self.entries.get_mut(&key) {
                Some(entry) if entry.asked => entry.asked = false,
                None if keep != Some(&*key) => continue,
                None => {}
                Some(_) => {
                    if let Some(entry) = self.entries.remove(&key) {
                        self.release(self::cost(&key, &entry));
                    }
                    continue;
                }
            }
            self.clock.push_back(key);
        }
    }

    fn claim(&mut self, bytes: usize) -> bool {
        let fits = self.bytes + bytes <= self.most_bytes && self.room.take(bytes);
        if fits {
            self.bytes += bytes;
        }
        fits
    }

    fn release(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.room.give(bytes);
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        self.room.give(self.bytes);
    }
}

impl Entry {
    fn with_times(&self, change: impl Fn(u32) -> u32) -> Vec<u8> {
        let mut reply = self.reply.to_vec();
        for at in self.ttls.iter().map(|at| usize::from(*at)) {
            let ttl = wire::u32_at(&reply, at).unwrap_or_default();
            reply[at..at + 4].copy_from_slice(&change(ttl).to_be_bytes());
        }
        reply
    }
}

fn cost(key: &[u8], entry: &Entry) -> usize {
    OVERHEAD + 2 * key.len() + entry.reply.len() + 2 * entry.ttls.len()
}

/// For how many seconds a reply may be kept, and where its times to live are; none for not at all.
fn keepable(reply: &[u8], kind: u16, at: usize) -> Option<(u32, Box<[u16]>)> {
    if is_truncated(reply) {
        return None;
    }
    let rcode = reply[3] & 0x0f;
    if rcode == code::SERV_FAIL {
        return Some((FAILURE, Box::default()));
    }
    if !matches!(rcode, code::NO_ERROR | code::NX_DOMAIN) || wire::u16_at(reply, 4) != Some(1) {
        return None;
    }
    let records = wire::records(reply, at)?;
    let kept: Vec<_> = records.iter().filter(|record| record.kind != wire::OPT).collect();
    let answers = kept
        .iter()
        .any(|record| record.section == 0 && (record.kind == kind || kind == wire::ANY));
    let mut ttl = match answers && rcode == code::NO_ERROR {
        true => LONGEST,
        // Without a start of authority nobody says for how long there is none.
        false => kept
            .iter()
            .filter(|record| record.section == 1)
            .find_map(|record| wire::soa_minimum(reply, record))?
            .min(LONGEST_NEGATIVE),
    };
    let mut ttls = Vec::with_capacity(kept.len());
    for record in kept {
        // A time with its highest bit set counts as none (RFC 2181, section 8).
        let own = wire::u32_at(reply, record.ttl_at).filter(|ttl| ttl >> 31 == 0)?;
        ttl = ttl.min(own);
        ttls.push(u16::try_from(record.ttl_at).ok()?);
    }
    (ttl > 0).then(|| (ttl, ttls.into()))
}

#[cfg(test)]
mod tests;
