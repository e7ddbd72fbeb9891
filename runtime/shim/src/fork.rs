//! Children of the shim: what they keep, what they report, and the few calls that need `unsafe`.
//!
//! A child does the work that the long-lived shim must not: libcontainer changes its caller for good, and its pages
//! would stay. The shim has one thread, so a child may run any code.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd, RawFd},
    process::exit,
};

use nix::{
    libc,
    sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction},
    unistd::{ForkResult, fork},
};

/// Runs `work` in a child; returns its pid.
///
/// The child has the caller's memory, `keep` of its descriptors beside the first three, and no blocked signals.
pub(crate) fn child(keep: &[&OwnedFd], work: impl FnOnce()) -> io::Result<i32> {
    // SAFETY: the process has one thread, so the child's copy of the memory is consistent: no lock is held in it.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(child.as_raw()),
        ForkResult::Child => {
            close_others(keep);
            unblock_signals();
            work();
            leave(0)
        }
    }
}

/// Ends a child without running what the shim would run at its own end.
pub(crate) fn leave(code: i32) -> ! {
    // Nothing is registered at exit, and the standard streams are unbuffered or empty here.
    exit(code)
}

fn close_others(keep: &[&OwnedFd]) {
    let mut kept: Vec<RawFd> = keep.iter().map(|fd| fd.as_raw_fd()).collect();
    kept.sort_unstable();
    let mut from = 3;
    for fd in kept {
        close_range(from, fd - 1);
        from = fd + 1;
    }
    close_range(from, RawFd::MAX);
}

fn close_range(first: RawFd, last: RawFd) {
    if first <= last {
        // SAFETY: in a child that only uses the descriptors it keeps; owners of the others never run again there.
        unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    }
}

/// Signals that the shim reads from a descriptor instead of being interrupted (or ended) by them.
pub(crate) fn shim_signals() -> SigSet {
    [
        Signal::SIGCHLD,
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGQUIT,
    ]
    .into_iter()
    .collect()
}

fn unblock_signals() {
    // An empty mask is always accepted.
    let _ = SigSet::empty().thread_set_mask();
}

/// What a new program expects: Rust programs ignore SIGPIPE, others must not inherit that.
pub(crate) fn default_signals() {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: the default disposition runs no code of ours.
    let _ = unsafe { sigaction(Signal::SIGPIPE, &default) };
    unblock_signals();
}

