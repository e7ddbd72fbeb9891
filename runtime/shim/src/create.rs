//! Makes the container, in a child of the shim: libcontainer changes its caller's directory, protection from the
//! memory killer and readability for good.
//!
//! The container's first process is made a child of the shim, not of this child (`CLONE_PARENT`), so the shim can
//! wait for it. Why a command can't be executed is told on the status pipe by the process that was to become it.

mod blocks;
mod devices;

use std::{
    error::Error,
    fs,
    os::{fd::OwnedFd, unix::net::UnixListener},
    path::PathBuf,
    rc::Rc,
};

use anyhow::{Context as _, Result};
use libcontainer::{
    container::{Container, builder::ContainerBuilder},
    syscall::syscall::SyscallType,
    workload::{Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError},
};
use oci_spec::runtime::Spec;
use rustix::{
    fs::fchown,
    process::{Gid, Uid},
    termios::{Winsize, tcsetwinsize},
};
use shim_protocol::{Failure, FailureKind, Launch, cgroup::Cgroup};

use crate::{
    command,
    confine::Confinement,
    init, mounts, place,
    report::{ChildWays, Report, not_executed, receive_terminal},
    stdio::Stdio,
};

const CONSOLE: &str = "console.sock";

/// Makes the container and lets it run its command; reports either way.
pub(crate) fn container(launch: &Launch, stdio: Option<&Stdio>, size: Option<Winsize>, ways: &ChildWays) {
    if let Err(error) = create(launch, stdio, size, ways) {
        ways.report(&Report::Failed(Failure::new(
            FailureKind::Internal,
            chain(error.as_ref()),
        )));
    }
}

fn create(launch: &Launch, stdio: Option<&Stdio>, size: Option<Winsize>, ways: &ChildWays) -> Result<()> {
    std::env::set_current_dir(&launch.state).context("entering the shim's directory")?;
    let mut spec = Spec::load(launch.bundle.join("config.json")).context("reading the bundle")?;
    let staged = mounts::prepare(launch, &mut spec)?;
    let weight = blocks::take_weight(launch, &mut spec)?;
    place::take(launch, &spec).context("entering the container's cgroup")?;
    let (confinement, bundle) = match Confinement::of(launch, &spec)? {
        Some((confinement, spec)) => (Some(Rc::new(confinement)), other_bundle(launch, spec)?),
        None if staged || weight.is_some() => (None, other_bundle(launch, spec.clone())?),
        None => (None, launch.bundle.clone()),
    };
    let executor = CommandExecutor {
        status: Rc::new(ways.status.try_clone()?),
        confinement,
        init: launch.init,
    };
    let mut builder = ContainerBuilder::new(launch.id.clone(), SyscallType::default())
        .with_root_path(&launch.state)?
        .with_executor(executor);
    let mut console = None;
    match stdio {
        Some(stdio) => {
            give_away(launch, &spec, stdio);
            let [input, output, errors] = stdio.all();
            builder = builder
                .with_stdin(input.try_clone()?)
                .with_stdout(output.try_clone()?)
                .with_stderr(errors.try_clone()?);
        }
        None => {
            console = Some(UnixListener::bind(CONSOLE).context("listening for the terminal")?);
            builder = builder.with_console_socket(Some(launch.state.join(CONSOLE)));
        }
    }
    let mut made = builder
        .as_init(&bundle)
        .with_systemd(false)
        .as_sibling(true)
        .with_detach(true)
        .build()?;
    spare(launch, &spec).context("telling the kernel not to kill for memory")?;
    if let Some(weight) = weight {
        blocks::weigh(launch, weight).context("weighing block devices")?;
    }
    devices::keep(launch, &spec).context(
        "keeping devices of the host from the container (the kernel needs CONFIG_CGROUP_BPF for it)",
    )?;
    ways.report(&Report::Pid(
        made.pid().context("the container has no process")?.as_raw(),
    ));
    if let Some(listener) = console {
        hand_over_terminal(&listener, size, ways)?;
    }
    run(&mut made)
}

/// Who wants more memory than there is waits and is not killed, if the spec says so: libcontainer passes that over.
fn spare(launch: &Launch, spec: &Spec) -> std::io::Result<()> {
    let resources = spec.linux().as_ref().and_then(|linux| linux.resources().as_ref());
    let memory = resources.and_then(|resources| resources.memory().as_ref());
    if memory.and_then(|memory| memory.disable_oom_killer()) != Some(true) {
        return Ok(());
    }
    let cgroup = Cgroup::locate(&launch.cgroup)?;
    let switch = cgroup
        .directory("memory")
        .map(|directory| directory.join("memory.oom_control"));
    match switch.filter(|switch| switch.exists()) {
        Some(switch) => fs::write(switch, "1"),
        None => Ok(()),
    }
}

