//! The log: to standard error, where systemd and people read it.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// Sets the process's log up. `RUST_LOG` wins over the configured level.
pub fn start(level: &str) {
    let ours = format!("{level},h2=warn,hyper=warn,tower=warn,tonic=warn");
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(ours));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}
