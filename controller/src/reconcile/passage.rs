//! Keeps other people's rules from dropping what our networks forward, as long as there is such a network.
//!
//! Looked at when somebody's tables change, and with the timer; what is announced by nobody (iptables-legacy), and
//! whether there is a network at all, each second.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use kernel::Passage;
use model::{InterfaceName, Lifecycle, Network};

use crate::core::Core;

/// What was asked of the kernel last.
#[derive(Debug, Default)]
pub(super) struct Passages {
    /// Every bridge that packets are forwarded for; none if there is no network of that kind.
    bridges: Option<BTreeSet<InterfaceName>>,
    /// When somebody who stood in the way is asked again: firewalld may not have been listening yet.
    again: Option<Instant>,
}

/// Who stands in the way is asked again so often.
const AGAIN: Duration = Duration::from_secs(10);

impl Passages {
    /// Looks at everything.
    pub(super) async fn look(&mut self, core: &Arc<Core>) {
        self.ask(core, false).await;
    }

    /// Looks at what isn't announced, or at everything when a network has come or gone.
    pub(super) async fn poll(&mut self, core: &Arc<Core>) {
        let due = self.again.is_some_and(|again| Instant::now() >= again);
        let same = bridges(core) == self.bridges && !due;
        if !same || self.bridges.is_some() {
            self.ask(core, same).await;
        }
    }

    async fn ask(&mut self, core: &Arc<Core>, polled_only: bool) {
        if !core.settings.firewall {
            return;
        }
        self.bridges = bridges(core);
        match core.worker.let_pass(self.bridges.clone(), polled_only).await {
            Ok(found) if !polled_only => {
                let blocked = found.iter().any(|found| matches!(found, Passage::Blocked { .. }));
                self.again = blocked.then(|| Instant::now() + AGAIN);
                tell(core, &found);
            }
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
                tracing::info!(by, chain, "a chain of ours lets our packets pass");
            }
            Passage::Blocked { by, hint } => tracing::warn!(by, hint, "may refuse packets of containers"),
        }
    }
}

fn bridges(core: &Core) -> Option<BTreeSet<InterfaceName>> {
    let snapshot = core.records.snapshot();
    let forwards = |network: &&Arc<Network>| {
        network.lifecycle != Lifecycle::Deleting && !matches!(network.driver.as_str(), "host" | "null")
    };
    let mut networks = snapshot.networks.values().filter(forwards).peekable();
    networks.peek()?;
    let links = networks.flat_map(|network| {
        let driver = core.driver(&network.driver).ok();
        driver.map(|driver| driver.links(network)).unwrap_or_default()
    });
    Some(links.collect())
}
