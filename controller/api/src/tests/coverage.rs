//! Every route of the Engine API, 1.24 to 1.51, asked of the router; what it answers is `COVERAGE.md`.
//!
//! `UPDATE_COVERAGE=1 cargo nextest run -p api coverage` writes the file anew.

use std::{fmt::Write as _, path::Path};

use axum::{body::Body, http::Request};

use super::client::Client;

/// Method, path, since which version; a path's names are filled in when it is asked. All of them are still there in 1.51.
type Route = (&'static str, &'static str, &'static str);

const ROUTES: &[(&str, &[Route])] = &[
    (
        "Containers",
        &[
            ("GET", "/containers/json", "1.24"),
            ("POST", "/containers/create", "1.24"),
            ("GET", "/containers/{id}/json", "1.24"),
            ("GET", "/containers/{id}/top", "1.24"),
            ("GET", "/containers/{id}/logs", "1.24"),
            ("GET", "/containers/{id}/changes", "1.24"),
            ("GET", "/containers/{id}/export", "1.24"),
            ("GET", "/containers/{id}/stats", "1.24"),
            ("POST", "/containers/{id}/resize", "1.24"),
            ("POST", "/containers/{id}/start", "1.24"),
            ("POST", "/containers/{id}/stop", "1.24"),
            ("POST", "/containers/{id}/restart", "1.24"),
            ("POST", "/containers/{id}/kill", "1.24"),
            ("POST", "/containers/{id}/update", "1.24"),
            ("POST", "/containers/{id}/rename", "1.24"),
            ("POST", "/containers/{id}/pause", "1.24"),
            ("POST", "/containers/{id}/unpause", "1.24"),
            ("POST", "/containers/{id}/attach", "1.24"),
            ("GET", "/containers/{id}/attach/ws", "1.24"),
            ("POST", "/containers/{id}/wait", "1.24"),
            ("DELETE", "/containers/{id}", "1.24"),
            ("HEAD", "/containers/{id}/archive", "1.24"),
            ("GET", "/containers/{id}/archive", "1.24"),
            ("PUT", "/containers/{id}/archive", "1.24"),
            ("POST", "/containers/prune", "1.25"),
            ("GET", "/containers/{id}/checkpoints", "1.25"),
            ("POST", "/containers/{id}/checkpoints", "1.25"),
            ("DELETE", "/containers/{id}/checkpoints/{name}", "1.25"),
        ],
    ),
    (
        "Exec",
        &[
            ("POST", "/containers/{id}/exec", "1.24"),
            ("POST", "/exec/{id}/start", "1.24"),
            ("POST", "/exec/{id}/resize", "1.24"),
            ("GET", "/exec/{id}/json", "1.24"),
        ],
    ),
    (
        "Networks",
        &[
            ("GET", "/networks", "1.24"),
            ("GET", "/networks/{id}", "1.24"),
            ("DELETE", "/networks/{id}", "1.24"),
            ("POST", "/networks/create", "1.24"),
            ("POST", "/networks/{id}/connect", "1.24"),
            ("POST", "/networks/{id}/disconnect", "1.24"),
            ("POST", "/networks/prune", "1.25"),
        ],
    ),
    (
        "Volumes",
        &[
            ("GET", "/volumes", "1.24"),
            ("POST", "/volumes/create", "1.24"),
            ("GET", "/volumes/{name}", "1.24"),
            ("PUT", "/volumes/{name}", "1.42"),
            ("DELETE", "/volumes/{name}", "1.24"),
            ("POST", "/volumes/prune", "1.25"),
        ],
    ),
    (
        "Images",
        &[
            ("GET", "/images/json", "1.24"),
            ("POST", "/build", "1.24"),
            ("POST", "/build/prune", "1.31"),
            ("POST", "/build/cancel", "1.39"),
            ("POST", "/images/create", "1.24"),
            ("GET", "/images/{name}/json", "1.24"),
            ("GET", "/images/{name}/history", "1.24"),
            ("POST", "/images/{name}/push", "1.24"),
            ("POST", "/images/{name}/tag", "1.24"),
            ("DELETE", "/images/{name}", "1.24"),
            ("GET", "/images/search", "1.24"),
            ("POST", "/images/prune", "1.25"),
            ("POST", "/commit", "1.24"),
            ("GET", "/images/{name}/get", "1.24"),
            ("GET", "/images/get", "1.24"),
            ("POST", "/images/load", "1.24"),
            ("GET", "/distribution/{name}/json", "1.30"),
        ],
    ),
    (
        "System",
        &[
            ("GET", "/_ping", "1.24"),
            ("HEAD", "/_ping", "1.40"),
            ("GET", "/version", "1.24"),
            ("GET", "/info", "1.24"),
            ("GET", "/events", "1.24"),
            ("GET", "/system/df", "1.25"),
            ("POST", "/auth", "1.24"),
            ("POST", "/session", "1.31"),
            ("POST", "/grpc", "1.38"),
        ],
    ),
    (
        "Plugins",
        &[
            ("GET", "/plugins", "1.25"),
            ("GET", "/plugins/privileges", "1.25"),
            ("POST", "/plugins/pull", "1.25"),
            ("GET", "/plugins/{name}/json", "1.25"),
            ("DELETE", "/plugins/{name}", "1.25"),
            ("POST", "/plugins/{name}/enable", "1.25"),
            ("POST", "/plugins/{name}/disable", "1.25"),
            ("POST", "/plugins/{name}/upgrade", "1.26"),
            ("POST", "/plugins/create", "1.25"),
            ("POST", "/plugins/{name}/push", "1.25"),
            ("POST", "/plugins/{name}/set", "1.25"),
        ],
    ),
    (
        "Swarm",
        &[
            ("GET", "/swarm", "1.24"),
            ("POST", "/swarm/init", "1.24"),
            ("POST", "/swarm/join", "1.24"),
            ("POST", "/swarm/leave", "1.24"),
            ("POST", "/swarm/update", "1.24"),
            ("GET", "/swarm/unlockkey", "1.24"),
            ("POST", "/swarm/unlock", "1.24"),
            ("GET", "/nodes", "1.24"),
            ("GET", "/nodes/{id}", "1.24"),
            ("DELETE", "/nodes/{id}", "1.24"),
            ("POST", "/nodes/{id}/update", "1.24"),
            ("GET", "/services", "1.24"),
            ("POST", "/services/create", "1.24"),
            ("GET", "/services/{id}", "1.24"),
            ("DELETE", "/services/{id}", "1.24"),
            ("POST", "/services/{id}/update", "1.24"),
            ("GET", "/services/{id}/logs", "1.29"),
            ("GET", "/tasks", "1.24"),
            ("GET", "/tasks/{id}", "1.24"),
            ("GET", "/tasks/{id}/logs", "1.29"),
            ("GET", "/secrets", "1.25"),
            ("POST", "/secrets/create", "1.25"),
            ("GET", "/secrets/{id}", "1.25"),
            ("DELETE", "/secrets/{id}", "1.25"),
            ("POST", "/secrets/{id}/update", "1.25"),
            ("GET", "/configs", "1.30"),
            ("POST", "/configs/create", "1.30"),
            ("GET", "/configs/{id}", "1.30"),
            ("DELETE", "/configs/{id}", "1.30"),
            ("POST", "/configs/{id}/update", "1.30"),
        ],
    ),
];

/// What of a route that works does not.
const PARTLY: &[(&str, &str)] = &[
    (
        "POST /images/create",
        "imports (`fromSrc=-`); no pull, no import from a URL",
    ),
    (
        "GET /plugins",
        "always empty: plugins are found by their sockets and not managed here",
    ),
    ("POST /build/prune", "nothing is ever built, so nothing goes"),
    (
        "POST /containers/create",
        "no `Isolation`, `DeviceRequests`, `CgroupnsMode` of another container, mounts of type `image` and `cluster`",
    ),
    (
        "DELETE /images/{name}",
        "`noprune` and `platforms` change nothing",
    ),
];

/// Where there is none of ours, what a path's name is filled with.
fn filled(path: &str) -> String {
    path.replace("{id}", "none").replace("{name}", "none")
}

async fn standing(client: &Client, method: &str, path: &str) -> &'static str {
    let request = Request::builder()
        .method(method)
        .uri(query(method, &filled(path)));
    let request = request
        .header("content-type", "application/json")
        .body(Body::from(body(path)));
    let reply = client.send(request.expect("a request")).await;
    let text = String::from_utf8_lossy(&reply.body).into_owned();
    match reply.status {
        501 => "refused",
        503 if text.contains("not a swarm manager") || text.contains("not part of a swarm") => {
            "refused: no swarm"
        }
        404 if text.contains("page not found") => "missing",
        _ => "works",
    }
}

