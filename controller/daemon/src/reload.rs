//! SIGHUP: the configuration is read again, and what can change while the daemon runs does.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::{
    arguments::Arguments,
    config::{self, Config, Persona, RELOADABLE},
    telemetry::Level,
    wire::Daemon,
};

/// What a new reading needs.
#[derive(Debug)]
pub struct Reload {
    /// The name the daemon was called by.
    pub persona: Persona,
    /// What was typed.
    pub arguments: Arguments,
    /// The log.
    pub level: Level,
}

impl Reload {
    /// Reads the configuration again and takes over what it may, which is what dockerd takes over. A configuration that
    /// would not start a daemon changes nothing; what waits for the next start is named.
    pub fn reload(&self, current: &Config, daemon: &Daemon) -> Config {
        let read = match config::load(self.persona, &self.arguments) {
            Ok(read) => read,
            Err(error) => {
                tracing::error!(%error, "SIGHUP: the configuration is wrong; nothing is changed");
                return current.clone();
            }
        };
        let taken = taken(current, &read);
        self.level.set(&taken.log_level);
        daemon.tell(&taken);
        tracing::info!(level = taken.log_level, labels = ?taken.labels, "SIGHUP: the configuration was read again");
        for warning in &taken.reloadable.warnings {
            tracing::warn!("SIGHUP: {warning}");
        }
        let waiting = waiting(&taken, &read);
        if !waiting.is_empty() {
            tracing::warn!(
                "SIGHUP: changed, but taken at the next start only: {}",
                waiting.join(", ")
            );
        }
        taken
    }
}

/// The configuration from now on.
fn taken(current: &Config, read: &Config) -> Config {
    Config {
        log_level: read.log_level.clone(),
        labels: read.labels.clone(),
        reloadable: read.reloadable.clone(),
        given: given(&current.given, &read.given),
        ..current.clone()
    }
}

/// What is in force: of what can change now the new, of the rest what the daemon was started with.
fn given(current: &Map<String, Value>, read: &Map<String, Value>) -> Map<String, Value> {
    let now = |key: &String| RELOADABLE.contains(&key.as_str());
    let old = current.iter().filter(|(key, _)| !now(key));
    let new = read.iter().filter(|(key, _)| now(key));
    old.chain(new)
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// Options that were given otherwise, or in one of both only.
fn waiting(one: &Config, other: &Config) -> Vec<String> {
    let keys: BTreeSet<&String> = one.given.keys().chain(other.given.keys()).collect();
    let differ = |key: &&String| one.given.get(*key) != other.given.get(*key);
    keys.into_iter().filter(differ).cloned().collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn read(text: &str) -> Config {
        config::decide(
            Persona::Cnmd,
            &Map::new(),
            Path::new("/etc/cnm/daemon.json"),
            text,
        )
        .expect("a configuration")
    }

    #[test]
    fn level_and_labels_are_taken_and_the_rest_waits() {
        let before = read(r#"{"mtu": 1400}"#);
        let after =
            read(r#"{"debug": true, "labels": ["a=b"], "mtu": 1500, "registry-mirrors": ["http://m"]}"#);
        let now = taken(&before, &after);
        assert_eq!(now.reloadable.registry_mirrors, ["http://m/"]);
        assert_eq!(
            (now.log_level.as_str(), &now.labels[..]),
            ("debug", &["a=b".to_owned()][..])
        );
        assert_eq!(now.bridge.mtu, Some(1400));
        assert_eq!(waiting(&now, &after), ["mtu"]);
        let only = read(r#"{"debug": true, "mtu": 1400}"#);
        assert_eq!(waiting(&taken(&before, &only), &only), Vec::<String>::new());
        let less = read("{}");
        assert_eq!(waiting(&taken(&before, &less), &less), ["mtu"]);
    }
}
