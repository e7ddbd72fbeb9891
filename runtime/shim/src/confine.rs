//! Confines a container's first process in our own way: libcontainer would compile its system call filter each time, and
//! takes the mask of a comparison for its value, so that `clone` into a user namespace passes.
//!
//! libcontainer loads a filter before it drops capabilities, and lets us in only after that. So it is given a spec
//! without the filter, in which the process keeps what loading one takes; just before the command is executed the filter
//! is loaded and the rest is dropped, in the same order as for every process that joins later.

use std::collections::HashSet;

use anyhow::{Context as _, Result};
use libcontainer::{capabilities, syscall::syscall::create_syscall};
use oci_spec::runtime::{Capability, LinuxCapabilities, Spec};
use shim_protocol::Launch;

use crate::filter::{self, Program};

/// What loading a filter takes, and what dropping a capability for good takes.
const TO_CONFINE: [Capability; 2] = [Capability::SysAdmin, Capability::Setpcap];

/// What a process is confined to at last.
#[derive(Debug)]
pub(crate) struct Confinement {
    program: Program,
    /// What it may keep; none when it dropped the rest before.
    keeps: Option<LinuxCapabilities>,
}

impl Confinement {
    /// The confinement of a bundle's process and the spec to make it from. None where libcontainer is to do it: without
    /// a filter, or with one that is more than a program.
    pub(crate) fn of(launch: &Launch, spec: &Spec) -> Result<Option<(Self, Spec)>> {
        let profile = spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref());
        let Some(program) = profile
            .map(|profile| Program::of(profile, &filter::kept(launch)))
            .transpose()?
            .flatten()
        else {
            return Ok(None);
        };
        let (spec, keeps) = without_filter(spec);
        Ok(Some((Self { program, keeps }, spec)))
    }

    /// Confines the calling process.
    pub(crate) fn take_effect(&self) -> Result<()> {
        self.program.load().context("filtering system calls")?;
        match &self.keeps {
            Some(keeps) => capabilities::drop_privileges(keeps, create_syscall().as_ref())
                .context("dropping capabilities"),
            None => Ok(()),
        }
    }
}

/// The spec without its filter, and what capabilities are left to drop when the filter is loaded. A process that promised
/// never to gain any needs none for that.
fn without_filter(spec: &Spec) -> (Spec, Option<LinuxCapabilities>) {
    let mut spec = spec.clone();
    if let Some(linux) = spec.linux_mut() {
        linux.set_seccomp(None);
    }
    let Some(process) = spec.process_mut() else {
        return (spec, None);
    };
    let given = process.capabilities().clone();
    if process.no_new_privileges() == Some(true) {
        return (spec, None);
    }
    process.set_capabilities(given.as_ref().map(with_what_confining_takes));
    (spec, given)
}

fn with_what_confining_takes(given: &LinuxCapabilities) -> LinuxCapabilities {
    let more = |some: &Option<HashSet<Capability>>| {
        let some = some.iter().flatten().copied();
        Some(some.chain(TO_CONFINE).collect())
    };
    let mut taken = given.clone();
    taken.set_bounding(more(given.bounding()));
    taken.set_effective(more(given.effective()));
    taken.set_permitted(more(given.permitted()));
    taken
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(no_new_privileges: Option<bool>) -> Spec {
        serde_json::from_value(json!({
            "ociVersion": "1.0.2",
            "root": {"path": "rootfs"},
            "process": {
                "user": {"uid": 0, "gid": 0}, "args": ["true"], "cwd": "/", "noNewPrivileges": no_new_privileges,
                "capabilities": {"bounding": ["CAP_CHOWN"], "effective": ["CAP_CHOWN"], "permitted": ["CAP_CHOWN"]},
            },
            "linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW"}},
        }))
        .expect("a spec")
    }

    fn effective(of: &LinuxCapabilities) -> HashSet<Capability> {
        of.effective().clone().unwrap_or_default()
    }

    #[test]
    fn a_process_keeps_what_confining_it_takes_until_it_is_confined() {
        let (made, keeps) = without_filter(&spec(None));
        let keeps = keeps.expect("what is kept at last");
        assert_eq!(effective(&keeps), [Capability::Chown].into());
        let process = made.process().clone().expect("a process");
        let first = process.capabilities().clone().expect("capabilities");
        assert_eq!(
            effective(&first),
            [Capability::Chown, Capability::SysAdmin, Capability::Setpcap].into()
        );
        assert!(first.inheritable().is_none() && first.ambient().is_none());
        assert!(made.linux().clone().expect("linux").seccomp().is_none());
    }

    #[test]
    fn one_that_promised_to_gain_none_drops_all_at_once() {
        let (made, keeps) = without_filter(&spec(Some(true)));
        assert_eq!(keeps, None);
        let process = made.process().clone().expect("a process");
        let first = process.capabilities().clone().expect("capabilities");
        assert_eq!(effective(&first), [Capability::Chown].into());
    }
}
