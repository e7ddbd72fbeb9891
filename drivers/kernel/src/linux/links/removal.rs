//! Removing links without waiting for the kernel's grace periods.
//!
//! The kernel announces that a link is gone long before it acknowledges the request (a veth: 0.5 ms against 8 to 24),
//! so the request is sent by a worker and its caller waits for the announcement. A bridge takes too long even for that:
//! it is renamed, which frees its name, and goes in the background. The kernel keeps everybody else from its links while
//! it removes one (10 to 20 ms, many together take no less), so bridges go one by one, when nobody asks for anything; while
//! somebody always does, with long pauses.

mod quiet;

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
    thread,
    time::{Duration, Instant},
};

use model::InterfaceName;
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::{RouteNetlinkMessage, link::LinkAttribute};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::eventfd::{EfdFlags, EventFd},
};

use self::quiet::Calls;
use super::{find, message};
use crate::{
    Key, Mark, Result,
    linux::{
        netlink::{CHANGE, Connection, Refusal},
        netns,
        visit::{Visits, refused},
    },
    object::Link,
};

/// Workers at most. Each waits for the kernel nearly all of its time.
const WORKERS: usize = 8;
/// How long an idle worker stays.
const PATIENCE: Duration = Duration::from_secs(2);
/// `RTMGRP_LINK`: announcements about links.
const LINKS: u32 = 1;

/// Removes a link if it is this node's. Its name is free on return.
pub(in crate::linux) fn remove(visits: &mut Visits<'_>, mark: &Mark, link: &Link) -> Result<()> {
    let key = Key::Link(link.netns.clone(), link.name.clone());
    let removals = &visits.host().removals;
    let visit = visits.visit(&link.netns, &key)?;
    let Some(found) = find(visit, &link.name, &key)? else {
        return Ok(());
    };
    if found.mark(mark.node).is_none() {
        tracing::debug!(%key, "not removed: it is not this node's");
        return Ok(());
    }
    visit.forget(&link.name);
    let netns = Arc::clone(&visit.descriptor);
    if found.bridge {
        rename(visit.connection(&key)?, &link.name, found.index).map_err(refused(
            &key,
            "renaming it",
            "link",
        ))?;
        removals.queue_bridge(Removal::new(netns, found.index)?);
        return Ok(());
    }
    removals
        .announced(netns, found.index)
        .map_err(refused(&key, "removing it", "link"))
}

/// Frees the name. Kernels before 6.2 rename only what is down.
fn rename(connection: &mut Connection, name: &InterfaceName, index: u32) -> Result<(), Refusal> {
    let mut request = message::indexed(index);
    request
        .attributes
        .push(LinkAttribute::IfName(format!("gone-{index}")));
    match connection.change(RouteNetlinkMessage::SetLink(request.clone()), CHANGE) {
        Err(refusal) if refusal.source.raw_os_error() == Some(Errno::EBUSY as i32) => {
            let mut down = message::indexed(index);
            message::set_up(&mut down, false);
            tracing::debug!(%name, "this kernel renames a bridge only when it is down");
            connection.change(RouteNetlinkMessage::SetLink(down), CHANGE)?;
            connection.change(RouteNetlinkMessage::SetLink(request), CHANGE)
        }
        answer => answer,
    }
}

/// The removals that the kernel is busy with.
#[derive(Debug)]
pub(in crate::linux) struct Removals {
    shared: Arc<Shared>,
    sent: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    calls: Calls,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Removal>,
    /// Bridges, and since when they wait.
    bridges: VecDeque<(Instant, Removal)>,
    /// A worker is there for bridges.
    for_bridges: bool,
    /// How many wait for all to be gone.
    hurried: usize,
    /// Those being worked on.
    running: usize,
    workers: usize,
    idle: usize,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One link on its way out.
#[derive(Debug)]
struct Removal {
    netns: Arc<OwnedFd>,
    index: u32,
    outcome: Arc<Outcome>,
}

/// What became of a removal; the event wakes whoever waits for it.
#[derive(Debug)]
struct Outcome {
    refusal: Mutex<Option<Refusal>>,
    over: EventFd,
}

impl Removal {
    fn new(netns: Arc<OwnedFd>, index: u32) -> Result<Self> {
        Self::prepare(netns, index).map_err(|source| crate::Error::System {
            object: format!("link number {index}"),
            action: "removing it",
            source,
        })
    }

