//! `top`, `stats` and `update`: what a container uses and may use.

use std::{sync::Arc, time::Duration};

use api_types::{HostConfig, Stats, TopResponse, UpdateResponse};
use axum::{
    Extension, Json,
    extract::{Path, State},
    response::{IntoResponse as _, Response},
};
use engine::{Engine, Sample, Update};
use futures::{Stream, stream};
use tokio::time::Instant;

use crate::{
    body::JsonBody,
    convert::{host_config, stats as shown},
    params::Params,
    status::Answer,
    stream::json_lines,
    version::ApiVersion,
};

/// How often a stream tells.
const PERIOD: Duration = Duration::from_secs(1);

pub(crate) async fn top(
    State(engine): State<Arc<Engine>>,
    Path(id): Path<String>,
    params: Params,
) -> Answer<Json<TopResponse>> {
    let arguments = params.text("ps_args").unwrap_or_default();
    let found = engine.containers.processes(&id, arguments).await?;
    Ok(Json(TopResponse {
        titles: found.titles,
        processes: found.rows,
    }))
}

/// `GET /containers/ID/stats`: each second, or once. Once is two samples, so that percentages can be counted, unless
/// `one-shot` says that one will do.
pub(crate) async fn stats(
    State(engine): State<Arc<Engine>>,
    Extension(version): Extension<ApiVersion>,
    Path(id): Path<String>,
    params: Params,
) -> Answer<Response> {
    let first = engine.containers.sample(&id).await?;
    // Docker's default is to stream.
    let streams = params.text("stream").is_none() || params.flag("stream");
    if streams {
        return Ok(json_lines(follow(engine, first)));
    }
    let one_shot = params.flag("one-shot") && version >= ApiVersion(1, 41);
    if one_shot || first.used.is_none() {
        return Ok(Json(shown::stats(&first, None)).into_response());
    }
    tokio::time::sleep(PERIOD).await;
    let second = engine.containers.sample(&id).await?;
    Ok(Json(shown::stats(&second, Some(&first))).into_response())
}

/// Ends when the container is gone.
fn follow(engine: Arc<Engine>, first: Sample) -> impl Stream<Item = Stats> + Send {
    let id = first.id.to_string();
    let message = shown::stats(&first, None);
    let rest = stream::unfold((engine, id, first, Instant::now() + PERIOD), async |state| {
        let (engine, id, before, at) = state;
        tokio::time::sleep_until(at).await;
        let sample = engine.containers.sample(&id).await.ok()?;
        let message = shown::stats(&sample, Some(&before));
        Some((
            message,
            (engine, id, sample, at.max(Instant::now() - PERIOD) + PERIOD),
        ))
    });
    futures::StreamExt::chain(stream::iter([message]), rest)
}

pub(crate) async fn update(
    State(engine): State<Arc<Engine>>,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<HostConfig>,
) -> Answer<Json<UpdateResponse>> {
    let update = Update {
        resources: host_config::changed_resources(&request)?,
        restart: if request.restart_policy.name.is_empty() {
            None
        } else {
            Some(host_config::restart(&request)?)
        },
    };
    engine.containers.update(&id, update).await?;
    Ok(Json(UpdateResponse::default()))
}
