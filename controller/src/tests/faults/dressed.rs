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
