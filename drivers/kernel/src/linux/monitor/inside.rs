//! Hears what somebody takes away inside of containers' namespaces: routes, addresses, rules, a link that is up.
//!
//! Two small sockets for each namespace, opened inside and all asleep in one epoll of one thread, so that hundreds of idle
//! containers cost no time and, beyond some two kilobytes of the kernel's each, no memory. An open socket keeps its
//! namespace alive: whoever removes that ends the watch first.

use std::{
    collections::HashMap,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    thread,
};

use netlink_sys::{
    Socket, SocketAddr,
    protocols::{NETLINK_NETFILTER, NETLINK_ROUTE},
};
use nix::sys::{
    eventfd::{EfdFlags, EventFd},
    resource::{Resource, getrlimit},
    socket::{setsockopt, sockopt},
};
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use super::{NFTABLES, each_datagram};
use crate::{
    damage::{Damage, Watch},
    linux::netns,
};

/// `RTNLGRP_LINK`, `_IPV4_IFADDR`, `_IPV4_ROUTE`, `_IPV6_IFADDR`, `_IPV6_ROUTE`.
const GROUPS: [u32; 5] = [1, 5, 7, 9, 11];
/// Room for announcements; losing some is damage, too.
const BUFFER: usize = 16 << 10;
/// Events taken in one go.
const EVENTS: usize = 64;
/// The number of the order to stop; namespaces count from 1.
const STOP: u64 = 0;

const NEW_LINK: u16 = 16;
const DELETE_ADDRESS: u16 = 21;
const DELETE_ROUTE: u16 = 25;
/// `NFNL_SUBSYS_NFTABLES`
const SUBSYSTEM: u16 = 10;
/// `NFT_MSG_DELTABLE`, `_DELCHAIN`, `_DELRULE`.
const DELETE_RULES: [u16; 3] = [2, 5, 8];
const IFF_UP: u32 = 1;

/// Who is told.
pub(crate) type Tell = Box<dyn Fn() + Send + Sync>;

/// Every namespace that is watched; the thread lives as long as this.
#[derive(Default)]
pub(crate) struct Insides(Mutex<Option<Arc<Shared>>>);

struct Shared {
    epoll: OwnedFd,
    stop: EventFd,
    places: Mutex<Places>,
}

#[derive(Default)]
struct Places {
    last: u64,
    places: HashMap<u64, Arc<Place>>,
}

struct Place {
    sockets: Vec<Socket>,
    tell: Tell,
}

impl Insides {
    /// Tells of what is taken away in this namespace until the answer is dropped.
    pub(crate) fn watch(&self, namespace: BorrowedFd<'_>, tell: Tell) -> io::Result<Watch> {
        let shared = self.started()?;
        shared.refuse_too_many()?;
        let sockets = netns::inside(namespace, || {
            let route = listener(NETLINK_ROUTE, &GROUPS)?;
            // A kernel without nf_tables has no rules to lose.
            Ok([Some(route), listener(NETLINK_NETFILTER, &[NFTABLES]).ok()])
        })?;
        let place = Arc::new(Place {
            sockets: sockets.into_iter().flatten().collect(),
            tell,
        });
        let number = {
            let mut places = shared.places();
            places.last += 1;
            let number = places.last;
            places.places.insert(number, Arc::clone(&place));
            number
        };
        let end = End {
            shared: Arc::downgrade(&shared),
            number,
        };
        for socket in &place.sockets {
            epoll::add(&shared.epoll, socket, EventData::new_u64(number), EventFlags::IN)?;
        }
        Ok(Watch::new(end))
    }

    fn started(&self) -> io::Result<Arc<Shared>> {
        let mut started = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = &*started {
            return Ok(Arc::clone(shared));
        }
        let shared = Arc::new(Shared {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            stop: EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?,
            places: Mutex::default(),
        });
        epoll::add(
            &shared.epoll,
            shared.stop.as_fd(),
            EventData::new_u64(STOP),
            EventFlags::IN,
        )?;
        let hearing = Arc::clone(&shared);
        thread::Builder::new()
            .name("kernel-insides".to_owned())
            .stack_size(128 << 10)
            .spawn(move || hearing.hear())?;
        *started = Some(Arc::clone(&shared));
        Ok(shared)
    }
}

impl Drop for Insides {
    fn drop(&mut self) {
        if let Some(shared) = self.0.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = shared.stop.write(1);
        }
    }
}

/// Ends the watch of one namespace: its sockets are closed with it.
struct End {
    shared: Weak<Shared>,
    number: u64,
}

impl Drop for End {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade()
            && let Some(place) = shared.places().places.remove(&self.number)
        {
            for socket in &place.sockets {
                let _ = epoll::delete(&shared.epoll, socket);
            }
        }
    }
}

