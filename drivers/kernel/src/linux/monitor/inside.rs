//! Hears what somebody takes away inside of containers' namespaces: routes, addresses, rules, a link that is up.
//!
//! Two sockets hear all of them, by the numbers that the host's namespace has for them (`NETLINK_LISTEN_ALL_NSID`): one of
//! each kind in every namespace would make each of the kernel's announcements, wherever, pass by all of these sockets,
//! which among a thousand containers was a third of what a connection costs.

use std::{
    collections::HashMap,
    io::{self, IoSliceMut},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    thread,
};

use netlink_packet_route::{
    RouteNetlinkMessage,
    nsid::{NsidAttribute, NsidMessage},
};
use netlink_sys::{
    Socket, SocketAddr,
    protocols::{NETLINK_NETFILTER, NETLINK_ROUTE},
};
use nix::{
    cmsg_space,
    errno::Errno,
    libc,
    sys::{
        eventfd::{EfdFlags, EventFd},
        socket::{ControlMessageOwned, MsgFlags, NetlinkAddr, recvmsg, setsockopt, sockopt},
    },
};
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use super::NFTABLES;
use crate::{
    damage::Watch,
    linux::{
        netlink::{CHANGE, Connection},
        netns,
    },
};

/// `RTNLGRP_LINK`, `_IPV4_IFADDR`, `_IPV4_ROUTE`, `_IPV6_IFADDR`, `_IPV6_ROUTE`.
const GROUPS: [u32; 5] = [1, 5, 7, 9, 11];
/// Room for announcements of all namespaces; losing some is damage of all of them.
const BUFFER: usize = 8 << 20;
/// The longest datagram of announcements.
const DATAGRAM: usize = 64 << 10;
/// Events taken in one go.
const EVENTS: usize = 4;
/// The number of the order to stop; sockets count from 0.
const STOP: u64 = u64::MAX;
/// `NETLINK_LISTEN_ALL_NSID`, as an option and as what comes with a datagram.
const LISTEN_ALL: i32 = 8;

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
    sockets: Vec<Socket>,
    places: Mutex<Places>,
}

/// Namespaces by the host's numbers for them. A number may be another namespace's as soon as one is gone, so each watch
/// has one of its own, too.
#[derive(Default)]
struct Places {
    last: u64,
    places: HashMap<i32, (u64, Arc<Tell>)>,
}

impl Insides {
    /// Tells of what is taken away in this namespace until the answer is dropped. Its number is the host's.
    pub(crate) fn watch(
        &self,
        host: BorrowedFd<'_>,
        namespace: BorrowedFd<'_>,
        tell: Tell,
    ) -> io::Result<Watch> {
        let shared = self.started(host)?;
        let number = number_of(host, namespace)?;
        let mut places = shared.places();
        places.last += 1;
        let watch = places.last;
        places.places.insert(number, (watch, Arc::new(tell)));
        drop(places);
        Ok(Watch::new(End {
            shared: Arc::downgrade(&shared),
            number,
            watch,
        }))
    }

