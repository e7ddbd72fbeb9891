use serde_json::{Value, json};

use super::client::Client;

#[tokio::test]
async fn a_missing_image_gets_the_answer_that_clients_pull_at() {
    let client = Client::new().await;
    let reply = client
        .post("/containers/create", json!({"Image": "nosuch"}))
        .await;
    assert_eq!(
        (reply.status, reply.json()),
        (404, json!({"message": "No such image: nosuch:latest"}))
    );
    let other = json!({"Image": "busybox", "HostConfig": {"NetworkMode": "nope"}});
    let reply = client.post("/containers/create", other).await;
    assert_eq!(
        (reply.status, reply.message().as_str()),
        (400, "network nope not found"),
        "no image is missing"
    );
}

#[tokio::test]
async fn inspect_has_every_field_with_null_and_empty_as_docker_has_them() {
    let client = Client::new().await;
    let created = client
        .post(
            "/containers/create?name=web",
            json!({"Image": "busybox", "Cmd": ["sleep", "9"]}),
        )
        .await;
    assert_eq!(created.status, 201);
    assert_eq!(created.json()["Warnings"], json!([]));
    let shown = client.get("/containers/web/json").await.json();
    assert_eq!(shown["Name"], "/web");
    assert_eq!((&shown["Path"], &shown["Args"]), (&json!("sleep"), &json!(["9"])));
    assert_eq!(
        shown["State"],
        json!({
            "Status": "created", "Running": false, "Paused": false, "Restarting": false, "OOMKilled": false, "Dead": false,
            "Pid": 0, "ExitCode": 0, "Error": "", "StartedAt": "0001-01-01T00:00:00Z", "FinishedAt": "0001-01-01T00:00:00Z"
        })
    );
    assert_eq!(shown["ExecIDs"], Value::Null);
    assert_eq!(shown["Mounts"], json!([]));
    let config = &shown["Config"];
    assert_eq!(
        (&config["Image"], &config["Env"]),
        (&json!("busybox"), &json!(["A=image"]))
    );
    assert_eq!(
        (&config["Entrypoint"], &config["Volumes"], &config["OnBuild"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    assert_eq!(
        (&config["ExposedPorts"], &config["Labels"]),
        (&json!({"80/tcp": {}}), &json!({}))
    );
    let host = &shown["HostConfig"];
    assert_eq!(
        (&host["NetworkMode"], &host["RestartPolicy"]),
        (&json!("bridge"), &json!({"Name": "no", "MaximumRetryCount": 0}))
    );
    assert_eq!(
        (&host["LogConfig"]["Type"], &host["ShmSize"]),
        (&json!("json-file"), &json!(67_108_864))
    );
    assert_eq!(
        (&host["Binds"], &host["PortBindings"]),
        (&Value::Null, &json!({}))
    );
    let network = &shown["NetworkSettings"];
    assert_eq!(
        (
            &network["Ports"],
            &network["SecondaryIPAddresses"],
            &network["SandboxID"]
        ),
        (&json!({}), &Value::Null, &json!(""))
    );
    assert_eq!(network["Networks"]["bridge"]["IPAMConfig"], Value::Null);
    assert!(
        network["Networks"]["bridge"]["NetworkID"]
            .as_str()
            .is_some_and(|id| id.len() == 64)
    );
}

#[tokio::test]
async fn what_was_asked_is_echoed() {
    let client = Client::new().await;
    let asked = json!({
        "Image": "busybox", "Hostname": "h", "Tty": true, "OpenStdin": true, "AttachStdout": true, "StopSignal": "SIGINT",
        "HostConfig": {"Binds": ["/tmp:/x:ro"], "CapAdd": ["NET_ADMIN"], "Dns": [], "Memory": 10_000_000, "RestartPolicy": {"Name": "always"},
                       "Sysctls": {"net.ipv4.ip_forward": "1"}, "NanoCpus": 500_000_000}
    });
    client.post("/containers/create?name=web", asked.clone()).await;
    let shown = client.get("/containers/web/json").await.json();
    for field in ["Hostname", "Tty", "OpenStdin", "AttachStdout", "StopSignal"] {
        assert_eq!(shown["Config"][field], asked[field], "{field}");
    }
    for field in ["Binds", "CapAdd", "Dns", "Memory", "Sysctls", "NanoCpus"] {
        assert_eq!(shown["HostConfig"][field], asked["HostConfig"][field], "{field}");
    }
    assert_eq!(shown["HostConfig"]["RestartPolicy"]["Name"], "always");
    assert_eq!(
        shown["Mounts"],
        json!([{"Type": "bind", "Source": "/tmp", "Destination": "/x", "Mode": "ro", "RW": false, "Propagation": "rprivate"}])
    );
}

#[tokio::test]
async fn lists_have_rows_for_people() {
    let client = Client::new().await;
    let id = client
        .create(
            "web",
            json!({"Cmd": ["sh", "-c", "sleep 1"], "Labels": {"a": "1"}}),
        )
        .await;
    assert_eq!(
        client.get("/containers/json").await.json(),
        json!([]),
        "nothing runs"
    );
    let mut row = client.get("/containers/json?all=1").await.json()[0].take();
    let image = row["ImageID"].take();
    assert!(image.as_str().is_some_and(|id| id.starts_with("sha256:")));
    assert!(row["Created"].take().is_i64());
    let network = row["NetworkSettings"]["Networks"].take();
    assert!(network["bridge"].is_object());
    assert_eq!(
        row,
        json!({
            "Id": id, "Names": ["/web"], "Image": "busybox", "ImageID": null, "Command": "sh -c 'sleep 1'", "Created": null,
            "Ports": [], "Labels": {"a": "1"}, "State": "created", "Status": "Created",
            "HostConfig": {"NetworkMode": "bridge"}, "NetworkSettings": {"Networks": null}, "Mounts": []
        })
    );
    let count = async |query: &str| {
        client
            .get(&format!("/containers/json?{query}"))
            .await
            .json()
            .as_array()
            .map(Vec::len)
    };
    assert_eq!(
        count("all=true&filters=%7B%22status%22%3A%5B%22exited%22%5D%7D").await,
        Some(0)
    );
    assert_eq!(
        count("filters=%7B%22status%22%3A%5B%22created%22%5D%7D").await,
        Some(1)
    );
    assert_eq!(count("limit=1").await, Some(1));
    assert_eq!(count("all=false&limit=-1").await, Some(0));
    assert_eq!(
        client
            .get("/containers/json?filters=%7B%22status%22%3A%5B%22asleep%22%5D%7D")
            .await
            .status,
        400
    );
}

#[tokio::test]
async fn verbs_on_what_does_not_run_have_dockers_statuses() {
    let client = Client::new().await;
    client.create("web", json!({})).await;
    for (method, path, status) in [
        ("POST", "/containers/web/stop?t=1", 304),
        ("POST", "/containers/web/kill", 409),
        ("POST", "/containers/web/kill?signal=NOPE", 400),
        ("POST", "/containers/web/pause", 409),
        ("POST", "/containers/web/resize?h=1&w=1", 409),
        ("POST", "/containers/web/rename", 400),
        ("POST", "/containers/web/rename?name=-", 400),
        ("POST", "/containers/web/wait?condition=sometime", 400),
        ("POST", "/containers/web/wait", 200),
        ("GET", "/containers/web/logs", 400),
        ("GET", "/containers/web/logs?stdout=1", 200),
        ("POST", "/containers/nobody/start", 404),
        ("GET", "/containers/nobody/json", 404),
        ("POST", "/exec/nobody/start", 404),
        ("GET", "/exec/nobody/json", 404),
        ("DELETE", "/containers/nobody", 404),
        ("POST", "/containers/web/rename?name=www", 204),
        ("DELETE", "/containers/www?force=1&v=1", 204),
    ] {
        let reply = match method {
            "GET" => client.get(path).await,
            "DELETE" => client.delete(path).await,
            _ => client.post(path, Value::Null).await,
        };
        assert_eq!(reply.status, status, "{method} {path}: {:?}", reply.body);
        if status == 304 {
            assert!(reply.body.is_empty(), "304 has no body");
        }
    }
}

#[tokio::test]
async fn a_start_that_fails_says_why_and_leaves_the_container_as_it_was() {
    let client = Client::new().await;
    client.create("web", json!({})).await;
    let reply = client.post("/containers/web/start", Value::Null).await;
    assert_eq!(reply.status, 500);
    let shown = client.get("/containers/web/json").await.json();
    assert_eq!(shown["State"]["Status"], "created");
    assert_eq!(shown["State"]["Error"].as_str(), Some(reply.message().as_str()));
}

#[tokio::test]
async fn prune_removes_what_does_not_run() {
    let client = Client::new().await;
    let id = client.create("one", json!({"Labels": {"a": ""}})).await;
    client.create("two", json!({})).await;
    let pruned = client
        .post(
            "/containers/prune?filters=%7B%22label%22%3A%5B%22a%22%5D%7D",
            Value::Null,
        )
        .await;
    assert_eq!(
        pruned.json(),
        json!({"ContainersDeleted": [id], "SpaceReclaimed": 0})
    );
    assert_eq!(client.get("/containers/two/json").await.status, 200);
}
