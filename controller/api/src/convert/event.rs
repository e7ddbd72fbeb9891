//! Events as `GET /events` writes them, and which of them are asked for.

use api_types::{Actor, EventMessage, Filters};
use engine::{Event, Subject};

use super::filter;
use crate::status::Answer;

/// The message. Containers and images have the fields from before API 1.22, too.
pub(crate) fn message(event: &Event) -> EventMessage {
    let old = matches!(event.subject, Subject::Container | Subject::Image);
    let nanos = event.at.unix_nanos();
    EventMessage {
        status: if old { event.action.clone() } else { String::new() },
        id: if old { event.id.clone() } else { String::new() },
        from: match event.subject {
            Subject::Container => event.attributes.get("image").cloned().unwrap_or_default(),
            _ => String::new(),
        },
        r#type: kind(event.subject).to_owned(),
        action: event.action.clone(),
        actor: Actor {
            id: event.id.clone(),
            attributes: event.attributes.clone(),
        },
        scope: event.scope.to_string(),
        time: nanos.div_euclid(1_000_000_000),
        time_nano: nanos,
    }
}

const fn kind(subject: Subject) -> &'static str {
    match subject {
        Subject::Container => "container",
        Subject::Image => "image",
        Subject::Network => "network",
        Subject::Volume => "volume",
        Subject::Daemon => "daemon",
        Subject::Builder => "builder",
    }
}

/// Which events are asked for.
#[derive(Debug)]
pub(crate) struct EventFilter(Filters);

impl EventFilter {
    pub(crate) fn new(filters: Filters) -> Answer<Self> {
        filter::known(
            &filters,
            &[
                "config",
                "container",
                "daemon",
                "event",
                "image",
                "label",
                "network",
                "node",
                "plugin",
                "scope",
                "secret",
                "service",
                "type",
                "volume",
            ],
        )?;
        Ok(Self(filters))
    }

    /// Whether an event is among them.
    pub(crate) fn shows(&self, event: &Event) -> bool {
        let any = |name: &str, holds: &dyn Fn(&String) -> bool| {
            let asked = self.0.get(name);
            asked.is_empty() || asked.iter().any(holds)
        };
        // `exec_create: sh` is also found as `exec_create`.
        let action = |text: &String| *text == event.action || event.action.split(": ").next() == Some(text);
        any("type", &|text| text == kind(event.subject))
            && any("event", &action)
            && any("scope", &|text| *text == event.scope.to_string())
            && any("container", &|text| is_of(event, Subject::Container, text))
            && any("network", &|text| is_of(event, Subject::Network, text))
            && any("image", &|text| is_of_image(event, text))
            && any("volume", &|text| is_of(event, Subject::Volume, text))
            && any("daemon", &|text| is_of(event, Subject::Daemon, text))
            && ["plugin", "service", "node", "secret", "config"]
                .iter()
                .all(|name| !self.0.has(name))
            && self.0.get("label").iter().all(|text| {
                let (key, value) = filter::label(text);
                event
                    .attributes
                    .get(&key)
                    .is_some_and(|found| value.is_none_or(|value| value == *found))
            })
    }
}

/// By id or the beginning of it, or by name.
fn is_of(event: &Event, subject: Subject, text: &str) -> bool {
    let named = event.attributes.get("name").is_some_and(|name| name == text);
    event.subject == subject && (event.id.starts_with(text) || named)
}

fn is_of_image(event: &Event, text: &str) -> bool {
    let attribute = match event.subject {
        Subject::Image => "name",
        Subject::Container => "image",
        _ => return false,
    };
    let name = event
        .attributes
        .get(attribute)
        .map(String::as_str)
        .unwrap_or_default();
    event.id == text || name == text || name.split(':').next() == Some(text)
}

#[cfg(test)]
mod tests {
    use model::{Labels, Scope, Timestamp};
    use serde_json::json;

    use super::*;

    fn start() -> Event {
        Event {
            at: Timestamp::from_unix_nanos(1_000_000_001),
            subject: Subject::Container,
            id: "c0ffee".repeat(8),
            action: "start".into(),
            attributes: Labels::from(
                [("image", "busybox:1"), ("name", "web"), ("tier", "front")]
                    .map(|(k, v)| (k.into(), v.into())),
            ),
            scope: Scope::Local,
        }
    }

    #[test]
    fn a_containers_event_has_the_old_fields_and_a_networks_has_not() {
        let written = serde_json::to_value(message(&start())).expect("JSON");
        assert_eq!(
            (&written["status"], &written["from"], &written["scope"]),
            (&json!("start"), &json!("busybox:1"), &json!("local"))
        );
        assert_eq!(
            (&written["time"], &written["timeNano"]),
            (&json!(1), &json!(1_000_000_001))
        );
        let network = serde_json::to_value(message(&Event {
            subject: Subject::Network,
            ..start()
        }))
        .expect("JSON");
        assert!(
            network.get("status").is_none() && network.get("id").is_none() && network.get("from").is_none()
        );
        assert_eq!(network["Type"], json!("network"));
    }

    #[test]
    fn events_are_filtered_by_name_id_image_label_and_action() {
        let exec = Event {
            action: "exec_create: sh -c ls".into(),
            ..start()
        };
        for (name, value, event, wanted) in [
            ("container", "web", start(), true),
            ("container", "we", start(), false),
            ("container", "c0ffee", start(), true),
            ("event", "start", start(), true),
            ("event", "exec_create", exec.clone(), true),
            ("event", "exec", exec, false),
            ("type", "network", start(), false),
            ("image", "busybox", start(), true),
            ("label", "tier=front", start(), true),
            ("label", "tier=back", start(), false),
            ("volume", "x", start(), false),
        ] {
            let filter = EventFilter::new(Filters::default().with(name, value)).expect("a known filter");
            assert_eq!(filter.shows(&event), wanted, "{name}={value}");
        }
        assert!(EventFilter::new(Filters::default().with("colour", "red")).is_err());
    }
}
