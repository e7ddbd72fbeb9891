//! Relaying streams: a few threads with a loop each, which does for a connection what the kernel must be asked for and
//! nothing else. Most connections carry one request, so setting one up is what costs.
//!
//! A port's listening socket is in every loop; whichever wakes takes the connection and keeps it.

mod flow;
mod pair;

use std::{
    collections::{HashMap, VecDeque},
    io,
    net::SocketAddr,
    os::fd::OwnedFd,
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{
        EventfdFlags, Timespec,
        epoll::{self, CreateFlags, Event, EventData, EventFlags},
        eventfd,
    },
    net::{SocketFlags, accept_with},
};
use tokio::sync::{Semaphore, oneshot};

use pair::{Pair, Progress};

/// A container that does not take a connection for so long does not take it.
const PATIENCE: Duration = Duration::from_secs(10);
/// When no connection can be taken (out of descriptors or places): don't spin.
const PAUSE: Duration = Duration::from_millis(100);
/// Loops, at most.
const THREADS: usize = 4;
/// Bytes read in one go.
const BUFFER: usize = 64 << 10;
/// Events taken in one go.
const EVENTS: usize = 64;

/// What an event's number says that it is about; the rest of it says which.
const KIND: u64 = 3 << 62;
const WAKE: u64 = 0;
const DOOR: u64 = 1 << 62;
const PAIR: u64 = 2 << 62;

/// The loops.
pub(super) struct Streams {
    threads: Vec<(Sender<Order>, Arc<OwnedFd>)>,
    next: u32,
}

/// What a loop is told.
enum Order {
    /// To take connections there and lead them here, under this number.
    Open(u32, Arc<OwnedFd>, SocketAddr),
    /// To end all that has this number; it is done when the other end is dropped.
    Close(
        u32,
        #[allow(dead_code, reason = "dropped when it is done")] oneshot::Sender<()>,
    ),
}

/// A port being relayed.
#[derive(Debug)]
pub(super) struct Door(u32);

impl Streams {
    /// Starts the loops. `clients` are the places for connections.
    pub(super) fn start(clients: &Arc<Semaphore>) -> io::Result<Self> {
        let wanted = thread::available_parallelism()
            .map_or(1, usize::from)
            .min(THREADS);
        let mut threads = Vec::new();
        for _ in 0..wanted {
            let (orders, received) = channel();
            let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
            let desk = Desk::new(received, Arc::clone(&wake), Arc::clone(clients))?;
            thread::Builder::new()
                .name("relay".to_owned())
                .stack_size(256 << 10)
                .spawn(move || desk.run())?;
            threads.push((orders, wake));
        }
        Ok(Self { threads, next: 0 })
    }

    /// Leads what connects to a listening socket to `target`.
    pub(super) fn open(&mut self, socket: OwnedFd, target: SocketAddr) -> Door {
        let (door, socket) = (self.next, Arc::new(socket));
        self.next = self.next.wrapping_add(1);
        self.tell(|| Order::Open(door, Arc::clone(&socket), target));
        Door(door)
    }

    /// Ends it and its connections; the sockets are closed when what this gives has ended.
    pub(super) fn close(&self, door: &Door) -> impl Future<Output = ()> + use<> {
        let mut waiting = Vec::new();
        self.tell(|| {
            let (done, closed) = oneshot::channel();
            waiting.push(closed);
            Order::Close(door.0, done)
        });
        async move {
            for closed in waiting {
                closed.await.unwrap_or_default();
            }
        }
    }

    fn tell(&self, mut order: impl FnMut() -> Order) {
        for (orders, wake) in &self.threads {
            let told = orders.send(order()).is_ok() && rustix::io::write(wake, &1_u64.to_ne_bytes()).is_ok();
            if !told {
                tracing::error!("a relay's loop has ended");
            }
        }
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        for (orders, wake) in self.threads.drain(..) {
            drop(orders);
            let _ = rustix::io::write(&wake, &1_u64.to_ne_bytes());
        }
    }
}

/// One loop.
struct Desk {
    epoll: OwnedFd,
    wake: Arc<OwnedFd>,
    orders: Receiver<Order>,
    doors: HashMap<u32, (Arc<OwnedFd>, SocketAddr)>,
    pairs: Vec<Place>,
    free: Vec<u32>,
    clients: Arc<Semaphore>,
    /// Connections that their containers have not taken yet, the oldest first.
    connecting: VecDeque<(Instant, u64)>,
    /// Connections that have more to do than one turn allows.
    busy: VecDeque<u64>,
    /// Until when no connection is taken.
    paused: Option<Instant>,
}

