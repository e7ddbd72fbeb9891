//! Containers: the calls with one answer.

use std::sync::Arc;

use api_types::{ContainerInspect, ContainerSummary, ContainersPruned, Create, Created};
use axum::{
    Extension, Json,
    extract::{Path, State},
    http::StatusCode,
};
use engine::{Engine, StopOptions, record::Phase};
use model::Timestamp;

use crate::{
    body::JsonBody,
    convert::{create, filter, inspect as shown, time, versions},
    params::Params,
    status::{Answer, Refusal},
    version::ApiVersion,
};

pub(crate) async fn list(
    State(engine): State<Arc<Engine>>,
    params: Params,
) -> Answer<Json<Vec<ContainerSummary>>> {
    let mut query = filter::containers(&params.filters()?)?;
    query.all = params.flag("all");
    // 0 and -1, which the CLI sends, are no limit.
    query.limit = params
        .number::<i64>("limit")?
        .and_then(|limit| usize::try_from(limit).ok())
        .filter(|limit| *limit > 0);
    // Before or after whom: somebody who must be there.
    for other in [&query.before, &query.since].into_iter().flatten() {
        engine.containers.inspect(other)?;
    }
    let now = Timestamp::now();
    let views = engine.containers.list(&query);
    let mut all: Vec<_> = views.iter().map(|view| shown::summary(view, now)).collect();
    if params.flag("size") {
        for one in &mut all {
            let (written, whole) = sizes(&engine, &one.id).await;
            (one.size_rw, one.size_root_fs) = (written.unwrap_or_default(), whole.unwrap_or_default());
        }
    }
    Ok(Json(all))
}

/// All of them with what they wrote.
pub(super) async fn measured(engine: &Engine) -> Vec<ContainerSummary> {
    let everybody = engine::Query {
        all: true,
        ..engine::Query::default()
    };
    let now = Timestamp::now();
    let mut all = Vec::new();
    for view in engine.containers.list(&everybody) {
        let mut one = shown::summary(&view, now);
        let (written, whole) = sizes(engine, &one.id).await;
        (one.size_rw, one.size_root_fs) = (written.unwrap_or_default(), whole.unwrap_or_default());
        all.push(one);
    }
    all
}

pub(crate) async fn create(
    State(engine): State<Arc<Engine>>,
    Extension(version): Extension<ApiVersion>,
    params: Params,
    JsonBody(request): JsonBody<Create>,
) -> Answer<(StatusCode, Json<Created>)> {
    let request = versions::create(request, version)?;
    let (request, mut warnings) = create::create(params.text("name").map(str::to_owned), request)?;
    warnings.extend(engine::run::discarded(&request.settings.run));
    let view = engine.containers.create(request).await?;
    Ok((
        StatusCode::CREATED,
        Json(Created {
            id: view.record.id.to_string(),
            warnings,
        }),
    ))
}

pub(crate) async fn inspect(
    State(engine): State<Arc<Engine>>,
    Extension(version): Extension<ApiVersion>,
    Path(id): Path<String>,
    params: Params,
) -> Answer<Json<ContainerInspect>> {
    let mut shown = shown::inspect(&engine.containers.inspect(&id)?);
    if params.flag("size") {
        (shown.size_rw, shown.size_root_fs) = sizes(&engine, &shown.id).await;
    }
    Ok(Json(versions::container(shown, version)))
}

/// Bytes written and bytes in all; none of a container that went meanwhile.
async fn sizes(engine: &Engine, id: &str) -> (Option<i64>, Option<i64>) {
    let sizes = engine.containers.sizes(id).await.ok();
    let number = |size: u64| i64::try_from(size).unwrap_or(i64::MAX);
    (
        sizes.map(|(written, _)| number(written)),
        sizes.map(|(_, all)| number(all)),
    )
}

