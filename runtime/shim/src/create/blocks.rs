//! How important a container's input and output of block devices is, with version 2 of cgroups: libcontainer converts it
//! with too few digits, and comes to anything.

use std::{fs, io};

use oci_spec::runtime::Spec;
use shim_protocol::{
    Launch,
    cgroup::{Cgroup, block_weights},
};

/// Takes the weight out of the spec where libcontainer would convert it.
pub(super) fn take_weight(launch: &Launch, spec: &mut Spec) -> io::Result<Option<u16>> {
    if !Cgroup::locate(&launch.cgroup)?.is_unified("blkio") {
        return Ok(None);
    }
    let linux = spec.linux_mut().as_mut();
    let resources = linux.and_then(|linux| linux.resources_mut().as_mut());
    let Some(blocks) = resources.and_then(|resources| resources.block_io_mut().as_mut()) else {
        return Ok(None);
    };
    let weight = blocks.weight();
    blocks.set_weight(None);
    Ok(weight)
}

/// Gives the container that weight. Kernels weigh nothing where they were not built to.
pub(super) fn weigh(launch: &Launch, weight: u16) -> io::Result<()> {
    let cgroup = Cgroup::locate(&launch.cgroup)?;
    let directory = cgroup.directory("blkio");
    let files = directory
        .into_iter()
        .flat_map(|directory| block_weights(weight).map(|(file, value)| (directory.join(file), value)));
    for (file, value) in files {
        if file.exists() {
            return fs::write(file, value);
        }
    }
    Ok(())
}