/// What is asked in earnest without anybody else being asked.
fn body(path: &str) -> &'static str {
    match path {
        "/auth" => r#"{"serveraddress": "https:///"}"#,
        _ => "{}",
    }
}

/// Parameters without which a route is not asked in earnest, or would not end.
fn query(method: &str, path: &str) -> String {
    match (method, path) {
        ("GET", "/events") => format!("{path}?until=1"),
        ("POST", "/images/create") => format!("{path}?fromSrc=-"),
        (_, "/containers/none/archive") => format!("{path}?path=/"),
        _ => path.to_owned(),
    }
}

async fn table() -> String {
    let client = Client::new().await;
    let mut text = String::from(
        "# The Engine API, route by route\n\nMade by the test `coverage` from what the router answers; \
         `UPDATE_COVERAGE=1 cargo nextest run -p api coverage`\nwrites it anew. \"Partly\" says what is not there; \
         \"refused\" is a 501 with a sentence, or for swarm Docker's own 503.\n",
    );
    for (group, routes) in ROUTES {
        let _ = write!(text, "\n## {group}\n\n| route | API | here |\n|---|---|---|\n");
        for (method, path, since) in *routes {
            let name = format!("{method} {path}");
            let partly = PARTLY.iter().find(|(route, _)| *route == name);
            let standing = standing(&client, method, path).await;
            let here = match partly {
                Some((_, what)) if standing == "works" => format!("partly: {what}"),
                _ => standing.to_owned(),
            };
            let _ = writeln!(text, "| `{name}` | {since}–1.51 | {here} |");
        }
    }
    text
}

#[tokio::test]
async fn the_table_of_coverage_is_what_the_router_answers() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("COVERAGE.md");
    let text = table().await;
    if std::env::var_os("UPDATE_COVERAGE").is_some() {
        std::fs::write(&path, &text).expect("the table is written");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == text,
        "COVERAGE.md is not what the router answers: UPDATE_COVERAGE=1 cargo nextest run -p api coverage"
    );
    let missing: Vec<_> = text
        .lines()
        .filter(|line| line.ends_with("| missing |"))
        .collect();
    assert!(missing.is_empty(), "a route has no sentence: {missing:#?}");
}
