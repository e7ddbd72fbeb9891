//! Networks of one segment that all hosts share: what each of them needs for that.

use drivers::Driver;
use model::{Network, Scope};

use crate::error::{Error, Result};

const HOST_ACCESS: &str = "cnm.host_access";

/// Refuses a network of all hosts whose driver's are usually one host's, where the hosts would share nothing, or what only
/// one can have.
pub(super) fn refuse(driver: &dyn Driver, network: &Network) -> Result<()> {
    if network.scope != Scope::Global || driver.capabilities().scope == Scope::Global || driver.is_remote() {
        return Ok(());
    }
    let parent = driver.segment(network).is_some();
    if !parent {
        return Err(Error::invalid(format!(
            "a {} network of all hosts needs a segment that they are on",
            network.driver
        ))
        .with_hint("name the interface that each host has there: -o parent=INTERFACE (ipvlan in mode l2)"));
    }
    let off = |value: &str| matches!(value, "" | "0" | "f" | "F" | "FALSE" | "false" | "False");
    match network.options.get(HOST_ACCESS).is_some_and(|value| !off(value)) {
        false => Ok(()),
        true => Err(
            Error::invalid("on a network of all hosts no address can be each host's own")
                .with_hint(format!("leave out {HOST_ACCESS}, or --scope")),
        ),
    }
}
