//! Typed events, sent only after the commit they tell of.

use std::sync::Arc;

use model::{Endpoint, Network, Timestamp};
use tokio::sync::broadcast;

/// Something that happened on this host.
#[derive(Debug, Clone)]
pub struct Event {
    /// When it was committed.
    pub at: Timestamp,
    /// What happened.
    pub kind: EventKind,
    /// The network it happened to.
    pub network: Arc<Network>,
}

/// What happened to a network.
#[derive(Debug, Clone)]
pub enum EventKind {
    /// It was created here.
    Created,
    /// It was changed here: its name, labels, options or subnets.
    Updated,
    /// It was deleted here.
    Destroyed,
    /// This endpoint joined it. Endpoints of the gateway bridge that come and go by themselves are told too.
    Connected(Arc<Endpoint>),
    /// This endpoint left it.
    Disconnected(Arc<Endpoint>),
}

/// The sending side; nobody listening is no error.
#[derive(Debug, Clone)]
pub(crate) struct Events(broadcast::Sender<Event>);

impl Events {
    /// A reader that falls this many events behind loses the oldest.
    const BACKLOG: usize = 1024;

    pub(crate) fn new() -> Self {
        Self(broadcast::channel(Self::BACKLOG).0)
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.0.subscribe()
    }

    pub(crate) fn send(&self, kind: EventKind, network: Arc<Network>) {
        let event = Event {
            at: Timestamp::now(),
            kind,
            network,
        };
        // No receiver is the usual case.
        let _ = self.0.send(event);
    }
}
