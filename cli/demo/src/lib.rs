//! `cnm demo`: hosts as network namespaces with a daemon on each, a real store between them, and the commands that a
//! user would type, each checked. Nothing touches the machine's own interfaces, and nothing stays unless asked to.
#![forbid(unsafe_code)]

mod checks;
mod screen;
mod script;
mod stage;

use std::{process::ExitCode, thread, time::Instant};

use netlab::{Lab, Leftovers, interrupted, watch_for_interrupts};

pub use netlab::Store;

use checks::Checks;
use screen::Screen;
use stage::Stage;

/// How the demo is played.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// What the hosts share; with [`Store::Embedded`] there is one host.
    pub store: Store,
    /// Leave everything up at the end, and say how to play with it.
    pub keep: bool,
}

/// What a shell says of a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// Plays the demo with the programs beside the running one. Succeeds only if every check held.
///
/// Blocks for some seconds, on a thread of its own: the caller may be inside an async runtime.
pub fn run(options: Options) -> ExitCode {
    apart(move || play(options))
}

/// Takes down what demos run with `keep` left up.
pub fn down() -> ExitCode {
    apart(|| {
        let count = Lab::take_down_kept();
        Screen::new().say(&format!("{count} taken down"));
        ExitCode::SUCCESS
    })
}

/// A panic has been reported where it happened.
fn apart(work: impl FnOnce() -> ExitCode + Send + 'static) -> ExitCode {
    thread::spawn(work).join().unwrap_or(ExitCode::FAILURE)
}

fn play(options: Options) -> ExitCode {
    let started = Instant::now();
    let (screen, mut checks) = (Screen::new(), Checks::default());
    let before = Leftovers::now();
    if let Err(error) = watch_for_interrupts().and_then(|()| scenes(options, &screen, &mut checks, &before)) {
        screen.error(&error);
        checks.stopped(&error);
    }
    screen.say("");
    screen.table(&checks, started.elapsed());
    if interrupted() {
        ExitCode::from(INTERRUPTED)
    } else if checks.all_hold() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// From an empty machine to an empty machine, whatever happens in between.
fn scenes(options: Options, screen: &Screen, checks: &mut Checks, before: &Leftovers) -> anyhow::Result<()> {
    let stage = Stage::set(options.store, screen)?;
    let played = script::play(&stage, screen, checks, options.keep);
    if played.is_err() || !checks.all_hold() {
        stage.show_logs(screen);
    }
    if options.keep && played.is_ok() {
        return stage.keep(screen);
    }
    let left = stage.strike(before);
    played?;
    checks.record(
        "nothing is left: no namespace, link, mount, rule or process",
        left,
    );
    Ok(())
}
