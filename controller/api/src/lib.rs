//! The Docker Engine API over HTTP: the only crate that serves it.
//!
//! A handler decodes, converts, calls one method of the engine and encodes. Compatibility oddities (an empty string
//! that means the default, a set written as an object, `null` beside `[]`) are in `convert` and nowhere else, each
//! with its test; what failures become is in `status`.
#![forbid(unsafe_code)]

mod body;
mod convert;
#[cfg(test)]
mod fuzz;
mod hijack;
mod listen;
pub mod metrics;
mod params;
mod routes;
mod status;
mod stream;
mod version;
mod websocket;

use std::{io, sync::Arc};

use axum::{
    Router,
    extract::Request,
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::get,
};
use engine::Engine;

pub use listen::{ListenError, Tcp, TlsError, TlsFiles, listen};
pub use metrics::Metrics;

use crate::status::Refusal;

/// Serves the API on a socket until the future is dropped or `stop` completes. Connections that a client took over
/// (attach, exec) and streams that follow something don't keep it from ending.
///
/// # Errors
/// Those of accepting connections.
pub async fn serve<L>(
    listener: L,
    engine: Arc<Engine>,
    metrics: Arc<Metrics>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()>
where
    L: axum::serve::Listener,
    L::Addr: std::fmt::Debug,
{
    let app = router(engine, metrics);
    tokio::select! {
        served = async { axum::serve(listener, app).await } => served,
        () = stop => Ok(()),
    }
}

/// Every route, behind what all have in common: the version prefix and the headers.
pub fn router(engine: Arc<Engine>, metrics: Arc<Metrics>) -> Router {
    let routes = routes::all()
        .with_state(engine)
        .route("/metrics", get(metrics::scrape).with_state(Arc::clone(&metrics)))
        .route_layer(middleware::from_fn_with_state(metrics, metrics::count));
    // The prefix must go before a route is chosen, so the routes are a service behind the layer.
    Router::new()
        .fallback_service(routes)
        .layer(middleware::from_fn(finish))
        .layer(middleware::from_fn(version::negotiate))
}

/// Runs a handler in a task of its own: a client that leaves ends its connection, and no operation half way.
async fn finish(request: Request, next: Next) -> Response {
    match tokio::spawn(next.run(request)).await {
        Ok(response) => response,
        Err(error) => {
            tracing::error!(error = %error, "a handler failed");
            Refusal::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the request failed in the daemon; its log says why",
            )
            .into_response()
        }
    }
}

#[cfg(test)]
mod tests;
