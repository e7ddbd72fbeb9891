//! `_ping`, `version`, `info`, and lists that are empty so far.

use std::sync::Arc;

use api_types::{BuildPruned, Info, SystemVersion};
use axum::{
    Json,
    extract::State,
    http::{HeaderName, header},
    response::{IntoResponse, Response},
};
use engine::{Engine, Query};

use crate::{convert, status::Answer};

/// `GET` and `HEAD /_ping`. `Builder-Version: 1` keeps clients from asking for BuildKit; the server answers `HEAD`
/// with these headers and no body.
pub(crate) async fn ping() -> Response {
    let headers = [
        (HeaderName::from_static("builder-version"), "1"),
        (HeaderName::from_static("swarm"), "inactive"),
        (header::CACHE_CONTROL, "no-cache, no-store, must-revalidate"),
        (header::PRAGMA, "no-cache"),
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
    ];
    (headers, "OK").into_response()
}

pub(crate) async fn version(State(engine): State<Arc<Engine>>) -> Json<SystemVersion> {
    Json(convert::system::version(&engine))
}

pub(crate) async fn info(State(engine): State<Arc<Engine>>) -> Answer<Json<Info>> {
    let containers = engine.containers.list(&Query {
        all: true,
        ..Query::default()
    });
    let images = engine.images.list().await?.len();
    Ok(Json(convert::system::info(&engine, &containers, images)))
}

/// Builds leave nothing to prune, which is no failure: `system prune` asks for everything there could be.
pub(crate) async fn prune_build() -> Json<BuildPruned> {
    Json(BuildPruned::default())
}

pub(crate) async fn plugins() -> Json<[(); 0]> {
    Json([])
}
