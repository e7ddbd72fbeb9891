//! Further processes in a running container.

use std::sync::Arc;

use api_types::{ExecCreate, ExecCreated, ExecInspect, ExecStart, ProcessConfig};
use axum::{
    Extension, Json,
    extract::{Path, Request, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use engine::{CreateExec, Engine, Error, ExecView, Streams, run::ExecConfig};

use super::containers::size;
use crate::{
    body::{JsonBody, read_json},
    convert::host_config::console_size,
    hijack::{Hijack, Leave, media_type, upgrade},
    params::Params,
    status::Answer,
    version::ApiVersion,
};

pub(crate) async fn create(
    State(engine): State<Arc<Engine>>,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<ExecCreate>,
) -> Answer<(StatusCode, Json<ExecCreated>)> {
    let asked = CreateExec {
        config: ExecConfig {
            cmd: request.cmd.unwrap_or_default().0,
            env: request.env.unwrap_or_default(),
            user: request.user,
            working_dir: request.working_dir,
            tty: request.tty,
            privileged: request.privileged,
        },
        stdin: request.attach_stdin,
        stdout: request.attach_stdout,
        stderr: request.attach_stderr,
        detach_keys: request.detach_keys,
    };
    let id = engine.containers.create_exec(&id, asked)?;
    Ok((StatusCode::CREATED, Json(ExecCreated { id })))
}

/// `POST /exec/ID/start`. Its body is JSON, so the client's input comes only over an upgraded connection.
pub(crate) async fn start(
    State(engine): State<Arc<Engine>>,
    Extension(version): Extension<ApiVersion>,
    Path(id): Path<String>,
    mut request: Request,
) -> Answer<Response> {
    let upgrade = upgrade(&mut request);
    let (parts, body) = request.into_parts();
    let asked: ExecStart = read_json(&parts.headers, body).await?;
    let size = asked.console_size.and_then(console_size);
    let exec = engine.containers.inspect_exec(&id).await?;
    let tty = exec.asked.config.tty;
    let keys = Some(exec.asked.detach_keys.as_str()).filter(|keys| !keys.is_empty());
    let leave = if tty { Some(Leave::by(keys, || {})?) } else { None };
    let kind = media_type(version, tty);
    let hijack = Hijack::without_body(upgrade);
    if asked.detach {
        engine.containers.start_exec(&id, false, size).await?;
        return Ok(StatusCode::OK.into_response());
    }
    let starting = async move {
        let started = engine.containers.start_exec(&id, true, size).await;
        let started = started.and_then(|streams| match streams {
            Some(streams) => Ok(streams),
            None => Streams::ended().map_err(Error::internal("making streams")),
        });
        // Attached clients read the reason as the command's output, and its exit status from `inspect`.
        started.map_err(|error| format!("{error}\r\n"))
    };
    Ok(hijack.start(tty, kind, leave, starting).await)
}

pub(crate) async fn resize(
    State(engine): State<Arc<Engine>>,
    Path(id): Path<String>,
    params: Params,
) -> Answer<StatusCode> {
    let (height, width) = size(&params)?;
    engine.containers.resize_exec(&id, height, width).await?;
    Ok(StatusCode::OK)
}

pub(crate) async fn inspect(
    State(engine): State<Arc<Engine>>,
    Path(id): Path<String>,
) -> Answer<Json<ExecInspect>> {
    Ok(Json(shown(engine.containers.inspect_exec(&id).await?)))
}

fn shown(view: ExecView) -> ExecInspect {
    let config = view.asked.config;
    let mut words = config.cmd.into_iter();
    ExecInspect {
        id: view.id,
        running: view.running,
        exit_code: view.exit_code,
        process_config: ProcessConfig {
            tty: config.tty,
            entrypoint: words.next().unwrap_or_default(),
            arguments: words.collect(),
            privileged: config.privileged,
            user: config.user,
        },
        open_stdin: view.asked.stdin,
        open_stderr: view.asked.stderr,
        open_stdout: view.asked.stdout,
        can_remove: false,
        container_id: view.container.to_string(),
        detach_keys: view.asked.detach_keys,
        pid: view.pid.map_or(0, i64::from),
    }
}
