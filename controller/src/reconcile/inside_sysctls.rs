//! Sysctls that connections asked for. The kernel announces nobody's writing to them, and a notification on files of
//! `/proc` stays within one mount of it, so that they are read each second: those alone, and only where there are any.

use std::time::Instant;

use kernel::{Damage, Owner};
use model::{Lifecycle, SandboxId, Snapshot};

use super::damage::Heard;
use crate::{core::Core, sandboxes};

/// Tells of the sandboxes where one has another value than was asked for.
pub(super) async fn look(core: &Core, heard: &Heard) {
    let snapshot = core.records.snapshot();
    for id in concerned(core, &snapshot) {
        let Some(sandbox) = snapshot.sandboxes.get(&id) else {
            continue;
        };
        // What can't be told is left to the timer.
        let hold = sandboxes::sysctls_hold(core, sandbox).await.unwrap_or(true);
        if !hold && !core.insides.is_given_up(id, Instant::now()) {
            heard.add(Damage {
                owners: [Owner::Sandbox(id)].into(),
                ..Damage::default()
            });
        }
    }
}

/// This host's sandboxes of which a connection has sysctls of its own.
fn concerned(core: &Core, snapshot: &Snapshot) -> Vec<SandboxId> {
    let own = snapshot.endpoints.values().filter(|endpoint| {
        endpoint.node == core.node.id
            && endpoint.lifecycle == Lifecycle::Active
            && sandboxes::desired::asks_for_sysctls(&endpoint.options)
    });
    let mut sandboxes: Vec<_> = own.map(|endpoint| endpoint.sandbox).collect();
    sandboxes.sort_unstable();
    sandboxes.dedup();
    sandboxes
}
