//! `GET /events`: what happened since a moment, and what happens until another.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use api_types::EventMessage;
use axum::{extract::State, response::Response};
use engine::{Engine, Event, Subscription};
use futures::{Stream, stream};
use model::Timestamp;
use tokio::{sync::broadcast::error::RecvError, time::Instant};

use crate::{
    convert::{
        event::{EventFilter, message},
        time,
    },
    params::Params,
    status::{Answer, Refusal},
    stream::json_lines,
};

pub(crate) async fn follow(State(engine): State<Arc<Engine>>, params: Params) -> Answer<Response> {
    let now = Timestamp::now();
    let filter = EventFilter::new(params.filters()?)?;
    let since = time::parse(params.text("since").unwrap_or_default(), now)?;
    let until = time::parse(params.text("until").unwrap_or_default(), now)?;
    if since.zip(until).is_some_and(|(since, until)| until < since) {
        let said = |name| params.text(name).unwrap_or_default();
        return Err(Refusal::bad_request(format!(
            "`since` time ({}) cannot be after `until` time ({})",
            said("since"),
            said("until")
        )));
    }
    let subscription = engine.events.subscribe();
    Ok(json_lines(messages(subscription, filter, since, until, now)))
}

struct Place {
    subscription: Subscription,
    past: VecDeque<Arc<Event>>,
    filter: EventFilter,
    until: Option<Timestamp>,
    end: Option<Instant>,
}

/// The past is told only to those who say since when, or until when.
fn messages(
    mut subscription: Subscription,
    filter: EventFilter,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    now: Timestamp,
) -> impl Stream<Item = EventMessage> + Send {
    let past = std::mem::take(&mut subscription.past).into();
    let past: VecDeque<Arc<Event>> = past;
    let past = past
        .into_iter()
        .filter(|event| since.map_or(until.is_some(), |since| event.at >= since))
        .collect();
    let end = until.map(|until| Instant::now() + until.since(now));
    let place = Place {
        subscription,
        past,
        filter,
        until,
        end,
    };
    stream::unfold(place, |mut place| async move {
        loop {
            let event = place.next().await?;
            if place.until.is_some_and(|until| event.at > until) {
                return None;
            }
            if place.filter.shows(&event) {
                return Some((message(&event), place));
            }
        }
    })
}

impl Place {
    async fn next(&mut self) -> Option<Arc<Event>> {
        if let Some(event) = self.past.pop_front() {
            return Some(event);
        }
        // Without an end the sleep is longer than any connection lasts.
        let end = self
            .end
            .unwrap_or_else(|| Instant::now() + Duration::from_secs(86_400 * 365));
        loop {
            match tokio::time::timeout_at(end, self.subscription.coming.recv()).await {
                Ok(Ok(event)) => return Some(event),
                Ok(Err(RecvError::Lagged(lost))) => tracing::warn!(lost, "a listener to events is too slow"),
                Ok(Err(RecvError::Closed)) | Err(_) => return None,
            }
        }
    }
}
