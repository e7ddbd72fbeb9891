use serde_json::{Value, json};

use super::{bench::rootfs, client::Client};
use axum::{body::Body, http::Request};

#[tokio::test]
async fn images_are_shown_as_each_version_knows_them() {
    let client = Client::new().await;
    let unnamed = Request::post("/images/create?fromSrc=-").body(Body::from(rootfs()));
    assert_eq!(client.send(unnamed.expect("a request")).await.status, 200);
    let rows = async |version: &str| client.get(&format!("/v{version}/images/json")).await.json();
    let is_unnamed = |row: &&Value| row["RepoTags"] != json!(["busybox:latest"]);
    for (version, names, old_size) in [
        ("1.42", json!(["<none>:<none>"]), true),
        ("1.43", json!([]), true),
        ("1.44", json!([]), false),
    ] {
        let rows = rows(version).await;
        let row = rows.as_array().into_iter().flatten().find(is_unnamed);
        let row = row.unwrap_or_else(|| panic!("{version}: {rows}"));
        assert_eq!(row["RepoTags"], names, "{version}");
        assert_eq!(row.get("VirtualSize") == row.get("Size"), old_size, "{version}");
    }
    for (version, has) in [
        ("1.43", [true, true, true]),
        ("1.44", [false, true, true]),
        ("1.45", [false, false, true]),
        ("1.50", [false, false, false]),
    ] {
        let shown = client
            .get(&format!("/v{version}/images/busybox/json"))
            .await
            .json();
        let there = [
            shown.get("VirtualSize").is_some(),
            shown.get("ContainerConfig").is_some(),
            shown["Config"].get("Hostname").is_some(),
        ];
        assert_eq!(there, has, "{version}");
    }
}

#[tokio::test]
async fn the_short_id_was_once_an_alias() {
    let client = Client::new().await;
    let made = client.post("/networks/create", json!({"Name": "lan"})).await;
    assert_eq!(made.status, 201);
    let id = client
        .create("web", json!({"HostConfig": {"NetworkMode": "lan"}}))
        .await;
    client.create("plain", json!({})).await;
    let short = &id[..12];
    for (version, wanted) in [("1.44", json!([short])), ("1.45", Value::Null)] {
        let shown = client
            .get(&format!("/v{version}/containers/web/json"))
            .await
            .json();
        assert_eq!(
            shown["NetworkSettings"]["Networks"]["lan"]["Aliases"], wanted,
            "{version}"
        );
        let shown = client
            .get(&format!("/v{version}/containers/plain/json"))
            .await
            .json();
        assert_eq!(
            shown["NetworkSettings"]["Networks"]["bridge"]["Aliases"],
            Value::Null,
            "{version}"
        );
    }
}

#[tokio::test]
async fn one_network_was_all_that_a_container_could_begin_with() {
    let client = Client::new().await;
    let two = json!({"Image": "busybox", "NetworkingConfig": {"EndpointsConfig": {"one": {}, "two": {}}}});
    let reply = client.post("/v1.43/containers/create", two).await;
    assert_eq!(reply.status, 400);
    let says = "Container cannot be connected to network endpoints: one, two";
    assert!(reply.message().starts_with(says), "{}", reply.message());
}

#[tokio::test]
async fn what_the_daemon_tells_of_itself_had_more() {
    let client = Client::new().await;
    for (version, had) in [("1.47", true), ("1.48", false)] {
        let info = client.get(&format!("/v{version}/info")).await.json();
        let found = info["RegistryConfig"].get("AllowNondistributableArtifactsCIDRs");
        assert_eq!(found.is_some(), had, "{version}");
    }
}