/// Sends any signal, real-time ones too.
pub(crate) fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: sending a signal touches no memory of ours.
    match unsafe { libc::kill(pid, signal) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Makes `fd` the descriptor `number`, kept over an exec.
pub(crate) fn become_number(fd: &impl AsFd, number: RawFd) -> io::Result<()> {
    // SAFETY: `number` is one of the first three, which nothing here owns.
    match unsafe { libc::dup2(fd.as_fd().as_raw_fd(), number) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// A change of a mount and of all below it (`struct mount_attr`).
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct MountChange {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

impl MountChange {
    /// It hears of what its peers do and they don't of it.
    pub(crate) fn hearing() -> Self {
        Self {
            propagation: libc::MS_SLAVE,
            ..Self::default()
        }
    }
}

/// Changes a mount, and all below it.
pub(crate) fn change_mount(mount: std::os::fd::BorrowedFd<'_>, change: &MountChange) -> io::Result<()> {
    let flags = libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;
    // SAFETY: the path is empty and ends, and the kernel reads so many bytes of the change.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(change),
            size_of::<MountChange>(),
        )
    };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Has the kernel run these instructions before each system call of this process and of those it makes.
pub(crate) fn filter_calls(instructions: &[libc::sock_filter]) -> io::Result<()> {
    const SET_MODE_FILTER: libc::c_long = 1;
    let program = libc::sock_fprog {
        len: u16::try_from(instructions.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        filter: instructions.as_ptr().cast_mut(),
    };
    // SAFETY: the kernel copies `len` instructions from where they are, and writes nothing.
    match unsafe { libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, 0, &raw const program) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// One step of a program that the kernel checks and runs (`struct bpf_insn`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Instruction {
    pub(crate) code: u8,
    /// Where to, and from where in the upper half.
    pub(crate) registers: u8,
    pub(crate) offset: i16,
    pub(crate) immediate: i32,
}

impl Instruction {
    const fn new(code: u8, registers: u8, offset: usize, immediate: i32) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_possible_wrap,
            reason = "within a rule"
        )]
        let offset = offset as i16;
        Self {
            code,
            registers,
            offset,
            immediate,
        }
    }

    /// Four bytes of what a register leads to.
    pub(crate) const fn load(to: u8, from: u8, at: usize) -> Self {
        Self::new(0x61, to | from << 4, at, 0)
    }

    pub(crate) const fn copy(to: u8, from: u8) -> Self {
        Self::new(0xbc, to | from << 4, 0, 0)
    }

    pub(crate) const fn shift_right(register: u8, bits: i32) -> Self {
        Self::new(0x74, register, 0, bits)
    }

    pub(crate) const fn and(register: u8, mask: i32) -> Self {
        Self::new(0x54, register, 0, mask)
    }

    pub(crate) const fn set(register: u8, value: i32) -> Self {
        Self::new(0xb7, register, 0, value)
    }

    /// Passes over so many unless a register has this value.
    pub(crate) const fn unless_equal(register: u8, value: i32, over: usize) -> Self {
        Self::new(0x55, register, over, value)
    }

    /// Passes over so many if a register has any of these bits.
    pub(crate) const fn if_any(register: u8, bits: i32, over: usize) -> Self {
        Self::new(0x45, register, over, bits)
    }

    pub(crate) const fn skip(over: usize) -> Self {
        Self::new(0x05, 0, over, 0)
    }

    pub(crate) const fn end() -> Self {
        Self::new(0x95, 0, 0, 0)
    }
}

/// What `BPF_PROG_LOAD` is told.
#[repr(C)]
struct Load {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel: u32,
    flags: u32,
}

/// What `BPF_PROG_ATTACH` is told.
#[repr(C)]
struct Attach {
    target: i32,
    program: i32,
    kind: u32,
    flags: u32,
}

/// Has the kernel ask this program whenever a process of the cgroup opens or makes a device, besides those of the cgroups
/// above. It goes with the cgroup.
pub(crate) fn filter_devices(
    instructions: &[Instruction],
    cgroup: std::os::fd::BorrowedFd<'_>,
) -> io::Result<()> {
    const PROG_LOAD: libc::c_long = 5;
    const PROG_ATTACH: libc::c_long = 8;
    const CGROUP_DEVICE_PROGRAM: u32 = 15;
    const CGROUP_DEVICE: u32 = 6;
    const ALLOW_MULTIPLE: u32 = 2;
    let load = Load {
        kind: CGROUP_DEVICE_PROGRAM,
        count: u32::try_from(instructions.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        instructions: instructions.as_ptr().addr() as u64,
        license: c"Apache-2.0".as_ptr().addr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel: 0,
        flags: 0,
    };
    // SAFETY: the kernel reads so many bytes of `load`, `count` instructions, and a text that ends; it writes nothing.
    let program = unsafe { libc::syscall(libc::SYS_bpf, PROG_LOAD, &raw const load, size_of::<Load>()) };
    let program = i32::try_from(program)
        .ok()
        .filter(|number| *number >= 0)
        .ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the kernel has just made this descriptor for us.
    let program = unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(program) };
    let attach = Attach {
        target: cgroup.as_raw_fd(),
        program: program.as_raw_fd(),
        kind: CGROUP_DEVICE,
        flags: ALLOW_MULTIPLE,
    };
    // SAFETY: the kernel reads so many bytes of `attach`, and writes nothing.
    match unsafe { libc::syscall(libc::SYS_bpf, PROG_ATTACH, &raw const attach, size_of::<Attach>()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
