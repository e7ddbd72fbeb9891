//! `cnm-names`: answers 127.0.0.11 in every sandbox of one exec-root. Started by `cnmd`, or as a unit of its own.

use std::{io::Write as _, path::PathBuf, process::ExitCode};

use clap::Parser;

/// Name service of cnm: answers 127.0.0.11 in every sandbox and lives on while the daemon restarts.
#[derive(Debug, Parser)]
#[command(name = "cnm-names", version)]
struct Arguments {
    /// Folder of the running state, the daemon's own --exec-root.
    #[arg(long, default_value = "/run/cnm", value_name = "DIR")]
    exec_root: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Whatever ends our parent's session must not end us. Fails only when we lead one already.
    let _ = nix::unistd::setsid();
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    let filter = tracing_subscriber::EnvFilter::try_from_env("CNM_LOG").unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    if let Err(error) = raise_descriptors() {
        tracing::warn!(%error, "few descriptors: not every sandbox may be served");
    }
    match serve(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve(arguments: &Arguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(names::helper::run(&arguments.exec_root, announce))
}

/// Two sockets for each sandbox: the usual soft limit of 1024 descriptors ends at 500 of them.
fn raise_descriptors() -> nix::Result<()> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)
}

/// One line for whoever started us; nobody may be listening.
fn announce() {
    let _ = std::io::stdout().write_all(b"ready\n");
}
