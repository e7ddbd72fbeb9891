//! Waiting for conditions, and being interrupted while at it.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

static INTERRUPTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// The user pressed Ctrl-C, or the process was asked to end.
#[derive(Debug, Clone, Copy)]
pub struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted")
    }
}
impl std::error::Error for Interrupted {}

/// From here on SIGINT and SIGTERM don't end the process: what waits here ends with [`Interrupted`], so that the lab is
/// taken down.
///
/// # Errors
/// When the handlers can't be set.
pub fn watch_for_interrupts() -> anyhow::Result<()> {
    let flag = INTERRUPTED.get_or_init(Arc::default);
    for signal in [
        signal_hook::consts::SIGINT,
        signal_hook::consts::SIGTERM,
        signal_hook::consts::SIGHUP,
    ] {
        signal_hook::flag::register(signal, flag.clone()).context("setting a signal handler")?;
    }
    Ok(())
}

/// Whether the process was asked to end.
pub fn interrupted() -> bool {
    INTERRUPTED.get().is_some_and(|flag| flag.load(Ordering::Relaxed))
}

/// How many times as long everything may take: `CNM_LAB_PATIENCE`, for machines that are emulated.
pub(crate) fn patience() -> u32 {
    static PATIENCE: OnceLock<u32> = OnceLock::new();
    *PATIENCE.get_or_init(|| {
        let said = std::env::var("CNM_LAB_PATIENCE").ok();
        said.and_then(|times| times.parse().ok()).unwrap_or(1)
    })
}

/// Waiting for what comes costs nothing: on a busy machine whatever is about to come about may take as long as this.
const LEAST: Duration = Duration::from_secs(20);

/// Asks `probe` until it has an answer. Its last error says what was missing when the deadline passes: `limit`, or
/// twenty seconds if that is less.
///
/// # Errors
/// When `limit` passes, or on an interrupt.
pub fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut probe: impl FnMut() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let limit = limit.max(LEAST) * patience();
    let deadline = Instant::now() + limit;
    let mut pause = Duration::from_millis(1);
    loop {
        let error = match probe() {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        if interrupted() {
            bail!(Interrupted);
        }
        if Instant::now() >= deadline {
            return Err(error.context(format!("waiting {limit:?} for {what}")));
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}
