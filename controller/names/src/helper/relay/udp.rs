//! Relaying datagrams: every client has a socket of its own towards the container, so that replies find back.
//!
//! A client is known by its address and the one of ours that it asked: a reply must come from there, or the client
//! would not take it for one. A socket bound to all addresses says only in its packets' notes which that was.

use std::{
    collections::HashMap,
    io::{self, IoSlice, IoSliceMut},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket as StdUdpSocket},
    os::fd::{AsRawFd as _, OwnedFd},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use nix::{
    cmsg_space,
    errno::Errno,
    libc::{in_pktinfo, in6_pktinfo},
    sys::socket::{
        ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt,
        sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo},
    },
};
use tokio::{
    io::Interest,
    net::UdpSocket,
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    task::{JoinSet, yield_now},
    time::{Instant, timeout_at},
};

/// A client that neither says nor hears anything for so long is forgotten.
const IDLE: Duration = Duration::from_secs(90);
/// Clients of one port.
const CLIENTS: usize = 1024;
/// The longest datagram.
const LONGEST: usize = 65_535;
/// Datagrams taken in one go before others get their turn.
const BATCH: usize = 64;

/// Who asked, and at which address of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Asker {
    client: SocketAddr,
    at: Option<Asked>,
}

/// An address of ours; of a link-local one only together with its interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Asked {
    V4(Ipv4Addr),
    V6(Ipv6Addr, u32),
}

struct Client {
    towards: Arc<UdpSocket>,
    heard: Arc<Mutex<Instant>>,
}

/// The socket of a bound one, which from now on tells what its packets were sent to.
pub(super) fn socket(socket: OwnedFd, is_ipv4: bool) -> io::Result<UdpSocket> {
    match is_ipv4 {
        true => setsockopt(&socket, Ipv4PacketInfo, &true)?,
        false => setsockopt(&socket, Ipv6RecvPacketInfo, &true)?,
    }
    UdpSocket::from_std(StdUdpSocket::from(socket))
}

/// Relays until stopped.
pub(super) async fn serve(
    socket: UdpSocket,
    target: SocketAddr,
    places: Arc<Semaphore>,
    mut stopped: oneshot::Receiver<()>,
) {
    let socket = Arc::new(socket);
    let mut clients: HashMap<Asker, Client> = HashMap::new();
    let mut tasks = JoinSet::new();
    let mut buffer = vec![0; LONGEST];
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            Some(ended) = tasks.join_next() => if let Ok(asker) = ended {
                clients.remove(&asker);
            },
            Ok(()) = socket.readable() => for _ in 0..BATCH {
                let Ok((length, asker)) = receive(&socket, &mut buffer) else {
                    break;
                };
                if !clients.contains_key(&asker) {
                    let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                        continue;
                    };
                    let Some(client) = (clients.len() < CLIENTS).then(|| meet(target)).and_then(Result::ok) else {
                        continue;
                    };
                    let (towards, heard) = (Arc::clone(&client.towards), Arc::clone(&client.heard));
                    tasks.spawn(carry_back(Arc::clone(&socket), asker, towards, heard, place));
                    clients.insert(asker, client);
                }
                if let Some(client) = clients.get(&asker) {
                    touch(&client.heard);
                    // A closed port or a full queue loses a datagram, as the network would.
                    client.towards.send(&buffer[..length]).await.ok();
                }
            }
        }
    }
    tasks.shutdown().await;
}

fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<(usize, Asker)> {
    socket.try_io(Interest::READABLE, || {
        let mut notes = cmsg_space!(in_pktinfo, in6_pktinfo);
        let mut slices = [IoSliceMut::new(buffer)];
        let flags = MsgFlags::MSG_DONTWAIT;
        let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut slices, Some(&mut notes), flags)?;
        let client = message.address.as_ref().and_then(address);
        let client = client.ok_or_else(|| io::Error::other("a datagram of nobody"))?;
        let at = message.cmsgs()?.find_map(|note| match note {
            // Where it was sent to, not the address that the kernel would answer from.
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                Some(Asked::V4(Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes())))
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                let at = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                let interface = if at.is_unicast_link_local() {
                    info.ipi6_ifindex
                } else {
                    0
                };
                Some(Asked::V6(at, interface))
            }
            _ => None,
        });
        // A reply can't come from where many were asked.
        let at = at.filter(|at| match at {
            Asked::V4(at) => !at.is_multicast() && !at.is_broadcast(),
            Asked::V6(at, _) => !at.is_multicast(),
        });
        Ok((message.bytes, Asker { client, at }))
    })
}

