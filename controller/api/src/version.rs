//! `/v1.43/containers/json`: the version a client speaks, and the headers every answer has.

use api_types::{API_VERSION, MIN_API_VERSION};
use axum::{
    extract::Request,
    http::{HeaderValue, Method, Uri, uri::PathAndQuery},
    middleware::Next,
    response::{IntoResponse as _, Response},
};

use crate::status::Refusal;

/// The version a request was made in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ApiVersion(pub(crate) u16, pub(crate) u16);

impl ApiVersion {
    fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        let digits = |text: &str| {
            text.bytes()
                .all(|digit| digit.is_ascii_digit())
                .then(|| text.parse().ok())?
        };
        Some(Self(digits(major)?, digits(minor)?))
    }

    fn newest() -> Self {
        Self::parse(API_VERSION).expect("our own version is one")
    }

    fn oldest() -> Self {
        Self::parse(MIN_API_VERSION).expect("our own version is one")
    }
}

/// Takes the version off the path, refuses those that aren't spoken, and puts the headers on.
pub(crate) async fn negotiate(mut request: Request, next: Next) -> Response {
    let mut response = match split(request.uri().path()) {
        Ok((version, rest)) => {
            if let Some(uri) = rest.and_then(|rest| with_path(request.uri(), rest)) {
                *request.uri_mut() = uri;
            }
            if let Some(uri) = link_in_one_part(&request) {
                *request.uri_mut() = uri;
            }
            request.extensions_mut().insert(version);
            next.run(request).await
        }
        Err(refusal) => refusal.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert("Api-Version", HeaderValue::from_static(API_VERSION));
    headers.insert("Docker-Experimental", HeaderValue::from_static("false"));
    headers.insert("Ostype", HeaderValue::from_static("linux"));
    headers.insert(
        "Server",
        HeaderValue::from_static(concat!("cnm/", env!("CARGO_PKG_VERSION"), " (linux)")),
    );
    response
}

/// `DELETE /containers/PARENT/ALIAS?link=1` names a link by a path, which must not be taken for another path of the API:
/// an alias may be `json`.
fn link_in_one_part(request: &Request) -> Option<Uri> {
    let name = request
        .uri()
        .path()
        .strip_prefix("/containers/")?
        .trim_matches('/');
    let asked = request.uri().query().unwrap_or_default().split('&');
    let mut flags = asked.filter_map(|part| part.strip_prefix("link="));
    let is_link = flags
        .next_back()
        .is_some_and(|flag| !matches!(flag, "" | "0" | "false"));
    (request.method() == Method::DELETE && is_link && name.contains('/')).then(|| {
        with_path(
            request.uri(),
            &format!("/containers/{}", name.replace('/', "%2F")),
        )
    })?
}

/// The version and the path without it; no path when there was no version.
fn split(path: &str) -> Result<(ApiVersion, Option<&str>), Refusal> {
    let prefix = path
        .strip_prefix("/v")
        .map(|rest| rest.split_at(rest.find('/').unwrap_or(rest.len())));
    let Some((text, rest)) =
        prefix.filter(|(text, _)| text.starts_with(|first: char| first.is_ascii_digit()))
    else {
        return Ok((ApiVersion::newest(), None));
    };
    let Some(version) = ApiVersion::parse(text) else {
        return Err(Refusal::bad_request(format!(
            "invalid API version {text:?}: MAJOR.MINOR is wanted"
        )));
    };
    if version > ApiVersion::newest() {
        return Err(Refusal::bad_request(format!(
            "client version {text} is too new. Maximum supported API version is {API_VERSION}"
        )));
    }
    if version < ApiVersion::oldest() {
        return Err(Refusal::bad_request(format!(
            "client version {text} is too old. Minimum supported API version is {MIN_API_VERSION}, please upgrade your \
             client to a newer version"
        )));
    }
    Ok((version, Some(if rest.is_empty() { "/" } else { rest })))
}

fn with_path(uri: &Uri, path: &str) -> Option<Uri> {
    let text = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(text.parse::<PathAndQuery>().ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_links_name_is_one_part_of_the_path() {
        let rows = [
            (
                "DELETE",
                "/containers/web/json?link=1",
                Some("/containers/web%2Fjson?link=1"),
            ),
            (
                "DELETE",
                "/containers//web/db?v=0&link=true",
                Some("/containers/web%2Fdb?v=0&link=true"),
            ),
            ("DELETE", "/containers/web?link=1", None),
            ("DELETE", "/containers/web/ports", None),
            ("DELETE", "/containers/web/ports?link=0", None),
            ("GET", "/containers/web/json?link=1", None),
        ];
        for (method, uri, expected) in rows {
            let request = Request::builder()
                .method(method)
                .uri(uri)
                .body(axum::body::Body::empty());
            let found = link_in_one_part(&request.expect("a request"));
            assert_eq!(
                found.map(|uri| uri.to_string()).as_deref(),
                expected,
                "{method} {uri}"
            );
        }
    }

    #[test]
    fn the_prefix_is_taken_off_and_no_prefix_is_the_newest() {
        assert_eq!(
            split("/v1.43/_ping").expect("spoken"),
            (ApiVersion(1, 43), Some("/_ping"))
        );
        assert_eq!(
            split("/v1.24/x/y").expect("the oldest"),
            (ApiVersion(1, 24), Some("/x/y"))
        );
        assert_eq!(split("/_ping").expect("none"), (ApiVersion(1, 51), None));
        assert_eq!(
            split("/volumes").expect("no version, though it begins with v"),
            (ApiVersion(1, 51), None)
        );
    }

    #[test]
    fn versions_that_are_not_spoken_are_refused_in_dockers_words() {
        for (path, says) in [
            (
                "/v1.52/_ping",
                "client version 1.52 is too new. Maximum supported API version is 1.51",
            ),
            (
                "/v2.0/_ping",
                "client version 2.0 is too new. Maximum supported API version is 1.51",
            ),
            (
                "/v1.23/_ping",
                "client version 1.23 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version",
            ),
            ("/v1/_ping", "invalid API version \"1\": MAJOR.MINOR is wanted"),
            (
                "/v1.x/_ping",
                "invalid API version \"1.x\": MAJOR.MINOR is wanted",
            ),
        ] {
            assert_eq!(split(path).expect_err(path).message(), says);
        }
    }
}
