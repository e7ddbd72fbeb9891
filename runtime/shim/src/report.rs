//! What a child tells the shim: packets on a socket, one of which may carry a terminal, and a pipe that says whether
//! the command was executed: it ends with the exec, or brings the reason why there was none.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
    },
    pipe::{PipeFlags, pipe_with},
};
use serde::{Deserialize, Serialize};
use shim_protocol::Failure;

/// A packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The process was made.
    Pid(i32),
    /// It can't be.
    Failed(Failure),
}

/// What the shim hears.
#[derive(Debug)]
pub(crate) enum Heard {
    Report(Report),
    Terminal(OwnedFd),
    /// Nothing now.
    Nothing,
    /// Nothing any more.
    End,
}

/// Both ends of both ways.
#[derive(Debug)]
pub(crate) struct Ways {
    pub(crate) reports: OwnedFd,
    pub(crate) status: OwnedFd,
    pub(crate) child: ChildWays,
}

/// The child's ends.
#[derive(Debug)]
pub(crate) struct ChildWays {
    pub(crate) reports: OwnedFd,
    pub(crate) status: OwnedFd,
}

impl Ways {
    pub(crate) fn new() -> io::Result<Self> {
        let (ours, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        let (status, status_end) = pipe_with(PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&status, true)?;
        Ok(Self {
            reports: ours,
            status,
            child: ChildWays {
                reports: theirs,
                status: status_end,
            },
        })
    }
}

impl ChildWays {
    /// Tells; nobody to hear it is no error, the shim may be gone.
    pub(crate) fn report(&self, report: &Report) {
        if let Ok(text) = serde_json::to_vec(report) {
            let _ = rustix::net::send(&self.reports, &text, SendFlags::NOSIGNAL);
        }
    }

    /// Hands over a terminal.
    pub(crate) fn terminal(&self, master: &impl AsFd) -> io::Result<()> {
        let descriptors = [master.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
        sendmsg(
            &self.reports,
            &[IoSlice::new(b"terminal")],
            &mut ancillary,
            SendFlags::NOSIGNAL,
        )?;
        Ok(())
    }
}

/// Writes the reason why nothing was executed.
pub(crate) fn not_executed(status: impl AsFd, failure: &Failure) {
    if let Ok(text) = serde_json::to_vec(failure) {
        let _ = rustix::io::write(status, &text);
    }
}

/// Hears one packet.
pub(crate) fn hear(from: impl AsFd) -> io::Result<Heard> {
    let mut bytes = vec![0; 8 << 10];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let got = match recvmsg(from, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, flags) {
        Ok(got) => got.bytes,
        Err(Errno::AGAIN | Errno::INTR) => return Ok(Heard::Nothing),
        Err(Errno::CONNRESET) => return Ok(Heard::End),
        Err(errno) => return Err(errno.into()),
    };
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(mut descriptors) = message
            && let Some(terminal) = descriptors.next()
        {
            return Ok(Heard::Terminal(terminal));
        }
    }
    Ok(if got == 0 {
        Heard::End
    } else {
        Heard::Report(serde_json::from_slice(&bytes[..got])?)
    })
}

/// Receives a terminal that another sent on a stream socket, waiting for it.
pub(crate) fn receive_terminal(from: impl AsFd) -> io::Result<OwnedFd> {
    let mut bytes = [0; 64];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    recvmsg(
        from,
        &mut [IoSliceMut::new(&mut bytes)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let terminal = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    terminal.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no terminal was sent"))
}

#[cfg(test)]
mod tests {
    use shim_protocol::FailureKind;

    use super::*;

    #[test]
    fn reports_terminals_and_the_end_are_heard_in_order() {
        let Ways {
            reports,
            status,
            child,
        } = Ways::new().unwrap();
        assert!(matches!(hear(&reports).unwrap(), Heard::Nothing));
        child.report(&Report::Pid(7));
        child.terminal(&status).unwrap();
        let failure = Failure::new(FailureKind::Internal, "x");
        child.report(&Report::Failed(failure.clone()));
        drop(child);
        assert!(matches!(hear(&reports).unwrap(), Heard::Report(Report::Pid(7))));
        assert!(matches!(hear(&reports).unwrap(), Heard::Terminal(_)));
        assert!(matches!(hear(&reports).unwrap(), Heard::Report(Report::Failed(got)) if got == failure));
        assert!(matches!(hear(&reports).unwrap(), Heard::End));
    }
}
