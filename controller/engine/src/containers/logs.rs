//! `logs`: the runtime reads the file; this knows when the container has ended.

use std::pin::Pin;

use bytes::Bytes;
use futures::Stream;
use runtime::LogConfig;
use tokio::sync::watch;

pub use runtime::logs::LogQuery;

use super::{Core, container::Container};
use crate::error::{Error, Result};

/// Lines of a log, each ready to be sent.
pub type LogStream = Pin<Box<dyn Stream<Item = std::io::Result<Bytes>> + Send>>;

/// Opens a container's log. `query.framed` is decided here: with a terminal there are no frames.
pub(super) fn open(core: &Core, container: &Container, mut query: LogQuery) -> Result<LogStream> {
    let record = container.record();
    let log = &record.settings.log;
    if !log.keep {
        return Err(
            Error::not_implemented("configured logging driver does not support reading")
                .with_hint("the container was made with --log-driver none"),
        );
    }
    if !query.stdout && !query.stderr {
        return Err(Error::invalid(
            "Bad parameters: you must choose at least one stream",
        ));
    }
    query.framed = !record.settings.tty;
    let config = LogConfig {
        path: Some(core.paths(&record.id).log),
        max_size: log.max_size,
        max_files: log.max_files,
    };
    Ok(Box::pin(runtime::logs::read(&config, query, ended(container))))
}

/// Becomes true when the container no longer runs and is not about to run again.
fn ended(container: &Container) -> watch::Receiver<bool> {
    let mut changes = container.subscribe();
    let is_over = |now: &super::container::Published| now.removed || !now.record.state.phase.is_up();
    let over = is_over(&changes.borrow_and_update());
    let (sender, receiver) = watch::channel(over);
    if !over {
        tokio::spawn(async move {
            tokio::select! {
                _ = changes.wait_for(is_over) => { let _ = sender.send(true); }
                () = sender.closed() => {}
            }
        });
    }
    receiver
}
