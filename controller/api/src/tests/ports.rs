//! Ports and links through HTTP. No container runs here, so what is decided at a start is another suite's.

use axum::{body::Body, http::Request};
use serde_json::{Value, json};

use super::client::{Client, Reply};

async fn delete_ports(client: &Client, container: &str, body: Value) -> Reply {
    let request = Request::delete(format!("/containers/{container}/ports"))
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()));
    client.send(request.expect("a request")).await
}

async fn bindings(client: &Client, container: &str) -> Value {
    let shown = client.get(&format!("/containers/{container}/json")).await.json();
    assert_eq!(
        shown["NetworkSettings"]["Ports"],
        json!({}),
        "nothing is decided before a start"
    );
    shown["HostConfig"]["PortBindings"].clone()
}

#[tokio::test]
async fn ports_of_a_stopped_container_are_recorded_and_shown_as_they_were_asked() {
    let client = Client::new().await;
    let asked = json!({
        "80/tcp": [{"HostIp": "", "HostPort": "8080"}, {"HostIp": "127.0.0.1", "HostPort": "5000", "Exposure": "host"}],
        "53/udp": [{"HostIp": "10.0.0.100", "HostPort": ""}]
    });
    let config = json!({"ExposedPorts": {"80/tcp": {}, "53/udp": {}}, "HostConfig": {"PortBindings": asked}});
    client.create("web", config).await;
    assert_eq!(bindings(&client, "web").await, asked);
    let added = client
        .post(
            "/containers/web/ports",
            json!({"PortBindings": {"443/tcp": [{"HostPort": "8443"}]}}),
        )
        .await;
    assert_eq!((added.status, added.json()), (200, json!({"Ports": {}})));
    assert_eq!(
        bindings(&client, "web").await["443/tcp"],
        json!([{"HostIp": "", "HostPort": "8443"}])
    );
    let gone = delete_ports(
        &client,
        "web",
        json!({"PortBindings": {"80/tcp": [{"HostPort": "8080"}], "53/udp": null}}),
    )
    .await;
    assert_eq!((gone.status, gone.json()), (200, json!({"Ports": {}})));
    assert_eq!(
        bindings(&client, "web").await,
        json!({
            "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "5000", "Exposure": "host"}],
            "443/tcp": [{"HostIp": "", "HostPort": "8443"}]
        })
    );
    let listed = client.get("/containers/json?all=1").await.json();
    assert_eq!(listed[0]["Ports"], json!([]));
}

/// A name, the container, what is sent, the status, and how the answer begins.
fn senseless() -> Vec<(&'static str, &'static str, Value, u16, &'static str)> {
    let one = json!({"PortBindings": {"81/tcp": [{"HostPort": "8081"}]}});
    vec![
        ("nothing", "web", json!({}), 400, "no ports given"),
        (
            "no port",
            "web",
            json!({"PortBindings": {"x/tcp": null}}),
            400,
            "invalid container port \"x/tcp\"",
        ),
        (
            "port 0",
            "web",
            json!({"PortBindings": {"0/tcp": null}}),
            400,
            "invalid container port",
        ),
        (
            "no protocol",
            "web",
            json!({"PortBindings": {"80/icmp": null}}),
            400,
            "invalid proto",
        ),
        (
            "no address",
            "web",
            json!({"PortBindings": {"80": [{"HostIp": "here"}]}}),
            400,
            "invalid host IP \"here\"",
        ),
        (
            "ranges of two lengths",
            "web",
            json!({"PortBindings": {"80-81": [{"HostPort": "80-89"}]}}),
            400,
            "invalid ranges",
        ),
        (
            "no such exposure",
            "web",
            json!({"PortBindings": {"80": [{"Exposure": "?"}]}}),
            400,
            "invalid exposure",
        ),
        ("nobody", "nobody", one.clone(), 404, "No such container"),
        (
            "the host's",
            "on-host",
            one.clone(),
            400,
            "conflicting options: port publishing and the host",
        ),
        (
            "no network",
            "alone",
            one.clone(),
            400,
            "conflicting options: port publishing and the none",
        ),
        (
            "another's",
            "guest",
            one,
            400,
            "conflicting options: port publishing and the container",
        ),
        (
            "a wrong shape",
            "web",
            json!({"PortBindings": []}),
            400,
            "invalid JSON",
        ),
    ]
}

