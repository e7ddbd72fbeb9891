//! Networks that are changed, templates, and how much of a network is used.

use serde_json::{Value, json};

use super::client::Client;

async fn network(client: &Client, config: Value) {
    let reply = client.post("/networks/create", config).await;
    assert_eq!(reply.status, 201, "{:?}", reply.body);
}

#[tokio::test]
async fn a_change_is_shown_first_and_then_made() {
    let client = Client::new().await;
    network(
        &client,
        json!({"Name": "lan", "Labels": {"a": "1"}, "IPAM": {"Config": [{"Subnet": "10.1.0.0/24"}]}}),
    )
    .await;
    let change = json!({"Name": "office", "Labels": {"b": "2"}, "MTU": 1400});
    let shown = client.post("/networks/lan/update?dryrun=1", change.clone()).await;
    assert_eq!(shown.status, 200, "{:?}", shown.body);
    assert_eq!(
        client.get("/networks/office").await.status,
        404,
        "nothing was changed"
    );
    let made = client.post("/networks/lan/update", change).await;
    assert_eq!(made.status, 200, "{:?}", made.body);
    assert_eq!(made.json()["Steps"], shown.json()["Steps"]);
    let found = client.get("/networks/office").await.json();
    assert_eq!(found["Labels"], json!({"b": "2"}));
    assert_eq!(found["Options"]["com.docker.network.driver.mtu"], "1400");
    assert_eq!(found["Id"], made.json()["Id"]);
}

#[tokio::test]
async fn changes_that_can_not_be_are_refused() {
    let client = Client::new().await;
    for name in ["lan", "other"] {
        network(&client, json!({"Name": name})).await;
    }
    for (network, change, status) in [
        ("lan", json!({}), 400),
        ("lan", Value::Null, 400),
        ("lan", json!({"MTU": 10}), 400),
        ("lan", json!({"MTU": "big"}), 400),
        ("lan", json!({"Name": "a b"}), 400),
        ("lan", json!({"Name": "other"}), 409),
        ("lan", json!({"Name": "host"}), 403),
        ("lan", json!({"Subnets": [{"Subnet": "10.1.0.1/24"}]}), 400),
        (
            "lan",
            json!({"Subnets": [{"Subnet": "10.1.0.0/24", "Gateway": "10.2.0.1"}]}),
            400,
        ),
        ("bridge", json!({"MTU": 1400}), 403),
        ("nobody", json!({"MTU": 1400}), 404),
    ] {
        let before = client.get("/networks").await.json();
        let reply = client
            .post(&format!("/networks/{network}/update"), change.clone())
            .await;
        assert_eq!(reply.status, status, "{network} {change}: {:?}", reply.body);
        assert!(!reply.message().is_empty());
        assert_eq!(client.get("/networks").await.json(), before, "{network} {change}");
    }
}

#[tokio::test]
async fn a_network_is_made_from_a_template_and_both_say_so() {
    let client = Client::new().await;
    network(
        &client,
        json!({"Name": "template", "Driver": "bridge", "ConfigOnly": true, "Labels": {"a": "1"},
               "Options": {"com.docker.network.driver.mtu": "1400"}, "IPAM": {"Config": [{"Subnet": "10.3.0.0/24"}]}}),
    )
    .await;
    network(
        &client,
        json!({"Name": "made", "Driver": "bridge", "ConfigFrom": {"Network": "template"},
               "IPAM": {"Driver": "default", "Options": {}, "Config": []}, "Options": {}, "Labels": {}}),
    )
    .await;
    let template = client.get("/networks/template").await.json();
    assert_eq!(
        (&template["ConfigOnly"], &template["Driver"]),
        (&json!(true), &json!("null"))
    );
    let made = client.get("/networks/made").await.json();
    assert_eq!(
        (&made["ConfigOnly"], &made["ConfigFrom"], &made["Driver"]),
        (&json!(false), &json!({"Network": "template"}), &json!("bridge"))
    );
    assert_eq!(made["IPAM"]["Config"][0]["Subnet"], "10.3.0.0/24");
    assert_eq!(
        (&made["Labels"], &made["Options"]),
        (&template["Labels"], &template["Options"])
    );
    for (config, status) in [
        (json!({"Name": "x", "ConfigFrom": {"Network": "nobody"}}), 404),
        (json!({"Name": "x", "ConfigFrom": {"Network": "made"}}), 403),
        (
            json!({"Name": "x", "ConfigFrom": {"Network": "template"}, "Labels": {"b": "2"}}),
            403,
        ),
        (json!({"Name": "x", "ConfigOnly": true, "Internal": true}), 403),
        (
            json!({"Name": "x", "ConfigOnly": true, "ConfigFrom": {"Network": "template"}}),
            403,
        ),
        (json!({"Name": "x", "Ingress": true}), 400),
    ] {
        let reply = client.post("/networks/create", config.clone()).await;
        assert_eq!(reply.status, status, "{config}: {:?}", reply.body);
    }
    assert_eq!(
        client.delete("/networks/template").await.status,
        403,
        "it is in use"
    );
    assert_eq!(client.delete("/networks/made").await.status, 204);
    assert_eq!(client.delete("/networks/template").await.status, 204);
}

#[tokio::test]
async fn inspect_says_how_much_of_each_subnet_is_used_and_a_list_does_not() {
    let client = Client::new().await;
    network(
        &client,
        json!({"Name": "lan", "IPAM": {"Config": [{"Subnet": "10.1.0.0/24", "AuxiliaryAddresses": {"a": "10.1.0.9"}}]}}),
    )
    .await;
    let found = client.get("/networks/lan").await.json();
    let used = &found["Status"]["IPAM"]["Subnets"]["10.1.0.0/24"];
    let (in_use, left) = (used["IPsInUse"].as_u64(), used["DynamicIPsAvailable"].as_u64());
    assert_eq!(
        (in_use, left),
        (Some(4), Some(252)),
        "network, broadcast, gateway and one set aside"
    );
    assert_eq!(client.get("/networks/none").await.json().get("Status"), None);
    let list = client.get("/networks").await.json();
    assert!(
        list.as_array()
            .is_some_and(|all| all.iter().all(|one| one.get("Status").is_none()))
    );
}
