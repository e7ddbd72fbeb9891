//! One connection: a client's socket and one towards the container.

use std::{net::SocketAddr, os::fd::OwnedFd, time::Duration};

use rustix::{
    event::epoll::{self, EventData, EventFlags},
    io::Errno,
    net::{
        AddressFamily, SocketFlags, SocketType, connect, getpeername, socket_with,
        sockopt::{set_socket_linger, set_tcp_nodelay, set_tcp_quickack},
    },
};
use tokio::sync::OwnedSemaphorePermit;

use super::flow::{End, Flow};

/// What a turn leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing is to be done until something happens.
    Waiting,
    /// There is more to do.
    More,
    /// It has ended.
    Over,
}

/// A connection that is relayed.
#[derive(Debug)]
pub(super) struct Pair {
    client: End,
    container: End,
    up: Flow,
    down: Flow,
    /// What is watched: nothing yet, or whether there is room to write too.
    watched: [Option<bool>; 2],
    _place: OwnedSemaphorePermit,
}

impl Pair {
    /// Begins to connect to `target` for a client, and leads on what it has said already: most clients speak first. What
    /// goes out at once takes the last word of the handshake along, and the container's server wakes once.
    pub(super) fn new(
        client: OwnedFd,
        target: SocketAddr,
        place: OwnedSemaphorePermit,
        buffer: &mut [u8],
    ) -> Result<Self, Errno> {
        let end = |socket, readable| End {
            socket,
            readable,
            writable: true,
            hung_up: false,
        };
        let (mut client, mut up) = (end(client, true), Flow::default());
        let said = up.read(&mut client, buffer)?;
        let family = match target {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let container = socket_with(family, SocketType::STREAM, flags, None)?;
        set_tcp_nodelay(&container, true)?;
        if said > 0 {
            set_tcp_quickack(&container, false)?;
        }
        match connect(&container, &target) {
            // A neighbour's answer comes while we ask: what follows finds it connected all the same.
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(errno) => {
                reset(&client.socket);
                return Err(errno);
            }
        }
        let mut container = end(container, false);
        if let Err(errno) = up.send_on(&mut container, &buffer[..said]) {
            reset(&client.socket);
            return Err(errno);
        }
        Ok(Self {
            client,
            container,
            up,
            down: Flow::default(),
            watched: [None; 2],
            _place: place,
        })
    }

    /// Notes what an event says of the client's socket, or the container's.
    pub(super) fn heard(&mut self, of_container: bool, flags: EventFlags) {
        let end = match of_container {
            true => &mut self.container,
            false => &mut self.client,
        };
        let over = EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR;
        end.readable |= flags.intersects(EventFlags::IN | over);
        end.writable |= flags.intersects(EventFlags::OUT | EventFlags::ERR | EventFlags::HUP);
        end.hung_up |= flags.intersects(over);
    }

    /// Carries what can be carried. A connection that breaks breaks for both: who gets half must not think it whole.
    pub(super) fn step(&mut self, buffer: &mut [u8]) -> Progress {
        match self.carry(buffer) {
            Ok(progress) => progress,
            Err(errno) => {
                tracing::debug!(%errno, "a connection broke");
                self.give_up();
                Progress::Over
            }
        }
    }

    fn carry(&mut self, buffer: &mut [u8]) -> Result<Progress, Errno> {
        let Self {
            client,
            container,
            up,
            down,
            ..
        } = self;
        let more_up = up.carry(client, container, buffer)?;
        let more_down = down.carry(container, client, buffer)?;
        if up.is_over() && down.is_over() {
            return Ok(Progress::Over); // closing them ends both ways
        }
        down.close(client);
        // An end would break off what has not been taken yet.
        if self.up.is_over() && self.is_taken() {
            self.up.close(&self.container);
        }
        Ok(match more_up || more_down {
            true => Progress::More,
            false => Progress::Waiting,
        })
    }

    /// Watches the sockets, for room only where that is waited for.
    pub(super) fn watch(&mut self, epoll: &OwnedFd, data: u64) -> Result<(), Errno> {
        let wanted = [self.down.waits_for_room(), self.up.waits_for_room()];
        let ends = [&self.client, &self.container];
        for (side, end) in ends.into_iter().enumerate() {
            let watched = self.watched[side];
            // Room that is not waited for is told of once, and that does no harm.
            if watched == Some(true) || watched == Some(wanted[side]) {
                continue;
            }
            let mut flags = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET;
            flags.set(EventFlags::OUT, wanted[side]);
            let data = EventData::new_u64(data | side as u64);
            match watched {
                None => epoll::add(epoll, &end.socket, data, flags)?,
                Some(_) => epoll::modify(epoll, &end.socket, data, flags)?,
            }
            self.watched[side] = Some(wanted[side]);
        }
        Ok(())
    }

    /// Whether the container has taken the connection.
    pub(super) fn is_taken(&self) -> bool {
        self.up.has_moved() || getpeername(&self.container.socket).is_ok_and(|peer| peer.is_some())
    }

    /// Makes the end a break for both.
    pub(super) fn give_up(&self) {
        reset(&self.client.socket);
        reset(&self.container.socket);
    }
}

/// Closing it from now on tells the other side that something went wrong.
fn reset(socket: &OwnedFd) {
    let _ = set_socket_linger(socket, Some(Duration::ZERO));
}