    fn started(&self, host: BorrowedFd<'_>) -> io::Result<Arc<Shared>> {
        let mut started = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = &*started {
            return Ok(Arc::clone(shared));
        }
        let sockets = netns::inside(host, || {
            let route = listener(NETLINK_ROUTE, &GROUPS)?;
            // A kernel without nf_tables has no rules to lose.
            Ok([Some(route), listener(NETLINK_NETFILTER, &[NFTABLES]).ok()])
        })?;
        let shared = Arc::new(Shared {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            stop: EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?,
            sockets: sockets.into_iter().flatten().collect(),
            places: Mutex::default(),
        });
        let stop = (STOP, shared.stop.as_fd());
        let sockets = shared.sockets.iter().map(AsFd::as_fd);
        for (number, socket) in (0..).zip(sockets).chain([stop]) {
            epoll::add(&shared.epoll, socket, EventData::new_u64(number), EventFlags::IN)?;
        }
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

/// The host's number for a namespace, given now if it has none.
fn number_of(host: BorrowedFd<'_>, namespace: BorrowedFd<'_>) -> io::Result<i32> {
    let mut connection = netns::inside(host, Connection::here)?;
    let descriptor = u32::try_from(namespace.as_raw_fd()).map_err(io::Error::other)?;
    let about = |number: Option<i32>| {
        let mut message = NsidMessage::default();
        message.attributes.push(NsidAttribute::Fd(descriptor));
        message.attributes.extend(number.map(NsidAttribute::Id));
        message
    };
    // Of its choice. That it has one already is no error.
    let given = connection.change(RouteNetlinkMessage::NewNsId(about(Some(-1))), CHANGE);
    match given {
        Err(refusal) if refusal.source.raw_os_error() != Some(libc::EEXIST) => return Err(refusal.into()),
        _ => {}
    }
    let found = connection.get(RouteNetlinkMessage::GetNsId(about(None)))?;
    let attributes = match found {
        Some(RouteNetlinkMessage::NewNsId(found)) => found.attributes,
        _ => Vec::new(),
    };
    let number = attributes.into_iter().find_map(|attribute| match attribute {
        NsidAttribute::Id(number) if number >= 0 => Some(number),
        _ => None,
    });
    number.ok_or_else(|| io::Error::other("the namespace has no number"))
}

/// Ends the watch of one namespace.
struct End {
    shared: Weak<Shared>,
    number: i32,
    watch: u64,
}

impl Drop for End {
    fn drop(&mut self) {
        let Some(shared) = self.shared.upgrade() else {
            return;
        };
        let mut places = shared.places();
        if places
            .places
            .get(&self.number)
            .is_some_and(|(watch, _)| *watch == self.watch)
        {
            places.places.remove(&self.number);
        }
    }
}

impl Shared {
    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until told to stop.
    fn hear(&self) {
        let mut events: Vec<Event> = Vec::with_capacity(EVENTS);
        let mut buffer = vec![0; DATAGRAM];
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
                let socket = usize::try_from(number).ok().and_then(|at| self.sockets.get(at));
                if let Some(socket) = socket {
                    self.read(socket, &mut buffer);
                }
            }
        }
    }

    /// Reads what was announced, and tells whom it concerns; all, where something was lost.
    fn read(&self, socket: &Socket, buffer: &mut [u8]) {
        loop {
            match receive(socket, buffer) {
                Ok(Some((number, length))) => {
                    if messages(&buffer[..length]).any(takes_away) {
                        let told = self.places().places.get(&number).cloned();
                        told.iter().for_each(|(_, tell)| tell());
                    }
                }
                // The host's own, or not from the kernel.
                Ok(None) | Err(Errno::EINTR) => {}
                Err(Errno::ENOBUFS) => {
                    let all: Vec<_> = self.places().places.values().cloned().collect();
                    all.iter().for_each(|(_, tell)| tell());
                }
                Err(_) => return,
            }
        }
    }
}

/// One datagram: the number of the namespace that it tells of, and its length.
fn receive(socket: &Socket, buffer: &mut [u8]) -> Result<Option<(i32, usize)>, Errno> {
    let mut control = cmsg_space!(i32);
    let mut pieces = [IoSliceMut::new(buffer)];
    let (descriptor, flags) = (socket.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
    let message = recvmsg::<NetlinkAddr>(descriptor, &mut pieces, Some(&mut control), flags)?;
    let is_the_kernels = message.address.is_some_and(|from| from.pid() == 0);
    let number = message.cmsgs()?.find_map(|one| match one {
        ControlMessageOwned::Unknown(one)
            if (one.cmsg_header.cmsg_level, one.cmsg_header.cmsg_type) == (libc::SOL_NETLINK, LISTEN_ALL) =>
        {
            Some(i32::from_ne_bytes(one.data_bytes.get(..4)?.try_into().ok()?))
        }
        _ => None,
    });
    Ok(number
        .filter(|_| is_the_kernels)
        .map(|number| (number, message.bytes)))
}

fn listener(protocol: isize, groups: &[u32]) -> io::Result<Socket> {
    let mut socket = Socket::new(protocol)?;
    let _ = setsockopt(&socket, sockopt::RcvBufForce, &BUFFER);
    socket.bind(&SocketAddr::new(0, 0))?;
    socket.set_listen_all_namespaces(true)?;
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
        let host = netns::current().expect("this thread's");
        let watch = insides.watch(host.as_fd(), namespace.as_fd(), Box::new(tell));
        let watch = watch.expect("a watch");
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
        let left = insides
            .started(host.as_fd())
            .expect("it is")
            .places()
            .places
            .len();
        assert_eq!(left, 0);
        netns::remove(&pin).expect("it is removed");
    }
}
