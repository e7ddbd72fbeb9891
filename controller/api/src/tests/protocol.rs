use axum::{body::Body, http::Request};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

use super::{bench::Bench, client::Client};

#[tokio::test]
async fn ping_says_what_clients_negotiate_by_with_a_body_and_without() {
    let client = Client::new().await;
    for request in [
        Request::get("/_ping"),
        Request::head("/_ping"),
        Request::get("/v1.24/_ping"),
    ] {
        let reply = client.send(request.body(Body::empty()).expect("a request")).await;
        assert_eq!(reply.status, 200);
        for (name, value) in [
            ("api-version", "1.51"),
            ("builder-version", "1"),
            ("docker-experimental", "false"),
            ("ostype", "linux"),
            ("cache-control", "no-cache, no-store, must-revalidate"),
            ("server", "cnm/0.1.0 (linux)"),
        ] {
            assert_eq!(reply.headers[name], value, "{name}");
        }
        assert!(reply.body.is_empty() || reply.body == "OK");
    }
}

#[tokio::test]
async fn what_is_not_there_is_a_message_whatever_the_method() {
    let client = Client::new().await;
    for reply in [
        client.get("/nothing").await,
        client.delete("/version").await,
        client.get("/v1.51").await,
    ] {
        assert_eq!(
            (reply.status, reply.json()),
            (404, json!({"message": "page not found"}))
        );
        assert_eq!(reply.headers["api-version"], "1.51");
    }
    let reply = client.get("/v1.52/version").await;
    assert_eq!(reply.status, 400);
    assert_eq!(
        reply.message(),
        "client version 1.52 is too new. Maximum supported API version is 1.51"
    );
    for path in ["/build", "/images/x/get", "/commit", "/plugins/x/json"] {
        assert_eq!(client.get(path).await.status, 501, "{path}");
    }
    assert_eq!(client.get("/swarm").await.status, 503);
}

#[tokio::test]
async fn bodies_that_are_no_json_change_nothing() {
    let client = Client::new().await;
    let send = |kind: &'static str, body: &'static str| {
        let request = Request::post("/networks/create")
            .header("content-type", kind)
            .body(Body::from(body));
        client.send(request.expect("a request"))
    };
    for (kind, body, says) in [
        (
            "application/json",
            "{\"Name\":",
            "invalid JSON: got EOF while reading request body",
        ),
        ("application/json", "{\"Name\":7}", "invalid JSON: "),
        ("application/json", "{\"Name\":\"x\"} {}", "invalid JSON: "),
        (
            "text/plain",
            "{\"Name\":\"x\"}",
            "unsupported Content-Type header (text/plain): must be 'application/json'",
        ),
    ] {
        let reply = send(kind, body).await;
        assert_eq!(reply.status, 400, "{body}");
        assert!(reply.message().starts_with(says), "{}", reply.message());
    }
    assert_eq!(client.get("/networks/x").await.status, 404);
}

#[tokio::test]
async fn version_and_info_name_every_field_that_clients_read() {
    let client = Client::new().await;
    let version = client.get("/version").await.json();
    assert_eq!(
        (&version["ApiVersion"], &version["MinAPIVersion"]),
        (&json!("1.51"), &json!("1.24"))
    );
    assert_eq!(version["Components"][0]["Name"], "Engine");
    let info = client.get("/info").await.json();
    assert_eq!(
        (&info["Images"], &info["Containers"], &info["OSType"]),
        (&json!(1), &json!(0), &json!("linux"))
    );
    assert_eq!(info["Swarm"]["LocalNodeState"], "inactive");
    assert_eq!(info["Warnings"], json!(null));
    assert_eq!(
        client.get("/volumes").await.json(),
        json!({"Volumes": [], "Warnings": null})
    );
    assert_eq!(client.get("/plugins").await.json(), json!([]));
}