/// Sends a reply from where the client asked. One that can't be sent is lost, as the network would lose it.
fn reply(socket: &UdpSocket, asker: &Asker, bytes: &[u8]) {
    let slices = [IoSlice::new(bytes)];
    let to = SockaddrStorage::from(asker.client);
    let send = |notes: &[ControlMessage<'_>]| {
        let flags = MsgFlags::MSG_DONTWAIT;
        sendmsg(socket.as_raw_fd(), &slices, notes, flags, Some(&to))
    };
    let sent = match asker.at {
        None => send(&[]),
        Some(Asked::V4(at)) => {
            let mut info = in_pktinfo_of_nothing();
            info.ipi_spec_dst.s_addr = u32::from_ne_bytes(at.octets());
            send(&[ControlMessage::Ipv4PacketInfo(&info)])
        }
        Some(Asked::V6(at, interface)) => {
            let info = in6_pktinfo {
                ipi6_addr: nix::libc::in6_addr { s6_addr: at.octets() },
                ipi6_ifindex: interface,
            };
            send(&[ControlMessage::Ipv6PacketInfo(&info)])
        }
    };
    // Where all of a segment were asked, nobody can answer from.
    let sent = match sent {
        Err(Errno::EINVAL | Errno::EADDRNOTAVAIL) => send(&[]),
        sent => sent,
    };
    if let Err(errno) = sent {
        tracing::debug!(%errno, client = %asker.client, "a datagram is lost");
    }
}

fn in_pktinfo_of_nothing() -> in_pktinfo {
    let nowhere = nix::libc::in_addr { s_addr: 0 };
    in_pktinfo {
        ipi_ifindex: 0,
        ipi_spec_dst: nowhere,
        ipi_addr: nowhere,
    }
}

fn address(from: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = from.as_sockaddr_in().map(|from| SocketAddrV4::from(*from).into());
    v4.or_else(|| {
        from.as_sockaddr_in6()
            .map(|from| SocketAddrV6::from(*from).into())
    })
}

fn meet(target: SocketAddr) -> io::Result<Client> {
    let any: IpAddr = match target {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let towards = StdUdpSocket::bind((any, 0))?;
    towards.connect(target)?;
    towards.set_nonblocking(true)?;
    Ok(Client {
        towards: Arc::new(UdpSocket::from_std(towards)?),
        heard: Arc::new(Mutex::new(Instant::now())),
    })
}

async fn carry_back(
    socket: Arc<UdpSocket>,
    asker: Asker,
    towards: Arc<UdpSocket>,
    heard: Arc<Mutex<Instant>>,
    _place: OwnedSemaphorePermit,
) -> Asker {
    loop {
        let end = *heard.lock().unwrap_or_else(PoisonError::into_inner) + IDLE;
        match timeout_at(end, towards.readable()).await {
            Ok(Ok(())) => {
                // On the heap and gone at once: a thousand idle clients cost no buffers.
                let mut buffer = vec![0; LONGEST];
                // A port that is closed just now may be opened again: the client stays known.
                for _ in 0..BATCH {
                    let Ok(length) = towards.try_recv(&mut buffer) else {
                        break;
                    };
                    touch(&heard);
                    reply(&socket, &asker, &buffer[..length]);
                }
                // All ports have one thread, which a container that never stops would keep.
                yield_now().await;
            }
            Ok(Err(_)) => return asker,
            Err(_) if heard.lock().unwrap_or_else(PoisonError::into_inner).elapsed() >= IDLE => {
                return asker;
            }
            Err(_) => {}
        }
    }
}

fn touch(heard: &Mutex<Instant>) {
    *heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_container_that_says_much_lets_others_have_their_turn() {
        let here = (Ipv4Addr::LOCALHOST, 0);
        let relay = UdpSocket::bind(here).await.expect("the relay's");
        let client = UdpSocket::bind(here).await.expect("a client");
        let container = UdpSocket::bind(here).await.expect("a container");
        let towards = UdpSocket::bind(here).await.expect("a way there");
        let address = |socket: &UdpSocket| socket.local_addr().expect("an address");
        towards.connect(address(&container)).await.expect("connected");
        for _ in 0..3 * BATCH {
            let to = address(&towards);
            container.send_to(b"x", to).await.expect("said");
        }
        let asker = Asker {
            client: address(&client),
            at: None,
        };
        let place = Arc::new(Semaphore::new(1)).try_acquire_owned().expect("a place");
        let heard = Arc::new(Mutex::new(Instant::now()));
        let carrying = tokio::spawn(carry_back(
            Arc::new(relay),
            asker,
            Arc::new(towards),
            heard,
            place,
        ));
        let mut buffer = [0; 8];
        let (mut all, mut most) = (0, 0);
        while all < 3 * BATCH {
            client.readable().await.expect("something comes");
            let mut turn = 0;
            while client.try_recv(&mut buffer).is_ok() {
                turn += 1;
            }
            (all, most) = (all + turn, most.max(turn));
        }
        carrying.abort();
        // The readiness of one turn may be seen in the next one's.
        assert!(most <= 2 * BATCH, "{most} of {all} in one turn");
    }
}
