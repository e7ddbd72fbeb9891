//! Waiting for many descriptors at once, each known by a token of its own.

use std::{io, os::fd::AsFd, time::Duration};

use rustix::{
    buffer::spare_capacity,
    event::{
        Timespec,
        epoll::{self, CreateFlags, Event, EventData, EventFlags},
    },
    fd::OwnedFd,
    io::Errno,
};

/// Names a watched descriptor; never used twice.
pub(crate) type Token = u64;

/// What is waited for. With nothing to wait for a descriptor is not watched at all: the kernel would report its
/// end over and over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interest {
    pub(crate) read: bool,
    pub(crate) write: bool,
    /// The end of both directions; also told to who reads or writes.
    pub(crate) hangup: bool,
}

impl Interest {
    pub(crate) const NONE: Self = Self {
        read: false,
        write: false,
        hangup: false,
    };
    pub(crate) const READ: Self = Self {
        read: true,
        write: false,
        hangup: true,
    };
    pub(crate) const WRITE: Self = Self {
        read: false,
        write: true,
        hangup: true,
    };
}

/// What happened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ready {
    pub(crate) token: Token,
    pub(crate) read: bool,
    pub(crate) write: bool,
    /// Both directions are over.
    pub(crate) hangup: bool,
}

#[derive(Debug)]
pub(crate) struct Poll {
    epoll: OwnedFd,
    next: Token,
}

/// A descriptor with its token and what it is watched for.
#[derive(Debug)]
pub(crate) struct Watched<Fd> {
    pub(crate) fd: Fd,
    pub(crate) token: Token,
    interest: Interest,
}

impl Poll {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            next: 0,
        })
    }

    /// Takes a descriptor in.
    pub(crate) fn watch<Fd: AsFd>(&mut self, fd: Fd, interest: Interest) -> io::Result<Watched<Fd>> {
        self.next += 1;
        let mut watched = Watched {
            fd,
            token: self.next,
            interest: Interest::NONE,
        };
        self.change(&mut watched, interest)?;
        Ok(watched)
    }

    /// Changes what is waited for.
    pub(crate) fn change<Fd: AsFd>(&self, watched: &mut Watched<Fd>, interest: Interest) -> io::Result<()> {
        if watched.interest == interest {
            return Ok(());
        }
        let mut flags = EventFlags::empty();
        flags.set(EventFlags::IN, interest.read);
        flags.set(EventFlags::OUT, interest.write);
        let data = EventData::new_u64(watched.token);
        match (watched.interest, interest) {
            (Interest::NONE, _) => epoll::add(&self.epoll, &watched.fd, data, flags)?,
            (_, Interest::NONE) => epoll::delete(&self.epoll, &watched.fd)?,
            _ => epoll::modify(&self.epoll, &watched.fd, data, flags)?,
        }
        watched.interest = interest;
        Ok(())
    }

    /// Waits until something happens, or for so long.
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> io::Result<Vec<Ready>> {
        let timeout = timeout.and_then(|time| Timespec::try_from(time).ok());
        let mut events: Vec<Event> = Vec::with_capacity(32);
        match epoll::wait(&self.epoll, spare_capacity(&mut events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        Ok(events.iter().map(ready).collect())
    }
}

fn ready(event: &Event) -> Ready {
    let flags = event.flags;
    let hangup = flags.intersects(EventFlags::HUP | EventFlags::ERR);
    Ready {
        token: event.data.u64(),
        // The end of a stream is read like its bytes are.
        read: hangup || flags.contains(EventFlags::IN),
        write: hangup || flags.contains(EventFlags::OUT),
        hangup,
    }
}