#[tokio::test]
async fn events_are_told_from_a_moment_to_another() {
    let client = Client::new().await;
    client.post("/networks/create", json!({"Name": "n1"})).await;
    client.create("web", json!({})).await;
    // Network events come over from the controller's bus in a task of their own.
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(5);
    let lines = loop {
        let now = model::Timestamp::now().unix_seconds() + 1;
        let path = format!("/events?since=1&until={now}&filters=%7B%22event%22%3A%5B%22create%22%5D%7D");
        let reply = tokio::time::timeout(std::time::Duration::from_secs(5), client.get(&path))
            .await
            .expect("it ends");
        assert_eq!(reply.headers["content-type"], "application/json");
        let text = String::from_utf8(reply.body.to_vec()).expect("text");
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("one object on a line"))
            .collect();
        let of = |kind: &str| lines.iter().filter(|line| line["Type"] == kind).count();
        if of("network") > 0 || tokio::time::Instant::now() > deadline {
            assert_eq!(of("container"), 1, "{lines:?}");
            break lines;
        }
    };
    let network = lines
        .iter()
        .find(|line| line["Actor"]["Attributes"]["name"] == "n1")
        .expect("the network's");
    assert_eq!(network["Actor"]["Attributes"]["type"], "bridge");
    let container = lines
        .iter()
        .find(|line| line["Type"] == "container")
        .expect("the container's");
    assert_eq!(
        (&container["status"], &container["from"]),
        (&json!("create"), &json!("busybox"))
    );
    assert_eq!(
        client
            .get("/events?filters=%7B%22colour%22%3A%5B%22red%22%5D%7D")
            .await
            .status,
        400
    );
}

#[tokio::test]
async fn the_headers_of_a_wait_go_out_before_its_answer() {
    let bench = Bench::new();
    let engine = bench.start().await;
    super::bench::import(&engine, "busybox").await;
    let created = engine
        .containers
        .create(super::bench::request(Some("web")))
        .await
        .expect("a container");
    let path = bench.folder.path().join("cnm.sock");
    let listener = crate::listen(&path, "no-such-group").expect("a socket");
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let metrics = crate::Metrics::new(engine.clone(), std::sync::Arc::new(super::client::NoWorld));
    let server = tokio::spawn(crate::serve(listener, engine.clone(), metrics, async {
        let _ = stopped.await;
    }));

    let mut stream = UnixStream::connect(&path).await.expect("a connection");
    let request = b"POST /v1.51/containers/web/wait?condition=removed HTTP/1.1\r\nHost: x\r\n\r\n";
    stream.write_all(request).await.expect("sent");
    let mut heard = Vec::new();
    let reads = async |stream: &mut UnixStream, heard: &mut Vec<u8>, until: &[u8]| {
        while !heard.windows(until.len()).any(|window| window == until) {
            assert_ne!(
                stream.read_buf(heard).await.expect("bytes"),
                0,
                "{}",
                String::from_utf8_lossy(heard)
            );
        }
    };
    let patience = std::time::Duration::from_secs(5);
    tokio::time::timeout(patience, reads(&mut stream, &mut heard, b"\r\n\r\n"))
        .await
        .expect("headers at once");
    assert!(
        heard.starts_with(b"HTTP/1.1 200 OK\r\n") && heard.ends_with(b"\r\n\r\n"),
        "nothing but headers yet"
    );
    engine
        .containers
        .remove(&created.record.id.to_string(), false)
        .await
        .expect("removed");
    tokio::time::timeout(patience, reads(&mut stream, &mut heard, b"{\"StatusCode\":0}"))
        .await
        .expect("the answer");

    stop.send(()).expect("the server listens");
    server.await.expect("no panic").expect("no error");
}

#[tokio::test]
async fn a_client_that_leaves_ends_no_operation_half_way() {
    let client = Client::new().await;
    let body = Body::from(json!({"Name": "n1"}).to_string());
    let request = Request::post("/networks/create")
        .header("content-type", "application/json")
        .body(body);
    client.send_and_leave(request.expect("a request")).await;
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(5);
    while client.get("/networks/n1").await.status != 200 {
        assert!(tokio::time::Instant::now() < deadline, "the network never comes");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_past_of_events_is_told_to_who_says_since_or_until_when() {
    let client = Client::new().await;
    client.create("web", json!({})).await;
    let now = model::Timestamp::now().unix_nanos() / 1_000_000_000 + 1;
    let mine = "filters=%7B%22container%22%3A%5B%22web%22%5D%7D";
    for (asked, told) in [
        (format!("until={now}"), true),
        (format!("since=0&until={now}"), true),
        (format!("since={}&until={now}", now - 600), true),
        (format!("since={now}&until={now}"), false),
    ] {
        let reply = client.get(&format!("/events?{asked}&{mine}")).await;
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        assert_eq!(
            (reply.status, text.contains("\"create\"")),
            (200, told),
            "{asked}: {text}"
        );
    }
    let reply = client.get(&format!("/events?since={now}&until=1")).await;
    assert_eq!(
        (reply.status, reply.message()),
        (
            400,
            format!("`since` time ({now}) cannot be after `until` time (1)")
        )
    );
}
