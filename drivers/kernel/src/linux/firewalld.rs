//! A running firewalld: puts bridges into a zone that lets them forward, by its message bus.
//!
//! Its own table refuses what none of its zones lets pass, and no accept of ours overrides that. Only what it does not keep
//! is asked for: nothing is written to its configuration, no reload takes somebody's unsaved changes away, and with the
//! last network all of it is gone. After a reload its announced rules wake us. A bridge that its administrator has put
//! into a zone stays there.

mod bus;

use std::{
    collections::BTreeSet,
    io,
    sync::{Mutex, PoisonError},
};

use model::InterfaceName;

use self::bus::Bus;

/// The zone: its target accepts, whatever is forwarded for its links.
pub(super) const ZONE: &str = "trusted";

const NAME: &str = "org.fedoraproject.FirewallD1";
const PATH: &str = "/org/fedoraproject/FirewallD1";
const INTERFACE: &str = "org.fedoraproject.FirewallD1.zone";

/// Bridges that this process has put there.
#[derive(Debug, Default)]
pub(super) struct Admitted(Mutex<BTreeSet<InterfaceName>>);

impl Admitted {
    /// Puts bridges into the zone, and takes out those of before that are no longer wanted. A bridge of our own making
    /// that is there already was put there by a process before this one; one that we `adopted`, by its administrator.
    pub(super) fn admit(
        &self,
        wanted: &BTreeSet<InterfaceName>,
        adopted: &BTreeSet<InterfaceName>,
    ) -> io::Result<()> {
        let mut admitted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if wanted.is_empty() && admitted.is_empty() {
            return Ok(());
        }
        let mut bus = Bus::system()?;
        for bridge in admitted.difference(wanted).cloned().collect::<Vec<_>>() {
            let call = bus.call(
                (NAME, PATH, INTERFACE),
                "removeInterface",
                &[ZONE, bridge.as_str()],
            );
            match call {
                Ok(_) => {}
                // Its administrator may have taken it out himself.
                Err(error) if error.kind() == io::ErrorKind::Other => {
                    tracing::debug!(%bridge, %error, "taking a bridge out of firewalld's zone");
                }
                // Not heard: it is told again.
                Err(error) => return Err(error),
            }
            admitted.remove(&bridge);
        }
        for bridge in wanted {
            let zone = bus.call((NAME, PATH, INTERFACE), "getZoneOfInterface", &[bridge.as_str()])?;
            if zone.is_empty() {
                bus.call((NAME, PATH, INTERFACE), "addInterface", &[ZONE, bridge.as_str()])?;
                tracing::info!(%bridge, zone = ZONE, "firewalld lets it forward");
            }
            if is_ours(&zone, adopted.contains(bridge)) {
                admitted.insert(bridge.clone());
            }
        }
        Ok(())
    }
}

/// Pure: whether a bridge that was found in this zone goes out of it with its network.
fn is_ours(found: &str, adopted: bool) -> bool {
    found.is_empty() || found == ZONE && !adopted
}

/// Whether a message of the bus is an answer.
#[cfg(test)]
pub(super) fn is_answer(message: &[u8]) -> bool {
    bus::read(message).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_before_this_one_put_there_is_ours_and_what_its_administrator_did_is_not() {
        for (found, adopted, ours) in [
            ("", false, true),
            ("", true, true),
            (ZONE, false, true),
            (ZONE, true, false),
            ("public", false, false),
            ("public", true, false),
        ] {
            assert_eq!(is_ours(found, adopted), ours, "{found:?} {adopted}");
        }
    }
}
