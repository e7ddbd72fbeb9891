//! What Docker has been granted of networks that are still to be made.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use model::{AddressFamily, NetworkName, Subnet};

/// How long something that Docker has asked for may wait until the network is made.
const WAITS: Duration = Duration::from_secs(120);

/// Pools that Docker has been granted of networks that are still to be made. A restart forgets them: then the range is lost,
/// and a subnet that was chosen here is asked for as any other.
#[derive(Debug, Default)]
pub(crate) struct Drafts(Mutex<Pools>);

type Pools = HashMap<NetworkName, Vec<Draft>>;

/// A pool granted.
#[derive(Debug)]
struct Draft {
    subnet: Subnet,
    /// Where addresses are to be taken from.
    range: Option<Subnet>,
    since: Instant,
}

impl Drafts {
    pub(crate) fn add(&self, network: &NetworkName, subnet: Subnet, range: Option<Subnet>) {
        let mut all = self.all();
        let pools = all.entry(network.clone()).or_default();
        pools.retain(|draft| draft.subnet != subnet);
        pools.push(Draft {
            subnet,
            range,
            since: Instant::now(),
        });
    }

    pub(crate) fn forget(&self, network: &NetworkName, subnet: Subnet) {
        let mut all = self.all();
        if let Some(pools) = all.get_mut(network) {
            pools.retain(|draft| draft.subnet != subnet);
            if pools.is_empty() {
                all.remove(network);
            }
        }
    }

    pub(crate) fn range(&self, network: &NetworkName, subnet: Subnet) -> Option<Subnet> {
        let all = self.all();
        let found = all.get(network)?.iter().find(|draft| draft.subnet == subnet);
        found?.range
    }

    /// The name that a subnet was asked for under, where it isn't this one: the two options differ.
    pub(crate) fn other_name(&self, network: &NetworkName, subnets: &[Subnet]) -> Option<NetworkName> {
        let all = self.all();
        let has = |pools: &[Draft]| pools.iter().any(|draft| subnets.contains(&draft.subnet));
        if all.get(network).is_some_and(|pools| has(pools)) {
            return None;
        }
        all.iter()
            .find(|(_, pools)| has(pools))
            .map(|(name, _)| name.clone())
    }

    /// All subnets that wait.
    pub(crate) fn subnets(&self, family: AddressFamily) -> Vec<Subnet> {
        let all = self.all();
        let all = all.values().flatten().map(|draft| draft.subnet);
        all.filter(|subnet| subnet.family() == family).collect()
    }

    fn all(&self) -> MutexGuard<'_, Pools> {
        // The map is whole even if a holder of the lock panicked.
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, pools| {
            pools.retain(|draft| draft.since.elapsed() < WAITS);
            !pools.is_empty()
        });
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drafts_tell_two_names_for_one_network() {
        let drafts = Drafts::default();
        let name = |text: &str| text.parse::<NetworkName>().expect("a name");
        let subnet = |text: &str| text.parse::<Subnet>().expect("a subnet");
        drafts.add(&name("one"), subnet("10.5.0.0/24"), Some(subnet("10.5.0.0/25")));
        assert_eq!(
            drafts.other_name(&name("two"), &[subnet("10.5.0.0/24")]),
            Some(name("one"))
        );
        assert_eq!(drafts.other_name(&name("one"), &[subnet("10.5.0.0/24")]), None);
        assert_eq!(drafts.other_name(&name("two"), &[subnet("10.6.0.0/24")]), None);
        assert_eq!(
            drafts.range(&name("one"), subnet("10.5.0.0/24")),
            Some(subnet("10.5.0.0/25"))
        );
        assert_eq!(drafts.subnets(AddressFamily::V4), [subnet("10.5.0.0/24")]);
        drafts.forget(&name("one"), subnet("10.5.0.0/24"));
        assert!(drafts.subnets(AddressFamily::V4).is_empty());
    }
}
