//! GC: of this configuration's interfaces only these are still wanted.

use api_types::{SandboxInterface, SandboxRetain, SandboxRetained};

use super::MANAGER;
use crate::{
    config::Config,
    daemon::Daemon,
    failure::{Code, Failure},
};

pub(super) fn gc(config: &Config, daemon: &Daemon) -> Result<(), Failure> {
    // Without the list nobody would be wanted, which a mistake must not come to.
    let valid = config.valid.as_ref().ok_or_else(|| {
        Failure::new(
            Code::InvalidConfig,
            "the configuration has no \"cni.dev/valid-attachments\"",
        )
        .with("a runtime of version 1.1.0 of the specification fills it in; nothing was removed")
    })?;
    let valid = valid.iter().map(|one| SandboxInterface {
        key: one.container.clone(),
        // The runtime knows its own name for it.
        interface: config.interface.clone().unwrap_or_else(|| one.ifname.clone()),
    });
    let request = SandboxRetain {
        manager: MANAGER.to_owned(),
        group: config.name.clone(),
        valid: valid.collect(),
    };
    let _: SandboxRetained = daemon.post("/sandboxes/retain", &request)?;
    Ok(())
}