    fn prepare(netns: Arc<OwnedFd>, index: u32) -> io::Result<Self> {
        let over = EventFd::from_flags(EfdFlags::EFD_CLOEXEC)?;
        let outcome = Arc::new(Outcome {
            refusal: Mutex::new(None),
            over,
        });
        Ok(Self {
            netns,
            index,
            outcome,
        })
    }

    fn carry_out(&self, sent: &Arc<AtomicU64>) {
        let request = RouteNetlinkMessage::DelLink(message::indexed(self.index));
        let answer = Connection::open(self.netns.as_fd(), Arc::clone(sent))
            .map_err(Refusal::from)
            .and_then(|mut connection| connection.change(request, CHANGE));
        match answer {
            Err(refusal) if !refusal.is_absence() => {
                tracing::warn!(link = self.index, error = %refusal.source, "removing a link");
                *self
                    .outcome
                    .refusal
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner) = Some(refusal);
            }
            _ => {}
        }
        if let Err(error) = self.outcome.over.write(1) {
            tracing::error!(%error, "telling that a link is removed");
        }
    }
}

impl Removals {
    pub(in crate::linux) fn new(sent: Arc<AtomicU64>) -> Self {
        Self {
            shared: Arc::default(),
            sent,
        }
    }

    /// Has a link removed in the background.
    fn queue(&self, removal: Removal) {
        let mut queue = self.shared.queue();
        queue.waiting.push_back(removal);
        if queue.idle < queue.waiting.len() && queue.workers < WORKERS {
            queue.workers += 1;
            let (shared, sent) = (Arc::clone(&self.shared), Arc::clone(&self.sent));
            let worker = thread::Builder::new().name("link-removal".to_owned());
            if worker.spawn(move || work(&shared, &sent)).is_err() {
                queue.workers -= 1;
                // Slower, but it must be done.
                if queue.workers == 0
                    && let Some(removal) = queue.waiting.pop_back()
                {
                    drop(queue);
                    removal.carry_out(&self.sent);
                    return;
                }
            }
        }
        drop(queue);
        self.shared.changed.notify_all();
    }

    /// Has a bridge removed in the background, when nobody is kept waiting by it.
    fn queue_bridge(&self, removal: Removal) {
        let mut queue = self.shared.queue();
        queue.bridges.push_back((Instant::now(), removal));
        if !queue.for_bridges {
            let (shared, sent) = (Arc::clone(&self.shared), Arc::clone(&self.sent));
            let worker = thread::Builder::new().name("bridge-removal".to_owned());
            if worker.spawn(move || remove_bridges(&shared, &sent)).is_err() {
                if let Some((_, removal)) = queue.bridges.pop_back() {
                    drop(queue);
                    removal.carry_out(&self.sent);
                }
                return;
            }
            queue.for_bridges = true;
        }
    }

    /// Notes that a caller begins to ask the kernel.
    pub(in crate::linux) fn call_begins(&self) {
        self.shared.calls.begin();
    }

    /// Notes that it is done.
    pub(in crate::linux) fn call_ends(&self) {
        self.shared.calls.end();
    }

    /// Has a link removed and returns when the kernel announces that it is gone.
    fn announced(&self, netns: Arc<OwnedFd>, index: u32) -> Result<(), Refusal> {
        let announcements = listen(&netns)?;
        let removal = Removal::prepare(netns, index)?;
        let outcome = Arc::clone(&removal.outcome);
        self.queue(removal);
        until_gone(&announcements, index, &outcome)?;
        let refusal = outcome
            .refusal
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        refusal.map_or(Ok(()), Err)
    }

