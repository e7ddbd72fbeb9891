//! Joins the controller, which waits for names, and the name service, which reads the controller's snapshots: each is
//! made with the other in hand, so one of them gets its half later.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use controller::NameService;
use names::Client;

/// The name service as the controller sees it.
#[derive(Debug, Default)]
pub struct Names {
    client: OnceLock<Arc<Client>>,
}

impl Names {
    /// Gives it the running client. The first one stays.
    pub fn connect(&self, client: Arc<Client>) {
        let _ = self.client.set(client);
    }

    /// The client, once there is one.
    pub fn client(&self) -> Option<&Arc<Client>> {
        self.client.get()
    }
}

#[async_trait]
impl NameService for Names {
    /// While the controller starts, names are served from the helper's mirror: there is nothing newer to wait for.
    async fn caught_up(&self, generation: u64) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        match self.client.get() {
            Some(client) => Ok(client.caught_up(generation).await?),
            None => Ok(()),
        }
    }
}