impl Shared {
    /// Half of the descriptors that this process may have are for everything else.
    fn refuse_too_many(&self) -> io::Result<()> {
        let (most, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
        let open = 2 * self.places().places.len() as u64;
        match open < most / 2 {
            true => Ok(()),
            false => Err(io::Error::other("so many descriptors are not to be had")),
        }
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until told to stop.
    fn hear(&self) {
        let mut events: Vec<Event> = Vec::with_capacity(EVENTS);
        loop {
            events.clear();
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => {
                    tracing::error!(%errno, "what is taken away inside of containers is left to the timer");
                    return;
                }
            }
            for event in &events {
                let number = event.data.u64();
                if number == STOP {
                    return;
                }
                let place = self.places().places.get(&number).cloned();
                if place.as_ref().is_some_and(|place| place.lost()) {
                    place.iter().for_each(|place| (place.tell)());
                }
            }
        }
    }
}

impl Place {
    /// Reads what was announced; whether somebody took something away.
    fn lost(&self) -> bool {
        let mut damage = Damage::default();
        for socket in &self.sockets {
            each_datagram(socket, &mut damage, |datagram, damage| {
                damage.unknown |= messages(datagram).any(takes_away);
            });
        }
        damage.unknown
    }
}

fn listener(protocol: isize, groups: &[u32]) -> io::Result<Socket> {
    let mut socket = Socket::new(protocol)?;
    let _ = setsockopt(&socket, sockopt::RcvBuf, &BUFFER);
    socket.bind(&SocketAddr::new(0, 0))?;
    for group in groups {
        socket.add_membership(*group)?;
    }
    socket.set_non_blocking(true)?;
    Ok(socket)
}

/// The messages of a datagram.
fn messages(mut datagram: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let length = usize::try_from(number(datagram, 0)?).ok()?;
        let message = datagram.get(..length).filter(|message| message.len() >= 16)?;
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

/// Pure: whether a message tells that somebody took something away. What goes with a link that ends, the kernel announces
/// in nobody's name; but that the link is downed first can't be told from somebody's doing.
fn takes_away(message: &[u8]) -> bool {
    let (Some(kind), Some(by)) = (
        message
            .get(4..6)
            .map(|bytes| u16::from_ne_bytes([bytes[0], bytes[1]])),
        number(message, 12),
    ) else {
        return false;
    };
    match kind {
        DELETE_ADDRESS | DELETE_ROUTE => by != 0,
        // In nobody's name, whoever does it; behind the flags is which of them change.
        NEW_LINK => {
            let is_down = number(message, 24).is_some_and(|flags| flags & IFF_UP == 0);
            is_down && number(message, 28).is_some_and(|changed| changed & IFF_UP != 0)
        }
        kind => kind >> 8 == SUBSYSTEM && DELETE_RULES.contains(&(kind & 0xff)),
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::{
        process::Command,
        sync::atomic::{AtomicUsize, Ordering},
        time::{Duration, Instant},
    };

    use super::*;

    fn message(kind: u16, by: u32, flags: u32) -> Vec<u8> {
        let mut message = 32_u32.to_ne_bytes().to_vec();
        message.extend(kind.to_ne_bytes());
        message.extend([0; 6]);
        message.extend(by.to_ne_bytes());
        message.extend([0; 8]);
        message.extend(flags.to_ne_bytes());
        message.extend(IFF_UP.to_ne_bytes());
        message
    }

    #[test]
    fn only_what_somebody_takes_away_counts() {
        let nft = |kind: u16| SUBSYSTEM << 8 | kind;
        let rows = [
            ("a route by somebody", DELETE_ROUTE, 7, 0, true),
            ("a route with its link", DELETE_ROUTE, 0, 0, false),
            ("an address", DELETE_ADDRESS, 7, 0, true),
            ("a link downed", NEW_LINK, 0, 0, true),
            ("a link that is up", NEW_LINK, 7, IFF_UP, false),
            ("a link that ends", 17, 0, 0, false),
            ("a new route", 24, 7, 0, false),
            ("a table", nft(2), 7, 0, true),
            ("a rule", nft(8), 7, 0, true),
            ("a new rule", nft(6), 7, 0, false),
            ("the end of a transaction", nft(15), 7, 0, false),
        ];
        for (name, kind, by, flags, wanted) in rows {
            assert_eq!(takes_away(&message(kind, by, flags)), wanted, "{name}");
        }
        let whole = message(DELETE_ROUTE, 7, 0);
        for length in 0..16 {
            assert_eq!(messages(&whole[..length]).count(), 0);
        }
        let two = [message(24, 7, 0), whole].concat();
        assert!(messages(&two).any(takes_away));
    }

    #[test]
    fn a_namespace_is_heard_until_its_watch_ends_and_ends_then() {
        let folder = tempfile::tempdir().expect("a folder");
        let pin = folder.path().join("inside");
        netns::create(&pin).expect("as root");
        let insides = Insides::default();
        let told = Arc::new(AtomicUsize::new(0));
        let telling = Arc::clone(&told);
        let namespace = netns::open(&pin).expect("it is there");
        let tell = move || {
            telling.fetch_add(1, Ordering::SeqCst);
        };
        let watch = insides.watch(namespace.as_fd(), Box::new(tell)).expect("a watch");
        let run = |words: &str| {
            let mut inside = Command::new("nsenter");
            inside
                .arg(format!("--net={}", pin.display()))
                .args(words.split(' '));
            assert!(inside.status().expect("nsenter").success(), "{words}");
        };
        let hears = |wanted: usize| {
            let end = Instant::now() + Duration::from_secs(20);
            while told.load(Ordering::SeqCst) < wanted {
                assert!(Instant::now() < end, "{wanted} are not heard");
                thread::yield_now();
            }
        };
        run("ip address add 10.9.0.1/24 dev lo");
        run("ip route add 10.8.0.0/24 dev lo");
        assert_eq!(told.load(Ordering::SeqCst), 0, "nothing is taken away");
        run("ip route flush 10.8.0.0/24");
        hears(1);
        run("nft add table ip some");
        run("nft flush ruleset");
        hears(2);
        drop(watch);
        run("ip address del 10.9.0.1/24 dev lo");
        assert!(insides.started().expect("it is").places().places.is_empty());
        netns::remove(&pin).expect("it is removed");
    }
}
