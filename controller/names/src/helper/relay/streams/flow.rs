//! One direction of a connection: what was read and could not be sent on yet, and how it ends.
//!
//! Nothing is read while something waits to be sent, so a reader that is slow holds up its writer, as it would without
//! us, and costs one buffer at most.

use std::os::fd::OwnedFd;

use rustix::{
    io::Errno,
    net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown},
};

/// Bytes carried in one turn, so that others get theirs.
const TURN: usize = 1 << 20;

/// One socket of two.
#[derive(Debug)]
pub(super) struct End {
    pub(super) socket: OwnedFd,
    /// There may be something to read, and room to write.
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// Its other side has said that it is done.
    pub(super) hung_up: bool,
}

/// Bytes on their way.
#[derive(Debug, Default)]
pub(super) struct Flow {
    waiting: Vec<u8>,
    sent: usize,
    ended: bool,
    closed: bool,
    moved: bool,
}

impl Flow {
    /// Whether anything was sent: whoever took it is there.
    pub(super) fn has_moved(&self) -> bool {
        self.moved
    }

    /// Whether something waits for room.
    pub(super) fn is_held_up(&self) -> bool {
        self.sent < self.waiting.len()
    }

    /// Whether something is to be done as soon as there is room.
    pub(super) fn waits_for_room(&self) -> bool {
        self.is_held_up() || self.ended && !self.closed
    }

    /// Whether all was carried, up to the end.
    pub(super) fn is_over(&self) -> bool {
        self.ended && !self.is_held_up()
    }

    /// Passes the end on, once. It takes along what was sent last.
    pub(super) fn close(&mut self, to: &End) {
        if self.is_over() && !self.closed {
            self.closed = true;
            // A socket that is not connected any more needs no end.
            let _ = shutdown(&to.socket, Shutdown::Write);
        }
    }

    /// Carries what there is, but no more than a turn's worth: true when that was reached.
    pub(super) fn carry(&mut self, from: &mut End, to: &mut End, buffer: &mut [u8]) -> Result<bool, Errno> {
        let mut carried = 0;
        while self.is_held_up() && to.writable {
            match send(&to.socket, &self.waiting[self.sent..], SendFlags::NOSIGNAL) {
                Ok(length) => self.sent += length,
                Err(errno) => to.writable = wait_or(errno)?,
            }
        }
        if !self.is_held_up() && !self.waiting.is_empty() {
            (self.waiting, self.sent) = (Vec::new(), 0);
        }
        while !self.ended && from.readable && !self.is_held_up() {
            if carried >= TURN {
                return Ok(true);
            }
            let length = self.read(from, buffer)?;
            carried += length;
            self.send_on(to, &buffer[..length])?;
        }
        Ok(false)
    }

    /// Reads what is there, and the end too if that is there: then one packet takes both along.
    pub(super) fn read(&mut self, from: &mut End, buffer: &mut [u8]) -> Result<usize, Errno> {
        let mut length = 0;
        loop {
            match recv(&from.socket, &mut buffer[length..], RecvFlags::empty()) {
                Ok((0, _)) => {
                    self.ended = true;
                    return Ok(length);
                }
                Ok((more, _)) => {
                    length += more;
                    if length == buffer.len() {
                        return Ok(length);
                    }
                    if !from.hung_up {
                        // It was emptied: what comes from now on is told of.
                        from.readable = false;
                        return Ok(length);
                    }
                }
                Err(errno) => {
                    from.readable = wait_or(errno)?;
                    if !from.readable {
                        return Ok(length);
                    }
                }
            }
        }
    }

    /// Sends what was read just now; what there is no room for waits.
    pub(super) fn send_on(&mut self, to: &mut End, bytes: &[u8]) -> Result<(), Errno> {
        let more = if self.ended {
            SendFlags::MORE
        } else {
            SendFlags::empty()
        };
        let mut rest = bytes;
        while !rest.is_empty() && to.writable {
            match send(&to.socket, rest, SendFlags::NOSIGNAL | more) {
                Ok(length) => {
                    rest = &rest[length..];
                    self.moved = true;
                }
                Err(errno) => to.writable = wait_or(errno)?,
            }
        }
        if !rest.is_empty() {
            (self.waiting, self.sent) = (rest.to_vec(), 0);
        }
        Ok(())
    }
}

/// Whether to go on at once after an error; it is passed on if it is one.
fn wait_or(errno: Errno) -> Result<bool, Errno> {
    match errno {
        Errno::INTR => Ok(true),
        Errno::AGAIN => Ok(false),
        errno => Err(errno),
    }
}
