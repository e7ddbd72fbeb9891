//! Keeps other people's rules from dropping what our networks forward, as long as there is such a network.
//!
//! Looked at when somebody's tables change, and with the timer; what is announced by nobody (iptables-legacy), and
//! whether there is a network at all, each second.

use std::sync::Arc;

use kernel::Passage;
use model::{Lifecycle, Snapshot};

use crate::core::Core;

/// What was asked of the kernel last.
#[derive(Debug, Default)]
pub(super) struct Passages {
    wanted: bool,
}

impl Passages {
    /// Looks at everything.
    pub(super) async fn look(&mut self, core: &Arc<Core>) {
        self.ask(core, false).await;
    }

    /// Looks at what isn't announced, or at everything when the first network has come or the last has gone.
    pub(super) async fn poll(&mut self, core: &Arc<Core>) {
        let same = wanted(core) == self.wanted;
        if !same || self.wanted {
            self.ask(core, same).await;
        }
    }

    async fn ask(&mut self, core: &Arc<Core>, polled_only: bool) {
        if !core.settings.firewall {
            return;
        }
        self.wanted = wanted(core);
        match core.worker.let_pass(self.wanted, polled_only).await {
            Ok(found) if !polled_only => tell(core, &found),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "other people's rules may drop packets of containers"),
        }
    }
}

/// Says what is new of it, once.
fn tell(core: &Core, found: &[Passage]) {
    let before = core.set_passages(found.to_vec());
    for passage in found.iter().filter(|passage| !before.contains(passage)) {
        match passage {
            Passage::Opened { by, chain } => {
                tracing::info!(by, chain, "two rules of ours let our packets pass");
            }
            Passage::Blocked { by, hint } => tracing::warn!(by, hint, "may refuse packets of containers"),
        }
    }
}

fn wanted(core: &Core) -> bool {
    forwards(&core.records.snapshot(), |driver| {
        !matches!(driver, "host" | "null")
    })
}

fn forwards(snapshot: &Snapshot, by: impl Fn(&str) -> bool) -> bool {
    let mut networks = snapshot.networks.values();
    networks.any(|network| network.lifecycle != Lifecycle::Deleting && by(network.driver.as_str()))
}
