//! What this machine's kernel may lack, through whole daemons: run in an emulated machine by `tests/vm.sh`.

#[path = "vm/cgroups.rs"]
mod cgroups;
#[path = "vm/docker.rs"]
mod docker;
#[path = "as_plugin/pair.rs"]
#[expect(dead_code, reason = "the suite \"as_plugin\" uses more of it")]
mod pair;
#[path = "vm/reboot.rs"]
mod reboot;
#[path = "vm/segment.rs"]
mod segment;
#[path = "vm/users.rs"]
mod users;

use netlab::{Daemon, Host};

type Test = anyhow::Result<()>;

/// `cnm` with one line of arguments (split at spaces), which must succeed: what it printed.
fn cnm(daemon: &Daemon, line: &str) -> anyhow::Result<String> {
    daemon.cnm(&line.split(' ').collect::<Vec<_>>())?.ok()
}

/// The same, which must fail: what it complained of.
fn refused(daemon: &Daemon, line: &str) -> anyhow::Result<String> {
    daemon.cnm(&line.split(' ').collect::<Vec<_>>())?.failed()
}

/// `cnm WORDS… sh -c SCRIPT`, however it ends: its exit code, and what it said.
fn shell(daemon: &Daemon, words: &str, script: &str) -> anyhow::Result<(i32, String)> {
    let words: Vec<_> = words.split(' ').chain(["sh", "-c", script]).collect();
    let finished = daemon.cnm(&words)?;
    Ok((finished.code, finished.stdout + &finished.stderr))
}

fn ip(host: &Host, words: &str) -> anyhow::Result<String> {
    host.run("ip", &words.split(' ').collect::<Vec<_>>())?.ok()
}

fn contains(text: &str, expected: &str) {
    assert!(text.contains(expected), "{text:?} lacks {expected:?}");
}
