//! Sockets of the host's processes, as `NETLINK_SOCK_DIAG` lists them, and whose they are.
//!
//! The kernel filters by state, so a busy host's thousands of connections are never copied. Whose a socket is takes a
//! walk through /proc: only asked when it is in somebody's way.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::BorrowedFd,
};

use model::Protocol;
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use nix::libc::{AF_INET, AF_INET6, ENOENT};

use super::raw::{Raw, attribute, word};
use crate::traffic::{HostSocket, Process};

/// `SOCK_DIAG_BY_FAMILY`.
const BY_FAMILY: u16 = 20;
/// `TCP_CLOSE`, where UDP sockets are that are not connected.
const UNCONNECTED: u32 = 1 << 7;
/// `TCP_LISTEN`.
const LISTENING: u32 = 1 << 10;
/// `struct inet_diag_msg` in front of the attributes.
const MESSAGE: usize = 72;
/// `INET_DIAG_SKV6ONLY`.
const V6_ONLY: u16 = 11;

/// Sockets that take a port of these protocols.
pub(super) fn list(netns: BorrowedFd<'_>, protocols: &[Protocol]) -> io::Result<Vec<HostSocket>> {
    let mut raw = Raw::open(netns, NETLINK_SOCK_DIAG)?;
    let mut found = Vec::new();
    for protocol in protocols {
        for family in [AF_INET, AF_INET6] {
            let each = |answer: &[u8]| found.extend(read(*protocol, answer));
            match raw.dump(BY_FAMILY, &request(*protocol, family), each) {
                // A protocol or family that this kernel doesn't know has no sockets.
                Err(error) if error.raw_os_error() == Some(ENOENT) => {}
                other => other?,
            }
        }
    }
    Ok(found)
}

/// `struct inet_diag_req_v2`: every socket of a family and protocol that is in one of the states.
fn request(protocol: Protocol, family: i32) -> Vec<u8> {
    let states = match protocol {
        Protocol::Tcp | Protocol::Sctp => LISTENING,
        Protocol::Udp => UNCONNECTED,
    };
    let mut request = vec![u8::try_from(family).unwrap_or_default(), protocol.number(), 0, 0];
    request.extend(states.to_ne_bytes());
    request.resize(request.len() + 48, 0);
    request
}

pub(super) fn read(protocol: Protocol, answer: &[u8]) -> Option<HostSocket> {
    if answer.len() < MESSAGE {
        return None;
    }
    let port = u16::from_be_bytes([answer[4], answer[5]]);
    let ip = match i32::from(answer[0]) {
        AF_INET => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(&answer[8..12]).ok()?)),
        AF_INET6 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(&answer[8..24]).ok()?)),
        _ => return None,
    };
    let v6_only = attribute(&answer[MESSAGE..], V6_ONLY).is_some_and(|value| value.first() == Some(&1));
    // A UDP socket that was never bound has no port yet.
    (port != 0).then(|| HostSocket {
        protocol,
        ip,
        port,
        both_families: ip == Ipv6Addr::UNSPECIFIED && !v6_only,
        inode: word(answer, 68),
    })
}

/// The process that has a socket open; none if it is gone, or hidden from us.
pub(super) fn holder(socket: &HostSocket) -> Option<Process> {
    let wanted = format!("socket:[{}]", socket.inode);
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut pids: Vec<u32> = processes
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    // A parent before those that inherited from it.
    pids.sort_unstable();
    pids.into_iter()
        .find(|pid| has_open(*pid, &wanted))
        .map(|pid| Process { pid, name: name(pid) })
}

fn has_open(pid: u32, wanted: &str) -> bool {
    let open = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten();
    open.filter_map(|entry| fs::read_link(entry.path()).ok())
        .any(|target| target.as_os_str() == wanted)
}

fn name(pid: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;
    use crate::netns;

    fn of(found: &[HostSocket], port: u16) -> Vec<HostSocket> {
        found
            .iter()
            .filter(|socket| socket.port == port)
            .copied()
            .collect()
    }

    #[test]
    fn a_listener_is_found_with_its_process_and_a_connection_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let datagrams = UdpSocket::bind("[::]:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = TcpStream::connect(address).unwrap();
        let here = netns::current().unwrap();
        let found = list(std::os::fd::AsFd::as_fd(&here), &[Protocol::Tcp, Protocol::Udp]).unwrap();
        let listening = of(&found, address.port());
        assert_eq!(listening.len(), 1, "{listening:?}");
        assert_eq!(listening[0].ip, address.ip());
        assert_eq!(
            holder(&listening[0]).map(|process| process.pid),
            Some(std::process::id())
        );
        let open = of(&found, datagrams.local_addr().unwrap().port());
        assert!(
            open.iter()
                .any(|socket| socket.protocol == Protocol::Udp && socket.both_families)
        );
        let connected = client.local_addr().unwrap().port();
        assert!(
            !of(&found, connected)
                .iter()
                .any(|socket| socket.protocol == Protocol::Tcp)
        );
    }

    #[test]
    fn a_short_answer_is_passed_over() {
        assert_eq!(read(Protocol::Tcp, &[2; 71]), None);
        assert_eq!(read(Protocol::Tcp, &[9; 72]), None, "an unknown family");
    }
}
