//! What the kernel lacks: looked for once the controller is up, told in the log and to whoever asks, and a reason to refuse
//! a network of a driver that needs it before anything is allocated.

use std::sync::{Mutex, PoisonError};

use kernel::modules::{Missing, needed_by};

use crate::{
    core::Core,
    error::{Error, Result},
};

/// Parts of the kernel that were not there when it was last looked.
#[derive(Debug, Default)]
pub(crate) struct Lacking(Mutex<Vec<Missing>>);

impl Lacking {
    pub(crate) fn all(&self) -> Vec<Missing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, now: Vec<Missing>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }
}

/// Looks, and tells the log.
pub(crate) async fn look(core: &Core) {
    match find(core).await {
        Ok(missing) => {
            for one in missing {
                tracing::warn!(module = one.module.name(), remedy = one.remedy(), "{one}");
            }
        }
        Err(error) => tracing::warn!(%error, "not known which modules the kernel lacks"),
    }
}

/// What matters here: without rules of our own nobody needs those for them.
async fn find(core: &Core) -> Result<Vec<Missing>> {
    let mut missing = core.worker.missing().await?;
    let firewall = core.settings.firewall;
    missing.retain(|one| one.module.without().is_some() && (firewall || !one.module.is_of_nftables()));
    core.lacking.set(missing.clone());
    Ok(missing)
}

/// Refuses a driver that the kernel can't do. It is looked again, since what is missing may have been loaded meanwhile.
pub(crate) async fn refuse(core: &Core, driver: &str) -> Result<()> {
    if first(&core.lacking.all(), driver).is_none() {
        return Ok(());
    }
    match first(&find(core).await?, driver) {
        None => Ok(()),
        Some(missing) => Err(Error::Unavailable {
            message: missing.to_string(),
            hint: Some(missing.remedy()),
        }),
    }
}

/// Pure: the first of what a driver needs that is missing.
fn first(missing: &[Missing], driver: &str) -> Option<Missing> {
    let is_missing = |needed| missing.iter().find(|one| one.module == needed).copied();
    needed_by(driver).iter().find_map(|needed| is_missing(*needed))
}

#[cfg(test)]
mod tests {
    use kernel::modules::Module;

    use super::*;

    #[test]
    fn a_driver_is_refused_for_what_it_needs_and_no_other() {
        let missing =
            [Module::Ipvlan, Module::Vxlan, Module::Dummy].map(|module| Missing { module, file: true });
        for (driver, wanted) in [
            ("bridge", None),
            ("overlay", Some(Module::Vxlan)),
            ("ipvlan", Some(Module::Ipvlan)),
            ("macvlan", None),
            ("null", None),
            ("weave", None),
        ] {
            assert_eq!(first(&missing, driver).map(|one| one.module), wanted, "{driver}");
        }
    }
}
