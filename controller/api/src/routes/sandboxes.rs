//! Ours: interfaces in namespaces that somebody else made, for runtimes that are not this engine.
//!
//! `POST /sandboxes/attach`, `/sandboxes/detach` and `/sandboxes/retain` are what a CNI plugin's ADD, DEL and GC come to;
//! `GET /sandboxes`, `GET` and `DELETE /sandboxes/ID` are for people. `ID` is an id, the manager's key, or the beginning
//! of either. `GET` of one looks into the namespace: `Observed` says what is there and what is missing.

use std::sync::Arc;

use api_types::{
    Sandbox, SandboxAttach, SandboxAttached, SandboxDetach, SandboxDetached, SandboxInterface,
    SandboxReadiness, SandboxRetain, SandboxRetained,
};
use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use engine::{Engine, Readiness};

use crate::{
    body::JsonBody,
    convert::sandbox,
    params::Params,
    status::{Answer, Refusal},
};

pub(crate) async fn attach(
    State(engine): State<Arc<Engine>>,
    JsonBody(request): JsonBody<SandboxAttach>,
) -> Answer<Json<SandboxAttached>> {
    let made = engine.attach(sandbox::attach(request)?).await?;
    Ok(Json(sandbox::attached(&made)))
}

pub(crate) async fn detach(
    State(engine): State<Arc<Engine>>,
    JsonBody(request): JsonBody<SandboxDetach>,
) -> Answer<Json<SandboxDetached>> {
    let named = sandbox::interface(&request.interface)?;
    let interface = named.ok_or_else(|| Refusal::bad_request("no interface given"))?;
    let (manager, key, group) = (&request.manager, &request.key, &request.group);
    let detached = engine.foreign.detach(manager, key, &interface, group).await?;
    Ok(Json(SandboxDetached { detached }))
}

pub(crate) async fn retain(
    State(engine): State<Arc<Engine>>,
    JsonBody(request): JsonBody<SandboxRetain>,
) -> Answer<Json<SandboxRetained>> {
    let valid = request.valid.into_iter().map(|one| (one.key, one.interface));
    let valid: Vec<_> = valid.collect();
    let gone = engine
        .foreign
        .retain(&request.manager, &request.group, &valid)
        .await?;
    let gone = gone.into_iter().map(|(key, interface)| SandboxInterface {
        key,
        interface: interface.to_string(),
    });
    Ok(Json(SandboxRetained {
        detached: gone.collect(),
    }))
}

pub(crate) async fn list(State(engine): State<Arc<Engine>>) -> Json<Vec<Sandbox>> {
    Json(engine.foreign.list().iter().map(sandbox::summary).collect())
}

pub(crate) async fn ready(
    State(engine): State<Arc<Engine>>,
    params: Params,
) -> Answer<Json<SandboxReadiness>> {
    let network = params.text("network").unwrap_or_default();
    let readiness = engine.foreign.ready(network)?;
    Ok(Json(match readiness {
        Readiness::Ready => SandboxReadiness {
            ready: true,
            ..SandboxReadiness::default()
        },
        Readiness::NotNow { limited, reason } => SandboxReadiness {
            ready: false,
            limited,
            reason,
        },
    }))
}

pub(crate) async fn inspect(
    State(engine): State<Arc<Engine>>,
    Path(id): Path<String>,
) -> Answer<Json<Sandbox>> {
    let found = engine.foreign.find(&id)?;
    let seen = engine.foreign.observe(&found).await?;
    Ok(Json(Sandbox {
        observed: Some(sandbox::observed(&seen)),
        ..sandbox::summary(&found)
    }))
}

pub(crate) async fn remove(State(engine): State<Arc<Engine>>, Path(id): Path<String>) -> Answer<StatusCode> {
    let found = engine.foreign.find(&id)?;
    engine.foreign.remove(found.sandbox.id).await?;
    Ok(StatusCode::NO_CONTENT)
}
