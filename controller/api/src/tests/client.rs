//! A client in one process with the server: a request in, status and JSON out.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderMap, Method, Request, header},
};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

use super::bench::{Bench, import};
use crate::metrics::{Metrics, Seen, World};

/// A server with the image `busybox`.
pub(super) struct Client {
    app: Router,
    /// Goes with the client.
    _bench: Bench,
}

/// Nothing outside the records.
#[derive(Debug)]
pub(super) struct NoWorld;

impl World for NoWorld {
    fn look(&self) -> futures::future::BoxFuture<'_, Seen> {
        Box::pin(async { Seen::default() })
    }
}

/// What came back.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Reply {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    /// The text of an error.
    pub(super) fn message(&self) -> String {
        self.json()["message"]
            .as_str()
            .expect("errors have a message")
            .to_owned()
    }
}

impl Client {
    pub(super) async fn new() -> Self {
        let bench = Bench::new();
        let engine = bench.start().await;
        import(&engine, "busybox").await;
        Self {
            app: crate::router(engine.clone(), Metrics::new(engine, Arc::new(NoWorld))),
            _bench: bench,
        }
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Reply {
        let response = self
            .app
            .clone()
            .oneshot(request)
            .await
            .expect("a router does not fail");
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        Reply {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
        }
    }

    /// Sends a request, and leaves as soon as the server has begun with it.
    pub(super) async fn send_and_leave(&self, request: Request<Body>) {
        let mut answer = Box::pin(self.app.clone().oneshot(request));
        assert!(
            futures::poll!(&mut answer).is_pending(),
            "the server has not answered yet"
        );
    }

    pub(super) async fn get(&self, path: &str) -> Reply {
        self.send(Request::get(path).body(Body::empty()).expect("a request"))
            .await
    }

    pub(super) async fn delete(&self, path: &str) -> Reply {
        self.send(Request::delete(path).body(Body::empty()).expect("a request"))
            .await
    }

    /// Posts JSON; `null` posts nothing.
    pub(super) async fn post(&self, path: &str, json: Value) -> Reply {
        let request = Request::builder().method(Method::POST).uri(path);
        let request = if json.is_null() {
            request.body(Body::empty())
        } else {
            request
                .header(header::CONTENT_TYPE, "application/json")
                .body(Body::from(json.to_string()))
        };
        self.send(request.expect("a request")).await
    }

    /// Makes a container of `busybox`.
    pub(super) async fn create(&self, name: &str, mut config: Value) -> String {
        config["Image"] = "busybox".into();
        let reply = self
            .post(&format!("/containers/create?name={name}"), config)
            .await;
        assert_eq!(reply.status, 201, "{:?}", reply.body);
        reply.json()["Id"].as_str().expect("an id").to_owned()
    }
}
