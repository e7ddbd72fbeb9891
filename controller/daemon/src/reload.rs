//! SIGHUP: the configuration is read again, and what can change while the daemon runs does.

use crate::{
    arguments::Arguments,
    config::{self, Config, Persona},
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
    /// Reads the configuration again and takes over what it may: level of the log and labels. A configuration that would
    /// not start a daemon changes nothing.
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
        if !same(&taken, &read) {
            tracing::warn!("SIGHUP: other options have changed, too: they take effect at the next start");
        }
        taken
    }
}

/// The configuration from now on.
fn taken(current: &Config, read: &Config) -> Config {
    Config {
        log_level: read.log_level.clone(),
        labels: read.labels.clone(),
        ..current.clone()
    }
}

/// Every option is shown by its name and value.
fn same(one: &Config, other: &Config) -> bool {
    format!("{one:?}") == format!("{other:?}")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::Map;

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
        let after = read(r#"{"debug": true, "labels": ["a=b"], "mtu": 1500}"#);
        let now = taken(&before, &after);
        assert_eq!(
            (now.log_level.as_str(), &now.labels[..]),
            ("debug", &["a=b".to_owned()][..])
        );
        assert_eq!(now.bridge.mtu, Some(1400));
        assert!(!same(&now, &after));
        let only = read(r#"{"debug": true, "mtu": 1400}"#);
        assert!(same(&taken(&before, &only), &only));
    }
}
