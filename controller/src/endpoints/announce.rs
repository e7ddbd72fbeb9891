//! Tells the segment who has an address now: neighbours may remember whoever had it before, on this host or another.
//!
//! Behind the answer: nobody waits for it. Several times where a switch that has just seen the link may lose the first;
//! once on a bridge of ours, which loses none, and where each of a thousand ports hears each of them.

use std::{sync::Arc, time::Duration};

use kernel::Netns;
use model::{Endpoint, Labels, Network, Sandbox, Scope};

use crate::{core::Core, dressed};

/// How long after the answer neighbours hear of it that are all on this host.
const SOON: Duration = Duration::from_millis(100);

/// How often, and how far apart in milliseconds, as Docker calls and bounds them.
pub(crate) const TIMES: &str = "com.docker.network.advertise_addr_nmsgs";
pub(crate) const EVERY: &str = "com.docker.network.advertise_addr_ms";

/// Announces an endpoint's addresses. Overlays have no segment: their hosts learn from the store.
pub(crate) fn announce(core: &Arc<Core>, network: &Network, endpoint: &Endpoint, sandbox: &Sandbox) {
    let (Some(netns), Some(link)) = (sandbox.netns(), endpoint.interface.clone()) else {
        return;
    };
    let Ok(driver) = core.driver(&network.driver) else {
        return;
    };
    let shared = driver.capabilities().scope == Scope::Global && driver.segment(network).is_none();
    let addresses: Vec<_> = endpoint.addresses.iter().map(|net| net.addr()).collect();
    let neighbours = match driver.segment(network) {
        // Another engine may bring its link up in its own time.
        None if !dressed::is_dressed(sandbox) => Neighbours::Ours,
        _ => Neighbours::Anybody,
    };
    let (times, every) = pace(&network.options, neighbours);
    if shared || addresses.is_empty() || times == 0 {
        return;
    }
    // Where all neighbours are ours, nobody waits for it: each of them hears it, and there may be a thousand.
    let first = match neighbours {
        Neighbours::Ours => SOON,
        Neighbours::Anybody => Duration::ZERO,
    };
    let (core, id) = (Arc::clone(core), endpoint.id);
    let netns = Netns::Pinned(netns.clone());
    tokio::spawn(async move {
        tokio::time::sleep(first).await;
        for time in 0..times {
            if time > 0 {
                tokio::time::sleep(every).await;
            }
            if !core.records.snapshot().endpoints.contains_key(&id) {
                return;
            }
            let told = core
                .worker
                .announce(netns.clone(), link.clone(), addresses.clone());
            if let Err(error) = told.await {
                tracing::debug!(%error, "the segment was not told of an address");
            }
        }
    });
}

/// Who hears it.
#[derive(Debug, Clone, Copy)]
enum Neighbours {
    /// Endpoints of this host alone.
    Ours,
    /// Whoever is on the segment.
    Anybody,
}

/// How often, and with how much time between.
fn pace(options: &Labels, neighbours: Neighbours) -> (u32, Duration) {
    let number = |key: &str| options.get(key).and_then(|text| text.parse().ok());
    let every = number(EVERY).unwrap_or(1000);
    let usual = match neighbours {
        Neighbours::Ours => 1,
        Neighbours::Anybody => 3,
    };
    (
        number(TIMES).map_or(usual, |times: u64| u32::try_from(times.min(3)).unwrap_or(3)),
        Duration::from_millis(every),
    )
}

/// What is wrong with such options.
pub(crate) fn violations(options: &Labels) -> Vec<(String, &'static str)> {
    let wrong = |key: &str, range: std::ops::RangeInclusive<u64>| {
        let text = options.get(key)?;
        let right = text.parse().is_ok_and(|number| range.contains(&number));
        (!right).then(|| format!("option {key:?} can't be {text:?}"))
    };
    [
        (wrong(TIMES, 0..=3), "a number from 0 to 3 is wanted"),
        (
            wrong(EVERY, 100..=2000),
            "milliseconds from 100 to 2000 are wanted",
        ),
    ]
    .into_iter()
    .filter_map(|(wrong, hint)| Some((wrong?, hint)))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_what_the_options_say_within_bounds() {
        let labels = |pairs: &[(&str, &str)]| -> Labels {
            pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect()
        };
        let none = Labels::new();
        assert_eq!(pace(&none, Neighbours::Anybody), (3, Duration::from_secs(1)));
        assert_eq!(pace(&none, Neighbours::Ours), (1, Duration::from_secs(1)));
        for neighbours in [Neighbours::Ours, Neighbours::Anybody] {
            let told = labels(&[(TIMES, "2"), (EVERY, "100")]);
            assert_eq!(pace(&told, neighbours), (2, Duration::from_millis(100)));
            assert_eq!(pace(&labels(&[(TIMES, "0")]), neighbours).0, 0);
        }
        let told = labels(&[(TIMES, "0"), (EVERY, "100")]);
        assert!(violations(&told).is_empty());
        for (key, value) in [
            (TIMES, "4"),
            (TIMES, "-1"),
            (EVERY, "99"),
            (EVERY, "2001"),
            (EVERY, ""),
        ] {
            assert_eq!(violations(&labels(&[(key, value)])).len(), 1, "{key}={value}");
        }
    }
}
