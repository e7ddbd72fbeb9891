//! Query strings.

use std::fmt;

use api_types::Filters;

/// The part of a request's target from the question mark on; printing it gives it escaped.
#[derive(Debug, Default, Clone)]
pub(crate) struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Without parameters.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a parameter.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.pairs.push((name.to_owned(), value.into()));
        self
    }

    /// Adds a parameter that is there.
    #[must_use]
    pub(crate) fn with_some(self, name: &str, value: Option<impl Into<String>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Adds `name=1` for a fact that holds.
    #[must_use]
    pub(crate) fn with_flag(self, name: &str, holds: bool) -> Self {
        if holds { self.with(name, "1") } else { self }
    }

    /// Adds filters, if there are any.
    #[must_use]
    pub(crate) fn with_filters(self, filters: &Filters) -> Self {
        if filters.is_empty() {
            self
        } else {
            self.with("filters", filters.to_json())
        }
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, value)) in self.pairs.iter().enumerate() {
            let separator = if index == 0 { '?' } else { '&' };
            write!(f, "{separator}{}={}", escape(name), escape(value))?;
        }
        Ok(())
    }
}

/// Percent-encodes all but the unreserved characters of RFC 3986.
pub(crate) fn escape(text: &str) -> String {
    escape_but(text, b"")
}

/// The same for a name inside a path; image names have slashes and colons that mean what they say.
pub(crate) fn escape_path(text: &str) -> String {
    escape_but(text, b"/:@")
}

fn escape_but(text: &str, kept: &[u8]) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || kept.contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_end_a_parameter_is_escaped() {
        let query = Query::new()
            .with("t", "3")
            .with_some("signal", None::<String>)
            .with_flag("force", true)
            .with_flag("v", false)
            .with("name", "a&b=c d/é")
            .with_filters(&Filters::default())
            .with_filters(&Filters::default().with("label", "x"));
        let expected = "?t=3&force=1&name=a%26b%3Dc%20d%2F%C3%A9&filters=%7B%22label%22%3A%5B%22x%22%5D%7D";
        assert_eq!(query.to_string(), expected);
        assert_eq!(Query::new().to_string(), "");
        assert_eq!(
            escape_path("reg:5000/a b@sha256:1?"),
            "reg:5000/a%20b@sha256:1%3F"
        );
    }
}
