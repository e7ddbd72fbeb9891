//! The built-in drivers, and plugins under all other names.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use plugin_proto::{Error as PluginError, Plugins, activation::NETWORK_DRIVER};

use super::Remote;
use crate::{BuiltIn, Catalog, Driver, Error, Result};

/// Built-in drivers first: no plugin takes the name of one.
#[derive(Debug)]
pub struct WithPlugins {
    built_in: BuiltIn,
    plugins: Arc<Plugins>,
    known: Mutex<HashMap<String, Arc<Remote>>>,
}

impl WithPlugins {
    /// Plugins beside the built-in drivers.
    pub fn new(built_in: BuiltIn, plugins: Arc<Plugins>) -> Self {
        Self {
            built_in,
            plugins,
            known: Mutex::default(),
        }
    }

    fn remote(&self, name: &str) -> Arc<Remote> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Remote::new(self.plugins.named(name)));
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
        match remote.activate().await {
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

    fn names(&self) -> Vec<String> {
        let active = self.plugins.active().into_iter();
        let drivers = active.filter(|(_, implements)| implements.iter().any(|one| one == NETWORK_DRIVER));
        let mut names = self.built_in.names();
        names.extend(drivers.map(|(name, _)| name));
        names.sort();
        names
    }
}
