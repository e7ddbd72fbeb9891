//! Hears what the kernel announces of the host's namespace, and tells what of it concerns us.
//!
//! One thread, inside the host's namespace for as long as it lives (`/proc/sys/net` shows a thread its own), asleep until
//! a socket has something: route netlink for links, addresses and routes, nf_tables for rules, inotify for the sysctls
//! that we set (a write to one is announced by its file alone, and for some by `netconf` too).

pub(super) mod inside;
mod links;
mod rules;

#[cfg(test)]
pub(super) use rules::read as read_rules;

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    thread::{self, JoinHandle},
};

use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{
    Socket, SocketAddr,
    protocols::{NETLINK_NETFILTER, NETLINK_ROUTE},
};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sched::{CloneFlags, setns},
    sys::{
        eventfd::{EfdFlags, EventFd},
        socket::{setsockopt, sockopt},
    },
};
use rustix::fs::inotify::{ReadFlags, Reader};

use self::links::Memory;
use super::{netlink::Connection, own::Own, raw::attribute};
use crate::damage::{Damage, Tell, Watch};

/// `RTNLGRP_LINK`, `_IPV4_IFADDR`, `_IPV4_ROUTE`, `_IPV6_IFADDR`, `_IPV6_ROUTE`, `_IPV4_NETCONF`, `_IPV6_NETCONF`.
const GROUPS: [u32; 7] = [1, 5, 7, 9, 11, 24, 25];
/// `NFNLGRP_NFTABLES`.
const NFTABLES: u32 = 7;
/// `RTM_NEWNETCONF`.
const NETCONF: u16 = 80;
/// `struct nlmsghdr` and a padded `struct netconfmsg`.
const NETCONF_HEADERS: usize = 20;
/// `NETCONFA_IFINDEX`: -1 for all links, -2 for those to come.
const NETCONF_LINK: u16 = 1;
/// Room for a burst of announcements; memory is taken as needed.
const BUFFER: usize = 8 << 20;

/// Stops the thread when dropped.
struct Guard {
    stop: Arc<EventFd>,
    own: Arc<Own>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.own.leave_sysctls();
        self.own.set_segments(None);
        if let Err(error) = self.stop.write(1) {
            tracing::error!(%error, "the monitor could not be told to stop");
            return;
        }
        // Who drops it in the middle of being told anything waits for nobody.
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

/// Starts a thread that hears. What happens after this returns is heard.
pub(super) fn start(netns: &Arc<OwnedFd>, own: &Arc<Own>, tell: Tell) -> io::Result<Watch> {
    let stop = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC)?);
    let (ready, is_ready) = std::sync::mpsc::sync_channel(1);
    let sysctls = own.watch_sysctls()?;
    let (its_netns, its_stop, its_own) = (Arc::clone(netns), Arc::clone(&stop), Arc::clone(own));
    let thread = thread::Builder::new()
        .name("kernel-monitor".to_owned())
        .spawn(move || {
            let opened = setns(its_netns.as_fd(), CloneFlags::CLONE_NEWNET)
                .map_err(io::Error::from)
                .and_then(|()| Monitor::open(its_own, sysctls));
            match opened {
                Ok(mut monitor) => {
                    let _ = ready.send(Ok(()));
                    monitor.hear(&its_stop, &tell);
                }
                Err(error) => drop(ready.send(Err(error))),
            }
        })?;
    let guard = Guard {
        stop,
        own: Arc::clone(own),
        thread: Some(thread),
    };
    match is_ready.recv() {
        Ok(Ok(())) => Ok(Watch::new(guard)),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(io::Error::other("the monitor's thread ended")),
    }
}

struct Monitor {
    route: Socket,
    /// None where the kernel has no nf_tables.
    rules: Option<Socket>,
    sysctls: Arc<OwnedFd>,
    own: Arc<Own>,
    links: Memory,
}

impl Monitor {
    fn open(own: Arc<Own>, sysctls: Arc<OwnedFd>) -> io::Result<Self> {
        let route = listener(NETLINK_ROUTE, &GROUPS)?;
        let rules = listener(NETLINK_NETFILTER, &[NFTABLES]).inspect_err(|error| {
            tracing::warn!(%error, "changes of the firewall are not heard: the timer alone repairs them");
        });
        let links = Memory::of(&mut Connection::here()?)?;
        own.set_segments(Some(links.segments()));
        Ok(Self {
            route,
            rules: rules.ok(),
            sysctls,
            own,
            links,
        })
    }

