//! The seven calls on networks, and one of our own.

use std::sync::Arc;

use api_types::{
    Connect, Disconnect, Network, NetworkCreate, NetworkCreated, NetworkUpdate, NetworkUpdated,
    NetworksPruned,
};
use axum::{
    Extension, Json,
    extract::{Path, State},
    http::StatusCode,
};
use engine::Engine;
use model::Timestamp;

use crate::{body::JsonBody, convert, params::Params, status::Answer, version::ApiVersion};

pub(crate) async fn list(
    State(engine): State<Arc<Engine>>,
    Extension(version): Extension<ApiVersion>,
    params: Params,
) -> Answer<Json<Vec<Network>>> {
    let filters = params.filters()?;
    let filter = convert::filter::NetworkFilter::new(&filters)?;
    let snapshot = engine.snapshot();
    let in_use = |id| snapshot.endpoints_on(id).next().is_some();
    let networks = engine.networks.list();
    let shown = networks
        .iter()
        .filter(|network| filter.shows(network, in_use(&network.id)));
    // Clients once read from lists who is on a network.
    let row = |network: &model::Network| match version < ApiVersion(1, 28) {
        true => {
            let endpoints: Vec<_> = snapshot.endpoints_on(&network.id).map(Arc::as_ref).collect();
            let node = |id: &model::NodeId| snapshot.nodes.get(id).map(Arc::as_ref);
            convert::network::inspect(network, endpoints.into_iter(), node)
        }
        false => convert::network::summary(network),
    };
    Ok(Json(shown.map(|network| row(network)).collect()))
}

pub(crate) async fn inspect(
    State(engine): State<Arc<Engine>>,
    Path(id): Path<String>,
) -> Answer<Json<Network>> {
    let network = engine.networks.find(&id)?;
    let snapshot = engine.snapshot();
    let endpoints: Vec<_> = snapshot.endpoints_on(&network.id).map(Arc::as_ref).collect();
    let node = |id: &model::NodeId| snapshot.nodes.get(id).map(Arc::as_ref);
    // With the cluster store down a network is shown all the same.
    let pools = engine.networks.utilisation(network.id).await.ok();
    Ok(Json(Network {
        status: pools
            .filter(|pools| !pools.is_empty())
            .map(|pools| convert::network::status(&pools)),
        ..convert::network::inspect(&network, endpoints.into_iter(), node)
    }))
}

/// Ours: changes a network while containers are on it.
pub(crate) async fn update(
    State(engine): State<Arc<Engine>>,
    Path(id): Path<String>,
    params: Params,
    JsonBody(request): JsonBody<NetworkUpdate>,
) -> Answer<Json<NetworkUpdated>> {
    let change = convert::network::change(request)?;
    let changed = engine.networks.update(&id, change, params.flag("dryrun")).await?;
    engine.containers.follow_networks().await;
    Ok(Json(NetworkUpdated {
        id: changed.network.id.to_string(),
        steps: changed.steps,
    }))
}

pub(crate) async fn create(
    State(engine): State<Arc<Engine>>,
    JsonBody(request): JsonBody<NetworkCreate>,
) -> Answer<(StatusCode, Json<NetworkCreated>)> {
    let created = engine.networks.create(convert::network::create(request)?).await?;
    let body = NetworkCreated {
        id: created.id.to_string(),
        warning: created.warning,
    };
    Ok((StatusCode::CREATED, Json(body)))
}

pub(crate) async fn remove(State(engine): State<Arc<Engine>>, Path(id): Path<String>) -> Answer<StatusCode> {
    engine.networks.delete(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn prune(State(engine): State<Arc<Engine>>, params: Params) -> Answer<Json<NetworksPruned>> {
    let filter = convert::filter::prune(&params.filters()?, Timestamp::now())?;
    let gone = engine.networks.prune(filter).await?;
    let names: Vec<_> = gone.iter().map(|network| network.name.to_string()).collect();
    engine.tell_pruned(engine::Subject::Network, 0);
    Ok(Json(NetworksPruned {
        networks_deleted: Some(names).filter(|names| !names.is_empty()),
    }))
}

pub(crate) async fn connect(
    State(engine): State<Arc<Engine>>,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<Connect>,
) -> Answer<StatusCode> {
    let wishes = convert::endpoint::wishes(request.endpoint_config.unwrap_or_default())?;
    engine.containers.connect(&request.container, &id, wishes).await?;
    Ok(StatusCode::OK)
}

pub(crate) async fn disconnect(
    State(engine): State<Arc<Engine>>,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<Disconnect>,
) -> Answer<StatusCode> {
    engine
        .containers
        .disconnect(&request.container, &id, request.force)
        .await?;
    Ok(StatusCode::OK)
}
