//! `logs`: the runtime reads the file; this knows when the container has ended.

use std::pin::Pin;

use bytes::Bytes;
use futures::Stream;
use runtime::{Forward, LogConfig};
use tokio::sync::watch;

pub use runtime::logs::LogQuery;

use super::{Core, container::Container};
use crate::{
    error::{Error, Result},
    record::Record,
};

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
        forward: None,
    };
    Ok(Box::pin(runtime::logs::read(&config, query, ended(container))))
}

/// Where each line goes besides our own file, with the names that the container has there.
pub(super) fn forward(record: &Record) -> Option<Forward> {
    let log = &record.settings.log;
    let image = record.image.id.to_string();
    let short = |id: &str| {
        id.trim_start_matches("sha256:")
            .chars()
            .take(12)
            .collect::<String>()
    };
    let names = [
        ("ID", record.id.short()),
        ("FullID", record.id.to_string()),
        ("Name", record.name.to_string()),
        ("ImageName", record.image.asked.clone()),
        ("ImageID", short(&image)),
        ("ImageFullID", image),
        ("DaemonName", "cnm".to_owned()),
    ];
    let template = if log.tag.is_empty() { "{{.ID}}" } else { &log.tag };
    let tag = names.iter().fold(template.to_owned(), |text, (name, value)| {
        text.replace(&format!("{{{{.{name}}}}}"), value)
    });
    let fields = [
        ("CONTAINER_ID", record.id.short()),
        ("CONTAINER_ID_FULL", record.id.to_string()),
        ("CONTAINER_NAME", record.name.to_string()),
        ("IMAGE_NAME", record.image.asked.clone()),
    ];
    Some(Forward {
        to: log.forward.clone()?,
        tag,
        fields: fields.map(|(name, value)| (name.to_owned(), value)).to_vec(),
    })
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
