//! Work inside a namespace, on a thread of its own.

use std::{fs::File, path::Path, thread};

use nix::sched::{CloneFlags, setns};

/// Begins `work` on a thread in the namespace at `netns`. What it opens stays in there, whoever uses it later.
pub(crate) fn begin<T: Send + 'static>(
    netns: &Path,
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> thread::JoinHandle<anyhow::Result<T>> {
    let netns = netns.to_owned();
    thread::spawn(move || {
        setns(File::open(netns)?, CloneFlags::CLONE_NEWNET)?;
        work()
    })
}

/// The same, waited for.
pub(crate) fn run<T: Send + 'static>(
    netns: &Path,
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    begin(netns, work)
        .join()
        .map_err(|_| anyhow::anyhow!("work in a namespace panicked"))?
}
