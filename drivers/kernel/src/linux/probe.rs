//! Asks a segment who has an address, before we hand it out: an ARP probe (RFC 5227) for IPv4, a neighbour solicitation
//! from nobody (RFC 4862, section 5.4) for IPv6. Neither tells anybody anything about us, so nobody's caches change.
//!
//! Frames go out of the link itself and come back to it, over packet sockets: an answer to a probe from 0.0.0.0 or `::` is
//! for no socket of the usual kinds. Somebody else who probes for the same address at the same time counts as having it,
//! unless all who probe there agree elsewhere on who gets it.

mod frame;
#[cfg(test)]
mod fuzz;

use std::{
    collections::BTreeMap,
    io,
    net::IpAddr,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use model::{AddressFamily as Family, MacAddress};
use nix::{
    errno::Errno,
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{
        AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, SockaddrLike as _, bind, recv, send, socket,
    },
};

use super::netns;
use crate::Rivals;

/// How often each address is asked for, evenly over the time there is: one frame may be lost.
const TIMES: u32 = 3;
/// Frames taken in before the clock is looked at: a link's whole IPv6 comes by, and there may be no end of it.
const TURN: usize = 64;
/// More than any frame that matters.
const LONGEST: usize = 256;

/// Where to ask.
#[derive(Debug, Clone, Copy)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) mac: MacAddress,
}

/// Who has which of these addresses on the segment of a link, as far as anybody answers within `limit`. Returns early when
/// all of them are had by somebody.
pub(super) fn holders(
    netns: BorrowedFd<'_>,
    link: Link,
    addresses: &[IpAddr],
    rivals: Rivals,
    limit: Duration,
) -> io::Result<BTreeMap<IpAddr, MacAddress>> {
    let of = |family| {
        let mut all = addresses
            .iter()
            .filter(move |address| Family::of(**address) == family);
        all.next().map(|_| family)
    };
    let families: Vec<_> = [Family::V4, Family::V6].into_iter().filter_map(of).collect();
    let open = || {
        families
            .iter()
            .map(|family| open(link.index, protocol(*family)))
            .collect::<io::Result<Vec<_>>>()
    };
    let sockets = netns::inside(netns, open)?;
    let mut question = Question {
        link,
        sockets: families.into_iter().zip(sockets).collect(),
        addresses,
        rivals,
        holders: BTreeMap::new(),
    };
    match question.ask(limit) {
        Err(error) if leads_nowhere(&error) => {}
        other => other?,
    }
    Ok(question.holders)
}

/// Tells everybody on a link's segment who has these addresses now.
pub(super) fn announce(netns: BorrowedFd<'_>, link: Link, addresses: &[IpAddr]) -> io::Result<()> {
    let send_all = || {
        for family in [Family::V4, Family::V6] {
            let mut of_family = addresses
                .iter()
                .filter(|address| Family::of(**address) == family)
                .peekable();
            if of_family.peek().is_none() {
                continue;
            }
            let socket = open(link.index, protocol(family))?;
            for address in of_family {
                let told = send(
                    socket.as_raw_fd(),
                    &frame::announcement(link.mac, *address),
                    MsgFlags::empty(),
                );
                match told {
                    Ok(_) | Err(Errno::ENOBUFS | Errno::EAGAIN) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
        }
        Ok(())
    };
    match netns::inside(netns, send_all) {
        Err(error) if leads_nowhere(&error) => Ok(()),
        other => other,
    }
}

/// A link that is down or has no carrier, or is gone, leads to nobody.
pub(super) fn leads_nowhere(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENETDOWN | libc::ENXIO | libc::ENODEV)
    )
}

const fn protocol(family: Family) -> u16 {
    match family {
        Family::V4 => frame::ARP,
        Family::V6 => frame::IPV6,
    }
}

struct Question<'a> {
    link: Link,
    sockets: Vec<(Family, OwnedFd)>,
    addresses: &'a [IpAddr],
    rivals: Rivals,
    holders: BTreeMap<IpAddr, MacAddress>,
}

impl Question<'_> {
    fn ask(&mut self, limit: Duration) -> io::Result<()> {
        let began = Instant::now();
        for time in 0..TIMES {
            self.send()?;
            self.listen(began + limit * (time + 1) / TIMES)?;
            if self.holders.len() == self.addresses.len() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn send(&self) -> io::Result<()> {
        for (family, socket) in &self.sockets {
            let open =
                |address: &&IpAddr| Family::of(**address) == *family && !self.holders.contains_key(*address);
            for address in self.addresses.iter().filter(open) {
                let frame = frame::probe(self.link.mac, *address);
                match send(socket.as_raw_fd(), &frame, MsgFlags::empty()) {
                    // A full queue loses it, as the wire may.
                    Ok(_) | Err(Errno::ENOBUFS | Errno::EAGAIN) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
        }
        Ok(())
    }

    fn listen(&mut self, until: Instant) -> io::Result<()> {
        let (own, addresses, rivals) = (self.link.mac, self.addresses, self.rivals);
        let wanted = |frame: &[u8]| {
            frame::claim(frame)
                .filter(|(address, mac)| *mac != own && addresses.contains(address))
                .filter(|_| rivals == Rivals::Count || !frame::is_question(frame))
        };
        loop {
            for (_, socket) in &self.sockets {
                self.holders.extend(hear(socket, wanted)?);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || self.holders.len() == self.addresses.len() {
                return Ok(());
            }
            let mut sources: Vec<_> = self
                .sockets
                .iter()
                .map(|(_, socket)| PollFd::new(socket.as_fd(), PollFlags::POLLIN))
                .collect();
            // Rounded up, so that the last part of a millisecond is not spent in circles.
            let millis = u16::try_from(left.as_millis() + 1).unwrap_or(u16::MAX);
            match poll(&mut sources, PollTimeout::from(millis)) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

/// Takes in what has come, as far as one turn goes. The link's own frames come by too, on their way out; `wanted` knows them.
fn hear(
    socket: &OwnedFd,
    wanted: impl Fn(&[u8]) -> Option<(IpAddr, MacAddress)>,
) -> io::Result<BTreeMap<IpAddr, MacAddress>> {
    let mut heard = BTreeMap::new();
    let mut buffer = [0; LONGEST];
    for _ in 0..TURN {
        let length = match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Ok(length) => length.min(buffer.len()),
            Err(Errno::EAGAIN) => break,
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno.into()),
        };
        if let Some((address, mac)) = wanted(&buffer[..length]) {
            heard.insert(address, mac);
        }
    }
    Ok(heard)
}

/// A socket for the frames of one protocol, on one link of the calling thread's namespace.
pub(super) fn open(index: u32, protocol: u16) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    // Without a protocol until it is bound: before, it would hear of every link.
    let socket = socket(AddressFamily::Packet, SockType::Raw, flags, None)?;
    // SAFETY: all zeros is a valid address: its fields are numbers.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = u16::try_from(libc::AF_PACKET).expect("a family's number is small");
    address.sll_protocol = protocol.to_be();
    address.sll_ifindex = i32::try_from(index).map_err(io::Error::other)?;
    let length = u32::try_from(size_of::<libc::sockaddr_ll>()).expect("an address is small");
    // SAFETY: the pointer is to a whole `sockaddr_ll` that says it is one, and is copied from.
    let address = unsafe { LinkAddr::from_raw((&raw const address).cast(), Some(length)) };
    let address = address.ok_or_else(|| io::Error::other("no address of a link"))?;
    bind(socket.as_raw_fd(), &address)?;
    Ok(socket)
}

#[cfg(test)]
mod tests;
