//! Files of a container: `archive`, `export` and `changes`.

use std::sync::Arc;

use api_types::ContainerChange;
use axum::{
    Json,
    extract::{Path, Request, State},
    http::{HeaderValue, StatusCode},
    response::{IntoResponse as _, Response},
};
use engine::{CopyIn, Engine};

use crate::{
    body::BodyReader,
    convert::files as shown,
    params::Params,
    status::{Answer, Refusal},
    stream::bytes,
};

const TAR: &str = "application/x-tar";
const STAT: &str = "X-Docker-Container-Path-Stat";

fn path(params: &Params) -> Answer<&str> {
    let path = params.text("path");
    path.ok_or_else(|| Refusal::bad_request("bad parameter: \"path\" cannot be empty"))
}

fn header(facts: &engine::FileFacts) -> Answer<HeaderValue> {
    let text = shown::header(facts);
    HeaderValue::try_from(text).map_err(|error| Refusal::bad_request(error.to_string()))
}

/// `HEAD /containers/ID/archive`: what is at a path, in a header.
pub(crate) async fn stat(
    State(engine): State<Arc<Engine>>,
    Path(id): Path<String>,
    params: Params,
) -> Answer<Response> {
    let facts = engine.containers.stat_path(&id, path(&params)?).await?;
    let mut response = StatusCode::OK.into_response();
    response.headers_mut().insert(STAT, header(&facts)?);
    Ok(response)
}

/// `GET /containers/ID/archive`: what is at a path, as an archive.
pub(crate) async fn copy_out(
    State(engine): State<Arc<Engine>>,
    Path(id): Path<String>,
    params: Params,
) -> Answer<Response> {
    let (facts, archive) = engine.containers.copy_out(&id, path(&params)?).await?;
    let mut response = bytes(TAR, archive);
    response.headers_mut().insert(STAT, header(&facts)?);
    Ok(response)
}

/// `PUT /containers/ID/archive`: the files of an archive, plain or compressed, into a directory.
pub(crate) async fn copy_in(
    State(engine): State<Arc<Engine>>,
    Path(id): Path<String>,
    params: Params,
    request: Request,
) -> Answer<StatusCode> {
    let to = CopyIn {
        path: path(&params)?.to_owned(),
        keep_kinds: params.flag("noOverwriteDirNonDir"),
        own: params.flag("copyUIDGID"),
    };
    let input = BodyReader::new(request.into_body());
    engine.containers.copy_in(&id, to, input).await?;
    Ok(StatusCode::OK)
}

pub(crate) async fn export(State(engine): State<Arc<Engine>>, Path(id): Path<String>) -> Answer<Response> {
    Ok(bytes(
        "application/octet-stream",
        engine.containers.export(&id).await?,
    ))
}

/// `null` when nothing changed, as Docker has it.
pub(crate) async fn changes(
    State(engine): State<Arc<Engine>>,
    Path(id): Path<String>,
) -> Answer<Json<Option<Vec<ContainerChange>>>> {
    let changes = engine.containers.changes(&id).await?;
    let changes: Vec<_> = changes.iter().map(shown::change).collect();
    Ok(Json(Some(changes).filter(|changes| !changes.is_empty())))
}
