//! Requests, counted as they are answered.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};

use super::{Metrics, Row};

/// How many requests there were, by method, route and status.
#[derive(Debug, Default)]
pub(super) struct Requests(Mutex<BTreeMap<(String, String, u16), u64>>);

impl Requests {
    fn add(&self, method: &str, route: &str, status: u16) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts
            .entry((method.to_owned(), route.to_owned(), status))
            .or_default() += 1;
    }

    /// Their row.
    pub(super) fn row(&self) -> Row {
        let mut row = Row::counter("api_requests", "Requests answered by the API");
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for ((method, route, status), count) in counts.iter() {
            row.add(
                [
                    ("method", method.clone()),
                    ("route", route.clone()),
                    ("code", status.to_string()),
                ],
                *count,
            );
        }
        row
    }
}

/// Counts a request under its route, never under its path: there are as many paths as containers.
pub(crate) async fn count(
    State(metrics): State<Arc<Metrics>>,
    route: MatchedPath,
    request: Request,
    next: Next,
) -> Response {
    let method = request.method().clone();
    let response = next.run(request).await;
    metrics
        .requests
        .add(method.as_str(), route.as_str(), response.status().as_u16());
    response
}
