//! Runs another process in the container, in a child of the shim.
//!
//! Done here and not by libcontainer, whose way leaves the container's system call filter off. The child enters the
//! container's cgroup and namespaces; a process enters another pid namespace only by being born in it, so a second
//! child becomes the command. It is the shim's to wait for, because the shim adopts orphans.

use std::os::fd::{AsFd as _, IntoRawFd as _, OwnedFd};

use anyhow::{Context as _, Result};
use libcontainer::{capabilities, seccomp, syscall::syscall::create_syscall, tty};
use nix::{
    sys::prctl::{set_keepcaps, set_no_new_privs},
    unistd::{Gid, Uid, setgroups, setresgid, setresuid},
};
use oci_spec::runtime::{LinuxSeccomp, Process, Spec};
use rustix::{
    process::{Pid, PidfdFlags, chdir, pidfd_open, setsid},
    termios::{Winsize, tcsetwinsize},
    thread::{ThreadNameSpaceType, move_into_thread_name_spaces},
};
use shim_protocol::{Exec, Failure, FailureKind, Launch, cgroup::Cgroup};

use crate::{
    command,
    create::{chain, own},
    filter::{self, Program},
    fork,
    report::{ChildWays, Report, not_executed},
    stdio::Stdio,
};

/// What the second child needs, read while the host's files are in sight.
struct Plan<'a> {
    process: Process,
    filter: Option<Filter>,
    stdio: Option<&'a Stdio>,
    size: Option<Winsize>,
}

/// Makes the process; reports either way.
pub(crate) fn process(
    launch: &Launch,
    exec: &Exec,
    container: i32,
    stdio: Option<&Stdio>,
    size: Option<Winsize>,
    ways: &ChildWays,
) {
    match make(launch, exec, container, stdio, size, ways) {
        Ok(pid) => ways.report(&Report::Pid(pid)),
        Err(error) => ways.report(&Report::Failed(Failure::new(
            FailureKind::Internal,
            chain(error.as_ref()),
        ))),
    }
}

fn make(
    launch: &Launch,
    exec: &Exec,
    container: i32,
    stdio: Option<&Stdio>,
    size: Option<Winsize>,
    ways: &ChildWays,
) -> Result<i32> {
    let process: Process = serde_json::from_str(&exec.process).context("reading what to execute")?;
    let filter = if exec.unconfined {
        None
    } else {
        container_filter(launch)?
    };
    if let Some(stdio) = stdio {
        own(launch, stdio, process.user().uid(), process.user().gid());
    }
    if let Some(score) = process.oom_score_adj() {
        // Refused only for a better protection than our own, which the spec does not ask for.
        let _ = std::fs::write("/proc/self/oom_score_adj", score.to_string());
    }
    enter(launch, container)?;
    let plan = Plan {
        process,
        filter,
        stdio,
        size,
    };
    let mut keep = vec![&ways.reports, &ways.status];
    keep.extend(plan.stdio.into_iter().flat_map(Stdio::all));
    fork::child(&keep, || {
        let failure = match become_command(&plan, &ways.reports) {
            Ok(failure) => failure,
            Err(error) => Failure::new(FailureKind::Internal, chain(error.as_ref())),
        };
        not_executed(&ways.status, &failure);
    })
    .context("making a process")
}

/// The container's filter, as a program where it can be one.
enum Filter {
    Program(Program),
    Profile(LinuxSeccomp),
}

fn container_filter(launch: &Launch) -> Result<Option<Filter>> {
    let spec = Spec::load(launch.bundle.join("config.json")).context("reading the bundle")?;
    let Some(profile) = spec.linux().as_ref().and_then(|linux| linux.seccomp().clone()) else {
        return Ok(None);
    };
    Ok(Some(match Program::of(&profile, &filter::kept(launch))? {
        Some(program) => Filter::Program(program),
        None => Filter::Profile(profile),
    }))
}

fn enter(launch: &Launch, container: i32) -> Result<()> {
    Cgroup::locate(&launch.cgroup)?
        .enter()
        .context("entering the container's cgroup")?;
    let pid = Pid::from_raw(container).context("the container has no process")?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).context("finding the container's process")?;
    let mut all = ThreadNameSpaceType::MOUNT
        | ThreadNameSpaceType::CONTROL_GROUP
        | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
        | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
        | ThreadNameSpaceType::PROCESS_ID
        | ThreadNameSpaceType::NETWORK;
    if launch.users.is_some() {
        all |= ThreadNameSpaceType::USER;
    }
    move_into_thread_name_spaces(pidfd.as_fd(), all).context("entering the container's namespaces")
}

/// Takes on everything the command is to have, and becomes it. Returns only when that can't be.
fn become_command(plan: &Plan<'_>, reports: &OwnedFd) -> Result<Failure> {
    let process = &plan.process;
    let syscall = create_syscall();
    setsid().context("making a session")?;
    match plan.stdio {
        Some(stdio) => {
            for (fd, number) in stdio.all().into_iter().zip(0..) {
                fork::become_number(fd, number).context("connecting the standard streams")?;
            }
        }
        None => {
            // It closes the descriptor that it is given.
            tty::setup_console(syscall.as_ref(), reports.try_clone()?.into_raw_fd(), false)?;
            if let Some(size) = plan.size {
                tcsetwinsize(std::io::stdin(), size).context("sizing the terminal")?;
            }
        }
    }
    for limit in process.rlimits().iter().flatten() {
        syscall.set_rlimit(limit).context("limiting the process")?;
    }
    if let Err(errno) = chdir(process.cwd()) {
        return Ok(command::no_directory(process.cwd(), errno));
    }
    become_user(process)?;
    capabilities::reset_effective(syscall.as_ref()).context("keeping capabilities for now")?;
    let confined = process.no_new_privileges() == Some(true);
    // Loading a filter takes privileges, or the promise never to gain any.
    if confined {
        set_no_new_privs().context("giving up new privileges")?;
    } else {
        load_filter(plan)?;
    }
    if let Some(given) = process.capabilities() {
        capabilities::drop_privileges(given, syscall.as_ref()).context("dropping capabilities")?;
    }
    if confined {
        load_filter(plan)?;
    }
    Ok(command::execute(process))
}

fn load_filter(plan: &Plan<'_>) -> Result<()> {
    match &plan.filter {
        Some(Filter::Program(program)) => program.load().context("filtering system calls"),
        Some(Filter::Profile(profile)) => {
            seccomp::initialize_seccomp(profile).context("filtering system calls")?;
            Ok(())
        }
        None => Ok(()),
    }
}

fn become_user(process: &Process) -> Result<()> {
    let user = process.user();
    let groups: Vec<Gid> = user
        .additional_gids()
        .iter()
        .flatten()
        .map(|gid| Gid::from_raw(*gid))
        .collect();
    setgroups(&groups).context("setting the groups")?;
    let (uid, gid) = (Uid::from_raw(user.uid()), Gid::from_raw(user.gid()));
    set_keepcaps(true)?;
    setresgid(gid, gid, gid).context("setting the group")?;
    setresuid(uid, uid, uid).context("setting the user")?;
    set_keepcaps(false)?;
    Ok(())
}