#[tokio::test]
async fn ports_that_make_no_sense_are_refused_and_change_nothing() {
    let client = Client::new().await;
    client
        .create(
            "web",
            json!({"HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "8080"}]}}}),
        )
        .await;
    client
        .create("on-host", json!({"HostConfig": {"NetworkMode": "host"}}))
        .await;
    client
        .create("alone", json!({"HostConfig": {"NetworkMode": "none"}}))
        .await;
    client
        .create("guest", json!({"HostConfig": {"NetworkMode": "container:web"}}))
        .await;
    for (name, container, body, status, says) in senseless() {
        let path = format!("/containers/{container}/ports");
        let replies = [
            client.post(&path, body.clone()).await,
            delete_ports(&client, container, body).await,
        ];
        for reply in replies {
            assert_eq!(reply.status, status, "{name}: {:?}", reply.body);
            assert!(reply.message().starts_with(says), "{name}: {}", reply.message());
        }
    }
    assert_eq!(
        bindings(&client, "web").await,
        json!({"80/tcp": [{"HostIp": "", "HostPort": "8080"}]})
    );
}

#[tokio::test]
async fn what_is_not_published_can_not_be_given_back_and_nothing_else_goes_with_it() {
    let client = Client::new().await;
    client
        .create(
            "web",
            json!({"HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "8080"}]}}}),
        )
        .await;
    for missing in [
        json!({"81/tcp": null}),
        json!({"80/udp": null}),
        json!({"80/tcp": [{"HostPort": "8081"}]}),
        json!({"80/tcp": [{"HostIp": "127.0.0.1"}]}),
        json!({"80/tcp": null, "81/tcp": null}),
    ] {
        let reply = delete_ports(&client, "web", json!({"PortBindings": missing})).await;
        assert_eq!(reply.status, 404, "{missing}: {:?}", reply.body);
        assert!(
            reply.message().starts_with("No public port"),
            "{}",
            reply.message()
        );
    }
    assert_eq!(
        bindings(&client, "web").await,
        json!({"80/tcp": [{"HostIp": "", "HostPort": "8080"}]})
    );
}

#[tokio::test]
async fn ports_where_they_lead_nowhere_are_said_at_creation() {
    let client = Client::new().await;
    let ports = json!({"80/tcp": [{"HostPort": "8080"}]});
    for mode in ["host", "none"] {
        let config = json!({
            "Image": "busybox", "HostConfig": {"NetworkMode": mode, "PortBindings": ports}
        });
        let reply = client.post("/containers/create", config).await;
        assert_eq!(reply.status, 201);
        let warning = format!("Published ports are discarded when using {mode} network mode");
        assert_eq!(reply.json()["Warnings"], json!([warning]));
    }
    client.create("web", json!({})).await;
    for (host, config) in [
        (json!({"PortBindings": ports}), json!({})),
        (json!({"PublishAllPorts": true}), json!({})),
        (json!({"Links": ["web"]}), json!({})),
        (json!({"Dns": ["10.0.0.53"]}), json!({})),
        (json!({"ExtraHosts": ["a:10.0.0.1"]}), json!({})),
        (json!({}), json!({"ExposedPorts": {"80/tcp": {}}})),
        (json!({}), json!({"MacAddress": "02:00:00:00:00:01"})),
    ] {
        let (mut host, mut config) = (host, config);
        host["NetworkMode"] = "container:web".into();
        config["Image"] = "busybox".into();
        config["HostConfig"] = host;
        let reply = client.post("/containers/create", config.clone()).await;
        assert_eq!(reply.status, 400, "{config}: {:?}", reply.body);
        assert!(
            reply.message().starts_with("conflicting options"),
            "{}",
            reply.message()
        );
    }
}

#[tokio::test]
async fn links_are_shown_by_the_names_of_both_and_end_with_their_target() {
    let client = Client::new().await;
    client.create("db", json!({})).await;
    let links = json!({"HostConfig": {"Links": ["db:webdb", "/db:/web/other"]}});
    client.create("web", links).await;
    let shown = |name: &'static str| {
        let client = &client;
        async move {
            let found = client.get(&format!("/containers/{name}/json")).await.json();
            found["HostConfig"]["Links"].clone()
        }
    };
    assert_eq!(shown("web").await, json!(["/db:/web/webdb", "/db:/web/other"]));
    assert_eq!(
        client
            .post("/containers/db/rename?name=base", Value::Null)
            .await
            .status,
        204
    );
    assert_eq!(
        client
            .post("/containers/web/rename?name=www", Value::Null)
            .await
            .status,
        204
    );
    assert_eq!(
        shown("www").await,
        json!(["/base:/www/webdb", "/base:/www/other"])
    );
    let start = client.post("/containers/www/start", Value::Null).await;
    assert_eq!(start.status, 409, "{:?}", start.body);
    assert!(
        start
            .message()
            .starts_with("Cannot link to a non running container: /base AS /www/webdb"),
        "{}",
        start.message()
    );
    assert_eq!(client.delete("/containers/base").await.status, 204);
    assert_eq!(shown("www").await, Value::Null);
}

#[tokio::test]
async fn links_that_lead_nowhere_are_refused_at_creation() {
    let client = Client::new().await;
    client.create("db", json!({})).await;
    client.create("two", json!({})).await;
    client
        .create("on-host", json!({"HostConfig": {"NetworkMode": "host"}}))
        .await;
    for (links, mode, says) in [
        (
            json!(["nobody:x"]),
            "bridge",
            "could not get container for nobody: No such container: nobody",
        ),
        (json!(["db:"]), "bridge", "bad format for links"),
        (json!([":x"]), "bridge", "bad format for links"),
        (json!(["db:a:b"]), "bridge", "bad format for links"),
        (json!(["db:x", "two:x"]), "bridge", "two links have the alias"),
        (
            json!(["on-host:x"]),
            "bridge",
            "conflicting options: host type networking",
        ),
        (
            json!(["db:x"]),
            "host",
            "conflicting options: host type networking",
        ),
        (json!(["db:x"]), "none", "conflicting options"),
    ] {
        let config = json!({"Image": "busybox", "HostConfig": {"NetworkMode": mode, "Links": links}});
        let reply = client.post("/containers/create", config).await;
        assert_eq!(reply.status, 400, "{links}: {:?}", reply.body);
        assert!(reply.message().starts_with(says), "{links}: {}", reply.message());
    }
}