/// A bundle with the same root and another spec.
fn other_bundle(launch: &Launch, mut spec: Spec) -> Result<PathBuf> {
    if let Some(root) = spec.root_mut() {
        let rootfs = launch.bundle.join(root.path());
        root.set_path(rootfs);
    }
    let bundle = launch.state.join("bundle");
    fs::create_dir_all(&bundle).context("making a bundle")?;
    spec.save(bundle.join("config.json"))
        .context("writing a bundle")?;
    Ok(bundle)
}

/// The container's user may open its own standard streams again, by their names in `/dev`.
fn give_away(launch: &Launch, spec: &Spec, stdio: &Stdio) {
    let user = spec
        .process()
        .as_ref()
        .map(|process| process.user().clone())
        .unwrap_or_default();
    own(launch, stdio, user.uid(), user.gid());
}

/// Gives the pipes of a process to its user.
pub(crate) fn own(launch: &Launch, stdio: &Stdio, uid: u32, gid: u32) {
    let (uid, gid) = launch
        .users
        .as_ref()
        .map_or((uid, gid), |users| users.outside(uid, gid));
    for pipe in stdio.pipes() {
        // `/dev/null` stays root's.
        let _ = fchown(pipe, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    }
}

fn hand_over_terminal(listener: &UnixListener, size: Option<Winsize>, ways: &ChildWays) -> Result<()> {
    let (sender, _) = listener.accept().context("receiving the terminal")?;
    let terminal: OwnedFd = receive_terminal(&sender).context("receiving the terminal")?;
    if let Some(size) = size {
        tcsetwinsize(&terminal, size).context("sizing the terminal")?;
    }
    ways.terminal(&terminal).context("handing over the terminal")?;
    fs::remove_file(CONSOLE).context("removing the terminal's socket")
}

fn run(made: &mut Container) -> Result<()> {
    Ok(made.start()?)
}

/// What an error says with its causes, each thing once.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text.chars().take(4000).collect()
}

/// The status pipe must end with the command's exec, and nothing else is anybody's: all but the first three go.
fn close_all() {
    let Ok(open) = fs::read_dir("/proc/self/fd") else {
        return;
    };
    let open: Vec<_> = open
        .flatten()
        .filter_map(|one| one.file_name().to_str()?.parse().ok())
        .collect();
    open.into_iter()
        .filter(|number| *number > 2)
        .for_each(init::close);
}

/// Becomes the container's command, the way a shell would, and says why if that can't be.
#[derive(Clone)]
struct CommandExecutor {
    status: Rc<OwnedFd>,
    confinement: Option<Rc<Confinement>>,
    init: bool,
}

impl CommandExecutor {
    fn fail(&self, failure: &Failure) -> String {
        not_executed(&*self.status, failure);
        failure.message.clone()
    }
}

impl Executor for CommandExecutor {
    fn validate(&self, spec: &Spec) -> Result<(), ExecutorValidationError> {
        let Some(process) = spec.process() else {
            return Err(ExecutorValidationError::ArgValidationError(
                "the spec has no process".to_owned(),
            ));
        };
        match command::find(process) {
            Ok(_) => Ok(()),
            Err(failure) => Err(ExecutorValidationError::ArgValidationError(self.fail(&failure))),
        }
    }

    fn setup_envs(&self, _: std::collections::HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        // The command gets its environment at its exec, in the order of the spec.
        Ok(())
    }

    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        let Some(process) = spec.process() else {
            return Err(ExecutorError::InvalidArg);
        };
        let confined = self
            .confinement
            .as_ref()
            .map_or(Ok(()), |confinement| confinement.take_effect());
        let parted = confined.and_then(|()| {
            if self.init {
                Ok(init::part(close_all)?)
            } else {
                Ok(())
            }
        });
        let failure = match parted {
            Ok(()) => command::execute(process),
            Err(error) => Failure::new(FailureKind::Internal, chain(error.as_ref())),
        };
        let told = self.fail(&failure);
        if self.init {
            crate::fork::leave(failure.kind.exit_code());
        }
        Err(ExecutorError::Other(told))
    }
}
