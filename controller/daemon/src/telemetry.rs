//! The log: to standard error, where systemd and people read it.

use std::io::IsTerminal as _;

use tracing_subscriber::{
    EnvFilter, Registry, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _,
};

/// The way to another level while the daemon runs.
#[derive(Debug, Clone)]
pub struct Level(reload::Handle<EnvFilter, Registry>);

/// Sets the process's log up. `RUST_LOG` wins over the configured level.
pub fn start(level: &str) -> Level {
    let (filter, handle) = reload::Layer::new(filter(level));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    tracing_subscriber::registry().with(filter).with(lines).init();
    Level(handle)
}

fn filter(level: &str) -> EnvFilter {
    let ours = format!("{level},h2=warn,hyper=warn,tower=warn,tonic=warn");
    EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(ours))
}

impl Level {
    /// Logs at this level from now on.
    pub fn set(&self, level: &str) {
        // It only fails when the log is gone, which is as long as the process.
        let _ = self.0.reload(filter(level));
    }
}
