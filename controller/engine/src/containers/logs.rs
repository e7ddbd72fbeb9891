//! `logs`: the runtime reads the file; this knows when the container has ended.

use std::{collections::BTreeMap, pin::Pin};

use bytes::Bytes;
use futures::Stream;
use regex::Regex;
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
        compress: log.compress,
        forward: None,
        attrs: BTreeMap::new(),
    };
    Ok(Box::pin(runtime::logs::read(&config, query, ended(container))))
}

/// Whether text is an expression that labels and variables can be found by.
///
/// # Errors
/// What is wrong with it.
pub fn expression(text: &str) -> std::result::Result<(), String> {
    Regex::new(text).map(drop).map_err(|error| error.to_string())
}

/// What stands with each line: labels and variables, and the tag where the user gave one.
pub(super) fn attributes(record: &Record) -> BTreeMap<String, String> {
    let mut found = wanted(record);
    if !record.settings.log.tag.is_empty() && record.settings.log.forward.is_none() {
        found.insert("tag".to_owned(), tag(record));
    }
    found
}

/// Labels and variables, those named and those that an expression finds.
fn wanted(record: &Record) -> BTreeMap<String, String> {
    let (settings, asked) = (&record.settings, &record.settings.log.attributes);
    // What isn't one was refused at create.
    let find = |text: &str| {
        Some(text)
            .filter(|text| !text.is_empty())
            .and_then(|text| Regex::new(text).ok())
    };
    let (labels, variables) = (find(&asked.labels_regex), find(&asked.env_regex));
    let is = |names: &[String], found: &Option<Regex>, name: &str| {
        names.iter().any(|wanted| wanted == name) || found.as_ref().is_some_and(|found| found.is_match(name))
    };
    let labels = settings
        .labels
        .iter()
        .filter(|(name, _)| is(&asked.labels, &labels, name))
        .map(|(name, value)| (name.clone(), value.clone()));
    let variables = settings
        .run
        .env
        .iter()
        .filter_map(|pair| pair.split_once('='))
        .filter(|(name, _)| is(&asked.env, &variables, name))
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    labels.chain(variables).collect()
}

/// What lines are called: the template with what it names.
fn tag(record: &Record) -> String {
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
    names.iter().fold(template.to_owned(), |text, (name, value)| {
        text.replace(&format!("{{{{.{name}}}}}"), value)
    })
}

/// A name as systemd's journal takes it: capitals, digits and underscores, and none of these in front.
fn journal_name(name: &str) -> String {
    let plain = name.chars().map(|letter| match letter.to_ascii_uppercase() {
        letter if letter.is_ascii_alphanumeric() => letter,
        _ => '_',
    });
    plain.collect::<String>().trim_start_matches('_').to_owned()
}

/// Where each line goes besides our own file, with the names that the container has there.
pub(super) fn forward(record: &Record) -> Option<Forward> {
    let to = record.settings.log.forward.clone()?;
    let fields = [
        ("CONTAINER_ID", record.id.short()),
        ("CONTAINER_ID_FULL", record.id.to_string()),
        ("CONTAINER_NAME", record.name.to_string()),
        ("IMAGE_NAME", record.image.asked.clone()),
    ];
    let more = wanted(record)
        .into_iter()
        .map(|(name, value)| (journal_name(&name), value));
    let fields = fields.map(|(name, value)| (name.to_owned(), value));
    Some(Forward {
        to,
        tag: tag(record),
        fields: fields.into_iter().chain(more).collect(),
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
