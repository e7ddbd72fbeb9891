use serde_json::{Value, json};

use super::client::Client;

#[tokio::test]
async fn a_network_goes_through_its_life() {
    let client = Client::new().await;
    let asked = json!({
        "Name": "n1", "Driver": "bridge", "Labels": {"a": "1"}, "Attachable": true,
        "IPAM": {"Driver": "default", "Options": {}, "Config": [
            {"Subnet": "10.1.0.0/24", "IPRange": "10.1.0.128/25", "Gateway": "10.1.0.254", "AuxiliaryAddresses": {"nas": "10.1.0.5"}}
        ]}
    });
    let created = client.post("/v1.44/networks/create", asked.clone()).await;
    assert_eq!(created.status, 201);
    let id = created.json()["Id"].as_str().expect("an id").to_owned();
    assert_eq!(created.json(), json!({"Id": id, "Warning": ""}));

    let mut shown = client.get("/networks/n1").await.json();
    assert!(shown["Created"].as_str().expect("a time").ends_with('Z'));
    shown["Created"] = Value::Null;
    assert_eq!(
        shown,
        json!({
            "Name": "n1", "Id": id, "Created": null, "Scope": "local", "Driver": "bridge", "EnableIPv4": true,
            "EnableIPv6": false, "IPAM": {"Driver": "default", "Options": {}, "Config": [
                {"Subnet": "10.1.0.0/24", "IPRange": "10.1.0.128/25", "Gateway": "10.1.0.254", "AuxiliaryAddresses": {"nas": "10.1.0.5"}}
            ]},
            "Internal": false, "Attachable": true, "Ingress": false, "ConfigFrom": {"Network": ""}, "ConfigOnly": false,
            "Containers": {}, "Options": {}, "Labels": {"a": "1"},
            "Status": {"IPAM": {"Subnets": {"10.1.0.0/24": {"IPsInUse": 4, "DynamicIPsAvailable": 126}}}}
        })
    );
    for text in [id.as_str(), &id[..12]] {
        assert_eq!(
            client.get(&format!("/networks/{text}")).await.json()["Name"],
            "n1"
        );
    }
    assert_eq!(
        client.post("/networks/create", asked).await.status,
        409,
        "the name is taken"
    );
    assert_eq!(client.delete("/networks/n1").await.status, 204);
    assert_eq!(client.delete("/networks/n1").await.status, 404);
}

#[tokio::test]
async fn the_predefined_networks_are_listed_and_stay() {
    let client = Client::new().await;
    let listed = client.get("/networks").await.json();
    let mut rows: Vec<_> = listed
        .as_array()
        .expect("a list")
        .iter()
        .map(|network| {
            format!("{} {} {}", network["Name"], network["Driver"], network["Scope"]).replace('"', "")
        })
        .collect();
    rows.sort();
    assert_eq!(
        rows,
        ["bridge bridge local", "host host local", "none null local"]
    );
    let none = client.get("/networks/none").await.json();
    assert_eq!(
        none["IPAM"],
        json!({"Driver": "default", "Options": null, "Config": null})
    );
    for name in ["bridge", "host", "none"] {
        let reply = client.delete(&format!("/networks/{name}")).await;
        assert_eq!(reply.status, 403);
        assert_eq!(
            reply.message(),
            format!("{name} is a pre-defined network and cannot be removed")
        );
        assert_eq!(
            client
                .post("/networks/create", json!({"Name": name}))
                .await
                .status,
            403
        );
    }
}

#[tokio::test]
async fn lists_are_filtered_and_prune_removes_what_nobody_uses() {
    let client = Client::new().await;
    for (name, label) in [("keep", "yes"), ("drop", "no")] {
        client
            .post(
                "/networks/create",
                json!({"Name": name, "Labels": {"keep": label}}),
            )
            .await;
    }
    let listed = async |query: &str| -> Vec<String> {
        let reply = client.get(&format!("/networks?filters={query}")).await;
        assert_eq!(reply.status, 200, "{:?}", reply.body);
        let json = reply.json();
        let mut names: Vec<_> = json
            .as_array()
            .expect("a list")
            .iter()
            .map(|one| one["Name"].as_str().expect("a name").to_owned())
            .collect();
        names.sort();
        names
    };
    assert_eq!(
        listed("%7B%22label%22%3A%5B%22keep%3Dyes%22%5D%7D").await,
        ["keep"]
    );
    assert_eq!(
        listed("%7B%22type%22%3A%7B%22custom%22%3Atrue%7D%7D").await,
        ["drop", "keep"],
        "the map form"
    );
    assert_eq!(
        listed("%7B%22name%22%3A%5B%22ro%22%5D%7D").await,
        ["drop"],
        "a part of the name"
    );
    assert_eq!(
        client
            .get("/networks?filters=%7B%22colour%22%3A%5B%22red%22%5D%7D")
            .await
            .status,
        400
    );
    assert_eq!(client.get("/networks?filters=%5B").await.status, 400);

    let pruned = client
        .post(
            "/networks/prune?filters=%7B%22label%21%22%3A%5B%22keep%3Dyes%22%5D%7D",
            Value::Null,
        )
        .await;
    assert_eq!(pruned.json(), json!({"NetworksDeleted": ["drop"]}));
    let nothing = client
        .post(
            "/networks/prune?filters=%7B%22label%22%3A%5B%22no%22%5D%7D",
            Value::Null,
        )
        .await;
    assert_eq!(nothing.json(), json!({"NetworksDeleted": null}));
}

