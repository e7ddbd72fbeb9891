//! Puts the process that makes a container into the container's cgroups, before libcontainer would.
//!
//! libcontainer moves by id, which holds the whole host for a grace period (see [`Cgroup::enter`]). What is moved before
//! needs not be moved again: the files that it would write to are covered, where nobody but this process and those that
//! it makes sees it. The container's own mounts of its cgroups are new ones.

use std::{io, path::Path};

use oci_spec::runtime::{LinuxPids, Spec};
use rustix::mount::mount_bind;
use shim_protocol::{Launch, cgroup::Cgroup};

/// While a container is made there are this process, libcontainer's own and the one that becomes the command.
const MAKERS: i64 = 3;

/// Moves the calling process, which has one thread and private mounts of its own. Where there are no version 1 controllers, that is libcontainer's; so
/// it is where so few processes are allowed that this one would be too many.
pub(crate) fn take(launch: &Launch, spec: &Spec) -> io::Result<()> {
    let cgroup = Cgroup::locate(&launch.cgroup)?;
    cgroup.make_above()?;
    let resources = spec.linux().as_ref().and_then(|linux| linux.resources().as_ref());
    let limit = resources
        .and_then(|resources| resources.pids().as_ref())
        .map(LinuxPids::limit);
    if limit.is_some_and(|limit| (1..MAKERS).contains(&limit)) {
        return Ok(());
    }
    let places = cgroup.found()?;
    if places.is_empty() {
        return Ok(());
    }
    let cover = |directory: &Path| mount_bind("/dev/null", directory.join("cgroup.procs"));
    Ok(places
        .into_iter()
        .try_for_each(|(_, directory)| cover(directory))?)
}
