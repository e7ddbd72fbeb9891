//! Everything of one node in the host's namespace, looked at once.
//!
//! At a restart and at a timed repair nearly everything is as it should be. Seen at once it costs a few dumps, whatever
//! the number of networks; asked for one by one, several messages each, and if it is first tried to be made, a refused
//! transaction each, for which the kernel waits a grace period.
//!
//! A survey ages. What was made since is missing in it, which only costs a second look; what was removed since is still
//! in it and is repaired the next time. So it is for records that are known to live on, and never for a request.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use model::NodeId;

use crate::{Kernel, KernelState, Key, Netns, Object, Owner, Result, ruleset};

/// What one look found. The default has looked at nothing.
#[derive(Debug, Default)]
pub struct Survey {
    number: u64,
    state: KernelState,
    owned: BTreeMap<Owner, Vec<Key>>,
}

impl Survey {
    /// Looks at the host: this node's links and firewall objects, and everybody's addresses.
    pub fn of_host(kernel: &dyn Kernel, node: NodeId) -> Result<Self> {
        static TAKEN: AtomicU64 = AtomicU64::new(0);
        let mut survey = Self {
            number: TAKEN.fetch_add(1, Ordering::Relaxed) + 1,
            ..Self::default()
        };
        for (mark, object) in kernel.observe_owned(&Netns::Host, node)? {
            survey.owned.entry(mark.owner).or_default().push(object.key());
            survey.state.insert(object);
        }
        survey.state.extend(kernel.observe_addresses(&Netns::Host)?);
        Ok(survey)
    }

    /// Different for each survey taken in this process.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether it tells of this key: what it has not seen then is not there.
    pub fn tells_of(&self, key: &Key) -> bool {
        self.number > 0
            && match key {
                Key::Address(Netns::Host, ..) => true,
                // Of somebody else's link, such as an adopted bridge, it knows nothing.
                Key::Link(Netns::Host, _) => self.state.get(key).is_some(),
                Key::Firewall(Netns::Host, item) => self.has_table(item),
                _ => false,
            }
    }

    fn has_table(&self, item: &ruleset::Key) -> bool {
        let table = ruleset::Key::Table(item.table().clone());
        self.state.get(&Key::Firewall(Netns::Host, table)).is_some()
    }

    /// What was seen of a key.
    pub fn get(&self, key: &Key) -> Option<&Object> {
        self.state.get(key)
    }

    /// What an owner has in the host's namespace.
    pub fn owned(&self, owner: &Owner) -> &[Key] {
        self.owned.get(owner).map(Vec::as_slice).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
