//! A first process that looks after the command, for `--init`: it passes signals on and buries processes whose parents
//! are gone. It is the process that would have become the command, so nothing of ours need be in the image.

use std::{convert::Infallible, io};

use nix::{
    libc,
    sys::{
        signal::SigSet,
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{ForkResult, Pid, fork, setpgid},
};

use crate::fork::{kill, leave};

/// Returns in the process that is to become the command. The caller stays behind as the first process, after `parted`
/// has let go of what only the command may hold, and ends as the command does.
pub(crate) fn part(parted: impl FnOnce()) -> io::Result<()> {
    let all = SigSet::all();
    all.thread_block()?;
    // SAFETY: there is one thread here, so no lock is held in the child's copy of the memory.
    match unsafe { fork() }? {
        ForkResult::Child => {
            // A group of its own, as a shell would give it; a terminal's keys then reach it alone.
            let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0));
            take_terminal();
            SigSet::empty().thread_set_mask()?;
            Ok(())
        }
        ForkResult::Parent { child } => {
            parted();
            // How it is called is of no weight.
            let _ = rustix::thread::set_name(c"cnm-init");
            match look_after(child, &all) {
                Ok(never) => match never {},
                Err(_) => leave(255),
            }
        }
    }
}

/// Makes the command's group the one that the terminal's keys reach, if there is a terminal.
fn take_terminal() {
    let stdin = io::stdin();
    if let Some(us) = rustix::process::Pid::from_raw(nix::unistd::getpid().as_raw()) {
        // Who is in the background is stopped for asking, unless the signal is blocked, as all are now.
        let _ = rustix::termios::tcsetpgrp(&stdin, us);
    }
}

fn look_after(child: Pid, all: &SigSet) -> io::Result<Infallible> {
    loop {
        match next(all) {
            libc::SIGCHLD => bury(child)?,
            // A stopped terminal stops nobody who looks after others.
            libc::SIGTTIN | libc::SIGTTOU => {}
            // It may have gone in this moment.
            signal => drop(kill(child.as_raw(), signal)),
        }
    }
}

/// The next signal, by its number: real-time ones have no name.
fn next(all: &SigSet) -> libc::c_int {
    let mut signal = libc::SIGCHLD;
    // SAFETY: both point to values that live through the call.
    unsafe { libc::sigwait(all.as_ref(), &raw mut signal) };
    signal
}

/// Takes the exit statuses of all who ended; the command's is ours.
fn bury(child: Pid) -> io::Result<()> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == child => leave(code),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == child => leave(128 + signal as i32),
            Ok(WaitStatus::StillAlive) | Err(nix::errno::Errno::ECHILD) => return Ok(()),
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Closes what the first process must not keep open.
pub(crate) fn close(descriptor: std::os::fd::RawFd) {
    // SAFETY: the owner of this descriptor is not used again in this process.
    unsafe { libc::close(descriptor) };
}
