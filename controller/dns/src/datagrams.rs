//! Datagrams by the batch: one call to the kernel for all that wait, and one for all replies.
//!
//! Most of what a query costs is the kernel's way in and out. The room is the thread's, not the socket's: an idle
//! sandbox costs no page for it.

use std::{
    cell::RefCell,
    io::{self, IoSlice, IoSliceMut},
    net::{SocketAddr, SocketAddrV4, SocketAddrV6},
    os::fd::{AsRawFd as _, RawFd},
};

use nix::sys::socket::{
    ControlMessage, MsgFlags, MultiHeaders, SockaddrIn, SockaddrIn6, SockaddrLike, SockaddrStorage, recvmmsg,
    sendmmsg,
};
use tokio::{io::Interest, net::UdpSocket};

/// Packets taken in one go before others get their turn.
const BATCH: usize = 32;
/// The longest query we read over UDP; more is no honest query.
const LONGEST: usize = 4096;

thread_local! {
    static ROOM: RefCell<Room> = RefCell::new(Room::new());
}

struct Room {
    bytes: Box<[u8]>,
    taken: Vec<(usize, SocketAddr)>,
    replies: Vec<(Vec<u8>, SockaddrStorage)>,
    // The kernel notes in the headers how long an address was, and believes it the next time: one set for each family.
    from_v4: MultiHeaders<SockaddrIn>,
    from_v6: MultiHeaders<SockaddrIn6>,
    to: MultiHeaders<SockaddrStorage>,
}

impl Room {
    fn new() -> Self {
        Self {
            bytes: vec![0; BATCH * LONGEST].into(),
            taken: Vec::with_capacity(BATCH),
            replies: Vec::with_capacity(BATCH),
            from_v4: MultiHeaders::preallocate(BATCH, None),
            from_v6: MultiHeaders::preallocate(BATCH, None),
            to: MultiHeaders::preallocate(BATCH, None),
        }
    }
}

/// Takes what waits at a socket and sends back what `answer` has for it at once.
pub(crate) fn exchange(
    socket: &UdpSocket,
    is_ipv4: bool,
    mut answer: impl FnMut(&[u8], SocketAddr) -> Option<Vec<u8>>,
) {
    ROOM.with_borrow_mut(|room| {
        let Room {
            bytes,
            taken,
            replies,
            from_v4,
            from_v6,
            to,
        } = room;
        let fd = socket.as_raw_fd();
        let received = socket.try_io(Interest::READABLE, || match is_ipv4 {
            true => receive(fd, from_v4, bytes, taken, |from| SocketAddrV4::from(from).into()),
            false => receive(fd, from_v6, bytes, taken, |from| SocketAddrV6::from(from).into()),
        });
        if received.is_err() {
            return;
        }
        // A panic may have left some of another sandbox's.
        replies.clear();
        for ((length, from), packet) in taken.drain(..).zip(bytes.chunks_exact(LONGEST)) {
            if let Some(reply) = answer(&packet[..length], from) {
                replies.push((reply, from.into()));
            }
        }
        send(fd, to, replies);
        replies.clear();
    });
}

fn receive<S: SockaddrLike + Copy>(
    fd: RawFd,
    headers: &mut MultiHeaders<S>,
    bytes: &mut [u8],
    taken: &mut Vec<(usize, SocketAddr)>,
    address: fn(S) -> SocketAddr,
) -> io::Result<()> {
    taken.clear();
    let mut slices: Vec<_> = bytes
        .chunks_exact_mut(LONGEST)
        .map(|chunk| [IoSliceMut::new(chunk)])
        .collect();
    let received = recvmmsg(fd, headers, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None)?;
    taken.extend(received.map(|message| {
        let nobody = SocketAddr::from(([0; 4], 0));
        (message.bytes, message.address.map_or(nobody, address))
    }));
    Ok(())
}

/// A reply that can't be sent is lost, as the network would lose it; the client asks again.
fn send(fd: RawFd, headers: &mut MultiHeaders<SockaddrStorage>, replies: &[(Vec<u8>, SockaddrStorage)]) {
    let mut rest = replies;
    while !rest.is_empty() {
        let slices: Vec<_> = rest.iter().map(|(reply, _)| [IoSlice::new(reply)]).collect();
        let addresses: Vec<_> = rest.iter().map(|(_, to)| Some(*to)).collect();
        let nothing: [ControlMessage<'_>; 0] = [];
        let sent = sendmmsg(fd, headers, &slices, addresses, nothing, MsgFlags::MSG_DONTWAIT);
        // It stops at the first that fails: that one is passed over.
        rest = &rest[sent.map_or(1, |sent| sent.count()).clamp(1, rest.len())..];
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    async fn asked(by: &UdpSocket) -> UdpSocket {
        let server = UdpSocket::bind("127.0.0.1:0").await.expect("a server");
        let at = server.local_addr().expect("its address");
        for question in [b"one", b"two"] {
            by.send_to(question, at).await.expect("asked");
        }
        server.readable().await.expect("heard");
        server
    }

    #[tokio::test]
    async fn what_a_panic_left_of_one_sandbox_is_no_answer_of_another() {
        let (first, second) = (
            UdpSocket::bind("127.0.0.1:0").await.expect("a client"),
            UdpSocket::bind("127.0.0.1:0").await.expect("a client"),
        );
        let broken = asked(&first).await;
        let breaking = AssertUnwindSafe(|| {
            exchange(&broken, true, |packet, _| match packet {
                b"one" => Some(b"of the first".to_vec()),
                _ => panic!("in the middle of a batch"),
            });
        });
        assert!(catch_unwind(breaking).is_err());
        let whole = asked(&second).await;
        exchange(&whole, true, |_, _| Some(b"of the second".to_vec()));
        let mut buffer = [0; 64];
        let (length, _) = second.recv_from(&mut buffer).await.expect("an answer");
        assert_eq!(&buffer[..length], b"of the second");
        let first = first.into_std().expect("the socket itself");
        let nothing = first
            .recv_from(&mut buffer)
            .map(|_| ())
            .map_err(|error| error.kind());
        assert_eq!(
            nothing,
            Err(io::ErrorKind::WouldBlock),
            "nobody answers for another"
        );
    }
}
