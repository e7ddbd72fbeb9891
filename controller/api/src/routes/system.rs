//! `_ping`, `version`, `info`, and lists that are empty so far.

use std::sync::Arc;

use api_types::{BuildPruned, DiskUsage, Info, SystemVersion};
use axum::{
    Extension, Json,
    extract::State,
    http::{HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
};
use engine::{Engine, Query, Subject};

use crate::{
    convert,
    params::Params,
    status::{Answer, Refusal},
    version::ApiVersion,
};

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

pub(crate) async fn info(
    State(engine): State<Arc<Engine>>,
    Extension(version): Extension<ApiVersion>,
) -> Answer<Json<Info>> {
    let containers = engine.containers.list(&Query {
        all: true,
        ..Query::default()
    });
    let images = engine.images.list().await?.len();
    let volumes = engine.volumes.drivers().await;
    let info = convert::system::info(&engine, &containers, images, volumes);
    Ok(Json(convert::versions::info(info, version)))
}

/// How much room everything takes. `type`, which may be repeated, says of what.
pub(crate) async fn disk_usage(
    State(engine): State<Arc<Engine>>,
    Extension(version): Extension<ApiVersion>,
    params: Params,
) -> Answer<Json<DiskUsage>> {
    let kinds = params.all("type");
    let known = ["build-cache", "container", "image", "volume"];
    if let Some(kind) = kinds.iter().find(|kind| !known.contains(&kind.as_str())) {
        return Err(Refusal::bad_request(format!("unknown object type: {kind}")));
    }
    let wanted = |kind: &str| kinds.is_empty() || kinds.iter().any(|asked| asked == kind);
    let mut usage = DiskUsage::default();
    if wanted("image") {
        let images = engine.images.list().await?;
        let layers = engine.images.layer_sizes();
        usage.layers_size = convert::disk::whole(&layers);
        let used_by = |id| engine.images.used_by(id);
        let rows = convert::disk::images(&images, &layers, &used_by).into_iter();
        usage.images = Some(
            rows.map(|row| convert::versions::image_row(row, version))
                .collect(),
        );
    }
    if wanted("container") {
        usage.containers = Some(super::containers::measured(&engine).await);
    }
    if wanted("volume") {
        let volumes = engine.volumes.usage().await?;
        usage.volumes = Some(volumes.iter().map(convert::volume::measured).collect());
    }
    if wanted("build-cache") {
        usage.build_cache = Some(Vec::new());
    }
    usage.builder_size = (version < ApiVersion(1, 42)).then_some(0);
    Ok(Json(usage))
}

/// Ours: stops all containers, as before the host's shutdown.
pub(crate) async fn stop(State(engine): State<Arc<Engine>>) -> StatusCode {
    engine.containers.stop_all().await;
    StatusCode::NO_CONTENT
}

/// Builds leave nothing to prune, which is no failure: `system prune` asks for everything there could be.
pub(crate) async fn prune_build(State(engine): State<Arc<Engine>>) -> Json<BuildPruned> {
    engine.tell_pruned(Subject::Builder, 0);
    Json(BuildPruned::default())
}

pub(crate) async fn plugins() -> Json<[(); 0]> {
    Json([])
}
