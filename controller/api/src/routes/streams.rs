//! Containers: the calls whose answers go on, `wait`, `logs` and `attach`.

use std::sync::Arc;

use api_types::WaitResponse;
use axum::{
    Extension,
    extract::{Path, Request, State, ws::WebSocketUpgrade},
    response::{IntoResponse as _, Response},
};
use engine::{Attach, Engine, LogQuery, WaitCondition};
use futures::stream;
use model::Timestamp;
use tokio_util::io::StreamReader;

use crate::{
    convert::time,
    hijack::{Before, Hijack, Leave, media_type},
    params::Params,
    status::{Answer, Refusal},
    stream::{bytes, json_lines},
    version::ApiVersion,
    websocket,
};

/// `POST /containers/ID/wait`. The headers go out at once: they tell the client that the wait has begun, so that it
/// may start the container.
pub(crate) async fn wait(
    State(engine): State<Arc<Engine>>,
    Path(id): Path<String>,
    params: Params,
) -> Answer<Response> {
    let condition = match params.text("condition").unwrap_or_default() {
        "" | "not-running" => WaitCondition::NotRunning,
        "next-exit" => WaitCondition::NextExit,
        "removed" => WaitCondition::Removed,
        other => return Err(Refusal::bad_request(format!("invalid condition: {other:?}"))),
    };
    let wait = engine.containers.wait(&id, condition)?;
    // Why a start failed is told to who asked for it; here it would be told twice.
    let answer = async move {
        WaitResponse {
            status_code: wait.finish().await,
            error: None,
        }
    };
    Ok(json_lines(stream::once(answer)))
}

pub(crate) async fn logs(
    State(engine): State<Arc<Engine>>,
    Extension(version): Extension<ApiVersion>,
    Path(id): Path<String>,
    params: Params,
) -> Answer<Response> {
    let (query, tty) = log_query(&engine, &id, &params)?;
    let stream = engine.containers.logs(&id, query)?;
    Ok(bytes(media_type(version, tty), stream))
}

fn log_query(engine: &Engine, id: &str, params: &Params) -> Answer<(LogQuery, bool)> {
    let now = Timestamp::now();
    let tty = engine.containers.inspect(id)?.record.settings.tty;
    let moment = |name: &str| time::parse(params.text(name).unwrap_or_default(), now);
    let query = LogQuery {
        stdout: params.flag("stdout"),
        stderr: params.flag("stderr"),
        // Everything that is no number means all.
        tail: params.text("tail").and_then(|text| text.parse().ok()),
        since: moment("since")?,
        until: moment("until")?,
        timestamps: params.flag("timestamps"),
        follow: params.flag("follow"),
        details: params.flag("details"),
        framed: !tty,
    };
    Ok((query, tty))
}

/// `POST /containers/ID/attach`: with `logs` what was written comes first, with `stream` what is written from now on.
pub(crate) async fn attach(
    State(engine): State<Arc<Engine>>,
    Extension(version): Extension<ApiVersion>,
    Path(id): Path<String>,
    params: Params,
    request: Request,
) -> Answer<Response> {
    let tty = engine.containers.inspect(&id)?.record.settings.tty;
    let kind = media_type(version, tty);
    let (stdout, stderr) = (params.flag("stdout"), params.flag("stderr"));
    if !params.flag("stream") {
        let query = LogQuery {
            stdout,
            stderr,
            ..LogQuery::default()
        };
        return Ok(bytes(kind, engine.containers.logs(&id, query)?));
    }
    let before = written(&engine, &id, &params)?;
    let leave = if tty && params.flag("stdin") {
        let (engine, id) = (engine.clone(), id.clone());
        Some(Leave::by(params.text("detachKeys"), move || {
            engine.containers.left(&id);
        })?)
    } else {
        None
    };
    let streams = engine.containers.attach(&id, wanted(&params)).await?;
    Ok(Hijack::of(request)
        .answer(before, streams, kind, leave)
        .into_response())
}

fn wanted(params: &Params) -> Attach {
    Attach {
        stdin: params.flag("stdin"),
        stdout: params.flag("stdout"),
        stderr: params.flag("stderr"),
    }
}

/// What was written before, for who asks: it may be more than there is memory, so it is read as it is sent.
fn written(engine: &Engine, id: &str, params: &Params) -> Answer<Before> {
    if !params.flag("logs") {
        return Ok(Box::new(tokio::io::empty()));
    }
    let query = LogQuery {
        stdout: params.flag("stdout"),
        stderr: params.flag("stderr"),
        // What is written from now on comes by the streams themselves.
        until: Some(Timestamp::now()),
        ..LogQuery::default()
    };
    Ok(Box::new(StreamReader::new(engine.containers.logs(id, query)?)))
}

/// `GET /containers/ID/attach/ws`: the same as messages of a WebSocket, which have no frames of ours.
pub(crate) async fn attach_ws(
    State(engine): State<Arc<Engine>>,
    Extension(version): Extension<ApiVersion>,
    Path(id): Path<String>,
    params: Params,
    socket: WebSocketUpgrade,
) -> Answer<Response> {
    let tty = engine.containers.inspect(&id)?.record.settings.tty;
    let before = written(&engine, &id, &params)?;
    let streams = engine.containers.attach(&id, wanted(&params)).await?;
    // Before 1.28 messages were text.
    let binary = version >= ApiVersion(1, 28);
    Ok(socket.on_upgrade(move |socket| websocket::copy(socket, before, streams, !tty, binary)))
}
