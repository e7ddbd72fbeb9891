//! Datagrams of whoever may have no address yet: out of one link, and what comes back to their port.
//!
//! From nobody they go as whole frames over a packet socket; from an address of the link's, over an ordinary one, so that the
//! kernel finds the way. Answers are always heard by the former: one to everybody is for no socket that has an address.
//! Sockets are open for one question only: they would keep a removed namespace alive. Over IPv6 an ordinary socket does for
//! both, since every link has an address of its own there.

mod packet;
mod v6;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddrV4},
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{
        AddressFamily, MsgFlags, SockFlag, SockType, SockaddrIn, bind, recv, send, sendto, setsockopt,
        socket, sockopt,
    },
};

use super::{netns, probe};
use crate::Datagram;

/// Frames taken in before the clock is looked at.
const TURN: usize = 64;
/// More than any datagram that matters.
const LONGEST: usize = 4096;

/// Sends one and hands on what comes back; see [`crate::Kernel::converse`].
pub(super) fn converse(
    netns: BorrowedFd<'_>,
    link: probe::Link,
    datagram: &Datagram,
    limit: Duration,
    accept: &mut dyn FnMut(&[u8]) -> bool,
) -> io::Result<bool> {
    let to = match datagram.to {
        IpAddr::V4(to) => to,
        IpAddr::V6(to) => return quiet(v6::converse(netns, link, datagram, to, limit, accept)),
    };
    let open = || {
        let frames = probe::open(link.index, packet::IPV4)?;
        let own = datagram.from.map(|own| open_udp(datagram, own)).transpose()?;
        Ok((frames, own))
    };
    let spoken = netns::inside(netns, open).and_then(|(frames, own)| {
        say(own.as_ref().unwrap_or(&frames), link, datagram, to)?;
        match limit.is_zero() {
            true => Ok(false),
            // The other one stays open: without it the kernel would say that nobody listens.
            false => listen(&frames, limit, |frame| {
                packet::payload(frame, datagram.own_port).is_some_and(&mut *accept)
            }),
        }
    });
    quiet(spoken)
}

/// Who can't be reached says nothing.
fn quiet(spoken: io::Result<bool>) -> io::Result<bool> {
    match spoken {
        Err(error) if probe::leads_nowhere(&error) || is_silence(&error) => Ok(false),
        other => other,
    }
}

/// What an ordinary socket is told where nobody is, or where there is no way.
fn is_silence(error: &io::Error) -> bool {
    use nix::libc;
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNREFUSED
                | libc::EHOSTUNREACH
                | libc::ENETUNREACH
                | libc::EADDRNOTAVAIL
                | libc::EADDRINUSE
                | libc::EPERM
        )
    )
}

fn open_udp(datagram: &Datagram, own: Ipv4Addr) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Inet, SockType::Datagram, flags, None)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    setsockopt(&socket, sockopt::Broadcast, &true)?;
    setsockopt(&socket, sockopt::BindToDevice, &datagram.link.as_str().into())?;
    let own = SocketAddrV4::new(own, datagram.own_port);
    bind(socket.as_raw_fd(), &SockaddrIn::from(own))?;
    Ok(socket)
}

fn say(socket: &OwnedFd, link: probe::Link, datagram: &Datagram, to: Ipv4Addr) -> io::Result<()> {
    let said = match datagram.from {
        None => {
            let frame = packet::broadcast(link.mac, datagram)?;
            send(socket.as_raw_fd(), &frame, MsgFlags::empty())
        }
        Some(_) => {
            let to = SockaddrIn::from(SocketAddrV4::new(to, datagram.port));
            sendto(socket.as_raw_fd(), &datagram.payload, &to, MsgFlags::empty())
        }
    };
    match said {
        // A full queue loses it, as the wire may.
        Ok(_) | Err(Errno::ENOBUFS | Errno::EAGAIN) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

fn listen(socket: &OwnedFd, limit: Duration, mut accept: impl FnMut(&[u8]) -> bool) -> io::Result<bool> {
    let until = Instant::now() + limit;
    loop {
        if hear(socket, &mut accept)? {
            return Ok(true);
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        let millis = u16::try_from(left.as_millis() + 1).unwrap_or(u16::MAX);
        let mut sources = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
        match poll(&mut sources, PollTimeout::from(millis)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn hear(socket: &OwnedFd, accept: &mut dyn FnMut(&[u8]) -> bool) -> io::Result<bool> {
    let mut buffer = [0; LONGEST];
    for _ in 0..TURN {
        let heard = match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Ok(length) => &buffer[..length.min(LONGEST)],
            Err(Errno::EAGAIN) => return Ok(false),
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno.into()),
        };
        if accept(heard) {
            return Ok(true);
        }
    }
    Ok(false)
}
