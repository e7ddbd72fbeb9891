//! The built-in drivers, and plugins under all other names.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use plugin_proto::{Error as PluginError, Plugins, activation::NETWORK_DRIVER};

use super::{Remote, hosts::Hosts};
use crate::{BuiltIn, Catalog, Driver, Error, KnownHost, Result, options};

/// Built-in drivers first: no plugin takes the name of one.
#[derive(Debug)]
pub struct WithPlugins {
    built_in: BuiltIn,
    plugins: Arc<Plugins>,
    known: Mutex<HashMap<String, Arc<Remote>>>,
    hosts: Hosts,
}

impl WithPlugins {
    /// Plugins beside the built-in drivers.
    pub fn new(built_in: BuiltIn, plugins: Arc<Plugins>) -> Self {
        Self {
            built_in,
            plugins,
            known: Mutex::default(),
            hosts: Hosts::default(),
        }
    }

    fn remote(&self, name: &str) -> Arc<Remote> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Remote::among(self.plugins.named(name), self.hosts.clone()));
        Arc::clone(known.entry(name.to_owned()).or_insert_with(new))
    }

    fn forget(&self, name: &str) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.remove(name);
    }
}

#[async_trait]
impl Catalog for WithPlugins {
    fn driver(&self, name: &str) -> Option<Arc<dyn Driver>> {
        let built_in = self.built_in.driver(name);
        built_in.or_else(|| Some(self.remote(name)))
    }

    async fn find(&self, name: &str) -> Result<Option<Arc<dyn Driver>>> {
        if let Some(driver) = self.built_in.driver(name) {
            return Ok(Some(driver));
        }
        let known = self
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains_key(name);
        let remote = self.remote(name);
        // Who mistyped a name that there is does not wait for a plugin.
        let built_in = self.built_in.names();
        let built_in: Vec<&str> = built_in.iter().map(String::as_str).collect();
        let patience = match options::nearest(name, &built_in) {
            Some(_) => Duration::ZERO,
            None => self.plugins.search(),
        };
        match remote.activate(patience).await {
            Ok(()) => Ok(Some(remote)),
            Err(Error::Plugin(PluginError::NotFound { .. })) => {
                if !known {
                    self.forget(name);
                    self.plugins.forget(name);
                }
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn hosts_changed(&self, hosts: &[KnownHost]) {
        if !self.hosts.set(hosts) {
            return;
        }
        let known: Vec<_> = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.values().cloned().collect()
        };
        // Each in a task of its own: one that hangs is in nobody's way.
        for remote in known {
            tokio::spawn(async move { remote.meet().await });
        }
    }

    fn names(&self) -> Vec<String> {
        let active = self.plugins.active().into_iter();
        let drivers = active.filter(|(_, implements)| implements.iter().any(|one| one == NETWORK_DRIVER));
        let mut names = self.built_in.names();
        names.extend(drivers.map(|(name, _)| name));
        names.sort();
        names
    }
}
