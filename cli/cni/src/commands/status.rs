//! STATUS: could an interface be had now?

use api_types::SandboxReadiness;

use crate::{
    config::Config,
    daemon::{Daemon, Silence, escaped},
    failure::{Code, Failure},
};

pub(super) fn status(config: &Config, daemon: &Daemon) -> Result<(), Failure> {
    let path = format!("/sandboxes/ready?network={}", escaped(&config.network));
    let not_now = |silence: Silence| Failure {
        code: Code::NotAvailable,
        ..silence.into_failure()
    };
    decide(&daemon.get(&path).map_err(not_now)?)
}

/// Containers work on without the daemon; only a host that is cut off from the others limits those that it has.
fn decide(now: &SandboxReadiness) -> Result<(), Failure> {
    match (now.ready, now.limited) {
        (true, _) => Ok(()),
        (false, false) => Err(Failure::new(Code::NotAvailable, &now.reason)),
        (false, true) => Err(Failure::new(Code::Limited, &now.reason)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_is_cut_off_is_told_from_one_that_takes_nobody() {
        for (ready, limited, code) in [
            (true, false, None),
            (false, false, Some(Code::NotAvailable)),
            (false, true, Some(Code::Limited)),
        ] {
            let now = SandboxReadiness {
                ready,
                limited,
                reason: "the store".to_owned(),
            };
            assert_eq!(decide(&now).err().map(|failure| failure.code), code);
        }
    }
}