    /// Waits until nothing is on its way out; false if something still is after `limit`.
    pub(in crate::linux) fn settle(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut queue = self.shared.queue();
        queue.hurried += 1;
        self.shared.changed.notify_all();
        let settled = loop {
            if queue.running == 0 && queue.waiting.is_empty() && queue.bridges.is_empty() {
                break true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break false;
            }
            let woken = self.shared.changed.wait_timeout(queue, left);
            queue = woken.unwrap_or_else(PoisonError::into_inner).0;
        };
        queue.hurried -= 1;
        settled
    }
}

/// A worker's life: it takes what waits, and goes when nothing has come for a while.
fn work(shared: &Shared, sent: &Arc<AtomicU64>) {
    let mut queue = shared.queue();
    loop {
        if let Some(removal) = queue.waiting.pop_front() {
            queue.running += 1;
            drop(queue);
            removal.carry_out(sent);
            drop(removal);
            queue = shared.queue();
            queue.running -= 1;
            shared.changed.notify_all();
            continue;
        }
        queue.idle += 1;
        let woken = shared.changed.wait_timeout(queue, PATIENCE);
        let (next, waited) = woken.unwrap_or_else(PoisonError::into_inner);
        queue = next;
        queue.idle -= 1;
        if waited.timed_out() && queue.waiting.is_empty() {
            queue.workers -= 1;
            return;
        }
    }
}

/// Removes one bridge after another until none waits.
fn remove_bridges(shared: &Shared, sent: &Arc<AtomicU64>) {
    let mut queue = shared.queue();
    let mut before = None;
    while let Some((since, _)) = queue.bridges.front() {
        let patience = match queue.hurried {
            0 => shared.calls.patience(since.elapsed(), before.as_ref()),
            _ => None,
        };
        if let Some(patience) = patience {
            let woken = shared.changed.wait_timeout(queue, patience);
            queue = woken.unwrap_or_else(PoisonError::into_inner).0;
        } else if let Some((_, removal)) = queue.bridges.pop_front() {
            queue.running += 1;
            drop(queue);
            let begun = shared.calls.work_begins();
            removal.carry_out(sent);
            before = Some(shared.calls.work_ends(&begun));
            drop(removal);
            queue = shared.queue();
            queue.running -= 1;
            shared.changed.notify_all();
        }
    }
    queue.for_bridges = false;
}

/// A socket that hears about links.
fn listen(netns: &OwnedFd) -> io::Result<Socket> {
    netns::inside(netns.as_fd(), || {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind(&SocketAddr::new(0, LINKS))?;
        socket.set_non_blocking(true)?;
        Ok(socket)
    })
}

/// Until the link is announced to be gone, or its removal is over in whatever way.
fn until_gone(announcements: &Socket, index: u32, outcome: &Outcome) -> io::Result<()> {
    loop {
        let mut sources = [
            PollFd::new(announcements.as_fd(), PollFlags::POLLIN),
            PollFd::new(outcome.over.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut sources, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            answer => answer?,
        };
        if sources[1].any() == Some(true) || heard(announcements, index)? {
            return Ok(());
        }
    }
}

/// Whether the announcements so far have that of this link. Some may be lost when there are many; then the end of the
/// removal itself wakes us.
fn heard(announcements: &Socket, index: u32) -> io::Result<bool> {
    loop {
        match announcements.recv_from_full() {
            Ok((bytes, _)) if announces(&bytes, index) => return Ok(true),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Bridges announce leaving ports in the family of bridges: the port is still a link then.
fn announces(bytes: &[u8], index: u32) -> bool {
    use netlink_packet_route::AddressFamily;
    let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes);
    matches!(
        message.map(|message| message.payload),
        Ok(NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(gone)))
            if gone.header.index == index && gone.header.interface_family == AddressFamily::Unspec
    )
}
