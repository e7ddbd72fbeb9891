//! `?filters=`: a JSON object of lists, or of the older objects of booleans.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Values asked for, by filter name. Values of one name are alternatives; names must all hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "BTreeMap<String, Values>")]
pub struct Filters(BTreeMap<String, Vec<String>>);

#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    List(Vec<String>),
    /// API versions before 1.22, and still what Go's client sends: `{"label": {"a=b": true}}`.
    Set(BTreeMap<String, bool>),
}

impl From<BTreeMap<String, Values>> for Filters {
    fn from(given: BTreeMap<String, Values>) -> Self {
        let list = |values| match values {
            Values::List(list) => list,
            Values::Set(set) => set
                .into_iter()
                .filter(|(_, on)| *on)
                .map(|(value, _)| value)
                .collect(),
        };
        Self(
            given
                .into_iter()
                .map(|(name, values)| (name, list(values)))
                .collect(),
        )
    }
}

impl Filters {
    /// Reads the query parameter; an empty one filters nothing.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        if text.is_empty() {
            Ok(Self::default())
        } else {
            serde_json::from_str(text)
        }
    }

    /// Adds a value.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.add(name, value);
        self
    }

    /// Adds a value.
    pub fn add(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.entry(name.into()).or_default().push(value.into());
    }

    /// The values of one filter; none when it was not given.
    pub fn get(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether a filter was given.
    pub fn has(&self, name: &str) -> bool {
        !self.get(name).is_empty()
    }

    /// The names of the filters given.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Whether nothing is filtered.
    pub fn is_empty(&self) -> bool {
        self.0.values().all(Vec::is_empty)
    }

    /// The query parameter's text.
    pub fn to_json(&self) -> String {
        serde_json::to_string(&self.0).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_sets_read_the_same() {
        let wanted = Filters::default().with("label", "a=b").with("driver", "bridge");
        for text in [
            r#"{"label":["a=b"],"driver":["bridge"]}"#,
            r#"{"label":{"a=b":true,"c":false},"driver":{"bridge":true}}"#,
        ] {
            assert_eq!(Filters::parse(text).expect("filters"), wanted, "{text}");
        }
        assert!(Filters::parse("").expect("no filters").is_empty());
        assert!(Filters::parse("[]").is_err() && Filters::parse(r#"{"a":"b"}"#).is_err());
    }
}
