//! The five calls on volumes.

use std::sync::Arc;

use api_types::{Volume, VolumeCreate, VolumesListed, VolumesPruned};
use axum::{
    Extension, Json,
    extract::{Path, State},
    http::StatusCode,
};
use engine::Engine;

use crate::{
    body::JsonBody, convert::volume as convert, params::Params, status::Answer, version::ApiVersion,
};

pub(crate) async fn list(State(engine): State<Arc<Engine>>, params: Params) -> Answer<Json<VolumesListed>> {
    let query = convert::query(&params.filters()?)?;
    let (volumes, warnings) = engine.volumes.list(&query).await;
    Ok(Json(VolumesListed {
        volumes: volumes.iter().map(convert::volume).collect(),
        warnings: Some(warnings).filter(|warnings| !warnings.is_empty()),
    }))
}

pub(crate) async fn create(
    State(engine): State<Arc<Engine>>,
    JsonBody(request): JsonBody<VolumeCreate>,
) -> Answer<(StatusCode, Json<Volume>)> {
    let view = engine.volumes.create(convert::create(request)?).await?;
    Ok((StatusCode::CREATED, Json(convert::volume(&view))))
}

pub(crate) async fn inspect(
    State(engine): State<Arc<Engine>>,
    Path(name): Path<String>,
) -> Answer<Json<Volume>> {
    Ok(Json(convert::volume(&engine.volumes.inspect(&name).await?)))
}

pub(crate) async fn remove(
    State(engine): State<Arc<Engine>>,
    Path(name): Path<String>,
    params: Params,
) -> Answer<StatusCode> {
    engine.volumes.remove(&name, params.flag("force")).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn prune(
    State(engine): State<Arc<Engine>>,
    Extension(version): Extension<ApiVersion>,
    params: Params,
) -> Answer<Json<VolumesPruned>> {
    let filter = convert::prune(&params.filters()?, version)?;
    let pruned = engine.volumes.prune(&filter).await?;
    engine.tell_pruned(engine::Subject::Volume, pruned.bytes);
    Ok(Json(VolumesPruned {
        volumes_deleted: Some(pruned.names).filter(|names| !names.is_empty()),
        space_reclaimed: pruned.bytes,
    }))
}
