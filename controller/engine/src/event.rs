//! What happened to containers, images and networks, told to whoever listens and kept for a while.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use controller::EventKind;
use model::{Labels, Scope, Timestamp};
use tokio::sync::broadcast;

/// What kind of thing an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// A container.
    Container,
    /// An image.
    Image,
    /// A network.
    Network,
    /// A volume.
    Volume,
    /// The daemon itself.
    Daemon,
    /// What is kept of builds.
    Builder,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// To what kind of thing.
    pub subject: Subject,
    /// To which: a full id, or for images the name they were asked by.
    pub id: String,
    /// What, in Docker's words: `create`, `start`, `die`, `exec_create: sh`.
    pub action: String,
    /// More about it: name, image, labels, exit status.
    pub attributes: Labels,
    /// Whether other hosts know the thing.
    pub scope: Scope,
}

impl Event {
    /// Something that happens now to a thing of this host.
    pub fn now(
        subject: Subject,
        id: impl Into<String>,
        action: impl Into<String>,
        attributes: Labels,
    ) -> Self {
        Self {
            at: Timestamp::now(),
            subject,
            id: id.into(),
            action: action.into(),
            attributes,
            scope: Scope::Local,
        }
    }
}

impl From<controller::Event> for Event {
    fn from(event: controller::Event) -> Self {
        let network = &event.network;
        let mut attributes = Labels::from([
            ("name".to_owned(), network.name.to_string()),
            ("type".to_owned(), network.driver.to_string()),
        ]);
        let action = match &event.kind {
            EventKind::Created => "create",
            EventKind::Updated => "update",
            EventKind::Destroyed => "destroy",
            EventKind::Connected(_) => "connect",
            EventKind::Disconnected(_) => "disconnect",
        };
        if let EventKind::Connected(endpoint) | EventKind::Disconnected(endpoint) = &event.kind
            && let Some(container) = endpoint.container
        {
            attributes.insert("container".to_owned(), container.to_string());
        }
        Self {
            at: event.at,
            subject: Subject::Network,
            id: network.id.to_string(),
            action: action.to_owned(),
            attributes,
            scope: network.scope,
        }
    }
}

/// Past events and those to come, with none lost and none twice between the two.
#[derive(Debug)]
pub struct Subscription {
    /// Those kept, oldest first.
    pub past: Vec<Arc<Event>>,
    /// Those to come. A listener that falls far behind loses the oldest.
    pub coming: broadcast::Receiver<Arc<Event>>,
}

/// The bus.
#[derive(Debug)]
pub struct Events {
    kept: Mutex<VecDeque<Arc<Event>>>,
    sender: broadcast::Sender<Arc<Event>>,
}

impl Events {
    const KEPT: usize = 1024;

    /// A bus without a past.
    pub(crate) fn new() -> Self {
        Self {
            kept: Mutex::default(),
            sender: broadcast::channel(Self::KEPT).0,
        }
    }

    /// Keeps an event and tells it.
    pub(crate) fn send(&self, event: Event) {
        let event = Arc::new(event);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == Self::KEPT {
            kept.pop_front();
        }
        kept.push_back(event.clone());
        // Nobody listening is the usual case.
        let _ = self.sender.send(event);
    }

    /// Listens.
    pub fn subscribe(&self) -> Subscription {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        Subscription {
            past: kept.iter().cloned().collect(),
            coming: self.sender.subscribe(),
        }
    }

    /// How many listen.
    pub fn listeners(&self) -> usize {
        self.sender.receiver_count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(number: usize) -> Event {
        Event::now(Subject::Container, number.to_string(), "start", Labels::new())
    }

    #[test]
    fn a_listener_gets_the_past_once_and_then_what_comes() {
        let events = Events::new();
        events.send(event(1));
        let mut subscription = events.subscribe();
        events.send(event(2));
        assert_eq!(subscription.past.len(), 1);
        assert_eq!(subscription.coming.try_recv().expect("the second").id, "2");
        assert!(subscription.coming.try_recv().is_err());
    }

    #[test]
    fn the_past_has_an_end() {
        let events = Events::new();
        (0..Events::KEPT + 5).for_each(|number| events.send(event(number)));
        let past = events.subscribe().past;
        assert_eq!((past.len(), past[0].id.as_str()), (Events::KEPT, "5"));
    }
}
