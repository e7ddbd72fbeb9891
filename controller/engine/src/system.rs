//! What concerns the daemon as a whole: what it says of itself, and whom it lets log in where.

use std::sync::{Arc, PoisonError};

use model::Labels;
use registry::{Insecure, Login};

use crate::{
    About, Engine,
    event::{Event, Subject},
};

/// Whether text names a registry, or a subnet of registries, that needn't prove who they are.
///
/// # Errors
/// What is wrong with it.
pub fn insecure_registry(text: &str) -> Result<(), String> {
    text.parse::<Insecure>()
        .map(drop)
        .map_err(|error| error.to_string())
}

impl Engine {
    /// What `info` and `version` say of this daemon.
    pub fn about(&self) -> Arc<About> {
        self.about.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes what they say, as after a new reading of the configuration, and tells of it.
    pub fn reload(&self, about: About) {
        let mut attributes = about.settings.clone();
        attributes.insert("debug".to_owned(), about.debug.to_string());
        attributes.insert("name".to_owned(), self.volumes.core.hostname.clone());
        let id = about.id.clone();
        *self.about.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(about);
        self.events
            .send(Event::now(Subject::Daemon, id, "reload", attributes));
    }

    /// Tells that things nobody used were removed, and how much room that made.
    pub fn tell_pruned(&self, subject: Subject, bytes: u64) {
        let attributes = Labels::from([("reclaimed".to_owned(), bytes.to_string())]);
        self.events.send(Event::now(subject, "", "prune", attributes));
    }

    /// Asks a registry whether somebody may log in. What it gives to be used instead of the password, if anything.
    ///
    /// # Errors
    /// When it doesn't take who asks, or can't be asked.
    pub async fn login(&self, login: &Login) -> registry::Result<String> {
        let about = self.about();
        // What can't be read was refused with the configuration.
        let insecure: Vec<Insecure> = about
            .insecure_registries
            .iter()
            .filter_map(|text| text.parse().ok())
            .collect();
        registry::login(login, &insecure).await
    }
}
