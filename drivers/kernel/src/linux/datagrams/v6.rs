//! Datagrams over IPv6, for clients of DHCPv6 (RFC 8415): from the link's own address, which a link has a moment after it
//! comes up, because the kernel asks first whether somebody else has it (RFC 4862).

use std::{
    io,
    net::{Ipv6Addr, SocketAddrV6},
    os::fd::{AsRawFd as _, BorrowedFd, OwnedFd},
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::socket::{
        AddressFamily, MsgFlags, SockFlag, SockType, SockaddrIn6, bind, sendto, setsockopt, socket, sockopt,
    },
};

use super::{listen, netns, probe};
use crate::Datagram;

/// How often it is tried to send while the link has no address yet.
const EVERY: Duration = Duration::from_millis(50);

pub(super) fn converse(
    netns: BorrowedFd<'_>,
    link: probe::Link,
    datagram: &Datagram,
    to: Ipv6Addr,
    limit: Duration,
    accept: &mut dyn FnMut(&[u8]) -> bool,
) -> io::Result<bool> {
    let until = Instant::now() + limit;
    let socket = netns::inside(netns, || open(datagram))?;
    let to = SockaddrIn6::from(SocketAddrV6::new(to, datagram.port, 0, link.index));
    loop {
        match sendto(socket.as_raw_fd(), &datagram.payload, &to, MsgFlags::empty()) {
            // A full queue loses it, as the wire may.
            Ok(_) | Err(Errno::ENOBUFS | Errno::EAGAIN) => break,
            Err(Errno::EADDRNOTAVAIL | Errno::ENETUNREACH) if Instant::now() + EVERY < until => {
                thread::sleep(EVERY);
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    let left = until.saturating_duration_since(Instant::now());
    match left.is_zero() {
        true => Ok(false),
        false => listen(&socket, left, accept),
    }
}

fn open(datagram: &Datagram) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Inet6, SockType::Datagram, flags, None)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    setsockopt(&socket, sockopt::Ipv6V6Only, &true)?;
    setsockopt(&socket, sockopt::BindToDevice, &datagram.link.as_str().into())?;
    let own = SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, datagram.own_port, 0, 0);
    bind(socket.as_raw_fd(), &SockaddrIn6::from(own))?;
    Ok(socket)
}