#[tokio::test]
async fn connecting_a_stopped_container_is_recorded() {
    let client = Client::new().await;
    client
        .post(
            "/networks/create",
            json!({"Name": "n1", "IPAM": {"Config": [{"Subnet": "10.1.0.0/24"}]}}),
        )
        .await;
    let id = client.create("web", json!({})).await;
    let connect = json!({
        "Container": "web",
        "EndpointConfig": {"IPAMConfig": {"IPv4Address": "10.1.0.9"}, "Aliases": ["www"], "GwPriority": 5}
    });
    let reply = client.post("/networks/n1/connect", connect).await;
    assert_eq!((reply.status, reply.body.len()), (200, 0));
    let shown = client.get(&format!("/containers/{id}/json")).await.json();
    let endpoint = &shown["NetworkSettings"]["Networks"]["n1"];
    assert_eq!(endpoint["IPAMConfig"], json!({"IPv4Address": "10.1.0.9"}));
    assert_eq!(
        (&endpoint["Aliases"], &endpoint["GwPriority"]),
        (&json!(["www"]), &json!(5))
    );
    assert_eq!(
        (
            &endpoint["EndpointID"],
            &endpoint["IPAddress"],
            &endpoint["DNSNames"]
        ),
        (&json!(""), &json!(""), &json!(null))
    );

    for (network, body, status) in [
        ("n1", json!({"Container": "nobody"}), 404),
        ("nope", json!({"Container": "web"}), 404),
        ("host", json!({"Container": "web"}), 400),
        (
            "n1",
            json!({"Container": "web", "EndpointConfig": {"IPAMConfig": {"IPv4Address": "10.2.0.9"}}}),
            400,
        ),
        (
            "n1",
            json!({"Container": "web", "EndpointConfig": {"IPAMConfig": {"IPv4Address": "ten"}}}),
            400,
        ),
    ] {
        let reply = client
            .post(&format!("/networks/{network}/connect"), body.clone())
            .await;
        assert_eq!(reply.status, status, "{network} {body}: {}", reply.message());
    }
    assert_eq!(
        client
            .post("/networks/n1/disconnect", json!({"Container": "web"}))
            .await
            .status,
        200
    );
    assert_eq!(
        client
            .post("/networks/n1/disconnect", json!({"Container": "web"}))
            .await
            .status,
        403
    );
}

#[tokio::test]
async fn wrong_networks_are_refused_with_a_hint_and_the_right_status() {
    let client = Client::new().await;
    client
        .post(
            "/networks/create",
            json!({"Name": "n1", "IPAM": {"Config": [{"Subnet": "10.1.0.0/24"}]}}),
        )
        .await;
    let subnet = |text: &str| json!({"Name": "bad", "IPAM": {"Config": [{"Subnet": text}]}});
    for (body, status, says) in [
        (subnet("10.2.0.1/24"), 400, "it should be 10.2.0.0/24"),
        (subnet("10.1.0.0/16"), 403, "n1"),
        (
            json!({"Name": "bad", "Driver": "nosuch"}),
            404,
            "plugin \"nosuch\" not found",
        ),
        (
            json!({"Name": "bad", "Options": {"com.docker.network.bridge.enable_ic": "true"}}),
            400,
            "did you mean",
        ),
        (json!({"Name": "b a d"}), 400, "not a valid network name"),
        (json!({"Name": "bad", "Ingress": true}), 400, "Swarm mode"),
    ] {
        let reply = client.post("/networks/create", body.clone()).await;
        assert_eq!(reply.status, status, "{body}: {}", reply.message());
        assert!(reply.message().contains(says), "{body}: {}", reply.message());
    }
    assert_eq!(client.get("/networks/bad").await.status, 404);
}
