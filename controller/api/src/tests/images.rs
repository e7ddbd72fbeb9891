use axum::{body::Body, http::Request};
use serde_json::{Value, json};

use super::{bench::rootfs, client::Client};

#[tokio::test]
async fn an_image_comes_in_by_import_and_is_found_by_every_name() {
    let client = Client::new().await;
    let request =
        Request::post("/images/create?fromSrc=-&repo=team/app&tag=v1&changes=CMD+top&changes=LABEL+a%3D1");
    let imported = client
        .send(request.body(Body::from(rootfs())).expect("a request"))
        .await;
    assert_eq!(imported.status, 200, "{:?}", imported.body);
    let id = imported.json()["status"].as_str().expect("an id").to_owned();
    for name in [
        "team/app:v1",
        &id,
        &id["sha256:".len()..][..12],
        "docker.io/team/app:v1",
    ] {
        let shown = client.get(&format!("/images/{name}/json")).await;
        assert_eq!(
            (shown.status, shown.json()["Id"].as_str()),
            (200, Some(id.as_str())),
            "{name}"
        );
    }
    let shown = client.get("/images/team/app:v1/json").await.json();
    assert_eq!(
        (&shown["RepoTags"], &shown["RepoDigests"]),
        (&json!(["team/app:v1"]), &json!([]))
    );
    assert_eq!(
        (&shown["Os"], &shown["RootFS"]["Type"]),
        (&json!("linux"), &json!("layers"))
    );
    assert_eq!(shown["Config"]["Labels"], json!({"a": "1"}));
    let history = client.get("/images/team/app:v1/history").await.json();
    assert_eq!(
        (&history[0]["Id"], &history[0]["Tags"]),
        (&json!(id), &json!(["team/app:v1"]))
    );
}

#[tokio::test]
async fn lists_have_empty_lists_and_null_labels() {
    let client = Client::new().await;
    let row = client.get("/images/json").await.json()[0].take();
    assert_eq!(
        (&row["RepoTags"], &row["RepoDigests"]),
        (&json!(["busybox:latest"]), &json!([]))
    );
    assert_eq!(
        (&row["Labels"], &row["Containers"], &row["SharedSize"]),
        (&Value::Null, &json!(-1), &json!(-1))
    );
    let count = async |filters: &str| {
        client
            .get(&format!("/images/json?filters={filters}"))
            .await
            .json()
            .as_array()
            .map(Vec::len)
    };
    assert_eq!(
        count("%7B%22reference%22%3A%5B%22busy%2A%22%5D%7D").await,
        Some(1)
    );
    assert_eq!(count("%7B%22reference%22%3A%5B%22other%22%5D%7D").await, Some(0));
    assert_eq!(count("%7B%22dangling%22%3A%5B%22true%22%5D%7D").await, Some(0));
}

#[tokio::test]
async fn tags_come_and_go_and_the_last_takes_the_image_along() {
    let client = Client::new().await;
    assert_eq!(
        client
            .post("/images/busybox/tag?repo=bb&tag=2", Value::Null)
            .await
            .status,
        201
    );
    assert_eq!(
        client
            .post("/images/nosuch/tag?repo=bb", Value::Null)
            .await
            .status,
        404
    );
    assert_eq!(
        client
            .post("/images/busybox/tag?repo=B+B", Value::Null)
            .await
            .status,
        400
    );
    assert_eq!(
        client.delete("/images/bb:2").await.json(),
        json!([{"Untagged": "bb:2"}])
    );
    client.create("web", json!({})).await;
    assert_eq!(
        client.delete("/images/busybox").await.status,
        409,
        "a container needs it"
    );
    client.delete("/containers/web").await;
    let removed = client.delete("/images/busybox").await.json();
    assert_eq!(removed[0], json!({"Untagged": "busybox:latest"}));
    assert!(removed[1]["Deleted"].is_string());
    let reply = client.get("/images/busybox/json").await;
    assert_eq!(
        (reply.status, reply.message().as_str()),
        (404, "No such image: busybox:latest")
    );
}

#[tokio::test]
async fn hostile_and_empty_archives_are_refused() {
    let client = Client::new().await;
    for (path, body) in [
        ("/images/load", b"not an archive".to_vec()),
        ("/images/load", rootfs()),
        ("/images/create?fromSrc=-", Vec::new()),
        ("/images/create?fromSrc=-", rootfs()[..600].to_vec()),
    ] {
        let request = Request::post(path).body(Body::from(body)).expect("a request");
        let reply = client.send(request).await;
        assert_eq!(reply.status, 400, "{path}: {:?}", reply.body);
        assert!(
            reply.message().starts_with("the archive is refused"),
            "{}",
            reply.message()
        );
    }
    assert_eq!(
        client.get("/images/json").await.json().as_array().map(Vec::len),
        Some(1)
    );
}

#[tokio::test]
async fn a_pull_says_what_to_do_instead() {
    let client = Client::new().await;
    let reply = client
        .post(
            "/images/create?fromImage=docker.io%2Flibrary%2Falpine&tag=latest",
            Value::Null,
        )
        .await;
    assert_eq!(reply.status, 501);
    assert!(
        reply.message().contains("pulling alpine:latest is not possible"),
        "{}",
        reply.message()
    );
}
