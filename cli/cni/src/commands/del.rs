//! DEL: an interface is no longer wanted. What isn't there any more is no failure, a namespace that has ended included;
//! only a daemon that doesn't answer is: what it has recorded must go, and if the runtime never asks again, the daemon
//! finds by itself that the namespace has ended.

use api_types::{SandboxDetach, SandboxDetached};

use super::{MANAGER, interface};
use crate::{config::Config, daemon::Daemon, environment::Environment, failure::Failure};

pub(super) fn del(environment: &Environment, config: &Config, daemon: &Daemon) -> Result<(), Failure> {
    let request = SandboxDetach {
        manager: MANAGER.to_owned(),
        key: environment.container()?.to_owned(),
        group: config.name.clone(),
        interface: interface(environment, config)?.to_owned(),
    };
    let _: SandboxDetached = daemon.post("/sandboxes/detach", &request)?;
    Ok(())
}