    /// Until told to stop.
    fn hear(&mut self, stop: &EventFd, tell: &Tell) {
        loop {
            match self.sleep(stop) {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(%error, "changes by others are no longer heard: the timer alone repairs them");
                    return;
                }
            }
            let damage = self.damage();
            if !damage.is_none() {
                tracing::debug!(?damage, "heard");
                tell(damage);
            }
        }
    }

    /// Until something can be read; true if that is the order to stop.
    fn sleep(&self, stop: &EventFd) -> io::Result<bool> {
        let read = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let mut sources = vec![
            read(stop.as_fd()),
            read(self.route.as_fd()),
            read(self.sysctls.as_fd()),
        ];
        sources.extend(self.rules.as_ref().map(|socket| read(socket.as_fd())));
        loop {
            match poll(&mut sources, PollTimeout::NONE) {
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
                Ok(_) => return Ok(sources[0].any() == Some(true)),
            }
        }
    }

    /// Everything that can be read now.
    fn damage(&mut self) -> Damage {
        let mut damage = Damage::default();
        self.hear_rules(&mut damage);
        self.hear_links(&mut damage);
        self.hear_sysctls(&mut damage);
        damage
    }

    fn hear_rules(&mut self, damage: &mut Damage) {
        let Some(socket) = &self.rules else { return };
        each_datagram(socket, damage, |datagram, damage| {
            rules::read(datagram, &self.own, damage);
        });
    }

    fn hear_links(&mut self, damage: &mut Damage) {
        let (links, own) = (&mut self.links, &self.own);
        let mut lost = Damage::default();
        each_datagram(&self.route, &mut lost, |datagram, damage| {
            if datagram.get(4..6) == Some(&NETCONF.to_ne_bytes()) {
                // Every new link has settings of its own, too; what we want is wanted of all.
                damage.rules |=
                    is_of_all(datagram) && own.wanted_forwarding().iter().any(|wanted| !holds(wanted));
                return;
            }
            let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(datagram);
            if let Ok(NetlinkPayload::InnerMessage(message)) = message.map(|message| message.payload)
                && let Some(gone) = links.take(message, damage)
            {
                own.forget_link(gone.as_str());
            }
        });
        if lost.unknown {
            // What was remembered may be wrong now.
            match Connection::here().and_then(|mut connection| Memory::of(&mut connection)) {
                Ok(memory) => {
                    own.set_segments(Some(memory.segments()));
                    self.links = memory;
                }
                Err(error) => tracing::warn!(%error, "listing the host's links again"),
            }
        }
        damage.merge(lost);
    }

    fn hear_sysctls(&self, damage: &mut Damage) {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(&*self.sysctls, &mut buffer);
        while let Ok(event) = reader.next() {
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                damage.unknown = true;
            }
            let wanted = self.own.wanted_sysctl(event.wd());
            let Some(wanted) = wanted.filter(|wanted| !holds(wanted)) else {
                continue;
            };
            match link_of(&wanted.0) {
                Some(link) => drop(damage.links.insert(link)),
                None => damage.rules = true,
            }
        }
    }
}

/// Whether an announcement of settings is about those of all links, or of links to come.
fn is_of_all(netconf: &[u8]) -> bool {
    let attributes = netconf.get(NETCONF_HEADERS..).unwrap_or_default();
    match attribute(attributes, NETCONF_LINK).map(<[u8; 4]>::try_from) {
        Some(Ok(index)) => i32::from_ne_bytes(index) < 0,
        _ => true,
    }
}

/// Whether a sysctl has its value. One that is gone has none to lose.
fn holds((name, value): &(String, String)) -> bool {
    let now = std::fs::read_to_string(format!("/proc/sys/{name}"));
    now.map_or(true, |now| now.split_whitespace().eq(value.split_whitespace()))
}

/// The link that a sysctl is of; none if it is of the whole host.
fn link_of(sysctl: &str) -> Option<model::InterfaceName> {
    let link = crate::plan::link_of_sysctl(sysctl)?;
    model::InterfaceName::new(link).ok()
}

fn listener(protocol: isize, groups: &[u32]) -> io::Result<Socket> {
    let mut socket = Socket::new(protocol)?;
    // Only who may administer the network can force it; a smaller one loses announcements sooner, and says so.
    let _ = setsockopt(&socket, sockopt::RcvBufForce, &BUFFER);
    socket.bind(&SocketAddr::new(0, 0))?;
    for group in groups {
        socket.add_membership(*group)?;
    }
    socket.set_non_blocking(true)?;
    Ok(socket)
}

/// Hands over what can be read now. That some were lost is damage of unknown extent.
fn each_datagram(socket: &Socket, damage: &mut Damage, mut take: impl FnMut(&[u8], &mut Damage)) {
    loop {
        match socket.recv_from_full() {
            Ok((datagram, from)) if from.port_number() == 0 => take(&datagram, damage),
            // Another process may send to us; only the kernel is believed.
            Ok(_) => {}
            Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => damage.unknown = true,
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests;
