//! The same for endpoints of an engine that dresses its sandboxes.

use super::{super::dressed::request, *};

#[tokio::test]
async fn a_join_that_fails_leaves_nothing() {
    let host = Host::alone().await;
    let network = host.network("lan", "bridge", Some("10.88.0.0/24")).await.unwrap();
    let wanted = request(network.id, "one");
    let join = |controller: std::sync::Arc<Controller>| {
        let wanted = wanted.clone();
        async move { controller.dressed.join(wanted).await }
    };
    // Its sandbox, the intent and the result.
    fails_cleanly_at_every_commit(&host, "join", 3, join).await;
    fails_cleanly_at_every_step(&host, "join", join).await;
}

#[tokio::test]
async fn a_death_while_joining_leaves_all_of_it_or_nothing() {
    let id = request(model::NetworkId::random(), "one").id;
    dies_at_every_commit(
        "join",
        async |host| {
            host.network("lan", "bridge", Some("10.88.0.0/24")).await.unwrap();
        },
        |controller| async move {
            let network = controller.networks.find("lan").unwrap().id;
            let wanted = crate::JoinDressed {
                id,
                ..request(network, "one")
            };
            controller.dressed.join(wanted).await.unwrap();
        },
        async |host| host.controller().endpoints.get(id).is_ok(),
    )
    .await;
}
