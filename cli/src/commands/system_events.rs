//! `cnm events`

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use api_types::EventMessage;
use clap::Args;
use http::Method;

use super::{Context, say};
use crate::client::{ClientError, JsonLines, Query, empty};
use crate::error::Outcome;
use crate::format::text_map;
use crate::options::{filter, filters, timestamp};
use crate::template::{Element, Functions, Map, Template, Value};

/// Show what happens, as it happens
#[derive(Debug, Args)]
pub(crate) struct SystemEvents {
    /// Only some, as type=network, event=connect, container=NAME, network=NAME, label=KEY
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = filter)]
    filter: Vec<(String, String)>,
    /// A Go template, or json
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// From then on, as 2013-01-02T13:23:37Z or 42m
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Up to then, as 2013-01-02T13:23:37Z or 42m
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

impl SystemEvents {
    /// Shows them, until the daemon or the user has enough.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let resolve = |given: &Option<String>| {
            given
                .as_deref()
                .map(|text| timestamp::parse(text, now))
                .transpose()
        };
        let query = Query::new()
            .with_some("since", resolve(&self.since)?)
            .with_some("until", resolve(&self.until)?)
            .with_filters(&filters(&self.filter));
        let format = self
            .format
            .as_deref()
            .map(str::trim)
            .filter(|format| !format.is_empty());
        let template = format
            .filter(|format| *format != "json")
            .map(Template::parse)
            .transpose()?;
        let client = context.client()?;
        let response = client
            .stream(Method::GET, "/events", query, empty(), None)
            .await?;
        let mut events = JsonLines::new(response);
        while let Some(event) = events.next::<EventMessage>().await? {
            match (&template, format) {
                (Some(template), _) => say(&template.execute(&value(&event), Functions::Values)?)?,
                (None, Some(_)) => say(&serde_json::to_string(&event).map_err(ClientError::Encode)?)?,
                (None, None) => say(&line(&event))?,
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Time, what it happened to, what happened, and the attributes in order.
fn line(event: &EventMessage) -> String {
    let attributes: Vec<String> = event
        .actor
        .attributes
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let attributes = if attributes.is_empty() {
        String::new()
    } else {
        format!(" ({})", attributes.join(", "))
    };
    let nanoseconds = if event.time_nano != 0 {
        event.time_nano
    } else {
        event.time * 1_000_000_000
    };
    let time = timestamp::precise(nanoseconds);
    format!(
        "{time} {} {} {}{attributes}",
        event.r#type, event.action, event.actor.id
    )
}

fn value(event: &EventMessage) -> Value {
    let text = |text: &str| Value::text(text);
    let map = |entries: Vec<(&str, Value)>| {
        let entries = entries
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect();
        Value::Map(Map::new(entries, Element::Strict))
    };
    let actor = map(vec![
        ("ID", text(&event.actor.id)),
        ("Attributes", text_map(&event.actor.attributes)),
    ]);
    map(vec![
        ("Type", text(&event.r#type)),
        ("Action", text(&event.action)),
        ("Actor", actor),
        ("Scope", text(&event.scope)),
        ("Time", Value::Int(event.time)),
        ("TimeNano", Value::Int(event.time_nano)),
        ("Status", text(&event.action)),
        ("ID", text(&event.actor.id)),
        ("From", text(&event.from)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_line() {
        let event: EventMessage = serde_json::from_str(
            r#"{"Type":"network","Action":"connect","Actor":{"ID":"abc","Attributes":{"name":"ol1","container":"c"}},
                "scope":"global","time":1714558830,"timeNano":1714558830123456789}"#,
        )
        .expect("an event");
        let expected = "2024-05-01T10:20:30.123456789Z network connect abc (container=c, name=ol1)";
        assert_eq!(line(&event), expected);
        let template = Template::parse("{{.Type}} {{.Actor.Attributes.name}} {{.Time}}").expect("parses");
        let text = template
            .execute(&value(&event), Functions::Values)
            .expect("executes");
        assert_eq!(text, "network ol1 1714558830");
    }
}
