//! `--metrics-addr`: the metrics alone on a TCP address, for a Prometheus that can't reach our socket.

use std::{io, sync::Arc};

use axum::{Router, routing::get};
use tokio::net::TcpListener;

use super::{Metrics, scrape};

/// Serves `GET /metrics` and nothing else until `stop` completes.
///
/// # Errors
/// Those of accepting connections.
pub async fn serve_metrics(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let app = Router::new().route("/metrics", get(scrape)).with_state(metrics);
    tokio::select! {
        served = async { axum::serve(listener, app).await } => served,
        () = stop => Ok(()),
    }
}
