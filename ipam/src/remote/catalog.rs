//! Plugins as drivers of addresses, by name.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use plugin_proto::{Limits, Places, Plugins};

use super::Remote;
use crate::{HostRoutes, Ipam, Result};

/// All plugins that may be drivers of addresses.
pub struct Remotes {
    plugins: Arc<Plugins>,
    routes: HostRoutes,
    known: Mutex<HashMap<String, Arc<Remote>>>,
}

impl fmt::Debug for Remotes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remotes").finish_non_exhaustive()
    }
}

impl Default for Remotes {
    /// None at all.
    fn default() -> Self {
        let nowhere = Places {
            sockets: Vec::new(),
            specifications: Vec::new(),
        };
        // Nobody can appear nowhere.
        let limits = Limits {
            search: std::time::Duration::ZERO,
            ..Limits::default()
        };
        Self::new(Plugins::new(nowhere, limits), Arc::new(Vec::new))
    }
}

impl Remotes {
    /// These plugins; pools that they choose are held against the host's routes.
    pub fn new(plugins: Arc<Plugins>, routes: HostRoutes) -> Self {
        Self {
            plugins,
            routes,
            known: Mutex::default(),
        }
    }

    /// The driver of that name, whether it is there or not.
    pub fn named(&self, name: &str) -> Arc<dyn Ipam> {
        self.remote(name)
    }

    fn remote(&self, name: &str) -> Arc<Remote> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Remote::new(self.plugins.named(name), Arc::clone(&self.routes)));
        Arc::clone(known.entry(name.to_owned()).or_insert_with(new))
    }

    /// The driver for a new network: it is there, and has said what it needs.
    ///
    /// # Errors
    /// When it is not there, or is no driver of addresses.
    pub async fn find(&self, name: &str) -> Result<Arc<dyn Ipam>> {
        let remote = self.remote(name);
        match remote.activate(self.plugins.search()).await {
            Ok(()) => Ok(remote),
            Err(error) => {
                if remote.owed().is_empty() && !remote.plugin.is_there() {
                    let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                    known.remove(name);
                    self.plugins.forget(name);
                }
                Err(error)
            }
        }
    }
}