/// Room for a connection; a number that counts up tells the late events of the one before.
#[derive(Default)]
struct Place {
    turn: u32,
    pair: Option<(u32, Pair)>,
    /// It waits in the loop's row for its next turn.
    queued: bool,
}

impl Desk {
    fn new(orders: Receiver<Order>, wake: Arc<OwnedFd>, clients: Arc<Semaphore>) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &wake, EventData::new_u64(WAKE), EventFlags::IN)?;
        Ok(Self {
            epoll,
            wake,
            orders,
            doors: HashMap::new(),
            pairs: Vec::new(),
            free: Vec::new(),
            clients,
            connecting: VecDeque::new(),
            busy: VecDeque::new(),
            paused: None,
        })
    }

    fn run(mut self) {
        let mut buffer = vec![0; BUFFER];
        let mut events: Vec<Event> = Vec::with_capacity(EVENTS);
        loop {
            events.clear();
            let wait = self.wait();
            match epoll::wait(
                &self.epoll,
                rustix::buffer::spare_capacity(&mut events),
                wait.as_ref(),
            ) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => {
                    tracing::error!(%errno, "a relay's loop can't go on");
                    return;
                }
            }
            let busy: Vec<_> = self.busy.drain(..).collect();
            for event in &events {
                let (data, flags) = (event.data.u64(), event.flags);
                match data & KIND {
                    DOOR => self.take(data as u32, &mut buffer),
                    PAIR => self.turn(data, flags, &mut buffer),
                    _ => {
                        if !self.obey() {
                            return;
                        }
                    }
                }
            }
            for data in busy {
                self.turn_again(data, &mut buffer);
            }
            self.look_at_the_clock();
        }
    }

    /// How long there is nothing to do without an event; none for ever.
    fn wait(&self) -> Option<Timespec> {
        let next = match self.busy.is_empty() {
            false => Duration::ZERO,
            true => {
                let connecting = self.connecting.front().map(|(deadline, _)| *deadline);
                let next = connecting.into_iter().chain(self.paused).min()?;
                next.saturating_duration_since(Instant::now()) + Duration::from_millis(1)
            }
        };
        Timespec::try_from(next).ok()
    }

    /// Does what it was told; false when nobody tells it anything any more.
    fn obey(&mut self) -> bool {
        let mut count = [0; 8];
        let _ = rustix::io::read(&self.wake, &mut count);
        loop {
            match self.orders.try_recv() {
                Ok(Order::Open(door, socket, target)) => {
                    let flags = EventFlags::IN | EventFlags::EXCLUSIVE;
                    let data = EventData::new_u64(DOOR | u64::from(door));
                    match epoll::add(&self.epoll, &*socket, data, flags) {
                        Ok(()) => drop(self.doors.insert(door, (socket, target))),
                        Err(errno) => tracing::error!(%errno, "a port can't be listened at"),
                    }
                }
                Ok(Order::Close(door, _done)) => {
                    // The socket is in other loops too, so its end does not end the watch.
                    if let Some((socket, _)) = self.doors.remove(&door) {
                        let _ = epoll::delete(&self.epoll, &*socket);
                    }
                    for number in 0..self.pairs.len() {
                        if self.pairs[number]
                            .pair
                            .as_ref()
                            .is_some_and(|(of, _)| *of == door)
                        {
                            self.end(number);
                        }
                    }
                }
                Err(std::sync::mpsc::TryRecvError::Empty) => return true,
                Err(std::sync::mpsc::TryRecvError::Disconnected) => return false,
            }
        }
    }

    /// Takes one connection; more are told of again.
    fn take(&mut self, door: u32, buffer: &mut [u8]) {
        let Some((socket, target)) = self.doors.get(&door) else {
            return;
        };
        let Ok(place) = Arc::clone(&self.clients).try_acquire_owned() else {
            return self.pause();
        };
        let client = match accept_with(&**socket, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
            Ok(client) => client,
            // Another loop has it, or it has gone already.
            Err(errno) if is_passing(errno) => return,
            Err(errno) => {
                tracing::debug!(%errno, "a connection can't be taken");
                return self.pause();
            }
        };
        let mut pair = match Pair::new(client, *target, place, buffer) {
            Ok(pair) => pair,
            Err(error) => {
                tracing::debug!(%target, %error, "a connection can't be led on");
                return;
            }
        };
        let progress = pair.step(buffer);
        if matches!(progress, Progress::Over) {
            return;
        }
        let number = self.free.pop().map_or(self.pairs.len(), |number| number as usize);
        if number == self.pairs.len() {
            self.pairs.push(Place::default());
        }
        let data = PAIR | u64::from(self.pairs[number].turn) << 24 | (number as u64) << 1;
        if let Err(error) = pair.watch(&self.epoll, data) {
            tracing::debug!(%error, "a connection can't be watched");
            self.free.push(number as u32);
            return;
        }
        if !pair.is_taken() {
            self.connecting.push_back((Instant::now() + PATIENCE, data));
        }
        self.pairs[number].pair = Some((door, pair));
        if matches!(progress, Progress::More) {
            self.put_off(number, data);
        }
    }

    /// Lets a connection have another turn after everybody else's, once however often it comes to that.
    fn put_off(&mut self, number: usize, data: u64) {
        if !std::mem::replace(&mut self.pairs[number].queued, true) {
            self.busy.push_back(data);
        }
    }

    /// The turn of one that was put off.
    fn turn_again(&mut self, data: u64, buffer: &mut [u8]) {
        if let Some(number) = self.number(data) {
            self.pairs[number].queued = false;
            self.turn(data, EventFlags::empty(), buffer);
        }
    }

    /// One turn of a connection that something has happened to.
    fn turn(&mut self, data: u64, flags: EventFlags, buffer: &mut [u8]) {
        let Some(number) = self.number(data) else {
            return;
        };
        let Some((_, pair)) = &mut self.pairs[number].pair else {
            return;
        };
        pair.heard(data & 1 == 1, flags);
        let progress = match pair.step(buffer) {
            Progress::Over => Progress::Over,
            progress => match pair.watch(&self.epoll, data & !1) {
                Ok(()) => progress,
                Err(_) => Progress::Over,
            },
        };
        match progress {
            Progress::Over => self.end(number),
            Progress::More => self.put_off(number, data & !1),
            Progress::Waiting => {}
        }
    }

    /// The place of the connection that an event is about, if it is still that one's.
    fn number(&self, data: u64) -> Option<usize> {
        let number = (data >> 1 & 0x7f_ffff) as usize;
        let turn = (data & !KIND) >> 24;
        let place = self.pairs.get(number)?;
        (u64::from(place.turn) == turn && place.pair.is_some()).then_some(number)
    }

    /// Closes both sockets, and what was watched of them with that.
    fn end(&mut self, number: usize) {
        let place = &mut self.pairs[number];
        place.pair = None;
        place.queued = false;
        place.turn = place.turn.wrapping_add(1);
        self.free.push(number as u32);
        if self.paused.is_some() {
            self.resume();
        }
    }

    fn pause(&mut self) {
        // One that was opened during a pause is watched, so all are let go each time.
        for (socket, _) in self.doors.values() {
            let _ = epoll::delete(&self.epoll, &**socket);
        }
        self.paused = Some(Instant::now() + PAUSE);
    }

    fn resume(&mut self) {
        self.paused = None;
        for (door, (socket, _)) in &self.doors {
            let flags = EventFlags::IN | EventFlags::EXCLUSIVE;
            let _ = epoll::add(
                &self.epoll,
                &**socket,
                EventData::new_u64(DOOR | u64::from(*door)),
                flags,
            );
        }
    }

    fn look_at_the_clock(&mut self) {
        let now = Instant::now();
        if self.paused.is_some_and(|until| until <= now) {
            self.resume();
        }
        while let Some((_, data)) = self.connecting.pop_front_if(|(deadline, _)| *deadline <= now) {
            if let Some(number) = self.number(data)
                && let Some((_, pair)) = &mut self.pairs[number].pair
                && !pair.is_taken()
            {
                pair.give_up();
                self.end(number);
            }
        }
    }
}

fn is_passing(errno: rustix::io::Errno) -> bool {
    use rustix::io::Errno;
    matches!(
        errno,
        Errno::AGAIN | Errno::INTR | Errno::CONNABORTED | Errno::PROTO
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_has_more_to_do_stands_in_the_row_once() {
        let (_orders, received) = channel();
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).expect("an eventfd");
        let mut desk = Desk::new(received, Arc::new(wake), Arc::new(Semaphore::new(1))).expect("a desk");
        desk.pairs = vec![Place::default(), Place::default()];
        for number in [0, 1, 0, 0, 1] {
            desk.put_off(number, PAIR | (number as u64) << 1);
        }
        assert_eq!(desk.busy, [PAIR, PAIR | 2]);
        // Whoever has ended has no turn, and his place's next one starts afresh.
        desk.end(0);
        desk.busy.clear();
        desk.put_off(0, PAIR | 1 << 24);
        assert_eq!(desk.busy.len(), 1);
    }
}
