//! Query parameters as Docker reads them: any text but a few is true, an empty number is none.

use std::collections::BTreeMap;

use api_types::Filters;
use axum::{
    extract::{FromRequestParts, Query},
    http::request::Parts,
};

use crate::status::Refusal;

/// The query parameters of a request.
#[derive(Debug, Default)]
pub(crate) struct Params(BTreeMap<String, Vec<String>>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let pairs = Query::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        let Query(pairs) = pairs.map_err(|error| Refusal::bad_request(format!("invalid query: {error}")))?;
        let mut params = Self::default();
        for (name, value) in pairs {
            params.0.entry(name).or_default().push(value);
        }
        Ok(params)
    }
}

impl Params {
    /// One parameter; an empty one counts as none.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .and_then(|values| values.first())
            .map(String::as_str)
            .filter(|text| !text.is_empty())
    }

    /// Every value of a parameter.
    pub(crate) fn all(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// A yes or no, where everything that isn't a no is a yes.
    pub(crate) fn flag(&self, name: &str) -> bool {
        let text = self.text(name).unwrap_or_default().trim().to_ascii_lowercase();
        !matches!(text.as_str(), "" | "0" | "no" | "false" | "none")
    }

    /// A number.
    pub(crate) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Refusal> {
        let parse = |text: &str| {
            text.parse().map_err(|_| {
                Refusal::bad_request(format!("invalid value for {name:?}: {text:?} is no number"))
            })
        };
        self.text(name).map(parse).transpose()
    }

    /// The filters.
    pub(crate) fn filters(&self) -> Result<Filters, Refusal> {
        Filters::parse(self.text("filters").unwrap_or_default())
            .map_err(|error| Refusal::bad_request(format!("invalid filter: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(pairs: &[(&str, &str)]) -> Params {
        let pairs = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), vec![(*value).to_owned()]));
        Params(pairs.collect())
    }

    #[test]
    fn any_text_but_a_few_is_true() {
        for (text, wanted) in [
            ("1", true),
            ("true", true),
            ("yes", true),
            ("", false),
            ("0", false),
            ("False", false),
            ("no", false),
            ("none", false),
        ] {
            assert_eq!(params(&[("all", text)]).flag("all"), wanted, "{text:?}");
        }
        assert!(!params(&[]).flag("all"));
    }

    #[test]
    fn an_empty_number_is_none_and_a_word_is_refused() {
        assert_eq!(params(&[("t", "")]).number::<i64>("t").expect("none"), None);
        assert_eq!(
            params(&[("t", "-1")]).number::<i64>("t").expect("a number"),
            Some(-1)
        );
        assert!(params(&[("t", "soon")]).number::<i64>("t").is_err());
    }
}
