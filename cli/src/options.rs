//! Values of flags that have a grammar of their own.

pub(crate) mod blocks;
pub(crate) mod environment;
pub(crate) mod limits;
pub(crate) mod mount;
pub(crate) mod network;
pub(crate) mod pools;
pub(crate) mod ports;
pub(crate) mod reference;
pub(crate) mod security;
pub(crate) mod timestamp;

use api_types::{Filters, Map};

/// `KEY=VALUE`, or `KEY` for an empty value; later ones win.
pub(crate) fn pairs(given: &[String]) -> Map<String> {
    given
        .iter()
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (key.to_owned(), value.to_owned())
        })
        .collect()
}

/// The same where a value is a must, as for driver options.
pub(crate) fn full_pair(text: &str) -> Result<String, String> {
    if text.split_once('=').is_some_and(|(key, _)| !key.is_empty()) {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} is not of the form KEY=VALUE"))
}

/// `-f NAME=VALUE`, checked when parsed.
pub(crate) fn filter(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        }
        _ => Err(format!("invalid filter {text:?}: write NAME=VALUE")),
    }
}

/// All filters given.
pub(crate) fn filters(given: &[(String, String)]) -> Filters {
    let mut filters = Filters::default();
    for (name, value) in given {
        filters.add(name, value);
    }
    filters
}

/// A list that is absent when nothing was given.
pub(crate) fn some_list(given: &[String]) -> Option<Vec<String>> {
    (!given.is_empty()).then(|| given.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_and_filters_are_read() {
        let map = pairs(&["a=1".into(), "b".into(), "c=x=y".into(), "a=2".into()]);
        assert_eq!(format!("{map:?}"), r#"{"a": "2", "b": "", "c": "x=y"}"#);
        assert!(full_pair("a").is_err() && full_pair("=a").is_err() && full_pair("a=").is_ok());
        assert_eq!(filter("Driver = bridge"), Ok(("driver".into(), "bridge".into())));
        assert!(filter("driver").is_err() && filter("=x").is_err());
    }
}
