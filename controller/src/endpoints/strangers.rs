//! Addresses that somebody has whom we don't know: on a bridge with ports of others, address management doesn't know all
//! there is, so the segment is asked before an address is used (RFC 5227, RFC 4862). On one that is ours alone nobody is,
//! and nothing is waited for.
//!
//! A start goes on with everything else meanwhile. What was found taken is passed over for a while, and with one found
//! those behind it are asked for too: who manages a segment beside us gives addresses out in a row.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use kernel::Rivals;
use model::{EndpointAddresses, MacAddress, Network, NetworkId, Scope, Subnet};

use super::Connect;
use crate::{
    core::Core,
    error::{Error, Result},
};

/// How long the segment has for an answer. A machine on the same wire needs a thousandth of it.
pub(crate) const PROBE: Duration = Duration::from_millis(150);
/// How long an address that was taken is passed over.
const PASSED_OVER: Duration = Duration::from_secs(300);
/// How many addresses behind a taken one are asked for with it.
const ROW: usize = 32;

/// Addresses found taken, by network.
#[derive(Debug, Default)]
pub(crate) struct Strangers(Mutex<HashMap<NetworkId, HashMap<IpAddr, Instant>>>);

impl Strangers {
    /// Those of a network that are passed over now.
    pub(crate) fn on(&self, network: NetworkId, now: Instant) -> Vec<IpAddr> {
        let mut all = self.all();
        let Some(seen) = all.get_mut(&network) else {
            return Vec::new();
        };
        seen.retain(|_, at| now.saturating_duration_since(*at) < PASSED_OVER);
        let left = seen.keys().copied().collect();
        if seen.is_empty() {
            all.remove(&network);
        }
        left
    }

    /// Passes over none of a network any more.
    pub(crate) fn forget(&self, network: NetworkId) {
        self.all().remove(&network);
    }

    fn note(&self, network: NetworkId, taken: impl Iterator<Item = IpAddr>, now: Instant) {
        let mut all = self.all();
        let seen = all.entry(network).or_default();
        seen.extend(taken.map(|address| (address, now)));
    }

    fn all(&self) -> MutexGuard<'_, HashMap<NetworkId, HashMap<IpAddr, Instant>>> {
        // The map is whole even if a holder of the lock panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks the network's segments for these addresses. Refused with all that were found taken there.
pub(crate) async fn look(
    core: &Core,
    network: &Network,
    addresses: &EndpointAddresses,
) -> Result<(), BTreeMap<IpAddr, MacAddress>> {
    let asked: Vec<_> = addresses.iter().map(|net| net.addr()).collect();
    let mut taken = ask(core, network, &asked).await;
    if taken.is_empty() {
        return Ok(());
    }
    let around = |address: &IpAddr| network.pool_around(*address).map(|pool| pool.subnet);
    let behind: Vec<_> = taken
        .keys()
        .filter_map(|address| Some(row(*address, around(address)?)))
        .flatten()
        .collect();
    taken.extend(ask(core, network, &behind).await);
    for (address, mac) in &taken {
        tracing::warn!(network = %network.name, %address, %mac, "somebody else on the segment has the address");
    }
    core.strangers
        .note(network.id, taken.keys().copied(), Instant::now());
    Err(taken)
}

/// What a segment does not tell is no reason to fail.
async fn ask(core: &Core, network: &Network, addresses: &[IpAddr]) -> BTreeMap<IpAddr, MacAddress> {
    let mut taken = BTreeMap::new();
    let Ok(driver) = core.driver(&network.driver) else {
        return taken;
    };
    if let Some(link) = driver.segment(network) {
        // Hosts that share a network ask for the same address in the same moment; the store says who gets it.
        let rivals = match network.scope {
            Scope::Global => Rivals::Ignore,
            Scope::Local => Rivals::Count,
        };
        let found = core.worker.others(link, addresses.to_vec(), rivals, PROBE).await;
        return match found {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(network = %network.name, %error, "not known whether an address is taken");
                taken
            }
        };
    }
    for link in driver.links(network) {
        match core.worker.strangers(link, addresses.to_vec(), PROBE).await {
            Ok(found) => taken.extend(found),
            Err(error) => {
                tracing::warn!(network = %network.name, %error, "not known whether an address is taken");
            }
        }
    }
    taken
}

/// Pure: the addresses behind one, as far as its subnet goes.
fn row(address: IpAddr, subnet: Subnet) -> Vec<IpAddr> {
    let next = |number: u128, count: usize| number.checked_add(u128::try_from(count).ok()?);
    let behind = (1..=ROW).map_while(|count| {
        let address = match address {
            IpAddr::V4(v4) => {
                let number = next(u32::from(v4).into(), count)?;
                IpAddr::from(u32::try_from(number).ok()?.to_be_bytes())
            }
            IpAddr::V6(v6) => IpAddr::from(next(v6.into(), count)?.to_be_bytes()),
        };
        subnet.contains(&address).then_some(address)
    });
    behind.collect()
}

/// Refuses a request for an address in so many words.
pub(super) fn refuse_wanted(request: &Connect, taken: &BTreeMap<IpAddr, MacAddress>) -> Result<()> {
    let wanted = [request.ipv4.map(IpAddr::V4), request.ipv6.map(IpAddr::V6)];
    let held = wanted.into_iter().flatten();
    let mut held = held.filter_map(|address| Some((address, taken.get(&address)?)));
    match held.next() {
        None => Ok(()),
        Some((address, mac)) => Err(Error::forbidden(format!(
            "address {address} is already in use on the network's segment by the machine with the Ethernet address {mac}"
        ))
        .with_hint("choose another address, or none to get one that is free")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_ends_with_its_subnet() {
        let rows = [
            ("10.0.0.250", "10.0.0.0/24", 5, Some("10.0.0.255")),
            ("10.0.0.2", "10.0.0.0/24", ROW, Some("10.0.0.34")),
            ("255.255.255.255", "255.255.255.0/24", 0, None),
            ("fd00::2", "fd00::/64", ROW, Some("fd00::22")),
            ("10.0.0.3", "10.0.0.0/30", 0, None),
        ];
        for (address, subnet, count, last) in rows {
            let row = row(address.parse().unwrap(), subnet.parse().unwrap());
            let last = last.map(|text| text.parse().unwrap());
            assert_eq!((row.len(), row.last().copied()), (count, last), "{address}");
        }
    }

    #[test]
    fn what_was_taken_is_passed_over_for_a_while_and_on_its_own_network() {
        let (strangers, now) = (Strangers::default(), Instant::now());
        let (one, other) = (NetworkId::random(), NetworkId::random());
        let address: IpAddr = "10.0.0.2".parse().unwrap();
        strangers.note(one, [address].into_iter(), now);
        assert_eq!(strangers.on(one, now), [address]);
        assert_eq!(strangers.on(other, now), Vec::<IpAddr>::new());
        assert_eq!(strangers.on(one, now + PASSED_OVER), Vec::<IpAddr>::new());
        assert!(strangers.all().is_empty());
    }
}
