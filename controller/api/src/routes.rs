//! Every path with its handler. A handler decodes, converts, calls one method and encodes.

mod auth;
mod containers;
mod events;
mod exec;
mod files;
mod images;
mod networks;
mod ports;
mod sandboxes;
mod streams;
mod system;
mod usage;
mod volumes;

use std::sync::Arc;

use axum::{
    Router,
    http::StatusCode,
    routing::{delete, get, post},
};
use engine::Engine;

use crate::status::Refusal;

/// The routes, not knowing of versions.
pub(crate) fn all() -> Router<Arc<Engine>> {
    Router::new()
        .merge(system_routes())
        .merge(network_routes())
        .merge(container_routes())
        .merge(sandbox_routes())
        .merge(volume_routes())
        .merge(image_routes())
        .merge(later_routes())
        .fallback(not_found)
        .method_not_allowed_fallback(not_found)
}

fn system_routes() -> Router<Arc<Engine>> {
    Router::new()
        .route("/_ping", get(system::ping).head(system::ping))
        .route("/version", get(system::version))
        .route("/info", get(system::info))
        .route("/events", get(events::follow))
        .route("/system/df", get(system::disk_usage))
        .route("/system/stop", post(system::stop))
        .route("/auth", post(auth::login))
        .route("/build/prune", post(system::prune_build))
        .route("/plugins", get(system::plugins))
}

fn network_routes() -> Router<Arc<Engine>> {
    Router::new()
        .route("/networks", get(networks::list))
        .route("/networks/", get(networks::list))
        .route("/networks/create", post(networks::create))
        .route("/networks/prune", post(networks::prune))
        .route("/networks/{id}", get(networks::inspect).delete(networks::remove))
        .route("/networks/{id}/connect", post(networks::connect))
        .route("/networks/{id}/disconnect", post(networks::disconnect))
        .route("/networks/{id}/update", post(networks::update))
}

fn container_routes() -> Router<Arc<Engine>> {
    Router::new()
        .route("/containers/json", get(containers::list))
        .route("/containers/create", post(containers::create))
        .route("/containers/prune", post(containers::prune))
        .route("/containers/{id}", delete(containers::remove))
        .route("/containers/{id}/json", get(containers::inspect))
        .route("/containers/{id}/start", post(containers::start))
        .route("/containers/{id}/stop", post(containers::stop))
        .route("/containers/{id}/restart", post(containers::restart))
        .route("/containers/{id}/kill", post(containers::kill))
        .route("/containers/{id}/pause", post(containers::pause))
        .route("/containers/{id}/unpause", post(containers::unpause))
        .route("/containers/{id}/rename", post(containers::rename))
        .route("/containers/{id}/resize", post(containers::resize))
        .route(
            "/containers/{id}/ports",
            post(ports::publish).delete(ports::unpublish),
        )
        .route("/containers/{id}/wait", post(streams::wait))
        .route("/containers/{id}/logs", get(streams::logs))
        .route("/containers/{id}/attach", post(streams::attach))
        .route("/containers/{id}/attach/ws", get(streams::attach_ws))
        .route("/containers/{id}/top", get(usage::top))
        .route("/containers/{id}/stats", get(usage::stats))
        .route("/containers/{id}/update", post(usage::update))
        .route("/containers/{id}/changes", get(files::changes))
        .route("/containers/{id}/export", get(files::export))
        .route(
            "/containers/{id}/archive",
            get(files::copy_out).head(files::stat).put(files::copy_in),
        )
        .route("/containers/{id}/exec", post(exec::create))
        .route("/exec/{id}/start", post(exec::start))
        .route("/exec/{id}/resize", post(exec::resize))
        .route("/exec/{id}/json", get(exec::inspect))
}

fn sandbox_routes() -> Router<Arc<Engine>> {
    Router::new()
        .route("/sandboxes", get(sandboxes::list))
        .route("/sandboxes/ready", get(sandboxes::ready))
        .route("/sandboxes/attach", post(sandboxes::attach))
        .route("/sandboxes/detach", post(sandboxes::detach))
        .route("/sandboxes/retain", post(sandboxes::retain))
        .route(
            "/sandboxes/{id}",
            get(sandboxes::inspect).delete(sandboxes::remove),
        )
}

fn volume_routes() -> Router<Arc<Engine>> {
    Router::new()
        .route("/volumes", get(volumes::list))
        .route("/volumes/create", post(volumes::create))
        .route("/volumes/prune", post(volumes::prune))
        .route(
            "/volumes/{name}",
            get(volumes::inspect).delete(volumes::remove).put(no_swarm),
        )
}

fn image_routes() -> Router<Arc<Engine>> {
    Router::new()
        .route("/images/json", get(images::list))
        .route("/images/load", post(images::load))
        .route("/images/create", post(images::create))
        // Names of images have slashes in them, so what is asked stands behind the name.
        .route(
            "/images/{*rest}",
            get(images::get).post(images::post).delete(images::remove),
        )
}

/// What Docker has and this engine doesn't yet: a sentence is better than "page not found".
fn later_routes() -> Router<Arc<Engine>> {
    let mut router = Router::new();
    for (path, what) in [
        ("/build", "building images is"),
        ("/session", "building images with BuildKit is"),
        ("/grpc", "building images with BuildKit is"),
        ("/commit", "committing containers is"),
        ("/distribution/{*rest}", "asking a registry about an image is"),
        ("/plugins/{*rest}", "installing plugins is"),
        (
            "/containers/{id}/checkpoints",
            "keeping what a container has in memory is",
        ),
        (
            "/containers/{id}/checkpoints/{name}",
            "keeping what a container has in memory is",
        ),
        ("/build/cancel", "building images is"),
    ] {
        let answer = move || async move { Refusal::not_implemented(format!("{what} not supported yet")) };
        router = router.route(path, axum::routing::any(answer));
    }
    router = router.route("/swarm/leave", axum::routing::any(no_part_of_a_swarm));
    for path in [
        "/swarm",
        "/swarm/{*rest}",
        "/nodes",
        "/nodes/{*rest}",
        "/services",
        "/services/{*rest}",
        "/tasks",
        "/tasks/{*rest}",
        "/secrets",
        "/secrets/{*rest}",
        "/configs",
        "/configs/{*rest}",
    ] {
        router = router.route(path, axum::routing::any(no_swarm));
    }
    router
}

async fn not_found() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "page not found")
}

async fn no_swarm() -> Refusal {
    Refusal::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to \
         swarm and try again. (hint: there is none here; overlay networks work without, with a cluster store)",
    )
}

async fn no_part_of_a_swarm() -> Refusal {
    Refusal::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "This node is not part of a swarm",
    )
}