pub(crate) async fn start(State(engine): State<Arc<Engine>>, Path(id): Path<String>) -> Answer<StatusCode> {
    engine.containers.start(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn stop(
    State(engine): State<Arc<Engine>>,
    Extension(version): Extension<ApiVersion>,
    Path(id): Path<String>,
    params: Params,
) -> Answer<StatusCode> {
    engine
        .containers
        .stop(&id, &stop_options(&params, version)?)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn restart(
    State(engine): State<Arc<Engine>>,
    Extension(version): Extension<ApiVersion>,
    Path(id): Path<String>,
    params: Params,
) -> Answer<StatusCode> {
    engine
        .containers
        .restart(&id, &stop_options(&params, version)?)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

fn stop_options(params: &Params, version: ApiVersion) -> Answer<StopOptions> {
    Ok(StopOptions {
        signal: Some(params)
            .filter(|_| version >= ApiVersion(1, 42))
            .and_then(|params| params.text("signal"))
            .map(str::to_owned),
        timeout: params.number("t")?,
    })
}

pub(crate) async fn kill(
    State(engine): State<Arc<Engine>>,
    Path(id): Path<String>,
    params: Params,
) -> Answer<StatusCode> {
    engine
        .containers
        .kill(&id, params.text("signal").unwrap_or("SIGKILL"))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn pause(State(engine): State<Arc<Engine>>, Path(id): Path<String>) -> Answer<StatusCode> {
    engine.containers.pause(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn unpause(State(engine): State<Arc<Engine>>, Path(id): Path<String>) -> Answer<StatusCode> {
    engine.containers.unpause(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn rename(
    State(engine): State<Arc<Engine>>,
    Path(id): Path<String>,
    params: Params,
) -> Answer<StatusCode> {
    let name = params
        .text("name")
        .ok_or_else(|| Refusal::bad_request("Neither old nor new names may be empty"))?;
    engine.containers.rename(&id, name).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn resize(
    State(engine): State<Arc<Engine>>,
    Path(id): Path<String>,
    params: Params,
) -> Answer<StatusCode> {
    let (height, width) = size(&params)?;
    engine.containers.resize(&id, height, width).await?;
    Ok(StatusCode::OK)
}

/// Height and width of a terminal.
pub(crate) fn size(params: &Params) -> Answer<(u16, u16)> {
    Ok((
        params.number("h")?.unwrap_or_default(),
        params.number("w")?.unwrap_or_default(),
    ))
}

pub(crate) async fn remove(
    State(engine): State<Arc<Engine>>,
    Path(id): Path<String>,
    params: Params,
) -> Answer<StatusCode> {
    if params.flag("link") {
        engine.containers.unlink(&id).await?;
        return Ok(StatusCode::NO_CONTENT);
    }
    let force = params.flag("force");
    match params.flag("v") {
        true => engine.containers.remove_with_volumes(&id, force).await?,
        false => engine.containers.remove(&id, force).await?,
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Removes those that don't run. One that started or went meanwhile is passed over.
pub(crate) async fn prune(
    State(engine): State<Arc<Engine>>,
    params: Params,
) -> Answer<Json<ContainersPruned>> {
    let filters = params.filters()?;
    filter::known(&filters, &["label", "label!", "until"])?;
    if filters.get("until").len() > 1 {
        return Err(Refusal::bad_request("more than one until filter specified"));
    }
    let until = filters
        .get("until")
        .first()
        .map_or(Ok(None), |text| time::parse(text, Timestamp::now()))?;
    let without: Vec<_> = filters
        .get("label!")
        .iter()
        .map(|text| filter::label(text))
        .collect();
    let query = engine::Query {
        phases: vec![Phase::Created, Phase::Exited, Phase::Dead],
        labels: filters
            .get("label")
            .iter()
            .map(|text| filter::label(text))
            .collect(),
        ..engine::Query::default()
    };
    let (mut gone, mut bytes) = (Vec::new(), 0);
    for view in engine.containers.list(&query) {
        let labels = &view.record.settings.labels;
        let spared = without.iter().any(|(key, value)| {
            labels
                .get(key)
                .is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
        });
        if spared || until.is_some_and(|until| view.record.created > until) {
            continue;
        }
        let id = view.record.id.to_string();
        let written = engine
            .containers
            .sizes(&id)
            .await
            .map_or(0, |(written, _)| written);
        match engine.containers.remove(&id, false).await {
            Ok(()) => {
                gone.push(id);
                bytes += written;
            }
            Err(error) => {
                tracing::warn!(container = %view.record.name, error = %error, "pruning a container");
            }
        }
    }
    engine.tell_pruned(engine::Subject::Container, bytes);
    Ok(Json(ContainersPruned {
        containers_deleted: Some(gone).filter(|gone| !gone.is_empty()),
        space_reclaimed: bytes,
    }))
}
