//! The firewall backends of a daemon: what holds on one must hold on the other.

use anyhow::Context as _;

use crate::single::Single;

/// How a daemon writes its rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// nf_tables by netlink.
    Nftables,
    /// iptables-restore.
    Iptables,
}

impl Backend {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Nftables, Self::Iptables];

    /// Its name, as `--firewall-backend` takes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nftables => "nftables",
            Self::Iptables => "iptables",
        }
    }
}

/// Plays a test on a host of its own for each backend; an error says on which.
///
/// # Errors
/// The test's own, or those of starting a host.
pub fn on_each_backend(flags: &[&str], test: impl Fn(Single) -> anyhow::Result<()>) -> anyhow::Result<()> {
    for backend in Backend::ALL {
        let chosen = ["--firewall-backend", backend.as_str()];
        let mut flags = flags.to_vec();
        if backend != Backend::Nftables {
            flags.extend(chosen);
        }
        let context = || format!("with the firewall backend {}", backend.as_str());
        let host = Single::start(&flags).with_context(context)?;
        test(host).with_context(context)?;
    }
    Ok(())
}
