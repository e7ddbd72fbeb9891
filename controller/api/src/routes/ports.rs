//! Ours: ports published and given back while a container runs.
//!
//! `POST /containers/ID/ports` and `DELETE /containers/ID/ports` both take `{"PortBindings": {…}}` as a creation's
//! `HostConfig` has it, and both answer 200 with `{"Ports": {…}}`, the ports as `inspect` shows them then. Of a stopped
//! container only what it is to publish is changed, and `Ports` is empty. In a `DELETE` an empty `HostIp` or `HostPort` is
//! any, an empty list every binding of the container's port; one that leads to nothing is 404 and changes nothing.

use std::sync::Arc;

use api_types::{PortsChange, PortsChanged};
use axum::{
    Json,
    extract::{Path, State},
};
use engine::Engine;
use model::PortBinding;

use crate::{
    body::JsonBody,
    convert::ports,
    status::{Answer, Refusal},
};

pub(crate) async fn publish(
    State(engine): State<Arc<Engine>>,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<PortsChange>,
) -> Answer<Json<PortsChanged>> {
    let view = engine.containers.publish(&id, bindings(&request)?).await?;
    Ok(Json(PortsChanged {
        ports: ports::shown(&view),
    }))
}

pub(crate) async fn unpublish(
    State(engine): State<Arc<Engine>>,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<PortsChange>,
) -> Answer<Json<PortsChanged>> {
    let view = engine.containers.unpublish(&id, &bindings(&request)?).await?;
    Ok(Json(PortsChanged {
        ports: ports::shown(&view),
    }))
}

fn bindings(request: &PortsChange) -> Answer<Vec<PortBinding>> {
    if request.port_bindings.is_empty() {
        return Err(Refusal::bad_request(
            "no ports given (hint: \"PortBindings\" has them, as {\"80/tcp\": [{\"HostPort\": \"8080\"}]})",
        ));
    }
    ports::bindings(&request.port_bindings)
}
